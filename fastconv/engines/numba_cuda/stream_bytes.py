"""The direct filter of bytes to bytes for small kernels, exact to the bit.

A thread sums a few rows by 16 columns in float32, from vectors of the image that it reads where they lie.  Truncated
sums whose integral part may depend on rounding errors are made again in SciPy's order; one in thousands is.  Where windows cross
the border, or rows are not aligned to 16 bytes, the block stages its part of the image in shared memory.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import cuda, uint8

from fastconv.engines.numba_cuda import emit, emit_bytes
from fastconv.engines.numba_cuda.elements import conversion, inlined, mapped

__all__ = ["BytesGeometry", "bytes_kernel", "staging"]

COLUMNS = emit_bytes.COLUMNS

# `aligned`: vectors of the image are, and `whole`: those of the output.
BytesGeometry = namedtuple(
    "BytesGeometry",
    "height width out_height out_width pad_y pad_x rule_y rule_x x_n x_y x_x out_n out_y aligned whole",
)


def bytes_kernel(shape: emit_bytes.Bytes, warps: int) -> Callable:
    """The kernel for filters of one size.

    Its arguments are pointers to image and output, the value beyond the border and the guard (see
    `fastconv.algorithms.device_bytes`), weights, and a `BytesGeometry`.
    """
    kernel_y, kernel_x = shape.kernel
    phase, rows, guarded = shape.phase, shape.rows, shape.mode != "ring"
    width, height, vectors = 32 * COLUMNS, rows * warps, 31 + shape.vectors
    pitch, tall = COLUMNS * vectors, height + kernel_y - 1
    make, again = emit_bytes.filter_bytes(shape), emit_bytes.exact_sum(shape.kernel, kernel_y * kernel_x)
    stage = staging(shape.kernel, phase, (height, width), vectors, 32 * warps)
    to_byte = conversion("float64", "uint8")

    def stream(x, out, fill, guard, weights, g):
        staged = cuda.shared.array(0, uint8)  # starts on a multiple of 16 bytes
        thread = cuda.threadIdx.x
        left, top = cuda.blockIdx.x * width, cuda.blockIdx.y * height
        first = cuda.blockIdx.z * g.x_n
        y, x0 = top - g.pad_y, left - g.pad_x - phase
        own_row, own_column = (thread >> 5) * rows, (thread & 31) * COLUMNS
        inside = y >= 0 and x0 >= 0 and y + tall <= g.height and x0 + pitch <= g.width and g.aligned
        at = cuda.blockIdx.z * g.out_n + (top + own_row) * g.out_y + left + own_column
        below, beside = g.out_height - top - own_row, g.out_width - left - own_column
        bound = np.float32(guard)
        here, local = first + (y + own_row) * g.x_y + x0 + own_column, own_row * pitch + own_column
        if inside:
            results, uncertain = make(weights, bound, x, here, g.x_y)
        else:
            stage(x, staged, first, np.uint8(fill), g, y, x0, thread)
            emit.wait_async()
            cuda.syncthreads()
            results, uncertain = make(weights, bound, staged, local, pitch)
        emit_bytes.store_bytes(out, at, g.out_y, below, beside, g.whole, results)
        if guarded:
            while uncertain != 0:
                i = emit_bytes.lowest_bit(uncertain)
                uncertain &= uncertain - 1
                row, column = i // COLUMNS, i % COLUMNS
                if row < below and column < beside:
                    if inside:
                        total = again(weights, x, here + row * g.x_y + column + phase, g.x_y)
                    else:
                        total = again(weights, staged, local + row * pitch + column + phase, pitch)
                    out[at + row * g.out_y + column] = to_byte(total)

    return stream


def staging(kernel: tuple[int, int], phase: int, tile: tuple[int, int], vectors: int, threads: int) -> Callable:
    """A device function that brings what the windows of a tile of outputs read to shared memory, rows of so many vectors."""
    tall, (_, kernel_x), width = tile[0] + kernel[0] - 1, kernel, tile[1]

    @inlined
    def stage(x, staged, first, beyond, g, top, left, thread):
        for i in range(thread, tall * vectors, threads):
            row = i // vectors
            base, iy = (i - row * vectors) * COLUMNS, mapped(top + row, g.height, g.rule_y)
            at, column = i * COLUMNS, left + base
            if g.aligned and iy >= 0 and column >= 0 and column + COLUMNS <= g.width:
                emit.copy_vector(staged, at, x, first + iy * g.x_y + column)
            else:  # what no window meets is left out
                for k in range(max(phase - base, 0), min(phase + width + kernel_x - 1 - base, COLUMNS)):
                    ix = mapped(column + k, g.width, g.rule_x)
                    value = beyond
                    if iy >= 0 and ix >= 0:
                        value = x[first + iy * g.x_y + ix * g.x_x]
                    staged[at + k] = value

    return stage
