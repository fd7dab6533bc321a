"""Weights of convolutions as rows of lanes, [group][block of lanes][row][lane]: a unit is a block."""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import WEIGHTS_FIELDS
from fastconv.engines.numba_cpu.product import COLS
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = WEIGHTS_FIELDS

# Weights of a lane that are moved at once: a cache line, whatever the type.
LINE = 16


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that packs weights of type `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        size, row_bytes = itemsize(acc_type), int64(COLS * VECTOR_BYTES)
        width = row_bytes // size
        blocks = (a.lanes + width - 1) // width
        first = unit % blocks * width
        w = a.x + (unit // blocks * a.group_step + first * a.lane_step) * size
        packed = a.out + unit * a.rows * row_bytes
        for run in range(a.runs):
            for line in range(0, a.length, LINE):
                for lane in range(width):
                    there = first + lane < a.lanes
                    for i in range(line, min(line + LINE, a.length)):
                        row = peek(a.row_of + 8 * (run * a.length + i), int64)
                        at = w + (run * a.run_step + lane * a.lane_step + i) * size
                        if row >= 0:
                            poke(packed + row * row_bytes + lane * size, peek(at, acc_type) if there else acc_type(0))

    return kernel


MAKERS = {"weights": make}
