"""What the filters take that SciPy's do not: missing samples, dtypes of sums, saturation, steps, precision."""

from __future__ import annotations

import doctest
import tracemalloc
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from astropy.convolution import convolve as astropy_convolve
from cases import FLOATS, INTEGERS, integers, values
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import ndimage, reference, replay, signal
from fastconv.plan import execute
from fastconv.problem import ConvProblem, NormalizedProblem
from fastconv.testing import assert_identical, assert_matches

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
ASTROPY_MODES = {"fill": "constant", "extend": "nearest", "wrap": "wrap"}


def with_nan(shape: tuple[int, ...], dtype: str, share: float = 0.1, seed: int = 0) -> np.ndarray:
    image = values(shape, dtype, seed)
    image[np.random.default_rng(seed + 1).random(shape) < share] = np.nan
    return image


def positive(shape: tuple[int, ...], seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) + 0.1


# -- astropy's convolve ---------------------------------------------------------------------------


def as_astropy(
    image, kernel, boundary="fill", fill_value=0.0, nan_treatment="interpolate", normalize_kernel=True, mask=None,
    preserve_nan=False,
):  # fmt: skip
    """`astropy.convolution.convolve`, written as docs/beyond-scipy.md says."""
    missing = np.isnan(image) if mask is None else np.isnan(image) | (mask != 0)
    options = {"nan_policy": "interpolate", "mask": mask, "normalize": normalize_kernel}
    if nan_treatment == "fill":
        image, options = np.where(missing, fill_value, image).astype(image.dtype), {"normalize": normalize_kernel}
    mode = ASTROPY_MODES.get(boundary, "constant")
    result = ndimage.convolve(image, kernel, mode=mode, cval=fill_value, **options)
    if boundary is None:
        inside = tuple(slice(k // 2, n - k // 2) for n, k in zip(image.shape, kernel.shape, strict=True))
        whole, result = result, np.zeros_like(result)
        result[inside] = whole[inside]
    if preserve_nan:
        result[missing] = np.nan
    return result


def check_astropy(image: np.ndarray, kernel: np.ndarray, **options) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of contiguous NaN
        desired = astropy_convolve(image, kernel, **options)
    actual = as_astropy(image, kernel, **options)
    scale = np.nanmax(np.abs(image)) + abs(np.nan_to_num(options.get("fill_value", 0.0)))
    if not options.get("normalize_kernel", True):
        scale = scale * np.abs(kernel).sum()
    assert_matches(actual, desired, 4 * scale, kernel.size)  # a quotient of two sums


@pytest.mark.parametrize("boundary", ["fill", "wrap", "extend", None])
@pytest.mark.parametrize(
    "shape, size", [((60,), (7,)), ((19, 40), (3, 5)), ((7, 9, 12), (3, 1, 5))], ids=["1", "2", "3"]
)
def test_astropy(engine, shape, size, boundary):
    kernel = positive(size)
    for dtype in FLOATS:
        image = with_nan(shape, dtype)
        for treatment in ("interpolate", "fill"):
            for normalize in (True, False):
                for preserve in (True, False):
                    check_astropy(
                        image, kernel, boundary=boundary, nan_treatment=treatment, normalize_kernel=normalize,
                        preserve_nan=preserve,
                    )  # fmt: skip


@pytest.mark.parametrize("fill_value", [0.0, -2.5, np.nan])
def test_astropy_fill_value(engine, fill_value):
    image, kernel = with_nan((17, 30), "float64"), positive((5, 3))
    check_astropy(image, kernel, fill_value=fill_value)
    check_astropy(image, kernel, fill_value=fill_value, normalize_kernel=False)
    check_astropy(image, kernel, fill_value=fill_value, nan_treatment="fill")


def test_astropy_mask(engine):
    kernel = positive((3, 5))
    mask = np.random.default_rng(3).random((18, 33)) < 0.2
    for image in (values(mask.shape, "float32"), with_nan(mask.shape, "float64")):
        for given_mask in (mask, mask.astype(int) * 3, np.zeros_like(mask)):
            check_astropy(image, kernel, mask=given_mask)
            check_astropy(image, kernel, mask=given_mask, boundary="wrap", normalize_kernel=False, preserve_nan=True)
            check_astropy(image, kernel, mask=given_mask, boundary="extend", nan_treatment="fill")


def test_astropy_weights_of_both_signs(engine):
    image, kernel = with_nan((25, 31), "float64", 0.01), values((5, 5), "float64", 1) + 1.5
    check_astropy(image, kernel)
    check_astropy(image, kernel, normalize_kernel=False, boundary="wrap")


def test_astropy_wide_gap(engine):
    """Where the window holds no number there is none in the result."""
    image, kernel = values((30, 80), "float32"), positive((3, 5))
    image[5:20, 30:70] = np.nan
    check_astropy(image, kernel)
    result = ndimage.convolve(image, kernel, nan_policy="interpolate")
    assert np.isnan(result[6:19, 32:68]).all() and np.isnan(result).sum() == 13 * 36


# -- missing samples -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["correlate", "convolve"])
def test_formula(engine, name, mode):
    """num and num * sum(w) / den of two SciPy calls."""
    function, oracle = getattr(ndimage, name), getattr(scipy.ndimage, name)
    for shape, size in (((40,), (4,)), ((20, 150), (4, 3)), ((6, 8, 9), (2, 3, 2))):
        image, weights = with_nan(shape, "float64"), positive(size)
        valid = ~np.isnan(image)
        for origin in (0, -1):
            num = oracle(np.nan_to_num(image), weights, mode=mode, cval=1.5, origin=origin)
            den = oracle(valid.astype(float), weights, mode=mode, cval=1.0, origin=origin)
            options = {"mode": mode, "cval": 1.5, "origin": origin}
            scale = weights.sum() * 40
            omitted = function(image, weights, nan_policy="omit", **options)
            assert_matches(omitted, num, scale, weights.size)
            with np.errstate(invalid="ignore"):
                desired = num * weights.sum() / den
            assert_matches(function(image, weights, nan_policy="interpolate", **options), desired, scale, 20)
            normal = function(image, weights, nan_policy="omit", normalize=True, **options)
            assert_matches(normal, num / weights.sum(), 40, weights.size)


@pytest.mark.parametrize("dtype", FLOATS)
def test_complete_data_are_convolved_as_ever(engine, dtype):
    """Bit for bit, and so are windows without NaN in data that have some."""
    image, weights = values((50, 200), dtype), positive((3, 4))
    plain = ndimage.convolve(image, weights)
    for policy in ("omit", "interpolate"):
        assert_identical(ndimage.convolve(image, weights, nan_policy=policy), plain)
    image[20, 100] = np.nan
    holed, plain = ndimage.convolve(image, weights, nan_policy="interpolate"), ndimage.convolve(image, weights)
    touched = np.isnan(plain)
    assert touched.sum() == 12 and not np.isnan(holed).any()
    assert_identical(holed[~touched], plain[~touched])


@pytest.mark.parametrize("policy", ["omit", "interpolate"])
def test_threads_change_nothing(engine, policy):
    weights = positive((5, 4))
    for image in (
        with_nan((150, 170), "float32"),
        with_nan((500, 600), "float64", 0.01),
        with_nan((300, 70), "float32", 0.03),
    ):
        results = [ndimage.correlate(image, weights, nan_policy=policy, threads=n) for n in (1, 2, 5)]
        for other in results[1:]:
            assert_identical(other, results[0])


def normalized(image, weights, missing, mode="nearest") -> np.ndarray:
    """The formula in double precision."""
    num, den = (
        scipy.ndimage.convolve(values.astype(float), weights.astype(float), mode=mode)
        for values in (np.where(missing, 0, image), ~missing)
    )
    count = scipy.ndimage.convolve((~missing).astype(int), np.ones(weights.shape, int), mode=mode)
    with np.errstate(all="ignore"):
        return np.where(count == 0, np.nan, num * weights.astype(float).sum() / den)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.05, 0.5, 0.97, 1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_few_gaps_and_many(engine, dtype, share):
    """Weights of few gaps are subtracted, validity is summed where there are many or where most of a window is missing."""
    rng = np.random.default_rng(8)
    for shape, size in (
        ((70, 300), (3, 3)), ((33, 150), (4, 5)), ((40, 290), (9, 9)), ((20, 61), (2, 21)),
        ((3000,), (7,)), ((9, 20, 40), (3, 2, 4)),
    ):  # fmt: skip
        image, weights = values(shape, dtype), positive(size).astype(dtype)
        missing = rng.random(shape) < share
        missing[tuple(slice(n // 2, n // 2 + n // 4) for n in shape)] = share > 0  # windows without any number
        missing[tuple(slice(0, 2) for n in shape)] = share > 0
        desired = normalized(image, weights, missing)
        for signed in (weights, -weights):  # the weighted mean is the same but for the sign
            holed = np.where(missing, np.nan, image).astype(dtype)
            actual = ndimage.convolve(holed, signed, mode="nearest", nan_policy="interpolate")
            assert_matches(
                np.copysign(1, signed.sum()) * actual, desired.astype(dtype), 40 * weights.sum(), 4 * weights.size
            )
        omitted = ndimage.convolve(image, weights, mode="nearest", nan_policy="omit", mask=missing)
        exact = scipy.ndimage.convolve(np.where(missing, 0, image).astype(float), weights.astype(float), mode="nearest")
        assert_matches(omitted, exact.astype(dtype), 40 * weights.sum(), weights.size)


def test_little_is_left_of_a_window(engine):
    """Nearly all of the weight is missing: what is left is summed, not a difference of large numbers."""
    weights = np.full((5, 5), 1e-7, np.float32)
    weights[2, 2] = 1
    image = values((60, 200), "float32") + 50
    missing = np.zeros(image.shape, bool)
    missing[8::8, 8::8] = True
    desired = normalized(image, weights, missing)
    actual = ndimage.convolve(np.where(missing, np.nan, image), weights, mode="nearest", nan_policy="interpolate")
    np.testing.assert_allclose(actual, desired, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int32", "complex64"])
def test_masks_lie_beside_images_of_any_layout(engine, dtype):
    """Bit for bit what NaN in their place gives, in images that may not be written to."""
    rng = np.random.default_rng(4)
    whole = values((40, 150), dtype) if dtype[0] in "fc" else integers((40, 150), dtype)
    weights = positive((3, 5))
    layouts = (np.s_[:, :], np.s_[::2, 1::3], np.s_[::-1, ::-1])
    for image in (*(whole[at] for at in layouts), np.asfortranarray(whole), np.broadcast_to(whole[0], (20, 150))):
        mask = rng.random(image.shape) < 0.02
        image.flags.writeable = False
        bare = image.astype(np.result_type(image.dtype, np.float64 if image.dtype.kind in "iu" else image.dtype))
        bare[mask] = complex(np.nan, np.nan) if dtype[0] == "c" else np.nan
        for policy in ("omit", "interpolate"):
            for options in ({"mode": "wrap"}, {"mode": "constant", "cval": 2.0}, {"stride": 2}, {"dilation": (2, 1)}):
                options = options | {"nan_policy": policy, "output": bare.dtype}
                desired = ndimage.convolve(bare, weights, **options)
                for given_mask in (mask, mask.astype(float), np.asfortranarray(mask), np.repeat(mask, 2, 0)[::2]):
                    assert_identical(ndimage.convolve(image, weights, mask=given_mask, **options), desired)


def test_masks_may_be_where_the_result_goes(engine):
    image, weights = integers((30, 40), "uint8"), positive((3, 3))
    mask = (integers((30, 40), "uint8", 1) > 100).astype(np.uint8)
    desired = ndimage.convolve(image, weights, nan_policy="interpolate", normalize=True, mask=mask.copy())
    assert ndimage.convolve(image, weights, mask, nan_policy="interpolate", normalize=True, mask=mask) is mask
    assert_identical(mask, desired)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["cython", "numba"])
def test_nothing_of_the_images_size_is_made(name, masked):
    image, weights, out = with_nan((1000, 1000), "float64", 0.01), positive((3, 3)), np.empty((1000, 1000))
    options = {"nan_policy": "interpolate", "normalize": True, "mask": image > 1 if masked else None, "threads": 2}
    with fastconv.use(engine=name):
        ndimage.convolve(image, weights, out, **options)
        tracemalloc.start()
        ndimage.convolve(image, weights, out, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.nbytes / 4


@pytest.mark.parametrize("options", [{"nan_policy": "interpolate"}, {"normalize": True}, {"nan_policy": "omit"}])
def test_small_calls_are_replayed(options):
    """Also those divided by the sum of the weights: whether they may be depends on the weights."""
    images = [with_nan((20, 30), "float32", 0.05, seed) for seed in range(3)]
    kernels = [positive((3, 4), seed) for seed in range(3)]
    pairs = [(image, weights) for image in images for weights in kernels]
    replay.forget()
    for _ in range(2):  # a call that is not replayed itself may make one that is
        results = [ndimage.convolve(*pair, **options) for pair in pairs]
    if "normalize" not in options:
        before = sum(tapes.plays for tapes in replay.memories)
        again = [ndimage.convolve(*pair, **options) for pair in pairs]
        assert sum(tapes.plays for tapes in replay.memories) == before + len(pairs)
        results += again
    for pair, result in zip(2 * pairs, results, strict=False):
        replay.forget()
        assert_identical(result, ndimage.convolve(*pair, **options))
        with pytest.raises(ValueError, match="sum other than 0") if "omit" not in options.values() else nullcontext():
            ndimage.convolve(pair[0], pair[1] * 0, **options)


def test_infinities_are_numbers(engine):
    image = values((12, 40), "float32")
    image[3, 4], image[3, 20], image[8, 30] = np.inf, np.nan, -np.inf
    result = ndimage.convolve(image, positive((3, 3)), nan_policy="interpolate")
    assert (result[2:5, 3:6] == np.inf).all() and (result[7:10, 29:32] == -np.inf).all()
    assert np.isfinite(result[2:5, 19:22]).all()


def test_nan_beyond_the_border(engine):
    """``cval=nan``: nothing is known there."""
    image, weights = values((9, 50), "float64"), positive((3, 4))
    inside = scipy.ndimage.correlate(np.ones_like(image), weights, mode="constant")
    desired = scipy.ndimage.correlate(image, weights, mode="constant") / inside * weights.sum()
    actual = ndimage.correlate(image, weights, mode="constant", cval=np.nan, nan_policy="interpolate")
    assert_matches(actual, desired, weights.sum() * 40, 24)


def test_complex_samples_are_missing_as_a_whole(engine):
    image, weights = values((12, 30), "complex128"), positive((3, 3))
    image[3, 4], image[7, 20] = complex(np.nan, 1), complex(1, np.nan)
    missing = np.isnan(image)
    for part in (np.real, np.imag):
        bare = np.where(missing, np.nan, part(image))
        for policy in ("omit", "interpolate"):
            actual = part(ndimage.convolve(image, weights, nan_policy=policy))
            np.testing.assert_allclose(
                actual, ndimage.convolve(bare, weights, nan_policy=policy), rtol=1e-12, atol=1e-12
            )
    masked = ndimage.convolve(image, weights, nan_policy="omit", mask=~missing)
    assert_identical(masked, np.zeros_like(image))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_masked_integers(engine, dtype):
    """Integer results are truncated from sums in SciPy's order, or rounded and clamped."""
    image, weights = integers((20, 60), dtype), integers((3, 3), "float64", 1) + 9
    mask = np.random.default_rng(3).random(image.shape) < 0.2
    omitted = ndimage.correlate(image, weights, nan_policy="omit", mask=mask)
    assert_identical(omitted, scipy.ndimage.correlate(np.where(mask, 0, image), weights))
    real = ndimage.correlate(image, weights, nan_policy="interpolate", mask=mask, normalize=True, output=float)
    assert real.dtype == np.float64
    near = np.abs(real - np.rint(real)) < 1e-9
    whole = ndimage.correlate(image, weights, nan_policy="interpolate", mask=mask, normalize=True)
    assert_identical(whole[~near], np.trunc(real).astype(dtype)[~near])
    rounded = ndimage.correlate(image, weights, nan_policy="interpolate", mask=mask, normalize=True, casting="saturate")
    halves = np.abs(np.abs(real - np.trunc(real)) - 0.5) < 1e-9
    limits = np.iinfo(dtype)
    assert_identical(rounded[~halves], np.clip(np.rint(real), limits.min, limits.max).astype(dtype)[~halves])


def test_layouts_and_output_of_missing_samples(engine):
    image, weights = with_nan((40, 90), "float32"), positive((3, 4))
    desired = ndimage.convolve(image[::2, ::-1].copy(), weights, nan_policy="interpolate")
    assert_identical(ndimage.convolve(image[::2, ::-1], weights, nan_policy="interpolate"), desired)
    swapped = image[::2, ::-1].astype(">f4")
    assert_identical(ndimage.convolve(swapped, weights, nan_policy="interpolate"), desired)
    frozen = image[::2, ::-1].copy()
    frozen.flags.writeable = False
    out = np.empty(desired.shape, ">f8")
    assert ndimage.convolve(frozen, weights, out=out, nan_policy="interpolate") is out
    np.testing.assert_allclose(out, desired, rtol=0, atol=1e-5)
    overlapping = frozen.copy()
    ndimage.convolve(overlapping, weights, overlapping, nan_policy="interpolate")
    assert_identical(overlapping, desired)
    empty = ndimage.convolve(np.ones((0, 4)), weights, nan_policy="interpolate")
    assert empty.shape == (0, 4)


def test_a_gap_that_moves_is_seen(engine):
    """Calls on equal shapes, which may be replayed, look at the data and the weights anew."""
    image, weights = values((9, 9), "float64"), positive((3, 3))
    for place in (0, 4, 8):
        holed = image.copy()
        holed[place, place] = np.nan
        for scale in (1.0, 3.0):
            for _ in range(2):
                actual = ndimage.convolve(holed, weights * scale, nan_policy="interpolate", normalize=True)
                check = as_astropy(holed, weights * scale)
                assert_identical(ndimage.convolve(
                    holed, weights * scale, mode="constant", nan_policy="interpolate", normalize=True), check)  # fmt: skip
                assert not np.isnan(actual).any()
        with pytest.raises(ValueError, match="sum other than 0"):
            ndimage.convolve(holed, weights - weights.mean(), nan_policy="interpolate")


@given(st.data())
def test_any_normalized_problem(engine, data):
    """Against the reference, with strides, dilations and a boundary rule for each axis."""
    ndim = data.draw(st.integers(1, 3))

    def axes(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(ndim))

    shape, size, stride, dilation = axes(1, 40 // ndim), axes(1, 4), axes(1, 3), axes(1, 2)
    dtype = data.draw(st.sampled_from(FLOATS))
    image = integers(shape, dtype, data.draw(st.integers(0, 9)))
    image[np.random.default_rng(ndim).random(shape) < data.draw(st.sampled_from([0, 0.05, 0.5]))] = np.nan
    conv = ConvProblem(
        in_shape=shape, kernel_shape=size, out_shape=tuple(-(-n // s) for n, s in zip(shape, stride, strict=True)),
        in_dtype=dtype, kernel_dtype="float64", acc=dtype, out_dtype=dtype, pad=tuple(k // 2 for k in size),
        boundary=tuple(data.draw(st.sampled_from(["fill", "reflect", "nearest", "mirror", "wrap"])) for _ in size),
        stride=stride, dilation=dilation,
    )  # fmt: skip
    problem = NormalizedProblem(conv, data.draw(st.booleans()))
    weights = (integers(size, "float64", 3) + 20) / 8
    actual, desired = np.empty(conv.out_shape, dtype), np.empty(conv.out_shape, dtype)
    execute(problem, image[None, None], weights[None, None], actual[None, None], fill=2.0)
    reference.normalized(problem, image[None, None], weights[None, None], desired[None, None], fill=2.0)
    assert_matches(actual, desired, 20 * weights.sum(), weights.size)
    assert str(problem).startswith(("normalized conv", "omitting conv"))


# -- dtypes of results and sums, saturation -------------------------------------------------------

EDGES = [
    0.5,
    1.5,
    2.5,
    -0.5,
    -1.5,
    126.5,
    127.5,
    254.5,
    255.5,
    -128.5,
    -129.0,
    65535.5,
    2.0**31 - 0.5,
    2.0**31,
    -(2.0**31),
]
EDGES += [2.0**32, 2.0**63, -(2.0**63), 2.0**64, 1e30, -1e30, np.inf, -np.inf, np.nan]


def clamped(number: float, dtype: str) -> int:
    """One number as Python's integers have it."""
    low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if np.isnan(number):
        return 0
    if np.isinf(number):
        return int(high if number > 0 else low)
    return int(min(max(round(number), low), high))  # Python rounds halves to even, too


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS])
@pytest.mark.parametrize("source", FLOATS)
def test_saturation_of_floats(engine, source, dtype):
    image = np.array(EDGES * 3, source).reshape(3, -1)
    desired = np.array([clamped(float(number), dtype) for number in image.flat], dtype).reshape(image.shape)
    for data in (image, np.repeat(image, 4, axis=0)[::4], np.asfortranarray(image)):
        actual = ndimage.correlate(data, [[1.0]], dtype=dtype, casting="saturate")
        assert_identical(actual, desired)
    if dtype != "bool":
        assert_identical(signal.correlate2d(image, np.ones((1, 1), source), dtype=dtype, casting="saturate"), desired)
        assert_identical(signal.correlate(image, np.ones((1, 1), source), dtype=dtype, casting="saturate"), desired)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate", "convolve2d", "correlate2d"])
def test_sums_of_integers(engine, name, mode):
    function, oracle = getattr(signal, name), getattr(scipy.signal, name)
    rng = np.random.default_rng(0)
    for source, kind in (
        ("uint8", "uint8"),
        ("int8", "uint8"),
        ("uint8", "int16"),
        ("int16", "int64"),
        ("bool", "bool"),
    ):
        high = 2 if source == "bool" else 120
        image, kernel = rng.integers(0, high, (20, 37)).astype(source), rng.integers(0, high, (3, 4)).astype(kind)
        if kernel.dtype.kind == "i":
            kernel -= 60
        exact = oracle(image.astype(np.int64), kernel.astype(np.int64), mode)
        for dtype in (*INTEGERS, *FLOATS, "complex64"):
            with np.errstate(invalid="ignore"):
                assert_identical(function(image, kernel, mode, dtype=dtype), exact.astype(dtype))
        for dtype in INTEGERS:
            low, high_end = np.iinfo(dtype).min, np.iinfo(dtype).max
            desired = np.clip(exact, max(low, -(2**63)), min(high_end, 2**63 - 1)).astype(dtype)
            assert_identical(function(image, kernel, mode, dtype=dtype, casting="saturate"), desired)
    result = np.empty(oracle(image, image[:3, :4], mode).shape if image.dtype != bool else exact.shape, np.int32)
    assert function(image, kernel, mode, out=result, dtype=np.int32) is result
    assert_identical(result, exact.astype(np.int32))


@pytest.mark.parametrize("name", ["convolve", "correlate", "convolve2d", "correlate2d"])
def test_sums_of_large_integers_are_clamped_rightly(engine, name):
    """Sums that pass 32 bits, then 64."""
    function = getattr(signal, name)
    image = np.full((4, 40), 2**31 - 1, np.int32)
    kernel = np.full((2, 3), 2**31 - 1, np.int32)
    assert (function(image, kernel, casting="saturate") == 2**31 - 1).all()
    assert (function(image, -kernel, casting="saturate") == -(2**31)).all()
    assert (function(image, -kernel, dtype="uint16", casting="saturate") == 0).all()
    wide = function(image, kernel[:1, :1], dtype="int64", casting="saturate")
    assert (wide == (2**31 - 1) ** 2).all()
    huge = np.full((4, 40), 2**62, np.int64)
    assert (function(huge, np.full((2, 3), 4), "valid", casting="saturate") == 2**63 - 1).all()


def test_sums_of_float_inputs_in_integers(engine):
    image, kernel = values((12, 40), "float32") * 40, integers((3, 3), "float32", 1)
    total = scipy.signal.correlate2d(image.astype(float), kernel.astype(float))
    clear = np.abs(total - np.rint(total)) > 1e-3
    halves = np.abs(np.abs(total - np.trunc(total)) - 0.5) > 1e-3
    for function in (signal.correlate2d, signal.correlate):
        assert_identical(function(image, kernel, dtype="int32")[clear], np.trunc(total).astype("int32")[clear])
        rounded = function(image, kernel, dtype="int16", casting="saturate")
        assert_identical(rounded[halves], np.clip(np.rint(total), -(2**15), 2**15 - 1).astype("int16")[halves])


def test_fill_value_of_wide_sums(engine):
    image, kernel = integers((9, 11), "uint8"), integers((3, 2), "uint8", 1)
    desired = scipy.signal.convolve2d(image.astype(int), kernel.astype(int), fillvalue=-300)
    assert_identical(signal.convolve2d(image, kernel, fillvalue=-300, dtype="int64"), desired)
    saturated = signal.convolve2d(image, kernel, fillvalue=-300, dtype="int8", casting="saturate")
    assert_identical(saturated, np.clip(desired, -128, 127).astype(np.int8))


def test_transforms_of_wide_sums():
    image, kernel = integers((3000,), "uint8"), integers((900,), "uint8", 1)
    desired = np.convolve(image.astype(np.int64), kernel.astype(np.int64))
    for method in ("auto", "fft", "direct"):
        assert_identical(signal.convolve(image, kernel, method=method, dtype="int64"), desired)
    half = signal.convolve(image.astype(np.float16), kernel.astype(np.float16), dtype="float64")
    assert half.dtype == np.float64
    np.testing.assert_allclose(half, desired, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_sums_in_the_results_precision(engine, dtype):
    """`dtype` floating-point: sums in it; integers: SciPy's own conversion."""
    image, weights = integers((20, 50), dtype), values((3, 4), "float64", 1)
    for name in ("convolve", "correlate"):
        function, oracle = getattr(ndimage, name), getattr(scipy.ndimage, name)
        for wanted in FLOATS:
            result = function(image, weights, dtype=wanted)
            desired = oracle(image.astype(float), weights).astype(wanted)
            assert_matches(result, desired, np.abs(weights).sum() * 130, 12, wanted)
            if wanted == "float64":
                assert np.abs(result - desired).max() < 1e-10
        for wanted in ("uint8", "int32"):
            assert_identical(function(image, weights, dtype=wanted), oracle(image, weights, output=wanted))
            line = getattr(ndimage, f"{name}1d")(image, weights[0], dtype=wanted)
            assert_identical(line, getattr(scipy.ndimage, f"{name}1d")(image, weights[0], output=wanted))
    assert ndimage.convolve(image.astype("complex64"), weights, dtype="complex128").dtype == np.complex128


def test_plans_tell_the_accumulator():
    image, weights = np.ones((64, 64), "uint8"), np.ones((3, 3))
    assert fastconv.plan(ndimage.convolve, image, weights, dtype="float32").problem.acc == "float32"
    assert fastconv.plan(ndimage.convolve, image, weights, "float32").problem.acc == "float64"
    small = fastconv.plan(signal.convolve2d, image, image[:3, :3], dtype="uint8", casting="saturate").problem
    assert (small.acc, small.saturate) == ("uint32", True) and "saturate" in str(small)


# -- strides, dilations, out, axes -----------------------------------------------------------------


def spread(weights: np.ndarray, dilation: tuple[int, ...]) -> np.ndarray:
    """Weights with zeros between them."""
    result = np.zeros([(k - 1) * d + 1 for k, d in zip(weights.shape, dilation, strict=True)], weights.dtype)
    result[tuple(slice(None, None, d) for d in dilation)] = weights
    return result


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_strides_and_dilations(engine, name, mode):
    function, oracle = getattr(ndimage, name), getattr(scipy.ndimage, name)
    for dtype in ("uint8", "float32"):
        image, weights = integers((23, 41), dtype), integers((3, 4), "float64", 1)
        for stride in (1, 2, (3, 1), (1, 5), (30, 50)):
            for dilation in (1, 2, (1, 3), (4, 2)):
                options = {"mode": mode, "cval": 3, "origin": (1, -1)}
                every = stride if isinstance(stride, tuple) else (stride, stride)
                apart = dilation if isinstance(dilation, tuple) else (dilation, dilation)
                desired = oracle(image, spread(weights, apart), **options)[:: every[0], :: every[1]]
                actual = function(image, weights, stride=stride, dilation=dilation, **options)
                assert_identical(actual, np.ascontiguousarray(desired))


@pytest.mark.parametrize("name", ["convolve1d", "correlate1d"])
def test_strides_and_dilations_1d(engine, name):
    function, oracle = getattr(ndimage, name), getattr(scipy.ndimage, name)
    for dtype in ("int16", "float64"):
        image, weights = integers((9, 30, 4), dtype), integers((5,), "float64", 1)
        for axis in (0, 1, -1):
            step = [slice(None)] * 3
            step[axis] = slice(None, None, 3)
            desired = oracle(image, spread(weights, (2,)), axis, mode="mirror", origin=2)[tuple(step)]
            out = np.empty(desired.shape, dtype)
            actual = function(image, weights, axis, mode="mirror", origin=2, stride=3, dilation=2, out=out)
            assert actual is out
            assert_identical(out, np.ascontiguousarray(desired))


def test_strides_belong_to_the_named_axes(engine):
    """A stack of images: axes that are not filtered keep their size."""
    stack, weights = integers((5, 12, 14), "float32"), integers((3, 2), "float32", 1)
    for axes, stride, every in (((1, 2), (2, 3), np.s_[:, ::2, ::3]), ((2, 0), (2, 3), np.s_[::3, :, ::2])):
        desired = scipy.ndimage.correlate(stack, weights, axes=axes)[every]
        assert_identical(ndimage.correlate(stack, weights, axes=axes, stride=stride), np.ascontiguousarray(desired))
    whole = ndimage.correlate(stack, weights, axes=(1, 2))
    for image, result in zip(stack, whole, strict=True):
        assert_identical(ndimage.correlate(image, weights), result)
    holed = np.where(stack > 3, np.nan, stack)
    desired = np.stack([ndimage.correlate(image, weights + 20, nan_policy="interpolate") for image in holed])
    assert_matches(ndimage.correlate(holed, weights + 20, axes=(1, 2), nan_policy="interpolate"), desired, 1e3, 6)


def test_strides_of_missing_samples(engine):
    image, weights = with_nan((30, 61), "float64"), positive((3, 4))
    whole = ndimage.convolve(image, spread(weights, (2, 1)), nan_policy="interpolate", mode="wrap")
    actual = ndimage.convolve(image, weights, nan_policy="interpolate", mode="wrap", stride=(3, 2), dilation=(2, 1))
    assert_matches(actual, np.ascontiguousarray(whole[::3, ::2]), weights.sum() * 40, 24)


def test_steps_of_any_size():
    """Taps far outside meet the border; no window of that size is made."""
    image, weights = with_nan((40, 50), "float32", 0.01), np.float32([[1, 2, 4]])
    near = np.nan_to_num(image)
    far = ndimage.correlate(near, weights, dilation=10**6, mode="constant", cval=0.5)
    np.testing.assert_allclose(far, near * 2 + 2.5, rtol=1e-6)
    omitted = ndimage.correlate(image, weights, dilation=10**6, mode="constant", cval=0.5, nan_policy="omit")
    np.testing.assert_allclose(omitted, far, rtol=1e-6)
    assert_identical(ndimage.correlate(near, weights, stride=10**6), ndimage.correlate(near, weights)[:1, :1].copy())


# -- precision ------------------------------------------------------------------------------------


def test_strict_sums_are_scipys(engine):
    """float32 within one rounding of SciPy's; by default within the error of a float32 sum, which is larger."""
    image, weights = values((60, 60), "float32"), values((15, 15), "float32", 1)
    exact = scipy.ndimage.correlate(image.astype(float), weights.astype(float))
    scipys = scipy.ndimage.correlate(image, weights)
    with fastconv.use(precision="strict"):
        strict = ndimage.correlate(image, weights)
        lines = ndimage.correlate1d(image, weights[0])
    np.testing.assert_array_max_ulp(strict, scipys, 1)
    np.testing.assert_array_max_ulp(lines, scipy.ndimage.correlate1d(image, weights[0]), 1)
    default = ndimage.correlate(image, weights)
    magnitude = scipy.ndimage.correlate(np.abs(image).astype(float), np.abs(weights).astype(float))
    error = {name: (np.abs(result - exact) / magnitude).max() for name, result in (("s", strict), ("d", default))}
    assert error["s"] < 2.0**-24 < error["d"] < 2.0**-24 * 225


def test_precision_chooses_the_accumulator():
    def acc(image: np.ndarray, **options) -> str:
        return fastconv.plan(ndimage.correlate, image, np.ones((3, 3)), **options).problem.acc

    single, byte = np.ones((8, 8), "float32"), np.ones((8, 8), "uint8")
    assert [acc(single), acc(byte, output="float32"), acc(single + 1j)] == ["float32", "float64", "float32"]
    with fastconv.use(precision="strict"):
        assert fastconv.config.current_precision() == "strict"
        assert [acc(single), acc(single + 1j), acc(single, dtype="float32")] == ["float64", "float64", "float32"]
        with fastconv.use(precision="fast"):
            assert [acc(byte, output="float32"), acc(byte), acc(byte, output=float)] == [
                "float32",
                "float64",
                "float64",
            ]
    assert fastconv.config.current_precision() == "default"
    with pytest.raises(ValueError, match="precision must be one of strict, default, fast; got 'exact'"):
        fastconv.use(precision="exact").__enter__()


# -- wrong arguments --------------------------------------------------------------------------------

E, K = np.ones((5, 6)), np.ones((3, 2))
FILTERS = [ndimage.convolve, ndimage.correlate]
LINES = [ndimage.convolve1d, ndimage.correlate1d]
SIGNAL = [signal.convolve, signal.correlate, signal.convolve2d, signal.correlate2d]
WRONG: list[tuple[list, dict, list[str]]] = [
    (FILTERS, {"nan_policy": "ignore"}, ["nan_policy", "'ignore'", "'interpolate'"]),
    (FILTERS, {"nan_policy": "omit", "mask": np.ones((6, 5))}, ["mask", "(6, 5)", "(5, 6)"]),
    (FILTERS, {"mask": np.ones((5, 6))}, ["mask", "nan_policy", "'propagate'"]),
    (FILTERS, {"weights": K - 1, "normalize": True}, ["weights", "sum other than 0", "normalize"]),
    (FILTERS, {"weights": K - 1, "nan_policy": "interpolate"}, ["weights", "sum other than 0", "nan_policy"]),
    (FILTERS, {"weights": K * 1j, "nan_policy": "omit"}, ["weights", "real", "complex128"]),
    (FILTERS + LINES + SIGNAL, {"casting": "clip"}, ["casting", "'clip'", "'saturate'"]),
    (FILTERS + LINES + SIGNAL, {"dtype": "float16"}, ["dtype", "float16"]),
    (FILTERS + LINES + SIGNAL, {"dtype": "no such"}, ["dtype", "'no such'"]),
    (FILTERS + LINES, {"dtype": "complex64"}, ["dtype", "real", "complex64"]),
    (SIGNAL, {"weights": K * 1j, "dtype": "float64"}, ["dtype", "complex", "float64"]),
    (SIGNAL[:2], {"dtype": "uint8", "casting": "saturate", "method": "fft"}, ["method", "'fft'"]),
    (FILTERS + LINES, {"dtype": "float32", "output": np.empty((5, 6))}, ["output", "float32", "float64"]),
    (FILTERS + LINES, {"dtype": "float32", "output": "float32"}, ["output", "dtype"]),
    (FILTERS + LINES, {"out": np.empty((5, 6)), "output": np.empty((5, 6))}, ["output", "out"]),
    (FILTERS + LINES, {"out": float}, ["out", "type"]),
    (FILTERS + LINES, {"out": np.empty((3, 6))}, ["(5, 6)", "(3, 6)"]),
    (FILTERS + LINES, {"stride": 0}, ["stride", "at least 1", "0"]),
    (FILTERS + LINES, {"stride": 1.5}, ["stride", "1.5"]),
    (FILTERS + LINES, {"dilation": -1}, ["dilation", "at least 1", "-1"]),
    (FILTERS, {"stride": (1, 2, 3)}, ["stride", "(1, 2, 3)"]),
    (FILTERS + LINES, {"stride": 2**31}, ["stride", str(2**31)]),
    (FILTERS, {"stride": 2, "out": np.empty((5, 6))}, ["(3, 3)", "(5, 6)"]),
    (FILTERS + LINES, {"dilation": 2, "origin": 5}, ["origin", "5"]),
]


@pytest.mark.parametrize("functions, options, words", WRONG, ids=[f"{list(o)} {w[-1]}" for _, o, w in WRONG])
def test_wrong_arguments(functions, options, words):
    for function in functions:
        arguments = dict(options)
        weights = arguments.pop("weights", K)
        weights = weights[0] if function in LINES else weights
        with pytest.raises((ValueError, TypeError)) as caught:
            function(E, weights, **arguments)
        for word in words:
            assert word in str(caught.value), function.__name__


# -- the page -----------------------------------------------------------------------------------------


def test_the_page_is_true():
    page = Path(__file__).parent.parent / "docs" / "beyond-scipy.md"
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 10 and result.failed == 0
