"""How sums are made and stored when the caller says so: `dtype` and `casting` of the functions on signals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastconv.problem import accumulator
from fastconv.replay import by_value
from fastconv.validate import choice, type_name

__all__ = ["DTYPES", "Sums", "asked_sums"]

DTYPES = "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 complex64 complex128".split()
CASTINGS = {"wrap": False, "saturate": True}


class Sums(NamedTuple):
    """The result's dtype; the accumulator; the dtype of values beyond the border; whether results are clamped."""

    dtype: np.dtype
    acc: str
    fill: np.dtype
    saturate: bool = False
    converts: bool = False  # whether the result has another kind than the sums: no conversion of the inputs gives it


def asked_sums(in1: np.ndarray, in2: np.ndarray, dtype: Any, casting: Any, fill: Any = 0) -> Sums | None:
    """What `dtype` and `casting` ask for; None if they ask for what is done without them."""
    saturate = choice("casting", casting, CASTINGS)
    if dtype is None and not saturate:
        return None
    inputs = np.result_type(in1.dtype, in2.dtype)
    try:
        result = inputs if dtype is None else np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise TypeError(f"dtype must be a dtype; got {dtype!r}") from None
    if type_name(result) not in DTYPES:
        raise TypeError(f"dtype must be one of {', '.join(DTYPES)}; got {result}")
    if inputs.kind not in "biufc":
        raise TypeError(f"in1 and in2 must be numbers if dtype or casting is given; got {in1.dtype} and {in2.dtype}")
    if inputs.kind == "c" and result.kind != "c":
        raise TypeError(f"dtype must be complex for complex in1 or in2; got {result}")
    if result.kind in "fc":
        return Sums(result, type_name(result), result)
    if inputs.kind == "f":
        acc = "float64" if inputs.itemsize >= 8 else "float32"
        return Sums(result, acc, np.dtype(acc), saturate, converts=True)
    both = np.promote_types(inputs, result)
    beyond = both if both.kind in "iu" else np.dtype(np.int64)
    acc = _wide_enough(in1, in2, fill) if saturate else accumulator(result)
    return Sums(result, acc, beyond, saturate, converts=saturate)


def _wide_enough(in1: np.ndarray, in2: np.ndarray, fill: Any) -> str:
    """Where sums of integers certainly do not wrap around: signed 32 or 64 bits, else double precision."""
    (large, small) = (in1, in2) if in1.size >= in2.size else (in2, in1)
    largest = max(_largest(in1.dtype), _largest(in2.dtype), abs(float(np.asarray(fill).real.max())))
    bound = largest * largest * small.size
    if bound >= 2.0**31 and isinstance(small, np.ndarray):
        by_value()
        largest = max(_largest(large.dtype), abs(float(np.asarray(fill).real.max())))
        bound = largest * float(np.abs(small.astype(np.float64)).sum())
    return "uint32" if bound < 2.0**31 else "uint64" if bound < 2.0**63 else "float64"


def _largest(dtype: np.dtype) -> float:
    return 1.0 if dtype.kind == "b" else float(max(-int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)))
