"""Depthwise convolution: each filter reads one channel.

A unit is a box of outputs of one image, and a chunk of filters, which are the lanes.  Weights are packed [tap][filter].
Where pixels hold their channels side by side, windows inside the image are read where they lie; outputs at the border
look up each of their taps.  Planes, and elements to be converted, are staged: the windows of the whole box, with what
lies beyond the border, become pixels in scratch memory.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import DEPTHWISE_FIELDS, DEPTHWISE_READING
from fastconv.engines.numba_cpu.activation import LAST_RECTIFIED, activate_run, slope_of
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.lanes import VECTOR_BYTES, copy_vector, pixel_tile, turn_block
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke
from fastconv.engines.numba_cpu.stage import mapped, source_row

__all__ = ["FIELDS", "MAKERS", "box_of", "stage_band"]

FIELDS = DEPTHWISE_FIELDS

PLANES, IN_PLACE = DEPTHWISE_READING["planes"], DEPTHWISE_READING["in_place"]


@inlined
def box_of(a, number):
    # Boxes run over (image, plane, strip of rows, span of columns).
    x, rest = number % a.n_spans * a.span, number // a.n_spans
    y, rest = rest % a.n_strips * a.strip, rest // a.n_strips
    end_row, end_col = min(a.out_height, y + a.strip), min(a.out_width, x + a.span)
    return rest // a.out_depth, rest % a.out_depth, y, end_row, x, end_col


@part
def depthwise_row(a, w, bias, rows, at, tap_step, step, dst, dst_step, pixels, channels, n_rows, taps_x, acc):
    # `pixels` outputs of a row, `channels` of each: a window begins `at` bytes behind the addresses `rows`, its taps lie
    # `tap_step` bytes apart, those of the next output `step` further.
    size = itemsize(acc)
    lanes, pitch, code, slope = int64(VECTOR_BYTES) // size, a.pitch * size, a.activation, slope_of(a.slope)
    while pixels > 0:
        n = 8 if pixels >= 8 else 4 if pixels >= 4 else 1
        for i in range(0, channels, lanes):
            c = min(i, channels - lanes) * size
            weights, begin, from_, to = w + c, bias + c, at + c, dst + c
            if n == 8:
                pixel_tile(
                    weights, pitch, begin, rows, n_rows, from_, taps_x, tap_step, step, to, dst_step, code, slope, acc, 8
                )  # fmt: skip
            elif n == 4:
                pixel_tile(
                    weights, pitch, begin, rows, n_rows, from_, taps_x, tap_step, step, to, dst_step, code, slope, acc, 4
                )  # fmt: skip
            else:
                pixel_tile(
                    weights, pitch, begin, rows, n_rows, from_, taps_x, tap_step, step, to, dst_step, code, slope, acc, 1
                )  # fmt: skip
        pixels, at, dst = pixels - n, at + n * step, dst + n * dst_step


@inlined
def repeat_pixel(a, dst, pixel, n, acc):
    size = a.pitch * itemsize(acc)
    for i in range(n):
        for c in range(0, size, int64(VECTOR_BYTES)):
            copy_vector(dst + i * size + c, pixel + c)


@part
def stage_pixels(a, source, first, count, dst, n, width, gap, buffer, acc):
    # The filters' elements of n neighbouring pixels; after every `width` of them there is a gap.  Planes are transposed, a
    # vector of pixels at a time.
    size, pitch = itemsize(acc), a.pitch * itemsize(acc)
    lanes, column = int64(VECTOR_BYTES) // size, int64(0)
    planes, one_by_one = a.reading == PLANES and a.multiplier == 1, a.reading == PLANES or a.multiplier > 1
    for i in range(0, n, lanes if planes else 1):
        some = min(lanes, n - i) if planes else 1
        to, run, step = buffer if planes else dst, some, a.x_col
        if not one_by_one:
            run, step = count, a.x_channel
        for f in range((lanes if planes else count) if one_by_one else 1):
            at = source + (first + min(f, count - 1)) // a.multiplier * a.x_channel + i * a.x_col
            load_run(to, at, step, run, a.src_code, acc)
            to += VECTOR_BYTES if planes else size
        if planes:
            turn_block(buffer, buffer + lanes * VECTOR_BYTES, acc)
        for p in range(some):
            if planes:
                copy_vector(dst, buffer + (lanes + p) * VECTOR_BYTES)
            dst, column = dst + pitch, column + 1
            if column == width:
                dst, column = dst + gap, int64(0)


@inlined
def stage_band(a, box, plane, band, fill, buffer, acc):
    # The windows of the box in one plane of the image (0: all fill), [row][column][filter].
    y, end_row, x, end_col, first, count = box
    pitch = a.pitch * itemsize(acc)
    top, left = y * a.stride_y - a.pad_y, x * a.stride_x - a.pad_x
    rows = (end_row - 1 - y) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1
    cols = (end_col - 1 - x) * a.stride_x + (a.kernel_x - 1) * a.dilation_x + 1
    low = max(left, 0)
    n = max(0, min(left + cols, a.width) - low)
    begin = max(top, 0)
    end = max(begin, min(top + rows, a.height))
    joined = n == a.width and a.x_row == n * a.x_col  # the rows inside are one run of pixels
    for q in range(top, top + rows):
        to, row = band + (q - top) * cols * pitch, int64(0) if plane == 0 else source_row(a, plane, q)
        i = int64(0)
        while i < cols:
            column, run, gap = int64(-1), int64(1), int64(0)
            if row != 0:
                column = mapped(a.map_x, left + i, a.width, a.pad_x)
            if row != 0 and left + i == low and n > 0:
                run = n
                if joined and begin <= q < end:
                    run, gap = n * (end - begin) if q == begin else int64(0), (cols - n) * pitch
            if column < 0:
                repeat_pixel(a, to + i * pitch, fill, int64(1), acc)
            elif run > 0:
                width = n if run > 1 else int64(1)
                stage_pixels(a, row + column * a.x_col, first, count, to + i * pitch, run, width, gap, buffer, acc)
            i += n if row != 0 and left + i == low and n > 0 else int64(1)


@inlined
def staged_row(a, box, band, w, bias, rows, y, dst, dst_col, acc):
    # Row y of the outputs, from the staged windows.
    pitch = a.pitch * itemsize(acc)
    line = ((box[3] - 1 - box[2]) * a.stride_x + (a.kernel_x - 1) * a.dilation_x + 1) * pitch
    for kz in range(a.kernel_z):
        for ky in range(a.kernel_y):
            at = kz * a.band_pixels * pitch + ((y - box[0]) * a.stride_y + ky * a.dilation_y) * line
            poke(rows + 8 * (kz * a.kernel_y + ky), band + at)
    channels = max(int64(VECTOR_BYTES) // itemsize(acc), box[5])
    depthwise_row(
        a, w, bias, rows, int64(0), a.dilation_x * pitch, a.stride_x * pitch, dst, dst_col, box[3] - box[2], channels,
        a.kernel_z * a.kernel_y, a.kernel_x, acc,
    )  # fmt: skip


@inlined
def row_in_place(a, box, planes, fill, w, bias, rows, y, dst, dst_col, acc):
    # Row y of the outputs, from pixels where they lie; those whose windows reach beyond the image tap by tap.
    _, _, x, end_col, _, count = box
    n_rows, reach = a.kernel_z * a.kernel_y, (a.kernel_x - 1) * a.dilation_x
    first, end = min(end_col, max(x, (a.pad_x + a.stride_x - 1) // a.stride_x)), int64(0)
    if a.width + a.pad_x > reach:
        end = min(end_col, (a.width - 1 - reach + a.pad_x + a.stride_x) // a.stride_x)
    for r in range(n_rows):
        plane, row = peek(planes + 8 * (r // a.kernel_y), int64), int64(0)
        if plane != 0:
            row = source_row(a, plane, y * a.stride_y - a.pad_y + r % a.kernel_y * a.dilation_y)
        poke(rows + 8 * r, row)
        if row == 0:
            end = first
    end = max(first, end)
    taps, i = rows + 8 * n_rows, x
    while i < end_col:
        to, table, at, n, many = dst + (i - x) * dst_col, taps, int64(0), int64(1), n_rows * a.kernel_x
        if i == first and end > first:
            table, at, n, many = rows, (first * a.stride_x - a.pad_x) * a.x_col, end - first, n_rows
        else:
            for kx in range(a.kernel_x):
                column = mapped(a.map_x, i * a.stride_x - a.pad_x + kx * a.dilation_x, a.width, a.pad_x)
                for r in range(n_rows):
                    row = peek(rows + 8 * r, int64)
                    poke(taps + 8 * (r * a.kernel_x + kx), fill if row == 0 or column < 0 else row + column * a.x_col)
        tap_step, step = a.dilation_x * a.x_col, a.stride_x * a.x_col
        depthwise_row(
            a, w, bias, table, at, tap_step, step, to, dst_col, n, count, many, n_rows * a.kernel_x // many, acc
        )
        i += n


@part
def store_pixels(a, box, out, sums, n_rows, buffer, acc):
    # The sums of some rows to memory; planes are transposed, a vector of pixels at a time.
    planes, size = a.reading == PLANES, itemsize(acc)
    cols, count, lanes = box[3] - box[2], box[5], int64(VECTOR_BYTES) // size
    if planes and cols == a.out_width and a.out_row == cols * a.out_col:
        cols, n_rows = cols * n_rows, int64(1)
    for i in range(n_rows):
        for p in range(0, cols, lanes if planes else 1):
            line, to = sums + (i * cols + p) * a.pitch * size, out + i * a.out_row + p * a.out_col
            if planes:
                turn_block(line, buffer, acc)
                line = buffer
            for f in range(count if planes else 1):
                run, step = min(lanes, cols - p) if planes else count, a.out_col if planes else a.out_channel
                store_run(to + f * a.out_channel, step, line + f * VECTOR_BYTES, run, a.out_code, acc)


@part
def activate_pixels(a, dst, dst_col, pixels, length, acc):
    for p in range(pixels):
        activate_run(dst + p * dst_col, length, a.activation, slope_of(a.slope), acc)


@inlined
def constants(a, first, count, w, bias, fill, buffer, acc):
    # The weights as [tap][filter], bias, and a pixel of the fill value.
    size, lanes, taps = itemsize(acc), int64(VECTOR_BYTES) // itemsize(acc), a.kernel_z * a.kernel_y * a.kernel_x
    for f in range(0, a.pitch, lanes):
        for i in range(0, taps, lanes):
            some = min(lanes, taps - i)
            for k in range(lanes):
                line = a.w + (first + min(f + k, count - 1)) * taps * size
                for t in range(some):
                    poke(buffer + k * VECTOR_BYTES + t * size, peek(line + (i + t) * size, acc))
            turn_block(buffer, buffer + lanes * VECTOR_BYTES, acc)
            for t in range(some):
                copy_vector(w + ((i + t) * a.pitch + f) * size, buffer + (lanes + t) * VECTOR_BYTES)
    for f in range(a.pitch):
        poke(bias + f * size, acc(0) if a.bias == 0 else peek(a.bias + (first + min(f, count - 1)) * size, acc))
        poke(fill + f * size, peek(a.fill, acc))


@inlined
def depthwise_box(a, n, z, box, scratch, acc):
    # All outputs of a box; of planes, a vector of filters.
    y, end_row, x, end_col, first, count = box
    size, planes, rows = itemsize(acc), scratch, scratch + 8 * a.kernel_z
    w, bias, fill = scratch + a.weights, scratch + a.biases, scratch + a.fills
    sums, band, buffer = scratch + a.sums, scratch + a.band, scratch + a.turned
    constants(a, first, count, w, bias, fill, buffer, acc)
    for kz in range(a.kernel_z):
        at = mapped(a.map_z, z * a.stride_z - a.pad_z + kz * a.dilation_z, a.depth, a.pad_z)
        plane = int64(0) if at < 0 else a.x + n * a.x_image + at * a.x_plane
        if a.reading == IN_PLACE:
            poke(planes + 8 * kz, plane + first * a.x_channel if plane != 0 else plane)
        else:
            stage_band(a, box, plane, band + kz * a.band_pixels * a.pitch * size, fill, buffer, acc)
    while y < end_row:
        end = min(end_row, y + a.batch)
        for i in range(y, end):
            dst, dst_col, length = sums + (i - y) * (end_col - x) * a.pitch * size, a.pitch * size, a.pitch
            if a.store_direct:
                dst = a.out + n * a.out_image + z * a.out_plane + i * a.out_row + x * a.out_col + first * a.out_channel
                dst_col, length = a.out_col, count
            if a.reading == IN_PLACE:
                row_in_place(a, box, planes, fill, w, bias, rows, i, dst, dst_col, acc)
            else:
                staged_row(a, box, band, w, bias, rows, i, dst, dst_col, acc)
            if a.activation > LAST_RECTIFIED:
                activate_pixels(a, dst, dst_col, end_col - x, length, acc)
        if not a.store_direct:
            out = a.out + n * a.out_image + z * a.out_plane + y * a.out_row + x * a.out_col + first * a.out_channel
            store_pixels(a, box, out, sums, end - y, buffer, acc)
        y = end


def make(acc: str, variant: str = "") -> Callable:
    """The depthwise kernel that sums in `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        # Units run over (box, chunk of filters).
        chunk = unit % a.n_chunks
        n, z, y, end_row, x, end_col = box_of(a, unit // a.n_chunks)
        end = a.filters if chunk == a.n_chunks - 1 else (chunk + 1) * a.chunk
        scratch = (a.scratch + worker * a.scratch_bytes + 63) & ~63
        first = chunk * a.chunk
        while first < end:  # of planes, a vector of filters at a time
            count = min(a.pitch, end - first)
            depthwise_box(a, n, z, (y, end_row, x, end_col, first, count), scratch, acc_type)
            first += count

    return kernel


MAKERS = {"depthwise": make}
