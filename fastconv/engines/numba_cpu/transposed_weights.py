"""Weights of an adjoint: those of each group transposed, [filter][channel][tap] to [channel][filter][tap], with some of the
taps, in another order.  Elements are moved, whatever they are.  A unit is a block of channels of a group."""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import TRANSPOSED_WEIGHTS_FIELDS
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = TRANSPOSED_WEIGHTS_FIELDS


def make(word: str, variant: str = "") -> Callable:
    """The kernel for elements of the size of `word`."""
    kind = getattr(types, word)

    def kernel(a, unit, worker):
        size, blocks = itemsize(kind), (a.channels + a.block - 1) // a.block
        group, first = unit // blocks, unit % blocks * a.block
        row = a.channels * a.taps * size
        for c in range(first, min(first + a.block, a.channels)):
            taken = a.taken
            for phase in range(a.phases):
                n = peek(a.n_taken + 8 * phase, int64)
                to = a.out + (peek(a.begins + 8 * phase, int64) + (group * a.channels + c) * a.filters * n) * size
                for f in range(a.filters):
                    at = a.x + (group * a.filters + f) * row + c * a.taps * size
                    for j in range(n):
                        poke(to + (f * n + j) * size, peek(at + peek(taken + 8 * j, int64) * size, kind))
                taken += 8 * n

    return kernel


MAKERS = {"transposed_weights": make}
