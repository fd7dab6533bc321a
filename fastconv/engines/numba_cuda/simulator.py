"""The twin of `driver` on Numba's CUDA simulator (``NUMBA_ENABLE_CUDASIM=1``): host memory stands for the device's."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import cuda

from fastconv.device import DeviceArray
from fastconv.engines.numba_cuda.elements import in_memory
from fastconv.engines.numba_cuda.launch import Kernel

__all__ = [
    "allocate", "capability", "check", "current", "current_device", "device_of", "download", "event", "finish", "is_pinned",
    "new_stream", "numba_array", "pinned", "prepared", "record", "run", "synchronize", "upload", "wait", "wait_for",
]  # fmt: skip


def check() -> None:
    """The simulator is always there."""


def current_device() -> int:
    """The simulator's only device."""
    return 0


def device_of(address: int) -> int:
    """The simulator's only device."""
    return 0


@contextmanager
def current(device: int) -> Iterator[None]:
    """Does nothing."""
    yield


def capability(device: int) -> tuple[int, int]:
    """That of a GPU that runs all kernels."""
    return 9, 0


def wait(stream: int, other: int) -> None:
    """Does nothing: everything is done when its call returns."""


def new_stream() -> int:
    """The default stream."""
    return 0


def event() -> None:
    """Nothing: everything is done when its call returns."""


def record(event: None, stream: int) -> None:
    """Does nothing."""


def wait_for(stream: int, event: None) -> None:
    """Does nothing."""


def finish(event: None) -> None:
    """Does nothing."""


def synchronize(stream: int) -> None:
    """Does nothing."""


def pinned(nbytes: int) -> np.ndarray:
    """New bytes."""
    return np.full(nbytes, 0xA5, np.uint8)


def is_pinned(array: np.ndarray) -> bool:
    """Whether the array's memory starts on an odd line, so that tests have some of both kinds."""
    return bool(array.ctypes.data & 64)


class Memory:
    """Memory that belongs to a call."""

    def __init__(self, nbytes: int):
        self._bytes = np.full(nbytes, 0xA5, np.uint8)  # what is read before it is written shows
        self.address = self._bytes.ctypes.data

    def free(self) -> None:
        """Overwrite it: what is read afterwards shows."""
        self._bytes[...] = 0xA5


def allocate(nbytes: int, stream: int) -> Memory:
    """New memory."""
    return Memory(nbytes)


def upload(host: np.ndarray, address: int, stream: int) -> None:
    """Copy a contiguous host array to an address."""
    ctypes.memmove(address, host.ctypes.data, host.nbytes)


def download(address: int, host: np.ndarray, stream: int, wait: bool = True) -> None:
    """Copy from an address to a contiguous host array."""
    ctypes.memmove(host.ctypes.data, address, host.nbytes)


def numba_array(shape: tuple[int, ...], dtype: np.dtype, stream: int) -> Any:
    """A new array of the simulator."""
    return cuda.device_array(shape, dtype)


class Pointer:
    """A pointer to elements that refuses to leave its array."""

    def __init__(self, array: DeviceArray, dtype: str):
        low, high = array.extent
        size = np.dtype(dtype).itemsize
        self._memory = np.ctypeslib.as_array((ctypes.c_uint8 * (high - low)).from_address(low)).view(dtype)
        self._first = (array.address - low) // size

    def _index(self, offset: int) -> int:
        index = self._first + offset
        if not 0 <= index < len(self._memory):
            raise IndexError(f"offset {offset} lies outside the array")
        return index

    def __getitem__(self, offset: int) -> Any:
        return self._memory[self._index(offset)]

    def __setitem__(self, offset: int, value: Any) -> None:
        self._memory[self._index(offset)] = value


def run(
    kernel: Kernel,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    arrays: Sequence[DeviceArray | None],
    scalars: Sequence[Any],
    geometry: tuple,
    stream: int,
    shared: int = 0,
    constants: Sequence[float] = (),
) -> None:
    """Run a kernel, thread by thread, on at most two blocks and threads along y and z, which plain kernels loop over.

    A simulated thread takes 130 us to start, a tap 2 us.
    """
    if not kernel.bounds:  # kernels of tiles loop over none
        block, grid = (block[0], min(block[1], 2), 1), (grid[0], min(grid[1], 2), min(grid[2], 2))
    typed = zip(arrays, kernel.pointers, strict=True)
    pointers = [None if array is None else Pointer(array, in_memory(dtype)) for array, dtype in typed]
    numbers = [np.asarray(value).astype(dtype)[()] for value, dtype in zip(scalars, kernel.scalars, strict=True)]
    weights = [tuple(constants)] if kernel.constants else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's scalars report what wraps or is not a number
        cuda.jit(kernel.function)[grid, block, 0, shared](*pointers, *numbers, *weights, geometry)


def prepared(*arguments: Any) -> Any:
    """No launch is repeated here: only arrays of PyTorch and CuPy are remembered, and none is of the simulator."""
    raise NotImplementedError("the simulator repeats no launches")
