"""A pass down, a pass across, or one after the other: see `fastconv.algorithms.separable`.

The same kernel as the Cython engine's.  A unit is a strip of rows and a span of columns of one output plane.
Of each block of it, columns first, rows are filtered down into `middle`, whose column 0 stands at position
x - pad_x of the image, and from there across.  Where there is nothing to do down, rows are staged there; where there
is nothing to do across, tiles write the output itself.  Tiles are whole: the last one of a row overlaps its
neighbour, or ends in room that is there for it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from numba import int64, types

from fastconv.engines.contract import COMBINATIONS, SEPARABLE_FIELDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.filter import COLS, LINE_COLS, ROWS, USUAL
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import (
    VECTOR_BYTES,
    itemsize,
    peek,
    poke,
    tile_correlate,
    tile_fill,
    tile_prefetch,
    tile_store,
)  # fmt: skip
from fastconv.engines.numba_cpu.stage import mapped, source_row, stage_row

__all__ = ["FIELDS", "MAKERS"]

FIELDS = SEPARABLE_FIELDS

SQUARE, ADD, CROSS = (COMBINATIONS[name] for name in ("square", "add", "cross"))
TILE_BYTES, LINE_BYTES = COLS * VECTOR_BYTES, LINE_COLS * VECTOR_BYTES


@part
def tiles_down(a, src, step, dst, dst_step, n, rows, ahead, acc):
    """Rows of tiles, `n` bytes of each; `ahead`, the rows that follow are called for."""
    blocks = (a.kernel_y + USUAL - 1) // USUAL
    height, higher = a.kernel_y // blocks, a.kernel_y % blocks
    # To a cache line: see separable.pxi of the Cython engine.
    lead = (-src & 63) // itemsize(acc) * itemsize(acc) % TILE_BYTES
    for _ in range(0, rows, ROWS):
        begin = int64(0)
        while begin < n:
            x = max(min(begin, n - TILE_BYTES), int64(0))
            begin = lead if begin == 0 and lead > 0 else begin + TILE_BYTES
            if ahead != 0:
                tile_prefetch(src + x + (rows + a.kernel_y - 1) * step, step, ROWS, COLS)
            sums, at, weights = tile_fill(acc(0), ROWS, COLS), src + x, a.w
            for block in range(blocks):
                taps = height + 1 if block < higher else height
                sums = tile_correlate(sums, at, step, a.col_of, weights, int64(1), taps)
                at += taps * step
                weights += taps * itemsize(acc)
            tile_store(sums, dst + x, dst_step)
        src += ROWS * step
        dst += ROWS * dst_step


@part
def clear(row, begin, end, acc):
    for i in range(begin, end):
        poke(row + i * itemsize(acc), acc(0))


@part
def stage_strip(a, patch, plane, y, rows, first, n, acc):
    # What `rows` rows of the output read in n columns from `first`; the rest of whole tiles is cleared, for it may be
    # denormal (see `clear_rest` of the filter).
    fill, window, wide = peek(a.fill, acc), rows + a.kernel_y - 1, max(n, int64(TILE_BYTES // itemsize(acc)))
    for j in range(window + ((ROWS - rows % ROWS) % ROWS if a.kernel_y > 1 else 0)):
        to, staged = patch + j * a.pitch * itemsize(acc), int64(0)
        if j < window:
            stage_row(a, to, source_row(a, plane, y - a.pad_y + j), fill, first, n, acc)
            staged = n
        clear(to, staged, wide if a.kernel_y > 1 else n, acc)


@inlined
def columns_down(a, dst, dst_step, patch, plane, y, first, n, rows, acc):
    # Filter `n` columns of the image, from column `first`, down into `dst`.
    size, top = itemsize(acc), y - a.pad_y
    if n > 0:
        src, step, ahead = patch, a.pitch * size, int64(0)
        if a.in_place != 0 and n * size >= TILE_BYTES and top >= 0 and top + a.patch_rows + a.kernel_y - 1 <= a.height:
            src, step, ahead = plane + top * a.x_row + first * size, a.x_row, a.ahead
        else:
            stage_strip(a, patch, plane, y, rows, first, n, acc)
        tiles_down(a, src, step, dst, dst_step, n * size, rows, ahead, acc)


@inlined
def copy_column(a, middle, to, of, rows, acc):
    for j in range(rows):
        row = middle + j * a.pitch * itemsize(acc)
        poke(row + to * itemsize(acc), peek(row + of * itemsize(acc), acc))


@part
def edge_columns(a, middle, staged, patch, plane, y, rows, left, begin, end, first, last, acc):
    # Columns begin..end of `middle`, which lie beyond the border: from its columns first..last, or made for themselves.
    size, elsewhere = itemsize(acc), False
    beyond = acc(0)
    for j in range(a.kernel_y):
        beyond += peek(a.w + j * size, acc) * peek(a.fill, acc)
    if a.continued != 0:
        beyond = peek(a.fill, acc)
    for i in range(begin, end):
        column = mapped(a.map_x, left + i, a.width, a.pad_x)
        if column < 0:
            for j in range(rows):
                poke(middle + (j * a.pitch + i) * size, beyond)
        elif first <= column - left < last:
            copy_column(a, middle, i, column - left, rows, acc)
        else:
            elsewhere = True
    if elsewhere:
        stage_strip(a, patch, plane, y, rows, left + begin, end - begin, acc)
        tiles_down(a, patch, a.pitch * size, staged, a.pitch * size, (end - begin) * size, rows, int64(0), acc)
        for j in range(rows):
            for i in range(begin, end):
                poke(middle + (j * a.pitch + i) * size, peek(staged + (j * a.pitch + i - begin) * size, acc))


@part
def combine(how, result, sums, n, acc):
    # What becomes of a result so far and sums.
    for at in range(0, n * itemsize(acc), itemsize(acc)):
        value = peek(sums + at, acc)
        if how == SQUARE:
            poke(result + at, acc(value * value))
        elif how == ADD:
            poke(result + at, acc(peek(result + at, acc) + value))
        else:
            poke(result + at, acc(sqrt(peek(result + at, acc) + value * value)))


@part
def store_row(a, sums, room, out, n, acc):
    # A row of the output from its sums, in scratch memory as `room` is.
    if a.combined != 0 and a.combined != CROSS:
        load_run(room, out, a.out_col, n, a.out_code, acc)
        combine(a.combined, room, sums, n, acc)
        sums = room
    store_run(out, a.out_col, sums, n, a.out_code, acc)


@part
def across(a, src, dst, n, acc):
    # `n` bytes, at least LINE_BYTES, of a row.
    for begin in range(0, n, LINE_BYTES):
        x = min(begin, n - LINE_BYTES)
        sums = tile_fill(acc(0), 1, LINE_COLS)
        weights = a.w + a.kernel_y * itemsize(acc)
        tile_store(tile_correlate(sums, src + x, int64(0), a.col_of, weights, a.kernel_x, 1), dst + x, int64(0))


@inlined
def row_across(a, src, staged, out, n, acc):
    # n columns of a row of the output from one of `middle`.
    size = itemsize(acc)
    dst, bytes_in_all, reach = staged, max(n * size, LINE_BYTES), (a.kernel_x - 1) * a.dilation_x
    clear(src, n + reach, bytes_in_all // size + reach, acc)
    if a.store_direct != 0 and n * size >= LINE_BYTES and a.combined == 0:
        dst = out
    across(a, src, dst, bytes_in_all, acc)
    if dst == staged:  # the row that was filtered is no longer needed
        store_row(a, staged, src, out, n, acc)


@inlined
def crossed_block(a, patch, middle, staged, plane, out, y, x, rows, n, acc):
    # The sums of `n` columns down, and of the rows across, added.
    size, pitch = itemsize(acc), a.pitch * itemsize(acc)
    columns_down(a, middle, pitch, patch, plane, y, x, n, rows, acc)
    for j in range(rows):
        row = source_row(a, plane, y + j)
        width = n + (a.kernel_x - 1) * a.dilation_x
        stage_row(a, patch, row, peek(a.fill, acc), x - a.pad_x, width, acc)
        clear(patch, width, width + max(n, int64(LINE_BYTES // size)) - n, acc)
        across(a, patch, staged, max(n * size, LINE_BYTES), acc)
        combine(int64(ADD), staged, middle + j * pitch, n, acc)
        store_row(a, staged, staged, out + j * a.out_row, n, acc)


@inlined
def block(a, patch, plane, out, y, x, rows, n, acc):
    # Output rows y.. and columns x.. of a plane.
    size, pitch, left, width = itemsize(acc), a.pitch * itemsize(acc), x - a.pad_x, n + (a.kernel_x - 1) * a.dilation_x
    first = min(max(-left, int64(0)), width)
    last = max(first, min(width, a.width - left))
    middle = patch
    if a.kernel_y > 1:
        middle += (a.patch_rows + a.kernel_y - 1) * pitch
    staged = middle + a.patch_rows * pitch
    crossed = a.combined == CROSS
    direct = a.kernel_x == 1 and a.store_direct != 0 and a.combined == 0
    direct = direct and rows == a.patch_rows and n * size >= TILE_BYTES
    if crossed:
        crossed_block(a, patch, middle, staged, plane, out, y, x, rows, n, acc)
    elif a.kernel_y == 1:
        stage_strip(a, middle, plane, y, rows, left, width, acc)
    else:
        to, step = middle + first * size, pitch
        if direct:
            to, step = out, a.out_row
        columns_down(a, to, step, patch, plane, y, left + first, last - first, rows, acc)
        edge_columns(a, middle, staged, patch, plane, y, rows, left, int64(0), first, first, last, acc)
        edge_columns(a, middle, staged, patch, plane, y, rows, left, last, width, first, last, acc)
    if not (direct or crossed):
        for j in range(rows):
            if a.kernel_x == 1:
                store_row(a, middle + j * pitch, staged, out + j * a.out_row, n, acc)
            else:
                row_across(a, middle + j * pitch, staged, out + j * a.out_row, n, acc)


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that sums in `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        patch, parts = a.scratch + worker * a.scratch_bytes, a.n_strips * a.n_spans
        out_plane, strip, span = unit // parts, unit % parts // a.n_spans, unit % a.n_spans
        plane = a.x + peek(a.src_planes + 8 * out_plane, int64)
        out_at = a.out + peek(a.out_planes + 8 * out_plane, int64)
        end_row, end_col = min(a.out_height, (strip + 1) * a.strip), min(a.out_width, (span + 1) * a.span)
        for x in range(span * a.span, end_col, a.patch_cols):
            n = min(a.patch_cols, end_col - x)
            for y in range(strip * a.strip, end_row, a.patch_rows):
                out = out_at + y * a.out_row + x * a.out_col
                block(a, patch, plane, out, y, x, min(a.patch_rows, end_row - y), n, acc_type)

    return kernel


MAKERS = {"separable": make}
