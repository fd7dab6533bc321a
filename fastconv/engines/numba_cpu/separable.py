"""A pass down and a pass across: see `fastconv.algorithms.separable`.

The same kernel as the Cython engine's.  A unit is a strip of rows of one output plane.  Of each block of it,
columns first, rows are filtered down into `middle`, whose column 0 stands at position x - pad_x of the image,
and from there across.  Tiles are whole: the last one of a row overlaps its neighbour, or ends in room that is
there for it.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import SEPARABLE_FIELDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.filter import COLS, ROWS, USUAL
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke, tile_correlate, tile_fill, tile_store
from fastconv.engines.numba_cpu.stage import mapped, source_row, stage_row

__all__ = ["FIELDS", "MAKERS"]

FIELDS = SEPARABLE_FIELDS

TILE_BYTES = COLS * VECTOR_BYTES


@part
def tiles(a, src, step, w, down, across, dst, dst_step, n, rows, zero, acc):
    """Rows of tiles with `down` x `across` taps, one of which is 1, for `n` bytes of each row."""
    blocks = (down + USUAL - 1) // USUAL
    height, higher = down // blocks, down % blocks
    for _ in range(0, rows, ROWS):
        for begin in range(0, n, TILE_BYTES):
            x = min(begin, max(int64(0), n - TILE_BYTES))
            sums, at, weights = tile_fill(zero, ROWS, COLS), src + x, w
            for block in range(blocks):
                taps = height + 1 if block < higher else height
                sums = tile_correlate(sums, at, step, a.col_of, weights, across, taps)
                at += taps * step
                weights += taps * across * itemsize(acc)
            tile_store(sums, dst + x, dst_step)
        src += ROWS * step
        dst += ROWS * dst_step


@inlined
def filter_down(a, middle, patch, plane, y, first, n, rows, fill, zero, acc):
    # Filter `n` columns of the image, from column `first`, down into `middle`.
    size = itemsize(acc)
    top, pitch = y - a.pad_y, a.pitch * size
    src, step = patch, pitch
    if a.in_place != 0 and n * size >= TILE_BYTES and top >= 0 and top + a.patch_rows + a.kernel_y - 1 <= a.height:
        src, step = plane + top * a.x_row + first * size, a.x_row
    else:
        for j in range(rows + a.kernel_y - 1):
            stage_row(a, patch + j * pitch, source_row(a, plane, top + j), fill, first, n, acc)
    tiles(a, src, step, a.w, a.kernel_y, int64(1), middle, pitch, n * size, rows, zero, acc)


@part
def one_down(a, to, plane, y, column, fill, zero, acc):
    # One element of the first pass.
    total = zero
    for k in range(a.kernel_y):
        row = source_row(a, plane, y - a.pad_y + k)
        poke(to, fill)
        if row != 0 and column >= 0:
            load_run(to, row + column * a.x_col, a.x_col, int64(1), a.src_code, acc)
        total += peek(a.w + k * itemsize(acc), acc) * peek(to, acc)
    poke(to, total)


@part
def edge_columns(a, middle, plane, y, rows, left, begin, end, first, last, fill, zero, acc):
    # Columns begin..end of `middle`, which lie beyond the border, from its columns first..last, where it has them.
    size = itemsize(acc)
    for i in range(begin, end):
        column = mapped(a.map_x, left + i, a.width, a.pad_x)
        for j in range(rows):
            row = middle + j * a.pitch * size
            if column >= 0 and first <= column - left < last:
                poke(row + i * size, peek(row + (column - left) * size, acc))
            else:
                one_down(a, row + i * size, plane, y + j, column, fill, zero, acc)


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that sums in `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        size, zero, fill = itemsize(acc_type), acc_type(0), peek(a.fill, acc_type)
        pitch, patch = a.pitch * size, a.scratch + worker * a.scratch_bytes
        middle = patch + (a.patch_rows + a.kernel_y - 1) * pitch
        staged = middle + a.patch_rows * pitch
        out_plane, first_row = unit // a.n_strips, unit % a.n_strips * a.strip
        end_row = min(a.out_height, first_row + a.strip)
        plane = a.x + peek(a.src_planes + 8 * out_plane, int64)
        out_at = a.out + peek(a.out_planes + 8 * out_plane, int64)
        for x in range(0, a.out_width, a.patch_cols):
            n = min(a.patch_cols, a.out_width - x)
            left, needed = x - a.pad_x, n + a.kernel_x - 1
            first = min(max(-left, int64(0)), needed)
            last = max(first, min(needed, a.width - left))
            for y in range(first_row, end_row, a.patch_rows):
                rows = min(a.patch_rows, end_row - y)
                filter_down(
                    a, middle + first * size, patch, plane, y, left + first, last - first, rows, fill, zero, acc_type
                )
                edge_columns(a, middle, plane, y, rows, left, int64(0), first, first, last, fill, zero, acc_type)
                edge_columns(a, middle, plane, y, rows, left, last, needed, first, last, fill, zero, acc_type)
                out = out_at + y * a.out_row + x * a.out_col
                direct = a.store_direct != 0 and rows == a.patch_rows and n * size >= TILE_BYTES
                dst, step = staged, pitch
                if direct:
                    dst, step = out, a.out_row
                weights = a.w + a.kernel_y * size
                tiles(a, middle, pitch, weights, int64(1), a.kernel_x, dst, step, n * size, rows, zero, acc_type)
                if not direct:
                    for j in range(rows):
                        store_run(out + j * a.out_row, a.out_col, staged + j * pitch, n, a.out_code, acc_type)

    return kernel


MAKERS = {"separable": make}
