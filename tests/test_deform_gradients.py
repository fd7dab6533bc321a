"""Gradients of deformable convolution: finite differences in double precision, on every engine, and the engines together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_deform import last, sample

import fastconv
from fastconv import nn
from fastconv.nn.grad import DeformGradients, deform_conv2d_backward

STEP = 1e-6


def away_from_whole_places(offset: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Offsets near which the interpolation is linear: it has corners at whole places."""
    return np.floor(offset) + rng.uniform(0.1, 0.9, offset.shape)


def test_finite_differences(engine):
    rng = np.random.default_rng(11)
    for turn in range(12):
        (x, offset, w, _), options = sample(rng, shift=1.5)
        if turn % 3 == 0:
            options["mask"] = None
        arrays = {"input": x, "offset": away_from_whole_places(offset, rng), "weight": w, "mask": options.pop("mask")}
        arrays["bias"] = np.zeros(len(w))
        above = rng.normal(size=nn.deform_conv2d(**arrays, **options).shape)
        gradients = deform_conv2d_backward(
            above, **{name: array for name, array in arrays.items() if name != "bias"}, **options
        )
        for name, array in arrays.items():
            found = getattr(gradients, name)
            if array is None:
                assert found is None
                continue
            assert found.shape == array.shape and found.dtype == array.dtype
            for _ in range(6):
                at = tuple(int(rng.integers(size)) for size in array.shape)
                desired = slope(above, arrays, options, name, at)
                assert found[at] == pytest.approx(desired, rel=1e-5, abs=1e-6), (name, at)


def slope(above: np.ndarray, arrays: dict[str, Any], options: dict[str, Any], name: str, at: tuple[int, ...]) -> float:
    """The derivative of the result, weighted, with respect to one element of an array."""
    totals = []
    for step in (STEP, -STEP):
        moved = arrays[name].copy()
        moved[at] += step
        totals.append(float((nn.deform_conv2d(**{**arrays, name: moved}, **options) * above).sum()))
    return (totals[0] - totals[1]) / (2 * STEP)


def test_engines_give_the_same_in_both_layouts(engine):
    rng = np.random.default_rng(12)
    for _ in range(25):
        (x, offset, w, _), options = sample(rng)
        above = rng.normal(size=nn.deform_conv2d(x, offset, w, **options).shape)
        with fastconv.use(engine="reference"):
            desired = deform_conv2d_backward(above, x, offset, w, **options)
        for dtype, tolerance in (("float64", 1e-11), ("float32", 1e-3)):
            given = [a.astype(dtype) for a in (above, x, offset, w)]
            mask = None if options["mask"] is None else options["mask"].astype(dtype)
            if dtype == "float32":  # whole places stay whole
                with fastconv.use(engine="reference"):
                    singles = {**options, "mask": mask}
                    desired = deform_conv2d_backward(*(a.astype("float64") for a in given), **singles)
            close(deform_conv2d_backward(*given, **{**options, "mask": mask}), desired, tolerance)
            given[:3], mask = map(last, given[:3]), last(mask)
            found = deform_conv2d_backward(*given, **{**options, "mask": mask}, data_format="NHWC")
            moved = [found.input, found.offset, found.weight, found.bias, found.mask]
            for place in (0, 1, 4):
                moved[place] = None if moved[place] is None else np.moveaxis(moved[place], -1, 1)
            close(DeformGradients(*moved), desired, tolerance)


def close(actual: DeformGradients, desired: DeformGradients, tolerance: float) -> None:
    for name, value in actual._asdict().items():
        expected = getattr(desired, name)
        if expected is None:
            assert value is None
        else:
            scale = max(1.0, float(np.abs(expected).max(initial=0)))
            np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def test_without_offsets_they_are_those_of_a_convolution(engine):
    rng = np.random.default_rng(13)
    x, w = rng.normal(size=(2, 6, 9, 8)), rng.normal(size=(4, 3, 3, 2))
    options: dict[str, Any] = {"stride": (2, 1), "padding": (1, 2)}
    above = rng.normal(size=nn.conv2d(x, w, **options, groups=2).shape)
    found = deform_conv2d_backward(above, x, np.zeros((2, 12, *above.shape[2:])), w, **options)
    np.testing.assert_allclose(found.input, nn.grad.conv2d_input(x.shape, w, above, **options, groups=2), atol=1e-12)
    np.testing.assert_allclose(found.weight, nn.grad.conv2d_weight(x, w.shape, above, **options, groups=2), atol=1e-12)
    np.testing.assert_allclose(found.bias, above.sum((0, 2, 3)), atol=1e-12)


def test_blocks_and_threads(engine):
    """Several blocks of pixels, and channels in several pieces; threads change no bit."""
    rng = np.random.default_rng(14)
    x, w = (rng.normal(size=size).astype("float32") for size in ((1, 64, 40, 45), (8, 64, 3, 3)))
    above = rng.normal(size=(1, 8, 40, 45)).astype("float32")
    offset = np.zeros((1, 18, 40, 45), "float32")
    desired = nn.grad.conv2d_input(x.shape, w, above, padding=1), nn.grad.conv2d_weight(x, w.shape, above, padding=1)
    for data_format in ("NCHW", "NHWC"):
        arrays = [above, x, offset] if data_format == "NCHW" else [last(a) for a in (above, x, offset)]
        one, two = (
            deform_conv2d_backward(*arrays, w, padding=1, data_format=data_format, threads=threads)
            for threads in (1, 2)
        )
        assert all(np.array_equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))
        images = one.input if data_format == "NCHW" else np.moveaxis(one.input, -1, 1)
        np.testing.assert_allclose(images, desired[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(one.weight, desired[1], rtol=1e-3, atol=2e-3)
        for threads in (1, 2):
            planned = fastconv.plan(deform_conv2d_backward, *arrays, w, padding=1, data_format=data_format)
            assert planned.workspace(threads) <= 4 * 2**20 * threads


def test_whole_places_have_the_slope_above(engine):
    x = np.array([[[1.0, 2.0, 4.0]]])
    found = deform_conv2d_backward(np.ones((1, 1, 3)), x, np.zeros((2, 1, 3)), np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(found.offset[1, 0], [1, 2, -4])
    np.testing.assert_array_equal(found.offset[0, 0], [-1, -2, -4])
    moved = np.array([[[-1.0, 0, 0]], [[0, -2, 1.0]]])  # a row above, two columns to the left, beyond the right
    found = deform_conv2d_backward(np.ones((1, 1, 3)), x, moved, np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(found.offset[0, 0], [1, 0, 0])
    np.testing.assert_array_equal(found.offset[1, 0], [0, 1, 0])
    np.testing.assert_array_equal(found.input, np.zeros((1, 1, 3)))


def test_nan_and_far_places(engine):
    x, w, above = np.ones((1, 2, 4, 4)), np.ones((3, 2, 1, 1)), np.ones((1, 3, 4, 4))
    offset, mask = np.zeros((1, 2, 4, 4)), np.full((1, 1, 4, 4), 2.0)
    offset[0, 0, 1, 1], offset[0, 0, 2, 2], offset[0, 1, 2, 1] = np.nan, np.inf, -np.inf
    found = deform_conv2d_backward(above, x, offset, w, mask=mask)
    assert np.isnan(found.offset[0, :, 1, 1]).all() and np.isnan(found.mask[0, 0, 1, 1])
    assert np.isnan(found.offset).sum() == 2 and np.isnan(found.mask).sum() == 1
    assert np.isnan(found.weight).all()  # the sums have a value that is NaN
    desired = np.full((4, 4), 6.0)
    desired[1, 1] = desired[2, 2] = desired[2, 1] = 0  # read by no window
    np.testing.assert_array_equal(found.input[0, 0], desired)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dtypes_single_images_and_strides(engine, dtype):
    rng = np.random.default_rng(15)
    (x, offset, w, _), options = sample(rng, shift=1.0)
    options["mask"] = rng.random((len(x), offset.shape[1] // 2, *offset.shape[2:]))
    above = rng.normal(size=nn.deform_conv2d(x, offset, w, **options).shape)
    arrays = [np.repeat(a.astype(dtype), 2, -1)[..., ::2] for a in (above, x, offset, w)]
    mask = options.pop("mask").astype(dtype)
    desired = deform_conv2d_backward(*(a.astype("float64") for a in arrays), mask=mask.astype("float64"), **options)
    found = deform_conv2d_backward(*arrays, mask=mask, **options)
    assert all(value.dtype == dtype for value in found)
    close(found, desired, 1e-2 if dtype == "float16" else 1e-3)
    one = deform_conv2d_backward(*(a[0] for a in arrays[:3]), arrays[3], mask=mask[0], **options)
    assert one.input.shape == x.shape[1:] and one.offset.shape == offset.shape[1:] and one.mask.shape == mask.shape[1:]
    np.testing.assert_array_equal(one.input, found.input[0])


def test_no_images(engine):
    x, offset, w = np.zeros((0, 4, 5, 6)), np.zeros((0, 8, 4, 5)), np.zeros((3, 4, 2, 2))
    found = deform_conv2d_backward(np.zeros((0, 3, 4, 5)), x, offset, w)
    assert found.input.shape == x.shape and found.offset.shape == offset.shape
    assert not found.weight.any() and not found.bias.any()


X, OFFSET, W, ABOVE = np.zeros((2, 4, 5, 6)), np.zeros((2, 16, 4, 5)), np.zeros((3, 4, 2, 2)), np.zeros((2, 3, 4, 5))
WRONG: list[tuple[tuple, dict, str]] = [
    ((ABOVE[:, :2], X, OFFSET, W), {}, "grad_output"),
    ((ABOVE[0], X, OFFSET, W), {}, "grad_output"),
    ((ABOVE + 1j, X, OFFSET, W), {}, "grad_output"),
    ((ABOVE.astype(int), X, OFFSET, W), {}, "grad_output"),
    ((ABOVE, X, OFFSET[:, :15], W), {}, "offset"),
    ((ABOVE, X, OFFSET, W), {"mask": np.zeros((2, 7, 4, 5))}, "mask"),
    ((ABOVE, X, OFFSET, W), {"stride": 0}, "stride"),
    ((ABOVE, X, OFFSET, W), {"data_format": "NCW"}, "data_format"),
]


@pytest.mark.parametrize("args, options, word", WRONG, ids=map(str, range(len(WRONG))))
def test_bad_arguments(args, options, word):
    with pytest.raises((ValueError, TypeError), match=word):
        deform_conv2d_backward(*args, **options)
