"""Moving windows: maxima, minima and means of full windows, axis after axis.

A unit is a tile of the output.  The tile and the halo of its windows are staged in scratch
memory, positions beyond the border by way of the edge maps; there passes fold it, each a flat
loop over the tile, along rows and down columns alike.

A tile is a tuple: its plane, row and column, and its rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import BEYOND, PASS_SLOTS, PHASE_SLOTS, SLIDING_FIELDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.pooling import copy_run, fill_run
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke
from fastconv.engines.numba_cpu.stage import mapped
from fastconv.engines.numba_cpu.windows import divide_run, folder

__all__ = ["FIELDS", "MAKERS", "accumulator", "passes_of", "save_tile", "stage_tile", "tile_at"]

FIELDS = SLIDING_FIELDS


@part
def tile_at(a, unit):
    across, down = unit % a.col_tiles, unit // a.col_tiles
    y, x = down % a.row_tiles * a.tile_rows, across * a.tile_cols
    return down // a.row_tiles, y, x, min(a.tile_rows, a.height - y), min(a.tile_cols, a.width - x)


@part
def move(dst, dst_step, src, src_step, n, acc):
    # n elements of the accumulators' type.
    size = itemsize(acc)
    if dst_step == size and src_step == size:
        copy_run(dst, src, n, acc)
    else:
        for i in range(n):
            poke(dst + i * dst_step, peek(src + i * src_step, acc))


@inlined
def edge_run(a, position, n):
    # How many of n positions beyond the ends of a row, all on one side, take columns equally far apart; how far.
    edges = a.map_x + 8 * (a.pad_x + (position if position < 0 else position - a.width))
    n = min(n, -position) if position < 0 else n
    run, step = int64(1), peek(edges + 8, int64) - peek(edges, int64) if n > 1 else int64(0)
    while run < n and peek(edges + 8 * run, int64) - peek(edges + 8 * run - 8, int64) == step:
        run += 1
    return run, step


@part
def stage_columns(a, dst, row, first, n, fill, acc, own):
    # n columns of a row from position `first` on, which may lie beyond its ends.
    i = int64(0)
    while i < n:
        position, step = first + i, int64(1)
        column, to = mapped(a.map_x, position, a.width, a.pad_x), dst + i * itemsize(acc)
        if 0 <= position < a.width:
            run = min(n - i, a.width - position)
        else:
            run, step = edge_run(a, position, n - i)
        if column < 0:
            fill_run(to, run, fill)
        elif own is None:
            load_run(to, row + column * a.x_col, step * a.x_col, run, a.src_code, acc)
        else:
            move(to, itemsize(acc), row + column * a.x_col, step * a.x_col, run, acc)
        i += run


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


@inlined
def refill(a, dst, tile, along, rows, fill, acc):
    # The fill value at all positions beyond the border of one axis.
    _, y, x, _, _ = tile
    size = itemsize(acc)
    n, first, limit = (a.pitch, x - a.pad_x, a.width) if along else (rows, y - a.pad_y, a.height)
    for i in range(n):
        if not 0 <= first + i < limit:
            if along:
                for j in range(rows):
                    fill_run(dst + (j * a.pitch + i) * size, 1, fill)
            else:
                fill_run(dst + i * a.pitch * size, a.pitch, fill)


def passes_of(kind: str, raised: bool = False) -> Callable:
    """The part that runs passes of a kind of window; with `raised`, a structure is added."""
    fold_tile = folder(kind, raised)

    @part
    def run_passes(a, begin, end, x, s, total, acc):
        for i in range(begin, end):
            p = a.passes + i * (8 * PASS_SLOTS)
            own, at = peek(p + 8, int64), p + 24
            fold_tile(
                s,
                (s if own > 0 else x) + peek(at, int64),
                (s if own > 1 else x) + peek(at + 8, int64),
                (s if own > 2 else x) + peek(at + 16, int64),
                (s if own > 3 else x) + peek(at + 24, int64),
                a.w + i * 32, peek(p, int64), total - peek(p + 16, int64), acc,
            )  # fmt: skip

    return run_passes


@part
def save_tile(a, src, tile, acc, own):
    plane, y, x, rows, cols = tile
    out = a.out + peek(a.out_planes + 8 * plane, int64) + y * a.out_row + x * a.out_col
    for _ in range(rows):
        if own is None:
            store_run(out, a.out_col, src, cols, a.out_code, acc)
        else:
            move(out, a.out_col, src, itemsize(acc), cols, acc)
        src += a.pitch * itemsize(acc)
        out += a.out_row


@part
def convert_tile(a, stored, acc_run, n, acc):
    # What a pass leaves is an element of the output, as SciPy has it.
    store_run(stored, a.out_size, acc_run, n, a.out_code, acc)
    load_run(acc_run, stored, a.out_size, n, a.out_code, acc)


def accumulator(dtype: str, kind: str) -> tuple[types.Number, bool | None]:
    """The type of accumulators, and whether (or None) it is that of the elements in memory."""
    return getattr(types, dtype), None if kind == "mean" or dtype == "float64" else True


def sliding(dtype: str, kind: str) -> Callable:
    """The kernel of windows of a kind that computes in `dtype`."""
    acc, own, run_passes = *accumulator(dtype, kind), passes_of(kind)
    mean = True if kind == "mean" else None

    def kernel(a, unit, worker):
        tile, scratch = tile_at(a, unit), a.scratch + worker * a.scratch_bytes
        fill = peek(a.fill, acc)
        x, s, rows, begin = scratch, scratch + a.second, tile[3] + a.halo_y, int64(0)
        stage_tile(a, x, peek(a.src_planes + 8 * tile[0], int64), tile, fill, acc, own)
        for i in range(a.n_phases):
            phase = a.phases + i * (8 * PHASE_SLOTS)
            along, end = peek(phase, int64), peek(phase + 8, int64)
            if own is None and i > 0 and a.stored >= 0:
                convert_tile(a, scratch + a.stored, x, rows * a.pitch, acc)
            if peek(phase + 16, int64) != 0:
                refill(a, x, tile, along, rows, fill, acc)
            run_passes(a, begin, end, x, s, rows * a.pitch, acc)
            if along == 0:
                rows -= a.halo_y
            if mean is not None:
                divisor, factor, shift = peek(phase + 24, int64), peek(phase + 32, int64), peek(phase + 40, int64)
                divide_run(s, rows * a.pitch, divisor, factor, shift, acc)
            x, s, begin = s, x, end
        save_tile(a, x, tile, acc, own)

    return kernel


MAKERS = {"sliding": sliding}
