"""The direct filter's kernels: results that stream past the caches, activations, sums in blocks of kernel rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import fastconv
from fastconv import nn, replay
from fastconv.algorithms import filter as direct
from fastconv.algorithms import separable
from fastconv.plan import plan_for
from fastconv.problem import ACTIVATIONS


@pytest.fixture
def streaming(monkeypatch) -> Iterator[None]:
    """Every result is taken for one larger than the caches."""
    monkeypatch.setattr(direct, "STREAM_BEYOND", 0)
    monkeypatch.setattr(separable, "STREAM_BEYOND", 0)
    monkeypatch.setattr(separable, "AHEAD_BYTES", 0)
    plan_for.cache_clear()
    replay.forget()
    yield
    plan_for.cache_clear()
    replay.forget()


def whole(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(0, 20, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint32"])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 2), (5, 4), (9, 7)])
def test_results_that_stream_begin_anywhere_in_a_line(engine, streaming, dtype, kernel):
    """Rows of the result begin at every element of a line, and nothing around them is written."""
    weights = whole(kernel, dtype, 1)
    for rows, cols in ((8, 32), (19, 71), (33, 96), (24, 200)):
        image = whole((rows + kernel[0] - 1, cols + kernel[1] - 1), dtype)
        expected = scipy.signal.correlate2d(image, weights, "valid")
        for pitch in range(cols + 1, cols + 18, 5):
            room = np.full(3 + rows * pitch, 7, dtype)
            for first in (0, 3):
                out = room[first : first + rows * pitch].reshape(rows, pitch)[:, :cols]
                assert fastconv.correlate2d(image, weights, "valid", out=out) is out
                np.testing.assert_array_equal(out, expected)
                out[...] = 7
            assert (room == 7).all()


@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
@pytest.mark.parametrize("shape", [(64, 256), (8, 32), (75, 333), (41, 1040), (12, 40)])
def test_results_that_stream_by_patches(engine, streaming, monkeypatch, mode, shape):
    """Several patches down and across, whole lines and others, the last patch of a row and of a strip overlapping."""
    monkeypatch.setattr(direct, "STREAM_ROWS", 16)
    monkeypatch.setattr(direct, "STREAM_BYTES", 512)
    for dtype in ("float32", "float64"):
        for kernel in ((5, 5), (6, 3), (11, 8)):
            image, weights = whole(shape, dtype), whole(kernel, dtype, 1)
            expected = scipy.ndimage.correlate(image.astype(float), weights, mode=mode, cval=3)
            for threads in (1, 2):
                result = fastconv.ndimage.correlate(image, weights, mode=mode, cval=3, threads=threads)
                np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("mode", ["mirror", "constant"])
def test_results_that_stream_have_their_frames(engine, streaming, mode):
    for shape in ((40, 100), (3, 17, 150), (2000,)):
        image, weights = whole(shape, "float32"), whole((3, 5, 4)[-len(shape) :], "float32", 1)
        expected = scipy.ndimage.correlate(image.astype(float), weights, mode=mode, cval=3)
        np.testing.assert_array_equal(fastconv.ndimage.correlate(image, weights, mode=mode, cval=3), expected)


@pytest.mark.parametrize("taps", range(1, 19))
def test_kernels_of_all_heights(engine, taps):
    """Blocks of kernel rows; where rows lie 4096 bytes apart, too."""
    weights = whole((taps, 3), "float32", taps)
    for width in (50, 1024):
        image = whole((taps + 20, width), "float32")
        expected = scipy.signal.correlate2d(image, weights, "valid")
        np.testing.assert_array_equal(fastconv.correlate2d(image, weights, "valid"), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations(engine, dtype, name):
    """Of tiles read in place, which overlap their neighbours, of staged ones, of lines, of sums over several planes."""
    rng = np.random.default_rng(3)
    cases = [((1, 1, 40, 70), (3, 3), 1, 1), ((2, 3, 33, 100), (5, 4), 2, 1), ((1, 1, 1, 300), (1, 7), (0, 3), 1)]
    for shape, kernel, padding, stride in [*cases, ((1, 2, 50, 64), (9, 9), 0, 2), ((1, 1, 3, 4), (2, 2), 0, 1)]:
        x = rng.standard_normal(shape).astype(dtype)
        w = rng.standard_normal((2, shape[1], *kernel)).astype(dtype) / kernel[0]
        bias, options = rng.standard_normal(2).astype(dtype), {"padding": padding, "stride": stride}
        with fastconv.use(engine="reference"):
            expected = nn.conv2d(x, w, bias, **options, activation=name)
        tolerance = 3e-5 if dtype == "float32" else 1e-12
        found = nn.conv2d(x, w, bias, **options, activation=name)
        np.testing.assert_allclose(found, expected, tolerance, tolerance)


def test_what_streams_has_no_activation(engine, streaming):
    x, w = whole((1, 1, 30, 100), "float32"), whole((1, 1, 3, 3), "float32", 1) - 9
    expected = np.maximum(scipy.signal.correlate2d(x[0, 0], w[0, 0], "valid"), 0)
    np.testing.assert_array_equal(nn.conv2d(x, w, activation="relu")[0, 0], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_passes_that_stream(engine, streaming, dtype):
    for shape in ((40, 300), (9, 129), (50, 517)):
        for first in (0, 1, 5):
            room = np.full(np.prod(shape) + 40, 7, dtype)
            image, out = whole(shape, dtype), room[first : first + np.prod(shape)].reshape(shape)
            for axes in ((0, 1), (0,), (1,)):
                expected = scipy.ndimage.gaussian_filter(image.astype(float), 1.5, axes=axes)
                fastconv.ndimage.gaussian_filter(image, 1.5, axes=axes, output=out)
                np.testing.assert_allclose(out, expected, 1e-5 if dtype == "float32" else 1e-12)
            assert (room[:first] == 7).all() and (room[first + out.size :] == 7).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_three_by_three_at_every_width_and_place(engine, dtype):
    """Tiles of 3x3 shift vectors in registers: pairs of tiles, single ones, and rows that begin anywhere in a line."""
    rng = np.random.default_rng(5)
    kernel = rng.integers(-9, 9, (3, 3)).astype(dtype)
    for width in (31, 32, 33, 63, 64, 66, 97, 130, 161):
        room = rng.integers(-50, 50, (19, width + 9)).astype(dtype)
        for first in (0, 3):
            image = room[:, first : first + width]
            for dilation in (1, 2):
                expected = fastconv.ndimage.correlate(
                    image.astype(np.int64), kernel.astype(np.int64), dilation=dilation
                )
                np.testing.assert_array_equal(fastconv.ndimage.correlate(image, kernel, dilation=dilation), expected)
