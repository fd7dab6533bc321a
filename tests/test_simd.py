"""Each SIMD level that this processor runs: shapes, dtypes, layouts on the Cython engine's build for it, and on the Numba
engine's vectors of its width, compiled for a processor that has no better one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv.engines import cython_cpu
from fastconv.engines.level import LEVELS, SIMD

HERE = Path(__file__).parent
# The engine tests of this process run on its own level; these are the others.
OTHERS = [level for level in LEVELS if level != SIMD]
BOTH = [
    "test_activation.py::test_values",
    "test_signal.py::test_nan_and_inf",
    "test_ndimage.py::test_what_no_integer_holds",
    "test_nn.py::test_conv_shapes",
    "test_ranks.py::test_layouts",
    "test_windows.py::test_sizes",
]
# The Numba engine compiles its kernels: two dozen of them more take as many seconds.
TESTS = {
    "numba": BOTH,
    "cython": [
        *BOTH,
        "test_activation.py::test_gradients",
        "test_activation.py::test_sizes",
        "test_batches.py::test_views",
        "test_beyond_scipy.py::test_formula",
        "test_conv_kernels.py::test_any_problem",
        "test_fourier.py::test_layouts",
        "test_ndimage.py::test_dtypes",
        "test_ndimage.py::test_output_dtype",
        "test_nn.py::test_avg_pool_shapes",
        "test_nn.py::test_conv_dtypes",
        "test_nn.py::test_max_pool_shapes",
        "test_nn.py::test_pool_dtypes",
        "test_nn.py::test_pool_nan_and_inf",
        "test_ranks.py::test_dtypes",
        "test_signal.py::test_2d_dtypes",
        "test_signal.py::test_2d_shapes",
        "test_signal.py::test_layouts",
        "test_smoothing.py::test_dtypes",
        "test_windows.py::test_dtypes",
        "test_windows.py::test_footprints_of_dtypes",
        "test_windows.py::test_structures",
    ],
}
PROCESSORS = {"v2": "nehalem", "v3": "haswell"}
TOLD = """
from fastconv.engines import cython_cpu, level
from fastconv.engines.numba_cpu import simd
assert cython_cpu.kernel("filter", "float32")
assert cython_cpu.TILE[1] % level.VECTOR_BYTES[level.SIMD] == 0
print(level.SIMD, cython_cpu.SIMD, simd.VECTOR_BYTES, simd.HAS_FMA)
"""


def run(level: str, engine: str, *command: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "FASTCONV_SIMD": level,
        "FASTCONV_TEST_ENGINES": engine,
        "FASTCONV_TEST_EXAMPLES": "10",
    }
    environment = {k: v for k, v in environment.items() if not k.startswith(("PYTEST_", "COV_", "NUMBA_"))}
    if level in PROCESSORS:
        environment["NUMBA_CPU_NAME"] = PROCESSORS[level]
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("level", OTHERS)
def test_both_engines_take_the_level(level):
    told = run(level, "cython", "-c", TOLD)
    width, fused = {"v2": ("16", "False"), "v3": ("32", "True")}[level]
    assert told.stdout.split() == [level, level, width, fused], told.stderr


@pytest.mark.parametrize("engine", TESTS)
@pytest.mark.parametrize("level", OTHERS)
def test_level(level, engine):
    tests = [str(HERE / test) for test in TESTS[engine]]
    result = run(level, engine, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    assert " passed" in result.stdout


def test_unknown_level():
    result = run("v9", "cython", "-c", "import fastconv.engines.cython_cpu")
    assert result.returncode != 0
    assert "FASTCONV_SIMD='v9'" in result.stderr and (SIMD in result.stderr)


def test_levels_have_their_own_builds():
    folder = Path(cython_cpu.__file__).parent
    built = {path.name.split(".")[0] for path in folder.glob("*.so")}
    assert set(LEVELS) <= built


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
