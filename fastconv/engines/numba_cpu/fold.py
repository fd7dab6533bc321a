"""Windows of images as columns, and columns summed into images.

A pixel is `lanes` channels that lie next to each other, else one.  A unit of unfolding is one row of taps of all windows
of a plane, of folding some rows of a plane: each is summed in scratch memory, its stride phases apart, and stored once.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import types

from fastconv.engines.contract import DTYPE_CODES, FOLD_FIELDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.pool import move, steps_to
from fastconv.engines.numba_cpu.pooling import fill_run
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke
from fastconv.engines.numba_cpu.unpool import clear

__all__ = ["FIELDS", "MAKERS"]

FIELDS = FOLD_FIELDS

LAST_NUMBER = DTYPE_CODES["float64"]


@part
def clear_pixels(a, to, n, dtype):
    if a.lanes == 1:
        clear(to, a.column_x, n, dtype)
    for i in range(0 if a.lanes == 1 else n):
        clear(to + i * a.column_x, a.column_c, a.lanes, dtype)


@part
def inside(a, column):
    # The windows whose tap at `column` of the first one is inside the image.
    begin = min(a.out_width, steps_to(column, 0, a.stride_x))
    return begin, max(begin, min(a.out_width, steps_to(column, a.width, a.stride_x)))


@part
def unfold_plane(a, image, columns, i, dtype):
    for j in range(a.kernel_x):
        column = j * a.dilation_x - a.pad_x
        begin, end = inside(a, column)
        for oy in range(a.out_height):
            y = oy * a.stride_y - a.pad_y + i * a.dilation_y
            to = columns + j * a.column_j + oy * a.column_y
            if y < 0 or y >= a.height:
                clear_pixels(a, to, a.out_width, dtype)
                continue
            clear_pixels(a, to, begin, dtype)
            src, size = image + y * a.image_row + (column + begin * a.stride_x) * a.image_col, end - begin
            step = a.stride_x * a.image_col
            move(to + begin * a.column_x, a.column_x, a.column_c, src, step, a.image_c, size, a.lanes, dtype)
            clear_pixels(a, to + end * a.column_x, a.out_width - end, dtype)


@part
def add_run(a, sums, src, step, n, dtype):
    size = itemsize(dtype)
    if step == size:
        for i in range(n):
            poke(sums + i * size, dtype(peek(sums + i * size, dtype) + peek(src + i * size, dtype)))
    else:
        for i in range(n):
            poke(sums + i * size, dtype(peek(sums + i * size, dtype) + peek(src + i * step, dtype)))


@part
def add_halves(a, sums, src, step, n, element):
    for i in range(n):
        load_run(element, src + i * step, 2, 1, a.dtype, types.float32)
        poke(sums + 4 * i, peek(sums + 4 * i, types.float32) + peek(element, types.float32))


@part
def add_row(a, sums, columns, j, element, dtype, halves):
    # Tap j of a row of windows, added to the row of the image that it lies in.
    column = j * a.dilation_x - a.pad_x
    begin, end = inside(a, column)
    at = column + begin * a.stride_x
    sums += (at % a.stride_x * a.phase + at // a.stride_x * a.lanes) * a.acc_size
    columns += j * a.column_j + begin * a.column_x
    times, n, step = (1, end - begin, a.column_x) if a.lanes == 1 else (end - begin, a.lanes, a.column_c)
    for i in range(times):
        to, src = sums + i * a.lanes * a.acc_size, columns + i * a.column_x
        if halves is not None and a.dtype > LAST_NUMBER:
            add_halves(a, to, src, step, n, element)
        else:
            add_run(a, to, src, step, n, dtype)


@part
def store_row(a, sums, image, dtype, halves):
    for r in range(min(a.stride_x, a.width)):
        n, to, src = (
            (a.width - r + a.stride_x - 1) // a.stride_x,
            image + r * a.image_col,
            sums + r * a.phase * a.acc_size,
        )
        step = a.stride_x * a.image_col
        if halves is not None and a.dtype > LAST_NUMBER:
            for i in range(1 if a.lanes == 1 else n):
                lane, count = (step, n) if a.lanes == 1 else (a.image_c, a.lanes)
                store_run(to + i * step, lane, src + 4 * i * a.lanes, count, a.dtype, types.float32)
        else:
            move(to, step, a.image_c, src, itemsize(dtype) * a.lanes, itemsize(dtype), n, a.lanes, dtype)


def _element(dtype: str) -> types.Number:
    return types.uint8 if dtype == "bool" else getattr(types, dtype)


def unfold(dtype: str, variant: str = "") -> Callable:
    """The kernel for elements of `dtype`; that of float32 is for 16-bit floats, too."""
    kind, halves = _element(dtype), True if dtype == "float32" else None

    def kernel(a, unit, worker):
        plane, i, groups = unit // a.kernel_y, unit % a.kernel_y, a.channels // a.lanes
        n, c = plane // groups, plane % groups
        image = a.x + n * a.image_n + c * a.image_c
        columns = a.out + n * a.column_n + c * a.column_c + i * a.column_i
        if halves is not None and a.size == 2:
            unfold_plane(a, image, columns, i, types.uint16)
        else:
            unfold_plane(a, image, columns, i, kind)

    return kernel


def fold(dtype: str, variant: str = "") -> Callable:
    """The kernel for elements of `dtype`; that of float32 is for 16-bit floats, too."""
    kind, halves = _element(dtype), True if dtype == "float32" else None

    def kernel(a, unit, worker):
        plane, first, groups = unit // a.n_strips, unit % a.n_strips * a.strip, a.channels // a.lanes
        n, c = plane // groups, plane % groups
        columns, image = a.x + n * a.column_n + c * a.column_c, a.out + n * a.image_n + c * a.image_c
        sums, element = a.scratch + worker * a.scratch_bytes, a.scratch + (worker + 1) * a.scratch_bytes - 8
        for y in range(first, min(first + a.strip, a.height)):
            fill_run(sums, a.stride_x * a.phase, kind(0))
            for i in range(a.kernel_y):
                oy = y + a.pad_y - i * a.dilation_y
                if oy < 0 or oy % a.stride_y or oy // a.stride_y >= a.out_height:
                    continue
                row = columns + i * a.column_i + oy // a.stride_y * a.column_y
                for j in range(a.kernel_x):
                    add_row(a, sums, row, j, element, kind, halves)
            store_row(a, sums, image + y * a.image_row, kind, halves)

    return kernel


MAKERS = {"fold": fold, "unfold": unfold}
