"""Pooling of small windows, which takes as long as copying what it reads and writes.

A thread folds a few windows, one below the other and side by side, in registers, from vectors that it reads where they lie;
what lies beyond the border is not read.  Threads that are neighbours in a block are so in the image, mostly: what their
windows share comes from the first cache.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import config, cuda

from fastconv.engines.numba_cuda import emit_windows
from fastconv.engines.numba_cuda.elements import inlined

__all__ = ["WindowsGeometry", "windows_kernel"]

# A row of results has `inner` threads, cut into `tiles` of 1 << `across`; `bands` are rows of threads of all planes, those
# of one plane `down`; a pixel has `vectors` of channels.  Each is divided by with a factor and a shift.
WindowsGeometry = namedtuple(
    "WindowsGeometry",
    "inner across bands tiles tiles_by tiles_shift down down_by down_shift vectors vectors_by vectors_shift "
    "channels channels_by channels_shift height width out_height out_width pad_y pad_x first_y limit_y first_x limit_x "
    "x_n x_c x_y x_x out_n out_c out_y out_x",
)


NARROW, UNSIGNED = (int, int) if config.ENABLE_CUDASIM else (np.int32, np.uint32)


@inlined
def product(a, b):
    """A product of numbers of 32 bits, by one instruction; one of 64 bits takes four."""
    return NARROW(a) * NARROW(b)


@inlined
def divided(number, factor, shift):
    return np.int64(UNSIGNED(number) * UNSIGNED(factor)) >> shift


def windows_kernel(shape: emit_windows.Windows, threads: int) -> Callable:
    """The kernel whose threads fold the windows of a shape.

    Its arguments are pointers to input and output, the divisor of a mean and its reciprocal, and a `WindowsGeometry`.
    """
    fold = emit_windows.windows(shape)
    stride_y, stride_x = shape.stride
    rows, columns, phase, wide = shape.rows, shape.columns, shape.phase, shape.load
    channels_last = shape.channels_last

    def windows(x, out, divisor, reciprocal, g):
        block, thread = np.int64(cuda.blockIdx.x), np.int64(cuda.threadIdx.x)
        rest = divided(block, g.tiles_by, g.tiles_shift)
        unit = ((block - product(rest, g.tiles)) << g.across) + (thread & ((1 << g.across) - 1))
        band = product(rest, threads >> g.across) + (thread >> g.across)
        if unit >= g.inner or band >= g.bands:
            return
        plane = divided(band, g.down_by, g.down_shift)
        row = product(band - product(plane, g.down), rows)
        n = divided(plane, g.channels_by, g.channels_shift)
        c = plane - product(n, g.channels)
        at, to = n * g.x_n + c * g.x_c, n * g.out_n + c * g.out_c
        if channels_last:
            tile = divided(unit, g.vectors_by, g.vectors_shift)
            channel, unit = (unit - product(tile, g.vectors)) * wide, tile
            at, to = at + channel, to + channel
        column = product(unit, columns)
        top, left = product(row, stride_y) - g.pad_y, product(column, stride_x) - g.pad_x - phase
        at += product(top, g.x_y) + (product(left, g.x_x) if channels_last else left)
        to += product(row, g.out_y) + (product(column, g.out_x) if channels_last else column)
        below, beside = g.out_height - row, g.out_width - column
        limits = (g.first_y, g.limit_y, g.first_x, g.limit_x)
        scale, inverse = np.float32(divisor), np.float32(reciprocal)
        fold(
            x, at, g.x_y, g.x_x, top, left, g.height, g.width, out, to, g.out_y, g.out_x, below, beside, scale, inverse, limits
        )  # fmt: skip

    return windows
