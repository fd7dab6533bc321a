"""Pooling over small windows in plain Numba, whose sizes and steps are compiled in: positions of maxima, gradients of averages.

A thread does several rows (where channels are neighbours in memory, columns) of a plane, one after the other.  Divisions are
by constants, loops over taps are unrolled: a fifth of the instructions that any windows take.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import in_memory, inlined
from fastconv.engines.numba_cuda.regions import number_of, quotient

__all__ = ["maxima_kernel", "small_gradient_kernel"]


def _planes(compute: Callable, channels_last: bool) -> Callable:
    """The loops over what a thread does: `compute` is called with the image, channel, row and column of each."""

    @inlined
    def loops(inner, below, x, other, out, share, g):
        n, c, y, column = np.int64(0), np.int64(inner), np.int64(0), np.int64(inner)
        for outer in range(cuda.blockIdx.z, g.outer, cuda.gridDim.z):
            if channels_last:
                n = quotient(outer, g.out_height)
                y = outer - n * g.out_height
            else:
                n = quotient(outer, g.filters)
                c = outer - n * g.filters
            for middle in range(below, g.middle, cuda.gridDim.y * cuda.blockDim.y):
                if channels_last:
                    column = np.int64(middle)
                else:
                    y = np.int64(middle)
                compute(x, other, out, share, g, n, c, y, column)

    return loops


def maxima_kernel(dtype: str, high: int, wide: int, down: int, along: int, channels_last: bool) -> Callable:
    """The kernel of maxima and their positions, of windows of `high` rows and `wide` columns with steps `down` and `along`.

    Its arguments are pointers to input, indices, output, and a `RegionGeometry`.
    """
    number, stored, code = getattr(np, number_of("max", dtype)), getattr(np, in_memory(dtype)), np.dtype(dtype).kind
    lowest = number(-np.inf if code == "f" else 0 if code == "b" else int(np.iinfo(dtype).min))

    @inlined
    def compute(x, where, out, share, g, n, c, y, column):
        top, left = y * down - g.pad_y, column * along - g.pad_x
        first = n * g.x_n + c * g.x_c + top * g.x_y + left * g.x_x
        best, tap = lowest, np.int32(-1)
        for j in range(high):
            if top + j >= 0 and top + j < g.height:
                for i in range(wide):
                    if left + i >= 0 and left + i < g.width:
                        value = number(x[first + j * g.x_y + i * g.x_x])
                        if tap < 0 or value > best or value != value:
                            best, tap = value, np.int32(j * wide + i)
        row, at = np.int64(tap) // wide, np.int64(-1)
        if tap >= 0:
            at = (top + row) * g.width + left + tap - row * wide
        out[n * g.out_n + c * g.out_c + y * g.out_y + column * g.out_x] = stored(best)
        where[n * g.indices_n + c * g.indices_c + y * g.indices_y + column * g.indices_x] = at

    loops = _planes(compute, channels_last)

    def maxima(x, where, out, g):
        inner, below = cuda.grid(2)
        if inner < g.inner:
            loops(inner, below, x, where, out, 0.0, g)

    return maxima


def small_gradient_kernel(
    dtype: str, rows: int, columns: int, high: int, wide: int, down: int, along: int, channels_last: bool
) -> Callable:
    """The kernel of the gradient of averages of such windows, which all send the same share.

    At most so many `rows` and `columns` of windows hold an element; if sizes and steps are 0, those of the geometry count.
    Its arguments are pointers to the gradient with respect to the outputs and to the result, the share, and a `GradientGeometry`.
    """
    number, stored = getattr(np, number_of("avg", dtype)), getattr(np, in_memory(dtype))
    compiled = high > 0

    @inlined
    def compute(x, other, out, share, g, n, c, y, column):
        top, left = y + g.pad_y, column + g.pad_x
        height, step_y = (np.int64(high), np.int64(down)) if compiled else (g.kernel_y, g.stride_y)
        width, step_x = (np.int64(wide), np.int64(along)) if compiled else (g.kernel_x, g.stride_x)
        last_y, last_x = np.int64(np.uint32(top) // np.uint32(step_y)), np.int64(np.uint32(left) // np.uint32(step_x))
        tap_y, tap_x = top - last_y * step_y, left - last_x * step_x
        first = n * g.x_n + c * g.x_c + last_y * g.x_y + last_x * g.x_x
        total = number(0)
        for j in range(rows):
            if last_y >= j and last_y - j < g.height and tap_y + j * step_y < height:
                for i in range(columns):
                    if last_x >= i and last_x - i < g.width and tap_x + i * step_x < width:
                        total = number(total + number(x[first - j * g.x_y - i * g.x_x]) * number(share))
        out[n * g.out_n + c * g.out_c + y * g.out_y + column * g.out_x] = stored(total)

    loops = _planes(compute, channels_last)

    def gradient(x, out, share, g):
        inner, below = cuda.grid(2)
        if inner < g.inner:
            loops(inner, below, x, out, out, share, g)

    return gradient
