"""What the filters' arguments mean: axes, boundary rules, origins, the output array."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastconv.boundary import NDIMAGE_MODES
from fastconv.device import DeviceArray, as_device, native, new_array
from fastconv.replay import by_value
from fastconv.validate import ArgumentError, ArgumentTypeError, axis_index, check_size, choice, type_name

__all__ = [
    "DTYPES",
    "boundary_rule",
    "checked_cval",
    "filtered_axes",
    "output_array",
    "per_axis",
    "warn_caller",
    "writable",
]

DTYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 complex64 complex128".split()


def filtered_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(ndim))
    values = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    indices = tuple(axis_index("axes", a, ndim) for a in values)
    if len(set(indices)) != len(indices):
        raise ValueError(f"axes must be unique; got {axes!r}")
    return indices


def checked_cval(cval: Any, image: np.ndarray, kernel: np.ndarray) -> Any:
    number = np.asarray(float(cval) if type(cval) is int and not -(1 << 63) <= cval < 1 << 64 else cval)
    if number.size != 1 or number.dtype.kind not in "biufc" or isinstance(cval, list | tuple):
        raise ArgumentTypeError(f"cval must be a number; got {cval!r}")
    number = number.reshape(())
    if number.dtype.kind == "c" and image.dtype.kind != "c":
        raise ArgumentTypeError(f"cval must be real for a real input; got {cval!r}")
    return number


def output_array(
    output: Any, image: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...] | None = None
) -> tuple[Any, Any]:
    """The array to return, and the same as a base-class array to write to; of the image's shape, unless one is given."""
    shape = image.shape if shape is None else shape
    complex_result = image.dtype.kind == "c" or kernel.dtype.kind == "c"
    if output is not None and not isinstance(output, (str, type, np.dtype)):
        if not isinstance(output, np.ndarray):
            output = as_device("output", output) or np.asarray(output)  # as SciPy, which returns it
        if output.shape != shape:
            raise ArgumentError(f"output must have shape {shape}; got {output.shape}")
        dtype = output.dtype
        if not output.flags.writeable:
            raise ValueError("output must be writable; got a read-only array")
    elif output is None:
        dtype = np.promote_types(image.dtype, np.complex64) if complex_result else image.dtype
    else:
        try:
            dtype = np.dtype(output)
        except TypeError:
            raise ArgumentTypeError(f"output must be an array or a dtype; got {output!r}") from None
        if complex_result and dtype.kind != "c" and not isinstance(output, str):
            warnings.warn(f"promoting specified output dtype to complex; output was {dtype}", stacklevel=4)
            dtype = np.promote_types(dtype, np.complex64)
    if type_name(dtype) not in DTYPES:
        raise ArgumentTypeError(f"output must have one of the dtypes {', '.join(DTYPES)}; got {dtype}")
    if complex_result and dtype.kind != "c":
        raise ArgumentError(f"output must have a complex dtype for complex input or weights; got {dtype}")
    if dtype.kind == "c" and not complex_result:
        raise ArgumentError(f"output must have a real dtype for real input and weights; got {dtype}")
    check_size("output", shape, dtype)
    if isinstance(output, np.ndarray):
        return output, np.asarray(output)
    if isinstance(output, DeviceArray):
        return native(output), output
    result = new_array(shape, dtype, (image, kernel))
    return native(result), result


def boundary_rule(mode: Any) -> str:
    """The rule of `fastconv.boundary` that a single mode names."""
    if not isinstance(mode, str) and isinstance(mode, Iterable):
        raise ArgumentError(f"mode must be a single name; got {mode!r}")
    try:
        return choice("mode", mode, NDIMAGE_MODES)
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def per_axis(name: str, value: Any, n: int) -> list[Any]:
    """The argument for each of `n` axes: a sequence of as many, or one value for all."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [value] * n
    if isinstance(value, np.ndarray) and value.ndim == 0:  # a number, though Python takes it for iterable
        return [value[()]] * n
    values = list(value)
    if len(values) != n:
        raise ArgumentError(f"{name} must be one value or a sequence of {n}, one for each axis; got {value!r}")
    return values


def warn_caller(message: str) -> None:
    """Warn of the line that called fastconv, each time: a call that warns is not remembered."""
    by_value()
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fastconv"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


@contextmanager
def writable(target: np.ndarray, *inputs: np.ndarray) -> Iterator[np.ndarray]:
    """`target`, or a new array that is copied to it in the end if kernels cannot write to it itself.

    They cannot where it overlaps an input or has another byte order.
    """
    native = target if target.dtype.isnative else np.empty(target.shape, target.dtype.newbyteorder("="))
    if any(np.may_share_memory(native, array) for array in inputs):
        like = isinstance(target, DeviceArray)
        native = new_array(target.shape, native.dtype, (target,)) if like else np.empty(target.shape, native.dtype)
    yield native
    if native is not target:
        target[...] = native
