"""Gradients of depthwise convolutions' kernels: each pixel of the output's gradient times its window, summed.

A unit is a chunk of filters, the lanes, and a part of all boxes of outputs.  Windows are staged as those of the
convolution; so is the gradient, unless its pixels are whole vectors that lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import DEPTHWISE_GRADIENT_FIELDS, DEPTHWISE_READING
from fastconv.engines.numba_cpu.convert import load_run
from fastconv.engines.numba_cpu.depthwise import box_of, stage_band
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.lanes import VECTOR_BYTES, copy_vector, gradient_run, turn_block
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke
from fastconv.engines.numba_cpu.stage import mapped

__all__ = ["FIELDS", "MAKERS"]

FIELDS = DEPTHWISE_GRADIENT_FIELDS

PLANES = DEPTHWISE_READING["planes"]


@part
def stage_gradient(a, source, first, count, dst, rows, cols, buffer, acc):
    # The box of the gradient, [pixel][filter]; planes are transposed, a vector of pixels at a time.
    size, planes = itemsize(acc), a.reading == PLANES
    lanes = int64(VECTOR_BYTES) // size
    if cols == a.out_width and a.out_row == cols * a.out_col:
        cols, rows = cols * rows, int64(1)
    for i in range(rows):
        for j in range(0, cols, lanes if planes else 1):
            some = min(lanes, cols - j) if planes else 1
            run, step = (some, a.out_col) if planes else (count, a.out_channel)
            for f in range(lanes if planes else 1):
                to = buffer + f * VECTOR_BYTES if planes else dst
                at = source + i * a.out_row + j * a.out_col + (first + min(f, count - 1)) * a.out_channel
                load_run(to, at, step, run, a.out_code, acc)
            if planes:
                turn_block(buffer, buffer + lanes * VECTOR_BYTES, acc)
                for p in range(some):
                    copy_vector(dst + p * VECTOR_BYTES, buffer + (lanes + p) * VECTOR_BYTES)
            dst += some * a.pitch * size


@part
def gradient_row(a, sums, x, grad, grad_col, n, taps, acc):
    # All taps of a row of windows.
    pitch = a.pitch * itemsize(acc)
    for c in range(0, pitch, int64(VECTOR_BYTES)):
        k, x_step = int64(0), a.dilation_x * pitch
        while k + 3 <= taps:
            to, at = sums + k * pitch + c, x + k * x_step + c
            gradient_run(to, pitch, at, x_step, a.stride_x * pitch, grad + c, grad_col, n, acc, 3)
            k += 3
        while k < taps:
            to, at = sums + k * pitch + c, x + k * x_step + c
            gradient_run(to, pitch, at, x_step, a.stride_x * pitch, grad + c, grad_col, n, acc, 1)
            k += 1


@inlined
def gradient_box(a, n, z, box, scratch, sums, acc):
    y, end_row, x, end_col, first, count = box
    size, cols = itemsize(acc), end_col - x
    pitch, band, buffer = a.pitch * size, scratch + a.band, scratch + a.turned
    grad, grad_col, grad_row = scratch + a.weights, pitch, cols * pitch
    source = a.w + n * a.out_image + z * a.out_plane + y * a.out_row + x * a.out_col
    for kz in range(a.kernel_z):
        at = mapped(a.map_z, z * a.stride_z - a.pad_z + kz * a.dilation_z, a.depth, a.pad_z)
        plane = int64(0) if at < 0 else a.x + n * a.x_image + at * a.x_plane
        stage_band(a, box, plane, band + kz * a.band_pixels * pitch, scratch + a.fills, buffer, acc)
    if a.store_direct:
        grad, grad_col, grad_row = source + first * a.out_channel, a.out_col, a.out_row
    else:
        stage_gradient(a, source, first, count, grad, end_row - y, cols, buffer, acc)
    line = ((cols - 1) * a.stride_x + (a.kernel_x - 1) * a.dilation_x + 1) * pitch
    for i in range(end_row - y):
        for kz in range(a.kernel_z):
            for ky in range(a.kernel_y):
                row = band + kz * a.band_pixels * pitch + (i * a.stride_y + ky * a.dilation_y) * line
                to = sums + (kz * a.kernel_y + ky) * a.kernel_x * pitch
                gradient_row(a, to, row, grad + i * grad_row, grad_col, cols, a.kernel_x, acc)


@inlined
def save_sums(a, sums, out, count, taps, acc):
    # [tap][filter] to [filter][tap].
    size = itemsize(acc)
    for f in range(count):
        for t in range(taps):
            poke(out + (f * taps + t) * size, peek(sums + (t * a.pitch + f) * size, acc))


def make(acc: str, variant: str = "") -> Callable:
    """The kernel of gradients that sums in `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        # Units run over (part, chunk of filters).
        size, taps = itemsize(acc_type), a.kernel_z * a.kernel_y * a.kernel_x
        chunk, number = unit % a.n_chunks, unit // a.n_chunks
        scratch = (a.scratch + worker * a.scratch_bytes + 63) & ~63
        sums, first = scratch + a.sums, chunk * a.chunk
        end = a.filters if chunk == a.n_chunks - 1 else first + a.chunk
        for c in range(a.pitch):
            poke(scratch + a.fills + c * size, peek(a.fill, acc_type))
        while first < end:  # of planes, a vector of filters at a time
            count = min(a.pitch, end - first)
            for i in range(taps * a.pitch):
                poke(sums + i * size, acc_type(0))
            for i in range(number * a.n_boxes // a.n_parts, (number + 1) * a.n_boxes // a.n_parts):
                n, z, y, end_row, x, end_col = box_of(a, i)
                gradient_box(a, n, z, (y, end_row, x, end_col, first, count), scratch, sums, acc_type)
            save_sums(a, sums, a.out + (number * a.filters + first) * taps * size, count, taps, acc_type)
            first += count

    return kernel


MAKERS = {"depthwise_gradient": make}
