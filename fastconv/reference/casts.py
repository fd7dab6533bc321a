"""Conversion of sums to the output's dtype, as C does it."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["c_cast", "saturated"]


def c_cast(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Convert as SciPy's compiled code does on x86-64.

    Integers wrap.  A floating-point number becomes an integer by truncation toward zero and, in
    8 and 16 bits, by way of int32; in uint32 by way of int64.  What the first integer cannot hold
    becomes its smallest value.  A negative number becomes uint64 by negating its magnitude, as in
    SciPy's n-dimensional filters; `correlate1d` leaves to the compiler what is below -2**63.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "V" and values.dtype == np.float64:  # bfloat16: ml_dtypes would round twice
        values = _to_odd(values)
    if values.dtype.kind != "f" or dtype.kind not in "biu":
        return values.astype(dtype)
    if dtype == np.uint64:
        size = np.abs(values)
        lower = _truncated(size, "int64").astype(dtype)
        upper = _truncated(size - 2.0**63, "int64").astype(dtype) ^ np.uint64(1 << 63)
        whole = np.where(size >= 2.0**63, upper, lower)
        return np.where(values > -1, whole, -whole)
    through = "int64" if dtype in (np.uint32, np.int64) else "int32"
    integers = _truncated(values, through)
    return integers.astype(np.uint8) != 0 if dtype == np.bool_ else integers.astype(dtype)


def saturated(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Convert to the nearest number of a bool or integer dtype: halves to even, NaN to 0.

    Unsigned integers hold sums that are signed, modulo their range.
    """
    dtype = np.dtype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if values.dtype.kind == "u":
        sums = values.view(values.dtype.name[1:])
        limits = np.iinfo(sums.dtype)
        return np.clip(sums, max(low, limits.min), min(high, limits.max)).astype(dtype)
    whole = np.rint(values)
    inside = (whole >= low) & (whole < high + 1)  # high itself may lie between two floating-point numbers
    result = np.where(inside, whole, 0).astype(dtype)
    return np.where(inside | np.isnan(whole), result, np.where(whole < 0, low, high).astype(dtype))


def _to_odd(values: np.ndarray) -> np.ndarray:
    """float64 as the float32 whose further rounding is that of the float64: truncated, and odd if inexact."""
    near = values.astype(np.float32)
    bits, inexact = near.view(np.uint32), (near != values) & (values == values)
    return np.where(inexact, (bits - (np.abs(near) > np.abs(values))) | 1, bits).view(np.float32)


def _truncated(values: np.ndarray, dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    fits = (np.trunc(values) >= limits.min) & (np.trunc(values) < -float(limits.min))
    return np.where(fits, np.where(fits, values, 0).astype(dtype), limits.min)
