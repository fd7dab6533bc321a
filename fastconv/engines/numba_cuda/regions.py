"""Pooling over windows that vary or are large, in plain Numba: maxima, means and powers.

What a window folds to is in three pieces (`Fold`): where it starts, a step for each element, how two parts are merged.
Small windows have a thread for each output.  Large ones have the threads of a block, each of which folds some of the
elements; parts are merged in shared memory, always in the same order.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from fastconv.engines.numba_cuda.elements import conversion, in_memory, inlined, place

__all__ = ["RegionGeometry", "counted_in", "number_of", "quotient", "region_kernel", "wide_kernel", "window_in"]

# As in PoolGeometry.  `after` is the padding behind an axis, `taps` the size of a whole window; `starts` are where the table of
# fractional windows has those of an axis, -1 for one that is not there, and `table` is its length for a plane; `groups` are
# those of the channels that the threads of a block share.
RegionGeometry = namedtuple(
    "RegionGeometry",
    "inner middle outer channels_last filters groups depth height width out_depth out_height out_width "
    "kernel_z kernel_y kernel_x stride_z stride_y stride_x pad_z pad_y pad_x after_z after_y after_x "
    "starts_z starts_y starts_x table include_pad divisor taps "
    "x_n x_c x_z x_y x_x indices_n indices_c indices_z indices_y indices_x out_n out_c out_z out_y out_x",
)

_LARGEST = (1 << 32) - 1


@inlined
def quotient(a, b):
    """The quotient of numbers that are not negative; one of 32 bits takes a fifth of the instructions."""
    if a <= _LARGEST and b <= _LARGEST:
        return np.int64(np.uint32(a) // np.uint32(b))
    return a // b


def window_in(windows: str) -> Callable:
    """A device function that returns the first position of a window inside an axis, and the one behind the last."""

    @inlined
    def steps(y, size, out, kernel, stride, pad, starts, at):
        start = y * stride - pad
        return max(start, 0), min(start + kernel, size)

    @inlined
    def adaptive(y, size, out, kernel, stride, pad, starts, at):
        return quotient(y * size, out), quotient((y + 1) * size + out - 1, out)

    @inlined
    def fractional(y, size, out, kernel, stride, pad, starts, at):
        start = starts[at + y] if at >= 0 else np.int64(0)
        return start, start + kernel

    return {"steps": steps, "adaptive": adaptive, "fractional": fractional}[windows]


def counted_in(windows: str) -> Callable:
    """A device function that returns how many positions of a window along an axis count in the divisor of a mean."""

    @inlined
    def steps(y, first, end, size, kernel, stride, pad, after, include_pad):
        start = y * stride - pad
        if include_pad:
            return min(start + kernel, size + after) - max(start, -pad)
        return max(end - first, 0)

    @inlined
    def all_inside(y, first, end, size, kernel, stride, pad, after, include_pad):
        return end - first

    return steps if windows == "steps" else all_inside


def number_of(kind: str, dtype: str) -> str:
    """The type in which numbers are compared or summed."""
    if dtype == "float16":
        return "float32"
    if kind == "avg" and dtype[:5] != "float":
        return "uint64" if dtype[0] == "u" else "int64"
    return in_memory(dtype)


class Fold(NamedTuple):
    """What a window folds to: a number and a position, -1 while there is none; `finish` makes the result of the number."""

    start: Any
    step: Callable
    merge: Callable
    finish: Callable


def _largest(kind: str, dtype: str) -> Fold:
    """The first of the largest, but the last NaN; of absolute values, or ("least") their negatives, for infinite powers."""
    number, stored, code = getattr(np, number_of("max", dtype)), getattr(np, in_memory(dtype)), np.dtype(dtype).kind
    lowest = number(-np.inf if code == "f" else 0 if code == "b" else int(np.iinfo(dtype).min))

    @inlined
    def step(best, where, element, at, power):
        value = number(element)
        if kind != "max":
            value = abs(value)
        if kind == "least":
            value = -value
        if where < 0 or value > best or value != value:
            return value, at
        return best, where

    @inlined
    def merge(best, where, other, there):
        nan, other_nan = best != best, other != other
        take = other > best or (other == best and there < where)
        if nan or other_nan:
            take = other_nan and (there > where or not nan)
        if there >= 0 and (where < 0 or take):
            return other, there
        return best, where

    @inlined
    def finish(best, divisor, taps, root):
        return stored(-best if kind == "least" else best)

    return Fold(lowest, step, merge, finish)


def _sum(kind: str, dtype: str) -> Fold:
    """Sums of elements ("avg"), their squares ("squares") or powers ("lp"), divided as `fastconv.problem.PoolProblem` tells."""
    acc, code = number_of("avg", dtype), np.dtype(dtype).kind
    number, stored = getattr(np, acc), conversion(acc, dtype)

    @inlined
    def step(total, where, element, at, power):
        value = number(element)
        if kind == "squares":
            value = number(value * value)
        if kind == "lp":
            value = value ** number(power)
        return number(total + value), at

    @inlined
    def merge(total, where, other, there):
        return number(total + other), where

    @inlined
    def finish(total, divisor, taps, root):
        if code != "f":
            whole = total // number(divisor)
            if code == "i" and whole < 0 and whole * number(divisor) != total:
                whole += number(1)
            return stored(whole)
        mean = number(total / number(divisor))
        if kind == "squares":
            mean = number(math.sqrt(number(mean * number(taps))))
        if kind == "lp":
            mean = number(mean * number(taps)) ** number(root)
        return stored(mean)

    return Fold(number(0), step, merge, finish)


def _fold(kind: str, dtype: str) -> Fold:
    return (_largest if kind in ("max", "most", "least") else _sum)(kind, dtype)


def _bounds(windows: str) -> Callable:
    """A device function that returns the positions of an output's window along each axis, and the divisor of its mean."""
    window, counted = window_in(windows), counted_in(windows)

    @inlined
    def bounds(g, starts, n, c, z, y, column):
        plane = (n * g.filters + c) * g.table
        at_z = plane + g.starts_z if g.starts_z >= 0 else np.int64(-1)
        at_y = plane + g.starts_y if g.starts_y >= 0 else np.int64(-1)
        at_x = plane + g.starts_x if g.starts_x >= 0 else np.int64(-1)
        first_z, end_z = window(z, g.depth, g.out_depth, g.kernel_z, g.stride_z, g.pad_z, starts, at_z)
        first_y, end_y = window(y, g.height, g.out_height, g.kernel_y, g.stride_y, g.pad_y, starts, at_y)
        first_x, end_x = window(column, g.width, g.out_width, g.kernel_x, g.stride_x, g.pad_x, starts, at_x)
        deep = counted(z, first_z, end_z, g.depth, g.kernel_z, g.stride_z, g.pad_z, g.after_z, g.include_pad)
        high = counted(y, first_y, end_y, g.height, g.kernel_y, g.stride_y, g.pad_y, g.after_y, g.include_pad)
        wide = counted(column, first_x, end_x, g.width, g.kernel_x, g.stride_x, g.pad_x, g.after_x, g.include_pad)
        divisor = max(g.divisor if g.divisor > 0 else deep * high * wide, 1)
        return first_z, end_z, first_y, end_y, first_x, end_x, divisor

    return bounds


def region_kernel(kind: str, dtype: str, windows: str, indices: bool) -> Callable:
    """The kernel with a thread for each output.

    Its arguments are pointers to input, indices, output and the starts of fractional windows, an exponent and its inverse,
    and a `RegionGeometry`.  `kind` is "max", "avg", "lp" or, of its powers 2, infinity and minus infinity, "squares",
    "most" and "least".
    """
    (start, step, _, finish), bounds = _fold(kind, dtype), _bounds(windows)

    def pool(x, where, out, starts, power, root, g):
        inner, below = cuda.grid(2)
        if inner >= g.inner:
            return
        for outer in range(cuda.blockIdx.z, g.outer, cuda.gridDim.z):
            for middle in range(below, g.middle, cuda.gridDim.y * cuda.blockDim.y):
                n, c, z, y, column = place(g, inner, middle, outer)
                first_z, end_z, first_y, end_y, first_x, end_x, divisor = bounds(g, starts, n, c, z, y, column)
                best, found = start, np.int64(-1)
                for iz in range(first_z, end_z):
                    for iy in range(first_y, end_y):
                        line = n * g.x_n + c * g.x_c + iz * g.x_z + iy * g.x_y
                        flat = (iz * g.height + iy) * g.width
                        for ix in range(first_x, end_x):
                            best, found = step(best, found, x[line + ix * g.x_x], flat + ix, power)
                at = n * g.out_n + c * g.out_c + z * g.out_z + y * g.out_y + column * g.out_x
                out[at] = finish(best, divisor, g.taps, root)
                if indices:
                    line = n * g.indices_n + c * g.indices_c + z * g.indices_z + y * g.indices_y
                    where[line + column * g.indices_x] = found

    return pool


def wide_kernel(
    kind: str, dtype: str, windows: str, indices: bool, threads: int, lanes: int, channels_last: bool
) -> Callable:
    """The kernel with a block for `lanes` outputs: of channels that lie next to each other, or one after the other.

    Its arguments are those of `region_kernel`; elements of a window are dealt out to threads.
    """
    (start, step, merge, finish), bounds = _fold(kind, dtype), _bounds(windows)
    parts, number = threads // lanes, getattr(types, number_of("max" if kind in ("most", "least") else kind, dtype))

    @inlined
    def part_of(x, first, g, part, lowest, iz, high, iy, wide, ix, count, power):
        """What every so manyth element of a window folds to: steps are planes, rows and columns, carried over."""
        best, found = lowest, np.int64(-1)
        if count == wide:  # a line: four elements are called for at a time
            at = first + iz * g.x_z + iy * g.x_y + ix * g.x_x
            flat, step_x = (iz * g.height + iy) * g.width + ix, parts * g.x_x
            while part < count:
                here = at + part * g.x_x
                if part + 3 * parts < count:
                    a, b, c, d = x[here], x[here + step_x], x[here + 2 * step_x], x[here + 3 * step_x]
                    best, found = step(best, found, a, flat + part, power)
                    best, found = step(best, found, b, flat + part + parts, power)
                    best, found = step(best, found, c, flat + part + 2 * parts, power)
                    best, found = step(best, found, d, flat + part + 3 * parts, power)
                    part += 4 * parts
                else:
                    best, found = step(best, found, x[here], flat + part, power)
                    part += parts
            return best, found
        row = quotient(part, wide)
        column, plane = part - row * wide, quotient(row, high)
        row -= plane * high
        down = quotient(parts, wide)
        along, deep = parts - down * wide, quotient(down, high)
        down -= deep * high
        for _ in range(part, count, parts):
            at = first + (iz + plane) * g.x_z + (iy + row) * g.x_y + (ix + column) * g.x_x
            flat = ((iz + plane) * g.height + iy + row) * g.width + ix + column
            best, found = step(best, found, x[at], flat, power)
            column += along
            row += down
            plane += deep
            if column >= wide:
                column -= wide
                row += 1
            if row >= high:
                row -= high
                plane += 1
        return best, found

    @inlined
    def output(block, thread, g):
        """The part of a window and the output that a thread has, and whether there is one."""
        if channels_last:
            part, rest = thread // lanes, quotient(block, g.groups)
            c = (block - rest * g.groups) * lanes + thread - part * lanes
            inside = c < g.filters
        else:
            rest = block * lanes + thread // parts
            part, c, inside = thread % parts, np.int64(0), rest < g.inner * g.middle * g.outer
        line = quotient(rest, g.out_width)
        solid = quotient(line, g.out_height)
        column, y, n = rest - line * g.out_width, line - solid * g.out_height, quotient(solid, g.out_depth)
        z = solid - n * g.out_depth
        if not channels_last:
            plane, n = n, quotient(n, g.filters)
            c = plane - n * g.filters
        return part, n, c, z, y, column, inside

    def pool(x, where, out, starts, power, root, g):
        numbers = cuda.shared.array(threads, number)
        places = cuda.shared.array(threads, types.int64)  # a line of its own tells it apart on the simulator
        thread = np.int64(cuda.threadIdx.x)
        part, n, c, z, y, column, inside = output(np.int64(cuda.blockIdx.x), thread, g)
        best, found, divisor = start, np.int64(-1), np.int64(1)
        if inside:
            first_z, end_z, first_y, end_y, first_x, end_x, divisor = bounds(g, starts, n, c, z, y, column)
            high, wide = max(end_y - first_y, 0), max(end_x - first_x, 0)
            count = max(end_z - first_z, 0) * high * wide
            first = n * g.x_n + c * g.x_c
            if count > 0:
                best, found = part_of(x, first, g, part, start, first_z, high, first_y, wide, first_x, count, power)
        numbers[thread], places[thread] = best, found
        half = parts // 2
        while half > 0:
            cuda.syncthreads()
            if part < half:
                other = thread + half * (lanes if channels_last else 1)
                best, found = merge(best, found, numbers[other], places[other])
                numbers[thread], places[thread] = best, found
            half //= 2
        if part == 0 and inside:
            at = n * g.out_n + c * g.out_c + z * g.out_z + y * g.out_y + column * g.out_x
            out[at] = finish(best, divisor, g.taps, root)
            if indices:
                line = n * g.indices_n + c * g.indices_c + z * g.indices_z + y * g.indices_y
                where[line + column * g.indices_x] = found

    return pool
