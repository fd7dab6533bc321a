"""Columns of convolutions whose taps are moved.  A unit is some pixels, all channels and taps."""

from __future__ import annotations

from collections.abc import Callable
from math import floor

from numba import int64, types

from fastconv.engines.contract import DEFORM_FIELDS
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = DEFORM_FIELDS

PIXELS = 32  # of a unit


@part
def corners(a, y, x, scale, at, weight, acc):
    # Four elements around a place, 0 beyond the borders, and their weights.
    inside = y > -1 and y < a.height and x > -1 and x < a.width
    low_y, low_x = int64(0), int64(0)
    if inside:
        low_y, low_x = int64(floor(y)), int64(floor(x))
    part_y, part_x = acc(y - acc(low_y)), acc(x - acc(low_x))
    nothing = acc((y - y) * 0 + (x - x) * 0) if y != y or x != x else acc(0)  # NaN stays
    for k in range(4):
        row, col = low_y + (k >> 1), low_x + (k & 1)
        there = inside and row >= 0 and row < a.height and col >= 0 and col < a.width
        poke(at + 8 * k, a.x + row * a.x_row + col * a.x_col if there else int64(0))
        of_row = part_y if k >> 1 else acc(1) - part_y
        of_col = part_x if k & 1 else acc(1) - part_x
        poke(weight + k * itemsize(acc), acc(of_row * of_col * scale) if inside else nothing)


@part
def blend(a, at, weight, begin, acc):
    total, size = acc(0), itemsize(acc)
    for k in range(4):
        place = peek(at + 8 * k, int64)
        value = peek(place + begin, acc) if place != 0 else acc(0)
        total += peek(weight + k * size, acc) * value
    return total


def make(dtype: str, variant: str = "") -> Callable:
    """The kernel for elements of a type."""
    acc = getattr(types, dtype)

    def kernel(a, unit, worker):
        first, taps, size = unit * PIXELS, a.kernel_y * a.kernel_x, itemsize(acc)
        n, at = min(a.count - first, PIXELS), a.scratch + worker * a.scratch_bytes
        weight = at + PIXELS * 4 * 8
        for group in range(a.offset_groups):
            for tap in range(taps):
                for p in range(n):
                    y, x = (a.first + first + p) // a.out_width, (a.first + first + p) % a.out_width
                    offset = a.w + 2 * (group * taps + tap) * a.offset_c + y * a.offset_row + x * a.offset_col
                    down = acc(y * a.stride_y - a.pad_y + tap // a.kernel_x * a.dilation_y) + peek(offset, acc)
                    along = acc(x * a.stride_x - a.pad_x + tap % a.kernel_x * a.dilation_x)
                    along += peek(offset + a.offset_c, acc)
                    scale = acc(1)
                    if a.bias != 0:
                        scale = peek(a.bias + (group * taps + tap) * a.mask_c + y * a.mask_row + x * a.mask_col, acc)
                    corners(a, down, along, scale, at + 32 * p, weight + 4 * size * p, acc)
                for r in range(a.runs):
                    begin = (group * a.runs + r) * a.run * a.x_c
                    to = a.out + peek(a.run_of + 8 * (group * a.runs + r), int64) + tap * a.col_tap + first * a.col_p
                    for p in range(n):
                        for c in range(a.run):
                            value = blend(a, at + 32 * p, weight + 4 * size * p, begin + c * a.x_c, acc)
                            poke(to + c * a.col_c + p * a.col_p, value)

    return kernel


MAKERS = {"deform": make}
