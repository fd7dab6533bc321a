"""Pooling of planes: rows of any width, results with gaps, small planes, maxima that keep NaN, gradients in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.algorithms.pool_windows import EXACT_DIVISOR
from fastconv.algorithms.unpool import STAGED
from fastconv.engines import cython_cpu
from fastconv.nn import grad
from fastconv.problem import UnpoolProblem
from fastconv.table import TABLE

# Windows that are folded in registers: a kernel, stride and padding.
WINDOWS = [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), ((3, 2), (1, 2), 0), ((2, 5), (2, 1), (1, 2)), (7, 1, 3)]


def planes(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Whole numbers, so that sums are exact, of which some are not numbers or infinite."""
    rng = np.random.default_rng(sum(shape))
    x = rng.integers(-50, 50, shape).astype(dtype)
    x.reshape(-1)[rng.integers(0, x.size, x.size // 40)] = np.nan
    x.reshape(-1)[rng.integers(0, x.size, x.size // 40)] = -np.inf
    return x


def reference(function, *args, **kwargs):
    with fastconv.use(engine="reference"):
        return function(*args, **kwargs)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 3, 5, 7, 8, 11, 14, 15, 16, 17, 28, 32, 33, 50])
def test_rows_of_any_width(engine, window, dtype, width):
    kernel, stride, padding = window
    x = planes((2, 3, 9, width), dtype)
    for ceil_mode in (False, True):
        for function, options in ((nn.max_pool2d, ()), (nn.avg_pool2d, (True,)), (nn.avg_pool2d, (False, 5))):
            args = (kernel, stride, padding, *((ceil_mode, *options) if options else (1, ceil_mode)))
            for images in (x, x[:1], x[:1, :1], x[:1, :1, :1] if padding == 1 else x[1, 2:]):
                try:
                    desired = reference(function, images, *args)
                except ValueError:  # windows larger than the plane
                    continue
                np.testing.assert_allclose(function(images, *args), desired, rtol=1e-6)


@pytest.mark.parametrize("window", [*WINDOWS, ((1, 4), 1, (0, 2)), ((5, 3), (3, 1), (2, 1)), (4, 2, (2, 1))])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_maxima_are(engine, window, dtype):
    for size in ((7, 7), (1, 5), (8, 8), (9, 14), (13, 16), (6, 33), (28, 28), (5, 70)):
        x = planes((2, 3, *size), dtype)
        x = np.where(np.isnan(x), x, np.round(x / 16))  # many equals
        x[1, 1] = -np.inf
        for images in (x, x[:1, ::2], x[1, 2:]):
            for ceil_mode in (False, True):
                try:
                    desired = reference(nn.max_pool2d, images, *window, 1, ceil_mode, True)
                except ValueError:  # windows larger than the plane
                    continue
                for threads in (1, 3):
                    result = nn.max_pool2d(images, *window, 1, ceil_mode, True, threads=threads)
                    np.testing.assert_array_equal(result[0], desired[0])
                    np.testing.assert_array_equal(result[1], desired[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(2, 3, 4), (3, 3, 3), (1, 7, 7), (2, 5, 6)])
def test_small_solids(engine, dtype, size):
    x = np.random.default_rng(5).integers(-9, 10, (2, 5, *size)).astype(dtype)
    for window in ((2, 1, 1), ((1, 2, 2), (1, 2, 2), 0), ((2, 3, 3), 1, (1, 1, 1))):
        try:
            desired = reference(nn.max_pool3d, x, *window, return_indices=True)
        except ValueError:
            continue
        for got, wanted in zip(nn.max_pool3d(x, *window, return_indices=True), desired, strict=True):
            np.testing.assert_array_equal(got, wanted)
        desired = reference(nn.avg_pool3d, x, *window)
        np.testing.assert_allclose(nn.avg_pool3d(x, *window), desired, rtol=1e-6, atol=1e-6)
        desired = reference(grad.avg_pool3d_backward, x[..., :1], (*x.shape[:4], 1), 1)
        np.testing.assert_array_equal(grad.avg_pool3d_backward(x[..., :1], (*x.shape[:4], 1), 1), desired)
    pooled = nn.avg_pool3d(x, (1, 2, 1), (3, 3, 1))  # planes and rows that no window has
    desired = reference(grad.avg_pool3d_backward, pooled, x.shape, (1, 2, 1), (3, 3, 1))
    np.testing.assert_array_equal(grad.avg_pool3d_backward(pooled, x.shape, (1, 2, 1), (3, 3, 1)), desired)
    for to in (1, 2, (1, 3, 2)):
        desired = reference(nn.adaptive_max_pool3d, x, to, return_indices=True)
        for got, wanted in zip(nn.adaptive_max_pool3d(x, to, return_indices=True), desired, strict=True):
            np.testing.assert_array_equal(got, wanted)
        pooled = nn.adaptive_avg_pool3d(x, to)
        desired = reference(grad.adaptive_avg_pool3d_backward, pooled, x.shape)
        np.testing.assert_allclose(grad.adaptive_avg_pool3d_backward(pooled, x.shape), desired, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(13, 13), (5, 33), (20, 32), (9, 63), (11, 70)])
def test_windows_that_vary(engine, dtype, size):
    x = np.random.default_rng(6).standard_normal((2, 3, *size)).astype(dtype)
    for to in (1, 3, (4, 7), (2, 30)):
        for images in (x, x[:, ::2], x[1]):
            for function in (nn.adaptive_max_pool2d, nn.adaptive_avg_pool2d):
                np.testing.assert_allclose(function(images, to), reference(function, images, to), rtol=1e-5, atol=1e-6)
        pooled = nn.adaptive_avg_pool2d(x, to)
        desired = reference(grad.adaptive_avg_pool2d_backward, pooled, x.shape)
        np.testing.assert_allclose(grad.adaptive_avg_pool2d_backward(pooled, x.shape), desired, rtol=1e-5, atol=1e-6)
    for window in ((2, 3, 0), (3, 4, 1), (2, (3, 5))):
        desired = reference(nn.max_pool2d, x, *window)
        np.testing.assert_array_equal(nn.max_pool2d(x, *window), desired)
        pooled = nn.avg_pool2d(x, *window)
        np.testing.assert_allclose(pooled, reference(nn.avg_pool2d, x, *window), rtol=1e-5, atol=1e-6)
        desired = reference(grad.avg_pool2d_backward, pooled, x.shape, *window)
        np.testing.assert_allclose(grad.avg_pool2d_backward(pooled, x.shape, *window), desired, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_what_lies_between_rows_of_results_stays(engine, threads):
    x = planes((2, 5, 14, 14))
    desired = reference(nn.max_pool2d, x, 3, 1, 1)
    for end in (14, 17, 40):
        whole = np.full((2, 5, 14, end), 7, np.float32)
        out = whole[..., :14]
        assert nn.max_pool2d(x, 3, 1, 1, out=out, threads=threads) is out
        np.testing.assert_array_equal(out, desired)
        assert (whole[..., 14:] == 7).all()
    behind = np.full(x.size + 64, 7, np.float32)  # and what lies behind the last
    out = behind[: x.size].reshape(x.shape)
    nn.avg_pool2d(x, 3, 1, 1, out=out, threads=threads)
    np.testing.assert_allclose(out, reference(nn.avg_pool2d, x, 3, 1, 1), rtol=1e-6)
    assert (behind[x.size :] == 7).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("size", [(1, 3), (3, 3), (7, 7), (14, 14), (19, 23)])
def test_windows_of_all_of_a_plane(engine, dtype, size):
    x = planes((2, 67, *size), "float32")
    x = np.nan_to_num(x, neginf=-60).astype(dtype) if dtype == "int16" else x.astype(dtype)
    for function in (nn.adaptive_max_pool2d, nn.adaptive_avg_pool2d):
        np.testing.assert_allclose(function(x, 1), reference(function, x, 1), rtol=1e-6)


@pytest.mark.parametrize("zeros", [(-0.0, 0.0), (0.0, -0.0)])
def test_maxima_keep_any_nan_and_the_first_of_equals(engine, zeros):
    x = np.zeros((1, 1, 2, 64), np.float32)
    x[..., 0::2], x[..., 1::2] = zeros
    assert (np.signbit(nn.max_pool2d(x[:, :, :1], (1, 2))) == np.signbit(np.float32(zeros[0]))).all()
    for value in (np.nan, -np.nan):
        for at in range(4):
            x = np.full((1, 1, 2, 64), np.inf, np.float32)
            x[..., at // 2, at % 2 :: 2] = value
            assert np.isnan(nn.max_pool2d(x, 2)).all() and np.isnan(nn.adaptive_max_pool2d(x, 1)).all()


@pytest.mark.parametrize("shape", [(7, 7), (14, 14), (5, 33)])
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_gradients_between_other_elements(engine, shape, window):
    rng = np.random.default_rng(3)
    pooled = nn.avg_pool2d(np.empty((2, 3, *shape), np.float32), *window).shape
    gradient = rng.integers(-9, 10, pooled).astype(np.float32)
    desired = reference(grad.avg_pool2d_backward, gradient, (2, 3, *shape), *window)
    np.testing.assert_allclose(
        grad.avg_pool2d_backward(gradient, (2, 3, *shape), *window), desired, rtol=1e-6, atol=1e-6
    )
    whole = np.full((2, 3, shape[0], shape[1] + 5), 7, np.float32)
    grad.avg_pool2d_backward(gradient, (2, 3, *shape), *window, out=whole[..., : shape[1]])
    np.testing.assert_allclose(whole[..., : shape[1]], desired, rtol=1e-6, atol=1e-6)
    assert (whole[..., shape[1] :] == 7).all()


def test_gradients_of_maxima_of_small_planes(engine):
    for shape in ((3, 70, 7, 7), (2, 3, 40, 60)):
        x = planes(shape)
        maxima, indices = nn.max_pool2d(x, 2, return_indices=True)
        gradient = np.random.default_rng(1).integers(-9, 10, maxima.shape).astype(np.float32)
        for g, i in ((gradient, indices), (gradient[:, ::2], indices[:, ::2]), (gradient[..., ::2], indices[..., ::2])):
            size = (shape[0], g.shape[1], *shape[2:])
            desired = reference(grad.max_pool2d_backward, g, i, size)
            np.testing.assert_array_equal(grad.max_pool2d_backward(g, i, size), desired)


def test_half_gradients_of_large_planes_are_added_in_little_memory(engine):
    rng = np.random.default_rng(2)
    size = (3, STAGED // 2 + 1)  # parts end within rows
    indices = rng.integers(0, size[0] * size[1], (1, 2, 20, 30))
    gradient = rng.integers(-9, 10, indices.shape).astype(np.float16)
    desired = np.zeros((1, 2, size[0] * size[1]))
    for c in range(2):
        np.add.at(desired[0, c], indices[0, c].reshape(-1), gradient[0, c].reshape(-1).astype(float))
    result = grad.max_pool2d_backward(gradient, indices, (1, 2, *size))
    np.testing.assert_array_equal(result.reshape(desired.shape), desired)
    problem = UnpoolProblem("add", (20, 30), size, "float16", 1, 2)
    rows = [row for row in TABLE if row.engine == engine != "reference" and row.refuse(problem) is None]
    assert all(row.build(problem).workspace(1) <= 4 * 2**20 for row in rows)


# Planes whose windows have kernels of their own: of 7x7, and of 3x3 windows, one for each element, of up to two vectors.
SEVENS = [((5, 7, 7), window) for window in ((3, 1, 1), (3, 2, 1), (2, 2, 0))]
STRIPS = [((3, height, width), (3, 1, 1)) for height in (1, 2, 3, 8, 97) for width in (9, 16, 17, 28, 32)]
# Windows of pixels with many channels, of which the last ones are no whole vector.
MANY = [((400, 9, 12), (3, 1, 1)), ((331, 28, 5), (3, 2, 1)), ((200, 6, 33), ((3, 2), (1, 2), 0))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [*SEVENS, *STRIPS, *MANY], ids=str)
def test_maxima_and_averages_of_any_numbers(engine, case, dtype):
    shape, window = case
    rng = np.random.default_rng(10)
    numbers = rng.integers(-50, 50, (3, *shape)).astype(dtype)
    some = numbers.copy()
    places = rng.permutation(some.size)[: some.size // 30 + 1]
    some.reshape(-1)[places] = rng.choice([np.nan, np.inf, -np.inf], places.size)
    one = numbers.copy()
    one[1, 2, -1, -1] = np.nan
    large = np.sign(numbers) * np.finfo(dtype).max  # infinite sums, in any order
    with np.errstate(all="ignore"):
        for x in (numbers, some, one, large):
            for layout in (x, x[:, ::2], np.moveaxis(x, 1, -1).copy()):
                data_format = "NCHW" if layout.shape[1:] in (shape, x[:, ::2].shape[1:]) else "NHWC"
                for function, options in ((nn.max_pool2d, {}), *((nn.avg_pool2d, o) for o in (
                    {}, {"count_include_pad": False}, {"divisor_override": 3}, {"divisor_override": 1 << 21}
                ))):  # fmt: skip
                    desired = reference(function, layout, *window, data_format=data_format, **options)
                    results = [
                        function(layout, *window, data_format=data_format, threads=n, **options) for n in (1, 2, 3)
                    ]
                    if x is not large:
                        np.testing.assert_allclose(results[0], desired, rtol=1e-6)
                    for result in results[1:]:
                        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("size", [(7, 7), (14, 14), (11, 28), (9, 40)])
def test_quotients_are_rounded_as_divisions(engine, size):
    x = np.random.default_rng(11).integers(-(1 << 19), 1 << 19, (2, 6, *size)).astype(np.float32)
    for divisor in (3, 7, EXACT_DIVISOR - 1, EXACT_DIVISOR, EXACT_DIVISOR + 1, 3 * EXACT_DIVISOR + 1):
        for window in ((3, 1, 1), (2, 2, 0)):
            sums = reference(nn.avg_pool2d, x.astype(np.float64), *window, divisor_override=1)
            desired = sums.astype(np.float32) / np.float32(divisor)
            np.testing.assert_array_equal(nn.avg_pool2d(x, *window, divisor_override=divisor), desired)


def test_the_kernels_know_which_quotients_are_exact():
    header = Path(cython_cpu.__file__).with_name("pool_lanes.h").read_text()
    assert f"(divisor) <= 1 << {EXACT_DIVISOR.bit_length() - 1})" in header
