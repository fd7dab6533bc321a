"""Stacks, colour pictures and views: each image of them is filtered as if it were alone, whatever lies between its samples."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from cases import values

from fastconv import ndimage, signal
from fastconv.testing import assert_identical

HEIGHT, WIDTH = 37, 83
KERNEL = values((3, 5), "float32")
DTYPES = ["uint8", "int16", "float32", "float64"]

# Along two axes; the other axes are batches.
FILTERS = {
    "correlate": lambda x, axes: ndimage.correlate(x, KERNEL, axes=axes),
    "gaussian": lambda x, axes: ndimage.gaussian_filter(x, 1.5, axes=axes),
    "uniform": lambda x, axes: ndimage.uniform_filter(x, (4, 7), axes=axes),
    "maximum": lambda x, axes: ndimage.maximum_filter(x, (3, 8), axes=axes),
    "footprint": lambda x, axes: ndimage.minimum_filter(x, footprint=[[1, 1, 0], [0, 1, 1]], axes=axes),
    "median": lambda x, axes: ndimage.median_filter(x, 3, axes=axes),
    "opening": lambda x, axes: ndimage.grey_opening(x, (3, 4), axes=axes),
    "laplace": lambda x, axes: ndimage.laplace(x, axes=axes),
    "line": lambda x, axes: ndimage.correlate1d(x, [1, 2, 4, 3], axis=axes[0]),
}

# Where the images are: shape of all, axes of each, index of each.
BATCHES = {
    "stack": ((3, HEIGHT, WIDTH), (1, 2)),
    "colours": ((HEIGHT, WIDTH, 3), (0, 1)),
    "alpha": ((HEIGHT, WIDTH, 4), (0, 1)),
    "stack of colours": ((2, HEIGHT, WIDTH, 3), (1, 2)),
    "volumes": ((HEIGHT, 2, WIDTH), (0, 2)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", FILTERS)
def test_images_of_a_batch(name, batch, dtype):
    shape, axes = BATCHES[batch]
    x = values(shape, dtype)
    result = np.moveaxis(FILTERS[name](x, axes), axes, (-2, -1))
    for index in np.ndindex(result.shape[:-2]):
        image = np.ascontiguousarray(np.moveaxis(x, axes, (-2, -1))[index])
        assert np.allclose(result[index], FILTERS[name](image, (0, 1)), rtol=1e-5, atol=1e-4)


def views(shape: tuple[int, int], dtype: str) -> dict[str, np.ndarray]:
    """Images that hold the same samples in other places."""
    image = values(shape, dtype)
    made = {}
    for name, empty, view in [
        ("Fortran", np.empty(shape, dtype, order="F"), np.s_[:]),
        ("rows apart", np.empty((2 * shape[0], shape[1]), dtype), np.s_[::2]),
        ("two apart", np.empty((shape[0], 2 * shape[1]), dtype), np.s_[:, ::2]),
        ("a channel", np.empty((*shape, 3), dtype), np.s_[..., 1]),
        ("a channel of four", np.empty((*shape, 4), dtype), np.s_[..., 3]),
        ("five apart", np.empty((shape[0], 5 * shape[1]), dtype), np.s_[:, ::5]),
        ("reversed", np.empty(shape, dtype), np.s_[::-1, ::-1]),
        ("a transposed part", np.empty((shape[1] + 3, shape[0] + 1), dtype).T, np.s_[1:, 3:]),
    ]:
        made[name] = empty[view]
        made[name][...] = image
    return made | {"": image}


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "uint16", "int32", "int64", "bool"])
@pytest.mark.parametrize("name", FILTERS)
def test_views(engine, name, dtype):
    of = views((HEIGHT, WIDTH), dtype)
    desired = FILTERS[name](of.pop(""), (0, 1))
    for view in of.values():
        result = FILTERS[name](view, (0, 1))
        if name == "uniform":  # sums begin where tiles do
            assert result.dtype == desired.dtype
            assert np.allclose(result, desired, rtol=1e-5, atol=1e-5)
        else:
            assert_identical(result, desired)


@pytest.mark.parametrize("name", ["correlate2d", "convolve2d"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "complex64"])
def test_views_in_signal(name, dtype):
    of = views((HEIGHT, WIDTH), dtype)
    desired = getattr(signal, name)(of.pop(""), KERNEL, "same")
    for view in of.values():
        assert_identical(getattr(signal, name)(view, KERNEL, "same"), desired)


@pytest.mark.parametrize("batch", ["stack", "colours", "stack of colours"])
@pytest.mark.parametrize("name", ["correlate", "maximum", "median", "line", "uniform"])
def test_no_copy_of_a_batch_is_made(name, batch):
    shape, axes = BATCHES[batch]
    x = values(tuple(16 * n if n in (HEIGHT, WIDTH) else n for n in shape), "float32")
    FILTERS[name](x, axes)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = FILTERS[name](x, axes)
        extra = tracemalloc.get_traced_memory()[1] - before - result.nbytes
    finally:
        tracemalloc.stop()
    assert extra < 2 * 2**20 * 2 < x.nbytes, f"{extra} bytes beside the result's {result.nbytes}"
