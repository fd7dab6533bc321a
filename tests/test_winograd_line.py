"""Winograd's minimal filtering along one axis: the direct sum's results, by fewer products."""

from __future__ import annotations

import numpy as np
import pytest
from test_conv_kernels import Guarded

import fastconv
from fastconv import nn
from fastconv.algorithms.winograd_line import Lines
from fastconv.engines import cython_cpu

# (images, channels, rows, columns, filters), and other arguments of conv2d.
CASES = [
    ((1, 128, 20, 17, 64), {}),
    ((2, 140, 10, 30, 90), {"activation": "relu"}),
    ((3, 128, 14, 13, 96), {"activation": "gelu"}),
    ((2, 256, 12, 14, 256), {"groups": 2}),
    ((5, 192, 9, 9, 220), {"padding_mode": "circular"}),
]
KERNELS = [(1, 3), (3, 1), (1, 5), (7, 1), (1, 7), (15, 1)]
# The largest error, in parts of the root mean square of the results: F(2, K), which "default" takes, and F(4, 3).
ERRORS = {
    ("float32", "default"): 1e-5,
    ("float32", "fast"): 4e-5,
    ("float64", "default"): 3e-14,
    ("float64", "fast"): 1e-13,
}


def arrays(case, kernel, layout, dtype="float32"):
    n, channels, rows, cols, filters = case[0]
    rng = np.random.default_rng(kernel)
    x = rng.standard_normal((n, channels, rows, cols)).astype(dtype)
    w = rng.standard_normal((filters, channels // case[1].get("groups", 1), *kernel)).astype(dtype)
    bias = rng.standard_normal(filters).astype(dtype)
    return (np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if layout == "NHWC" else x), w, bias


def strictly(x, w, bias, **kwargs):
    with fastconv.use(engine="cython", precision="strict"):
        return nn.conv2d(*(None if a is None else a.astype("float64") for a in (x, w, bias)), **kwargs)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_agrees_with_the_direct_sum(case, layout, kernel):
    taken = 0
    for (dtype, precision), most in ERRORS.items():
        x, w, bias = arrays(case, kernel, layout, dtype)
        kwargs = case[1] | {"padding": (kernel[0] // 2, kernel[1] // 2), "data_format": layout}
        if "padding_mode" in kwargs and kernel[0] > 7:  # no more than the image has
            kwargs["padding"] = (3, 0)
        expected = strictly(x, w, bias, **kwargs)
        for threads in (1, 3):
            with fastconv.use(engine="cython", precision=precision, threads=threads):
                planned = fastconv.plan(nn.conv2d, x, w, bias, **kwargs)
                taken += planned.implementation == "cython:winograd_line"
                for result in (nn.conv2d(x, w, bias, **kwargs), planned.prepare(w)(x)):
                    assert result.dtype == dtype
                    assert np.abs(result - expected).max() < most * expected.std()
    assert taken >= 4 or kernel == (15, 1)  # what is worth it


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (7, 1)], ids=str)
@pytest.mark.parametrize("precision", ["default", "fast"])
def test_nan_and_infinity_stay_in_their_windows(kernel, precision):
    x, w, bias = arrays(CASES[0], kernel, "NHWC")
    x[0, 4, 5, 6], x[0, 12, 3, 7], w[3, 4, 0, 0] = np.nan, np.inf, 0
    kwargs = {"padding": (kernel[0] // 2, kernel[1] // 2), "data_format": "NHWC"}
    with fastconv.use(engine="cython", precision="strict"):
        expected = nn.conv2d(x, w, bias, **kwargs)
    with fastconv.use(engine="cython", precision=precision):
        planned = fastconv.plan(nn.conv2d, x, w, bias, **kwargs)
        result = planned.prepare(w)(x)
    assert planned.implementation == "cython:winograd_line"
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(result), np.isinf(expected))
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-2)


def test_strict_precision_and_other_engines_take_the_direct_sum():
    x, w, bias = arrays(CASES[0], (1, 3), "NHWC")
    for use in ({"precision": "strict", "engine": "cython"}, {"engine": "numba"}):
        with fastconv.use(**use):
            planned = fastconv.plan(nn.conv2d, x, w, bias, padding=(0, 1), data_format="NHWC")
        assert planned.implementation == f"{use['engine']}:conv"


def test_the_plan_tells():
    x, w, bias = arrays(CASES[0], (7, 1), "NHWC")
    with fastconv.use(engine="cython"):
        planned = fastconv.plan(nn.conv2d, x, w, bias, padding=(3, 0), data_format="NHWC")
    assert "minimal filtering F(2x1, 7x1), 10 products for 14" in str(planned)
    assert planned.workspace(1) <= 4 * 2**20


@pytest.mark.parametrize(
    "m, kernel", [(2, (1, 3)), (2, (3, 1)), (4, (1, 3)), (4, (3, 1)), (2, (1, 5)), (2, (7, 1))], ids=str
)
def test_nothing_beyond_the_arrays_is_touched(m, kernel):
    """A kernel that reads or writes beyond an array ends the process; sizes of all kinds, tiles that stick out."""
    kept = []
    for case in range(30):
        rng = np.random.default_rng([m, *kernel, case])
        dtype, last, groups = ("float32", "float64")[case % 2], bool(rng.integers(2)), int(rng.integers(1, 3))
        channels, filters = groups * int(rng.integers(1, 50)), groups * int(rng.integers(1, 70))
        n, rows, cols = (int(rng.integers(1, most)) for most in (4, 16, 19))
        pad = kernel[0] // 2 + int(rng.integers(2)), kernel[1] // 2 + int(rng.integers(2))

        def guarded(shape, last, rng=rng, dtype=dtype):
            lying = (shape[0], *shape[2:], shape[1]) if last else shape
            kept.append(Guarded(int(np.prod(lying)) * np.dtype(dtype).itemsize, bool(rng.integers(2))))
            array = kept[-1].bytes.view(dtype).reshape(lying)
            array[...] = rng.integers(-4, 5, lying)
            return np.moveaxis(array, -1, 1) if last else array

        x, w = guarded((n, channels, rows, cols), last), guarded((filters, channels // groups, *kernel), False)
        kwargs = {"padding": pad, "groups": groups, "data_format": "NHWC" if last else "NCHW"}
        given = np.moveaxis(x, 1, -1) if last else x
        problem = fastconv.plan(nn.conv2d, given, w, **kwargs).problem
        out = guarded((n, filters, *problem.out_shape), last)
        Lines(problem, cython_cpu, m)(x, w, out, None, 0, int(rng.choice([1, 3])))
        expected = strictly(given, w, None, **kwargs)
        expected = np.moveaxis(expected, -1, 1) if last else expected
        assert np.abs(out - expected).max() < (1e-2 if dtype == "float32" else 1e-9), problem
