"""Device functions shared by the kernels: index maps, conversions, a thread's place in the output."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, cuda
from numba.cuda import libdevice

from fastconv.engines.numba_cuda.launch import RULES

__all__ = ["conversion", "in_memory", "inlined", "mapped", "place", "place_in_batch", "unfused_product"]

_NEAREST, _WRAP, _REFLECT, _MIRROR = (RULES[rule] for rule in ("nearest", "wrap", "reflect", "mirror"))

# A device function.  Numba puts its body into the kernel before it types it, so that compiling needs no
# device to ask; on the simulator it is left as it is, which is several times faster.
inlined: Callable = (lambda function: function) if config.ENABLE_CUDASIM else cuda.jit(device=True, inline="always")

_TOP_BIT = np.uint64(1 << 63)


@inlined
def mapped(position, size, rule):
    """Input index at a position of an axis; -1 means the fill value.

    Positions less than a size away are mapped without a division, which takes a thousand cycles for 64 bits: blocks
    at the border took five times as long as others.
    """
    if position >= 0 and position < size:
        return position
    if rule == _NEAREST:
        return min(max(position, 0), size - 1)
    if rule == _WRAP:
        near = position + size if position < 0 else position - size
        return near if near >= 0 and near < size else position % size
    if rule == _REFLECT:
        near = -1 - position if position < 0 else 2 * size - 1 - position
        if near < 0 or near >= size:
            near = position % (2 * size)
            near = min(near, 2 * size - 1 - near)
        return near
    if rule == _MIRROR:
        near = -position if position < 0 else 2 * (size - 1) - position
        if near < 0 or near >= size:
            period = max(2 * (size - 1), 1)
            near = position % period
            near = min(near, period - near) if size > 1 else 0
        return near
    return -1


@inlined
def place(g, inner, middle, outer):
    """(n, f, z, y, x) of an output: consecutive threads take neighbours in memory."""
    if g.channels_last:
        rest = outer // g.out_height
        return rest // g.out_depth, inner, rest % g.out_depth, outer % g.out_height, middle
    rest = outer // g.out_depth
    return rest // g.filters, rest % g.filters, outer % g.out_depth, middle, inner


@inlined
def place_in_batch(g, plane):
    """(n, channel) of a plane: an integer division takes a fifth of the time of a small kernel's block."""
    if g.channels == 1:
        return plane, 0
    n = np.uint32(plane) // np.uint32(g.channels)
    return np.int64(n), np.int64(plane) - np.int64(n) * g.channels


def in_memory(dtype: str) -> str:
    """The type by which a kernel reads and writes elements: a bool is a byte."""
    return "uint8" if dtype == "bool" else dtype


def conversion(source: str, target: str) -> Callable[[Any], Any]:
    """A device function that converts a number as C does on x86-64; see `fastconv.reference.c_cast`."""
    from_float, kind = source.startswith("float"), np.dtype(target).kind
    if kind == "b":
        return _to_bool(_float_to_int("uint8") if from_float else getattr(np, source))
    if not from_float or kind not in "iu":
        return getattr(np, target)
    return _float_to_uint64 if target == "uint64" else _float_to_int(target)


def _to_bool(number: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @inlined
    def to_bool(value):
        return np.uint8(number(value) != 0)

    return to_bool


def _float_to_int(target: str) -> Callable[[Any], Any]:
    # Through int64 for uint32 and int64, else through int32; what that cannot hold is its smallest.
    wide = target in ("uint32", "int64")
    smallest = np.int64(-(1 << 63) if wide else -(1 << 31))
    below = np.nextafter(-(2.0**63), -np.inf) if wide else -(2.0**31) - 1
    high = 2.0**63 if wide else 2.0**31
    to_target = getattr(np, target)

    @inlined
    def to_int(value):
        return to_target(np.int64(value) if value > below and value < high else smallest)

    return to_int


@inlined
def _float_to_uint64(value):
    size = abs(value)
    if size < 2.0**63:
        whole = np.uint64(np.int64(size))
    elif size < 2.0**64:
        whole = np.uint64(np.int64(size - 2.0**63)) ^ _TOP_BIT
    else:
        whole = np.uint64(0) if size == size else _TOP_BIT  # too large, or not a number
    return whole if value > -1 else np.uint64(0) - whole


# A float64 product rounded by itself, never part of a fused multiply-add.
unfused_product: Callable = operator.mul if config.ENABLE_CUDASIM else libdevice.dmul_rn
