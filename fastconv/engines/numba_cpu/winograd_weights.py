"""Weights of 3x3 taps, or of an adjoint's, at Winograd's points, [group][block of filters][point][channel][lane].

A unit is a block.
Behind all of them stands, for each block, whether weights made of them are the same to infinite pixels, and then, of those
that are not, the weights, [block][tap][channel][lane].
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import WINOGRAD_WEIGHTS_FIELDS
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.points import take
from fastconv.engines.numba_cpu.product import COLS
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS", "channel_points", "plain_taps"]

FIELDS = WINOGRAD_WEIGHTS_FIELDS

ROW_BYTES = COLS * VECTOR_BYTES


@part
def other_signs(weights, back, acc):
    # How many of a vector's weights have other signs after they are made of those at the points (0 is one).
    count = int64(0)
    for k in range(9):
        for i in range(0, VECTOR_BYTES, itemsize(acc)):
            weight, other = peek(weights + k * int64(ROW_BYTES) + i, acc), peek(back + k * int64(VECTOR_BYTES) + i, acc)
            count += (weight > 0) != (other > 0) or (weight < 0) != (other < 0)
    return count


@part
def channel_points(a, w, c, filters, turned, to, step, acc):
    # A channel of a block of filters: its taps as nine rows of lanes, and a row of zeros, and these at the points.
    size, row_bytes, lost, n = itemsize(acc), int64(ROW_BYTES), int64(0), a.tile + 2
    zeros = turned + 9 * row_bytes
    for k in range(9):
        tap = 8 - k if a.flipped != 0 else k
        for f in range(row_bytes // size):
            there = c < a.channels and f < filters
            at = w + (f * a.w_filter + c * a.w_channel + tap) * size
            poke(turned + k * row_bytes + f * size, peek(at, acc) if there else acc(0))
            poke(zeros + f * size, acc(0))
    for f in range(0, row_bytes, int64(VECTOR_BYTES)):
        if a.tile == 2:
            lost += take("weights", 2, turned + f, 3 * row_bytes, row_bytes, zeros, to + f, n * step, step, acc)
        else:
            lost += take("weights", 4, turned + f, 3 * row_bytes, row_bytes, zeros, to + f, n * step, step, acc)
    return lost


@part
def plain_taps(a, w, filters, taps, acc):
    # [tap][channel][lane] of a block.
    size, step = itemsize(acc), a.pitch * int64(ROW_BYTES)
    for i in range(a.channels * 9):
        tap = 8 - i % 9 if a.flipped != 0 else i % 9
        for f in range(int64(ROW_BYTES) // size):
            at = w + (f * a.w_filter + i // 9 * a.w_channel + tap) * size
            value = peek(at, acc) if f < filters else acc(0)
            poke(taps + i % 9 * step + i // 9 * int64(ROW_BYTES) + f * size, value)


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that takes weights of type `acc` at the points."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        size, row_bytes = itemsize(acc_type), int64(ROW_BYTES)
        wide, step, points = row_bytes // size, a.pitch * row_bytes, (a.tile + 2) * (a.tile + 2)
        blocks = (a.filters + wide - 1) // wide
        group, first = unit // blocks, unit % blocks * wide
        w = a.x + (group * a.filters * a.channels * 9 + first * a.w_filter) * size
        to, filters = a.out + unit * points * step, min(wide, a.filters - first)
        flags = a.out + a.groups * blocks * points * step
        taps = flags + (a.groups * blocks + wide - 1) // wide * row_bytes + unit * 9 * step
        turned, lost, n = a.scratch + worker * a.scratch_bytes, int64(0), a.tile + 2
        zeros, vector, back = turned + 9 * row_bytes, int64(VECTOR_BYTES), turned + 10 * row_bytes
        for c in range(a.pitch):
            lost += channel_points(a, w, c, filters, turned, to + c * row_bytes, step, acc_type)
            for f in range(0, row_bytes, int64(VECTOR_BYTES)):
                at, taken = to + c * row_bytes + f, turned + f
                if a.tile == 2:
                    take("back", 2, at, n * step, step, zeros, back, 3 * vector, vector, acc_type)
                else:
                    take("back", 4, at, n * step, step, zeros, back, 3 * vector, vector, acc_type)
                lost += other_signs(taken, back, acc_type)
        poke(flags + unit * size, acc_type(1) if lost > 0 else acc_type(0))
        if lost > 0:
            plain_taps(a, w, filters, taps, acc_type)

    return kernel


MAKERS = {"winograd_weights": make}
