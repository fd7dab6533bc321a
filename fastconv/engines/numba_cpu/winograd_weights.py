"""Weights of 3x3 taps at Winograd's points, [group][block of filters][point][channel][lane]: a unit is a block.

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

__all__ = ["FIELDS", "MAKERS"]

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


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that takes weights of type `acc` at the points."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        size, row_bytes = itemsize(acc_type), int64(ROW_BYTES)
        wide, step, points = row_bytes // size, a.pitch * row_bytes, (a.tile + 2) * (a.tile + 2)
        blocks = (a.filters + wide - 1) // wide
        group, first = unit // blocks, unit % blocks * wide
        w, to = a.x + (group * a.filters + first) * a.channels * 9 * size, a.out + unit * points * step
        flags = a.out + a.groups * blocks * points * step
        taps = flags + (a.groups * blocks + wide - 1) // wide * row_bytes + unit * 9 * step
        # Of one channel: nine rows of lanes, and one of zeros.
        turned = a.scratch + worker * a.scratch_bytes
        zeros, lost, n = turned + 9 * row_bytes, int64(0), a.tile + 2
        vector, back = int64(VECTOR_BYTES), turned + 10 * row_bytes
        for f in range(wide):
            poke(zeros + f * size, acc_type(0))
        for c in range(a.pitch):
            for k in range(9):
                for f in range(wide):
                    there = c < a.channels and first + f < a.filters
                    at = w + ((f * a.channels + c) * 9 + k) * size
                    poke(turned + k * row_bytes + f * size, peek(at, acc_type) if there else acc_type(0))
            for f in range(0, row_bytes, int64(VECTOR_BYTES)):
                at, taken = to + c * row_bytes + f, turned + f
                if a.tile == 2:
                    lost += take("weights", 2, taken, 3 * row_bytes, row_bytes, zeros, at, n * step, step, acc_type)
                    take("back", 2, at, n * step, step, zeros, back, 3 * vector, vector, acc_type)
                else:
                    lost += take("weights", 4, taken, 3 * row_bytes, row_bytes, zeros, at, n * step, step, acc_type)
                    take("back", 4, at, n * step, step, zeros, back, 3 * vector, vector, acc_type)
                lost += other_signs(taken, back, acc_type)
        poke(flags + unit * size, acc_type(1) if lost > 0 else acc_type(0))
        for i in range(a.channels * 9 if lost > 0 else 0):
            for f in range(wide):
                there = first + f < a.filters
                value = peek(w + (f * a.channels * 9 + i) * size, acc_type) if there else acc_type(0)
                poke(taps + i % 9 * step + i // 9 * row_bytes + f * size, value)

    return kernel


MAKERS = {"winograd_weights": make}
