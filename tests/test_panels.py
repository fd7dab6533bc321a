"""Convolutions of planes by packed panels: tiles that end in the middle of rows and images, several blocks of channels."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.engines.level import SIMD

# (batch, channels, filters, height, width), kernel size, stride, padding, dilation.
CASES = [
    ((3, 17, 19, 7, 7), 1, 1, 0, 1),
    ((70, 16, 30, 9, 5), 3, 2, 1, 1),
    ((5, 600, 33, 7, 7), 1, 1, 0, 1),
    ((2, 20, 61, 28, 28), 3, 1, 1, 1),
    ((17, 70, 70, 8, 9), 3, 1, 2, 2),
    ((12, 33, 40, 19, 21), 5, 2, 2, 1),
    ((60, 130, 16, 6, 12), 3, (1, 2), 1, 2),
    ((9, 1200, 100, 7, 7), 1, 2, 0, 1),
    ((30, 16, 16, 40, 1), 3, 1, 1, 1),
    ((20, 16, 20, 6, 6), 1, 2, 1, 1),
    ((1, 16, 90, 15, 17), 1, 1, 0, 1),
    ((3, 600, 30, 10, 11), 1, 1, 0, 1),
]


@pytest.mark.skipif(SIMD != "v4", reason="panels are for AVX-512")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_panels_sum_the_same(case, activation, threads):
    (batch, channels, filters, height, width), size, stride, padding, dilation = case
    rng = np.random.default_rng(5)
    x = rng.integers(-8, 9, (batch, channels, height, width)).astype("f4")
    w = rng.integers(-8, 9, (filters, channels, size, size)).astype("f4")
    bias = rng.integers(-8, 9, filters).astype("f4")
    options = {"bias": bias, "stride": stride, "padding": padding, "dilation": dilation, "activation": activation}
    with fastconv.use(engine="reference"):
        wanted = nn.conv2d(x, w, **options)
    with fastconv.use(engine="cython", threads=threads, precision="strict"):
        plan = fastconv.plan(nn.conv2d, x, w, **options)
        assert plan.implementation == "cython:panels"
        np.testing.assert_array_equal(nn.conv2d(x, w, **options), wanted)
        np.testing.assert_array_equal(plan.prepare(w)(x), wanted)


@pytest.mark.skipif(SIMD != "v4", reason="panels are for AVX-512")
def test_other_activations_of_tiles_in_two_images():
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((5, 20, 7, 11), "f4"), rng.standard_normal((30, 20, 1, 1), "f4")
    with fastconv.use(engine="reference"):
        wanted = nn.conv2d(x, w, activation="gelu")
    with fastconv.use(engine="cython", precision="strict"):
        np.testing.assert_allclose(nn.conv2d(x, w, activation="gelu"), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(SIMD != "v4", reason="panels are for AVX-512")
def test_nan_stays_in_its_windows():
    x, w = np.ones((8, 16, 14, 14), "f4"), np.ones((16, 16, 1, 1), "f4")
    x[3, 5, 13, 13] = np.nan
    x[4, 5, 0, 0] = np.inf
    with fastconv.use(engine="cython", precision="strict"):
        y = nn.conv2d(x, w)
    assert np.isnan(y[3, :, 13, 13]).all() and np.isposinf(y[4, :, 0, 0]).all()
    assert np.isfinite(y).sum() == y.size - 32


@pytest.mark.skipif(SIMD != "v4", reason="panels are for AVX-512")
def test_planes_with_gaps():
    rng = np.random.default_rng(6)
    wide = rng.integers(-8, 9, (8, 32, 14, 28)).astype("f4")
    w = rng.integers(-8, 9, (32, 16, 1, 1)).astype("f4")
    for x in (wide[:, ::2, :, ::2], wide[:, 16:, ::-1, :14], wide[::-1, 31:15:-1, :, 14:]):
        with fastconv.use(engine="cython", precision="strict"):
            y = nn.conv2d(x, w)
        np.testing.assert_array_equal(y, np.einsum("fc,bchw->bfhw", w[..., 0, 0], x))
