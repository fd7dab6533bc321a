"""Pooling on the CUDA engine, on a GPU or on Numba's simulator of one: every problem, and every function on device arrays.

`test_cuda.py` runs this file on the simulator, where there are fewer and smaller problems.
"""

from __future__ import annotations

from math import inf, prod
from typing import Any

import numpy as np
import pytest
import test_pooling_problems as problems
from numba import config
from on_cuda import LIBRARIES, on_host, to_device, to_host

import fastconv
from fastconv import nn
from fastconv.algorithms import device_pooling
from fastconv.device import on_device
from fastconv.nn import grad
from fastconv.plan import plan_for
from fastconv.problem import PoolGradientProblem, PoolProblem, UnpoolProblem
from fastconv.testing import assert_identical

SIMULATED = bool(config.ENABLE_CUDASIM)
COUNT, LARGEST = (4, 300) if SIMULATED else (120, 10**6)
SHAPE = (2, 3, 6, 7) if SIMULATED else (2, 19, 33, 41)
FORMATS = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few threads on the simulator."""
    plan_for.cache_clear()  # plans remember them
    if SIMULATED:
        for name, value in (("PARTS", 4), ("MANY", 30), ("THREADS", 16), ("LANES", 2)):
            monkeypatch.setattr(device_pooling, name, value)
        monkeypatch.setattr(device_pooling, "ENOUGH", 100)
        monkeypatch.setattr(device_pooling, "SCATTERING", ((8, 1, 64), (4, 1, 0)))
        monkeypatch.setattr(device_pooling, "SCATTERING_LAST", ((8, 2, 256), (8, 4, 0)))


def drawn(make: Any, seed: int) -> Any:
    """Problems drawn at random, none of a type that arrays on a GPU do not have, or beyond the simulator."""
    rng, found = np.random.default_rng(seed), 0
    while found < COUNT:
        problem = make(rng)
        pool = getattr(problem, "pool", problem)
        size = (
            pool.batch * pool.channels * max(prod(getattr(pool, "out_shape", ())), prod(getattr(pool, "in_shape", ())))
        )
        if problem.dtype != "bfloat16" and size <= LARGEST:
            found += 1
            yield rng, problem


@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
def test_pools(kind):
    for rng, p in drawn(lambda rng: problems.pool_problem(rng, kind), 11):
        problems.check(rng, "cuda", p, kind == "max" or p.dtype in problems.INTEGERS)


@pytest.mark.parametrize("kind", ["max", "avg", "fractional"])
@pytest.mark.parametrize("wide", [1, 64], ids=["a block each", "a thread each"])
def test_regions(monkeypatch, kind, wide):
    monkeypatch.setattr(device_pooling, "WIDE", wide)
    make, fractional = kind.replace("fractional", "max"), kind == "fractional"
    for rng, p in drawn(lambda rng: problems.region_problem(rng, make, fractional), 12):
        problems.check(rng, "cuda", p, make == "max" or p.dtype in problems.INTEGERS)


@pytest.mark.parametrize("kind", ["max", "avg", "lp"])
def test_large_windows(monkeypatch, kind):
    """A block for each output; the kernel takes whatever windows there are."""
    monkeypatch.setattr(device_pooling, "_is_wide", lambda p: True)
    for rng, p in drawn(lambda rng: problems.pool_problem(rng, kind), 13):
        if max(p.dilation) == 1:
            problems.check(rng, "cuda", p, kind == "max" or p.dtype in problems.INTEGERS)


@pytest.mark.parametrize("kind", ["avg", "lp", "adaptive"])
def test_gradients(kind):
    def make(rng: np.random.Generator) -> PoolGradientProblem:
        while True:
            adaptive = kind == "adaptive"
            pool: Any = problems.region_problem(rng, "avg", False) if adaptive else problems.pool_problem(rng, kind)
            if pool.dtype in problems.FLOATS:
                return PoolGradientProblem(pool)

    for rng, p in drawn(make, 14):
        problems.check(rng, "cuda", p, False)


@pytest.mark.parametrize("kind", ["place", "add", "take"])
def test_unpooling(kind):
    def make(rng: np.random.Generator) -> UnpoolProblem:
        n = int(rng.integers(1, 4))
        dtypes = problems.FLOATS if kind == "add" else [*problems.FLOATS, *problems.INTEGERS, "bool"]
        return UnpoolProblem(
            kind, problems.sizes(rng, n, 6), problems.sizes(rng, n, 9), str(rng.choice(dtypes)), int(rng.integers(1, 3)),
            int(rng.choice([1, 3, 16, 37])),
        )  # fmt: skip

    for rng, p in drawn(make, 15):
        problems.check(rng, "cuda", p, True)


def test_claims_begin_anew(monkeypatch):
    """Many elements go to one place, in the order in which they lie in memory."""
    monkeypatch.setattr(device_pooling, "MOST_CLAIM", 100)
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 31)).astype("float32")
    places = np.random.default_rng(1).integers(-1, 3, x.shape)
    with fastconv.use(engine="cuda"):
        actual = grad.max_pool2d_backward(x, places, (1, 2, 4, 3))
    assert_identical(actual, on_host(grad.max_pool2d_backward, x, places, (1, 2, 4, 3)))


# -- functions on arrays of a device ------------------------------------------------------------


def last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def agree(library: str, function: Any, arrays: tuple, *args: Any, exact: bool = False, **kwargs: Any) -> None:
    """Device arrays give what host arrays give, into new arrays and given ones, channels first and last."""
    n = arrays[0].ndim - 2
    for layout in ({}, {"data_format": FORMATS[n]}):
        given = tuple(map(last, arrays)) if layout else arrays
        place = {k: (v[0], *v[2:], v[1]) if layout and k == "input_shape" else v for k, v in kwargs.items()}
        desired = on_host(function, *given, *args, **place, **layout)
        found = [to_device(array, library) for array in given]
        actual = function(*found, *args, **place, **layout)
        wanted = desired if isinstance(desired, tuple) else (desired,)
        out = tuple(to_device(np.full_like(array, 7), library) for array in wanted)
        returned = function(*found, *args, **place, **layout, out=out if len(out) > 1 else out[0])
        for result in (actual, returned):
            results = result if isinstance(result, tuple) else (result,)
            for a, b in zip(results, wanted, strict=True):
                if exact:
                    assert_identical(to_host(a, library), b, str((args, kwargs, layout)))
                else:
                    np.testing.assert_allclose(to_host(a, library), b, rtol=1e-5, atol=1e-5)
        for a, b in zip(returned if len(out) > 1 else (returned,), out, strict=True):
            assert a is b


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def test_functions(library):
    x = numbers(SHAPE)
    for power in (1, 2, 3, inf, -inf):
        agree(library, nn.lp_pool2d, (np.abs(x),), power, 3, 2, ceil_mode=True)
    agree(library, nn.lp_pool2d, (x,), inf, 2)
    agree(library, nn.avg_pool2d, (x,), 3, 2, "same")
    agree(library, nn.avg_pool2d, (x,), (3, 2), 2, ((1, 0), (0, 1)))
    agree(library, nn.max_pool2d, (x,), 3, 2, ((2, 0), (0, 1)), exact=True, return_indices=True)
    for output_size in (1, (3, 4), (5, None)):
        agree(library, nn.adaptive_avg_pool2d, (x,), output_size)
        agree(library, nn.adaptive_max_pool2d, (x,), output_size, exact=True, return_indices=True)
    samples = np.random.default_rng(1).random((*SHAPE[:2], 2))
    options = {"return_indices": True, "_random_samples": samples}
    agree(library, nn.fractional_max_pool2d, (x,), 2, (3, 4), exact=True, **options)
    assert nn.fractional_max_pool2d(to_device(x, library), 2, (3, 4), generator=1).shape == (*SHAPE[:2], 3, 4)
    assert nn.adaptive_avg_pool2d(to_device(x, library), 0).shape == (*SHAPE[:2], 0, 0)


def test_one_and_three_axes(library):
    line, solid = numbers((2, 2, 9)), numbers((1, 2, 4, 5, 3))
    agree(library, nn.adaptive_avg_pool1d, (line,), 4)
    agree(library, nn.lp_pool1d, (np.abs(line),), 2, 3, 2)
    agree(library, nn.adaptive_max_pool3d, (solid,), (2, 3, 2), exact=True, return_indices=True)
    agree(library, nn.fractional_max_pool3d, (solid,), 2, 2, exact=True, _random_samples=np.full((1, 2, 3), 0.3))
    best, places = on_host(nn.max_pool3d, solid, 2, return_indices=True)
    agree(library, grad.max_pool3d_backward, (numbers(best.shape, 1), places), input_shape=solid.shape, exact=True)
    agree(library, grad.avg_pool3d_backward, (best,), input_shape=solid.shape, kernel_size=2)
    agree(library, grad.adaptive_avg_pool1d_backward, (numbers((2, 2, 5), 1),), input_shape=line.shape)


def test_gradients_of_functions(library):
    x = numbers(SHAPE)
    for args in ((2,), (3, 2, 1), (3, 1, 1)):
        best, places = on_host(nn.max_pool2d, x, *args, return_indices=True)
        agree(library, grad.max_pool2d_backward, (numbers(best.shape, 1), places), input_shape=SHAPE, exact=True)
        agree(library, grad.max_unpool2d_backward, (x, places), exact=True)
        for options in ({}, {"count_include_pad": False}, {"divisor_override": 5}):
            gradient = numbers(on_host(nn.avg_pool2d, x, *args).shape, 2)
            named = dict(zip(("kernel_size", "stride", "padding"), args, strict=False))
            agree(library, grad.avg_pool2d_backward, (gradient,), input_shape=SHAPE, **named, **options)
    best, places = on_host(nn.max_pool2d, x, 2, return_indices=True)
    agree(library, nn.max_unpool2d, (best, places), 2, output_size=SHAPE[2:], exact=True)
    for output_size in (1, (3, 4)):
        gradient = numbers(on_host(nn.adaptive_avg_pool2d, x, output_size).shape, 3)
        agree(library, grad.adaptive_avg_pool2d_backward, (gradient,), input_shape=SHAPE)
    for power in (1.0, 2.0, 2.5):
        positive = np.abs(x)
        pooled = on_host(nn.lp_pool2d, positive, power, 3, 2)
        arrays = numbers(pooled.shape, 4), positive, pooled
        agree(library, grad.lp_pool2d_backward, arrays, power, 3, 2)


def test_powers_on_the_engine():
    """Host arrays sent to the device: zeros take no part, nor do small 16-bit numbers become 0."""
    x = np.array([[[0.002, 1e-4, 0, 0]]], np.float16)
    y = on_host(nn.lp_pool1d, x, 3, 1, 1)
    with fastconv.use(engine="cuda"):
        actual = grad.lp_pool1d_backward(np.ones_like(x), x, y, 3, 1, 1)
    np.testing.assert_allclose(actual[0, 0], [1, 1, 0, 0], atol=0.01)


def test_positions_outside(library):
    """On the host they are refused; those that lie on a device take no part."""
    best, places = numbers((1, 2, 2, 2)), np.arange(8).reshape(1, 2, 2, 2) % 9
    places[0, 1, 0, 0] = 99
    desired = np.zeros((1, 2, 3, 3), "float32")
    inside = places < 9
    for c in range(2):
        desired[0, c].reshape(-1)[places[0, c][inside[0, c]]] = best[0, c][inside[0, c]]
    x = to_device(best, library)
    with pytest.raises(ValueError, match="indices must be from 0 to 8"):
        nn.max_unpool2d(x, places, 2, output_size=(3, 3))
    with fastconv.use(engine="cuda"), pytest.raises(ValueError, match="indices must be from 0 to 8"):
        nn.max_unpool2d(best, places, 2, output_size=(3, 3))
    for function, kwargs in ((nn.max_unpool2d, {"kernel_size": 2, "output_size": (3, 3)}),
                             (grad.max_pool2d_backward, {"input_shape": (1, 2, 3, 3)})):  # fmt: skip
        assert_identical(to_host(function(x, to_device(places, library), **kwargs), library), desired)


def test_views_and_calls_seen_before(library):
    whole = numbers((2, 4, 9, 10))
    device = to_device(whole, library)
    for _ in range(3):
        for key in ((slice(None), slice(1, 3)), (slice(None), slice(None), slice(None, None, 2), slice(1, 9))):
            view = np.ascontiguousarray(whole[key])
            desired = on_host(nn.adaptive_avg_pool2d, view, (3, 2))
            np.testing.assert_allclose(
                to_host(nn.adaptive_avg_pool2d(device[key], (3, 2)), library), desired, rtol=1e-5
            )
            shape = (*view.shape[:2], 2 * view.shape[2], 2 * view.shape[3])
            gradient = to_host(grad.avg_pool2d_backward(device[key], shape, 2), library)
            assert_identical(gradient, on_host(grad.avg_pool2d_backward, view, shape, 2))


def test_arrays_on_two_sides_and_bad_input(library):
    x = to_device(numbers((1, 2, 4, 4)), library)
    with pytest.raises(TypeError, match="_random_samples must be on the host"):
        nn.fractional_max_pool2d(x, 2, 2, _random_samples=to_device(np.zeros((1, 2, 2)), library))
    with pytest.raises(TypeError, match="indices must have dtype int64"):
        nn.max_unpool2d(x, x, 2)
    with pytest.raises(ValueError, match="overlap"):
        nn.lp_pool2d(x, 2, 1, out=x)
    host = np.empty((1, 2, 2, 2), "float32")
    assert nn.lp_pool2d(x, 2, 2, out=host) is host and not on_device(host) and host.min() > 0


def test_what_the_engine_plans():
    x = np.ones((1, 8, 16, 16), "float32")
    with fastconv.use(engine="cuda"):
        for call, name in (
            ((nn.avg_pool2d, x, 16), "device_pooling"),
            ((nn.avg_pool2d, x, 2), "device_windows"),
            ((nn.avg_pool2d, x, 8, 1), "device"),
            ((nn.adaptive_avg_pool2d, x, 1), "device_pooling"),
        ):
            plan = fastconv.plan(*call)
            assert plan.implementation == f"cuda:{name}" and plan.workspace() == 0
        with pytest.raises(NotImplementedError, match="at most 3 axes"):
            one, two = (1,) * 4, (2,) * 4
            plan_for(PoolProblem("lp", two, one, two, "float32", (0,) * 4, one, one, power=2.0), "cuda")
