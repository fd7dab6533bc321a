"""Depthwise convolution with large kernels: by way of planes, and by transforms with a kernel for each plane."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.algorithms.overlap_planes import OverlapPlanes
from fastconv.engines import cython_cpu

ERRORS = {"float32": 3e-5, "float64": 1e-13}  # in parts of the results' root mean square


def arrays(shape, kernel, layout, dtype="float32"):
    rng = np.random.default_rng(kernel)
    x, w = rng.standard_normal(shape).astype(dtype), rng.standard_normal((shape[1], 1, *kernel)).astype(dtype)
    return (
        (np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if layout == "NHWC" else x),
        w,
        rng.standard_normal(shape[1]).astype(dtype),
    )


def strictly(x, w, bias, **kwargs):
    with fastconv.use(engine="reference"):
        return nn.conv2d(*(a.astype("float64") for a in (x, w, bias)), **kwargs)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", list(ERRORS))
@pytest.mark.parametrize(
    "shape, kernel, options",
    [
        ((1, 6, 56, 56), (31, 31), {"padding": 15}),
        ((2, 5, 48, 60), (33, 21), {"padding": ((3, 4), (20, 0)), "activation": "relu"}),
        ((3, 4, 64, 40), (25, 39), {"padding": (12, 19), "padding_mode": "reflect", "activation": "gelu"}),
        ((1, 4, 40, 64), (31, 31), {"padding": 15, "padding_mode": "circular", "activation": ("leaky_relu", 0.2)}),
    ],
    ids=str,
)
def test_agrees_with_the_direct_sum(shape, kernel, options, dtype, layout):
    x, w, bias = arrays(shape, kernel, layout, dtype)
    kwargs = options | {"groups": shape[1], "data_format": layout}
    expected = strictly(x, w, bias, **kwargs)
    for threads in (1, 3):
        with fastconv.use(engine="cython", threads=threads):
            planned = fastconv.plan(nn.conv2d, x, w, bias, **kwargs)
            assert planned.implementation == "cython:" + ("overlap_planes" if layout == "NCHW" else "depthwise_planes")
            assert layout == "NCHW" or isinstance(planned._executor.planes, OverlapPlanes)
            for result in (nn.conv2d(x, w, bias, **kwargs), planned.prepare(w)(x)):
                assert result.dtype == dtype
                assert np.abs(result - expected).max() < ERRORS[dtype] * expected.std()
    with fastconv.use(engine="cython", precision="strict"):
        planned = fastconv.plan(nn.conv2d, x, w, bias, **kwargs)
        assert "overlap_planes" not in planned.implementation
        np.testing.assert_allclose(planned(x), expected, rtol=1e-4, atol=ERRORS[dtype] * expected.std())


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_nan_and_infinity_stay_in_their_windows(layout):
    x, w, bias = arrays((1, 4, 60, 60), (31, 31), layout)
    x[0, 1, 2, 3] = np.nan
    x[0, 3, 50, 3] = np.inf
    kwargs = {"padding": 15, "groups": 4, "data_format": layout}
    with fastconv.use(engine="cython", precision="strict"):
        expected = nn.conv2d(x, w, bias, **kwargs)
    with fastconv.use(engine="cython"):
        result = nn.conv2d(x, w, bias, **kwargs)
    assert np.isnan(expected).any() and np.isfinite(expected).any()
    np.testing.assert_array_equal(np.isfinite(result), np.isfinite(expected))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)


def test_kernels_of_unlike_weights_are_summed_directly():
    """The errors of transforms would be those of the largest weight."""
    x, w, bias = arrays((1, 4, 60, 60), (31, 31), "NCHW")
    w[2] *= 1e-6
    w[2, 0, 0, 0] = 1e6
    with fastconv.use(engine="cython"):
        planned = fastconv.plan(nn.conv2d, x, w, bias, groups=4)
        with fastconv.use(precision="strict"):
            np.testing.assert_array_equal(planned(x), nn.conv2d(x, w, bias, groups=4))
    assert planned.implementation == "cython:overlap_planes"


def test_arrays_of_any_strides():
    x, w, bias = arrays((2, 8, 70, 66), (31, 29), "NCHW")
    expected = strictly(x[:, ::2, 2:, ::-1], w[::2, :, ::-1], bias[::2], groups=4)
    out = np.zeros((2, 5, 38, 80), np.float32)[:, 1:, :, 1:77:2]
    with fastconv.use(engine="cython"):
        assert nn.conv2d(x[:, ::2, 2:, ::-1], w[::2, :, ::-1], bias[::2], groups=4, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "kwargs, kernel", [({"stride": 2}, (31, 31)), ({"dilation": 2}, (25, 25)), ({}, (9, 9)), ({}, (31, 1))], ids=str
)
def test_others_are_left_to_the_direct_sum(kwargs, kernel):
    x, w, bias = arrays((1, 4, 60, 60), kernel, "NCHW")
    with fastconv.use(engine="cython"):
        planned = fastconv.plan(nn.conv2d, x, w, bias, groups=4, **kwargs)
    assert "overlap" not in planned.implementation


def test_the_plan_tells():
    x, w, bias = arrays((1, 32, 56, 56), (31, 31), "NHWC")
    with fastconv.use(engine="cython", threads=1):
        planned = fastconv.plan(nn.conv2d, x, w, bias, padding=15, groups=32, data_format="NHWC")
    assert "copied to planes and back, about" in str(planned)
    assert isinstance(planned._executor.planes, OverlapPlanes)
    assert planned.workspace(1) >= planned._executor.planes.workspace(1)
    assert cython_cpu.is_ready("overlap", "float32")
