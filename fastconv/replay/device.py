"""Calls on arrays that live on a GPU, seen before: straight to the launch, with new addresses.

What shapes, strides, dtypes and the other arguments decide is decided once: a tape (`fastconv.engines.threads._tape`)
holds the bytes of each launch's parameters and where in them which array's address stands.  The result is a new array
of the same library, the stream its current one.  Arrays of PyTorch and CuPy are known; others go the long way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from fastconv.device import as_device, recorded
from fastconv.engines.threads._tape import DeviceMemory, DeviceTape, Library, use_driver

__all__ = ["record"]

_libraries: dict[Any, Callable[[Any], tuple]] = {}  # by the class of arrays: what makes a result like a given one


def record(tapes: DeviceMemory, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The result of a call, which is remembered if launches on its arrays are all that it does."""
    kind = type(args[0])
    if kind not in _libraries and not _register(kind):
        return function(*args, **kwargs)
    found = tapes.key(function, args, kwargs)
    if found is None:
        return function(*args, **kwargs)
    key, arrays = found
    launches: list[Any] = []
    token = recorded.set(launches)
    try:
        result = function(*args, **kwargs)
    finally:
        recorded.reset(token)
    tapes.store(key, _tape(launches, arrays, result) or False)
    return result


def _register(kind: Any) -> bool:
    """Make the library of a class of arrays known, if it is one of those that can be."""
    torch, cupy = (sys.modules.get(name) for name in ("torch", "cupy"))
    if torch is not None and kind is torch.Tensor:
        flags, methods = ("requires_grad",), ("is_neg",)
        Library(kind, _torch_empty(torch), torch._C._cuda_getCurrentRawStream, flags, methods)
        _libraries[kind] = lambda result: (tuple(result.shape), result.stride(), result.dtype)
    elif cupy is not None and kind is cupy.ndarray:
        exported = getattr(sys.modules.get("cupy_backends.cuda.stream"), "__pyx_capi__", {})
        in_c = exported.get("get_current_stream_ptr")
        Library(kind, cupy.ndarray, cupy.cuda.get_current_stream, memory=cupy.cuda.alloc, stream_of_c=in_c)
        _libraries[kind] = lambda result: (result.shape, result.dtype)
    else:
        return False
    from fastconv.engines.numba_cuda.driver import entry_points

    use_driver(*entry_points())
    return True


def _torch_empty(torch: Any) -> Callable:
    """What makes a tensor of (shape, strides, dtype) on the current device.

    The function that code compiled by PyTorch calls takes 0.4 us of the host, `torch.empty` 1.
    """
    guards = getattr(getattr(torch._C, "_dynamo", None), "guards", None)
    least = getattr(guards, "_empty_strided_cuda", None)
    return least or (lambda shape, strides, dtype: torch.empty_strided(shape, strides, dtype=dtype, device="cuda"))


def _tape(launches: list[Any], arrays: list[Any], result: Any) -> DeviceTape | None:
    """The tape of a call, None if some address in it is neither an array's nor the result's."""
    if not launches or None in launches or type(result) is not type(arrays[0]):
        return None
    if any(result is array for array in arrays):
        return None
    known = [as_device("array", array) for array in (*arrays, result)]
    if any(array is None for array in known) or not known[-1].flags.c_contiguous:  # type: ignore[union-attr]
        return None
    made = []
    for _, kernel, sizes, parameters, used in launches:
        places = []
        for position, array in enumerate(used):
            if array is None:
                continue
            owner = next((i for i, found in enumerate(known) if found.owner is array.owner), None)  # type: ignore[union-attr]
            if owner is None:
                return None
            places.append((position, owner, array.address - known[owner].address))  # type: ignore[union-attr]
        made.append((kernel, sizes, parameters, places))
    try:
        return DeviceTape(launches[0][0], _libraries[type(result)](result), known[-1].nbytes, made)  # type: ignore[union-attr]
    except OverflowError:
        return None
