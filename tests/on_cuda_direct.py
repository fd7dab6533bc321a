"""The direct filters of float32 planes that are C++ on a GPU: tiles (`stream.cu`) and strips (`strip.cu`,
`halves.cu`), inside and at borders.

Run as `on_cuda.py` is; on Numba's simulator their twins run, on few and small images.
"""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import scipy.ndimage
from cases import integers
from numba import config
from on_cuda import LIBRARIES, to_device, to_host

import fastconv
from fastconv import ndimage, nn, signal
from fastconv.algorithms import device_streams
from fastconv.problem import ConvProblem
from fastconv.testing import assert_identical

LIBRARY = LIBRARIES[-1]
SIMULATED = bool(config.ENABLE_CUDASIM)

# One tile and a part of one, rows that are no whole vectors, several blocks along both axes.
SHAPES = [(21, 133)] if SIMULATED else [(203, 1040), (97, 517), (64, 131), (300, 2050)]
SIZES = [(3, 3), (2, 7), (8, 9)]
if not SIMULATED:
    SIZES += [
        (1, 1),
        (5, 5),
        (7, 7),
        (7, 1),
        (1, 5),
        (4, 6),
        (9, 9),
        (11, 11),
        (15, 15),
        (21, 21),
        (1, 15),
        (16, 3),
        (12, 19),
    ]


@pytest.fixture(params=["stream", "strip", "halves"])
def kind(request, monkeypatch):
    """Strips are taken by large images and kernels; here by all whose kernels they are for, or by none."""
    monkeypatch.setattr(device_streams, "TILED", 49)
    monkeypatch.setattr(device_streams, "BY_HALVES", 0)
    monkeypatch.setattr(device_streams, "ROW_US", 0)
    monkeypatch.setattr(device_streams, "PROCESSORS", 1)
    monkeypatch.setattr(device_streams, "SHORTEST", 1 << 20 if request.param == "stream" else 0)
    with fastconv.use(precision="default" if request.param == "halves" else "strict"):
        yield request.param


def shape_of(image: np.ndarray, size: tuple[int, int]) -> device_streams.Shape | None:
    one, precision = (1, 1), fastconv.config.current_precision()
    p = ConvProblem(
        image.shape, size, image.shape, *["float32"] * 4, one, ("fill", "fill"), one, one, precision=precision
    )
    return device_streams.shape_for(p, True)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_mode(kind, shape, size):
    image, weights = integers(shape, "float32"), integers(size, "float32", 1)
    x, w = to_device(image, LIBRARY), to_device(weights, LIBRARY)
    chosen = shape_of(image, size)
    if np.prod(size) > 49:
        expected = "" if kind == "stream" and max(size) > 15 else kind
        assert (chosen.operation if chosen else "") == expected
    for mode in ("reflect", "mirror", "nearest", "wrap", "constant"):
        desired = scipy.ndimage.correlate(image, weights, mode=mode, cval=3)
        assert_identical(to_host(ndimage.correlate(x, weights, mode=mode, cval=3), LIBRARY), desired, mode)
        if SIMULATED:
            break
        assert_identical(
            to_host(ndimage.correlate(x, w, mode=mode, cval=3), LIBRARY), desired, f"{mode}, on the device"
        )
        if min(size) > 4:
            desired = scipy.ndimage.correlate(image, weights, mode=mode, origin=(-1, 2))
            assert_identical(to_host(ndimage.correlate(x, weights, mode=mode, origin=(-1, 2)), LIBRARY), desired, mode)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_full_and_valid(kind, size):
    image, weights = integers(SHAPES[-1], "float32"), integers(size, "float32", 1)
    for mode in ("full", "valid"):
        for boundary in ("fill",) if mode == "valid" else ("fill", "wrap", "symm"):
            with fastconv.use(engine="reference"):
                desired = signal.correlate2d(image[:60], weights, mode, boundary, 2)
            x = to_device(image, LIBRARY)[:60]
            assert_identical(to_host(signal.correlate2d(x, weights, mode, boundary, 2), LIBRARY), desired, boundary)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_views(kind, size):
    """Rows that start anywhere, elements apart from each other, and results in a part of a larger array."""
    whole, weights = integers((2 * SHAPES[0][0], 2 * SHAPES[0][1]), "float32"), integers(size, "float32", 1)
    device = to_device(whole, LIBRARY)
    some = slice(3, 3 + SHAPES[0][0]), slice(1, SHAPES[0][1])
    keys = [some, (slice(None, None, 2), slice(4, None)), (some[0], slice(None, None, 2))]
    for key in keys[:1] if SIMULATED else keys:
        image = whole[key]
        desired = scipy.ndimage.correlate(image, weights, mode="mirror")
        assert_identical(to_host(ndimage.correlate(device[key], weights, mode="mirror"), LIBRARY), desired)
    for start, step in ((0, 1), (1, 1), (0, 2)):
        room = np.full((image.shape[0] + 2, step * (image.shape[1] + 3)), 77, "float32")
        target = to_device(room, LIBRARY)
        inner = slice(1, -1), slice(start, start + step * image.shape[1], step)
        ndimage.correlate(device[key], weights, mode="mirror", output=target[inner])
        room[inner] = desired
        assert_identical(to_host(target, LIBRARY), room)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_is_not_finite(kind, size):
    image, weights = integers(SHAPES[0], "float32"), np.abs(integers(size, "float32", 1)) + 1
    image[3, 5], image[12, -7], image[-1, 0], image[-2, 60] = np.nan, np.inf, np.inf, -np.inf
    with np.errstate(invalid="ignore"), fastconv.use(engine="reference"):
        desired = signal.correlate2d(image, weights, "same", "symm")
    assert_identical(to_host(signal.correlate2d(to_device(image, LIBRARY), weights, "same", "symm"), LIBRARY), desired)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_and_biases(kind, size, channels):
    height, width = (12, 70) if SIMULATED else (50, 300)
    x, w = integers((2, channels, height, width), "float32"), integers((channels, 1, *size), "float32", 1)
    bias, padding = integers((channels,), "float32", 2), (size[0] // 2, size[1] // 2)
    desired = oracles.conv2d(x, w, bias, 1, padding, 1, channels)
    arrays = [to_device(array, LIBRARY) for array in (x, w, bias)]
    assert_identical(to_host(nn.conv2d(*arrays, padding=padding, groups=channels), LIBRARY), desired)
    actual = nn.conv2d(arrays[0], w, bias, padding=padding, groups=channels)
    assert_identical(to_host(actual, LIBRARY), desired, "weights on the host")
