"""Every pooling problem on both CPU engines against the reference, drawn at random from fixed seeds."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest

from fastconv import nn, reference
from fastconv.problem import FoldProblem, PoolGradientProblem, PoolProblem, RegionPoolProblem, UnpoolProblem
from fastconv.table import TABLE

HALVES = ["float16"] + ["bfloat16"] * (importlib.util.find_spec("ml_dtypes") is not None)
FLOATS = ["float32", "float64", *HALVES]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
ROUNDING = {"float64": 1e-13, "float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}


def numpy_type(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def placed(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The same values elsewhere in memory: channels first or last, in steps, reversed, between other elements."""
    kind = rng.integers(5)
    axes = array.ndim - 1
    if kind < 2:
        array = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, axes)), axes, 1)
    if kind in (0, 2):
        return array
    steps = [int(rng.choice([-2, -1, 1, 2])) for _ in array.shape]
    big = np.zeros([n * abs(s) for n, s in zip(array.shape, steps, strict=True)], array.dtype)
    if kind == 1:
        big = np.moveaxis(np.ascontiguousarray(np.moveaxis(big, 1, axes)), axes, 1)
    view = big[tuple(slice(None, None, s) for s in steps)]
    view[...] = array
    return view


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in INTEGERS:
        return rng.integers(0 if dtype[0] == "u" else -40, 40, shape).astype(dtype)
    x = rng.standard_normal(shape) if rng.integers(2) else rng.integers(-3, 4, shape).astype(float)  # ties
    if rng.integers(3) == 0 and x.size:
        x.reshape(-1)[rng.integers(0, x.size, 3)] = [np.nan, np.inf, -np.inf]
    return x.astype(numpy_type(dtype))


def sizes(rng: np.random.Generator, n: int, most: int) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(1, most + 1, n))


def pool_problem(rng: np.random.Generator, kind: str) -> PoolProblem:
    n = int(rng.integers(1, 4))
    dtype = str(rng.choice(FLOATS if kind == "lp" else [*FLOATS, *INTEGERS] + ["bool"] * (kind == "max")))
    kernel, stride = sizes(rng, n, (4, 9)[rng.integers(2)] if n < 3 else 3), sizes(rng, n, 4)
    dilation = sizes(rng, n, 3) if kind == "max" and rng.integers(2) else (1,) * n
    pad = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    after = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel) if rng.integers(2) else ()
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(max(m, s) for m, s in zip(sizes(rng, n, (70, 20, 9)[n - 1]), spans, strict=True))
    if rng.integers(8) == 0 and kind != "max":  # one window has it all
        kernel, pad, after, spans = size, (0,) * n, (), size
    ends = [m + p + q - s for m, p, q, s in zip(size, pad, after or pad, spans, strict=True)]
    out = tuple(int(end // s + 1) for end, s in zip(ends, stride, strict=True))
    return PoolProblem(
        kind, size, tuple(kernel), out, dtype, pad, stride, dilation, int(rng.integers(1, 3)), int(rng.choice([1, 2, 3, 16, 35])),
        kind == "max" and bool(rng.integers(2)), bool(rng.integers(2)),
        int(rng.choice([0, 0, 3])) if kind == "avg" else 0, bool(rng.integers(2)), after,
        float(rng.choice([1, 2, 3, 2.5])) if kind == "lp" else 0.0,
    )  # fmt: skip


def region_problem(rng: np.random.Generator, kind: str, fractional: bool) -> RegionPoolProblem:
    n = int(rng.integers(2, 4)) if fractional else int(rng.integers(1, 4))
    dtype = str(rng.choice([*FLOATS, *INTEGERS]))
    size = sizes(rng, n, (90, 30, 9)[n - 1])
    kernel = tuple(int(rng.integers(1, min(m, 4) + 1)) for m in size) if fractional else ()
    most = tuple(m - k + 1 for m, k in zip(size, kernel, strict=True)) if fractional else tuple(m + 3 for m in size)
    out = tuple(int(rng.integers(1, m + 1)) for m in most)
    if not fractional and rng.integers(3) == 0:
        out = (1,) * n
    return RegionPoolProblem(
        kind, size, out, dtype, kernel, int(rng.integers(1, 3)), int(rng.choice([1, 2, 3, 16, 35])),
        kind == "max" and bool(rng.integers(2)), bool(rng.integers(2)),
    )  # fmt: skip


def arrays_of(rng: np.random.Generator, p: Any) -> dict[str, Any]:
    """The arguments of an executor, but the output, of which there is the shape."""
    if isinstance(p, PoolGradientProblem):
        x = values(rng, (p.pool.batch, p.pool.channels, *p.pool.out_shape), p.dtype)
        given = pooled = None
        if p.pool.kind == "lp":
            given = np.abs(rng.integers(0, 9, (*x.shape[:2], *p.pool.in_shape)) / 4).astype(x.dtype)
            pooled = np.empty(x.shape, x.dtype)
            reference.pool(p.pool, given, None, pooled)
        return {"x": placed(rng, x), "w": given, "bias": pooled, "shape": (*x.shape[:2], *p.pool.in_shape)}
    outer = (p.batch, p.channels)
    if isinstance(p, UnpoolProblem):
        given, made = (p.plane_shape, p.shape) if p.kind == "take" else (p.shape, p.plane_shape)
        w = rng.integers(-1, prod(p.plane_shape), (*outer, *p.shape))
        return {
            "x": placed(rng, values(rng, (*outer, *given), p.dtype)),
            "w": placed(rng, w),
            "bias": None,
            "shape": (*outer, *made),
        }
    if isinstance(p, FoldProblem):
        shapes = [(*outer, *p.in_shape), (*outer, *p.kernel_shape, *p.out_shape)]
        given, made = shapes if p.kind == "unfold" else shapes[::-1]
        return {"x": placed(rng, values(rng, given, p.dtype)), "w": None, "bias": None, "shape": made}
    x, starts = placed(rng, values(rng, (*outer, *p.in_shape), p.dtype)), None
    if isinstance(p, RegionPoolProblem) and p.kernel_shape:
        axes = zip(p.in_shape, p.kernel_shape, p.out_shape, strict=True)
        starts = np.concatenate([np.sort(rng.integers(0, m - k + 1, (*outer, out)), -1) for m, k, out in axes], -1)
    w = np.full((*outer, *p.out_shape), -7, np.int64) if p.indices else None
    return {"x": x, "w": None if w is None else placed(rng, w), "bias": starts, "shape": (*outer, *p.out_shape)}


def check(rng: np.random.Generator, engine: str, problem: Any, exact: bool) -> None:
    arrays = arrays_of(rng, problem)
    x, w, bias = (arrays[name] for name in ("x", "w", "bias"))
    out = placed(rng, np.full(arrays["shape"], 7).astype(x.dtype))
    desired = np.full(arrays["shape"], 7).astype(x.dtype)
    where = w if isinstance(problem, UnpoolProblem | PoolGradientProblem) or w is None else w.copy()
    reference.compute(problem, x, where, desired, bias, 0)
    rows = [row for row in TABLE if row.engine == engine and row.refuse(problem) is None]
    assert rows, f"{engine} does not take {problem}"
    rows[0].build(problem)(x, w, out, bias, 0, int(rng.integers(1, 4)))
    actual, wanted = (a if problem.dtype in INTEGERS else a.astype(np.float64) for a in (out, desired))
    if exact:
        np.testing.assert_array_equal(actual, wanted, str(problem))
    else:
        tolerance = ROUNDING.get(problem.dtype, 0)
        finite = np.abs(np.where(np.isfinite(x.astype(np.float64)), x, 0).astype(np.float64)).max(initial=0)
        np.testing.assert_allclose(
            actual, wanted, rtol=4 * tolerance, atol=4 * tolerance * finite, err_msg=str(problem)
        )
    if w is not None and where is not w:
        np.testing.assert_array_equal(w, where, str(problem))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
@pytest.mark.parametrize("engine_name", ["cython", "numba"])
def test_pools(engine_name, kind, seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        p = pool_problem(rng, kind)
        check(rng, engine_name, p, kind == "max" or p.dtype in INTEGERS)


@pytest.mark.parametrize("fractional", [False, True], ids=["adaptive", "fractional"])
@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("engine_name", ["cython", "numba"])
def test_regions(engine_name, kind, fractional):
    rng = np.random.default_rng(1)
    for _ in range(0 if fractional and kind == "avg" else 100):
        p = region_problem(rng, kind, fractional)
        check(rng, engine_name, p, kind == "max" or p.dtype in INTEGERS)


@pytest.mark.parametrize("engine_name", ["cython", "numba"])
def test_gradients_of_averages(engine_name):
    rng = np.random.default_rng(2)
    for _ in range(120):
        pool: Any = pool_problem(rng, "avg") if rng.integers(2) else region_problem(rng, "avg", False)
        if pool.dtype in FLOATS:
            check(rng, engine_name, PoolGradientProblem(pool), False)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_powers_of_the_reference(power):
    """Their gradients in one problem are those that the function composes; infinite powers, largest and smallest sizes."""
    rng = np.random.default_rng(3)
    one = (1, 1)
    p = PoolProblem("lp", (10, 8), (3, 2), (5, 4), "float64", (0, 0), (2, 2), one, 2, 3, power=power)
    arrays = arrays_of(rng, PoolGradientProblem(p))
    x = np.where(np.isfinite(arrays["x"]), arrays["x"], 0)
    out = np.empty(arrays["shape"])
    reference.compute(PoolGradientProblem(p), x, arrays["w"], out, arrays["bias"], 0)
    desired = nn.grad.lp_pool2d_backward(x, arrays["w"], arrays["bias"], power, (3, 2), 2, ceil_mode=True)
    np.testing.assert_allclose(out, desired, rtol=1e-12)
    for engine_name in ("cython", "numba"):
        assert all(row.refuse(PoolGradientProblem(p)) for row in TABLE if row.engine == engine_name)
        assert all(row.refuse(replace(p, power=np.inf)) for row in TABLE if row.engine == engine_name)
    signed, found = rng.standard_normal((2, 3, 10, 8)), np.empty((2, 3, 5, 4))
    for power_, fold in ((np.inf, np.maximum), (-np.inf, np.minimum)):
        reference.compute(replace(p, power=power_), signed, None, found, None, 0)
        padded = np.pad(np.abs(signed), ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=-power_)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 2), (2, 3))[:, :, ::2, ::2]
        np.testing.assert_array_equal(found, fold.reduce(windows.reshape(*found.shape, -1), axis=-1))


@pytest.mark.parametrize("engine_name", ["cython", "numba"])
def test_unpooling(engine_name):
    rng = np.random.default_rng(3)
    for i in range(150):
        n = int(rng.integers(1, 4))
        kind = ("place", "add", "take")[i % 3]
        dtype = str(rng.choice(FLOATS if kind == "add" else [*FLOATS, *INTEGERS, "bool"]))
        p = UnpoolProblem(
            kind, sizes(rng, n, 6), sizes(rng, n, 9), dtype, int(rng.integers(1, 3)), int(rng.choice([1, 3, 16, 37]))
        )
        check(rng, engine_name, p, kind != "add")


@pytest.mark.parametrize("engine_name", ["cython", "numba"])
def test_folding(engine_name):
    rng = np.random.default_rng(4)
    for i in range(120):
        kind = ("fold", "unfold")[i % 2]
        dtype = str(rng.choice([*FLOATS, *INTEGERS] + ["bool"] * (kind == "unfold")))
        kernel, stride, dilation = sizes(rng, 2, 4), sizes(rng, 2, 3), sizes(rng, 2, 2)
        pad = tuple(int(v) for v in rng.integers(0, 4, 2))
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        size = tuple(max(m, s - 2 * q) for m, s, q in zip(sizes(rng, 2, 23), spans, pad, strict=True))
        out = tuple((m + 2 * q - s) // t + 1 for m, q, s, t in zip(size, pad, spans, stride, strict=True))
        p = FoldProblem(
            kind, size, kernel, out, dtype, pad, stride, dilation, int(rng.integers(1, 3)), int(rng.choice([1, 3, 16]))
        )
        check(rng, engine_name, p, kind == "unfold" or dtype in INTEGERS)
