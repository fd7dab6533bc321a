"""Weights of convolutions of 8-bit numbers, [group][block][4 bytes of elements][lane], and the sums of the lanes.

A unit is a block.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int8, int16, int32, int64, uint8

from fastconv.engines.contract import DTYPE_CODES, WEIGHTS8_FIELDS
from fastconv.engines.numba_cpu.dots import DOT, TOGETHER
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = WEIGHTS8_FIELDS

LANES = DOT[1] // 4
INTS = VECTOR_BYTES // 4
INT8 = DTYPE_CODES["int8"]


@inlined
def put_element(place, value):
    # As wide as products are made of.
    if TOGETHER == 4:
        poke(place, int8(value))
    elif TOGETHER == 2:
        poke(place, int16(value))
    else:
        poke(place, int32(value))


@part
def pack_lane(a, w, shift, there, to, step):
    # The elements of a lane, TOGETHER of them every `step` bytes; returns their sum (int64: Numba widens sums of integers).
    total = int32(0)
    for e in range(a.elements):
        index, value = int64(peek(a.index_of + 4 * e, int32)), int32(0)
        if there and index >= 0:
            value = int32(peek(w + index, int8)) if a.src_code == INT8 else int32(peek(w + index, uint8))
            value = int32(value - peek(shift, int32))
        total += value
        put_element(to + e // TOGETHER * step + e % TOGETHER * (4 // TOGETHER), value)
    return total


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that packs bytes."""

    def kernel(a, unit, worker):
        lanes = int64(TOGETHER * INTS if a.depthwise else LANES)
        blocks = (a.filters + lanes - 1) // lanes
        group, first = unit // blocks, unit % blocks * lanes
        depth = a.elements // TOGETHER * 4 * lanes
        to = a.out + unit * (depth + 4 * lanes)
        for lane in range(lanes):
            f = lane
            if a.depthwise:  # in the order that unpacking leaves
                u = lane // 4
                f = 4 * (u % (INTS // 4) * TOGETHER + u // (INTS // 4)) + lane % 4
            there, at = first + f < a.filters, group * a.filters + first + f
            total = pack_lane(a, a.x + at * a.depth, a.bias + 4 * at, there, to + 4 * lane, 4 * lanes)
            poke(to + depth + 4 * lane, int32(total))
        if a.depthwise and unit == blocks - 1:  # weights of 1, which sum windows
            for i in range(a.elements * lanes):
                one = int32(peek(a.index_of + 4 * (i // (TOGETHER * lanes) * TOGETHER + i % TOGETHER), int32) >= 0)
                put_element(to + depth + 4 * lanes + i * (4 // TOGETHER), one)

    return kernel


MAKERS = {"weights8": make}
