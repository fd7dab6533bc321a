"""What all tests share: the engines under test, which are declared here and never skipped."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

import fastconv

# A declared engine that cannot be imported, or has no kernel, fails every test below.
# FASTCONV_TEST_ENGINES=cuda runs the same tests on a GPU, or on Numba's simulator of one.
ENGINES = os.environ.get("FASTCONV_TEST_ENGINES", "reference cython numba").split()

settings.register_profile(
    "fastconv",
    deadline=None,  # the first call of an engine may compile
    max_examples=int(os.environ.get("FASTCONV_TEST_EXAMPLES", "40")),
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("fastconv")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", r"error:::fastconv(\..*)?")  # fastconv warns of nothing unasked
    config.addinivalue_line("filterwarnings", "ignore:the matrix subclass:PendingDeprecationWarning")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Runs the test once with each engine in force."""
    with fastconv.use(engine=request.param):
        yield request.param
