"""Convolution with many filters: implicit GEMM.

A unit is a run of output pixels of one image, all channels of a group, a chunk of its
filters.  Windows are staged a block of channels at a time; the product is accumulated in
scratch and stored at the end, where conversions belong.

Channels first: lanes are pixels.  The staged matrix is [panel of pixels][k][lane] with
k = (channel, ky, kx), weights are read as they are, [filter][k].
Channels last: lanes are filters.  The staged matrix is [pixel][k] with k = (ky, kx, channel),
so that a window row is one run in memory; weights are packed [block of filters][k][lane].
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import CONV_FIELDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import (
    REGISTERS,
    VECTOR_BYTES,
    itemsize,
    peek,
    poke,
    product_tile,
    tile_fill,
    tile_load,
    tile_store,
)
from fastconv.engines.numba_cpu.stage import mapped, source_row, stage_row

__all__ = ["FIELDS", "GEMM", "MAKERS"]

FIELDS = CONV_FIELDS

# Rows and vectors per row of the product's tiles: 28 of 32, or 12 of 16 registers accumulate.
ROWS, COLS = (14, 2) if REGISTERS == 32 else (6, 2)
GEMM = (ROWS, COLS * VECTOR_BYTES)


@part
def product(a, a_step, b, depth, c, c_step, rows, acc):
    """``c[r][j] += sum over k < depth of a[r][k] * b[k][j]``, j over one tile's row; full tiles, then smaller ones."""
    while rows >= ROWS:
        product_tile(a, a_step, b, depth, c, c_step, acc, ROWS, COLS)
        rows, a, c = rows - ROWS, a + ROWS * a_step, c + ROWS * c_step
    while rows >= 4:
        product_tile(a, a_step, b, depth, c, c_step, acc, 4, COLS)
        rows, a, c = rows - 4, a + 4 * a_step, c + 4 * c_step
    while rows >= 2:
        product_tile(a, a_step, b, depth, c, c_step, acc, 2, COLS)
        rows, a, c = rows - 2, a + 2 * a_step, c + 2 * c_step
    if rows > 0:
        product_tile(a, a_step, b, depth, c, c_step, acc, 1, COLS)


@inlined
def evenly_spaced(offsets, n):
    # Complex parts of channels that are not next to each other are not.
    span = peek(offsets + 8 * (n - 1), int64) - peek(offsets, int64)
    return n < 3 or span == (n - 1) * (peek(offsets + 8, int64) - peek(offsets, int64))


@part
def store_block(a, sums, pitch, out, filter_of, filters, pixel, n, acc):
    # sums[filter][pixel] (channels first) or sums[pixel][filter] (channels last) to memory.
    size = itemsize(acc)
    first = peek(filter_of, int64)
    step = peek(filter_of + 8, int64) - first if filters > 1 else a.out_col
    together = a.channels_last != 0 and evenly_spaced(filter_of, filters)
    done = int64(0)
    while done < n:
        y, x = (pixel + done) // a.out_width, (pixel + done) % a.out_width
        run = 1 if a.channels_last else min(n - done, a.out_width - x)
        to = out + y * a.out_row + x * a.out_col
        for f in range(1 if together else filters):
            offset = first if together else peek(filter_of + 8 * f, int64)
            at = done * pitch + f if a.channels_last else f * pitch + done
            length = filters if together else run
            store_run(to + offset, step if together else a.out_col, sums + at * size, length, a.out_code, acc)
        done += run


# -- channels first: lanes are pixels ------------------------------------------------------


@part
def stage_panel(a, panel, image, channel_of, first, channels, pixel, n, acc):
    # panel[k][lane] for the windows of output pixels pixel .. pixel + n - 1, n <= lanes.
    row_bytes = int64(COLS * VECTOR_BYTES)
    for c in range(channels):
        fill = peek(a.fill + (first + c) % a.n_fills * itemsize(acc), acc)
        plane = image + peek(channel_of + 8 * c, int64)
        for ky in range(a.kernel_y):
            done = int64(0)
            while done < n:  # the pixels of one output row after the other
                y, x = (pixel + done) // a.out_width, (pixel + done) % a.out_width
                run = min(n - done, a.out_width - x)
                row = source_row(a, plane, y * a.stride_y - a.pad_y + ky * a.dilation_y)
                for kx in range(a.kernel_x):
                    to = panel + kx * row_bytes + done * itemsize(acc)
                    stage_row(a, to, row, fill, x * a.stride_x - a.pad_x + kx * a.dilation_x, run, acc)
                done += run
            panel += a.kernel_x * row_bytes


@inlined
def conv_first(a, group, image, out, pixel, n, first, filters, sums, acc):
    size, row_bytes = itemsize(acc), int64(COLS * VECTOR_BYTES)
    lanes, taps = row_bytes // size, a.kernel_y * a.kernel_x
    panels = (n + lanes - 1) // lanes
    pitch, depth = panels * lanes, a.channels * taps
    staged = sums + filters * pitch * size
    w = a.w + (group * a.filters + first) * depth * size
    for f in range(filters):
        start = acc(0) if a.bias == 0 else peek(a.bias + (group * a.filters + first + f) * size, acc)
        for p in range(panels):
            tile_store(tile_fill(start, 1, COLS), sums + f * pitch * size + p * row_bytes, int64(0))
    for c in range(0, a.channels, a.block_channels):
        channels = min(a.block_channels, a.channels - c)
        panel_bytes = channels * taps * row_bytes
        for p in range(panels):
            channel_of = a.channel_of + 8 * (group * a.channels + c)
            at, run = pixel + p * lanes, min(lanes, n - p * lanes)
            stage_panel(a, staged + p * panel_bytes, image, channel_of, c, channels, at, run, acc)
        # A few rows of weights stay in the nearest cache while all panels pass.
        for f in range(0, filters, ROWS):
            weights, rows = w + (f * depth + c * taps) * size, min(ROWS, filters - f)
            for p in range(panels):
                to = sums + f * pitch * size + p * row_bytes
                product(weights, depth * size, staged + p * panel_bytes, channels * taps, to, pitch * size, rows, acc)
    store_block(a, sums, pitch, out, a.out_filter_of + 8 * (group * a.filters + first), filters, pixel, n, acc)


# -- channels last: lanes are filters ------------------------------------------------------


@part
def stage_window(a, window, image, channel_of, first, channels, pixel, acc):
    # window[k] of one output pixel.
    size, offset = itemsize(acc), peek(channel_of, int64)
    y, x = pixel // a.out_width * a.stride_y - a.pad_y, pixel % a.out_width * a.stride_x - a.pad_x
    step = peek(channel_of + 8, int64) - offset if channels > 1 else a.x_col
    even = evenly_spaced(channel_of, channels)
    # A whole row of the window may be one run.
    joined = even and a.dilation_x == 1 and a.x_col == step * channels and x >= 0 and x + a.kernel_x <= a.width
    for ky in range(a.kernel_y):
        row = source_row(a, image + offset, y + ky * a.dilation_y)
        taps = a.kernel_x if joined and row != 0 else 1
        for kx in range(a.kernel_x // taps):
            column = int64(-1) if row == 0 else mapped(a.map_x, x + kx * a.dilation_x, a.width, a.pad_x)
            i, run = int64(0), taps * channels if even else 1
            while i < taps * channels:
                if column < 0:
                    poke(window, peek(a.fill + (first + i) % a.n_fills * size, acc))
                    i, window = i + 1, window + size
                    continue
                at = row + column * a.x_col + (0 if even else peek(channel_of + 8 * i, int64) - offset)
                load_run(window, at, step, run, a.src_code, acc)
                i, window = i + run, window + run * size


@inlined
def conv_last(a, group, image, out, pixel, n, first, filters, sums, acc):
    # `first` is a multiple of the lanes.
    size, row_bytes = itemsize(acc), int64(COLS * VECTOR_BYTES)
    lanes, taps = row_bytes // size, a.kernel_y * a.kernel_x
    blocks, blocks_of_group = (filters + lanes - 1) // lanes, (a.filters + lanes - 1) // lanes
    pitch, depth = blocks * lanes, a.channels * taps
    staged = sums + n * pitch * size
    w = a.w + (group * blocks_of_group + first // lanes) * depth * row_bytes
    for f in range(pitch):
        known = a.bias != 0 and f < filters
        poke(sums + f * size, peek(a.bias + (group * a.filters + first + f) * size, acc) if known else acc(0))
    for i in range(blocks):
        start = tile_load(sums + i * row_bytes, int64(0), acc, 1, COLS)
        for p in range(1, n):
            tile_store(start, sums + p * pitch * size + i * row_bytes, int64(0))
    for c in range(0, a.channels, a.block_channels):
        channels = min(a.block_channels, a.channels - c)
        length = channels * taps
        channel_of = a.channel_of + 8 * (group * a.channels + c)
        for p in range(n):
            stage_window(a, staged + p * length * size, image, channel_of, c, channels, pixel + p, acc)
        for i in range(blocks):
            weights = w + (i * depth + c * taps) * row_bytes
            product(staged, length * size, weights, length, sums + i * row_bytes, pitch * size, n, acc)
    store_block(a, sums, pitch, out, a.out_filter_of + 8 * (group * a.filters + first), filters, pixel, n, acc)


def make(acc: str, variant: str = "") -> Callable:
    """The convolution kernel that sums in `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        # Units run over (image, group, run of pixels, chunk of filters).
        chunk, rest = unit % a.n_chunks, unit // a.n_chunks
        pixel, plane = rest % a.n_pixel_units * a.unit_pixels, rest // a.n_pixel_units
        group, n = plane % a.groups, plane // a.groups
        pixels = min(a.unit_pixels, a.out_height * a.out_width - pixel)
        step = int64(COLS * VECTOR_BYTES) // itemsize(acc_type) if a.channels_last else int64(ROWS)
        blocks = (a.filters + step - 1) // step
        first = chunk * blocks // a.n_chunks * step
        filters = min(a.filters, (chunk + 1) * blocks // a.n_chunks * step) - first
        image, out, sums = a.x + n * a.x_image, a.out + n * a.out_image, a.scratch + worker * a.scratch_bytes
        if a.channels_last:
            conv_last(a, group, image, out, pixel, pixels, first, filters, sums, acc_type)
        else:
            conv_first(a, group, image, out, pixel, pixels, first, filters, sums, acc_type)

    return kernel


MAKERS = {"conv": make}
