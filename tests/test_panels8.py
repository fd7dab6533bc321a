"""Quantised convolutions of planes by panels of filters, lanes of pixels, against their definition in integers."""

from __future__ import annotations

import numpy as np
import pytest
from test_conv_kernels import Guarded
from test_quantized import FUNCTIONS, definition, numbers

import fastconv
from fastconv import nn
from fastconv.algorithms.panels8 import Panels8
from fastconv.engines import cython_cpu

pytestmark = pytest.mark.skipif(
    cython_cpu.DOT[2] != 4, reason="the processor has no instruction for four products of bytes"
)


def quantization(rng, filters, dtype, weight_dtype, out_dtype, depth):
    """Scales and zero points as frameworks make them, none of weights; some results lie half-way between integers."""
    return {
        "input_scale": 0.5, "input_zero_point": 77 if dtype == "uint8" else -5, "dtype": out_dtype,
        "weight_scale": 2.0 ** rng.integers(-8, -5, filters), "weight_zero_point": 0 if weight_dtype == "int8" else 128,
        "scale": 16.0 * depth**0.5, "zero_point": 101 if out_dtype == "uint8" else -7,
    }  # fmt: skip


def taken(x, w, bias, options, q) -> np.ndarray:
    """The result, which panels must have made."""
    ndim = x.ndim - 2
    with fastconv.use(engine="cython"):
        planned = fastconv.plan(FUNCTIONS[ndim], x, w, bias, **options, **q)
        assert isinstance(planned._executor, Panels8)
        return planned(x)


@pytest.mark.parametrize("stride", [1, 2, (3, 1), (1, 2)])
@pytest.mark.parametrize("kernel, padding", [((1, 1), 0), ((3, 3), 1), ((3, 3), (0, 2)), ((5, 2), (3, 4)), ((1, 7), 0)])
def test_planes(kernel, padding, stride):
    """Rows shorter and longer than a tile, one to four vectors of pixels, panels of any height."""
    rng = np.random.default_rng(kernel[1])
    found = 0
    for i, (height, width) in enumerate(((16, 16), (14, 14), (9, 29), (5, 130), (57, 8), (33, 33), (64, 7))):
        channels, filters = int(rng.integers(1, 12)), int(rng.integers(4, 30))
        dtype, weight_dtype, out_dtype = (("uint8", "int8")[i >> n & 1] for n in range(3))
        x, w = (
            numbers(rng, (2, channels, height, width), dtype),
            numbers(rng, (filters, channels, *kernel), weight_dtype),
        )
        bias = None if i % 3 == 0 else rng.integers(-999, 999, filters).astype("int32")
        options = {"padding": padding, "stride": stride, "dilation": 2 if min(height, width) > 20 else 1}
        q = quantization(rng, filters, dtype, weight_dtype, out_dtype, channels * kernel[0] * kernel[1])
        desired = definition(2, (x, w, bias), options, q)
        with fastconv.use(engine="cython"):
            planned = fastconv.plan(nn.quantized_conv2d, x, w, bias, **options, **q)
            found += isinstance(planned._executor, Panels8)
            for threads in (1, 3):
                with fastconv.use(threads=threads):
                    np.testing.assert_array_equal(nn.quantized_conv2d(x, w, bias, **options, **q), desired)
            np.testing.assert_array_equal(planned.prepare(w)(x), desired)
    assert found >= 3


def test_groups_and_views():
    """Channels of groups, planes that are parts of larger ones, backwards, results likewise."""
    rng = np.random.default_rng(3)
    x, w = numbers(rng, (3, 10, 20, 18), "uint8"), numbers(rng, (14, 5, 3, 3), "int8")
    q = quantization(rng, 14, "uint8", "int8", "uint8", 45)
    for image in (x, x[:, :, 2:-1, 1:-1], x[:, ::-1], x[:, :, ::-1], x[::-1], x.transpose(0, 1, 3, 2)):
        options = {"padding": 1, "groups": 2}
        desired = definition(2, (image, w, None), options, q)
        np.testing.assert_array_equal(taken(image, w, None, options, q), desired)
        out = np.zeros((3, 15, *image.shape[2:]), "uint8")[:, 1:]
        with fastconv.use(engine="cython"):
            nn.quantized_conv2d(image, w, None, **options, **q, out=out)
        np.testing.assert_array_equal(out, desired)
    line = numbers(rng, (2, 7, 122), "int8")
    narrow = numbers(rng, (9, 7, 4), "int8")
    q = quantization(rng, 9, "int8", "int8", "int8", 28)
    np.testing.assert_array_equal(
        taken(line, narrow, None, {"stride": 2}, q), definition(1, (line, narrow, None), {"stride": 2}, q)
    )


@pytest.mark.parametrize("change", [{"weight_zero_point": 3}, {"scale": 1e-4}, {"weight_scale": 1e-33}])
def test_what_goes_by_way_of_pixels(change):
    """Weights with zero points, results that 32 bits do not hold times 65536."""
    rng = np.random.default_rng(5)
    x, w = numbers(rng, (1, 8, 16, 16), "uint8"), numbers(rng, (12, 8, 3, 3), "int8")
    q = quantization(rng, 12, "uint8", "int8", "uint8", 72) | change
    np.testing.assert_array_equal(taken(x, w, None, {"padding": 1}, q), definition(2, (x, w, None), {"padding": 1}, q))


@pytest.mark.parametrize("at_end", [False, True])
def test_nothing_beyond_the_arrays_is_touched(at_end):
    """A kernel that reads or writes beyond an array ends the process."""
    rng = np.random.default_rng(7)
    kept = []

    def guarded(values):
        kept.append(Guarded(values.nbytes, at_end))
        array = kept[-1].bytes.view(values.dtype).reshape(values.shape)
        array[...] = values
        return array

    q = quantization(rng, 7, "uint8", "int8", "uint8", 27)
    for size, options in (
        ((17, 19), {"padding": 1}),
        ((16, 16), {}),
        ((30, 31), {"stride": 2}),
        ((9, 64), {"padding": 2, "stride": 2}),
    ):
        x, w = guarded(numbers(rng, (1, 3, *size), "uint8")), guarded(numbers(rng, (7, 3, 3, 3), "int8"))
        desired = definition(2, (x, w, None), options, q)
        out = guarded(np.zeros_like(desired))
        with fastconv.use(engine="cython"):
            nn.quantized_conv2d(x, w, None, **options, **q, out=out)
        np.testing.assert_array_equal(out, desired)
