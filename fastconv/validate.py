"""The only place that rejects user input.

Every check names the argument, what it was and what is allowed, and runs before
anything is computed or written.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from functools import cache
from math import prod
from typing import Any

import numpy as np

from fastconv.device import DeviceArray, as_device, new_array
from fastconv.problem import ACTIVATIONS

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "TooLargeError",
    "activation_of",
    "as_array",
    "axis_index",
    "check_size",
    "choice",
    "fill_value",
    "int_tuple",
    "new_or_checked_out",
    "result_type",
    "type_name",
]

# The largest number of bytes that an array may have.
MAX_BYTES = np.iinfo(np.intp).max
# Sizes and steps above this are refused: products of two of them stay within 64 bits.
MAX_STEP = 2**31 - 1


class ArgumentError(ValueError, RuntimeError):
    """A wrong argument of an `ndimage` function.

    A `ValueError` by fastconv's rule, and a `RuntimeError` for programs that catch what
    `scipy.ndimage` raises for the same mistake.
    """


class ArgumentTypeError(TypeError, RuntimeError):
    """An argument of the wrong type in an `ndimage` function: for those who catch SciPy's `RuntimeError`, too."""


class TooLargeError(ArgumentError, OverflowError):
    """A number that is too large, which SciPy may take for an `OverflowError`."""


@cache
def type_name(dtype: np.dtype) -> str:
    """`dtype.name`, which NumPy computes anew at each access (2 us)."""
    return dtype.name


def as_array(
    name: str, value: Any, *, ndim: int | tuple[int, ...] | None = None, empty: bool = False, bfloat16: bool = False
) -> np.ndarray:
    """The argument as a base-class array of numbers in native byte order, or a `fastconv.device.DeviceArray`.

    Like SciPy, masks and subclasses are dropped, and only a byte-swapped array is copied.  `bfloat16`: whether
    that type, which NumPy does not take for a number, is one here.
    """
    array: Any = as_device(name, value)
    if array is None:
        array = np.asarray(value)
    if array.dtype.kind not in "biufc" and not (bfloat16 and type_name(array.dtype) == "bfloat16"):
        raise ArgumentTypeError(f"{name} must be an array of numbers; got dtype {array.dtype}")
    if ndim is not None and array.ndim not in (ndim if isinstance(ndim, tuple) else (ndim,)):
        allowed = " or ".join(map(str, ndim)) if isinstance(ndim, tuple) else ndim
        raise ValueError(f"{name} must have {allowed} dimensions; got shape {array.shape}")
    if not empty and array.size == 0:
        raise ArgumentError(f"{name} must not be empty; got shape {array.shape}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def result_type(allowed: str, **arrays: np.ndarray) -> np.dtype:
    """The common dtype of the arrays; its name must be in the space-separated `allowed`."""
    dtype: Any
    try:
        dtype = np.result_type(*(array.dtype for array in arrays.values()))
    except TypeError:  # bfloat16 and other 16-bit types have none
        dtype = None
    if dtype is None or type_name(dtype) not in allowed.split():
        got = ", ".join(f"{name}: {array.dtype}" for name, array in arrays.items())
        raise TypeError(
            f"{' and '.join(arrays)} must combine to one of {allowed}; got {got}, which combine to {dtype or 'nothing'}"
        )
    return dtype


def choice(name: str, value: Any, allowed: Mapping[str, Any]) -> Any:
    """What stands for the argument's value in `allowed`."""
    try:
        return allowed[value]
    except (KeyError, TypeError):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}") from None


def activation_of(value: Any) -> tuple[str, float]:
    """Name and parameter of the argument `activation`: None, a name, or a name and its parameter.

    The name of None is "".  `fastconv.problem.ACTIVATIONS` has the names, and the parameters' defaults.
    """
    if value is None:
        return "", 0.0
    pair = value if isinstance(value, tuple | list) else (value,)
    if not 0 < len(pair) <= 2:
        raise ValueError(f"activation must be None, a name, or a name and its parameter; got {value!r}")
    name, *given = pair
    slope = choice("activation", name, ACTIVATIONS)
    if not given:
        return name, slope
    if not slope:
        raise ValueError(f"activation {name!r} has no parameter; got {value!r}")
    if isinstance(given[0], bool) or not isinstance(given[0], int | float | np.integer | np.floating):
        raise TypeError(f"activation must have a number as the parameter of {name!r}; got {given[0]!r}")
    return name, float(given[0])


def int_tuple(name: str, value: Any, length: int, *, minimum: int | None = None) -> tuple[int, ...]:
    """The argument as `length` integers; one integer stands for all of them."""
    if type(value) is int and (minimum or 0) <= value <= MAX_STEP:  # most calls; saves 1.3 us
        return (value,) * length
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    values = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,) * length
    if len(values) == 1:
        values *= length
    expected = (
        "an integer"
        + f" or {length} integers" * (length > 1)
        + (f" of at least {minimum}" if minimum is not None else "")
    )
    try:
        values = tuple(map(operator.index, values))
    except TypeError:
        raise TypeError(f"{name} must be {expected}; got {value!r}") from None
    if len(values) != length or (minimum is not None and any(v < minimum for v in values)):
        raise ValueError(f"{name} must be {expected}; got {value!r}")
    if any(abs(v) > MAX_STEP for v in values):
        raise TooLargeError(f"{name} must be at most {MAX_STEP}; got {value!r}")
    return values


def axis_index(name: str, value: Any, ndim: int) -> int:
    """The argument as the number of an axis, counted from the front."""
    axis: Any
    try:
        axis = operator.index(value)
    except TypeError:
        if name != "axis" or not isinstance(value, float) or -ndim <= value < ndim:  # as NumPy, which compares first
            raise TypeError(f"{name} must be an integer; got {value!r}") from None
        axis = value
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(f"{name} must be in [{-ndim}, {ndim}) for {ndim} dimensions; got {axis}")
    return axis % ndim


def fill_value(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """A single number as an array of no dimensions of the given dtype."""
    number = np.asarray(value)
    if number.size != 1:
        raise ValueError(f"{name} must be a scalar or an array with one element; got shape {number.shape}")
    if number.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be a number; got {value!r}")
    if number.dtype.kind == "c" and dtype.kind != "c":
        raise ValueError(f"{name} must be real for a result of dtype {dtype}; got {value!r}")
    if dtype.kind in "iu":
        allowed = np.iinfo(dtype)
        if not (np.isfinite(number).all() and allowed.min <= int(number.item()) <= allowed.max):
            raise ValueError(
                f"{name} must be in [{allowed.min}, {allowed.max}] for a result of dtype {dtype}; got {value!r}"
            )
    with np.errstate(all="ignore"):
        return number.reshape(()).astype(dtype)


def check_size(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Reject a result that could not be addressed."""
    if prod(shape) * dtype.itemsize > MAX_BYTES:
        raise ValueError(f"{name} would have shape {shape} of {dtype}, more than {MAX_BYTES} bytes")


def new_or_checked_out(
    out: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: Mapping[str, Any], name: str = "out"
) -> Any:
    """A new array (on the inputs' device), or the caller's `out` if it can take the result."""
    check_size("the result", shape, dtype)
    if out is None:
        return new_array(shape, dtype, like=inputs.values())
    out = as_device(name, out) or out
    if not isinstance(out, np.ndarray | DeviceArray):
        raise TypeError(f"{name} must be a numpy.ndarray; got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {out.shape}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"{name} must have dtype {dtype}; got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name} must be writable; got a read-only array")
    if out.size > 1 and any(step == 0 for step, n in zip(out.strides, out.shape, strict=True) if n > 1):
        raise ValueError(f"{name} must not repeat memory; got strides {out.strides} for shape {out.shape}")
    for other, array in inputs.items():
        if np.may_share_memory(out, array):
            raise ValueError(f"{name} must not overlap {other}; they share memory")
    return out
