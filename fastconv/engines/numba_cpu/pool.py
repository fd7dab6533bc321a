"""Max and average pooling.

A unit is a strip of output rows, which may run over several planes.  Each row is made in
blocks of pixels.  The rows of the window are folded first, column by column, into one row
in scratch memory, where columns beyond the border hold the fold's identity; then its
columns are folded into the output.  A maximum with indices takes the rows one by one, so
that it meets the taps of a window in C order: first of equals, last NaN.

`average` is None for maxima, decided when a kernel is compiled.  A block of pixels is a tuple:

    first, n    output pixels
    left        column of the first one's window
    tap, taps   taps that some pixel of the block needs
    cols        columns from the first tap of the first pixel to the last tap of the last
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import POOL_FIELDS, POOL_STAGING
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.pooling import (
    copy_run,
    divide_run,
    fill_run,
    fold_run,
    lowest,
    positions_run,
    scan_run,
    split_run,
)  # fmt: skip
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = POOL_FIELDS

FLAT, WINDOWS = POOL_STAGING["flat"], POOL_STAGING["windows"]
# Tall windows are folded a few rows at a time: the processor prefetches only so many streams.
ROWS_AT_ONCE = 8


@inlined
def steps_to(position, limit, step):
    # The smallest i >= 0 with position + i * step >= limit.
    if position >= limit:
        return int64(0)
    return limit - position if step == 1 else (limit - position + step - 1) // step


@part
def block_at(a, first):
    n = min(a.block, a.out_width - first)
    left = first * a.stride_x - a.pad_x
    tap = min(a.kernel_x - 1, steps_to(left + (n - 1) * a.stride_x, 0, a.dilation_x))
    taps = max(1, min(a.kernel_x, steps_to(left, a.width, a.dilation_x)) - tap)
    return first, n, left, tap, taps, (n - 1) * a.stride_x + (taps - 1) * a.dilation_x + 1


@part
def place_of_row(a, row):
    # Rows are counted over all planes: the row in its plane, and the planes of input, output and indices.
    plane = row // a.out_height
    n, c = plane // a.channels, plane % a.channels
    return (
        row - plane * a.out_height,
        a.x + n * a.x_n + c * a.x_c,
        a.out + n * a.out_n + c * a.out_c,
        a.w + n * a.idx_n + c * a.idx_c,
    )


@part
def move(dst, dst_col, dst_lane, src, src_col, src_lane, n, lanes, dtype):
    # n pixels of `lanes` elements from one place to another.
    size = itemsize(dtype)
    packed = lanes == 1 or (dst_lane == size and src_lane == size)
    if packed and dst_col == lanes * size and src_col == lanes * size:
        lanes, n = n * lanes, int64(1)
    for _ in range(n):
        if packed:
            copy_run(dst, src, lanes, dtype)
        else:
            for c in range(lanes):
                poke(dst + c * dst_lane, peek(src + c * src_lane, dtype))
        dst += dst_col
        src += src_col


@part
def fold(dst, src, at, scale, taps, n, resume, acc, source, average):
    fold_run(dst, src, at, scale, taps, n, resume, acc, source, average)


@part
def identity_run(dst, n, acc, average):
    fill_run(dst, n, lowest(acc) if average is None else acc(0))


# -- windows -------------------------------------------------------------------------------


@part
def fold_columns(a, dst, gathered, row, taps, column, step, n, dtype, acc, average):
    # Pixels at column, column + step, ..., each folded over the rows from `row` down.
    size, pixel = itemsize(dtype), itemsize(acc) * a.lanes
    begin = min(n, steps_to(column, 0, step)) if taps > 0 else int64(0)
    end = min(n, steps_to(column, a.width, step)) if taps > 0 else int64(0)
    src = row + (column + begin * step) * a.x_col
    inside, count = dst + begin * pixel, (end - begin) * a.lanes
    identity_run(dst, begin * a.lanes, acc, average)
    flat = a.staging == FLAT
    together = int64(ROWS_AT_ONCE if flat else 1)
    t = int64(0)
    while t < taps and count > 0:
        rows = min(together, taps - t)
        if flat:
            fold(inside, src, a.row_of + 8 * t, 1, rows, count, t > 0, acc, dtype, average)
        else:
            at = src + peek(a.row_of + 8 * t, int64)
            move(gathered, size * a.lanes, size, at, step * a.x_col, a.x_lane, end - begin, a.lanes, dtype)
            fold(inside, gathered, a.row_of, 1, 1, count, t > 0, acc, dtype, average)
        t += rows
    identity_run(dst + end * pixel, (n - end) * a.lanes, acc, average)


@part
def fold_window_rows(a, scratch, block, row, rows, dtype, acc, average):
    # The columns of a block's windows, folded over rows; those of each stride phase together.
    _, _, left, tap, taps, cols = block
    size, column, step = itemsize(acc), left + tap * a.dilation_x, a.stride_x
    pixel, phase = size * a.lanes, a.phase * size
    phases, used = scratch + a.phases, min(step, (taps - 1) * a.dilation_x + 1)
    together = step == 1 or a.staging == FLAT  # phases are parted after the fold
    folded, by = (scratch + a.folded, int64(1)) if together else (phases, step)
    for i in range(1 if together else used):
        n, to = (cols - i + by - 1) // by, folded + i * phase
        fold_columns(a, to, scratch + a.gathered, row, rows, column + i, by, n, dtype, acc, average)
    if step == 2 and a.lanes == 1 and together:
        split_run(phases, phases + phase, folded, (cols + 1) // 2, acc)
    elif step > 1 and together:
        for i in range(used):
            n = (cols - i + step - 1) // step
            move(phases + i * phase, pixel, size, folded + i * pixel, pixel * step, size, n, a.lanes, acc)
    return folded if step == 1 else phases


@inlined
def window_at(a, left, i):
    # The taps of pixel i's window that lie inside the input, and the column of the first.
    start = left + i * a.stride_x
    tap = steps_to(start, 0, a.dilation_x)
    return tap, min(a.kernel_x, steps_to(start, a.width, a.dilation_x)) - tap, start + tap * a.dilation_x


@part
def fold_windows(a, dst, block, row, rows, dtype, acc, average):
    # Window by window, where they lie: those at the edges row by row.
    for i in range(block[1]):
        _, taps, column = window_at(a, block[2], i)
        src = row + column * a.x_col
        whole = taps == a.kernel_x and rows == a.kernel_y
        if taps <= 0 or rows <= 0:
            identity_run(dst, a.lanes, acc, average)
        for t in range(0 if taps <= 0 else 1 if whole else rows):
            at = src + peek(a.row_of + 8 * t, int64)
            length = a.kernel_y * a.kernel_x if whole else taps
            fold(dst, at, a.window_of, 1, length, a.lanes, t > 0, acc, dtype, average)
        dst += itemsize(acc) * a.lanes


@inlined
def counted(start, taps, size, pad):
    # Taps of a window that lie in the input and `pad` positions around it.
    return min(start + taps, size + pad) - max(start, -pad)


@part
def divide_block(a, dst, src, top, block, dtype, acc):
    # Windows that lie inside have one divisor; those at the edges are divided one by one.
    _, n, left, _, _, _ = block
    pad_y, pad_x = (a.pad_y, a.pad_x) if a.include_pad else (int64(0), int64(0))
    rows = counted(top, a.kernel_y, a.height, pad_y)
    begin = min(n, steps_to(left, -pad_x, a.stride_x))
    end = min(n, steps_to(left + a.kernel_x, a.width + pad_x + 1, a.stride_x))
    if a.divisor > 0:
        begin, end = int64(0), n
    i = int64(0)
    while i < n:
        run = end - begin if i == begin and end > begin else 1
        cols = counted(left + i * a.stride_x, a.kernel_x, a.width, pad_x)
        to, at = dst + i * itemsize(dtype) * a.lanes, src + i * itemsize(acc) * a.lanes
        divide_run(to, at, run * a.lanes, a.divisor if a.divisor > 0 else rows * cols, dtype, acc)
        i += run


@part
def pool_unit(a, unit, scratch, dtype, acc, average):
    size = itemsize(dtype)
    begin = unit * a.strip
    end = min(begin + a.strip, a.batch * a.channels * a.out_height)
    for first in range(0, a.out_width, a.block):
        block = block_at(a, first)
        y, plane, out_plane, _ = place_of_row(a, begin)
        for row in range(begin, end):
            if y == a.out_height:
                y, plane, out_plane, _ = place_of_row(a, row)
            top = y * a.stride_y - a.pad_y
            tap = steps_to(top, 0, a.dilation_y)
            rows = min(a.kernel_y, steps_to(top, a.height, a.dilation_y)) - tap
            x = plane + (top + tap * a.dilation_y) * a.x_row
            out = out_plane + y * a.out_row + first * a.out_col
            target = out if a.store_direct else scratch + a.stored
            result = target if average is None else scratch + a.result
            if a.staging == WINDOWS:
                fold_windows(a, result, block, x, rows, dtype, acc, average)
            else:
                columns = fold_window_rows(a, scratch, block, x, rows, dtype, acc, average)
                fold(result, columns, a.col_of, itemsize(acc), block[4], block[1] * a.lanes, False, acc, acc, average)
            if average is not None:
                divide_block(a, target, result, top, block, dtype, acc)
            if not a.store_direct:
                move(out, a.out_col, a.out_lane, target, size * a.lanes, size, block[1], a.lanes, dtype)
            y += 1


# -- maxima with indices -------------------------------------------------------------------


@part
def begin_places(a, places, block, tap, rows, mark):
    # Before any comparison the maximum is at the first tap inside the input; -1 if there is none.
    _, n, left, _, _, _ = block
    begin = tap * a.dilation_y * a.width if rows > 0 else -1
    fill_run(places, n * a.lanes, mark(begin))
    for i in range(min(n, steps_to(left, 0, a.stride_x)) if rows > 0 else 0):
        skipped, taps, _ = window_at(a, left, i)
        place = begin + skipped * a.dilation_x if taps > 0 else -1
        fill_run(places + i * a.lanes * itemsize(mark), a.lanes, mark(place))


@part
def scan(best, places, src, at, scale, taps, offset, step, n, dtype, mark):
    scan_run(best, places, src, at, scale, taps, offset, step, n, dtype, mark)


@part
def scan_windows(a, best, places, block, row, tap, rows, dtype, mark):
    # Row by row of each window, where it lies.
    for i in range(block[1]):
        skipped, taps, column = window_at(a, block[2], i)
        src = row + column * a.x_col
        for t in range(rows):
            offset = (tap + t) * a.dilation_y * a.width + skipped * a.dilation_x
            at = src + peek(a.row_of + 8 * t, int64)
            scan(best, places, at, a.window_of, 1, taps, offset, a.dilation_x, a.lanes, dtype, mark)
        best += itemsize(dtype) * a.lanes
        places += itemsize(mark) * a.lanes


@part
def pool_unit_indices(a, unit, scratch, dtype, mark):
    size, best, places = itemsize(dtype), scratch + a.result, scratch + a.places
    begin = unit * a.strip
    end = min(begin + a.strip, a.batch * a.channels * a.out_height)
    for first in range(0, a.out_width, a.block):
        block = block_at(a, first)
        n, left = block[1], block[2]
        y, plane, out_plane, idx_plane = place_of_row(a, begin)
        for row in range(begin, end):
            if y == a.out_height:
                y, plane, out_plane, idx_plane = place_of_row(a, row)
            top = y * a.stride_y - a.pad_y
            tap = steps_to(top, 0, a.dilation_y)
            rows = min(a.kernel_y, steps_to(top, a.height, a.dilation_y)) - tap
            x = plane + (top + tap * a.dilation_y) * a.x_row
            identity_run(best, n * a.lanes, dtype, None)
            begin_places(a, places, block, tap, rows, mark)
            if a.staging == WINDOWS:
                scan_windows(a, best, places, block, x, tap, rows, dtype, mark)
            for t in range(0 if a.staging == WINDOWS else rows):
                offset = (tap + t) * a.dilation_y * a.width + block[3] * a.dilation_x
                at = x + peek(a.row_of + 8 * t, int64)
                columns = fold_window_rows(a, scratch, block, at, 1, dtype, dtype, None)
                scan(best, places, columns, a.col_of, size, block[4], offset, a.dilation_x, n * a.lanes, dtype, mark)
            store_indexed(
                a, y, first, out_plane, idx_plane, best, places, scratch, top * a.width + left, n, dtype, mark
            )
            y += 1


@part
def store_indexed(a, y, first, out_plane, idx_plane, best, places, scratch, corner, n, dtype, mark):
    size = itemsize(dtype)
    out = out_plane + y * a.out_row + first * a.out_col
    idx = idx_plane + y * a.idx_row + first * a.idx_col
    move(out, a.out_col, a.out_lane, best, size * a.lanes, size, n, a.lanes, dtype)
    positions = idx if a.store_direct else scratch + a.stored
    if a.lanes == 1:
        positions_run(positions, places, n, corner, a.stride_x, mark)
    else:
        for i in range(n):
            at, to = places + i * a.lanes * itemsize(mark), positions + i * a.lanes * 8
            positions_run(to, at, a.lanes, corner + i * a.stride_x, int64(0), mark)
    if not a.store_direct:
        move(idx, a.idx_col, a.idx_lane, positions, 8 * a.lanes, 8, n, a.lanes, int64)


# -- kernels -------------------------------------------------------------------------------


def _element(dtype: str) -> types.Number:
    return types.uint8 if dtype == "bool" else getattr(types, dtype)


def max_pool(dtype: str, variant: str = "") -> Callable:
    """The kernel of maxima of elements of `dtype`."""
    kind = _element(dtype)

    def kernel(a, unit, worker):
        pool_unit(a, unit, a.scratch + worker * a.scratch_bytes, kind, kind, None)

    return kernel


def max_pool_indices(dtype: str, variant: str = "") -> Callable:
    """The kernel of maxima and their positions."""
    kind = _element(dtype)
    mark = types.int32 if kind.bitwidth <= 32 else types.int64

    def kernel(a, unit, worker):
        pool_unit_indices(a, unit, a.scratch + worker * a.scratch_bytes, kind, mark)

    return kernel


def avg_pool(dtype: str, variant: str = "") -> Callable:
    """The kernel of averages; the variant tells the bits in which integers are summed."""
    kind = _element(dtype)
    sign = "int" if kind in types.signed_domain or variant != "64" else "uint"
    acc = getattr(types, sign + variant) if variant else kind

    def kernel(a, unit, worker):
        pool_unit(a, unit, a.scratch + worker * a.scratch_bytes, kind, acc, True)

    return kernel


MAKERS = {"max_pool": max_pool, "max_pool_indices": max_pool_indices, "avg_pool": avg_pool}
