"""Pooling in plain Numba: one thread for each output element."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import conversion, in_memory, inlined, place

__all__ = ["PoolGeometry", "avg_kernel", "max_2x2_kernel", "max_kernel"]

# As in FilterGeometry; `filters` are the channels, `after` is the padding behind an axis.
# The two-by-two kernel reads only some of it.
PoolGeometry = namedtuple(
    "PoolGeometry",
    "inner middle outer channels_last filters depth height width out_depth out_height out_width "
    "kernel_z kernel_y kernel_x stride_z stride_y stride_x dilation_z dilation_y dilation_x pad_z pad_y pad_x "
    "include_pad divisor after_z after_y after_x "
    "x_n x_c x_z x_y x_x indices_n indices_c indices_z indices_y indices_x out_n out_c out_z out_y out_x",
)


def _kernel(compute: Callable) -> Callable:
    """The kernel that has a device function compute and store each output."""

    def pool(x, indices, out, g):
        inner, start = cuda.grid(2)
        if inner >= g.inner:
            return
        for outer in range(cuda.blockIdx.z, g.outer, cuda.gridDim.z):
            for middle in range(start, g.middle, cuda.gridDim.y * cuda.blockDim.y):
                n, c, z, y, column = place(g, inner, middle, outer)
                at = n * g.out_n + c * g.out_c + z * g.out_z + y * g.out_y + column * g.out_x
                compute(x, indices, out, at, g, n, c, z, y, column)

    return pool


def max_kernel(dtype: str, with_indices: bool) -> Callable:
    """The kernel of max pooling: the first of equals, but the last NaN, as `fastconv.reference` has it.

    The arguments of every pooling kernel are pointers to input, indices and output, and a `PoolGeometry`.
    """
    number, stored = getattr(np, _compared(dtype)), getattr(np, in_memory(dtype))
    lowest = number(_lowest(dtype))

    @inlined
    def largest(x, g, first, z, y, column):
        best, where = lowest, np.int64(-1)
        for kz in range(g.kernel_z):
            iz = z * g.stride_z + kz * g.dilation_z - g.pad_z
            for ky in range(g.kernel_y):
                iy = y * g.stride_y + ky * g.dilation_y - g.pad_y
                if iz < 0 or iz >= g.depth or iy < 0 or iy >= g.height:
                    continue
                for kx in range(g.kernel_x):
                    ix = column * g.stride_x + kx * g.dilation_x - g.pad_x
                    if ix >= 0 and ix < g.width:
                        value = number(x[first + iz * g.x_z + iy * g.x_y + ix * g.x_x])
                        if where < 0 or value > best or value != value:
                            best, where = value, (iz * g.height + iy) * g.width + ix
        return best, where

    @inlined
    def max_pool(x, indices, out, at, g, n, c, z, y, column):
        best, where = largest(x, g, n * g.x_n + c * g.x_c, z, y, column)
        out[at] = stored(best)
        if with_indices:
            row = n * g.indices_n + c * g.indices_c + z * g.indices_z + y * g.indices_y
            indices[row + column * g.indices_x] = where

    return _kernel(max_pool)


def max_2x2_kernel() -> Callable:
    """The kernel of max pooling over disjoint 2x2 windows that all lie inside the input, without indices."""

    @inlined
    def larger(a, b):
        return b if b > a or b != b else a

    @inlined
    def max_pool_2x2(x, indices, out, at, g, n, c, z, y, column):
        first = n * g.x_n + c * g.x_c + z * g.x_z + 2 * y * g.x_y + 2 * column * g.x_x
        upper = larger(x[first], x[first + g.x_x])
        lower = larger(x[first + g.x_y], x[first + g.x_y + g.x_x])
        out[at] = larger(upper, lower)

    return _kernel(max_pool_2x2)


def avg_kernel(dtype: str) -> Callable:
    """The kernel of average pooling; integers are summed in 64 bits and divided truncating toward zero."""
    kind = np.dtype(dtype).kind
    acc = {"f": _compared(dtype), "u": "uint64"}.get(kind, "int64")
    to_acc, to_out, floors = getattr(np, acc), conversion(acc, dtype), kind in "bi"

    @inlined
    def quotient(total, divisor):
        if kind == "f":
            return to_acc(total / divisor)
        result = total // divisor
        return result + 1 if floors and result < 0 and result * divisor != total else result

    @inlined
    def mean(x, g, first, z, y, column):
        total, count = to_acc(0), 0
        for kz in range(g.kernel_z):
            iz = z * g.stride_z + kz * g.dilation_z - g.pad_z
            for ky in range(g.kernel_y):
                iy = y * g.stride_y + ky * g.dilation_y - g.pad_y
                for kx in range(g.kernel_x):
                    ix = column * g.stride_x + kx * g.dilation_x - g.pad_x
                    inside = iz >= 0 and iz < g.depth and iy >= 0 and iy < g.height and ix >= 0 and ix < g.width
                    if inside:
                        total = to_acc(total + to_acc(x[first + iz * g.x_z + iy * g.x_y + ix * g.x_x]))
                    padded = iz < g.depth + g.after_z and iy < g.height + g.after_y and ix < g.width + g.after_x
                    if inside or (g.include_pad and padded):
                        count += 1
        return quotient(total, to_acc(max(g.divisor if g.divisor > 0 else count, 1)))

    @inlined
    def avg_pool(x, indices, out, at, g, n, c, z, y, column):
        out[at] = to_out(mean(x, g, n * g.x_n + c * g.x_c, z, y, column))

    return _kernel(avg_pool)


def _compared(dtype: str) -> str:
    """The type in which numbers are compared, and summed if they are floating-point numbers."""
    return "float32" if dtype == "float16" else in_memory(dtype)


def _lowest(dtype: str) -> float | int:
    kind = np.dtype(dtype).kind
    return -np.inf if kind == "f" else 0 if kind == "b" else int(np.iinfo(dtype).min)
