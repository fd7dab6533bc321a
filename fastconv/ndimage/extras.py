"""What `correlate` and its relatives take that SciPy's do not: steps, dtypes of sums, missing samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastconv import config
from fastconv.ndimage.arguments import DTYPES
from fastconv.validate import ArgumentError, ArgumentTypeError, choice, int_tuple, type_name

__all__ = ["Extras", "asked_output", "clamps", "steps", "sum_dtype"]

CASTINGS = {"wrap": False, "saturate": True}


class Extras(NamedTuple):
    """The arguments as the caller gave them."""

    out: Any = None
    dtype: Any = None
    casting: Any = "wrap"
    stride: Any = 1
    dilation: Any = 1
    nan_policy: Any = "propagate"
    mask: Any = None
    normalize: Any = False


def steps(name: str, value: Any, axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Strides or dilations of all axes from those of the filtered ones, in the order of `axes`."""
    if type(value) is int and value == 1:
        return (1,) * ndim
    given = dict(zip(axes, int_tuple(name, value, len(axes), minimum=1), strict=True))
    return tuple(given.get(axis, 1) for axis in range(ndim))


def asked_output(output: Any, extras: Extras, complex_result: bool) -> Any:
    """The array or dtype that `output`, `out` and `dtype` ask for together."""
    if extras.out is not None:
        if output is not None:
            raise ArgumentError("output and out are the same argument: give one of them")
        if not isinstance(extras.out, np.ndarray):
            raise ArgumentTypeError(f"out must be a numpy.ndarray; got {type(extras.out).__name__}")
        output = extras.out
    if extras.dtype is None:
        return output
    try:
        dtype = np.dtype(extras.dtype).newbyteorder("=")
    except TypeError:
        raise ArgumentTypeError(f"dtype must be a dtype; got {extras.dtype!r}") from None
    if type_name(dtype) not in DTYPES:
        raise ArgumentTypeError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype}")
    if complex_result != (dtype.kind == "c"):
        allowed = "complex" if complex_result else "real"
        raise ArgumentError(f"dtype must be {allowed} for {allowed} input and weights; got {dtype}")
    if output is None:
        return dtype
    if not isinstance(output, np.ndarray):
        raise ArgumentError("output and dtype both give the result's dtype: give one of them")
    if output.dtype.newbyteorder("=") != dtype:
        raise ArgumentError(f"output must have the dtype asked for, {dtype}; got {output.dtype}")
    return output


def sum_dtype(source: np.dtype, result: np.dtype, chosen: bool) -> str:
    """The dtype of floating-point sums: single precision if `chosen` by the caller, or as the precision in force allows."""
    single, precision = ("float32", "complex64"), config.current_precision()
    allowed = precision == "fast" or (precision == "default" and type_name(source) in single)
    if type_name(result) in single and (chosen or allowed):
        return type_name(result)
    return "complex128" if result.kind == "c" else "float64"


def clamps(casting: Any, result: np.dtype) -> bool:
    """Whether sums are rounded and clamped to the result's range."""
    return choice("casting", casting, CASTINGS) and result.kind in "biu"
