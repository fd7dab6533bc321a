"""What only the CUDA engine does, on a GPU or on Numba's simulator of one.

`test_cuda.py` runs this file and a part of the shared tests on the simulator, which takes about
0.1 ms a thread and 2 us a tap: so the arrays are small.  On a machine with a GPU everything runs:

    FASTCONV_TEST_ENGINES=cuda pytest tests/on_cuda.py tests/test_signal.py tests/test_ndimage.py tests/test_nn.py
    FASTCONV_TEST_ENGINES=cuda pytest tests/on_cuda_pooling.py tests/test_pooling.py -k "not fold"
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import oracles
import pytest
import scipy.ndimage
from cases import CONVS, FILTERS_2D, POOLS, integers, names, values
from numba import config, cuda

import fastconv
from fastconv import ndimage, nn, signal
from fastconv.algorithms import device_host
from fastconv.device import as_device
from fastconv.engines import numba_cuda as engine
from fastconv.engines.numba_cuda import launch, pipeline
from fastconv.testing import assert_identical

LIBRARIES = ["numba"]
if not config.ENABLE_CUDASIM:
    LIBRARIES += [name for name in ("torch", "cupy") if find_spec(name)]

SMALL_CONVS = [case for case in CONVS if max(case.x[-2:]) < 23 and case.w[0] < 8]
SMALL_POOLS = [case for case in POOLS if max(case.x[-2:]) < 23]
SMALL_FILTERS = [case for case in FILTERS_2D if np.prod(case.image) < 250]


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return request.param


def to_device(array: np.ndarray, library: str) -> Any:
    if library == "numba":
        return cuda.to_device(array)
    if library == "torch":
        import torch

        return torch.from_numpy(array.copy()).cuda()  # 0-d arrays, too, unlike NumPy's ascontiguousarray
    import cupy

    return cupy.asarray(array)


def to_host(array: Any, library: str) -> np.ndarray:
    """The host's copy of a result, which must belong to the library."""
    assert not isinstance(array, np.ndarray)
    assert as_device("array", array).library.startswith(library)
    if library == "numba":
        return array.copy_to_host()
    return array.cpu().numpy() if library == "torch" else array.get()


def on_host(function: Any, *args: Any, **kwargs: Any) -> Any:
    with fastconv.use(engine="reference"):
        return function(*args, **kwargs)


# -- results are arrays of the caller's library ------------------------------------------------


@pytest.mark.parametrize("case", SMALL_FILTERS, ids=names(SMALL_FILTERS))
@pytest.mark.parametrize("function", [signal.convolve2d, signal.correlate2d])
def test_filters(library, function, case):
    image, kernel = integers(case.image, "float32"), integers(case.kernel, "float32", 1)
    x, w = to_device(image, library), to_device(kernel, library)
    desired = on_host(function, image, kernel, "same", "symm")
    assert_identical(to_host(function(x, w, "same", "symm"), library), desired)
    assert_identical(to_host(function(x, kernel, "same", "symm"), library), desired, "kernel on the host")
    assert_identical(to_host(function(image, w, "same", "symm"), library), desired, "image on the host")


@pytest.mark.parametrize("function", [signal.convolve, signal.correlate])
def test_filters_of_any_dimension(library, function):
    for shape, kernel_shape in [
        ((40,), (7,)),
        ((5,), (8,)),
        ((4, 5, 6), (2, 3, 2)),
        ((2, 1, 3, 2, 4), (2, 1, 2, 1, 3)),
        ((), ()),
    ]:
        image, kernel = integers(shape, "float64"), integers(kernel_shape, "int16", 1)
        x = to_device(image, library)
        for mode in ("full", "same", "valid"):
            desired = np.asarray(on_host(function, image, kernel, mode))
            assert_identical(to_host(function(x, kernel, mode), library), desired, mode)


def test_a_large_kernel_is_still_summed_directly(library):
    """On the host a Fourier transform would be chosen, after a look at the data."""
    image, kernel = integers((1, 9), "float64"), integers((1, 3000), "float64", 1)
    desired = on_host(signal.convolve, image, kernel, "same", "direct")
    assert_identical(to_host(signal.convolve(to_device(image, library), kernel, "same"), library), desired)


@pytest.mark.parametrize("case", SMALL_CONVS, ids=names(SMALL_CONVS))
def test_convs(library, case):
    x, w, bias = integers(case.x, "float32"), integers(case.w, "float32", 1), integers(case.w[:1], "float32", 2)
    desired = oracles.conv2d(x, w, bias, *case[3:])
    arrays = [to_device(array, library) for array in (x, w, bias)]
    assert_identical(to_host(nn.conv2d(*arrays, *case[3:]), library), desired)
    last = to_device(np.ascontiguousarray(np.moveaxis(x, -3, -1)), library)
    actual = nn.conv2d(last, w, to_device(bias.astype("float64"), library), *case[3:], data_format="NHWC")
    assert_identical(np.moveaxis(to_host(actual, library), -1, -3), desired.astype("float64"), "NHWC")


@pytest.mark.parametrize("case", SMALL_POOLS, ids=names(SMALL_POOLS))
def test_pools(library, case):
    x = integers(case.x, "float32")
    x[..., 2, 3], x[..., 3, 4:6], x[..., 0, 0] = np.inf, np.nan, -np.inf
    desired, where = oracles.max_pool2d(x, *case[2:])
    device = to_device(x, library)
    assert_identical(to_host(nn.max_pool2d(device, *case[2:]), library), desired)
    best, places = nn.max_pool2d(device, *case[2:], return_indices=True)
    assert_identical(to_host(best, library), desired)
    assert_identical(to_host(places, library), where)


# -- fast kernels, at every edge ---------------------------------------------------------------


@pytest.mark.parametrize("shape, size", [((37, 130), (3, 3)), ((33, 136), (9, 11)), ((18, 260), (7, 2))])
def test_filters_of_wide_images(library, shape, size):
    """Several blocks along both axes, weights by value and in shared memory."""
    image, kernel = integers(shape, "float32"), integers(size, "float32", 1)
    x, desired = to_device(image, library), on_host(signal.correlate2d, image, kernel, "same", "symm")
    assert_identical(to_host(signal.correlate2d(x, kernel, "same", "symm"), library), desired)
    actual = signal.correlate2d(x, to_device(kernel, library), "same", "symm")
    assert_identical(to_host(actual, library), desired, "kernel on the device")


WINDOWS = [
    ((2, 2), (2, 2), (0, 0)),
    ((3, 3), (2, 2), (1, 1)),
    ((3, 3), (1, 1), (1, 1)),
    ((3, 2), (1, 2), (0, 1)),
    ((4, 1), (3, 4), (2, 0)),
]


@pytest.mark.parametrize("shape", [(2, 8, 9, 16), (1, 3, 7, 12), (2, 4, 5, 7), (1, 1, 12, 35)], ids=str)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_small_windows(shape, window, dtype):
    """Vectors of every length, along x and along the channels; what does not lie in the image is not read."""
    x = integers(shape, dtype)
    x[0, 0, 1, 2], x[0, -1, 0, 0], x[-1, -1, 2, 3] = np.nan, -np.inf, np.inf
    for layout in ("NCHW", "NHWC"):
        image = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "NHWC" else x
        for function, options in [
            (nn.max_pool2d, {"ceil_mode": True}),
            (nn.avg_pool2d, {}),
            (nn.avg_pool2d, {"count_include_pad": False}),
            (nn.avg_pool2d, {"ceil_mode": True, "divisor_override": 7}),
        ]:
            arguments = image, *window
            with fastconv.use(engine="cuda"):
                plan = fastconv.plan(function, *arguments, data_format=layout, **options)
                actual = function(*arguments, data_format=layout, **options)
            assert plan.implementation == "cuda:device_windows"
            assert_identical(
                actual, on_host(function, *arguments, data_format=layout, **options), f"{layout} {options}"
            )


def test_windows_of_views_are_not_in_vectors(library):
    whole = integers((2, 3, 9, 24), "float32")
    device = to_device(whole, library)
    every = slice(None)
    for key in [
        (every, every, every, slice(1, None)),
        (every, every, every, slice(None, None, 2)),
        (every, slice(1, 3)),
        (every, every, slice(2, 9), slice(4, 20)),
    ]:
        expected = on_host(nn.max_pool2d, np.ascontiguousarray(whole[key]), 3, 2, 1)
        assert_identical(to_host(nn.max_pool2d(device[key], 3, 2, 1), library), expected)


@pytest.mark.parametrize("shape", [(5, 40), (19, 530)], ids=str)
@pytest.mark.parametrize("size", [(3, 3), (5, 4), (2, 7)], ids=str)
def test_bytes_are_truncated_as_scipy_does(shape, size):
    """Flat parts and weights of 1/9 make sums that are integers but for rounding errors."""
    image = integers(shape, "uint8")
    image[1:4, 3:30] = 200
    taps = int(np.prod(size))
    for weights in (
        values(size, "float64", 1),
        np.abs(values(size, "float64", 1)) / taps,
        np.full(size, 1 / taps),
        integers(size, "float64", 1) / 16,
        integers(size, "int64", 1),
    ):
        for mode in ("reflect", "constant"):
            with fastconv.use(engine="cuda"):
                assert fastconv.plan(ndimage.correlate, image, weights).implementation == "cuda:device_bytes"
                actual = ndimage.correlate(image, weights, mode=mode, cval=7)
            assert_identical(actual, scipy.ndimage.correlate(image, weights, mode=mode, cval=7))
    with fastconv.use(engine="cuda"):
        kernel = integers(size, "uint8", 2)
        actual = signal.correlate2d(image, kernel, "full", "wrap")
        fraction = ndimage.correlate(image, weights, mode="constant", cval=2.5)  # beyond the border no byte
    assert_identical(actual, on_host(signal.correlate2d, image, kernel, "full", "wrap"))
    assert_identical(fraction, scipy.ndimage.correlate(image, weights, mode="constant", cval=2.5))


@pytest.mark.parametrize("shape", [(20, 40), (5, 129), (33, 132)], ids=str)
@pytest.mark.parametrize("sigma", [(1, 1), (0.5, 1.5)], ids=str)
def test_separable_filters(shape, sigma):
    image = integers(shape, "float32")
    for mode in ("reflect", "constant", "wrap"):
        with fastconv.use(engine="cuda"):
            assert fastconv.plan(ndimage.gaussian_filter, image, sigma).implementation == "cuda:device_lines"
            actual = ndimage.gaussian_filter(image, sigma, mode=mode, cval=7)
        desired = scipy.ndimage.gaussian_filter(image.astype("float64"), sigma, mode=mode, cval=7)
        assert np.abs(actual - desired).max() <= 4e-6 * np.abs(image).max()


# -- views, out, streams --------------------------------------------------------------------------


def test_views_are_read_where_they_lie(library):
    whole = integers((20, 30), "float32")
    device = to_device(whole, library)
    kernel = integers((3, 2), "float32", 1)
    for key in [(slice(1, 20, 2), slice(3, None, 3)), (slice(2, 9), slice(0, 30, 2))]:
        actual = signal.correlate2d(device[key], kernel, "valid")
        assert_identical(to_host(actual, library), on_host(signal.correlate2d, whole[key], kernel, "valid"))


def test_out(library):
    image, kernel = integers((9, 11), "float32"), integers((3, 2), "float32", 1)
    desired = on_host(signal.convolve2d, image, kernel, "valid")
    x = to_device(image, library)
    whole = to_device(np.full((14, 40), 77, "float32"), library)
    out = whole[0:14:2, 1:40:4]
    assert signal.convolve2d(x, kernel, "valid", out=out) is out
    expected = np.full((14, 40), 77, "float32")
    expected[::2, 1::4] = desired
    assert_identical(to_host(whole, library), expected)
    host = np.empty_like(desired)
    assert signal.convolve2d(x, kernel, "valid", out=host) is host
    assert_identical(host, desired)


def test_out_is_checked(library):
    x = to_device(np.ones((9, 9), "float32"), library)
    with pytest.raises(ValueError, match="out must have shape"):
        signal.convolve2d(x, np.ones((2, 2), "float32"), out=to_device(np.ones((9, 9), "float32"), library))
    with pytest.raises(TypeError, match="out must have dtype"):
        signal.convolve2d(x, np.ones((1, 1), "float32"), out=to_device(np.ones((9, 9)), library))
    with pytest.raises(ValueError, match="out must not overlap in1"):
        signal.convolve2d(x, np.ones((1, 1), "float32"), out=x)


def test_bad_input_is_refused_and_named(library):
    x = to_device(np.ones((9, 9), "float32"), library)
    kernel = np.ones((3, 3), "float32")
    with fastconv.use(engine="cython"), pytest.raises(ValueError, match="engine must be 'auto' or 'cuda'"):
        signal.convolve2d(x, kernel)
    with pytest.raises(TypeError, match="not copied to the host"):
        signal.convolve(x, kernel, method="fft")
    with pytest.raises(TypeError, match="complex kernels to be conjugated must be host arrays"):
        signal.correlate2d(x, to_device(kernel.astype("complex64"), library))
    half = to_device(np.ones((3, 3), "float16"), library)
    with pytest.raises(TypeError, match="float16"):
        signal.convolve2d(half, kernel)
    with pytest.raises(TypeError, match="float16"):
        signal.convolve2d(x, half)
    with pytest.raises(ValueError, match="in1 must have 2 dimensions"):
        signal.convolve2d(to_device(np.ones(3), library), kernel)


def test_the_plan_names_the_engine(library):
    plan = fastconv.plan(signal.convolve2d, to_device(np.ones((9, 9)), library), np.ones((3, 3)))
    assert plan.implementation == "cuda:device" and plan.workspace() == 0


def test_auto_keeps_host_arrays_on_the_host():
    plan = fastconv.plan(signal.convolve2d, np.ones((9, 9)), np.ones((3, 3)))
    assert not plan.implementation.startswith("cuda")
    assert all(not name.startswith("cuda") for name, _ in plan.refusals)


# -- large host arrays go in tiles ------


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Host arrays of any size go in tiles of 400 bytes; how many each call has made."""
    made: list[int] = []
    several = engine.in_tiles
    monkeypatch.setattr(device_host, "WORTH", 1)
    monkeypatch.setattr(device_host, "TILE", 400)
    monkeypatch.setattr(pipeline, "PIECE", 100)
    monkeypatch.setattr(engine, "in_tiles", lambda parts: (made.append(len(parts)), several(parts)))
    return made


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
@pytest.mark.parametrize(
    "shape, kernel_shape", [((37, 11), (5, 4)), ((9, 13), (7, 3)), ((50, 3), (1, 3)), ((1, 60), (1, 8))]
)
def test_tiles_of_an_image(tiles, boundary, shape, kernel_shape):
    image, kernel = integers(shape, "float64"), integers(kernel_shape, "float64", 1)
    for mode in ("full", "same", "valid"):
        desired = on_host(signal.convolve2d, image, kernel, mode, boundary, 3)
        with fastconv.use(engine="cuda"):
            assert_identical(signal.convolve2d(image, kernel, mode, boundary, 3), desired)
            assert_identical(
                signal.convolve2d(image[::-1, ::-1], kernel, mode, boundary, 3)[0],
                on_host(signal.convolve2d, image[::-1, ::-1], kernel, mode, boundary, 3)[0],
            )
    assert max(tiles) > 1 or shape[0] == 1


@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "wrap", "constant"])
def test_tiles_of_bytes(tiles, mode):
    image, weights = integers((41, 30), "uint8"), np.array([[1, 2, 3], [0, 1, 0], [2, 1, 1], [0, 0, 1]]) / 4
    desired = on_host(ndimage.correlate, image, weights, mode=mode, cval=7)
    with fastconv.use(engine="cuda"):
        assert_identical(ndimage.correlate(image, weights, mode=mode, cval=7), desired)
        assert_identical(
            ndimage.correlate(image, weights, mode=mode, cval=0.5),
            on_host(ndimage.correlate, image, weights, mode=mode, cval=0.5),
        )
        desired = on_host(ndimage.gaussian_filter, image.astype("f4"), 1.5, mode=mode)
        np.testing.assert_allclose(
            ndimage.gaussian_filter(image.astype("f4"), 1.5, mode=mode), desired, rtol=1e-5, atol=1e-5
        )
    assert max(tiles) > 1


def test_tiles_of_batches(tiles):
    x, w, bias = integers((5, 2, 12, 9), "float32"), integers((3, 2, 3, 2), "float32", 1), integers((3,), "float32", 2)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (3, 2, 2)):
        desired = oracles.conv2d(x, w, bias, stride, padding, dilation, 1)
        with fastconv.use(engine="cuda"):
            assert_identical(nn.conv2d(x, w, bias, stride, padding, dilation), desired)
            actual = nn.conv2d(last, w, bias, stride, padding, dilation, data_format="NHWC")
            assert_identical(np.moveaxis(actual, -1, 1), desired)
            small = x[:, :, :4, :3]
            assert_identical(nn.conv2d(small, w, None, 1, 1), oracles.conv2d(small, w, None, 1, 1, 1, 1))
    assert len(tiles) == 9


# -- grids ----------------------------------------------------------------------------------------


def test_blocks_loop_where_a_grid_ends(monkeypatch):
    """A grid's y and z end at 65535 blocks; here at 2."""
    monkeypatch.setattr(launch, "MAX_BLOCKS", 2)
    monkeypatch.setattr(launch, "BLOCK", 8)
    x, w = integers((3, 2, 11, 9), "float32"), integers((4, 2, 2, 3), "float32", 1)
    with fastconv.use(engine="cuda"):
        assert_identical(nn.conv2d(x, w), oracles.conv2d(x, w))
        last = nn.conv2d(np.ascontiguousarray(np.moveaxis(x, 1, -1)), w, data_format="NHWC")
        assert_identical(np.moveaxis(last, -1, 1), oracles.conv2d(x, w))
        assert_identical(nn.max_pool2d(x, 2), oracles.max_pool2d(x, 2)[0])


@pytest.mark.parametrize(
    "extents", [(1, 1, 1), (3, 5, 7), (100, 1, 1), (64, 56, 32), (8192, 8192, 1), (7, 10**6, 10**6)]
)
def test_grids_cover_the_output(extents):
    block, grid = launch.block_and_grid(*extents)
    assert np.prod(block) <= launch.BLOCK and max(grid[1:]) <= launch.MAX_BLOCKS
    assert grid[0] * block[0] >= extents[0]
    assert grid[1] == launch.MAX_BLOCKS or grid[1] * block[1] >= extents[1]
    assert grid[2] in (launch.MAX_BLOCKS, extents[2])


def test_random_results_are_close():
    """Sums of products that are not integers, against float64."""
    x, w = values((2, 3, 9, 8), "float32"), values((4, 3, 3, 3), "float32", 1)
    with fastconv.use(engine="cuda"):
        actual = nn.conv2d(x, w)
    desired = oracles.conv2d(x.astype("float64"), w.astype("float64"))
    assert np.linalg.norm(actual - desired) <= 1e-6 * np.linalg.norm(desired)


def test_calls_seen_before_are_told_apart(library):
    """Other values, one array given twice and then two, other alignments: none takes what another's launch remembers."""
    x, y = (to_device(integers((9, 12), "float32", seed), library) for seed in (1, 2))
    for image, kernel in ((x, x), (x, y), (y, x), (x[1:, 1:], y), (x[:, 2:], y), (x, x)):
        expected = on_host(signal.correlate2d, *(to_host(array, library) for array in (image, kernel)))
        for _ in range(3):
            assert_identical(to_host(signal.correlate2d(image, kernel), library), expected)


# -- transforms -----------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    """Transforms of 16x16 points, which the simulator can do, for whatever they can do."""
    from fastconv import costs
    from fastconv.algorithms import device_fourier, device_streams

    for module, name, value in (
        (device_fourier, "SIZES", {16: (16, 1, 0.0, 0.0)}),
        (device_fourier, "PASSES", {}),
        (device_streams, "DIRECT_US", 1.0),
        (device_fourier, "POINTS_OF_PARTS", 16),
        (costs, "MIN_TRANSFORM_SECONDS", 0.0),
        (costs, "MIN_TRANSFORM_TAPS", 0),
    ):
        monkeypatch.setattr(module, name, value)


TRANSFORMED = [((29, 41), (5, 4)), ((20, 33), (7, 7)), ((9, 70), (2, 11)), ((25, 24), (20, 9))]


@pytest.mark.parametrize(("shape", "kernel"), TRANSFORMED, ids=str)
@pytest.mark.parametrize(
    ("mode", "boundary"), [("full", "symm"), ("same", "wrap"), ("valid", "fill"), ("same", "fill")]
)
def test_transforms(library, small_blocks, shape, kernel, mode, boundary):
    image, weights = values(shape, "float32"), np.abs(values(kernel, "float32", 1)) + np.float32(0.5)
    x, desired = to_device(image, library), on_host(signal.correlate2d, image, weights, mode, boundary, 0.5)
    for w in (weights, to_device(weights, library)):
        actual = to_host(signal.correlate2d(x, w, mode, boundary, 0.5), library)
        np.testing.assert_allclose(actual, desired, atol=3e-6 * np.abs(weights).sum() * np.abs(image).max())


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_transforms_in_passes(library, small_blocks, monkeypatch, value):
    from fastconv.algorithms import device_fourier

    monkeypatch.setattr(device_fourier, "SIZES", {})
    monkeypatch.setattr(device_fourier, "PASSES", {64: (16, 0.0, 0.0)})
    monkeypatch.setattr(device_fourier, "GROUP", 1)  # tiles one by one
    image, weights = values((50, 94), "float32"), np.abs(values((9, 20), "float32", 1)) + np.float32(0.5)
    image[20, 22] = value
    x, desired = to_device(image, library), on_host(signal.correlate2d, image, weights, "same", "symm")
    assert "64x64 points" in str(fastconv.plan(signal.correlate2d, x, weights, "same", "symm"))
    for w in (weights, to_device(weights, library)):
        actual = to_host(signal.correlate2d(x, w, "same", "symm"), library)
        np.testing.assert_allclose(actual, desired, atol=3e-6 * np.abs(weights).sum() * np.nanmax(np.abs(image)))


@pytest.mark.parametrize("function", [signal.fftconvolve, signal.oaconvolve])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_fftconvolve(library, small_blocks, function, mode):
    image, kernel = values((20, 23), "float32"), np.abs(values((7, 5), "float32", 1)) + np.float32(0.5)
    for other in (kernel, to_device(kernel, library)):
        actual = to_host(function(to_device(image, library), other, mode), library)
        np.testing.assert_allclose(actual, on_host(function, image, kernel, mode), rtol=1e-4, atol=1e-4)
    assert (
        to_host(function(to_device(integers((9, 8), "int32"), library), integers((3, 3), "int32")), library).dtype
        == "float64"
    )
    with pytest.raises(TypeError, match="axes"):
        function(to_device(image, library), image, axes=0)


def test_transforms_are_planned_where_they_pay(library, small_blocks):
    image, kernel = (
        to_device(values((30, 31), "float32"), library),
        np.ones((6, 5), np.float32) - np.eye(6, 5, dtype=np.float32),
    )
    plan = fastconv.plan(signal.convolve2d, image, kernel, "same")
    assert "device_fourier" in str(plan) and "16x16 points" in str(plan) and "2.01 KiB" in str(plan)
    with fastconv.use(precision="strict"):
        assert "points" not in str(fastconv.plan(signal.convolve2d, image, kernel, "same"))
    uneven = kernel * 0 + np.eye(6, 5, dtype=np.float32) * np.float32(1e-9)
    uneven[0, 0] = 1
    assert "points" not in str(fastconv.plan(signal.convolve2d, image, uneven, "same"))


def test_uneven_weights_on_the_device_are_summed_directly(library, small_blocks):
    image, kernel = integers((30, 34), "float32"), np.zeros((6, 5), np.float32)
    kernel[1, 2] = 1
    actual = signal.correlate2d(to_device(image, library), to_device(kernel, library), "same")
    assert_identical(to_host(actual, library), on_host(signal.correlate2d, image, kernel, "same"))


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_stays_where_it_is(library, small_blocks, value):
    image, kernel = values((40, 45), "float32"), np.abs(values((5, 6), "float32", 1)) + np.float32(0.5)
    image[20, 22] = value
    with np.errstate(over="ignore", invalid="ignore"):
        desired = on_host(signal.correlate2d, image, kernel, "same")
    actual = to_host(signal.correlate2d(to_device(image, library), kernel, "same"), library)
    assert_identical(np.isfinite(actual), np.isfinite(desired))
    np.testing.assert_allclose(actual, desired, rtol=1e-4, atol=1e-4)


if not config.ENABLE_CUDASIM:  # blocks of 256 and 1024 threads

    @pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 5), (7, 7), (2, 6), (6, 3), (7, 2)], ids=str)
    def test_bytes_inside_large_images(library, size):
        """Blocks without a border read the image where it lies."""
        image = integers((203, 1040), "uint8")
        image[60:120, 300:700] = 255
        for weights in (
            np.abs(values(size, "float64", 1)) / 30,
            np.full(size, 1 / np.prod(size)),
            np.full(size, 3 / 256),
        ):
            for origin in (0, -1) if min(size) > 2 else (0,):
                actual = ndimage.correlate(to_device(image, library), weights, mode="mirror", origin=origin)
                desired = scipy.ndimage.correlate(image, weights, mode="mirror", origin=origin)
                assert_identical(to_host(actual, library), desired)
        kernel = integers(size, "uint8", 2)
        actual = to_host(signal.correlate2d(to_device(image, library), kernel, "valid"), library)
        assert_identical(actual, on_host(signal.correlate2d, image, kernel, "valid"))

    @pytest.mark.parametrize("taps", [(27, 31), (31, 31), (64, 33), (95, 96), (127, 127)])
    def test_transforms_of_large_kernels(library, taps):
        image, kernel = values((1500, 1700), "float32"), values(taps, "float32", 1)
        x = to_device(image, library)
        assert "device_fourier" in str(fastconv.plan(signal.correlate2d, x, kernel, "same", "symm"))
        with fastconv.use(precision="strict"):
            desired = to_host(signal.correlate2d(x, kernel, "same", "symm"), library)
        actual = to_host(signal.correlate2d(x, kernel, "same", "symm"), library)
        np.testing.assert_allclose(actual, desired, atol=2e-6 * np.abs(kernel).sum() * np.abs(image).max())
