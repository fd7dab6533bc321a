"""Moving windows of any taps: maxima and minima over a footprint, with a structure or without.

A unit is a tile of the output.  The source planes that its windows read are staged one after
the other, and passes fold their taps into the second buffer, piece by piece: a piece stays in
the first cache through all passes.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64

from fastconv.engines.contract import BEYOND, TAPS_FIELDS
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.pooling import fill_run
from fastconv.engines.numba_cpu.simd import itemsize, peek
from fastconv.engines.numba_cpu.sliding import accumulator, passes_of, save_rows, stage_columns, tile_at
from fastconv.engines.numba_cpu.stage import mapped

__all__ = ["FIELDS", "MAKERS"]

FIELDS = TAPS_FIELDS

PIECE_BYTES = 8192


@part
def stage_tile(a, dst, offset, tile, fill, acc, own):
    # A tile of a source plane and what its windows reach around it.
    _, y, x, rows, cols = tile
    for j in range(rows + a.halo_y):
        row = int64(-1) if offset == BEYOND else mapped(a.map_y, y - a.pad_y + j, a.height, a.pad_y)
        if row < 0:
            fill_run(dst, cols + a.halo_x, fill)
        else:
            stage_columns(a, dst, a.x + offset + row * a.x_row, x - a.pad_x, cols + a.halo_x, fill, acc, own)
        dst += a.pitch * itemsize(acc)


def taps(dtype: str, kind: str) -> Callable:
    """The kernel of footprints; the kind "max-raised" or "min-raised" has a structure."""
    acc, own = accumulator(dtype, kind)
    run_passes = passes_of(kind.removesuffix("-raised"), kind.endswith("-raised"))

    def kernel(a, unit, worker):
        tile, x = tile_at(a, unit), a.scratch + worker * a.scratch_bytes
        s, n, begin = x + a.second, tile[3] * a.pitch - a.halo_x, int64(0)
        reach, piece = a.halo_y * a.pitch + a.halo_x, PIECE_BYTES // itemsize(acc)
        fill = peek(a.fill, acc)
        for p in range(a.n_planes):
            end = peek(a.pass_ends + 8 * p, int64)
            stage_tile(a, x, peek(a.src_planes + 8 * (tile[0] * a.n_planes + p), int64), tile, fill, acc, own)
            for first in range(0, n, piece):
                at = first * itemsize(acc)
                run_passes(a, begin, end, x + at, s + at, reach + min(piece, n - first), acc)
            begin = end
        save_rows(a, s, tile, int64(0), tile[3], acc, own)

    return kernel


MAKERS = {"taps": taps}
