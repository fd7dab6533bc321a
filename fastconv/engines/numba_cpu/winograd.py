"""Winograd's minimal filtering: 3x3 taps and stride 1, m x m outputs (a tile) at once.

A unit is some rows of tiles, of one image or of several, of one group, with a chunk of its filters.  Their windows are
staged as pixels, [row][column][channel], whatever lies beyond the border with them; each tile is taken at (m + 2)^2
points, and the products there of all tiles, channels and filters are one matrix product for each point.
Weights are packed [block of filters][point][channel][lane].
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan

from numba import int64, types

from fastconv.engines.contract import WINOGRAD_FIELDS
from fastconv.engines.numba_cpu.activation import activate_run, slope_of
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.points import take
from fastconv.engines.numba_cpu.product import COLS, filters_product
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke, tile_load, tile_store
from fastconv.engines.numba_cpu.stage import mapped, source_row, stage_row
from fastconv.engines.numba_cpu.winograd_weights import channel_points, plain_taps

__all__ = ["FIELDS", "MAKERS"]

FIELDS = WINOGRAD_FIELDS

ROW_BYTES = COLS * VECTOR_BYTES
# Products of channels that are summed apart, see the C twin.
PRODUCTS_APART = 24


@part
def stage_row_pixels(a, to, row, beyond, n, cols, acc):
    # A row of pixels from pixels.
    size = itemsize(acc)
    for col in range(cols):
        at = int64(-1) if row == 0 or col >= n else mapped(a.map_x, col - a.pad_x, a.width, a.pad_x)
        if at >= 0:
            load_run(to, row + at * a.x_col, a.x_channel, a.channels, a.src_code, acc)
        for c in range(0 if at < 0 else a.channels, a.pitch):
            poke(to + c * size, beyond if c < a.channels and col < n else acc(0))
        to += a.pitch * size


@part
def stage_row_planes(a, to, lines, row, beyond, n, cols, acc):
    # A row of all channels from planes, channel by channel.
    size = itemsize(acc)
    for c in range(a.pitch):
        known = n if c < a.channels else int64(0)
        if known > 0:
            stage_row(a, lines, int64(0) if row == 0 else row + c * a.x_channel, beyond, -a.pad_x, n, acc)
        for col in range(cols):
            poke(to + (col * a.pitch + c) * size, peek(lines + col * size, acc) if col < known else acc(0))


@part
def stage_strip(a, to, lines, group, image, first, rows, acc):
    # The windows of rows of tiles of an image.  What only tiles reach that stick out of the output is 0.
    cols, size = a.tile_cols * a.tile + 2, itemsize(acc)
    n = min(cols, a.out_width + 2)
    channels = a.x + image * a.x_image + group * a.channels * a.x_channel
    for i in range(rows * a.tile + 2):
        position, row, beyond = first * a.tile + i, int64(0), peek(a.fill, acc)
        if position < a.out_height + 2:
            row = source_row(a, channels, position - a.pad_y)
        else:
            beyond = acc(0)
        if a.planes:
            stage_row_planes(a, to, lines, row, beyond, n, cols, acc)
        else:
            stage_row_pixels(a, to, row, beyond, n, cols, acc)
        to += cols * a.pitch * size


@part
def window_points(a, window, row, values, zeros, acc):
    # A tile of all channels, at the points.
    size = itemsize(acc)
    col, step, n = a.pitch * size, a.step * size, a.tile + 2
    for c in range(0, col, int64(VECTOR_BYTES)):
        if a.tile == 2:
            take("window", 2, window + c, row, col, zeros, values + c, n * step, step, acc)
        else:
            take("window", 4, window + c, row, col, zeros, values + c, n * step, step, acc)


@part
def products(w, src, pixel_of, run_of, length, start, start_step, to, to_of, width, left, acc):
    most = int64(PRODUCTS_APART)
    return filters_product(
        w, src, pixel_of, run_of, int64(1), length, start, start_step, to, to_of, width, most, int64(0), 0.0,
        left, acc,
    )  # fmt: skip


@part
def point_sums(a, values, step, bias, to, row, acc):
    # The sums of a tile, and whether one of them is not finite.
    n, lost = a.tile + 2, int64(0)
    for f in range(0, int64(ROW_BYTES), int64(VECTOR_BYTES)):
        if a.tile == 2:
            lost += take("sums", 2, values + f, n * step, step, bias + f, to + f, row, int64(ROW_BYTES), acc)
        else:
            lost += take("sums", 4, values + f, n * step, step, bias + f, to + f, row, int64(ROW_BYTES), acc)
    return lost


@part
def windows_hold_nan(a, window, window_row, acc):
    # Whether the window of each output of a tile holds a NaN: so do all sums, whatever the weights.
    size = itemsize(acc)
    for i in range(a.tile * a.tile):
        found, k = False, int64(0)
        while k < 9 * a.channels and not found:
            y, x = i // a.tile + k // a.channels // 3, i % a.tile + k // a.channels % 3
            value = peek(window + y * window_row + (x * a.pitch + k % a.channels) * size, acc)
            found, k = value != value, k + 1
        if not found:
            return False
    return True


@part
def window_sums(a, window, window_row, w, taps, bias, to, row, kernel, zeros, acc):
    # The sums of a tile directly: NaN and infinity stay in their windows.  Weights are `taps`, or those at the points.
    size, step, n = itemsize(acc), a.pitch * int64(ROW_BYTES), a.tile + 2
    three = 3 * int64(VECTOR_BYTES)
    if windows_hold_nan(a, window, window_row, acc):
        for i in range(a.tile * a.tile):
            for f in range(0, int64(ROW_BYTES), size):
                poke(to + i // a.tile * row + i % a.tile * int64(ROW_BYTES) + f, acc(nan))
        return
    for f in range(0, int64(ROW_BYTES), int64(VECTOR_BYTES)):
        for i in range(a.tile * a.tile):
            at = to + i // a.tile * row + i % a.tile * int64(ROW_BYTES) + f
            tile_store(tile_load(bias + f, int64(0), acc, 1, 1), at, int64(0))
        for c in range(a.channels):
            line = c * int64(ROW_BYTES) + f
            if taps != 0:
                for k in range(9):
                    tap = tile_load(taps + k * step + line, int64(0), acc, 1, 1)
                    tile_store(tap, kernel + k * int64(VECTOR_BYTES), int64(0))
            elif a.tile == 2:
                take("back", 2, w + line, n * step, step, zeros, kernel, three, int64(VECTOR_BYTES), acc)
            else:
                take("back", 4, w + line, n * step, step, zeros, kernel, three, int64(VECTOR_BYTES), acc)
            for i in range(a.tile * a.tile * 9):
                y, x, ky, kx = i // 9 // a.tile, i // 9 % a.tile, i % 9 // 3, i % 3
                value = peek(window + (y + ky) * window_row + ((x + kx) * a.pitch + c) * size, acc)
                at = to + y * row + x * int64(ROW_BYTES) + f
                tap = tile_load(kernel + i % 9 * int64(VECTOR_BYTES), int64(0), acc, 1, 1)
                tile_store(tile_load(at, int64(0), acc, 1, 1) + tap * value, at, int64(0))


@part
def activate_sums(a, sums, n, acc):
    if a.activation != 0:
        activate_run(sums, n, a.activation, slope_of(a.slope), acc)


@part
def store_sums(a, to, step, sums, n, acc):
    store_run(to, step, sums, n, a.out_code, acc)


@part
def store_pixels(a, sums, row, out, rows, cols, filters, acc):
    for i in range(rows * cols):
        at, to = (
            sums + i // cols * row + i % cols * int64(ROW_BYTES),
            out + i // cols * a.out_row + i % cols * a.out_col,
        )
        store_sums(a, to, a.out_filter, at, filters, acc)


@part
def store_planes(a, sums, row, lines, out, rows, filters, acc):
    size = itemsize(acc)
    for y in range(rows):
        for f in range(filters):
            for x in range(a.out_width):
                poke(lines + x * size, peek(sums + y * row + x * int64(ROW_BYTES) + f * size, acc))
            store_sums(a, out + y * a.out_row + f * a.out_filter, a.out_col, lines, a.out_width, acc)


@inlined
def strip_at(a, row, end):
    # The image of a row of tiles, the row in it, and how many rows there are before the image or the unit ends.
    first = row % a.tile_rows
    return row // a.tile_rows, first, min(end - row, a.tile_rows - first)


@part
def values_of_strips(a, staged, group, begin, end, acc):
    # The unit's tiles, staged and taken at the points.
    m, pixel, row, at = a.tile, a.pitch * itemsize(acc), begin, staged
    line = (a.tile_cols * m + 2) * pixel
    while row < end:
        image, first, rows = strip_at(a, row, end)
        stage_strip(a, at, staged + a.lines, group, image, first, rows, acc)
        for t in range(rows * a.tile_cols):
            window = at + t // a.tile_cols * m * line + t % a.tile_cols * m * pixel
            values = staged + a.values + ((row - begin) * a.tile_cols + t) * pixel
            window_points(a, window, line, values, staged + a.tables, acc)
        at, row = at + (rows * m + 2) * line, row + rows


@part
def block_products(a, staged, w, w_step, first, depth, tiles, acc):
    # At each point, of `depth` channels from the `first` on of all tiles with the filters of a block.
    size, row_bytes, zeros = itemsize(acc), int64(ROW_BYTES), staged + a.tables
    pixel_of = zeros + row_bytes + 8
    to_of = pixel_of + 8 * tiles
    for point in range((a.tile + 2) * (a.tile + 2)):
        line, values = w + point * w_step, staged + a.values + (point * a.step + first) * size
        to, t = staged + a.products + point * tiles * row_bytes, int64(0)
        while t < tiles:
            start, start_step = zeros, int64(0)
            if first > 0:
                start, start_step = to + t * row_bytes, row_bytes
            t += products(
                line, values, pixel_of + 8 * t, zeros + row_bytes, depth, start, start_step, to, to_of + 8 * t,
                row_bytes // size, tiles - t, acc,
            )  # fmt: skip


@part
def fresh_products(a, staged, w, filters, tiles, acc):
    # The same of all channels, some at a time, with weights that are taken at the points first.
    size, row_bytes, first = itemsize(acc), int64(ROW_BYTES), int64(0)
    turned = staged + a.weights
    fresh = turned + 10 * row_bytes
    while first < a.pitch:
        depth = min(a.some_channels, a.pitch - first)
        for c in range(depth):
            channel_points(a, w, first + c, filters, turned, fresh + c * row_bytes, a.some_step * size, acc)
        block_products(a, staged, fresh, a.some_step * size, first, depth, tiles, acc)
        first += depth


@part
def store_strip(a, staged, at, values, tiles, w, taps, bias, out, first, rows, some, acc):
    # The sums of rows of tiles of an image and a block of filters: stored tile by tile, or all together.
    m, row_bytes, sums = a.tile, int64(ROW_BYTES), staged + a.sums
    pixel, wide = a.pitch * itemsize(acc), row_bytes // itemsize(acc)
    line, height = (a.tile_cols * m + 2) * pixel, min(rows * m, a.out_height - first * m)
    sums_row = m * row_bytes if a.store_direct else a.tile_cols * m * row_bytes
    for t in range(rows * a.tile_cols):
        y, x, to = t // a.tile_cols * m, t % a.tile_cols * m, sums
        if a.store_direct == 0:
            to = sums + y * sums_row + x * row_bytes
        if point_sums(a, values + t * row_bytes, tiles * row_bytes, bias, to, sums_row, acc) != 0:
            window = at + y * line + x * pixel
            if a.w_filter != 0 and taps == 0:
                taps = staged + a.weights
                plain_taps(a, w, some, taps, acc)
            window_sums(a, window, line, w, taps, bias, to, sums_row, staged + a.lines, staged + a.tables, acc)
        if a.store_direct:
            activate_sums(a, to, m * m * wide, acc)
            corner = out + y * a.out_row + x * a.out_col
            store_pixels(a, to, sums_row, corner, min(m, height - y), min(m, a.out_width - x), some, acc)
    if a.store_direct == 0:
        activate_sums(a, sums, rows * m * a.tile_cols * m * wide, acc)
        if a.planes:
            store_planes(a, sums, sums_row, staged + a.lines, out, height, some, acc)
        else:
            store_pixels(a, sums, sums_row, out, height, a.out_width, some, acc)


def make(acc: str, variant: str = "") -> Callable:
    """The kernel of minimal filtering that sums in `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        # Units run over (group, strip, chunk of filters).
        size, row_bytes, points = itemsize(acc_type), int64(ROW_BYTES), (a.tile + 2) * (a.tile + 2)
        wide, all_rows = row_bytes // size, a.batch * a.tile_rows
        chunk, strip, group = unit % a.n_chunks, unit // a.n_chunks % a.n_strips, unit // a.n_chunks // a.n_strips
        begin, end = strip * all_rows // a.n_strips, (strip + 1) * all_rows // a.n_strips
        tiles, blocks, whole = (end - begin) * a.tile_cols, (a.filters + wide - 1) // wide, a.filters // wide
        staged = a.scratch + worker * a.scratch_bytes
        staged += -staged % 64
        tables = staged + a.tables + row_bytes  # behind a row of zeros
        for t in range(wide):
            poke(staged + a.tables + t * size, acc_type(0))
        poke(tables, int64(0))
        for t in range(tiles):
            poke(tables + 8 * (1 + t), t * a.pitch * size)
            poke(tables + 8 * (1 + tiles + t), t * row_bytes)
        values_of_strips(a, staged, group, begin, end, acc_type)
        matrix = a.pitch * row_bytes
        flags = a.w + a.groups * blocks * points * matrix
        # The last chunk has the filters that are no whole block, too.
        for b in range(
            chunk * whole // a.n_chunks, blocks if chunk + 1 == a.n_chunks else (chunk + 1) * whole // a.n_chunks
        ):
            block, taps = group * blocks + b, int64(0)
            bias, some = a.bias + block * row_bytes, min(wide, a.filters - b * wide)
            w = a.w + block * points * matrix
            if a.w_filter != 0:
                w = a.w + (group * a.filters * a.channels * 9 + b * wide * a.w_filter) * size
                fresh_products(a, staged, w, some, tiles, acc_type)
            else:
                if peek(flags + block * size, acc_type) != 0:
                    taps = flags + (a.groups * blocks + wide - 1) // wide * row_bytes + block * 9 * matrix
                block_products(a, staged, w, matrix, int64(0), a.pitch, tiles, acc_type)
            row, at = begin, staged
            while row < end:
                image, first, rows = strip_at(a, row, end)
                out = a.out + image * a.out_image + (group * a.filters + b * wide) * a.out_filter
                out += first * a.tile * a.out_row
                values = staged + a.products + (row - begin) * a.tile_cols * row_bytes
                store_strip(a, staged, at, values, tiles, w, taps, bias, out, first, rows, some, acc_type)
                at += (rows * a.tile + 2) * (a.tile_cols * a.tile + 2) * a.pitch * size
                row += rows

    return kernel


MAKERS = {"winograd": make}
