"""What all tests share: the engines under test, which are declared here and never skipped."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

import fastconv

# A declared engine that cannot be imported, or has no kernel, fails every test below.
# FASTCONV_TEST_ENGINES=cuda runs the same tests on a GPU, or on Numba's simulator of one.
ENGINES = os.environ.get("FASTCONV_TEST_ENGINES", "reference cython numba").split()

# What compares with PyTorch is collected where it is installed (FASTCONV_TEST_TORCH=1: test_nn.py says that it should be).
collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_torch_*.py"]

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


@pytest.fixture
def agreed(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Count results that agreed with another library's: ``agreed("conv2d")``, ``agreed("conv2d", 12)``.

    The counts of all tests that passed are summed by name and printed at the end of the run, also under pytest-xdist,
    which carries the properties of a test from its workers.
    """
    counts: dict[str, int] = {}
    request.node.user_properties.append(("agreed", counts))

    def count(name: str, n: int = 1) -> None:
        counts[name] = counts.get(name, 0) + n

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    totals: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for key, counts in report.user_properties:
            if key == "agreed":
                totals.update(counts)
    if totals:
        listed = ", ".join(f"{name} {total}" for name, total in sorted(totals.items()))
        terminalreporter.write_sep("=", f"{totals.total()} results agree with another library's")
        terminalreporter.write_line(f"agreement: {listed}")
