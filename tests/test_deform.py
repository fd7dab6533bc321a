"""Deformable convolution on every engine against its formula written naively, and against what it has to be in known cases."""

from __future__ import annotations

from math import floor

import numpy as np
import pytest

from fastconv import nn, plan


def between(plane: np.ndarray, y: float, x: float) -> float:
    """Linear interpolation in a plane that is 0 beyond its borders."""
    total = 0.0
    if np.isnan(y) or np.isnan(x):
        return np.nan
    if not (-1 < y < plane.shape[0] and -1 < x < plane.shape[1]):
        return total
    for a in (floor(y), floor(y) + 1):
        for b in (floor(x), floor(x) + 1):
            if 0 <= a < plane.shape[0] and 0 <= b < plane.shape[1]:
                total += (1 - abs(y - a)) * (1 - abs(x - b)) * plane[a, b]
    return total


def definition(x, offset, w, bias, stride, padding, dilation, mask) -> np.ndarray:
    """Window by window, in Python's floats."""
    filters, in_group, rows, cols = w.shape
    n, channels = x.shape[:2]
    offset_groups = offset.shape[1] // (2 * rows * cols)
    out = np.zeros((n, filters, *offset.shape[2:]))
    for image, y, z in np.ndindex(n, *offset.shape[2:]):
        for c, i, j in np.ndindex(channels, rows, cols):
            tap = c * offset_groups // channels * rows * cols + i * cols + j
            row = y * stride[0] + i * dilation[0] - padding[0] + offset[image, 2 * tap, y, z]
            col = z * stride[1] + j * dilation[1] - padding[1] + offset[image, 2 * tap + 1, y, z]
            value = between(x[image, c], row, col) * (1 if mask is None else mask[image, tap, y, z])
            group = c // in_group
            per_group = filters // (channels // in_group)
            chosen = slice(group * per_group, (group + 1) * per_group)
            out[image, chosen, y, z] += w[chosen, c % in_group, i, j] * value
    return out if bias is None else out + bias[:, None, None]


def sample(rng: np.random.Generator, shift: float = 2.0, **sizes: int) -> tuple[tuple, dict]:
    """Arrays and options; places lie inside, on the borders and far beyond."""
    one = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    pair = lambda low, high: (one(low, high), one(low, high))  # noqa: E731
    groups, offset_groups = (sizes.get(name, one(1, 3)) for name in ("groups", "offset_groups"))
    channels, filters = groups * offset_groups * one(1, 2), groups * int(rng.choice([1, 2, 8]))
    kernel, stride, dilation, padding = pair(1, 3), pair(1, 2), pair(1, 2), pair(0, 2)
    size = [(k - 1) * d + one(1, 4) for k, d in zip(kernel, dilation, strict=True)]
    out = [
        (n + 2 * p - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in zip(size, padding, kernel, dilation, stride, strict=True)
    ]
    n, taps = one(1, 2), offset_groups * kernel[0] * kernel[1]
    x, w = rng.normal(size=(n, channels, *size)), rng.normal(size=(filters, channels // groups, *kernel))
    offset = rng.normal(scale=shift, size=(n, 2 * taps, *out))
    offset[rng.random(offset.shape) < 0.1] = np.round(
        offset[rng.random(offset.shape) < 0.1].mean() if offset.size > 99 else 1
    )
    bias = rng.normal(size=filters) if rng.random() < 0.5 else None
    mask = rng.random(size=(n, taps, *out)) if rng.random() < 0.6 else None
    return (x, offset, w, bias), {"stride": stride, "padding": padding, "dilation": dilation, "mask": mask}


def last(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else np.ascontiguousarray(np.moveaxis(array, -3, -1))


def test_any_deform_conv(engine):
    rng = np.random.default_rng(3)
    for _ in range(40):
        (x, offset, w, bias), options = sample(rng)
        desired = definition(x, offset, w, bias, **options)
        for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-4)):
            arrays = [None if a is None else a.astype(dtype) for a in (x, offset, w, bias, options["mask"])]
            given = {**options, "mask": arrays.pop()}
            actual = nn.deform_conv2d(*arrays, **given)
            assert actual.dtype == dtype
            np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance)
            arrays[:2], given["mask"] = map(last, arrays[:2]), last(given["mask"])
            actual = nn.deform_conv2d(*arrays, **given, data_format="NHWC")
            np.testing.assert_allclose(np.moveaxis(actual, -1, 1), desired, rtol=tolerance, atol=tolerance)
            single = {**given, "mask": None if given["mask"] is None else given["mask"][0]}
            actual = nn.deform_conv2d(arrays[0][0], arrays[1][0], *arrays[2:], **single, data_format="NHWC")
            np.testing.assert_allclose(np.moveaxis(actual, -1, 0), desired[0], rtol=tolerance, atol=tolerance)


def test_without_offsets_it_is_a_convolution(engine):
    rng = np.random.default_rng(4)
    for _ in range(20):
        (x, offset, w, bias), options = sample(rng)
        del options["mask"]
        desired = nn.conv2d(x, w, bias, **options, groups=x.shape[1] // w.shape[1])
        np.testing.assert_allclose(nn.deform_conv2d(x, 0 * offset, w, bias, **options), desired, rtol=1e-12, atol=1e-12)


def test_whole_offsets_shift_the_image(engine):
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(2, 4, 9, 11)), rng.normal(size=(3, 4, 3, 2))
    for down, right in ((1, 0), (0, -2), (-3, 4)):
        offset = np.empty((2, 12, 7, 10))
        offset[:, ::2], offset[:, 1::2] = down, right
        padded = np.pad(x, ((0, 0), (0, 0), (9, 9), (9, 9)))[..., 9 + down : 18 + down, 9 + right : 20 + right]
        np.testing.assert_allclose(nn.deform_conv2d(x, offset, w), nn.conv2d(padded, w), rtol=1e-12, atol=1e-12)


def test_it_is_linear_in_image_weights_and_mask(engine):
    rng = np.random.default_rng(6)
    (x, offset, w, _), options = sample(rng, groups=2, offset_groups=2)
    mask = rng.normal(size=(len(x), offset.shape[1] // 2, *offset.shape[2:]))
    call = lambda x, w, mask: nn.deform_conv2d(x, offset, w, **{**options, "mask": mask})  # noqa: E731
    whole = call(x, w, mask)
    for parts in ((2 * x, w, mask), (x, 2 * w, mask), (x, w, 2 * mask)):
        np.testing.assert_allclose(call(*parts), 2 * whole, rtol=1e-12)
    np.testing.assert_allclose(call(x, w, mask) + call(x, w, 1 - mask), call(x, w, None), rtol=1e-9, atol=1e-9)


def test_blocks_of_large_images(engine):
    """Several blocks of an image, the last one smaller."""
    rng = np.random.default_rng(7)
    x, w = rng.normal(size=(1, 64, 40, 45)).astype("float32"), rng.normal(size=(8, 64, 3, 3)).astype("float32")
    offset = np.zeros((1, 18, 40, 45), "float32")
    desired = nn.conv2d(x, w, padding=1)
    for data_format in ("NCHW", "NHWC"):
        arrays = [x, offset] if data_format == "NCHW" else [last(x), last(offset)]
        actual = nn.deform_conv2d(*arrays, w, padding=1, data_format=data_format)
        actual = actual if data_format == "NCHW" else np.moveaxis(actual, -1, 1)
        np.testing.assert_allclose(actual, desired, rtol=1e-4, atol=1e-3)
        for threads in (1, 2):
            planned = plan(nn.deform_conv2d, *arrays, w, padding=1, data_format=data_format)
            assert planned.workspace(threads) <= 4 * 2**20 * threads


def test_nan_and_infinity(engine):
    x, w = np.ones((1, 2, 4, 4)), np.ones((3, 2, 1, 1))
    x[0, 0, 0, 0], x[0, 1, 3, 3] = np.nan, np.inf
    offset = np.zeros((1, 2, 4, 4))
    offset[0, :, 1, 1], offset[0, 0, 2, 2], offset[0, 1, 2, 1], offset[0, 0, 3, 3] = np.nan, np.inf, -np.inf, 0.5
    out = nn.deform_conv2d(x, offset, w)[0, 0]
    assert np.isnan(out[1, 1]) and np.isnan(out[0, 0])
    assert out[2, 2] == out[2, 1] == 0  # far beyond
    assert np.isinf(out[3, 3])  # what lies beyond the border is 0 and not multiplied
    assert out[1, 2] == 2


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dtypes_and_out(engine, dtype):
    rng = np.random.default_rng(8)
    (x, offset, w, _), options = sample(rng)
    desired = definition(x, offset, w, None, **options)
    arrays = [a.astype(dtype) for a in (x, offset.round(1), w)]
    options["mask"] = None
    desired = definition(*(a.astype("float64") for a in arrays), None, **options)
    result = np.empty((*desired.shape[:3], 2 * desired.shape[3]), dtype)[..., ::2]
    assert nn.deform_conv2d(*arrays, **options, out=result) is result
    tolerance = 4e-3 if dtype == "float16" else 2e-4
    np.testing.assert_allclose(result, desired, rtol=tolerance, atol=10 * tolerance)


X, OFFSET, W = np.zeros((2, 4, 5, 6)), np.zeros((2, 16, 4, 5)), np.zeros((3, 4, 2, 2))
MASK = np.zeros((2, 8, 4, 5))
WRONG = [
    ((X, OFFSET[:, :15], W), {}, "offset"),
    ((X, OFFSET[:1], W), {}, "offset"),
    ((X, OFFSET[..., 1:], W), {}, "offset"),
    ((X, np.zeros((2, 24, 4, 5)), W), {}, "offset"),
    ((X, OFFSET[0], W), {}, "offset"),
    ((X, OFFSET, W[:, :3]), {}, "groups|weight"),
    ((X, OFFSET, W, np.ones(4)), {}, "bias"),
    ((X, OFFSET, W), {"mask": MASK[:, :7]}, "mask"),
    ((X, OFFSET, W), {"mask": MASK[..., 1:]}, "mask"),
    ((X.astype(int), OFFSET.astype(int), W.astype(int)), {}, "combine"),
    ((X, OFFSET, W + 1j), {}, "combine"),
    ((X, OFFSET, W), {"stride": 0}, "stride"),
    ((X, OFFSET, W), {"padding": -1}, "padding"),
    ((X, OFFSET, W), {"data_format": "NCW"}, "data_format"),
    ((X, OFFSET, W), {"out": np.zeros((2, 3, 4, 4))}, "out"),
]


@pytest.mark.parametrize("args, options, word", WRONG, ids=map(str, range(len(WRONG))))
def test_bad_arguments(args, options, word):
    with pytest.raises((ValueError, TypeError), match=word):
        nn.deform_conv2d(*args, **options)
