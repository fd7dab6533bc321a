"""Device functions shared by the kernels: index maps, conversions, a thread's place in the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda import libdevice

__all__ = ["RULES", "conversion", "in_memory", "mapped", "place", "unfused_product"]

# How kernels name the boundary rules of `fastconv.boundary`.
RULES = {rule: code for code, rule in enumerate(("fill", "nearest", "wrap", "reflect", "mirror"))}
_NEAREST, _WRAP, _REFLECT, _MIRROR = 1, 2, 3, 4


@cuda.jit(device=True)
def mapped(position, size, rule):
    """Input index at a position of an axis; -1 means the fill value."""
    if position >= 0 and position < size:
        return position
    if rule == _NEAREST:
        return min(max(position, 0), size - 1)
    if rule == _WRAP:
        return position % size
    if rule == _REFLECT:
        position = position % (2 * size)
        return min(position, 2 * size - 1 - position)
    if rule == _MIRROR:
        period = max(2 * (size - 1), 1)
        position = position % period
        return min(position, period - position) if size > 1 else 0
    return -1


@cuda.jit(device=True)
def place(g, inner, middle, outer):
    """(n, f, z, y, x) of an output: consecutive threads take neighbours in memory."""
    if g.channels_last:
        rest = outer // g.out_height
        return rest // g.out_depth, inner, rest % g.out_depth, outer % g.out_height, middle
    rest = outer // g.out_depth
    return rest // g.filters, rest % g.filters, outer % g.out_depth, middle, inner


def in_memory(dtype: str) -> str:
    """The type by which a kernel reads and writes elements: a bool is a byte."""
    return "uint8" if dtype == "bool" else dtype


def conversion(source: str, target: str) -> Callable[[Any], Any]:
    """A device function that converts an element as C does on x86-64; see `fastconv.reference.c_cast`."""
    from_float, kind = source.startswith("float"), np.dtype(target).kind
    if kind == "b":
        return _float_to_bool if from_float else _to_bool
    if not from_float or kind not in "iu":
        return getattr(np, target)
    return _float_to_uint64 if target == "uint64" else _float_to_int(target)


@cuda.jit(device=True)
def _to_bool(value):
    return np.uint8(value != 0)


@cuda.jit(device=True)
def _float_to_bool(value):
    return np.uint8(value <= -1 or value >= 1 or value != value)


@cuda.jit(device=True)
def _float_to_uint64(value):
    low, high = -9223372036854775808.0, 9223372036854775808.0
    if value >= high:
        beyond = value - high
        return np.uint64(beyond) ^ np.uint64(1 << 63) if beyond < high else np.uint64(0)
    return np.uint64(np.int64(value)) if value >= low else np.uint64(1 << 63)


def _float_to_int(target: str) -> Callable[[Any], Any]:
    # Through int64 for 32 unsigned and 64 bits, else through int32; what that cannot hold is its smallest.
    wide = target in ("uint32", "int64")
    bits = 63 if wide else 31
    below, high = (-(2.0**63) * (1 + 2.0**-52), 2.0**63) if wide else (-(2.0**31) - 1, 2.0**31)
    smallest, to_target = np.int64(-(2**bits)), getattr(np, target)

    @cuda.jit(device=True)
    def to_int(value):
        return to_target(np.int64(value) if value > below and value < high else smallest)

    return to_int


@cuda.jit(device=True)
def _unfused_product(a, b):
    return libdevice.dmul_rn(a, b)


def unfused_product() -> Callable[[Any, Any], Any]:
    """A device function: a float64 product rounded by itself, never part of a fused multiply-add."""
    return _unfused_product
