"""DLPack: arrays of libraries without CUDA's array interface, and results handed over to JAX.

The structures are those of dlpack.h, https://dmlc.github.io/dlpack/latest/c_api.html, unversioned, which all libraries take.
"""

from __future__ import annotations

import ctypes
import sys
from math import prod
from typing import Any

import numpy as np

__all__ = ["CUDA", "LEGACY", "Handed", "handed_over", "taken"]

# Kinds of device whose memory kernels read; how streams are called (1 is the legacy default stream).
CUDA = (2, 13)
LEGACY = 1

_KINDS = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_NAME = b"dltensor"


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("kind", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, _Destructor)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_unwrap = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

# What has been handed over and not been given back, by the address of its record.
_out: dict[int, tuple[Any, ...]] = {}


def taken(name: str, value: Any) -> tuple[int, tuple[int, ...], np.dtype, tuple[int, ...]] | None:
    """Address, shape, dtype and strides of an array that has `__dlpack__`; None if it is not on a GPU.

    It is ready for work in the order of the default stream, and stays where it is as long as `value` lives.
    """
    if value.__dlpack_device__()[0] not in CUDA:
        return None
    capsule = value.__dlpack__(stream=LEGACY)
    tensor = ctypes.cast(_pointer_of(capsule, _NAME), ctypes.POINTER(_Managed)).contents.tensor
    kind = next((letter for letter, code in _KINDS.items() if code == tensor.kind), None)
    if kind is None or tensor.lanes != 1:
        raise TypeError(f"{name} must be an array of numbers; got DLPack's type {tensor.kind} of {tensor.bits} bits")
    dtype, shape = np.dtype(f"{kind}{tensor.bits // 8}"), tuple(tensor.shape[: tensor.ndim])
    counted = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else _steps(shape)
    return (tensor.data or 0) + tensor.byte_offset, shape, dtype, tuple(step * dtype.itemsize for step in counted)


class Handed:
    """New memory of a GPU for a result, which another library takes by DLPack once it has been written.

    `stream` (0: the default one) is what writes to it; whoever takes it names one that shall wait for that.
    """

    def __init__(self, runner: Any, shape: tuple[int, ...], dtype: np.dtype, device: int):
        self._runner, self._memory = runner, runner.allocate(prod(shape) * dtype.itemsize, 0)
        self.shape, self.dtype, self.device, self.address = shape, dtype, device, self._memory.address

    def __del__(self) -> None:
        self._memory.free()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "version": 3,
            "stream": 1,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA[0], self.device

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        if stream not in (None, -1, LEGACY):
            self._runner.wait(stream, 0)
        n = len(self.shape)
        shape, strides = ((ctypes.c_int64 * n)(*values) for values in (self.shape, _steps(self.shape)))
        kind, bits = _KINDS[self.dtype.kind], 8 * self.dtype.itemsize
        tensor = _Tensor(self.address, CUDA[0], self.device, n, kind, bits, 1, shape, strides, 0)
        managed = _Managed(tensor, None, _give_back)
        place = ctypes.addressof(managed)
        _out[place] = (self, managed, shape, strides)
        return _new_capsule(place, _NAME, _not_taken)


def handed_over(result: Any) -> Any:
    """What a call returns: memory made for JAX as an array of JAX, anything else unchanged."""
    if isinstance(result, tuple):
        return tuple(map(handed_over, result)) if any(isinstance(part, Handed) for part in result) else result
    return sys.modules["jax"].dlpack.from_dlpack(result) if isinstance(result, Handed) else result


@_Deleter
def _give_back(managed: Any) -> None:
    _out.pop(ctypes.addressof(managed.contents), None)


@_Destructor
def _not_taken(capsule: int) -> None:
    """A capsule that nobody took, which else has another name, gives back what it holds."""
    if _is_valid(capsule, _NAME):
        _out.pop(_unwrap(capsule, _NAME), None)


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
