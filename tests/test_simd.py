"""Each SIMD level that this processor runs: the shapes, dtypes and layouts on its build of the Cython engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv.engines.cython_cpu import SIMD
from fastconv.engines.threads import _threads

HERE = Path(__file__).parent
# The engine tests of this process run on the best level; these are the others.
LEVELS = [f"v{level}" for level in range(2, _threads.cpu_level() + 1) if f"v{level}" != SIMD]
TESTS = [
    "test_signal.py::test_2d_shapes",
    "test_signal.py::test_2d_dtypes",
    "test_signal.py::test_layouts",
    "test_signal.py::test_nan_and_inf",
    "test_ndimage.py::test_dtypes",
    "test_ndimage.py::test_output_dtype",
    "test_ndimage.py::test_what_no_integer_holds",
    "test_nn.py::test_conv_shapes",
    "test_nn.py::test_conv_dtypes",
    "test_nn.py::test_max_pool_shapes",
    "test_nn.py::test_avg_pool_shapes",
    "test_nn.py::test_pool_dtypes",
    "test_nn.py::test_pool_nan_and_inf",
]


def run(level: str, *command: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "FASTCONV_SIMD": level, "FASTCONV_TEST_ENGINES": "cython"}
    environment = {k: v for k, v in environment.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("level", LEVELS)
def test_level(level):
    probe = run(
        level, "-c", "from fastconv.engines import cython_cpu as c; print(c.SIMD, c.kernel('filter', 'float32') != 0)"
    )
    assert probe.stdout.split() == [level, "True"], probe.stderr
    tests = [str(HERE / test) for test in TESTS]
    result = run(level, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    assert " passed" in result.stdout


def test_unknown_level():
    result = run("v9", "-c", "import fastconv.engines.cython_cpu")
    assert result.returncode != 0
    assert "FASTCONV_SIMD='v9'" in result.stderr and (SIMD in result.stderr)


def test_levels_have_their_own_builds():
    folder = Path(sys.modules["fastconv.engines.cython_cpu"].__file__).parent
    built = {path.name.split(".")[0] for path in folder.glob("*.so")}
    assert {SIMD, *LEVELS} <= built


def test_functions_of_one_maker_have_names_of_their_own():
    """Their symbols would be the same in two processes that compile one of them each, into one cache."""
    from fastconv.engines.numba_cpu import jit

    def made(number: int, inner) -> str:
        def function(x):
            return inner(x) + number

        return jit.part(function).py_func.__qualname__

    assert made(1, abs) == made(1, abs)
    assert (
        len({made(1, abs), made(2, abs), made(1, len), made(1, jit.part(lambda x: x)), made(1, jit.part(lambda x: -x))})
        == 5
    )
