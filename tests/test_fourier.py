"""Convolution by Fourier transforms and the choice of it, against scipy.signal and the direct sum."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import product
from math import log2

import numpy as np
import pytest
import scipy.signal
from cases import COMPLEX, FILTERS_ND, FLOATS, INTEGERS, LONG, Filter, integers, layouts, names, values
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays

import fastconv
from fastconv import costs
from fastconv.algorithms import fourier
from fastconv.plan import execute
from fastconv.signal import method
from fastconv.testing import assert_identical

MODES = ["full", "same", "valid"]
TRANSFORMS = ["fftconvolve", "oaconvolve"]
N_D = ["convolve", "correlate"]
EVERY_DTYPE = ["bool", *INTEGERS, "float16", *FLOATS, *COMPLEX, *LONG]


def both(name: str):
    return getattr(fastconv.signal, name), getattr(scipy.signal, name)


def assert_close(actual, desired, in1: np.ndarray, in2: np.ndarray) -> None:
    """Equal types and shapes; values within the rounding of transforms in the least precise of the types."""
    assert type(actual) is type(desired)
    assert (actual.dtype, actual.shape) == (desired.dtype, desired.shape)
    eps = max(np.finfo(a.dtype if a.dtype.kind in "fc" else float).eps for a in (in1, in2, actual))
    if actual.dtype.kind in "iub":
        np.testing.assert_array_equal(actual, desired)
    elif actual.size:
        norms = np.linalg.norm(in1.astype(complex)) * np.linalg.norm(in2.astype(complex))
        assert np.abs(actual - desired).max() <= 8 * float(eps) * (log2(actual.size + 1) + 4) * norms


def check(name: str, in1: np.ndarray, in2: np.ndarray, *args, **kwargs) -> None:
    function, oracle = both(name)
    assert_close(function(in1, in2, *args, **kwargs), oracle(in1, in2, *args, **kwargs), in1, in2)


# -- fftconvolve and oaconvolve -----------------------------------------------------------------


@pytest.fixture
def no_direct_sums(monkeypatch):
    """Small arrays are transformed too."""
    monkeypatch.setattr(costs, "direct_seconds", lambda *args: 1e9)
    caches = [fastconv.signal.fourier._way]
    [cache.cache_clear() for cache in caches]
    yield
    [cache.cache_clear() for cache in caches]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", FILTERS_ND, ids=names(FILTERS_ND))
@pytest.mark.parametrize("name", TRANSFORMS)
def test_shapes(no_direct_sums, name, case, mode):
    image, kernel = values(case.image, "float64"), values(case.kernel, "float64", 1)
    for first, second in [(image, kernel), (kernel, image)]:
        if mode != "valid" or _fit(case):
            check(name, first, second, mode)


def _fit(case: Filter) -> bool:
    pairs = list(zip(case.image, case.kernel, strict=True))
    return all(n >= k for n, k in pairs) or all(k >= n for n, k in pairs)


@pytest.mark.parametrize("summed", [True, False])
@pytest.mark.parametrize("dtype", EVERY_DTYPE)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_dtypes(request, name, dtype, summed):
    if not summed:
        request.getfixturevalue("no_direct_sums")
    for other in ("float32", "complex64", "int16", dtype):
        image, kernel = integers((19, 300), dtype), integers((4, 30), other, 1)
        for mode in MODES:
            check(name, image, kernel, mode)
            check(name, kernel, image, mode)


SHAPES_AND_AXES = [
    ((5, 400), (1, 37), 1),
    ((5, 400), (5, 37), -1),
    ((1, 400), (5, 37), [1]),
    ((400, 6), (37, 6), 0),
    ((7, 60, 50), (7, 9, 8), (1, 2)),
    ((60, 7, 50), (9, 1, 8), (2, 0)),
    ((60, 1, 50), (9, 3, 8), (0, -1)),
    ((9, 1, 8), (60, 3, 50), (0, 2)),
    ((3, 4), (3, 1), 1),
    ((1, 4), (3, 4), (0,)),
    ((4, 30, 9), (4, 40, 9), 1),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape1, shape2, axes", SHAPES_AND_AXES)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_axes_and_broadcasting(no_direct_sums, name, shape1, shape2, axes, mode):
    for dtype in ("float64", "complex64", "int32"):
        check(name, integers(shape1, dtype), integers(shape2, dtype, 1), mode, axes)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_dimensions_and_no_elements(name):
    function, oracle = both(name)
    for first, second in [(3, 4.5), (np.array(2), np.float32(3)), ([], [1, 2]), (np.ones((0, 3)), np.ones((2, 2)))]:
        assert_identical(function(first, second), oracle(first, second))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int16"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_layouts(no_direct_sums, name, dtype):
    image, kernel = integers((70, 300), dtype), integers((9, 20), dtype, 1)
    desired = scipy.signal.fftconvolve(image, kernel, "same")
    for view in layouts(image).values():
        assert_close(both(name)[0](view, kernel, "same"), desired, image, kernel)
    for view in layouts(kernel).values():
        assert_close(both(name)[0](image, view, "same"), desired, image, kernel)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_objects_are_left_to_scipy(name):
    image, kernel = integers((30,), "int64").astype(object), integers((4,), "int64", 1).astype(object)
    check(name, image.astype(float), kernel.astype(float))
    assert_identical(both(name)[0](image, kernel), both(name)[1](image, kernel))


BAD = [
    (((5,), (5, 5)), {}, "in1 and in2.*dimensions"),
    (((5, 6), (3, 2)), {"mode": "fill"}, "mode.*'fill'"),
    (((5, 6), (3, 2)), {"axes": []}, r"axes.*\[\]"),
    (((5, 6), (3, 2)), {"axes": 2}, "axes.*2"),
    (((5, 6), (3, 2)), {"axes": (0, -2)}, "axes"),
    (((5, 6), (3, 2)), {"axes": 1.5}, "axes.*1.5"),
    (((5, 6), (3, 2)), {"axes": 0}, "incompatible"),
    (((5, 2), (3, 6)), {"mode": "valid"}, "valid"),
    (((5, 6), (3, 2)), {"threads": 0}, "threads"),
]


@pytest.mark.parametrize("shapes, kwargs, message", BAD)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_bad_input(name, shapes, kwargs, message):
    function, oracle = both(name)
    with pytest.raises(ValueError, match=message):
        function(*map(np.ones, shapes), **kwargs)
    if "threads" not in kwargs:
        with pytest.raises(ValueError):
            oracle(*map(np.ones, shapes), **kwargs)


@st.composite
def problems(draw: st.DrawFn) -> tuple:
    """Two arrays that broadcast along all axes but those to convolve, a mode, the axes."""
    ndim = draw(st.integers(1, 3))
    axes = draw(st.lists(st.integers(0, ndim - 1), min_size=1, max_size=ndim, unique=True))
    sizes = st.integers(1, [150, 40, 12][ndim - 1])
    shape1, shape2 = [draw(sizes) for _ in range(ndim)], [draw(sizes) for _ in range(ndim)]
    for axis in set(range(ndim)) - set(axes):
        shape2[axis] = draw(st.sampled_from([1, shape1[axis]]))
    mode = draw(st.sampled_from(MODES))
    if mode == "valid":
        shape2 = [min(pair) for pair in zip(shape1, shape2, strict=True)]
    dtypes = st.sampled_from(["uint8", "int64", "float32", "float64", "complex64"])
    pair = [draw(arrays(tuple(shape), draw(dtypes))) for shape in (shape1, shape2)]
    return (*(pair[::-1] if draw(st.booleans()) else pair), mode, axes)


@given(problems(), st.sampled_from(TRANSFORMS))
def test_any(problem, name):
    check(name, *problem)


@given(problems(), st.sampled_from(TRANSFORMS))
def test_any_by_transforms(no_direct_sums, problem, name):
    check(name, *problem)


# -- blocks -------------------------------------------------------------------------------------

LONG_ARRAYS = [
    Filter("signal", (5000,), (37,)),
    Filter("even kernel", (3001,), (200,)),
    Filter("kernel of half the length", (500,), (260,)),
    Filter("image", (90, 170), (13, 8)),
    Filter("kernel wider than image", (150, 20), (11, 60)),
    Filter("volume", (70, 36, 80), (5, 3, 6)),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", LONG_ARRAYS, ids=names(LONG_ARRAYS))
def test_every_cut(case, mode):
    """Each way to cut the outputs gives them all, on one thread and on several."""
    image, kernel = integers(case.image, "float64"), integers(case.kernel, "float64", 1)
    if mode == "valid" and not _fit(case):
        return
    desired = scipy.signal.fftconvolve(image, kernel, mode).round()
    axes = tuple(range(image.ndim))
    low, size = method.outputs(mode, image.shape, kernel.shape, axes)
    found = fourier.best_blocks(image.shape, kernel.shape, low, size, axes, image.dtype, 1)
    sizes = zip(
        *((kernel.shape, image.shape) if found.swapped else (image.shape, kernel.shape)), low, size, strict=True
    )
    choices = list(product(*(fourier._cuts(*axis, True) for axis in sizes)))
    assert len(choices) > (mode != "valid")  # there may be no way but one block
    for i, cuts in enumerate(choices[:: max(len(choices) // 12, 1)]):
        out = np.full(size, np.nan)
        blocks = fourier.Blocks(axes, low, size, found.swapped, False, cuts, 1.0)
        fourier.convolve(image, kernel, out, blocks, 1 + i % 3)
        np.testing.assert_array_equal(out.round(), desired, err_msg=str(cuts))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_accuracy(dtype):
    """Errors stay within eps log2(points) times the 2-norms; typically they are a tenth of that, without the logarithm."""
    signal, kernel = values((60_000,), dtype), values((3_000,), dtype, 1)
    wide = np.result_type(dtype, np.float64)
    desired = scipy.signal.fftconvolve(signal.astype(wide), kernel.astype(wide))
    bound = np.finfo(dtype).eps * np.linalg.norm(signal) * np.linalg.norm(kernel)
    for name in TRANSFORMS:
        error = np.abs(both(name)[0](signal, kernel) - desired).max()
        assert error < bound, (error, bound)


def test_memory_of_long_signals_is_bounded():
    signal, kernel = np.ones(10**7, np.float32), np.ones(2000, np.float32)
    fastconv.signal.oaconvolve(signal[:100_000], kernel)
    tracemalloc.start()
    result = fastconv.signal.oaconvolve(signal, kernel, "same", threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.shape == signal.shape
    assert abs(result[5_000_000] - 2000) < 0.1
    assert peak < result.nbytes + 24 * 2**20


def test_nan_of_small_problems_stays_in_its_place():
    image, kernel = values((30, 40), "float32"), values((3, 3), "float32", 1)
    image[7, 7] = np.nan
    assert np.isnan(fastconv.signal.fftconvolve(image, kernel)).sum() == 9


def test_errors_in_threads_reach_the_caller():
    def fail(item):
        raise RuntimeError(f"item {item}")

    for threads in (1, 3):
        with pytest.raises(RuntimeError, match="item"):
            fourier._for_each(fail, range(5), threads)


# -- convolve and correlate ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["auto", "direct", "fft"])
@pytest.mark.parametrize("dtype", ["bool", "float16", *LONG, "object"])
@pytest.mark.parametrize("name", N_D)
def test_types_without_a_kernel(name, dtype, how):
    function, oracle = both(name)
    signal, kernel = integers((70,), "int8").astype(dtype), integers((9,), "int8", 1).astype(dtype)
    for mode in MODES:
        desired = oracle(signal, kernel, mode, how)
        if dtype == "bool" and how == "fft":
            desired = oracle(signal, kernel, mode, "direct")  # SciPy takes rounding errors for true
        actual = function(signal, kernel, mode, how)
        assert actual.dtype == desired.dtype
        np.testing.assert_allclose(actual.astype(complex), desired.astype(complex), atol=1e-12)
        out = np.empty_like(desired)
        assert function(signal, kernel, mode, how, out=out) is out
        np.testing.assert_array_equal(out, actual)


@pytest.mark.parametrize("dtype", ["bool", "float16", "object"])
@pytest.mark.parametrize("name", N_D)
def test_types_that_scipy_rejects(name, dtype):
    image, kernel = np.ones((7, 8), dtype), np.ones((3, 2), dtype)
    for args in [(image, kernel), (kernel[0], image[0], "same")]:
        for function in both(name):
            with pytest.raises(ValueError):
                function(*args)
    with pytest.raises(ValueError, match=f"in1 and in2.*{np.dtype(dtype)}"):
        both(name)[0](image, kernel)


@pytest.mark.parametrize("parts", [(1, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_in_parts(dtype, parts):
    exact = int(36 / (1 / parts[0] + 1 / parts[1]))  # so many bits in each array are
    for bits in (3, min(exact, 8 * np.dtype(dtype).itemsize)):
        least, most = max(np.iinfo(dtype).min, -(2**bits)), min(np.iinfo(dtype).max, 2**bits)
        r = np.random.default_rng(bits)
        image, kernel = (r.integers(least, most, n, dtype, endpoint=True) for n in (300, 40))
        direct = fastconv.plan(fastconv.convolve, image, kernel, "same", "direct").problem
        problem = replace(direct, transforms="transforms", parts=parts)
        out = np.empty_like(image)
        execute(problem, image[None, None], kernel[None, None, ::-1], out[None, None])
        assert_identical(out, fastconv.convolve(image, kernel, "same", "direct"))


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "int64"])
def test_long_integers_are_exact(dtype):
    image, kernel = values((40_000,), dtype), values((6_000,), dtype, 1)
    assert_identical(fastconv.convolve(image, kernel, "same"), fastconv.convolve(image, kernel, "same", "direct"))


@pytest.mark.parametrize("name", N_D)
def test_second_array_larger(name):
    for shape1, shape2 in [((40,), (9000,)), ((2000,), (9000,)), ((30, 20), (90, 200)), ((300, 2), (4, 150))]:
        for dtype in ("float64", "complex64", "int32"):
            in1, in2 = integers(shape1, dtype), integers(shape2, dtype, 1)
            for mode in MODES if shape1[-1] <= shape2[-1] and shape1[0] <= shape2[0] else MODES[:2]:
                check(name, in1, in2, mode)


@pytest.mark.parametrize("name", N_D)
def test_nan_beyond_reach_meets_zeros(name):
    """As in SciPy: also where "same" mode needs only a part of a larger second array."""
    in1, in2 = values((5, 6), "float64"), values((40, 31), "float64", 1)
    for place in [(0, 0), (20, 15), (39, 30)]:
        broken = in2.copy()
        broken[place] = np.nan
        function, oracle = both(name)
        assert_identical(np.isnan(function(in1, broken, "same")), np.isnan(oracle(in1, broken, "same", "direct")))


@pytest.mark.parametrize("name", N_D)
def test_few_long_products(name):
    for dtype in ("float32", "complex128", "uint8", "int64"):
        for shape1, shape2 in [((5000,), (5000,)), ((5002,), (5000,)), ((5000,), (5001,)), ((60, 61), (60, 60))]:
            check(name, integers(shape1, dtype), integers(shape2, dtype, 1), "valid", "direct")


@fastconv.use(threads=2)
def test_strict_precision_sums_directly():
    image, kernel = values((20_000,), "float32"), values((10_000,), "float32", 1)
    assert fastconv.signal.choose_conv_method(image, kernel) == "fft"
    with fastconv.use(precision="strict"):
        assert fastconv.signal.choose_conv_method(image, kernel) == "direct"
        assert fastconv.signal.choose_conv_method(image.astype(int), kernel.astype(int)) == "fft"


def test_transforms_of_nan_warn():
    image = values((50, 60), "float64")
    image[3, 4] = np.nan
    with pytest.warns(RuntimeWarning, match="Use of fft convolution") as caught:
        fastconv.convolve(image, image, method="fft")
    assert caught[0].filename == __file__


def test_choice():
    choose = fastconv.signal.choose_conv_method
    image = values((20_000,), "float64")
    assert choose(image, image[:9]) == "direct"
    assert choose(image, image) == "fft"
    assert choose(image[:9], image[:9], "valid") == "direct"
    assert choose(image[:99] > 0, image[:99] > 0) == "direct"
    assert choose(image.astype(object), image) == "direct"
    chosen, times = choose(image[:50], image[:7], measure=True)
    assert set(times) == {"fft", "direct"}
    assert chosen == min(times, key=times.get)
    image[5] = np.inf
    assert choose(image, image) == "direct"
    for bad in [(image, image, "fill"), (image, image[None])]:
        with pytest.raises(ValueError):
            choose(*bad)


@pytest.mark.parametrize("mode", MODES)
def test_lags(mode):
    for n, k in product(range(1, 9), range(1, 14)):
        lags = fastconv.signal.correlation_lags(n, k, mode)
        x, y = values((n,), "float64"), values((k,), "float64", 1)
        shifted = [sum(x[j + lag] * y[j] for j in range(k) if 0 <= j + lag < n) for lag in lags]
        np.testing.assert_allclose(scipy.signal.correlate(x, y, mode), shifted, atol=1e-12)
        if mode != "same" or n % 2 == 0 or k % 2 == 1:  # else SciPy's are one too large
            assert_identical(lags, scipy.signal.correlation_lags(n, k, mode))
    with pytest.raises(ValueError, match=r"mode.*'fill'"):
        fastconv.signal.correlation_lags(3, 4, "fill")
