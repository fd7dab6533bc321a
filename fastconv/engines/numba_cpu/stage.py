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


@inlined
def edge_run(a, position, n):
    # How many of n neighbouring positions from one beyond an end on are a piece of the row, and its direction (-1, 0, 1).
    edges, most = a.map_x + 8 * (position + a.pad_x), min(n, -position)
    if position >= a.width:
        edges, most = a.map_x + 8 * (a.pad_x + position - a.width), n
    run, step = int64(1), int64(0)
    if most > 1:
        step = peek(edges + 8, int64) - peek(edges, int64)
    while run < most and peek(edges + 8 * run, int64) - peek(edges + 8 * (run - 1), int64) == step:
        run += 1
    return run, step


@part
def stage_row(a, dst, row, fill, first, n, acc):
    # dst[i] = the element at position first + i * stride_x of a row (0: the fill value), i < n.
    step, size = a.stride_x, itemsize(acc)
    i = int64(0)
    while i < n:
        position, run, move = first + i * step, int64(1), step
        if 0 <= position < a.width and row != 0:
            run = min(n - i, (a.width - position + step - 1) // step)
        column = int64(-1) if row == 0 else mapped(a.map_x, position, a.width, a.pad_x)
        if column < 0:
            poke(dst + i * size, fill)
        else:
            if step == 1 and not 0 <= position < a.width:
                run, move = edge_run(a, position, n - i)
            load_run(dst + i * size, row + column * a.x_col, move * a.x_col, run, a.src_code, acc)
        i += run
