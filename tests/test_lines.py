"""Lines of bytes summed in fixed point: exactly SciPy's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as sp

import fastconv
from fastconv import config, ndimage
from fastconv.engines import cython_cpu
from fastconv.problem import LinesProblem

ENGINES = ("cython", "numba", "reference")
MODES = ("reflect", "constant", "nearest", "mirror", "wrap")

# Kernels whose sums are hard to truncate: normalised, rational, dyadic, negative, large, asymmetric, antisymmetric.
WEIGHTS = {
    "gaussian": np.exp(-0.5 * np.arange(-4, 5) ** 2) / np.exp(-0.5 * np.arange(-4, 5) ** 2).sum(),
    "thirds": np.full(3, 1 / 3),
    "fifths": np.full(5, 0.2),
    "sevenths": np.full(7, 1 / 7),
    "halves": np.array([0.5, 0, 0.5]),
    "binomial": np.array([1, 4, 6, 4, 1]) / 16,
    "whole": np.array([1.0, 2, 1]),
    "difference": np.array([-1.0, 0, 1]),
    "second": np.array([1.0, -2, 1]),
    "slope": np.array([0.3, 0.1, 0.0, -0.1, -0.3]),
    "sharp": np.array([-0.3, 1.6, -0.3]),
    "asymmetric": np.array([0.1, -0.2, 0.33, 0.4, 0.1]),
    "tenths": np.array([0.1, 0.2, 0.7]),
    "even": np.array([0.25, 0.3, 0.35, 0.1]),
    "one": np.array([0.0, 1.0, 0.0]),
    "almost_one": np.array([0.1, 0.8 - 2e-16, 0.1]),
    "nearly_whole": np.array([1e-7, 1.0, 1e-7]),
    "tiny": np.array([1e-18, 1e-9, 1e-18]),
    "large": np.array([40.3, -70.1, 40.3]),
    "too_large": np.array([1e3, 0.5, 1e3]),
    "huge": np.array([1e12, 0.5, 2.0]),
    "long": np.full(101, 1 / 101),
    "nearly_symmetric": np.array([0.2, 0.5, 0.2 + 1e-16]),
}


def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    ramp = np.arange(256, dtype=np.uint8)
    board = np.indices((70, 131)).sum(0) % 2
    return {
        "random": rng.integers(0, 256, (67, 213), np.uint8),
        "flat": np.repeat(ramp[:, None], 71, 1),  # along rows, every value
        "slopes": ((np.arange(190)[:, None] * 3 + np.arange(170)) // 2).astype(np.uint8),
        "board": (board * 255).astype(np.uint8),
        "saturated": np.where(rng.random((66, 130)) < 0.9, 255, rng.integers(0, 256, (66, 130))).astype(np.uint8),
        "dark": np.where(rng.random((66, 130)) < 0.9, 0, 1).astype(np.uint8),
        "smooth": (100 + rng.integers(0, 3, (90, 257))).astype(np.uint8),
        "narrow": rng.integers(0, 256, (90, 5), np.uint8),
        "low": rng.integers(0, 256, (3, 200), np.uint8),
        "one": rng.integers(0, 256, (1, 1), np.uint8),
        "65": rng.integers(0, 256, (65, 65), np.uint8),
        "64": rng.integers(0, 256, (64, 64), np.uint8),
    }


PICTURES = pictures()


@pytest.fixture(params=ENGINES)
def engine(request):
    with config.use(engine=request.param):
        yield request.param


def check(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", WEIGHTS)
def test_lines_are_truncated_as_scipy_does(name, picture):
    image, weights = PICTURES[picture], WEIGHTS[name]
    with config.use(engine="cython"):
        for axis in (0, 1):
            check(ndimage.correlate1d(image, weights, axis), sp.correlate1d(image, weights, axis))


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("sigma", [0.4, 0.5, 0.7, 1, 1.2, 1.5, 2, 3, 4, 9.3])
def test_gaussians_of_bytes(sigma, picture):
    image = PICTURES[picture]
    with config.use(engine="cython"):
        check(ndimage.gaussian_filter(image, sigma), sp.gaussian_filter(image, sigma))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sigma", [0.5, 2, (1, 0.7), (0, 1.5), (1.5, 0)])
def test_every_engine_and_mode(engine, mode, sigma):
    image = PICTURES["saturated"][:40, :77]
    for cval in (0, 200):
        expected = sp.gaussian_filter(image, sigma, mode=mode, cval=cval)
        check(ndimage.gaussian_filter(image, sigma, mode=mode, cval=cval), expected)


@pytest.mark.parametrize("cval", [-1, 0.5, 256, 1e9])
def test_values_beyond_the_border_that_are_no_bytes(engine, cval):
    image = PICTURES["random"][:30, :70]
    expected = sp.gaussian_filter(image, 1.3, mode="constant", cval=cval)
    check(ndimage.gaussian_filter(image, 1.3, mode="constant", cval=cval), expected)


@pytest.mark.parametrize("origin", [-2, 1, 2])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("convolves", [False, True])
def test_origin(engine, origin, mode, convolves):
    image = PICTURES["random"][:20, :90]
    ours, theirs = (ndimage.convolve1d, sp.convolve1d) if convolves else (ndimage.correlate1d, sp.correlate1d)
    for axis in (0, 1):
        arguments = (image, WEIGHTS["asymmetric"], axis, None, mode, 7, origin)
        check(ours(*arguments), theirs(*arguments))


SHAPES = [
    (20, 3, 7),
    (12, 30, 5),
    (17, 33, 65),
    (4, 70, 3),
    (70, 4, 3),
    (5, 6, 7, 8),
    (2, 3, 130),
    (300,),
    (40, 200, 66),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_stacks_and_colours(engine, shape):
    if engine == "reference" and np.prod(shape) > 50000:
        shape = shape[:-1] + (10,)
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    check(ndimage.gaussian_filter(image, 1), sp.gaussian_filter(image, 1))
    for axis in range(len(shape)):
        weights = WEIGHTS["slope"]
        check(ndimage.correlate1d(image, weights, axis), sp.correlate1d(image, weights, axis))
    for axes in [(0, 1), (1, 0), (-1, 0), (1, 2), (2, 0, 1)]:
        if len(shape) > max(axes) and len(shape) > 1:
            sigma = (0.5, 1.1, 2)[: len(axes)]
            check(ndimage.gaussian_filter(image, sigma, axes=axes), sp.gaussian_filter(image, sigma, axes=axes))


def test_arrays_as_they_come(engine):
    image = np.random.default_rng(2).integers(0, 256, (60, 140), np.uint8)
    expected = sp.gaussian_filter(image, 1.5)
    read_only = image.copy()
    read_only.flags.writeable = False
    check(ndimage.gaussian_filter(read_only, 1.5), expected)
    check(ndimage.gaussian_filter(image[::-1, ::-1], 1.5), sp.gaussian_filter(image[::-1, ::-1], 1.5))
    check(ndimage.gaussian_filter(image[::2, 1::3], 1.5), sp.gaussian_filter(image[::2, 1::3], 1.5))
    check(ndimage.gaussian_filter(image.T, 1.5), sp.gaussian_filter(image.T, 1.5))
    check(ndimage.gaussian_filter(np.asfortranarray(image), 1.5), expected)
    check(ndimage.gaussian_filter(image[10:50, 20:120], 1.5), sp.gaussian_filter(image[10:50, 20:120], 1.5))
    for make in (image.copy, lambda: np.zeros(image.shape, np.uint8), lambda: np.zeros((60, 280), np.uint8)[:, ::2]):
        result = make()
        assert ndimage.gaussian_filter(image, 1.5, output=result) is result
        check(result, expected)
    wide = np.zeros((64, 150), np.uint8)
    ndimage.gaussian_filter(image, 1.5, output=wide[2:62, 5:145])
    check(wide[2:62, 5:145], expected)
    assert wide.sum() == expected.sum(dtype=np.int64)  # nothing else is written
    in_place = image.copy()
    ndimage.gaussian_filter(in_place, 1.5, output=in_place)
    check(in_place, expected)


@pytest.mark.parametrize("function", ["sobel", "prewitt"])
def test_derivatives(engine, function):
    for name in ("random", "board", "narrow", "flat"):
        for axis in (0, 1):
            image = PICTURES[name][:60]
            check(getattr(ndimage, function)(image, axis), getattr(sp, function)(image, axis))


def test_derivatives_of_gaussians(engine):
    image = PICTURES["random"][:40, :90]
    for order in (1, 2, (0, 1), (2, 1)):
        check(ndimage.gaussian_filter(image, 1.4, order=order), sp.gaussian_filter(image, 1.4, order=order))


def test_replayed_calls_follow_the_weights():
    image, other = PICTURES["random"][:20, :70], PICTURES["smooth"][:20, :70]
    with config.use(engine="cython"):
        for _ in range(3):
            for name in ("thirds", "difference", "tenths", "second", "too_large"):
                for array in (image, other):
                    check(ndimage.correlate1d(array, WEIGHTS[name]), sp.correlate1d(array, WEIGHTS[name]))


def test_nan_weights():
    weights = np.array([0.5, np.nan, 0.5])
    with config.use(engine="cython"), np.errstate(all="ignore"):
        assert not ndimage.correlate1d(PICTURES["random"], weights).any()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_lines(data):
    taps = data.draw(st.integers(1, 12))
    kind = data.draw(st.sampled_from(["any", "whole", "rational", "mirrored", "opposite"]))
    seed = data.draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-1, 1, taps) if kind == "any" else rng.integers(-5, 6, taps).astype(float)
    if kind == "rational":
        weights = np.abs(weights) / max(np.abs(weights).sum(), 1)
    if kind in ("mirrored", "opposite"):
        weights = rng.uniform(0, 1, 2 * taps + 1)
        weights = weights + weights[::-1] if kind == "mirrored" else weights - weights[::-1]
        weights /= max(np.abs(weights).sum(), 1e-9)
    levels = data.draw(st.sampled_from([2, 4, 256]))
    shape = (data.draw(st.integers(1, 40)), data.draw(st.integers(1, 140)))
    image = (rng.integers(0, levels, shape) * (255 // (levels - 1))).astype(np.uint8)
    mode = data.draw(st.sampled_from(MODES))
    with config.use(engine="cython"):
        for axis in (0, 1):
            expected = sp.correlate1d(image, weights, axis, mode=mode, cval=3)
            check(ndimage.correlate1d(image, weights, axis, mode=mode, cval=3), expected)


@pytest.mark.parametrize("sigma", [0.5, 0.83, 1, 1.7, 2, 4])
def test_millions_of_pixels(sigma):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (1200, 1500), np.uint8)
    image[:, 700:] //= 64  # few levels: many sums are near an integer
    with config.use(engine="cython"):
        for threads in (1, 2):
            check(ndimage.gaussian_filter(image, sigma, threads=threads), sp.gaussian_filter(image, sigma))


def test_the_plan_says_lines():
    image = PICTURES["random"]
    with config.use(engine="cython"):
        plan = fastconv.plan(ndimage.gaussian_filter, image, 1)
        assert plan.implementation == "cython:lines" and isinstance(plan.problem, LinesProblem)
        assert "axis0:k9p4/reflect/symmetric" in str(plan)
        assert fastconv.plan(ndimage.correlate1d, image, [1, 2, 4]).implementation == "cython:lines"
    assert cython_cpu.is_ready("lines", "uint8")
