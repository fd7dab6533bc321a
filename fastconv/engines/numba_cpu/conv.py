"""Convolution with many filters: a matrix product of weights and windows, which are never laid out as a matrix.

A unit is a box of output pixels of one image and one plane (or the planes of several small images), with a chunk of a
group's filters.  What its windows read is staged once, a block of channels at a time, unless it can be read where it lies;
each element of a window is then found by an offset.  Sums of several blocks are kept in scratch; the last ones are stored
where they belong if they lie there as they do in registers, else by way of one tile.

Lanes are filters: staged pixels are [plane][row][column][channel], weights are packed [block of filters][k][lane], with
k = (plane, row, column, channel) for each block of channels.
Lanes are pixels: staged planes are [channel][plane][phases of rows and columns][row][column]; rows of outputs are one flat
run of positions, those beyond the end of a row computed in vain.  Weights are read as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import CONV_FIELDS
from fastconv.engines.numba_cpu.activation import LAST_RECTIFIED, activate_run, slope_of
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.product import COLS, ROWS, filters_product, pixels_product
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke
from fastconv.engines.numba_cpu.stage import mapped, source_row, stage_row

__all__ = ["FIELDS", "GEMM", "MAKERS"]

FIELDS = CONV_FIELDS

# Products that are summed apart: rounding errors grow with how many are summed in a row.
MOST_APART = 128
ROW_BYTES = COLS * VECTOR_BYTES
GEMM = (ROWS, ROW_BYTES)
# Weights that stay in the second cache beside what passes through it: all filters of a tile of pixels before the next pixels.
NEAR_WEIGHTS = 256 * 1024


@inlined
def evenly_spaced(offsets, n):
    # Complex parts of channels that are not next to each other are not.
    span = peek(offsets + 8 * (n - 1), int64) - peek(offsets, int64)
    return n < 3 or span == (n - 1) * (peek(offsets + 8, int64) - peek(offsets, int64))


@inlined
def parted(i, parts, size, step):
    # Part i of so many, of multiples of `step`, and its size; the last has what is left.
    first = i * (size // step) // parts * step
    return first, (size if i + 1 == parts else (i + 1) * (size // step) // parts * step) - first


@part
def conv_row(a, plane, z, y):
    # The row at a position of a volume, 0 for the fill value.
    at = mapped(a.map_z, z, a.depth, a.pad_z)
    return int64(0) if at < 0 else source_row(a, plane + at * a.x_plane, y)


@inlined
def staged_until(outputs, stride, taps, dilation, phase, step):
    # How many positions phase, phase + step, ... there are in the windows of neighbouring outputs.
    return ((outputs - 1) * stride + (taps - 1) * dilation - phase) // step + 1


@part
def activate_sums(sums, n, code, slope, acc):
    # Those that were not applied in registers.
    if code > LAST_RECTIFIED:
        activate_run(sums, n, code, slope_of(slope), acc)


# -- lanes are filters ---------------------------------------------------------------------


@part
def stage_pixels(a, to, image, channel_of, z, y, x, rows, cols, first, channels, acc):
    # The windows of rows x cols outputs from (z, y, x) on: [plane][row][column][channel].
    size, offset = itemsize(acc), peek(channel_of, int64)
    n_rows = staged_until(rows, a.stride_y, a.kernel_y, a.dilation_y, 0, a.step_y)
    n_cols = staged_until(cols, a.stride_x, a.kernel_x, a.dilation_x, 0, a.step_x)
    step = peek(channel_of + 8, int64) - offset if channels > 1 else a.x_col
    even, left = evenly_spaced(channel_of, channels), x * a.stride_x - a.pad_x
    dense = even and a.step_x == 1 and channels == a.block_channels and a.x_col == step * channels
    for plane_row in range(a.kernel_z * n_rows):
        tz, row = plane_row // n_rows, plane_row % n_rows
        pixel = to + (tz * a.rows + row) * a.pitch * size
        position = y * a.stride_y - a.pad_y + row * a.step_y
        line = conv_row(a, image + offset, z * a.stride_z - a.pad_z + tz * a.dilation_z, position)
        col = int64(0)
        while col < n_cols:
            at, run = left + col * a.step_x, int64(1)
            if line != 0 and dense and 0 <= at < a.width:
                run = min(n_cols - col, a.width - at)
            at = int64(-1) if line == 0 else mapped(a.map_x, at, a.width, a.pad_x)
            i, n = int64(0), run * channels if even else 1
            while i < run * channels:
                if at < 0:
                    poke(pixel + i * size, peek(a.fill + (first + i) % a.n_fills * size, acc))
                    i += 1
                    continue
                source = line + at * a.x_col + (0 if even else peek(channel_of + 8 * i, int64) - offset)
                load_run(pixel + i * size, source, step, n, a.src_code, acc)
                i += n
            pixel += run * a.block_channels * size
            col += run


@part
def filters_tile(w, src, pixel_of, run_of, runs, length, start, start_step, to, to_of, width, code, slope, left, acc):
    return filters_product(
        w, src, pixel_of, run_of, runs, length, start, start_step, to, to_of, width, int64(MOST_APART), code, slope_of(slope),
        left, acc,
    )  # fmt: skip


@part
def store_pixels(a, tile, out, filter_of, out_of, pixels, filters, acc):
    # A tile whose rows are pixels.
    size, first = itemsize(acc), peek(filter_of, int64)
    step = peek(filter_of + 8, int64) - first if filters > 1 else a.out_col
    n = filters if evenly_spaced(filter_of, filters) else 1
    for p in range(pixels):
        sums, to = tile + p * ROW_BYTES, out + peek(out_of + 8 * p, int64)
        activate_sums(sums, filters, a.activation, a.slope, acc)
        for f in range(0, filters, n):
            store_run(to + peek(filter_of + 8 * f, int64), step, sums + f * size, n, a.out_code, acc)


@inlined
def conv_filters(a, image, out, channel_of, filter_of, group, first, filters, z, y, x, rows, cols, tile, acc):
    size, row_bytes = itemsize(acc), int64(ROW_BYTES)
    lanes, taps, plane = row_bytes // size, a.kernel_z * a.kernel_y * a.kernel_x, rows * cols
    n, staged_image = a.images * plane, a.kernel_z * a.rows * a.pitch * size
    blocks, blocks_of_group = (filters + lanes - 1) // lanes, (a.filters + lanes - 1) // lanes
    staged, sums, pixel_of = tile + ROWS * row_bytes, tile + a.sums, tile + a.tables
    out_of, tile_of, sums_of = pixel_of + 8 * n, pixel_of + 16 * n, pixel_of + 16 * n + 8 * ROWS
    down, right, src = a.stride_y * a.x_row, a.stride_x * a.x_col, staged
    if a.in_place:
        src = image + peek(channel_of, int64) + z * a.stride_z * a.x_plane + y * down + x * right
    else:
        down, right = a.stride_y // a.step_y * a.pitch * size, a.stride_x // a.step_x * a.block_channels * size
    apart = a.x_image if a.in_place else staged_image
    for i in range(n):
        row, col = i % plane // cols, i % cols
        poke(pixel_of + 8 * i, i // plane * apart + row * down + col * right)
        poke(out_of + 8 * i, i // plane * a.out_image + (y + row) * a.out_row + (x + col) * a.out_col)
    for i in range(ROWS):
        poke(tile_of + 8 * i, i * row_bytes)
        poke(sums_of + 8 * i, i * blocks * row_bytes)
    runs, inner = taps // a.joined, blocks * a.w_rows * row_bytes <= NEAR_WEIGHTS
    for c in range(0, a.channels, a.block_channels):
        channels = min(a.block_channels, a.channels - c)
        last = c + channels == a.channels
        for i in range(0 if a.in_place else a.images):
            at = staged + i * staged_image
            stage_pixels(a, at, image + i * a.x_image, channel_of + 8 * c, z, y, x, rows, cols, c, channels, acc)
        begin = int64(0)
        while begin < n:
            end, p = (begin + 1 if inner else n), begin
            for b in range(blocks):
                p = begin
                f = b * lanes
                some, block = min(lanes, filters - f), group * blocks_of_group + (first + f) // lanes
                w = a.w + (block * a.w_rows + c * taps) * row_bytes
                while p < end:
                    done = sums + (p * blocks + b) * row_bytes
                    start = done if c > 0 else a.bias + block * row_bytes
                    to, to_of, width = done, sums_of, lanes
                    if last:
                        to, to_of = tile, tile_of
                        if a.store_direct:
                            to, to_of, width = out + peek(filter_of + 8 * f, int64), out_of + 8 * p, some
                    height = filters_tile(
                        w, src, pixel_of + 8 * p, a.offsets, runs, a.joined * channels, start, blocks * row_bytes if c > 0 else 0,
                        to, to_of, width, a.activation if last else 0, a.slope, n - p, acc,
                    )  # fmt: skip
                    if last and a.store_direct:
                        for i in range(height if a.activation > LAST_RECTIFIED else 0):
                            activate_sums(to + peek(to_of + 8 * i, int64), some, a.activation, a.slope, acc)
                    elif last:
                        store_pixels(a, tile, out, filter_of + 8 * f, out_of + 8 * p, height, some, acc)
                    p += height
            begin = p


# -- lanes are pixels ----------------------------------------------------------------------


@part
def stage_planes(a, to, image, channel_of, z, y, x, rows, cols, first, channels, acc):
    # The windows of rows x cols outputs from (z, y, x) on: [channel][plane][phases][row][column].
    size, top, left = itemsize(acc), y * a.stride_y - a.pad_y, x * a.stride_x - a.pad_x
    for c in range(channels):
        fill = peek(a.fill + (first + c) % a.n_fills * size, acc)
        plane = image + peek(channel_of + 8 * c, int64)
        for i in range(a.kernel_z * a.n_phases_y):
            tz, down = i // a.n_phases_y, peek(a.phases + 8 * (i % a.n_phases_y), int64)
            n_rows = staged_until(rows, a.stride_y, a.kernel_y, a.dilation_y, down, a.step_y)
            for row in range(min(n_rows, a.rows)):
                line = conv_row(a, plane, z * a.stride_z - a.pad_z + tz * a.dilation_z, top + down + row * a.step_y)
                for px in range(a.n_phases_x):
                    right = peek(a.phases + 8 * (a.n_phases_y + px), int64)
                    n = min(a.pitch, staged_until(cols, a.stride_x, a.kernel_x, a.dilation_x, right, a.step_x))
                    stage_row(a, to + (px * a.rows + row) * a.pitch * size, line, fill, left + right, n, acc)
            to += a.n_phases_x * a.rows * a.pitch * size


@part
def pixels_tile(w, src, k_of, depth, w_step, start, start_step, resume, to, to_step, code, slope, left, acc):
    slope = slope_of(slope)
    return pixels_product(w, src, k_of, depth, w_step, start, start_step, resume, to, to_step, code, slope, left, acc)


@part
def store_planes(a, tile, to, filter_of, cols, at, n, filters, acc):
    # A tile whose rows are filters: the positions at .. n - 1, those beyond the ends of rows left out.
    size, i, x = itemsize(acc), at, at % a.pitch
    to += at // a.pitch * a.out_row
    for f in range(filters if a.activation > LAST_RECTIFIED else 0):
        activate_sums(tile + f * ROW_BYTES, n - at, a.activation, a.slope, acc)
    while i < n:
        run = min(cols - x, n - i)
        for f in range(filters if run > 0 else 0):
            place = to + peek(filter_of + 8 * f, int64) + x * a.out_col
            store_run(place, a.out_col, tile + f * ROW_BYTES + (i - at) * size, run, a.out_code, acc)
        i, to, x = i + a.pitch - x, to + a.out_row, int64(0)


@inlined
def conv_pixels(a, image, out, channel_of, filter_of, group, first, filters, z, y, x, rows, cols, tile, acc):
    size, row_bytes = itemsize(acc), int64(ROW_BYTES)
    width, taps, n = row_bytes // size, a.kernel_z * a.kernel_y * a.kernel_x, (rows - 1) * a.pitch + cols
    depth, pitch = a.channels * taps, (n + width - 1) // width * row_bytes
    staged, sums, corner = tile + ROWS * row_bytes, tile + a.sums, out + y * a.out_row + x * a.out_col
    step = peek(filter_of + 8, int64) - peek(filter_of, int64) if filters > 1 else int64(0)
    flat, src = a.store_direct > 1 and n >= width, staged
    if a.in_place:
        src = image + peek(channel_of, int64) + z * a.stride_z * a.x_plane + y * a.stride_y * a.x_row + x * a.x_col
    for c in range(0, a.channels, a.block_channels):
        channels = min(a.block_channels, a.channels - c)
        last = c + channels == a.channels
        if a.in_place == 0:
            stage_planes(a, staged, image, channel_of + 8 * c, z, y, x, rows, cols, c, channels, acc)
        f = int64(0)
        while f < filters:
            w, height = a.w + ((group * a.filters + first + f) * depth + c * taps) * size, int64(0)
            for p in range(0, n, width):
                # Nothing beyond the last position is read, or written.
                at = min(p, n - width) if a.in_place or (flat and last) else p
                direct = flat or (a.store_direct != 0 and at % a.pitch + width <= cols)
                done = sums + f * pitch + at * size
                start = done if c > 0 else a.bias + (group * a.filters + first + f) * size
                to, to_step = done, pitch
                if last:
                    to, to_step = tile, row_bytes
                    if direct:
                        row = corner + at // a.pitch * a.out_row + at % a.pitch * a.out_col
                        to, to_step = row + peek(filter_of + 8 * f, int64), step
                height = pixels_tile(
                    w, src + at * size, a.offsets, channels * taps, depth * size, start, pitch, c, to, to_step,
                    a.activation if last else 0, a.slope, filters - f, acc,
                )  # fmt: skip
                if last and direct:
                    for i in range(height if a.activation > LAST_RECTIFIED else 0):
                        activate_sums(to + i * step, width, a.activation, a.slope, acc)
                elif last:
                    store_planes(a, tile, corner, filter_of + 8 * f, cols, at, min(n, at + width), height, acc)
            f += height


def make(acc: str, variant: str) -> Callable:
    """The convolution kernel that sums in `acc`, whose lanes are ``"filters"`` or ``"pixels"``.

    Either takes about half as long to compile as both in one.
    """
    acc_type = getattr(types, acc)
    by_filters = variant == "filters"
    conv_box = conv_filters if by_filters else conv_pixels

    def kernel(a, unit, worker):
        # Units run over (image, group, plane, rows, columns, chunk of filters).
        width = int64(ROW_BYTES) // itemsize(acc_type)
        chunk, rest = unit % a.n_chunks, unit // a.n_chunks
        col, rest = rest % a.n_col_units, rest // a.n_col_units
        row, rest = rest % a.n_row_units, rest // a.n_row_units
        z, rest = rest % a.out_depth, rest // a.out_depth
        group, n = rest % a.groups, rest // a.groups
        x, cols = parted(col, a.n_col_units, a.out_width, int64(ROWS) if by_filters else width)
        y, rows = parted(row, a.n_row_units, a.out_height, int64(1))
        first, filters = parted(chunk, a.n_chunks, a.filters, width if by_filters else int64(2))
        image, out = a.x + n * a.images * a.x_image, a.out + n * a.images * a.out_image + z * a.out_plane
        channels, those = a.channel_of + 8 * group * a.channels, a.out_filter_of + 8 * (group * a.filters + first)
        tile = a.scratch + worker * a.scratch_bytes
        conv_box(a, image, out, channels, those, group, first, filters, z, y, x, rows, cols, tile, acc_type)

    return kernel


MAKERS = {"conv": make}
