"""Moving windows: maxima, minima and means of full windows, down the columns and then along the rows.

A unit is a tile of the output.  The rows that windows read are staged once each, in a ring, positions
beyond the border by way of the edge maps.  Windows down the columns are made for eight rows at a time: what all
eight share is folded once, of long windows from folds of eight rows that stay for the windows to come.
In these eight rows windows along them double.

A tile is a tuple: its plane, row and column, and its rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import PASS_SLOTS, SLIDING_FIELDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.pooling import copy_run, fill_run
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke
from fastconv.engines.numba_cpu.stage import mapped
from fastconv.engines.numba_cpu.windows import divide_run, folder

__all__ = ["FIELDS", "MAKERS", "accumulator", "passes_of", "save_rows", "stage_columns", "tile_at"]

FIELDS = SLIDING_FIELDS

GROUP = 8  # rows of the output made at once


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


def accumulator(dtype: str, kind: str) -> tuple[types.Number, bool | None]:
    """The type of accumulators, and whether (or None) it is that of the elements in memory."""
    return getattr(types, dtype), None if kind == "mean" or dtype == "float64" else True


@part
def keep_below(a, scratch, tile, fill, acc, own):
    # Stage what stands beyond the lower border before its rows are overwritten.
    plane, _, col_0, _, cols = tile
    source = a.x + peek(a.src_planes + 8 * plane, int64)
    for i in range(a.n_below):
        row, dst = peek(a.map_y + 8 * (a.pad_y + i), int64), scratch + a.below + i * a.pitch * itemsize(acc)
        if row < 0:
            fill_run(dst, cols + a.halo_x, fill)
        else:
            stage_columns(a, dst, source + row * a.x_row, col_0 - a.pad_x, cols + a.halo_x, fill, acc, own)


@part
def next_rows(a, scratch, tile, y, fill, acc, own):
    # The addresses of the rows that the windows read that begin in rows y to y + 7 of the tile; new ones are staged.
    plane, row_0, col_0, height, cols = tile
    kept, last, step = a.taps_y - 1, height + a.halo_y - 1, a.pitch * itemsize(acc)
    first = int64(0)
    if y > 0:
        first = kept
        for j in range(kept):
            poke(scratch + 8 * j, peek(scratch + 8 * (j + GROUP), int64))
    source = a.x + peek(a.src_planes + 8 * plane, int64)
    for j in range(first, kept + GROUP):
        if y + j > last:
            poke(scratch + 8 * j, peek(scratch + 8 * j - 8, int64))
            continue
        at = row_0 - a.pad_y + y + j
        if at >= a.height and a.n_below > 0:
            poke(scratch + 8 * j, scratch + a.below + (at - a.height) * step)
            continue
        dst = scratch + a.ring + (y + j) % (kept + GROUP) * step
        poke(scratch + 8 * j, dst)
        row = mapped(a.map_y, at, a.height, a.pad_y)
        if row < 0:
            fill_run(dst, cols + a.halo_x, fill)
        else:
            stage_columns(a, dst, source + row * a.x_row, col_0 - a.pad_x, cols + a.halo_x, fill, acc, own)


def downwards(kind: str) -> Callable:
    """The part that makes the windows of a kind that begin in eight rows, of whose rows there are addresses."""
    fold_tile = folder(kind)

    @part
    def gather(dst, rows, count, n, acc):
        # dst = rows[0] OP rows[1] ...; up to four at a time.
        own = int64(0)
        while count > 0:
            take, at = min(count, 4 - own), rows - 8 * own
            first = dst if own > 0 else peek(at, int64)
            b, c, d = peek(at + 8, int64), peek(at + 16, int64), peek(at + 24, int64)
            fold_tile(dst, first, b, c, d, int64(0), take + own, n, acc)
            rows, count, own = rows + 8 * take, count - take, int64(1)

    @part
    def core_of(a, scratch, y, n, acc):
        # What eight windows share: blocks of eight rows, one more for each group of windows, and single rows.
        blocks, table = a.n_blocks, scratch + 8 * (a.taps_y + GROUP - 1)
        for j in range(max(blocks - 1, 0) if y > 0 else 0, blocks):
            block = scratch + a.blocks + (y // GROUP + j) % blocks * a.core_bytes
            gather(block, scratch + 8 * (GROUP - 1 + j * GROUP), GROUP, n, acc)
        for j in range(blocks):
            poke(table + 8 * j, scratch + a.blocks + (y // GROUP + j) % blocks * a.core_bytes)
        single = GROUP - 1 + blocks * GROUP
        for j in range(single, a.taps_y):  # blocks and single rows in one table
            poke(table + 8 * (blocks + j - single), peek(scratch + 8 * j, int64))
        gather(scratch + a.core, table, blocks + a.taps_y - single, n, acc)

    @part
    def windows_down(a, scratch, y, count, n, acc):
        windows, step, taps, until = scratch + a.windows, a.pitch * itemsize(acc), a.taps_y, scratch + a.stored
        if taps < GROUP:
            for i in range(count):
                gather(windows + i * step, scratch + 8 * i, taps, n, acc)
            return
        core_of(a, scratch, y, n, acc)
        core = scratch + a.core
        for i in range(GROUP - 1, -1, -1):
            made = windows + i * step
            if i == GROUP - 1:
                fold_tile(made, core, core, core, core, int64(0), int64(1), n, acc)
            else:
                fold_tile(made, peek(scratch + 8 * i, int64), made + step, core, core, int64(0), int64(2), n, acc)
        for i in range(1, GROUP):
            row, made = peek(scratch + 8 * (taps + i - 1), int64), windows + i * step
            fold_tile(until, row, until, core, core, int64(0), int64(1) if i == 1 else int64(2), n, acc)
            fold_tile(made, made, until, core, core, int64(0), int64(2), n, acc)

    return windows_down


@part
def save_rows(a, src, tile, y, count, acc, own):
    plane, row, col, _, cols = tile
    out = a.out + peek(a.out_planes + 8 * plane, int64) + (row + y) * a.out_row + col * a.out_col
    for _ in range(count):
        if own is None:
            store_run(out, a.out_col, src, cols, a.out_code, acc)
        else:
            move(out, a.out_col, src, itemsize(acc), cols, acc)
        src += a.pitch * itemsize(acc)
        out += a.out_row


def sliding(dtype: str, kind: str) -> Callable:
    """The kernel of windows of a kind that computes in `dtype`."""
    acc, own, run_passes, windows_down = *accumulator(dtype, kind), passes_of(kind), downwards(kind)
    mean = True if kind == "mean" else None

    def kernel(a, unit, worker):
        tile, scratch = tile_at(a, unit), (a.scratch + worker * a.scratch_bytes + 63) // 64 * 64
        fill, n, windows = peek(a.fill, acc), tile[4] + a.halo_x, scratch + a.windows
        made = windows + a.second
        keep_below(a, scratch, tile, fill, acc, own)
        for y in range(0, tile[3], GROUP):
            count = min(tile[3] - y, int64(GROUP))
            next_rows(a, scratch, tile, y, fill, acc, own)
            windows_down(a, scratch, y, count, n, acc)
            if mean is not None and a.down != 0:
                divide_run(windows, count * a.pitch, *quotient_at(a.down), acc)
            run_passes(a, int64(0), a.n_passes, windows, made, count * a.pitch, acc)
            if mean is not None:
                divide_run(made, count * a.pitch, *quotient_at(a.across), acc)
            save_rows(a, made, tile, y, count, acc, own)

    return kernel


@inlined
def quotient_at(q):
    return peek(q, int64), peek(q + 8, int64), peek(q + 16, int64)


MAKERS = {"sliding": sliding}
