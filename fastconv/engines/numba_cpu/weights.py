"""Weights of convolutions as rows of lanes, [group][block of filters][k][lane]: a unit is a block."""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import WEIGHTS_FIELDS
from fastconv.engines.numba_cpu.product import COLS
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = WEIGHTS_FIELDS

# Weights of a filter that are moved at once: a cache line, whatever the type.
LINE = 16


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that packs weights of type `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        size, row_bytes = itemsize(acc_type), int64(COLS * VECTOR_BYTES)
        lanes = row_bytes // size
        blocks = (a.filters + lanes - 1) // lanes
        first = unit % blocks * lanes
        w = a.x + (unit // blocks * a.filters + first) * a.depth * size
        packed = a.out + unit * a.depth * row_bytes
        for line in range(0, a.depth, LINE):
            for f in range(lanes):
                there = first + f < a.filters
                for i in range(line, min(line + LINE, a.depth)):
                    value = peek(w + (f * a.depth + i) * size, acc_type) if there else acc_type(0)
                    poke(packed + peek(a.row_of + 8 * i, int64) * row_bytes + f * size, value)

    return kernel


MAKERS = {"weights": make}
