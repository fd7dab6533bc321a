"""What every kernel that slides a window over planes shares: rows of any dtype to and from accumulators.

`a` is a record that has the contract's GEOMETRY; addresses and steps are in bytes.
"""

from __future__ import annotations

from numba import int64, types

from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke, run_convert

__all__ = ["copy_run", "mapped", "memory_type", "source_row", "stage_row"]


def memory_type(dtype: str) -> types.Type:
    """The Numba type of a dtype in memory."""
    return types.boolean if dtype == "bool" else getattr(types, dtype)


@inlined
def mapped(edges, position, size, pad):
    # The input index at a position; -1 is the fill value.
    if position < 0:
        return peek(edges + 8 * (position + pad), int64, int64)
    if position >= size:
        return peek(edges + 8 * (pad + position - size), int64, int64)
    return position


@part
def copy_run(to, to_step, target, at, at_step, source, n, wide):
    # Move n elements, converting source to target; in vectors as long as those of `wide` where both runs are dense.
    lanes = VECTOR_BYTES // itemsize(wide)
    if to_step == itemsize(target) and at_step == itemsize(source) and n >= lanes:
        last = n - lanes
        for i in range(0, last, lanes):
            run_convert(to + i * itemsize(target), target, at + i * itemsize(source), source, wide)
        run_convert(to + last * itemsize(target), target, at + last * itemsize(source), source, wide)
        return
    for i in range(n):
        poke(peek(at + i * at_step, source, target), to + i * to_step, target)


@inlined
def fill_run(to, n, value, acc):
    for i in range(n):
        poke(value, to + i * itemsize(acc), acc)


@inlined
def stage_one(a, to, row, fill, position, acc, source):
    # One element of a row at a position that may lie beyond its ends.
    column = mapped(a.map_x, position, a.width, a.pad_x)
    poke(fill if column < 0 else peek(row + column * a.x_col, source, acc), to, acc)


@part
def stage_row(a, to, row, fill, first, n, acc, source):
    # to[i] = the element at position first + i * stride_x of a row (0: the fill value), i < n.
    step, size = a.stride_x, itemsize(acc)
    if row == 0:
        fill_run(to, n, fill, acc)
        return
    begin = min(n, max(0, (step - 1 - first) // step))
    end = max(begin, min(n, (a.width - first + step - 1) // step))
    for i in range(begin):
        stage_one(a, to + i * size, row, fill, first + i * step, acc, source)
    at = row + (first + begin * step) * a.x_col
    copy_run(to + begin * size, size, acc, at, step * a.x_col, source, end - begin, acc)
    for i in range(end, n):
        stage_one(a, to + i * size, row, fill, first + i * step, acc, source)


@inlined
def source_row(a, plane, position):
    # The row at a position of a plane, 0 for the fill value.
    row = mapped(a.map_y, position, a.height, a.pad_y)
    return int64(0) if row < 0 else plane + row * a.x_row
