"""The direct filter in plain Numba: one thread for each output element, any boundary, stride and dilation."""

from __future__ import annotations

import operator
from collections import namedtuple
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import conversion, inlined, mapped, place, unfused_product

__all__ = ["filter_kernel", "geometry_of"]

# Sizes in elements, strides in elements.  An image with fewer than three axes has depth
# (and height) 1.  `inner`, `middle` and `outer` are the extents of the grid's x, y and z.
# An image with more has `FURTHER` for each one in front; their positions are part of `outer`, behind the batch's.
FIELDS = (
    "inner middle outer channels_last filters group_filters group_channels has_bias bias_f "
    "depth height width out_depth out_height out_width "
    "kernel_z kernel_y kernel_x stride_z stride_y stride_x dilation_z dilation_y dilation_x pad_z pad_y pad_x "
    "rule_z rule_y rule_x "
    "x_n x_c x_z x_y x_x w_f w_c w_z w_y w_x out_n out_f out_z out_y out_x"
).split()
FURTHER = "size out kernel stride dilation pad rule x_step w_step out_step".split()


@cache
def geometry_of(further: int) -> Any:
    """The record of a filter along so many axes besides depth, height and width."""
    return namedtuple("FilterGeometry", FIELDS + [f"{name}_{axis}" for axis in range(further) for name in FURTHER])


def filter_kernel(acc: str, out: str, exact: str, further: int) -> Callable:
    """The kernel that sums in `acc` and stores `out`; `exact` is that of `fastconv.problem.ConvProblem`.

    Its arguments are pointers to input, kernel, output and bias, the fill value and a record of `geometry_of`.
    """
    to_acc, to_out = getattr(np, acc), conversion(acc, out)
    correlate = _line(exact) if exact in ("line", "symmetric", "antisymmetric") else _window(acc, bool(exact))
    begin = _batch
    for axis in range(further):  # the innermost is decoded first, so it comes last
        correlate, begin = _along(axis, correlate), _place_along(axis, begin)

    def filter(x, w, out, bias, fill, g):
        inner, start = cuda.grid(2)
        if inner >= g.inner:
            return
        beyond = to_acc(fill)
        for outer in range(cuda.blockIdx.z, g.outer, cuda.gridDim.z):
            for middle in range(start, g.middle, cuda.gridDim.y * cuda.blockDim.y):
                n, f, z, y, column = place(g, inner, middle, outer)
                channel = f // g.group_filters * g.group_channels
                total = to_acc(bias[f * g.bias_f]) if g.has_bias else to_acc(0)
                total = correlate(x, w, total, True, beyond, g, n, channel * g.x_c, f * g.w_f, z, y, column)
                out[begin(g, n) + f * g.out_f + z * g.out_z + y * g.out_y + column * g.out_x] = to_out(total)

    return filter


@inlined
def _batch(g, n):
    return n * g.out_n


def _place_along(axis: int, inner: Callable) -> Callable:
    """A device function for where the outputs of a place of the batch and the further axes up to `axis` begin."""
    first = len(FIELDS) + axis * len(FURTHER)
    extent, step = (first + FURTHER.index(name) for name in ("out", "out_step"))

    @inlined
    def begin(g, n):
        return inner(g, n // g[extent]) + n % g[extent] * g[step]

    return begin


def _along(axis: int, inner: Callable) -> Callable:
    """A device function that adds the products of a window along a further axis too; the axes before it are `inner`."""
    first = len(FIELDS) + axis * len(FURTHER)
    size, extent, kernel, stride, dilation, pad, rule, x_step, w_step, _ = range(first, first + len(FURTHER))

    @inlined
    def along(x, w, total, inside, beyond, g, n, first_x, first_w, z, y, column):
        start = n % g[extent] * g[stride] - g[pad]
        for k in range(g[kernel]):
            i = mapped(start + k * g[dilation], g[size], g[rule])
            here, taps = first_x + max(i, 0) * g[x_step], first_w + k * g[w_step]
            total = inner(x, w, total, inside and i >= 0, beyond, g, n // g[extent], here, taps, z, y, column)
        return total

    return along


def _window(acc: str, exact: bool) -> Callable:
    """A device function that adds the products of a window to `total`; `exact` rounds each by itself."""
    to_acc, times = getattr(np, acc), unfused_product if exact else operator.mul

    @inlined
    def window(x, w, total, inside, fill, g, n, first_x, first_w, z, y, column):
        first_x += n * g.x_n
        for c in range(g.group_channels):
            for kz in range(g.kernel_z):
                iz = mapped(z * g.stride_z + kz * g.dilation_z - g.pad_z, g.depth, g.rule_z)
                for ky in range(g.kernel_y):
                    iy = mapped(y * g.stride_y + ky * g.dilation_y - g.pad_y, g.height, g.rule_y)
                    row = first_x + c * g.x_c + iz * g.x_z + iy * g.x_y
                    taps = first_w + c * g.w_c + kz * g.w_z + ky * g.w_y
                    for kx in range(g.kernel_x):
                        ix = mapped(column * g.stride_x + kx * g.dilation_x - g.pad_x, g.width, g.rule_x)
                        value = fill
                        if inside and iz >= 0 and iy >= 0 and ix >= 0:
                            value = to_acc(x[row + ix * g.x_x])
                        total = to_acc(total + times(value, to_acc(w[taps + kx * g.w_x])))
        return total

    return window


def _line(order: str) -> Callable:
    """As `_window` in float64 and exact, for kernels along one axis, with the taps in a given order."""
    times, sign = unfused_product, -1.0 if order == "antisymmetric" else 1.0

    @inlined
    def value_at(k, x, inside, fill, g, first, z, y, column):
        kz, ky, kx = min(k, g.kernel_z - 1), min(k, g.kernel_y - 1), min(k, g.kernel_x - 1)
        iz = mapped(z * g.stride_z + kz * g.dilation_z - g.pad_z, g.depth, g.rule_z)
        iy = mapped(y * g.stride_y + ky * g.dilation_y - g.pad_y, g.height, g.rule_y)
        ix = mapped(column * g.stride_x + kx * g.dilation_x - g.pad_x, g.width, g.rule_x)
        if not inside or iz < 0 or iy < 0 or ix < 0:
            return fill
        return np.float64(x[first + iz * g.x_z + iy * g.x_y + ix * g.x_x])

    @inlined
    def line(x, w, total, inside, fill, g, n, first_x, first_w, z, y, column):
        first_x += n * g.x_n
        taps = g.kernel_z * g.kernel_y * g.kernel_x
        step = g.w_z if g.kernel_z > 1 else g.w_y if g.kernel_y > 1 else g.w_x
        start = taps - 1 if order == "line" else taps // 2  # the last, or the centre; then those before it
        total += times(
            value_at(start, x, inside, fill, g, first_x, z, y, column), np.float64(w[first_w + start * step])
        )
        for k in range(start):
            value = value_at(k, x, inside, fill, g, first_x, z, y, column)
            if order != "line":
                value += sign * value_at(taps - 1 - k, x, inside, fill, g, first_x, z, y, column)
            total += times(value, np.float64(w[first_w + k * step]))
        return total

    return line
