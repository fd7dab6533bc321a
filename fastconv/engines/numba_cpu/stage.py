"""What every kernel that slides a window over planes shares: positions and rows of the input.

`a` is a record that has the contract's GEOMETRY; addresses and steps are in bytes.
"""

from __future__ import annotations

from numba import int64

from fastconv.engines.numba_cpu.convert import load_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke

__all__ = ["mapped", "source_row", "stage_row"]


@inlined
def mapped(edges, position, size, pad):
    # The input index at a position; -1 is the fill value.
    if position < 0:
        return peek(edges + 8 * (position + pad), int64)
    if position >= size:
        return peek(edges + 8 * (pad + position - size), int64)
    return position


@inlined
def source_row(a, plane, position):
    # The row at a position of a plane, 0 for the fill value.
    row = mapped(a.map_y, position, a.height, a.pad_y)
    return int64(0) if row < 0 else plane + row * a.x_row


@part
def stage_row(a, dst, row, fill, first, n, acc):
    # dst[i] = the element at position first + i * stride_x of a row (0: the fill value), i < n.
    step, size = a.stride_x, itemsize(acc)
    i = int64(0)
    while i < n:
        position, run = first + i * step, int64(1)
        if 0 <= position < a.width and row != 0:
            run = min(n - i, (a.width - position + step - 1) // step)
        column = int64(-1) if row == 0 else mapped(a.map_x, position, a.width, a.pad_x)
        if column < 0:
            poke(dst + i * size, fill)
        else:
            load_run(dst + i * size, row + column * a.x_col, step * a.x_col, run, a.src_code, acc)
        i += run
