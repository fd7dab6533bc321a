"""Gradients of averages and powers in plain Numba: a thread sums what the windows that hold its elements send there.

Nothing is scattered: each sum has one order, so results are the same from run to run.  A thread does several rows (of
pixels, columns) one after the other, which share what it takes to find their windows: divisions.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import in_memory, inlined
from fastconv.engines.numba_cuda.regions import counted_in, number_of, quotient, window_in

__all__ = ["GradientGeometry", "gradient_kernel"]

# As in RegionGeometry, but input and output have changed places: a grid's outputs are elements of the pooling's input, and
# `depth`, `height` and `width` count its windows.  `given` are the strides of its input, `pooled` those of its outputs.
GradientGeometry = namedtuple(
    "GradientGeometry",
    "inner middle outer filters depth height width out_depth out_height out_width "
    "kernel_z kernel_y kernel_x stride_z stride_y stride_x pad_z pad_y pad_x after_z after_y after_x include_pad "
    "x_n x_c x_z x_y x_x given_n given_c given_z given_y given_x pooled_n pooled_c pooled_z pooled_y pooled_x "
    "out_n out_c out_z out_y out_x",
)


def _holding(windows: str) -> Callable:
    """A device function that returns the first window along an axis that holds a position, and the one behind the last."""

    @inlined
    def steps(position, size, windows_, kernel, stride, pad):
        place = position + pad
        last = quotient(place, stride)
        first, tap = last + 1, place - last * stride
        while tap < kernel and first > 0:
            first, tap = first - 1, tap + stride
        return first, min(last + 1, windows_)

    @inlined
    def adaptive(position, size, windows_, kernel, stride, pad):
        return quotient(position * windows_, size), quotient((position + 1) * windows_ + size - 1, size)

    return steps if windows == "steps" else adaptive


def gradient_kernel(kind: str, dtype: str, windows: str, even: bool, channels_last: bool) -> Callable:
    """The kernel of the gradient of an average ("avg") or a power average ("lp").

    Its arguments are pointers to the gradient with respect to the outputs, to input and outputs of a power average and to the
    result, the share of an `even` window's output that each of its elements takes (of others, what is divided by their
    sizes), the exponents of outputs and input, and a `GradientGeometry`.
    """
    number, stored = getattr(np, number_of("avg", dtype)), getattr(np, in_memory(dtype))
    holding, window, counted = _holding(windows), window_in(windows), counted_in(windows)
    powers = kind == "lp"

    @inlined
    def sized(o, size, outs, kernel, stride, pad, after, include_pad):
        """How many positions of a window along an axis count."""
        first, end = window(o, size, outs, kernel, stride, pad, None, 0)
        return counted(o, first, end, size, kernel, stride, pad, after, include_pad)

    @inlined
    def factor(g, share, oz, oy, ox):
        if even:
            return share
        deep = sized(oz, g.out_depth, g.depth, g.kernel_z, g.stride_z, g.pad_z, g.after_z, g.include_pad)
        high = sized(oy, g.out_height, g.height, g.kernel_y, g.stride_y, g.pad_y, g.after_y, g.include_pad)
        wide = sized(ox, g.out_width, g.width, g.kernel_x, g.stride_x, g.pad_x, g.after_x, g.include_pad)
        return number(share / number(max(deep * high * wide, 1)))

    @inlined
    def part(x, pooled, at, at_pooled, by, exponent):
        value = number(x[at])
        if powers:
            base = number(pooled[at_pooled])
            value = number(value * base ** number(exponent)) if base != 0 else number(0)
        return number(value * by)

    def gradient(x, given, pooled, out, share, exponent, slope, g):
        inner, below = cuda.grid(2)
        if inner >= g.inner:
            return
        n, c, z, y, column = np.int64(0), np.int64(inner), np.int64(0), np.int64(0), np.int64(inner)
        first_y, end_y, first_x, end_x = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        for outer in range(cuda.blockIdx.z, g.outer, cuda.gridDim.z):
            if channels_last:
                rest = quotient(outer, g.out_height)
                y, n = outer - rest * g.out_height, quotient(rest, g.out_depth)
                z = rest - n * g.out_depth
                first_y, end_y = holding(y, g.out_height, g.height, g.kernel_y, g.stride_y, g.pad_y)
            else:
                rest = quotient(outer, g.out_depth)
                z, n = outer - rest * g.out_depth, quotient(rest, g.filters)
                c = rest - n * g.filters
                first_x, end_x = holding(column, g.out_width, g.width, g.kernel_x, g.stride_x, g.pad_x)
            first_z, end_z = holding(z, g.out_depth, g.depth, g.kernel_z, g.stride_z, g.pad_z)
            for middle in range(below, g.middle, cuda.gridDim.y * cuda.blockDim.y):
                if channels_last:
                    column = np.int64(middle)
                    first_x, end_x = holding(column, g.out_width, g.width, g.kernel_x, g.stride_x, g.pad_x)
                else:
                    y = np.int64(middle)
                    first_y, end_y = holding(y, g.out_height, g.height, g.kernel_y, g.stride_y, g.pad_y)
                total = number(0)
                for oz in range(first_z, end_z):
                    for oy in range(first_y, end_y):
                        at = n * g.x_n + c * g.x_c + oz * g.x_z + oy * g.x_y
                        of = n * g.pooled_n + c * g.pooled_c + oz * g.pooled_z + oy * g.pooled_y
                        for ox in range(first_x, end_x):
                            by = factor(g, number(share), oz, oy, ox)
                            sent = part(x, pooled, at + ox * g.x_x, of + ox * g.pooled_x, by, exponent)
                            total = number(total + sent)
                if powers:
                    at = n * g.given_n + c * g.given_c + z * g.given_z + y * g.given_y + column * g.given_x
                    total = number(total * number(given[at]) ** number(slope))
                out[n * g.out_n + c * g.out_c + z * g.out_z + y * g.out_y + column * g.out_x] = stored(total)

    return gradient
