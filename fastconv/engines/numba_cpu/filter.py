"""The direct filter: staging, tiles and edges of one unit of work.

The same kernel as the Cython engine's.  A unit is a strip of rows of one output plane (of a
plane of one row, of columns).  Where the source can be read as it lies, and windows are inside
the image, tiles read the image itself; the frame around that part (and whatever has another
dtype or a stride) is staged in scratch memory, patch by patch, where positions beyond the border
come from the edge maps.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import boolean, int64, types

from fastconv.engines.contract import BEYOND, EXACT_CODES, FILTER_FIELDS
from fastconv.engines.numba_cpu.activation import activate_run, slope_of
from fastconv.engines.numba_cpu.convert import store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import (
    BLOCK_HEIGHTS,
    REGISTERS,
    VECTOR_BYTES,
    itemsize,
    peek,
    poke,
    tile_correlate,
    tile_fill,
    tile_load,
    tile_prefetch,
    tile_store,
)  # fmt: skip
from fastconv.engines.numba_cpu.stage import source_row, stage_row

__all__ = ["FIELDS", "LINE", "MAKERS", "TILE"]

FIELDS = FILTER_FIELDS

# A tile's rows, and vectors per row.  Measured on Zen 5 with kernels of 3x3 to 15x15, in parts of the FMA peak:
# AVX-512 8x2 0.6 to 0.97 and at 2048^2 up to 1.25 times as fast as 4x4 (each row is read from L2 less often);
# AVX2 6x2 in blocks of 3 rows 0.8 to 1.0, 4x3 in blocks of 5 0.4 to 0.8 (accumulators spill).
ROWS, COLS = (8, 2) if REGISTERS == 32 else (6, 2)
USUAL, HIGHEST = min(5, BLOCK_HEIGHTS[-1]), BLOCK_HEIGHTS[-1]
LINE_COLS = 8
# Planes of more bytes come from memory: there prefetching saves 20% of a 3x3 filter's time and 5% of a 7x7 one's
# (2048^2 float32); it costs up to 15% where the second or third cache holds them.
FETCH_BEYOND = 8 << 20
TILE = (ROWS, COLS * VECTOR_BYTES)
LINE = (1, LINE_COLS * VECTOR_BYTES)

IN_ORDER, LINE_ORDER, SYMMETRIC = (EXACT_CODES[name] for name in ("order", "line", "symmetric"))


# -- staging -------------------------------------------------------------------------------


@part
def clear_rest(a, patch, rows, cols, acc):
    # What tiles read of a patch beyond the window of its outputs: see the Cython engine's.
    height, width = tile_shape(a, acc)
    after = (a.kernel_x - 1) * a.dilation_x
    below = (rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1
    last = below + (height - rows % height) % height * a.stride_y
    width *= 2 if a.patch_rows == 1 and a.exact else 1
    read = min(a.phase_cols, (cols + width - 1) // width * width + after // a.stride_x)
    for j in range(last):
        for phase in range(a.stride_x):
            staged = ((cols - 1) * a.stride_x + 1 + after - phase + a.stride_x - 1) // a.stride_x if j < below else 0
            to = patch + (j * a.pitch + phase * a.phase_cols) * itemsize(acc)
            for i in range(staged, read):
                poke(to + i * itemsize(acc), acc(0))


@part
def stage_patch(a, patch, plane, fill, y, x, rows, cols, acc):
    # The window of output rows y.. and columns x.. of one source plane (0: all fill).
    # Column j of the window lies at phase j % stride_x, place j // stride_x of its row.
    top, left = y * a.stride_y - a.pad_y, x * a.stride_x - a.pad_x
    window_rows = (rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1
    window_cols = (cols - 1) * a.stride_x + (a.kernel_x - 1) * a.dilation_x + 1
    clear_rest(a, patch, rows, cols, acc)
    for j in range(window_rows):
        row = int64(0) if plane == 0 else source_row(a, plane, top + j)
        for phase in range(min(a.stride_x, window_cols)):
            to = patch + (j * a.pitch + phase * a.phase_cols) * itemsize(acc)
            n = (window_cols - phase + a.stride_x - 1) // a.stride_x
            stage_row(a, to, row, fill, left + phase, n, acc)


# -- rows of tiles -------------------------------------------------------------------------
# Each tile sums over `n_planes` source planes, which begin at the offsets `planes` from `src`
# (0: one plane, at `src`).  Addresses, steps and widths are in bytes.


@inlined
def plane_of(planes, p):
    return int64(0) if planes == 0 else peek(planes + 8 * p, int64)


@part
def tiles(a, src, planes, n_planes, row_step, tap_step, w, dst, dst_step, width, resume, init, acc):
    """A row of tiles: the sums over all taps, kernel rows in blocks of about equal height."""
    # Source rows are shared by the taps of a block if the rows of the kernel lie as those of the
    # tile do: blocks of 3 to 5 rows, or of all 7, come to 0.9 of the FMA peak in cache, blocks of
    # one row to 0.45.
    blocks = a.kernel_y
    if row_step == tap_step:
        blocks = 1 if a.kernel_y == HIGHEST else (a.kernel_y + USUAL - 1) // USUAL
    height, higher = a.kernel_y // blocks, a.kernel_y % blocks
    # The rows that the next row of tiles will be the first to read.
    fetched = ROWS * row_step + (a.kernel_y - 1) * tap_step
    fetch = row_step == a.x_row and a.height * a.x_row > FETCH_BEYOND
    for x in range(0, width, COLS * VECTOR_BYTES):
        sums = tile_load(dst + x, dst_step, acc, ROWS, COLS) if resume else tile_fill(init, ROWS, COLS)
        weights = w
        for p in range(n_planes):
            at = src + x + plane_of(planes, p)
            if fetch:
                tile_prefetch(at + fetched, row_step, ROWS, COLS)
            for block in range(blocks):
                taps = height + 1 if block < higher else height
                sums = tile_correlate(sums, at, row_step, a.col_of, weights, a.kernel_x, taps)
                at += taps * tap_step
                weights += taps * a.kernel_x * itemsize(acc)
        tile_store(sums, dst + x, dst_step)


@part
def lines(a, src, planes, n_planes, tap_step, w, dst, width, resume, init, acc):
    """Images of a single row, that is, one-dimensional signals."""
    for x in range(0, width, LINE_COLS * VECTOR_BYTES):
        sums = tile_load(dst + x, int64(0), acc, 1, LINE_COLS) if resume else tile_fill(init, 1, LINE_COLS)
        weights = w
        for p in range(n_planes):
            at = src + x + plane_of(planes, p)
            for _ in range(a.kernel_y):
                sums = tile_correlate(sums, at, int64(0), a.col_of, weights, a.kernel_x, 1)
                at += tap_step
                weights += a.kernel_x * itemsize(acc)
        tile_store(sums, dst + x, int64(0))


@inlined
def add_tap(sums, at, row_step, weight, acc):
    return sums + tile_load(at, row_step, acc, ROWS, COLS) * peek(weight, acc)


@inlined
def tap_at(a, tap, tap_step, acc):
    # Where a tap of a one-dimensional kernel begins.
    return tap * tap_step if a.kernel_x == 1 else peek(a.col_of + 8 * tap, int64) * itemsize(acc)


@inlined
def exact_sum(a, sums, src, row_step, tap_step, w, acc):
    size, taps = itemsize(acc), a.kernel_y * a.kernel_x
    if a.exact == IN_ORDER:
        for ky in range(a.kernel_y):
            for kx in range(a.kernel_x):
                at = src + ky * tap_step + peek(a.col_of + 8 * kx, int64) * size
                sums = add_tap(sums, at, row_step, w + (ky * a.kernel_x + kx) * size, acc)
        return sums
    first = taps - 1 if a.exact == LINE_ORDER else taps // 2
    sums = add_tap(sums, src + tap_at(a, first, tap_step, acc), row_step, w + first * size, acc)
    for tap in range(first):
        at, weight = src + tap_at(a, tap, tap_step, acc), w + tap * size
        if a.exact == LINE_ORDER:
            sums = add_tap(sums, at, row_step, weight, acc)
            continue
        mirrored = src + tap_at(a, taps - 1 - tap, tap_step, acc)
        if a.exact == SYMMETRIC:
            pair = tile_load(at, row_step, acc, ROWS, COLS) + tile_load(mirrored, row_step, acc, ROWS, COLS)
            sums = sums + pair * peek(weight, acc)
        else:
            pair = tile_load(at, row_step, acc, ROWS, COLS) - tile_load(mirrored, row_step, acc, ROWS, COLS)
            sums = sums + pair * peek(weight, acc)
    return sums


@part
def exact_tiles(a, src, planes, n_planes, row_step, tap_step, w, dst, dst_step, width, resume, init, acc):
    """SciPy's own order of summation, each product and each sum rounded (see `ConvProblem.exact`)."""
    weights = a.kernel_y * a.kernel_x * itemsize(acc)
    for x in range(0, width, COLS * VECTOR_BYTES):
        sums = tile_load(dst + x, dst_step, acc, ROWS, COLS) if resume else tile_fill(init, ROWS, COLS)
        for p in range(n_planes):
            at = src + x + plane_of(planes, p)
            sums = exact_sum(a, sums, at, row_step, tap_step, w + p * weights, acc)
        tile_store(sums, dst + x, dst_step)


# -- patches -------------------------------------------------------------------------------


@part
def filter_patch(a, src, planes, n_planes, pitch, w, dst, dst_step, rows, cols, resume, init, acc, exact):
    # All tiles of a patch.  One-row patches take the line kernel; exact ones the exact tile, whose rows
    # then are pieces of the line.
    row_step, tap_step, width = pitch * a.stride_y, pitch * a.dilation_y, cols * itemsize(acc)
    if a.patch_rows == 1 and exact is not None:
        piece = int64(COLS * VECTOR_BYTES)
        for x in range(0, width, ROWS * piece):
            exact_tiles(a, src + x, planes, n_planes, piece, tap_step, w, dst + x, piece, piece, resume, init, acc)
        return
    if a.patch_rows == 1:
        lines(a, src, planes, n_planes, tap_step, w, dst, width, resume, init, acc)
        return
    for y in range(0, rows, ROWS):
        at, to = src + y * row_step, dst + y * dst_step
        if exact is None:  # decided when the kernel is compiled
            tiles(a, at, planes, n_planes, row_step, tap_step, w, to, dst_step, width, resume, init, acc)
        else:
            exact_tiles(a, at, planes, n_planes, row_step, tap_step, w, to, dst_step, width, resume, init, acc)


@part
def activate_sums(a, sums, step, rows, cols, acc):
    slope = slope_of(a.slope)
    for r in range(rows if a.activation else 0):
        activate_run(sums + r * step, cols, a.activation, slope, acc)


@inlined
def staged_patch(a, planes, patch, w, out, init, y, x, rows, cols, direct, acc, exact):
    # A patch of the output, its windows staged one source plane after the other.
    size = itemsize(acc)
    weights = a.kernel_y * a.kernel_x * size
    window_rows = (a.patch_rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1
    to = out + y * a.out_row + x * a.out_col
    dst, step = patch + window_rows * a.pitch * size, a.patch_cols * size
    if direct:
        dst, step = to, a.out_row
    for p in range(a.n_planes):
        plane = peek(planes + 8 * p, int64)
        fill = peek(a.fill + p % a.n_fills * size, acc)
        stage_patch(a, patch, int64(0) if plane == BEYOND else a.x + plane, fill, y, x, rows, cols, acc)
        at = w + p * weights
        filter_patch(
            a, patch, int64(0), int64(1), a.pitch * size, at, dst, step, rows, cols, p > 0, init, acc, exact
        )  # fmt: skip
    if exact is None:
        activate_sums(a, dst, step, rows, cols, acc)
    if not direct:
        for r in range(rows):
            store_run(to + r * a.out_row, a.out_col, dst + r * step, cols, a.out_code, acc)


@part
def filter_staged(a, planes, patch, w, out, init, unit_y, unit_x, y, end_row, x, end_col, acc, exact):
    # A part of a unit by patches.  Those stored directly are whole tiles, which overlap what the unit has made before.
    height, width = tile_shape(a, acc)
    for top in range(y, end_row, a.patch_rows):
        rows = min(a.patch_rows, end_row - top)
        up = (height - rows % height) % height
        for left in range(x, end_col, a.patch_cols):
            cols = min(a.patch_cols, end_col - left)
            back = (width - cols % width) % width
            direct = a.store_direct != 0 and top - up >= unit_y and left - back >= unit_x
            over, aside = (up, back) if direct else (int64(0), int64(0))
            staged_patch(
                a, planes, patch, w, out, init, top - over, left - aside, rows + over, cols + aside, direct, acc, exact
            )


@part
def filter_inside(a, planes, w, out, init, y, end_row, x, end_col, acc, exact):
    # A part of the output by tiles that read the source where it lies; the last ones overlap their neighbours.
    size = itemsize(acc)
    height, width = tile_shape(a, acc)
    for begin in range(y, end_row, height):
        top = min(begin, end_row - height)
        for ragged in range(1 if (end_col - x) % width == 0 else 2):
            left = end_col - width if ragged else x
            cols = width if ragged else (end_col - x) // width * width
            src = a.x + (top * a.stride_y - a.pad_y) * a.x_row + (left - a.pad_x) * size
            dst = out + top * a.out_row + left * size
            filter_patch(
                a, src, planes, a.n_planes, a.x_row, w, dst, a.out_row, height, cols, boolean(0), init, acc, exact
            )  # fmt: skip
            if exact is None:
                activate_sums(a, dst, a.out_row, height, cols, acc)


@inlined
def tile_shape(a, acc):
    if a.patch_rows == 1:
        return int64(1), int64(LINE_COLS * VECTOR_BYTES // itemsize(acc))
    return int64(ROWS), int64(COLS * VECTOR_BYTES // itemsize(acc))


@part
def windows_inside(begin, end, size, pad, reach, stride, tile):
    # The outputs whose windows are inside the source, a whole number of tiles after the first and before the last.
    first = max((pad + stride - 1) // stride, begin)
    last = min((size - 1 + pad - reach) // stride + 1 if size + pad > reach else int64(0), end)
    return begin + (first - begin + tile - 1) // tile * tile, end - (end - last + tile - 1) // tile * tile


@part
def readable(a, planes):
    # Whether all source planes can be read where they lie.
    for p in range(a.n_planes):
        if peek(planes + 8 * p, int64) == BEYOND:
            return False
    return a.in_place != 0


def make(acc: str, variant: str = "") -> Callable:
    """The filter kernel that sums in `acc`; the variant "exact" keeps SciPy's order of summation."""
    acc_type = getattr(types, acc)
    exact = True if variant == "exact" else None

    def kernel(a, unit, worker):
        size = itemsize(acc_type)
        patch = (a.scratch + worker * a.scratch_bytes + 63) // 64 * 64  # the beginning of a cache line
        out_plane, first = unit // a.n_strips, unit % a.n_strips * a.strip
        first_row, end_row = first, min(a.out_height, first + a.strip)
        first_col, end_col = int64(0), a.out_width
        if a.out_height == 1:  # strips are columns
            first_row, end_row = int64(0), int64(1)
            first_col, end_col = first, min(a.out_width, first + a.strip)
        filter_index = peek(a.filter_of + 8 * out_plane, int64)
        planes = a.src_planes + 8 * out_plane * a.n_planes
        out = a.out + peek(a.out_planes + 8 * out_plane, int64)
        w = a.w + filter_index * a.n_planes * a.kernel_y * a.kernel_x * size
        init = acc_type(0) if a.bias == 0 else peek(a.bias + filter_index * size, acc_type)
        height, width = tile_shape(a, acc_type)
        reach_y, reach_x = (a.kernel_y - 1) * a.dilation_y, (a.kernel_x - 1) * a.dilation_x
        y0, y1 = windows_inside(first_row, end_row, a.height, a.pad_y, reach_y, a.stride_y, height)
        x0, x1 = windows_inside(first_col, end_col, a.width, a.pad_x, reach_x, int64(1), width)
        if y1 - y0 < height or x1 - x0 < width or not readable(a, planes):
            y0, y1 = end_row, end_row
        else:
            filter_inside(a, planes, w, out, init, y0, y1, x0, x1, acc_type, exact)
        for side in range(4):  # the frame: above, left, right, below
            top, bottom, left, right = y0, y1, first_col, x0
            if side == 0:
                top, bottom, right = first_row, y0, end_col
            elif side == 2:
                left, right = x1, end_col
            elif side == 3:
                top, bottom, right = y1, end_row, end_col
            filter_staged(
                a, planes, patch, w, out, init, first_row, first_col, top, bottom, left, right, acc_type, exact
            )  # fmt: skip

    return kernel


MAKERS = {"filter": make}
