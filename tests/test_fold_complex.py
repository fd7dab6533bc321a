"""`unfold` and `fold` of complex numbers: the parts apart, on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_parts_are_moved_and_added_apart(engine, dtype):
    rng = np.random.default_rng(21)
    for _ in range(20):
        kernel, dilation, padding, stride = (
            tuple(rng.integers(low, high, 2).tolist()) for low, high in ((1, 4), (1, 3), (0, 3), (1, 4))
        )
        sizes = tuple((k - 1) * d + int(rng.integers(1, 7)) for k, d in zip(kernel, dilation, strict=True))
        shape = ((), (1,), (2,))[rng.integers(3)] + (int(rng.integers(1, 5)), *sizes)
        x = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
        columns = nn.unfold(x, kernel, dilation, padding, stride)
        assert columns.dtype == dtype
        np.testing.assert_array_equal(columns.real, nn.unfold(x.real, kernel, dilation, padding, stride))
        np.testing.assert_array_equal(columns.imag, nn.unfold(x.imag, kernel, dilation, padding, stride))
        weighted = columns * np.asarray(1 + 2j, dtype)
        images = nn.fold(weighted, sizes, kernel, dilation, padding, stride)
        assert images.dtype == dtype and images.shape == shape
        desired = nn.fold(weighted.real, sizes, kernel, dilation, padding, stride)
        np.testing.assert_array_equal(images.real, desired)
        last = np.moveaxis(x, -3, -1)
        rows = nn.unfold(last, kernel, dilation, padding, stride, data_format="NHWC")
        np.testing.assert_array_equal(np.moveaxis(rows, -1, -2), columns)
        folded = nn.fold(rows, sizes, kernel, dilation, padding, stride, data_format="NHWC")
        np.testing.assert_array_equal(
            np.moveaxis(folded, -1, -3), nn.fold(columns, sizes, kernel, dilation, padding, stride)
        )


def test_small_calls_are_repeated_and_results_may_be_given(engine):
    x = (np.arange(12.0) * (1 + 2j)).reshape(1, 3, 4)
    desired = np.stack([x[:, i : i + 2, j : j + 3].reshape(-1) for i in (0, 1) for j in (0, 1)])
    for _ in range(5):
        out = np.empty((4, 6), complex)
        assert nn.unfold(x, 2, out=out) is out
        np.testing.assert_array_equal(out, desired)
        x, desired = x + 1j, desired + 1j


def test_against_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(22)
    x = rng.normal(size=(2, 3, 7, 8)) + 1j * rng.normal(size=(2, 3, 7, 8))
    columns = torch.nn.functional.unfold(torch.from_numpy(x), (3, 2), (1, 2), (1, 0), (2, 1))
    np.testing.assert_array_equal(nn.unfold(x, (3, 2), (1, 2), (1, 0), (2, 1)), columns.numpy())
    images = torch.nn.functional.fold(columns, (7, 8), (3, 2), (1, 2), (1, 0), (2, 1))
    found = nn.fold(columns.numpy(), (7, 8), (3, 2), (1, 2), (1, 0), (2, 1))
    np.testing.assert_allclose(found, images.numpy(), rtol=1e-14)
