"""Every implementation in the table against the reference, chosen by name and not by the planner."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from cases import values
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import conv_problems, pool_problems, window_problems

import fastconv
from fastconv import reference
from fastconv.problem import ConvProblem
from fastconv.table import TABLE
from fastconv.testing import assert_identical

IMPLEMENTATIONS = [row for row in TABLE if row.engine in ("numba", "cython")]
# What else there is (lowrank, separable, normalized) has problems of its own and a test file of its own.
CONVOLUTIONS = [row for row in IMPLEMENTATIONS if row.algorithm in ("conv", "filter") and not row.leaves]
POOLINGS = [row for row in IMPLEMENTATIONS if row.algorithm == "pool"]
WINDOWS = [row for row in IMPLEMENTATIONS if row.algorithm in ("sliding", "taps", "rank")]


def run(implementation, problem, arrays: dict, threads: int) -> None:
    """Execute into arrays["out"], having checked that nothing is written beside it."""
    x, w, bias, fill = arrays["x"], arrays.get("w", arrays.get("indices")), arrays.get("bias"), arrays.get("fill", 0)
    out = arrays["out"]
    whole = out if out.base is None else out.base
    before = whole.copy()
    implementation.build(problem)(x, w, out, bias, fill, threads)
    out_again = out.copy()
    out[...] = 0
    after = whole.copy()
    whole[...] = before
    out[...] = 0
    assert_identical(after, whole, "what lies beside the output")
    out[...] = out_again


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("implementation", CONVOLUTIONS, ids=[row.name for row in CONVOLUTIONS])
@given(st.data())
def test_any_convolution(implementation, threads, data):
    many = {"largest_ndim": 2, "least_filters": 6} if implementation.algorithm == "conv" else {}
    problem, arrays = data.draw(conv_problems(**many))
    assume(implementation.refuse(problem) is None)
    desired = np.empty(arrays["out"].shape, arrays["out"].dtype)
    reference.conv(problem, **{**arrays, "out": desired})
    run(implementation, problem, arrays, threads)
    assert_identical(arrays["out"], desired, str(problem))


@pytest.mark.parametrize("implementation", POOLINGS, ids=[row.name for row in POOLINGS])
@given(pool_problems())
def test_any_pooling(implementation, problem_and_arrays):
    problem, arrays = problem_and_arrays
    assume(implementation.refuse(problem) is None)
    desired = np.empty(arrays["out"].shape, arrays["out"].dtype)
    where = None if arrays["indices"] is None else np.empty(desired.shape, np.int64)
    reference.pool(problem, arrays["x"], where, desired)
    run(implementation, problem, arrays, 2)
    np.testing.assert_allclose(arrays["out"], desired, rtol=1e-6 if desired.dtype.kind == "f" else 0, atol=0)
    if where is not None:
        assert_identical(arrays["indices"], where, str(problem))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("implementation", WINDOWS, ids=[row.name for row in WINDOWS])
@settings(suppress_health_check=list(HealthCheck))  # an implementation takes about a third of the problems
@given(window_problems())
def test_any_window(implementation, threads, problem_and_arrays):
    problem, arrays = problem_and_arrays
    assume(implementation.refuse(problem) is None)
    desired = np.empty(arrays["out"].shape, arrays["out"].dtype)
    reference.window(problem, arrays["x"], arrays["w"], desired, arrays["fill"])
    run(implementation, problem, arrays, threads)
    rounding = 1e-6 if problem.kind == "mean" and problem.out_dtype == "float32" else 0
    np.testing.assert_allclose(arrays["out"], desired, rtol=rounding, atol=10 * rounding, err_msg=str(problem))


@pytest.mark.parametrize("implementation", CONVOLUTIONS, ids=[row.name for row in CONVOLUTIONS])
def test_workspace_is_what_a_call_takes(implementation):
    """Scratch memory is bounded: it does not grow with the image."""

    def workspace(size: int) -> int:
        problem = ConvProblem(
            (size, size), (5, 5), (size, size), *["float32"] * 4, (2, 2), ("reflect",) * 2, (1, 1), (1, 1),
            channels=8, filters=32,
        )  # fmt: skip
        assert implementation.refuse(problem) is None
        return implementation.build(problem).workspace(2)

    assert 0 < workspace(4096) <= 2 * workspace(512) <= 4 * 2**20


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "complex64"])
@pytest.mark.parametrize("engine", ["numba", "cython"])
def test_no_padded_copy(engine, dtype, boundary):
    """Besides the output a filter takes less than 5% of the input's memory (once it is known how to repeat the call)."""
    image, kernel = values((2048, 2048), dtype), values((9, 9), dtype, 1)
    out = np.empty_like(image)
    with fastconv.use(engine=engine, threads=2):
        fastconv.correlate2d(image, kernel, "same", boundary, out=out)  # compiled, and recorded on arrays of its own
        tracemalloc.start()
        fastconv.correlate2d(image, kernel, "same", boundary, out=out)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    limit = max(0.05 * image.nbytes, 2**20)
    assert peak < limit, f"{peak / 2**20:.2f} MiB"
