"""Kernels on a real GPU: Numba compiles them, the CUDA driver loads and launches them.

Numba's own launcher takes 22 us and more for a call with two arrays, since it types its arguments
anew each time.  Here every parameter is a 64-bit slot, and a launch is one call of the driver.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from cuda.bindings import driver

from fastconv.device import DeviceArray
from fastconv.engines.numba_cuda.elements import in_memory
from fastconv.engines.numba_cuda.launch import INSTALL, Kernel

__all__ = [
    "allocate", "check", "compile_ptx", "current", "current_device", "device_of", "download", "link", "numba_array",
    "prepared", "run", "slots_of", "upload", "wait",
]  # fmt: skip

# Bytes of shared memory that a block may have without asking.
USUAL_SHARED = 48 << 10

# What tells the driver that parameters lie one behind the other.
PARAMETERS, NBYTES, END = 1, 2, 0

# Names that numba-cuda 0.30 looks up at its first compilation and NumPy 2.5 no longer has.
NUMPY_NAMES = {"row_stack": "vstack"}


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


_OTHERS = "The other engines run without them."


def _do(function: Any, *arguments: Any) -> Any:
    """Call the driver; its failure is a RuntimeError."""
    error, *values = function(*arguments)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"{function.__name__} failed with {error.name}")
    return values[0] if values else None


# -- devices and streams ------------------------------------------------------------------------


def current_device() -> int:
    """The device of the calling thread's context, or the first."""
    context = _do(driver.cuCtxGetCurrent)
    return int(_do(driver.cuCtxGetDevice)) if int(context) else 0


def device_of(address: int) -> int:
    """The device on which memory lies."""
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
def _capability(device: int) -> tuple[int, int]:
    names = driver.CUdevice_attribute
    major = names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    minor = names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
    return _do(driver.cuDeviceGetAttribute, major, device), _do(driver.cuDeviceGetAttribute, minor, device)


def wait(stream: int, other: int) -> None:
    """Let a stream wait for what another has been given so far; the host does not wait."""
    event = _do(driver.cuEventCreate, driver.CUevent_flags.CU_EVENT_DISABLE_TIMING.value)
    _do(driver.cuEventRecord, event, other)
    _do(driver.cuStreamWaitEvent, stream, event, 0)
    _do(driver.cuEventDestroy, event)


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


def download(address: int, host: np.ndarray, stream: int) -> None:
    """Copy from an address to a contiguous host array, and wait for it."""
    _do(driver.cuMemcpyDtoHAsync, host.ctypes.data, address, host.nbytes, stream)
    _do(driver.cuStreamSynchronize, stream)


def numba_array(shape: tuple[int, ...], dtype: np.dtype, stream: int) -> Any:
    """A new device array of Numba's."""
    from numba import cuda

    return cuda.device_array(shape, dtype, stream=cuda.external_stream(stream) if stream else 0)


# -- kernels ----------------------------------------------------------------------------------------


def compile_ptx(kernel: Kernel, capability: tuple[int, int]) -> tuple[str, str]:
    """A kernel as PTX, and the name of its entry; needs the compiler's libraries, but no GPU."""
    with _numpy_names():
        from numba import cuda
        from numba.cuda import types

        pointers = [types.CPointer(getattr(types, in_memory(name))) for name in kernel.pointers]
        scalars = [getattr(types, name) for name in kernel.scalars]
        geometry = types.NamedUniTuple(types.int64, len(kernel.geometry._fields), kernel.geometry)
        constants = [types.UniTuple(types.float32, kernel.constants)] if kernel.constants else []
        signature = types.void(*pointers, *scalars, *constants, geometry)
        try:
            ptx, _ = cuda.compile(
                kernel.function,
                signature,
                device=False,
                abi="numba",
                cc=capability,
                launch_bounds=kernel.bounds or None,
            )
        except (ImportError, OSError, RuntimeError) as error:
            libraries = f"its compiler libraries come with {INSTALL}"
            raise RuntimeError(f"engine 'cuda' could not compile a kernel ({libraries}): {error}") from error
    entry = re.search(r"\.visible \.entry (\w+)", ptx)
    assert entry is not None
    return ptx, entry[1]


def link(ptx: str, capability: tuple[int, int]) -> Any:
    """PTX as machine code; needs nvJitLink, or the driver."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(arch="sm_{}{}".format(*capability))
    return Linker(ObjectCode.from_ptx(ptx.encode()), options=options).link("cubin")


@cache
def _allow_shared(loaded: Any, device: int, nbytes: int) -> None:
    """Let a kernel have more shared memory than blocks have unasked."""
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    _do(driver.cuKernelSetAttribute, attribute, nbytes, driver.CUkernel(int(loaded.handle)), device)


@cache
def _load(kernel: Kernel, capability: tuple[int, int]) -> tuple[Any, Any]:
    """The loaded kernel's handle, and the object that keeps it."""
    ptx, entry = compile_ptx(kernel, capability)
    loaded = link(ptx, capability).get_kernel(entry)
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
    handle, loaded = _load(kernel, _capability(device))
    if shared > USUAL_SHARED:
        _allow_shared(loaded, device, shared)
    slots = slots_of(kernel, arrays, scalars, geometry)
    numbers = np.array(constants, np.float32)
    addresses = slots.ctypes.data + np.arange(0, slots.nbytes, 8, dtype=np.uint64)
    if kernel.constants:
        behind = len(kernel.pointers) + sum(2 if name == "complex128" else 1 for name in kernel.scalars)
        addresses = np.insert(addresses, behind, numbers.ctypes.data + np.arange(0, numbers.nbytes, 4, dtype=np.uint64))
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
) -> tuple[Callable[[int, int, int], int], bytes]:
    """A launch that has been made once, to be repeated: a function of stream, address and size of the parameters,
    whose result is the driver's error, and the parameters, the arrays' addresses first."""
    handle = int(_load(kernel, _capability(current_device()))[0])
    slots = slots_of(kernel, arrays, scalars, geometry)
    behind = len(slots) - len(geometry)
    numbers = np.zeros(-(-len(constants) // 2) * 2, np.float32)  # ends on a multiple of 8 bytes
    numbers[: len(constants)] = constants
    parameters = slots[:behind].tobytes() + numbers.tobytes() + slots[behind:].tobytes()
    launch, sizes = _library().cuLaunchKernel, (*grid, *block, shared)
    size = ctypes.c_size_t()
    extra = (ctypes.c_void_p * 5)(PARAMETERS, None, NBYTES, ctypes.addressof(size), END)

    def again(stream: int, address: int, nbytes: int, keep: Any = size) -> int:
        extra[1], size.value = address, nbytes
        return launch(handle, *sizes, stream, None, extra)

    return again, parameters


@cache
def _library() -> Any:
    """The driver's library, for calls that shall take a microsecond; those of its Python bindings take several."""
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    sizes: list[Any] = [ctypes.c_uint] * 7
    library.cuLaunchKernel.argtypes = [ctypes.c_void_p, *sizes, *[ctypes.c_void_p] * 3]
    return library


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


@contextmanager
def _numpy_names() -> Iterator[None]:
    missing = {old: new for old, new in NUMPY_NAMES.items() if not hasattr(np, old)}
    for old, new in missing.items():
        setattr(np, old, getattr(np, new))
    try:
        yield
    finally:
        for old in missing:
            delattr(np, old)
