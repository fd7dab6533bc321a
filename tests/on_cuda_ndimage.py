"""Filters of `fastconv.ndimage` that are more than one correlation, for arrays on a device; see `on_cuda.py`."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from cases import integers, values
from numba import config
from on_cuda import LIBRARIES, on_host, to_device, to_host

import fastconv
from fastconv import ndimage, nn, signal
from fastconv.device import as_device
from fastconv.testing import assert_identical

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
EXTREMA = [ndimage.maximum_filter, ndimage.minimum_filter]
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 1]], bool)


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


def assert_close(actual, desired):
    eps = 64 * np.finfo(desired.dtype).eps
    assert actual.dtype == desired.dtype
    np.testing.assert_allclose(actual, desired, eps, eps * np.abs(desired[np.isfinite(desired)]).max(initial=1))


def agree(function, image, *args, library="numba", exact=True, **kwargs):
    desired = on_host(function, image, *args, **kwargs)
    actual = to_host(function(to_device(image, library), *args, **kwargs), library)
    (assert_identical if exact else assert_close)(actual, desired)


@pytest.mark.parametrize("function", EXTREMA)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "uint64", "int64", "bool"])
def test_extremes_of_all_types(library, function, dtype):
    agree(function, integers((7, 9), dtype), 3, library=library)
    agree(function, integers((7, 9), dtype), (4, 7), mode="constant", cval=1, origin=(1, -2), library=library)


@pytest.mark.parametrize("mode", MODES)
def test_windows_at_borders(library, mode):
    image = integers((6, 7), "int32")
    for function in (*EXTREMA, ndimage.uniform_filter):
        agree(function, image, (3, 2), mode=mode, cval=-3, library=library)
        agree(function, image, 15, mode=mode, cval=2.5, origin=3, library=library)
    agree(ndimage.maximum_filter, image, footprint=CROSS, mode=mode, cval=4, library=library)
    agree(ndimage.grey_erosion, image, structure=integers((3, 4), "float64"), mode=mode, library=library)


@pytest.mark.parametrize(
    ("shape", "size", "axes"),
    [
        ((17,), 4, None),
        ((4, 5, 6), 3, None),
        ((3, 4, 2, 5), (2, 3), (1, 3)),
        ((2, 3, 2, 3, 4), 2, (0, 2, 4)),
        ((2, 2, 2, 2, 3), 2, None),
        ((5, 1, 6), 2, None),
        ((), 3, None),
        ((3, 0, 2), 3, None),
    ],
)
def test_windows_of_any_dimension(library, shape, size, axes):
    image = integers(shape, "float32")
    for function in (*EXTREMA, ndimage.uniform_filter):
        agree(function, image, size, axes=axes, library=library, exact=function is not ndimage.uniform_filter)


def test_lines_and_morphology(library):
    image = integers((8, 9), "int16")
    for function in (ndimage.maximum_filter1d, ndimage.minimum_filter1d, ndimage.uniform_filter1d):
        agree(function, image, 5, 0, library=library)
    for function in (ndimage.grey_dilation, ndimage.grey_erosion, ndimage.grey_opening, ndimage.grey_closing):
        agree(function, image, (2, 3), library=library)
        agree(function, image, footprint=CROSS, library=library)
    agree(ndimage.grey_opening, values((6, 7), "float32"), structure=CROSS * 0.5, library=library)


def test_what_is_not_a_number_stays_in_its_windows(library):
    image = values((9, 10), "float32")
    image[2, 3], image[7, 8], image[5, 0] = np.nan, np.inf, -np.inf
    for function in (*EXTREMA, ndimage.uniform_filter):
        agree(function, image, (3, 4), library=library, exact=function is not ndimage.uniform_filter)
        agree(function, image, 7, library=library, exact=function is not ndimage.uniform_filter)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "uint8", "int32"])
def test_means(library, dtype):
    agree(ndimage.uniform_filter, integers((9, 40), dtype), (3, 33), library=library, exact=dtype[0] in "ui")
    agree(ndimage.uniform_filter, integers((9, 8), dtype), 4, "complex128" if dtype[0] == "c" else "float64",
          library=library, exact=False)  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("cval", [0, 3])
def test_gaussians_and_derivatives(library, dtype, cval):
    image, options = 7 * integers((8, 11), dtype), {"mode": "constant", "cval": cval, "library": library}
    options["exact"] = dtype[0] in "ui"
    agree(ndimage.gaussian_filter, image, (0.6, 1), **options)
    agree(ndimage.gaussian_filter, image, 0, **options)
    agree(ndimage.sobel, image, **options)
    agree(ndimage.laplace, image, **options)
    agree(ndimage.gaussian_laplace, image, 0.7, **options)
    agree(ndimage.generic_laplace, image, ndimage.prewitt, **options)
    if dtype[0] != "c":
        agree(ndimage.gaussian_gradient_magnitude, image, 0.7, **options)
        agree(ndimage.generic_gradient_magnitude, image, ndimage.sobel, **options)


def test_results_go_where_they_are_asked(library):
    image = integers((6, 9), "uint8")
    for function, argument in [(ndimage.maximum_filter, 3), (ndimage.gaussian_filter, 1.0), (ndimage.laplace, None)]:
        args = () if argument is None else (argument,)
        desired = on_host(function, image, *args)
        x, out = to_device(image, library), to_device(np.zeros_like(image), library)
        assert function(x, *args, output=out) is out
        assert_identical(to_host(out, library), desired)
        assert function(x, *args, output=x) is x  # in place
        assert_identical(to_host(x, library), desired)
    agree(ndimage.minimum_filter, image, 3, output="float32", library=library)
    agree(ndimage.maximum_filter, image, 1, output="int32", library=library)


def test_views(library):
    whole = integers((9, 14, 3), "float32")
    device = to_device(whole, library)
    for key in [(slice(1, None, 2), slice(2, 9)), (slice(None), slice(None), 1)]:
        desired = on_host(ndimage.maximum_filter, whole[key], 3)
        assert_identical(to_host(ndimage.maximum_filter(device[key], 3), library), desired)
    desired = on_host(ndimage.uniform_filter, whole[2].T, 3)
    assert_close(to_host(ndimage.uniform_filter(device[2].T, 3), library), desired)


def test_host_arrays_are_sent(engine):
    image = integers((7, 8), "int32")
    for function, argument in [(ndimage.maximum_filter, 4), (ndimage.uniform_filter, 7), (ndimage.gaussian_filter, 1)]:
        desired = on_host(function, image, argument)
        assert_identical(function(image, argument), desired)


if not config.ENABLE_CUDASIM and find_spec("jax"):

    def test_arrays_of_jax():
        """JAX's arrays are read in the order of its work, and results are JAX's."""
        import jax

        image, kernel = integers((40, 300), "float32"), integers((5, 3), "float32", 1)
        for _ in range(3):
            x = jax.numpy.asarray(image) * 2 + 1  # not ready yet
            made = [
                signal.correlate2d(x, kernel, "same"),
                ndimage.grey_opening(x, 3),
                ndimage.gaussian_filter(x, 2.0),
                nn.max_pool2d(x[None, None], 3, 2),
            ]
            summed = [(part + 1).sum() for part in made]  # by JAX, on its own stream
            host = 2 * image + 1
            desired = [
                on_host(signal.correlate2d, host, kernel, "same"),
                on_host(ndimage.grey_opening, host, 3),
                on_host(ndimage.gaussian_filter, host, 2.0),
                on_host(nn.max_pool2d, host[None, None], 3, 2),
            ]
            for part, total, expected in zip(made, summed, desired, strict=True):
                assert isinstance(part, jax.Array)
                assert_close(np.asarray(part), expected)
                np.testing.assert_allclose(float(total), (expected + 1).sum(dtype="float64"), 1e-4)
        with pytest.raises(ValueError, match="read-only"):
            ndimage.maximum_filter(x, 3, output=x)


def test_what_a_device_array_cannot_do_is_said(library):
    array = as_device("array", to_device(np.ones((2, 3), "float32"), library))
    with pytest.raises(TypeError, match="stored in a device array"):
        array[...] = np.zeros((2, 3))
    with pytest.raises(TypeError):
        np.add(array, 1.0)
    with pytest.raises(TypeError):
        np.divide(array, array, out=array)
    with pytest.raises(NotImplementedError, match="cuda"):
        ndimage.median_filter(array.owner, 3)
    with pytest.raises(ValueError, match="engine"), fastconv.use(engine="cython"):
        ndimage.maximum_filter(array.owner, 3)
