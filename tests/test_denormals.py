"""Scratch memory may hold denormal numbers, which processors multiply by microcode: no filter computes with them."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import sys

import numpy as np
import pytest

from fastconv import ndimage, replay
from fastconv.algorithms import executor

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="reads a register of x86-64 by glibc's fenv_t"
)

FLAGS, DENORMAL = 0x3F, 0x2  # of MXCSR, the last word of glibc's fenv_t


class Environment:
    """The flags that floating-point instructions leave."""

    def __init__(self) -> None:
        self.words = (ctypes.c_uint32 * 8)()
        self.library = ctypes.CDLL(ctypes.util.find_library("m"))

    def clear(self) -> None:
        self.library.fegetenv(self.words)
        self.words[7] &= ~FLAGS
        self.library.fesetenv(self.words)

    def denormal(self) -> bool:
        self.library.fegetenv(self.words)
        return bool(self.words[7] & DENORMAL)


@pytest.fixture
def met(monkeypatch):
    """Whether launches met denormal numbers, of which all scratch memory is made: single and double ones."""
    environment, launch, found = Environment(), executor.launch, []

    def poisoned(kernel, slots, x, w, out, bias, fill, scratch, units, threads):
        scratch[: scratch.nbytes // 8 * 8].view(np.uint64)[...] = 0x0000_0001_0000_0001
        environment.clear()
        launch(kernel, slots, x, w, out, bias, fill, scratch, units, threads)
        found.append(environment.denormal())

    monkeypatch.setattr(executor, "launch", poisoned)
    replay.forget()
    yield found
    replay.forget()


def test_the_flag_is_seen(met):
    tiny = np.full((40, 40), 1e-40, np.float32)
    ndimage.correlate(tiny, np.ones((3, 3), np.float32), threads=1)
    assert met == [True]


SHAPES, LINES = [(66, 33), (20, 20), (9, 70), (6, 7, 40)], [(100,), (1000,)]
CASES = [(dtype, shape) for dtype in ("float32", "float64", "int32", "uint8") for shape in SHAPES]
# Lines of integers are summed by tiles that may end in the memory of the sums, with vectors of 32 bytes.
CASES += [(dtype, shape) for dtype in ("float32", "float64") for shape in LINES]


@pytest.mark.parametrize(("dtype", "shape"), CASES, ids=str)
def test_tiles_read_no_denormal_numbers_beyond_a_patch(engine, met, dtype, shape):
    if engine == "reference":
        return  # it has no scratch memory
    rng = np.random.default_rng(0)
    image = (rng.random(shape) * 200 + 1).astype(dtype)
    for size in (3, 7):
        kernel = (rng.random((size,) * image.ndim) + 0.5).astype("float32" if dtype == "float32" else "float64")
        for steps in ({}, {"stride": 2}, {"stride": 3, "dilation": 2})[: 1 if dtype == "uint8" else 3]:
            result = ndimage.correlate(image, kernel, mode="constant", threads=1, **steps)
            assert np.isfinite(result).all() and met and not any(met), (size, steps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(66, 33), (20, 20), (9, 70), (100,), (6, 7, 40)], ids=str)
def test_nor_do_passes(engine, met, dtype, shape):
    if engine == "reference":
        return
    image = np.random.default_rng(0).random(shape).astype(dtype) + 1
    for call in (ndimage.gaussian_filter, ndimage.gaussian_gradient_magnitude, ndimage.gaussian_laplace):
        assert np.isfinite(call(image, 1.5, threads=1)).all() and met and not any(met), call


@pytest.mark.parametrize("shape", [(66, 33), (20, 20), (9, 70)], ids=str)
def test_nor_with_gaps(engine, met, shape):
    if engine == "reference":
        return
    image = np.random.default_rng(0).random(shape).astype(np.float32) + 1
    image[3, 4] = np.nan
    ndimage.correlate(image, np.ones((5, 5), np.float32), nan_policy="omit", threads=1)
    assert met and not any(met)
