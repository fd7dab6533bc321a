"""Convolution of 8-bit numbers: exact sums of 32 bits, or those scaled and rounded to 8 bits again.

Lanes are filters (channels, if each has its own).  A unit is a box of output pixels of one image and one plane, with a chunk of
a group's filters.  What its windows read is staged once as pixels, [plane][row][column][channel], unless it can be read where
it lies.  If the output's channels are no neighbours, results are put into a box of pixels, which is transposed at the end.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int8, int16, int32, int64, uint8

from fastconv.engines.contract import CONV8_FIELDS, DTYPE_CODES
from fastconv.engines.numba_cpu.conv import parted, staged_until
from fastconv.engines.numba_cpu.dots import (
    DOT,
    TOGETHER,
    copy_line,
    depth_pixel,
    dots_product,
    eighths,
    turn_square,
)
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, peek, poke
from fastconv.engines.numba_cpu.stage import mapped, source_row

__all__ = ["DOT", "FIELDS", "MAKERS"]

FIELDS = CONV8_FIELDS

ROWS, ROW_BYTES, _ = DOT
LANES = ROW_BYTES // 4
INTS = VECTOR_BYTES // 4
CHANNELS = TOGETHER * INTS  # of a block of depthwise sums
DEPTH_ROWS = 14
INT8, INT32, UINT32 = (DTYPE_CODES[name] for name in ("int8", "int32", "uint32"))
# Places in the numbers that are the same for all filters.
FILLER, SHIFT, ZERO, WINDOWS, ZERO_POINT, LOW, HIGH = range(0, 28, 4)


@part
def turn(src, src_step, to, to_step, pixels, filters, size):
    # to[f * to_step + p * size] = src[p * src_step + f * size].
    for p in range(0, pixels, 16):
        first = max(min(p, pixels - 16), 0)
        for f in range(0, filters, 16):
            if size == 1 and first + 16 <= pixels and f + 16 <= filters:
                turn_square(src + first * src_step + f, src_step, to + f * to_step + first, to_step)
                continue
            for i in range(first, min(first + 16, pixels)):
                for j in range(f, min(f + 16, filters)):
                    copy_line(to + j * to_step + i * size, src + i * src_step + j * size, size)


@inlined
def widen(a, to, raw, n, shift):
    # Staged bytes, as unsigned (int8: 128 more), or less their zero point as wider numbers.
    if a.together == 4:
        for i in range(n if a.src_code == INT8 else 0):
            poke(to + i, uint8(peek(to + i, uint8) ^ 128))
        return
    for i in range(n):
        value = int32(peek(raw + i, int8)) if a.src_code == INT8 else int32(peek(raw + i, uint8))
        if a.together == 2:
            poke(to + 2 * i, int16(value - shift))
        else:
            poke(to + 4 * i, int32(value - shift))


@part
def stage_row_of_bytes(a, to, line, first, cols, channels, raw):
    # The pixels of a row (0: beyond the border) from position `first` on.
    pixel, col = a.pixel * a.together // 4, int64(0)
    pixels = to if a.together == 4 else raw
    while col < cols:
        at, run = first + col * a.step_x, int64(1)
        if line != 0 and 0 <= at < a.width:
            run = min(cols - col, (a.width - at + a.step_x - 1) // a.step_x)
        at = int64(-1) if line == 0 else mapped(a.map_x, at, a.width, a.pad_x)
        place = pixels + col * pixel
        if at < 0:
            for i in range(pixel):
                poke(place + i, uint8(peek(a.fill + FILLER, int32)))
        elif a.x_channel == 1 and pixel == channels and a.x_col * a.step_x == pixel:
            copy_line(place, line + at * a.x_col, run * pixel)
        elif a.x_channel == 1:
            for i in range(run):
                copy_line(place + i * pixel, line + (at + i * a.step_x) * a.x_col, channels)
        elif a.x_col == 1 and a.step_x == 1:
            turn(line + at, a.x_channel, place, pixel, channels, run, 1)
        else:
            for i in range(run * channels):
                p, c = i // channels, i % channels
                poke(place + p * pixel + c, peek(line + (at + p * a.step_x) * a.x_col + c * a.x_channel, uint8))
        col += run
    widen(a, to, raw, cols * pixel, peek(a.fill + SHIFT, int32))


@part
def stage_bytes(a, to, image, z, y, x, rows, cols, channels, raw):
    # The windows of rows x cols outputs from (z, y, x) on: [plane][row][column][channel].
    n_rows = staged_until(rows, a.stride_y, a.kernel_y, a.dilation_y, 0, a.step_y)
    n_cols = staged_until(cols, a.stride_x, a.kernel_x, a.dilation_x, 0, a.step_x)
    for plane_row in range(a.kernel_z * n_rows):
        tz, row = plane_row // n_rows, plane_row % n_rows
        at = mapped(a.map_z, z * a.stride_z - a.pad_z + tz * a.dilation_z, a.depth, a.pad_z)
        position = y * a.stride_y - a.pad_y + row * a.step_y
        line = int64(0) if at < 0 else source_row(a, image + at * a.x_plane, position)
        stage_row_of_bytes(a, to + tz * a.plane + row * a.row, line, x * a.stride_x - a.pad_x, n_cols, channels, raw)


@part
def round_row(a, sums, scale, offset, lanes, order, row):
    # A row of sums as bytes; those of channels are put back into their order.
    zero = int64(peek(a.fill + ZERO_POINT, int32))
    low, high = int64(peek(a.fill + LOW, int32)), int64(peek(a.fill + HIGH, int32))
    for i in range(0, lanes, INTS):
        eighths(sums + 4 * i, scale + 8 * i, offset + 8 * i, zero, low, high, row + 128 + i if order else row + i)
    for u in range(lanes // 4 if order else 0):
        copy_line(row + 4 * (u % (INTS // 4) * TOGETHER + u // (INTS // 4)), row + 128 + 4 * u, 4)


@part
def windows_of(a, src, pixel_of, n, to):
    # The sums of the elements of windows.
    for p in range(n):
        total = int32(0)
        for s in range(a.segments):
            at = src + peek(pixel_of + 8 * p, int64) + peek(a.segment_of + 8 * s, int64)
            for i in range(a.run):
                total += int32(peek(at + i, uint8))
        poke(to + 4 * p, int32(total))


@inlined
def starts(a, w, base, lanes, start):
    zero = peek(a.fill + ZERO, int32)
    for i in range(lanes):
        poke(start + 4 * i, int32(peek(base + 4 * i, int32) - zero * peek(w + 4 * i, int32)))


@part
def filters_block(a, src, pixel_of, out_of, windows, n, block, some, to, tile):
    # The results of up to LANES filters.  Constants of all lanes are [sums begin with][zero points][scales][offsets].
    depth, lanes = a.segments * a.quads * ROW_BYTES, a.groups * ((a.filters + LANES - 1) // LANES) * LANES
    w, base, start = a.w + block * (depth + ROW_BYTES), a.bias + 4 * block * LANES, tile + ROWS * ROW_BYTES
    scale = a.bias + 8 * lanes + 8 * block * LANES
    starts(a, w + depth, base, LANES, start)
    p = int64(0)
    while p < n:
        height = dots_product(w, src, pixel_of + 8 * p, a.segment_of, a.segments, a.quads, start, tile, n - p)
        for r in range(height):
            sums, place = tile + r * ROW_BYTES, to + peek(out_of + 8 * (p + r), int64)
            if peek(a.fill + WINDOWS, int32) != 0:
                window = peek(windows + 4 * (p + r), int32)
                for i in range(LANES):
                    less = peek(base + 4 * lanes + 4 * i, int32) * window
                    poke(sums + 4 * i, int32(peek(sums + 4 * i, int32) - less))
            if a.out_code == INT32 or a.out_code == UINT32:
                copy_line(place, sums, 4 * some)
            else:
                round_row(a, sums, scale, scale + 8 * lanes, LANES, 0, start + ROW_BYTES)
                copy_line(place, start + ROW_BYTES, some)
        p += height


@part
def channels_block(a, src, pixel_of, out_of, n, block, some, to, tile):
    # The results of a block of channels, of their own windows.
    depth, blocks = 4 * a.quads * CHANNELS, (a.filters * a.merged + CHANNELS - 1) // CHANNELS
    w, ones, lanes = a.w + block * (depth + 4 * CHANNELS), a.w + blocks * (depth + 4 * CHANNELS), blocks * CHANNELS
    base, scale = a.bias + 4 * block * CHANNELS, a.bias + 8 * lanes + 8 * block * CHANNELS
    start = tile + 4 * CHANNELS
    zero, windows = start + 4 * CHANNELS, start + 8 * CHANNELS
    starts(a, w + depth, base, CHANNELS, start)
    for i in range(CHANNELS):
        poke(zero + 4 * i, int32(0))
    for p in range(n):
        pixel = src + peek(pixel_of + 8 * p, int64)
        depth_pixel(w, pixel, a.segment_of, a.quads, start, tile)
        if peek(a.fill + WINDOWS, int32) != 0:
            depth_pixel(ones, pixel, a.segment_of, a.quads, zero, windows)
            for i in range(0, 4 * CHANNELS, 4):
                less = peek(base + 4 * lanes + i, int32) * peek(windows + i, int32)
                poke(tile + i, int32(peek(tile + i, int32) - less))
        round_row(a, tile, scale, scale + 8 * lanes, CHANNELS, 1, windows + 4 * CHANNELS)
        copy_line(to + peek(out_of + 8 * p, int64), windows + 4 * CHANNELS, some)


@part
def turn_results(a, box, out, y, x, rows, cols, filters, size):
    # Pixels of filters into the planes of the output.
    lines = int64(1) if cols == a.out_width and a.out_row == cols * a.out_col else rows
    for line in range(lines):
        n, to = rows * cols // lines, out + (y + line) * a.out_row + x * a.out_col
        at = box + line * n * filters * size
        if a.out_col == size:
            turn(at, filters * size, to, a.out_channel, n, filters, size)
            continue
        for i in range(n * filters):
            copy_line(to + i % filters * a.out_channel + i // filters * a.out_col, at + i * size, size)


def make(acc: str, variant: str = "") -> Callable:
    """The kernel: sums are of 32 bits."""

    def kernel(a, unit, worker):
        # Units run over (image, group, plane, rows, columns, chunk of filters).
        lanes, size = int64(CHANNELS if a.depthwise else LANES), 4 if a.out_code == INT32 or a.out_code == UINT32 else 1
        chunk, rest = unit % a.n_chunks, unit // a.n_chunks
        col, rest = rest % a.n_col_units, rest // a.n_col_units
        row, rest = rest % a.n_row_units, rest // a.n_row_units
        z, rest = rest % a.out_depth, rest // a.out_depth
        group, image = rest % a.groups, rest // a.groups
        x, cols = parted(col, a.n_col_units, a.out_width, int64(1))
        y, rows = parted(row, a.n_row_units, a.out_height, int64(1))
        first, filters = parted(chunk, a.n_chunks, a.filters, lanes)
        source = a.x + image * a.x_image + (first if a.depthwise else group * a.channels) * a.x_channel
        out = a.out + image * a.out_image + z * a.out_plane + (group * a.filters + first) * a.out_channel
        scratch, n = a.scratch + worker * a.scratch_bytes, rows * cols // a.merged
        across = cols // a.merged
        pixel_of = scratch + a.tables
        out_of, windows = pixel_of + 8 * n, pixel_of + 16 * n
        down, right = a.stride_y * a.x_row, a.stride_x * a.x_col
        src, to = source + z * a.stride_z * a.x_plane + y * down + x * right, out
        if a.in_place == 0:
            down, right, src = a.stride_y // a.step_y * a.row, a.stride_x // a.step_x * a.pixel, scratch + a.staged
            stage_bytes(a, src, source, z, y, x, rows, cols, filters if a.depthwise else a.channels, scratch + a.raw)
        if a.turned:
            to = scratch + a.box
        for i in range(n):
            row, col = i // across, i % across * a.merged
            poke(pixel_of + 8 * i, row * down + col * right)
            there = (y + row) * a.out_row + (x + col) * a.out_col
            poke(out_of + 8 * i, i * a.merged * filters * size if a.turned else there)
        if peek(a.fill + WINDOWS, int32) != 0 and a.depthwise == 0:
            windows_of(a, src, pixel_of, n, windows)
        blocks, n_filters = group * ((a.filters + lanes - 1) // lanes), filters * a.merged
        for f in range(0, n_filters, lanes):
            block, some = blocks + (first + f) // lanes, min(lanes, n_filters - f)
            if a.depthwise:
                channels_block(a, src + f * 4 // a.together, pixel_of, out_of, n, block, some, to + f, scratch)
            else:
                filters_block(a, src, pixel_of, out_of, windows, n, block, some, to + f * size, scratch)
        if a.turned:
            turn_results(a, to, out, y, x, rows, cols, filters, size)

    return kernel


MAKERS = {"conv8": make}
