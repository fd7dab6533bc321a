"""The direct filter: staging, tiles and edges of one unit of work.

The same kernel as the Cython engine's, specialised at run time to the dtypes of
accumulator, input and output.  A unit is a strip of rows of one output plane.  It is
computed patch by patch.  Where the source can be read as it lies, and the patch's window
is inside the image, tiles read the image itself; elsewhere (edges, other dtypes, strides)
the window is first staged in scratch memory, where positions beyond the border come from
the edge maps.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import BEYOND, FILTER_FIELDS
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, tile_correlate, tile_fill, tile_load, tile_store
from fastconv.engines.numba_cpu.stage import copy_run, memory_type, source_row, stage_row

__all__ = ["FIELDS", "LINE", "TILE", "make"]

FIELDS = FILTER_FIELDS

# Tile: rows, vectors per row.
ROWS, COLS = (8, 2) if VECTOR_BYTES == 64 else (4, 3)
LINE_COLS = 8
TILE = (ROWS, COLS * VECTOR_BYTES)
LINE = (1, LINE_COLS * VECTOR_BYTES)

ORDER_C, ORDER_LINE, ORDER_SYMMETRIC = 1, 2, 3  # EXACT_CODES; antisymmetric is what remains


# -- staging -------------------------------------------------------------------------------


@part
def stage_patch(a, patch, plane, fill, y, x, rows, cols, acc, source):
    # The window of output rows y.. and columns x.. of one source plane (0: all fill).
    # Column j of the window lies at phase j % stride_x, place j // stride_x of its row.
    top, left = y * a.stride_y - a.pad_y, x * a.stride_x - a.pad_x
    window_rows = (rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1
    window_cols = (cols - 1) * a.stride_x + (a.kernel_x - 1) * a.dilation_x + 1
    for j in range(window_rows):
        row = int64(0) if plane == 0 else source_row(a, plane, top + j)
        for phase in range(min(a.stride_x, window_cols)):
            to = patch + (j * a.pitch + phase * a.phase_cols) * itemsize(acc)
            n = (window_cols - phase + a.stride_x - 1) // a.stride_x
            stage_row(a, to, row, fill, left + phase, n, acc, source)


@part
def inside(a, y, x, rows, cols):
    # Whether the window of an output patch lies within the source plane.
    top, left = y * a.stride_y - a.pad_y, x - a.pad_x
    return (
        top >= 0
        and left >= 0
        and top + (rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y < a.height
        and left + cols - 1 + (a.kernel_x - 1) * a.dilation_x < a.width
    )


# -- tiles ---------------------------------------------------------------------------------
# Addresses and steps are in bytes.


@part
def tile(a, src, row_step, tap_step, w, dst, dst_step, resume, init, acc):
    """The sum over all taps of a tile: kernel rows are taken in even blocks of at most five."""
    sums = tile_load(dst, dst_step, acc, ROWS, COLS) if resume else tile_fill(init, ROWS, COLS)
    kernel_x, col_of, left = a.kernel_x, a.col_of, a.kernel_y
    blocks = left if row_step != tap_step else 1 if left == 7 else (left + 4) // 5
    while blocks > 0:
        taps = (left + blocks - 1) // blocks
        if taps == 5:
            sums = tile_correlate(sums, src, row_step, col_of, w, kernel_x, 5)
        elif taps == 3:
            sums = tile_correlate(sums, src, row_step, col_of, w, kernel_x, 3)
        elif taps == 4:
            sums = tile_correlate(sums, src, row_step, col_of, w, kernel_x, 4)
        elif taps == 1:
            sums = tile_correlate(sums, src, row_step, col_of, w, kernel_x, 1)
        elif taps == 7:
            sums = tile_correlate(sums, src, row_step, col_of, w, kernel_x, 7)
        else:
            sums = tile_correlate(sums, src, row_step, col_of, w, kernel_x, 2)
        src += taps * tap_step
        w += taps * kernel_x * itemsize(acc)
        left -= taps
        blocks -= 1
    tile_store(sums, dst, dst_step)


@part
def line(a, src, row_step, tap_step, w, dst, dst_step, resume, init, acc):
    """One row: images of a single row, that is, one-dimensional signals."""
    sums = tile_load(dst, dst_step, acc, 1, LINE_COLS) if resume else tile_fill(init, 1, LINE_COLS)
    for ky in range(a.kernel_y):
        at = w + ky * a.kernel_x * itemsize(acc)
        sums = tile_correlate(sums, src + ky * tap_step, row_step, a.col_of, at, a.kernel_x, 1)
    tile_store(sums, dst, dst_step)


@part
def tile_exact(a, src, row_step, tap_step, w, dst, dst_step, resume, init, acc):
    """SciPy's own order of summation, each product and each sum rounded (see `ConvProblem.exact`)."""
    sums = tile_load(dst, dst_step, acc, ROWS, COLS) if resume else tile_fill(init, ROWS, COLS)
    taps, size = a.kernel_y * a.kernel_x, itemsize(acc)
    centre = taps // 2
    if a.exact == ORDER_C:
        for t in range(taps):
            at = src + t // a.kernel_x * tap_step + peek(a.col_of + 8 * (t % a.kernel_x), int64, int64) * size
            sums = sums + tile_load(at, row_step, acc, ROWS, COLS) * peek(w + t * size, acc, acc)
    elif a.exact == ORDER_LINE:
        for t in range(-1, taps - 1):
            k = t if t >= 0 else taps - 1
            sums = sums + tile_load(tap_at(a, src, tap_step, k, size), row_step, acc, ROWS, COLS) * peek(w + k * size, acc, acc)
    else:
        at = tap_at(a, src, tap_step, centre, size)
        sums = sums + tile_load(at, row_step, acc, ROWS, COLS) * peek(w + centre * size, acc, acc)
        for t in range(centre):
            left = tile_load(tap_at(a, src, tap_step, t, size), row_step, acc, ROWS, COLS)
            right = tile_load(tap_at(a, src, tap_step, taps - 1 - t, size), row_step, acc, ROWS, COLS)
            pair = left + right if a.exact == ORDER_SYMMETRIC else left - right
            sums = sums + pair * peek(w + t * size, acc, acc)
    tile_store(sums, dst, dst_step)


@part
def tap_at(a, src, tap_step, tap, size):
    # Where a tap of a one-dimensional kernel begins.
    return src + (tap * tap_step if a.kernel_x == 1 else peek(a.col_of + 8 * tap, int64, int64) * size)


# -- units ---------------------------------------------------------------------------------


@part
def filter_patch(a, src, pitch, w, dst, dst_step, rows, cols, resume, init, acc, exact):
    # All tiles of one patch.  One-row patches take the line kernel.
    row_step, tap_step, size = pitch * a.stride_y, pitch * a.dilation_y, itemsize(acc)
    if a.patch_rows == 1:
        for x in range(0, cols * size, LINE_COLS * VECTOR_BYTES):
            line(a, src + x, row_step, tap_step, w, dst + x, dst_step, resume, init, acc)
        return
    for y in range(0, rows, ROWS):
        for x in range(0, cols * size, COLS * VECTOR_BYTES):
            at, to = src + y * row_step + x, dst + y * dst_step + x
            if exact is None:  # decided when the kernel is compiled
                tile(a, at, row_step, tap_step, w, to, dst_step, resume, init, acc)
            else:
                tile_exact(a, at, row_step, tap_step, w, to, dst_step, resume, init, acc)


@part
def filter_planes(a, planes, patch, y, x, rows, cols, w, dst, dst_step, init, acc, source, exact):
    # The sum over all source planes of one patch.
    weights = a.kernel_y * a.kernel_x * itemsize(acc)
    in_place = a.in_place != 0 and inside(a, y, x, a.patch_rows, a.patch_cols)
    for p in range(a.n_planes):
        plane = peek(planes + 8 * p, int64, int64)
        if in_place and plane != BEYOND:
            src = a.x + plane + (y * a.stride_y - a.pad_y) * a.x_row + (x - a.pad_x) * a.x_col
            pitch = a.x_row
        else:
            fill = peek(a.fill + p % a.n_fills * itemsize(acc), acc, acc)
            stage_patch(a, patch, int64(0) if plane == BEYOND else a.x + plane, fill, y, x, rows, cols, acc, source)
            src = patch
            pitch = a.pitch * itemsize(acc)
        filter_patch(a, src, pitch, w + p * weights, dst, dst_step, rows, cols, p > 0, init, acc, exact)


@part
def filter_unit(a, unit, patch, acc, source, target, exact):
    size = itemsize(acc)
    out_plane = unit // a.n_strips
    first_row = unit % a.n_strips * a.strip
    end_row = min(a.out_height, first_row + a.strip)
    filter_index = peek(a.filter_of + 8 * out_plane, int64, int64)
    window_rows = (a.patch_rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1
    planes = a.src_planes + 8 * out_plane * a.n_planes
    out = a.out + peek(a.out_planes + 8 * out_plane, int64, int64)
    staged_out = patch + window_rows * a.pitch * size
    w = a.w + filter_index * a.n_planes * a.kernel_y * a.kernel_x * size
    init = peek(a.bias + filter_index * size, acc, acc) if a.bias != 0 else acc(0)
    # The last patch overlaps its neighbour rather than being ragged.
    last_y, last_x = max(first_row, end_row - a.patch_rows), max(0, a.out_width - a.patch_cols)
    for top in range(first_row, end_row, a.patch_rows):
        y = min(top, last_y)
        rows = min(a.patch_rows, end_row - y)
        for left in range(0, a.out_width, a.patch_cols):
            x = min(left, last_x)
            cols = min(a.patch_cols, a.out_width - x)
            to = out + y * a.out_row + x * a.out_col
            if a.store_direct != 0 and rows == a.patch_rows and cols == a.patch_cols:
                filter_planes(a, planes, patch, y, x, rows, cols, w, to, a.out_row, init, acc, source, exact)
                continue
            filter_planes(a, planes, patch, y, x, rows, cols, w, staged_out, a.patch_cols * size, init, acc, source, exact)
            for r in range(rows):
                at = staged_out + r * a.patch_cols * size
                copy_run(to + r * a.out_row, a.out_col, target, at, size, acc, cols, acc)


def make(acc: str, source: str, target: str, exact: str = "") -> Callable:
    """The filter kernel that sums in `acc` what it reads as `source` and stores it as `target`.

    `exact` is empty, or anything for a kernel that keeps SciPy's order of summation.
    """
    acc_type, source_type, target_type = getattr(types, acc), memory_type(source), memory_type(target)
    in_order = True if exact else None

    def kernel(a, unit, worker):
        scratch = a.scratch + worker * a.scratch_bytes
        filter_unit(a, unit, scratch, acc_type, source_type, target_type, in_order)

    return kernel

