"""Pooling reads and writes nothing beyond its arrays: these end, or begin, where pages begin that nobody may touch."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from math import prod

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.algorithms.pool import STREAM_BEYOND

PROT_NONE = 0
WINDOWS = [(2, 2, 0), (3, 2, 1), (3, 1, 1), ((2, 3), (1, 2), 0), ((5, 4), (2, 1), (1, 2))]
MOST = 1 << 20


@pytest.fixture(scope="module")
def pages() -> Iterator[list[mmap.mmap]]:
    """Two pieces of memory between pages that nobody may touch."""
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    pieces = [mmap.mmap(-1, MOST + 2 * mmap.PAGESIZE) for _ in range(2)]
    for piece in pieces:
        at = ctypes.addressof(ctypes.c_char.from_buffer(piece))
        for page in (at, at + mmap.PAGESIZE + MOST):
            assert protect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), PROT_NONE) == 0
    yield pieces


def between(piece: mmap.mmap, shape: tuple[int, ...], dtype: str, end: bool) -> np.ndarray:
    """An array at the end, or the beginning, of the memory."""
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    assert nbytes <= MOST
    return np.ndarray(shape, dtype, piece, mmap.PAGESIZE + (MOST - nbytes if end else 0))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_windows(engine, pages, window, dtype, end, data_format):
    kernel, stride, padding = window
    rng = np.random.default_rng(7)
    for height, width in ((1, 1), (2, 7), (7, 7), (5, 3), (14, 14), (9, 15), (8, 16), (12, 28), (11, 33), (6, 70)):
        for batch, channels in ((1, 1), (1, 3), (3, 5), (2, 16), (1, 67)):
            shape = (batch, channels, height, width) if data_format == "NCHW" else (batch, height, width, channels)
            x = between(pages[0], shape, dtype, end)
            x[...] = rng.integers(-9, 10, shape)
            for function, more in ((nn.max_pool2d, {}), (nn.avg_pool2d, {}), (nn.max_pool2d, {"return_indices": True})):
                options = {"data_format": data_format, **more}
                try:
                    with fastconv.use(engine="reference"):
                        desired = function(x, kernel, stride, padding, **options)
                except ValueError:  # windows larger than the plane
                    continue
                desired, *indices = desired if more else (desired,)
                out = between(pages[1], desired.shape, dtype, end)
                result = function(x, kernel, stride, padding, out=out, threads=2, **options)
                np.testing.assert_allclose(out, desired, rtol=1e-6)
                if indices:
                    np.testing.assert_array_equal(result[1], indices[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_of_a_plane_and_windows_that_vary(engine, pages, dtype):
    for shape, to in (((2, 67, 7, 7), 1), ((1, 5, 13, 13), 3), ((3, 3, 8, 8), (2, 3)), ((2, 2, 20, 33), (4, 7))):
        for end in (True, False):
            for data_format in ("NCHW", "NHWC"):
                x = between(pages[0], shape, dtype, end)
                x[...] = np.random.default_rng(8).integers(-9, 10, shape)
                for function in (nn.adaptive_max_pool2d, nn.adaptive_avg_pool2d):
                    with fastconv.use(engine="reference"):
                        desired = function(x, to, data_format=data_format)
                    out = between(pages[1], desired.shape, dtype, end)
                    function(x, to, data_format=data_format, out=out)
                    np.testing.assert_allclose(out, desired, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("window", WINDOWS[:4])
def test_results_larger_than_the_caches(engine, window, data_format):
    shape = (8, 48, 131, 133) if data_format == "NCHW" else (8, 131, 133, 48)
    x = np.random.default_rng(9).standard_normal(shape, dtype=np.float32)
    for function in (nn.max_pool2d, nn.avg_pool2d):
        result = function(x, *window, data_format=data_format)
        assert x.nbytes + result.nbytes > STREAM_BEYOND
        for image, pooled in zip(x, result, strict=True):  # each alone is small
            assert image.nbytes + pooled.nbytes < STREAM_BEYOND
            np.testing.assert_array_equal(function(image, *window, data_format=data_format), pooled)
        between_others = np.full((result.size + 5,), 7, np.float32)
        out = between_others[3:-2].reshape(result.shape)  # begins within a line
        function(x, *window, data_format=data_format, out=out)
        np.testing.assert_array_equal(out, result)
        assert (between_others[[0, 1, 2, -2, -1]] == 7).all()
