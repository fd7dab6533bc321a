"""The direct filter of bytes to bytes for small kernels, exact to the bit, by the integer matrix units.

Weights that are not negative become fixed-point numbers of 24 bits, rounded down, so that sums are known to 2**-24 of what the
rounding takes, from below, and modulo 256.  Sums whose integral part this leaves open are made again in SciPy's order; so are
one in ten thousand.  Where windows cross the border, or rows are not aligned, the block stages its part of the image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import cuda, uint8

from fastconv.engines.numba_cuda import emit, emit_bytes, emit_matrix
from fastconv.engines.numba_cuda.elements import conversion, inlined
from fastconv.engines.numba_cuda.stream_bytes import staging

__all__ = ["matrix_kernel"]

VECTOR = emit_bytes.COLUMNS


def matrix_kernel(shape: emit_matrix.Matrix, skip: int, warps: int, across: int, steps: int) -> Callable:
    """The kernel for filters of one size, of blocks of so many warps, some of them side by side, that go down so many steps.

    Its arguments are pointers to image and output, the value beyond the border and what a sum can be larger (see
    `fastconv.algorithms.device_bytes`), weights, and a `BytesGeometry`.  Windows start `skip` bytes, and the shape's phase,
    behind an aligned vector.
    """
    phase, rows, guarded = shape.phase, shape.rows, shape.digits > 0
    width, height = emit_matrix.WARP_COLUMNS * across, rows * (warps // across) * steps
    span = width + emit_matrix.WINDOW - emit_matrix.POSITION
    vectors = -(-(skip + span) // VECTOR)
    pitch, tall = VECTOR * vectors, height + shape.kernel[0] - 1
    make, again = emit_matrix.filter_matrix(shape), emit_bytes.exact_sum(shape.kernel, shape.words)
    stage = staging(shape.kernel, skip + phase, (height, width), vectors, 32 * warps)
    to_byte = conversion("float64", "uint8")

    @inlined
    def selected(lane):
        """Which bytes of a row of weights a lane has of their matrix: of output `lane // 4`, from byte `lane % 4 * 4` on."""
        select = np.int32(0)
        for i in range(4):
            tap = lane % 4 * 4 + i - phase - lane // 4
            select |= np.int32((tap if tap >= 0 and tap < emit_matrix.TAPS else emit_matrix.TAPS - 1) << (4 * i))
        return select

    def stream(x, out, fill, larger, weights, g):
        staged = cuda.shared.array(0, uint8)  # starts on a multiple of 16 bytes
        thread = cuda.threadIdx.x
        lane, warp = thread & 31, thread >> 5
        left, top = cuda.blockIdx.x * width, cuda.blockIdx.y * height
        first = cuda.blockIdx.z * g.x_n
        y, x0 = top - g.pad_y, left - g.pad_x - phase
        own_row, own_column = (
            warp // across * (rows * steps),
            warp % across * emit_matrix.WARP_COLUMNS + (lane >> 2) * 8,
        )
        quad = np.int64(lane & 3)
        inside = y >= 0 and x0 >= 0 and y + tall <= g.height and x0 + span <= g.width and g.aligned
        pair = own_column + 2 * quad
        at = cuda.blockIdx.z * g.out_n + (top + own_row) * g.out_y + left + pair
        below, beside = g.out_height - top - own_row, g.out_width - left - pair
        select, bound = selected(lane), np.int32(larger)
        here, local = first + (y + own_row) * g.x_y + x0 + own_column, own_row * pitch + skip + own_column
        if not inside:
            stage(x, staged, first, np.uint8(fill), g, y, x0 - skip, thread)
            emit.wait_async()
            cuda.syncthreads()
        for _ in range(steps):
            if inside:
                results, uncertain = make(weights, select, bound, x, here, quad, g.x_y)
            else:
                results, uncertain = make(weights, select, bound, staged, local, quad, pitch)
            emit_matrix.store_pairs(out, at, g.out_y, below, beside, g.whole, results)
            if guarded:
                while uncertain != 0:
                    i = emit_bytes.lowest_bit(uncertain)
                    uncertain &= uncertain - 1
                    row, column = i // 4, i % 2 + i % 4 // 2 * emit_matrix.APART
                    if row < below and column < beside:
                        window = phase + 2 * quad + column
                        if inside:
                            total = again(weights, x, here + row * g.x_y + window, g.x_y)
                        else:
                            total = again(weights, staged, local + row * pitch + window, pitch)
                        out[at + row * g.out_y + column] = to_byte(total)
            here, local, at, below = here + rows * g.x_y, local + rows * pitch, at + rows * g.out_y, below - rows

    return stream
