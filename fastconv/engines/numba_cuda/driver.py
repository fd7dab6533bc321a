"""Kernels on a real GPU: the CUDA driver loads and launches what `cubins` has compiled.

Numba's own launcher takes 22 us and more for a call with two arrays, since it types its arguments
anew each time.  Here every parameter is a 64-bit slot, and a launch is one call of the driver.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import finalize

import numpy as np
from cuda.bindings import driver

from fastconv.device import DeviceArray
from fastconv.engines.numba_cuda.cubins import code_of
from fastconv.engines.numba_cuda.launch import Kernel

__all__ = [
    "allocate", "capability", "check", "current", "current_device", "device_of", "download", "entry_points", "event", "finish",
    "is_pinned", "new_stream", "numba_array", "pinned", "prepared", "record", "run", "slots_of", "synchronize", "upload", "wait",
    "wait_for",
]  # fmt: skip

# The oldest CUDA whose driver has all that is called here.
LEAST_CUDA = 12000

# Bytes of shared memory that a block may have without asking.
USUAL_SHARED = 48 << 10


def check() -> None:
    """Raise a RuntimeError if there is no driver or no GPU."""
    try:
        _do(driver.cuInit, 0)
        count = _do(driver.cuDeviceGetCount)
    except RuntimeError as error:  # the bindings' own, if there is no driver library
        raise RuntimeError(
            f"engine 'cuda' needs an NVIDIA GPU and its driver: {str(error).rstrip('.')}. {_OTHERS}"
        ) from None
    if not count:
        raise RuntimeError(f"engine 'cuda' needs an NVIDIA GPU; the driver sees none. {_OTHERS}")
    serves = int(_do(driver.cuDriverGetVersion))
    if serves < LEAST_CUDA:
        need, have = (f"{number // 1000}.{number % 1000 // 10}" for number in (LEAST_CUDA, serves))
        raise RuntimeError(
            f"engine 'cuda' needs a driver for CUDA {need}; this one is for {have}: update it. {_OTHERS}"
        )


_OTHERS = "The other engines run without them."


def _do(function: Any, *arguments: Any) -> Any:
    """Call the driver; its failure is a RuntimeError that says what to do, or a MemoryError."""
    error, *values = function(*arguments)
    if error == driver.CUresult.CUDA_SUCCESS:
        return values[0] if values else None
    what = f"{function.__name__} failed with {error.name}"
    if error.name == "CUDA_ERROR_OUT_OF_MEMORY":
        raise MemoryError(f"engine 'cuda' has no memory left on the GPU or pinned on the host: {what}. {_SMALLER}")
    raise RuntimeError(f"engine 'cuda': {what}{_HINTS.get(error.name, '')}")


_SMALLER = "Free arrays (torch.cuda.empty_cache, cupy's free_all_blocks), or use smaller ones."
_OLD = ": the driver is older than the compiler's libraries; update it, or install numba-cuda[cu12] for a driver before 580"
_BROKEN = ": an earlier kernel, of whatever library, has left the GPU unusable for this process; start a new one"
_HINTS = {
    **dict.fromkeys(("CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "CUDA_ERROR_NO_BINARY_FOR_GPU"), _OLD),
    **dict.fromkeys(("CUDA_ERROR_INVALID_IMAGE", "CUDA_ERROR_INVALID_SOURCE"), _OLD),
    **dict.fromkeys(("CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_ASSERT"), _BROKEN),
}


# -- devices and streams ------------------------------------------------------------------------


def current_device() -> int:
    """The device of the calling thread's context, or the first."""
    context = _do(driver.cuCtxGetCurrent)
    return int(_do(driver.cuCtxGetDevice)) if int(context) else 0


def device_of(address: int) -> int:
    """The device on which memory lies; arrays without elements have none."""
    if not address:
        return current_device()
    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(_do(driver.cuPointerGetAttribute, attribute, address))


@contextmanager
def current(device: int) -> Iterator[None]:
    """Make a device's primary context, which Numba, PyTorch and CuPy share, the calling thread's."""
    _do(driver.cuCtxPushCurrent, _context(device))
    try:
        yield
    finally:
        _do(driver.cuCtxPopCurrent)


@cache
def _context(device: int) -> Any:
    return _do(driver.cuDevicePrimaryCtxRetain, _do(driver.cuDeviceGet, device))


@cache
def capability(device: int) -> tuple[int, int]:
    """The kind of a GPU: its compute capability."""
    names = driver.CUdevice_attribute
    major = names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    minor = names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
    return _do(driver.cuDeviceGetAttribute, major, device), _do(driver.cuDeviceGetAttribute, minor, device)


def wait(stream: int, other: int) -> None:
    """Let a stream wait for what another has been given so far; the host does not wait."""
    passed = event()
    record(passed, other)
    wait_for(stream, passed)
    _do(driver.cuEventDestroy, passed)


def new_stream() -> int:
    """A stream of the current device that no other waits for."""
    return int(_do(driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value))


def event() -> Any:
    """A new event."""
    return _do(driver.cuEventCreate, driver.CUevent_flags.CU_EVENT_DISABLE_TIMING.value)


def record(event: Any, stream: int) -> None:
    """Let an event happen when a stream has done what it has been given so far."""
    _do(driver.cuEventRecord, event, stream)


def wait_for(stream: int, event: Any) -> None:
    """Let a stream wait for an event; the host does not wait."""
    _do(driver.cuStreamWaitEvent, stream, event, 0)


def finish(event: Any) -> None:
    """Wait for an event."""
    _do(driver.cuEventSynchronize, event)


# -- memory, allocated and freed in stream order ----------------------------------------------------


class Memory:
    """Memory that belongs to a call."""

    def __init__(self, nbytes: int, stream: int):
        self._stream = stream
        self.address = int(_do(driver.cuMemAllocAsync, max(nbytes, 1), stream))

    def free(self) -> None:
        """Give it back once the stream has come so far."""
        _do(driver.cuMemFreeAsync, self.address, self._stream)


def allocate(nbytes: int, stream: int) -> Memory:
    """New memory."""
    return Memory(nbytes, stream)


def upload(host: np.ndarray, address: int, stream: int) -> None:
    """Copy a contiguous host array to an address; it may be changed as soon as this returns."""
    _do(driver.cuMemcpyHtoDAsync, address, host.ctypes.data, host.nbytes, stream)


def download(address: int, host: np.ndarray, stream: int, wait: bool = True) -> None:
    """Copy from an address to a contiguous host array, and wait for it (unless it is pinned, only if asked to)."""
    _do(driver.cuMemcpyDtoHAsync, host.ctypes.data, address, host.nbytes, stream)
    if wait:
        synchronize(stream)


def synchronize(stream: int) -> None:
    """Wait until a stream has done all that it has been given."""
    _do(driver.cuStreamSynchronize, stream)


def pinned(nbytes: int) -> np.ndarray:
    """New bytes of the host that the device reads and writes by itself."""
    address = int(_do(driver.cuMemHostAlloc, max(nbytes, 1), driver.CU_MEMHOSTALLOC_PORTABLE))
    memory = (ctypes.c_uint8 * nbytes).from_address(address)
    finalize(memory, driver.cuMemFreeHost, address).atexit = False  # the driver's own end may come first
    return np.ctypeslib.as_array(memory)


def is_pinned(array: np.ndarray) -> bool:
    """Whether the device reads and writes a host array by itself."""
    attribute, host = (
        driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
        driver.CUmemorytype.CU_MEMORYTYPE_HOST,
    )
    low, high = np.lib.array_utils.byte_bounds(array)
    answers = [driver.cuPointerGetAttribute(attribute, address) for address in (low, high - 1)]
    return all(error == driver.CUresult.CUDA_SUCCESS and int(kind) == int(host) for error, kind in answers)


def numba_array(shape: tuple[int, ...], dtype: np.dtype, stream: int) -> Any:
    """A new device array of Numba's."""
    from numba import cuda

    return cuda.device_array(shape, dtype, stream=cuda.external_stream(stream) if stream else 0)


# -- kernels ----------------------------------------------------------------------------------------


@cache
def _allow_shared(loaded: Any, device: int, nbytes: int) -> None:
    """Let a kernel have more shared memory than blocks have unasked."""
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    _do(driver.cuKernelSetAttribute, attribute, nbytes, driver.CUkernel(int(loaded.handle)), device)


@cache
def _load(kernel: Kernel, kind: tuple[int, int]) -> tuple[Any, Any]:
    """The loaded kernel's handle, and the object that keeps it."""
    from cuda.core import ObjectCode

    entry, code = code_of(kernel, kind, int(_do(driver.cuDriverGetVersion)))
    try:
        loaded = ObjectCode.from_cubin(code).get_kernel(entry)
    except Exception as error:  # of the bindings' own classes
        raise RuntimeError(f"engine 'cuda' could not load a kernel: {error}{_OLD}") from error
    return driver.CUfunction(int(loaded.handle)), loaded


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
    """Launch a kernel on a stream of the current device; compiles it at first."""
    device = current_device()
    handle, loaded = _load(kernel, capability(device))
    if shared > USUAL_SHARED:
        _allow_shared(loaded, device, shared)
    slots = slots_of(kernel, arrays, scalars, geometry)
    numbers = np.array(constants, np.float32)
    addresses = slots.ctypes.data + np.arange(0, slots.nbytes, 8, dtype=np.uint64)
    weights = numbers.ctypes.data + np.arange(0, numbers.nbytes, 4, dtype=np.uint64)
    behind = len(slots) - len(geometry)
    some = slice(1 if kernel.source else None)  # in C++ weights and geometry are one parameter each
    addresses = np.concatenate([addresses[:behind], weights[some], addresses[behind:][some]])
    _do(driver.cuLaunchKernel, handle, *grid, *block, shared, stream, addresses.ctypes.data, 0)


def prepared(
    kernel: Kernel,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    arrays: Sequence[DeviceArray | None],
    scalars: Sequence[Any],
    geometry: tuple,
    shared: int = 0,
    constants: Sequence[float] = (),
) -> tuple[int, int, tuple[int, ...], bytes, Sequence[DeviceArray | None]]:
    """What repeats a launch that has been made: device, kernel, grid and block and bytes of shared memory, the
    parameters one behind the other, and the arrays whose addresses come first among them."""
    device = current_device()
    handle = int(_do(driver.cuKernelGetFunction, driver.CUkernel(int(_load(kernel, capability(device))[0]))))
    slots = slots_of(kernel, arrays, scalars, geometry)
    behind = len(slots) - len(geometry)
    numbers = np.zeros(-(-len(constants) // 2) * 2, np.float32)  # ends on a multiple of 8 bytes
    numbers[: len(constants)] = constants
    parameters = slots[:behind].tobytes() + numbers.tobytes() + slots[behind:].tobytes()
    return device, handle, (*grid, *block, shared), parameters, arrays


@cache
def entry_points() -> tuple[int, int]:
    """Addresses of the driver's cuLaunchKernel and cuCtxGetDevice: calls through its Python bindings take microseconds."""
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    launch, device = (ctypes.cast(f, ctypes.c_void_p).value for f in (library.cuLaunchKernel, library.cuCtxGetDevice))
    assert launch is not None and device is not None
    return launch, device


def slots_of(
    kernel: Kernel, arrays: Sequence[DeviceArray | None], scalars: Sequence[Any], geometry: tuple
) -> np.ndarray:
    """The parameters of a launch as 64-bit slots, in the order of the contract."""
    pointers = [0 if array is None else array.address for array in arrays]
    numbers = [
        np.asarray(value).astype(name).reshape(1).view(np.int64)
        for value, name in zip(scalars, kernel.scalars, strict=True)
    ]
    return np.concatenate([np.array(pointers, np.int64), *numbers, np.array(geometry, np.int64)])
