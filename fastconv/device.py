"""Arrays that live on a GPU, seen through their strides.

A `DeviceArray` is to device memory what a NumPy view is to host memory: an address, a
shape, strides and a dtype.  It can be sliced, flipped and transposed, so the code that
brings arguments to canonical form serves both; its elements are read by kernels only.

Anything with ``__cuda_array_interface__`` (Numba, PyTorch, CuPy, ...) or DLPack (JAX, ...) becomes one, and
new arrays are made by the library that the caller's array came from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from math import prod
from typing import Any

import numpy as np

from fastconv import memory

__all__ = ["DeviceArray", "as_device", "native", "new_array", "on_device", "recorded"]

# NumPy functions that make views and so need no elements.
_VIEWS: tuple[Callable, ...] = (np.expand_dims, np.flip, np.moveaxis, np.swapaxes, np.transpose)

# Those that tell of an array what needs no elements, either.
_ABOUT: tuple[Callable, ...] = (np.ndim, np.shape, np.size)

# What is computed elementwise, into an output of the same dtype.
_ELEMENTWISE: dict[Callable, str] = {np.add: "add", np.multiply: "multiply", np.sqrt: "sqrt"}

# Libraries that have a current stream, in whose order their arrays are; and what interfaces call the default stream.
ORDERED = ("torch", "cupy")
LEGACY = 1

# Libraries whose arrays are read as DLPack has them, which tells when they are ready, and are never written to.
FROZEN = ("jax", "jaxlib")

# Where the strides of a view without memory are counted from.
_ORIGIN = np.empty(0, np.uint8)

# Set by `fastconv.replay.device`: launches tell what repeats them, and None stands for what cannot be repeated.
recorded: ContextVar[list | None] = ContextVar("fastconv_recorded", default=None)


class DeviceArray:
    """A strided view of device memory.

    Attributes
    ----------
    owner : object
        The array that holds the memory, kept alive.
    library : str
        Top-level package of the owner's class: "torch", "cupy", "numba", ...
    stream : int or None
        The CUDA stream that the owner names, if any.
    """

    def __init__(self, owner: Any, address: int, shadow: np.ndarray, stream: int | None = None):
        self.owner = owner
        self.library = type(owner).__module__.partition(".")[0]
        self.stream = stream
        self._base = address
        self._shadow = shadow  # has the shape, strides and flags, over no memory: never read

    @classmethod
    def at(
        cls,
        owner: Any,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype,
        strides: tuple[int, ...] | None = None,
        stream: int | None = None,
        read_only: bool = False,
    ) -> DeviceArray:
        """The array at an address; C-contiguous if no strides (in bytes) are given."""
        if strides is None:
            strides = tuple(dtype.itemsize * prod(shape[i + 1 :]) for i in range(len(shape)))
        shadow = np.lib.stride_tricks.as_strided(_ORIGIN.view(dtype), shape, strides, writeable=not read_only)
        return cls(owner, address, shadow, stream)

    @property
    def address(self) -> int:
        """Device address of the first element."""
        return self._base + self._shadow.ctypes.data - _ORIGIN.ctypes.data

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shadow.shape

    @property
    def strides(self) -> tuple[int, ...]:
        return self._shadow.strides

    @property
    def dtype(self) -> np.dtype:
        return self._shadow.dtype

    @property
    def ndim(self) -> int:
        return self._shadow.ndim

    @property
    def size(self) -> int:
        return self._shadow.size

    @property
    def itemsize(self) -> int:
        return self._shadow.itemsize

    @property
    def nbytes(self) -> int:
        return self._shadow.nbytes

    @property
    def flags(self) -> Any:
        return self._shadow.flags

    @property
    def extent(self) -> tuple[int, int]:
        """Addresses of the first byte and behind the last."""
        low, high = np.lib.array_utils.byte_bounds(self._shadow)
        return self._base + low - _ORIGIN.ctypes.data, self._base + high - _ORIGIN.ctypes.data

    def __getitem__(self, key: Any) -> DeviceArray:
        key = key if isinstance(key, tuple) else (key,)
        if not any(part is Ellipsis for part in key):
            key += (...,)  # an array even if all its axes are gone
        return self._view(self._shadow[key])

    def __setitem__(self, key: Any, value: DeviceArray) -> None:
        """Copy another device array, converted as C does."""
        if not isinstance(value, DeviceArray):
            raise TypeError(f"what is stored in a device array must be one, too; got {type(value).__name__}")
        _elementwise("copy", self[key], value)

    def copy(self) -> DeviceArray:
        """A new array with the same elements."""
        made = new_array(self.shape, self.dtype, (self,))
        made[...] = self
        return made

    @property
    def real(self) -> DeviceArray:
        return self._view(self._shadow.real)

    @property
    def imag(self) -> DeviceArray:
        return self._view(self._shadow.imag)

    def view(self, dtype: Any) -> DeviceArray:
        return self._view(self._shadow.view(dtype))

    def transpose(self, *axes: Any) -> DeviceArray:
        return self._view(self._shadow.transpose(*axes))

    def conj(self) -> DeviceArray:
        """The array itself if it is real."""
        if self.dtype.kind == "c":
            raise TypeError("complex kernels to be conjugated must be host arrays; got a device array")
        return self

    def astype(self, dtype: Any) -> DeviceArray:
        """The array itself if it has the dtype."""
        if self.dtype != dtype:
            raise TypeError(f"device arrays of dtype {self.dtype} are not computed with (here as {np.dtype(dtype)})")
        return self

    def _view(self, shadow: np.ndarray) -> DeviceArray:
        return DeviceArray(self.owner, self._base, shadow, self.stream)

    def __array_function__(self, function: Callable, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.may_share_memory:
            return _may_overlap(*args)
        if function is np.result_type:
            return np.result_type(*(a.dtype if isinstance(a, DeviceArray) else a for a in args))
        if function in _VIEWS and isinstance(args[0], DeviceArray):
            return self._view(function(args[0]._shadow, *args[1:], **kwargs))
        if function in _ABOUT:
            return function(args[0]._shadow, *args[1:], **kwargs)
        return NotImplemented

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out", (None,))[0]
        if method != "__call__" or function not in _ELEMENTWISE or not isinstance(out, DeviceArray):
            return NotImplemented
        if not all(isinstance(array, DeviceArray) for array in inputs):
            return NotImplemented
        _elementwise(_ELEMENTWISE[function], out, *inputs)
        return out

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(f"a device array ({self.library}) is not copied to the host unasked; pass a host array instead")

    def __repr__(self) -> str:
        return f"DeviceArray({self.library}, shape={self.shape}, strides={self.strides}, dtype={self.dtype})"


def on_device(*arrays: Any) -> bool:
    """Whether any of the arguments is a `DeviceArray`."""
    return any(isinstance(array, DeviceArray) for array in arrays)


def as_device(name: str, value: Any) -> DeviceArray | None:
    """The argument as a `DeviceArray`; None if it does not live on a device."""
    if isinstance(value, np.ndarray):
        return None
    if isinstance(value, DeviceArray):
        return value
    if hasattr(value, "_ary") and getattr(value, "__cuda_ndarray__", False):  # an array of Numba's simulator
        host = value._ary
        return DeviceArray.at(value, host.ctypes.data, host.shape, host.dtype, host.strides)
    library = type(value).__module__.partition(".")[0]
    interface = None if library in FROZEN else getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        return _by_dlpack(name, value, library in FROZEN) if hasattr(value, "__dlpack_device__") else None
    dtype = np.dtype(interface["typestr"])
    if interface.get("mask") is not None:
        raise TypeError(f"{name} must not be masked; got a masked device array")
    if not dtype.isnative or dtype.kind not in "biufc":
        raise TypeError(f"{name} must be an array of numbers in native byte order; got dtype {interface['typestr']}")
    address, read_only = interface["data"]
    shape, strides = tuple(interface["shape"]), interface.get("strides")
    stream = interface.get("stream")
    if library in ORDERED:
        stream = None
    elif stream == LEGACY:
        stream = 0
    return DeviceArray.at(value, address, shape, dtype, strides, stream, read_only)


def _by_dlpack(name: str, value: Any, frozen: bool) -> DeviceArray | None:
    from fastconv import dlpack  # few programs have a GPU

    found = dlpack.taken(name, value)
    return None if found is None else DeviceArray.at(value, *found, read_only=frozen)


def new_array(shape: tuple[int, ...], dtype: np.dtype, like: Iterable[Any]) -> Any:
    """A new array on the device and of the library of the first device array in `like`; else of NumPy."""
    first = next((array for array in like if isinstance(array, DeviceArray)), None)
    if first is None:
        return memory.empty(shape, dtype)
    if first.library == "torch":
        torch = sys.modules["torch"]
        owner = torch.empty(shape, dtype=getattr(torch, dtype.name), device=first.owner.device)
    elif first.library == "cupy":
        with first.owner.device:
            owner = sys.modules["cupy"].empty(shape, dtype)
    else:
        from fastconv.engines.numba_cuda import launch

        handed = first.library in FROZEN or first.library == "fastconv"  # what the call before has made for them
        owner = (launch.new_handed_array if handed else launch.new_numba_array)(shape, dtype, first)
    return as_device("out", owner)


def native(array: Any) -> Any:
    """What the caller gets: the owner of a `DeviceArray`, anything else unchanged."""
    return array.owner if isinstance(array, DeviceArray) else array


def _elementwise(operation: str, out: DeviceArray, *arrays: DeviceArray) -> None:
    from fastconv.algorithms.device_moving import elementwise

    elementwise(operation, out, *arrays)


def _may_overlap(a: Any, b: Any) -> bool:
    if not (isinstance(a, DeviceArray) and isinstance(b, DeviceArray)) or 0 in (a.size, b.size):
        return False
    (a_low, a_high), (b_low, b_high) = a.extent, b.extent
    return a_low < b_high and b_low < a_high
