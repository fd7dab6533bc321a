"""The direct filter of float32 planes for small kernels, which take as long as copying the image.

A thread sums `rows` rows by 4 columns of outputs in registers, from vectors of the image that it reads where they lie,
through the first cache.  Only where windows cross the border, or rows are not aligned to 16 bytes, the block stages its part
of the image in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import cuda, float32

from fastconv.engines.numba_cuda import emit
from fastconv.engines.numba_cuda.elements import inlined, mapped, place_in_batch

__all__ = ["stream_kernel"]

COLUMNS = emit.COLUMNS


def stream_kernel(kernel_y: int, kernel_x: int, phase: int, rows: int, warps: int, by_value: bool) -> Callable:
    """The kernel for filters of one size; `phase`: where in an aligned vector windows start.

    With `by_value` the weights are arguments, behind the fill value. The others are those of `tile.tile_kernel`.
    """
    width, height, halo = 32 * COLUMNS, rows * warps, -(-(phase + kernel_x + COLUMNS - 1) // 4) * 4 - COLUMNS
    pitch = width + halo
    make = emit.stream(rows, kernel_y, kernel_x, phase)
    weights_at, wide = (height + kernel_y - 1) * pitch, -(-kernel_x // 4) * 4

    @inlined
    def stage(x, staged, first, beyond, g, top, left, thread):
        for row in range(thread // 32, height + kernel_y - 1, warps):
            iy = mapped(top + row, g.height, g.rule_y)
            for column in range(thread % 32, pitch, 32):
                ix = mapped(left + column, g.width, g.rule_x)
                value = beyond
                if iy >= 0 and ix >= 0:
                    value = x[first + iy * g.x_y + ix * g.x_x]
                staged[row * pitch + column] = value

    @inlined
    def compute(x, weights, staged, out, bias, fill, g):
        thread = cuda.threadIdx.x
        n, c = place_in_batch(g, cuda.blockIdx.z)
        left, top = cuda.blockIdx.x * width, cuda.blockIdx.y * height
        first = n * g.x_n + c * g.x_c
        y, x0 = top - g.pad_y, left - g.pad_x - phase
        own_row, own_column = (thread >> 5) * rows, (thread & 31) * COLUMNS
        start = bias[c * g.bias_c] if g.has_bias else np.float32(0)
        inside = y >= 0 and x0 >= 0 and y + height + kernel_y - 1 <= g.height and x0 + pitch <= g.width
        at = n * g.out_n + c * g.out_c + (top + own_row) * g.out_y + (left + own_column) * g.out_x
        below, beside = g.out_height - top - own_row, g.out_width - left - own_column
        if inside and g.aligned:
            here = first + (y + own_row) * g.x_y + x0 + own_column
            sums = make(start, weights, weights_at, x, here, g.x_y)
        else:
            stage(x, staged, first, np.float32(fill), g, y, x0, thread)
            cuda.syncthreads()
            sums = make(start, weights, weights_at, staged, own_row * pitch + own_column, pitch)
        emit.store_tile(out, at, g.out_y, g.out_x, below, beside, sums)

    def stream(x, w, out, bias, fill, g):
        staged = cuda.shared.array(0, float32)  # starts on a multiple of 16 bytes
        c = place_in_batch(g, cuda.blockIdx.z)[1]
        first = c * g.w_c
        for i in range(cuda.threadIdx.x, kernel_y * kernel_x, 32 * warps):
            row, column = i // kernel_x, i % kernel_x
            staged[weights_at + row * wide + column] = w[first + row * g.w_y + column * g.w_x]
        cuda.syncthreads()
        compute(x, staged, staged, out, bias, fill, g)

    def stream_by_value(x, w, out, bias, fill, weights, g):
        compute(x, weights, cuda.shared.array(0, float32), out, bias, fill, g)

    return stream_by_value if by_value else stream
