"""Moving windows of any taps: maxima and minima over a footprint, with a structure or without.

A unit is a tile of the output.  The source planes that its windows read are staged one after
the other, and passes fold their taps into the second buffer.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import PASS_SLOTS, TAPS_FIELDS
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.simd import peek
from fastconv.engines.numba_cpu.sliding import accumulator, passes_of, save_tile, stage_tile, tile_at
from fastconv.engines.numba_cpu.windows import raiser

__all__ = ["FIELDS", "MAKERS"]

FIELDS = TAPS_FIELDS


def raised_passes_of(kind: str) -> Callable:
    """The part that runs passes of one tap each, to which a number of the structure is added."""
    fold_raised = raiser(kind)

    @part
    def run_raised(a, begin, end, x, s, total, acc):
        for i in range(begin, end):
            p = a.passes + i * (8 * PASS_SLOTS)
            number, n = peek(a.w + 8 * i, types.float64), total - peek(p + 16, int64)
            fold_raised(s, x + peek(p + 24, int64), number, i == 0, n)

    return run_raised


def taps(dtype: str, kind: str) -> Callable:
    """The kernel of footprints; the kind "max-raised" or "min-raised" has a structure."""
    acc, own = accumulator(dtype, kind)
    run_passes = raised_passes_of(kind[:3]) if kind.endswith("-raised") else passes_of(kind)

    def kernel(a, unit, worker):
        tile, x = tile_at(a, unit), a.scratch + worker * a.scratch_bytes
        s, total, begin = x + a.second, (tile[3] + a.halo_y) * a.pitch, int64(0)
        fill = peek(a.fill, acc)
        for p in range(a.n_planes):
            end = peek(a.pass_ends + 8 * p, int64)
            stage_tile(a, x, peek(a.src_planes + 8 * (tile[0] * a.n_planes + p), int64), tile, fill, acc, own)
            run_passes(a, begin, end, x, s, total, acc)
            begin = end
        save_tile(a, s, tile, acc, own)

    return kernel


MAKERS = {"taps": taps}
