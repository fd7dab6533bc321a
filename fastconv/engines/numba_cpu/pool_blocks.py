"""Blocks of pooled pixels: rows of windows are found, prepared and folded, and then their columns.

`average` is None for maxima, and `prepared` for integers, whose rows are never converted, raised to powers or weighed:
both are decided when a kernel is compiled.  Tuples stand for

    a block of pixels       first, n    output pixels
                            left        column of the first one's window
                            tap, taps   taps that some pixel of the block needs
                            cols        columns from the first tap of the first pixel to the last tap of the last
    a row of windows        row, nz, ny   address of the first row, rows inside the input
                            weight_z, weight_y   addresses of the weights of planes and rows, 0 if there are none
"""

from __future__ import annotations

from numba import int64, types

from fastconv.engines.contract import DTYPE_CODES, POOL_STAGING
from fastconv.engines.numba_cpu.activation import slope_of
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.pooling import (
    copy_run,
    divide_run,
    fill_run,
    fold_run,
    lowest,
    reduce_run,
    split_run,
)
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke

__all__ = [
    "COUNTED",
    "FLAT",
    "TAPS",
    "WINDOW",
    "WINDOWS",
    "block_at",
    "fold_window_rows",
    "identity_run",
    "move",
    "number_at",
    "place_of_row",
    "pool_block",
    "put",
    "row_in_window",
    "rows_at",
    "steps_to",
]

FLAT, GATHER, WINDOWS = (POOL_STAGING[name] for name in ("flat", "gather", "windows"))
LAST_NUMBER = DTYPE_CODES["float64"]
# Numbers of a window in its table, in bytes.
FIRST, TAPS, COUNTED, END, WINDOW = 0, 8, 16, 24, 32
ROWS_AT_ONCE = 8  # tall windows are folded a few rows at a time: the processor prefetches only so many streams
TAPS_BYTES = 16384  # pixels of many lanes are folded so many bytes at a time


@inlined
def steps_to(position, limit, step):
    # The smallest i >= 0 with position + i * step >= limit.
    if position >= limit:
        return int64(0)
    return limit - position if step == 1 else (limit - position + step - 1) // step


@inlined
def number_at(address):
    return peek(address, int64)


@part
def block_at(a, first):
    n = min(a.block, a.out_width - first)
    if a.stride_x == 0:  # windows vary
        if a.window_step:
            return first, n, int64(0), int64(0), int64(1), a.width
        left, last = number_at(a.windows_x + first * WINDOW), a.windows_x + (first + n - 1) * WINDOW
        return first, n, left, int64(0), int64(1), number_at(last) + number_at(last + TAPS) - left
    left = first * a.stride_x - a.pad_x
    tap = min(a.kernel_x - 1, steps_to(left + (n - 1) * a.stride_x, 0, a.dilation_x))
    taps = max(1, min(a.kernel_x, steps_to(left, a.width, a.dilation_x)) - tap)
    return first, n, left, tap, taps, (n - 1) * a.stride_x + (taps - 1) * a.dilation_x + 1


@part
def place_of_row(a, row):
    # Rows are counted over all planes: the row in its plane, the plane, and where planes and tables of windows begin.
    plane = row // a.out_height
    y = row - plane * a.out_height
    plane, z = plane // a.out_depth, plane % a.out_depth
    n, c = plane // a.channels, plane % a.channels
    tables = a.bias + plane * a.window_step if a.window_step else int64(0)
    return (
        z,
        y,
        a.x + n * a.x_n + c * a.x_c,
        a.out + n * a.out_n + c * a.out_c + z * a.out_z + y * a.out_row,
        a.w + n * a.idx_n + c * a.idx_c + z * a.idx_z + y * a.idx_row,
        tables,
    )


@part
def rows_at(a, z, y, plane, tables):
    # The row of windows there.
    of_z, of_y = tables + a.windows_z + z * WINDOW, tables + a.windows_y + y * WINDOW
    nz, ny, z, y = number_at(of_z + TAPS), number_at(of_y + TAPS), number_at(of_z), number_at(of_y)
    if nz <= 0 or ny <= 0:
        nz = ny = int64(0)
    weights = (int64(0), int64(0))
    if a.weights:
        weights = (a.weights + 8 * (a.height + a.width + z), a.weights + 8 * y)
    return plane + z * a.x_z + y * a.x_row, nz, ny, weights[0], weights[1]


@inlined
def row_in_window(a, rows, z, y):
    return rows[0] + z * a.dilation_z * a.x_z + number_at(a.row_of + 8 * y)


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


# -- rows on their way ---------------------------------------------------------------------


@part
def prepare(a, dst, src, column, n, weight, acc):
    # n pixels as accumulators without gaps: converted, raised to a power, weighed.
    count, lane, size = a.lanes, a.x_lane, itemsize(acc) if a.src_code <= LAST_NUMBER else int64(2)
    times = n
    if count == 1 or (lane == size and a.x_col == count * size):
        count, times, lane = n * count, int64(1), a.x_col if count == 1 else lane
    for i in range(times):
        load_run(dst + i * count * itemsize(acc), src + i * a.x_col, lane, count, a.src_code, acc)
    power = slope_of(a.power)
    for i in range(n * a.lanes if power != 0 and power != 1 else 0):
        value = peek(dst + i * itemsize(acc), acc)
        raised = value * value if power == 2 else value * value * value if power == 3 else value ** acc(power)
        poke(dst + i * itemsize(acc), acc(raised))
    for i in range(n if a.weights else 0):
        by = acc(peek(a.weights + 8 * (a.height + column + i), types.float64) * weight)
        for c in range(i * a.lanes, (i + 1) * a.lanes):
            poke(dst + c * itemsize(acc), acc(peek(dst + c * itemsize(acc), acc) * by))


@part
def put(a, out, src, pitch, n, acc, prepared):
    # The way back; a pixel's elements begin `pitch` elements after those of the one before.
    if prepared is not None and a.src_code > LAST_NUMBER:
        for i in range(1 if a.lanes == 1 else n):
            step, count = (a.out_col, n) if a.lanes == 1 else (a.out_lane, a.lanes)
            store_run(out + i * a.out_col, step, src + i * pitch * itemsize(acc), count, a.src_code, acc)
    else:
        size = itemsize(acc)
        move(out, a.out_col, a.out_lane, src, size * pitch, size, n, a.lanes, acc)


@part
def root(a, dst, n, acc):
    power, times = slope_of(a.power), acc(a.rows * a.kernel_x)
    for i in range(n if power != 0 else 0):
        value = peek(dst + i * itemsize(acc), acc) * times
        poke(
            dst + i * itemsize(acc),
            value if power == 1 else value ** acc(0.5) if power == 2 else value ** acc(1 / power),
        )


# -- windows -------------------------------------------------------------------------------


@part
def fold_columns(a, dst, gathered, rows, z, nz, y, ny, column, step, n, dtype, acc, average, prepared):
    # Pixels at column, column + step, ..., each folded over some rows of the window.
    size, pixel = itemsize(dtype), itemsize(acc) * a.lanes
    some = nz > 0 and ny > 0
    begin = min(n, steps_to(column, 0, step)) if some else int64(0)
    end = min(n, steps_to(column, a.width, step)) if some else int64(0)
    low, pixels, inside = column + begin * step, end - begin, dst + begin * pixel
    identity_run(dst, begin * a.lanes, acc, average)
    flat = a.staging == FLAT
    together = int64(ROWS_AT_ONCE if flat else 1)
    for t in range(nz * (-(-ny // together)) if pixels > 0 else 0):
        groups = -(-ny // together)
        tz, ty = t // groups, t % groups * together
        src = row_in_window(a, rows, z + tz, y + (0 if flat else ty)) + low * a.x_col
        if flat:
            at = a.row_of + 8 * ty
            fold(inside, src, at, 1, min(together, ny - ty), pixels * a.lanes, t > 0, acc, dtype, average)
            continue
        if prepared is None or a.staging == GATHER:
            move(gathered, size * a.lanes, size, src, step * a.x_col, a.x_lane, pixels, a.lanes, dtype)
        else:
            weight = 1.0
            if a.weights:
                weight = peek(rows[3] + 8 * (z + tz), types.float64) * peek(rows[4] + 8 * (y + ty), types.float64)
            prepare(a, gathered, src, low, pixels, weight, acc)
        fold(inside, gathered, a.row_of, 1, 1, pixels * a.lanes, t > 0, acc, dtype, average)
    identity_run(dst + end * pixel, (n - end) * a.lanes, acc, average)


@part
def fold_window_rows(a, scratch, block, rows, z, nz, y, ny, dtype, acc, average, prepared):
    # The columns of a block's windows, folded over rows; those of each stride phase together.
    _, _, left, tap, taps, cols = block
    size, column, step = itemsize(acc), left + tap * a.dilation_x, max(a.stride_x, 1)
    pixel, phase = size * a.lanes, a.phase * size
    phases, used = scratch + a.phases, min(step, (taps - 1) * a.dilation_x + 1)
    together = step == 1 or a.staging != GATHER  # phases are parted after the fold
    folded, by = (scratch + a.folded, int64(1)) if together else (phases, step)
    for i in range(1 if together else used):
        n, to = (cols - i + by - 1) // by, folded + i * phase
        gathered = scratch + a.gathered
        fold_columns(a, to, gathered, rows, z, nz, y, ny, column + i, by, n, dtype, acc, average, prepared)
    if step == 2 and a.lanes == 1 and together:
        split_run(phases, phases + phase, folded, (cols + 1) // 2, acc)
    elif step > 1 and together:
        for i in range(used):
            n = (cols - i + step - 1) // step
            move(phases + i * phase, pixel, size, folded + i * pixel, pixel * step, size, n, a.lanes, acc)
    return folded if step == 1 else phases


@part
def fold_windows(a, dst, block, rows, windows, dtype, acc, average):
    # Window by window, where they lie: those at the edges row by row.
    whole = a.rows * a.kernel_x
    bytes_of_pixel = a.lanes * itemsize(dtype)
    together = whole if bytes_of_pixel <= 256 else max(TAPS_BYTES // bytes_of_pixel, 8)
    for i in range(block[1]):
        window = windows + (block[0] + i) * WINDOW
        column, taps = number_at(window) * a.x_col, number_at(window + TAPS)
        nz, ny = rows[1], rows[2]
        is_whole = nz * ny == a.rows and taps == a.kernel_x
        if taps <= 0 or nz <= 0:
            identity_run(dst, a.lanes, acc, average)
            nz = int64(0)
        for t in range(-(-whole // together) if is_whole else nz * ny):
            if is_whole:
                at, src, length = a.window_of + 8 * t * together, rows[0] + column, min(together, whole - t * together)
            else:
                at, src, length = a.window_of, row_in_window(a, rows, t // ny, t % ny) + column, taps
            fold(dst, src, at, 1, length, a.lanes, t > 0, acc, dtype, average)
        dst += itemsize(acc) * a.lanes


@part
def fold_regions(a, dst, folded, left, first, n, windows, acc, average):
    # The columns of windows that vary, of rows that are folded.
    size, vectors = itemsize(acc), 4 * VECTOR_BYTES // itemsize(acc)
    for i in range(n):
        window = windows + (first + i) * WINDOW
        taps, src = number_at(window + TAPS), folded + (number_at(window) - left) * size * a.lanes
        if a.lanes > 1 and taps > 0:
            fold(dst, src, a.col_of, size, taps, a.lanes, False, acc, acc, average)
        else:
            identity_run(dst, a.lanes, acc, average)
        if a.lanes == 1:
            total = peek(dst, acc)
            done = taps // vectors * vectors
            if done > 0:
                total = reduce_run(src, done, acc, average)
            for t in range(max(done, 0), taps):
                value = peek(src + t * size, acc)
                if average is not None:
                    total += value
                elif value > total or value != value:
                    total = value
            poke(dst, acc(total))
        dst += size * a.lanes


@part
def divide_block(a, dst, src, block, rows_counted, windows, dtype, acc):
    # Windows of which as many taps count have one divisor.
    first, n, _, _, _, _ = block
    i = int64(0)
    while i < n:
        window = windows + (first + i) * WINDOW
        run = n if a.divisor > 0 else min(n, number_at(window + END) - first) - i
        divisor = a.divisor if a.divisor > 0 else rows_counted * number_at(window + COUNTED)
        to, at = dst + i * itemsize(dtype) * a.lanes, src + i * itemsize(acc) * a.lanes
        divide_run(to, at, run * a.lanes, divisor, dtype, acc)
        i += run


@part
def pool_block(a, scratch, block, rows, windows, rows_counted, out, dtype, acc, average, prepared):
    target = out if a.store_direct else scratch + a.stored
    divided = average is not None and a.divisor >= 0
    result = scratch + a.result if divided else target
    if a.staging == WINDOWS:
        fold_windows(a, result, block, rows, windows, dtype, acc, average)
    elif a.stride_x == 0 and a.staging == FLAT and rows[1] * rows[2] == 1 and itemsize(dtype) == itemsize(acc):
        fold_regions(a, result, rows[0], int64(0), block[0], block[1], windows, acc, average)
    else:
        columns = fold_window_rows(a, scratch, block, rows, 0, rows[1], 0, rows[2], dtype, acc, average, prepared)
        if a.stride_x == 0:
            fold_regions(a, result, columns, block[2], block[0], block[1], windows, acc, average)
        else:
            fold(result, columns, a.col_of, itemsize(acc), block[4], block[1] * a.lanes, False, acc, acc, average)
    if average is not None:
        if divided:
            divide_block(a, target, result, block, rows_counted, windows, dtype, acc)
        if prepared is not None:
            root(a, target, block[1] * a.lanes, acc)
    if not a.store_direct:
        put(a, out, target, a.lanes, block[1], dtype, prepared)
