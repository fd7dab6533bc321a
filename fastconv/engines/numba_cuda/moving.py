"""Moving windows in plain Numba: one thread for each output element, any footprint and boundary."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import conversion, in_memory, inlined, mapped

__all__ = ["MovingGeometry", "moving_kernel"]

# Sizes and strides in elements, along four axes of which z is inside b; see `fastconv.algorithms.device_axes`.
MovingGeometry = namedtuple(
    "MovingGeometry",
    "inner middle outer "
    "size_b window_b pad_b rule_b tap_b x_b out_b "
    "size_z window_z pad_z rule_z tap_z x_z out_z "
    "size_y window_y pad_y rule_y tap_y x_y out_y "
    "size_x window_x pad_x rule_x tap_x x_x out_x",
)

# Sums of so many elements are added up: rounding errors hardly grow with the window.
PART = 16


def moving_kernel(kind: str, acc: str, out: str, footprint: bool, structure: bool) -> Callable:
    """The kernel of a `fastconv.problem.WindowProblem` other than a rank: "max", "min" or "mean" in `acc`.

    Its arguments are pointers to input, footprint (bytes), structure and output, what is beyond a border, and a
    `MovingGeometry`.  NaN is the extreme of every window that it is in.
    """
    to_acc, mean = getattr(np, in_memory(acc)), kind == "mean"
    exact = mean and acc == "int64"  # sums of integers, divided as floating-point numbers
    to_out = conversion("float64" if exact else in_memory(acc), out)
    fold = _add(to_acc) if mean else _larger if kind == "max" else _smaller

    @inlined
    def store(out, at, total, part, count):
        if mean:
            total = to_acc(total + part)
        if exact:
            out[at] = to_out(np.float64(total) / np.float64(count))
        elif mean:
            out[at] = to_out(to_acc(total / to_acc(count)))
        else:
            out[at] = to_out(total)

    @inlined
    def inside(x, taps, raised, out, to, g, first):
        """The window of an output that reaches beyond no border: nothing is looked up."""
        total, part, count = to_acc(0), to_acc(0), 0
        for kb in range(g.window_b):
            for kz in range(g.window_z):
                for ky in range(g.window_y):
                    at = first + kb * g.x_b + kz * g.x_z + ky * g.x_y
                    tap = kb * g.tap_b + kz * g.tap_z + ky * g.tap_y
                    for _ in range(g.window_x):
                        if not footprint or taps[tap] != 0:
                            value = to_acc(x[at])
                            if structure:
                                value = to_acc(value + raised[tap])
                            total, part, count = fold(total, part, count, value)
                        at += g.x_x
                        tap += g.tap_x
        store(out, to, total, part, count)

    @inlined
    def across(x, taps, raised, out, to, g, beyond, b, z, y, column):
        """The window of an output at a border, from its first position on."""
        total, part, count = to_acc(0), to_acc(0), 0
        for kb in range(g.window_b):
            ib = mapped(b + kb, g.size_b, g.rule_b)
            for kz in range(g.window_z):
                iz = mapped(z + kz, g.size_z, g.rule_z)
                for ky in range(g.window_y):
                    iy = mapped(y + ky, g.size_y, g.rule_y)
                    row = ib * g.x_b + iz * g.x_z + iy * g.x_y
                    tap = kb * g.tap_b + kz * g.tap_z + ky * g.tap_y
                    for kx in range(g.window_x):
                        if not footprint or taps[tap] != 0:
                            ix = mapped(column + kx, g.size_x, g.rule_x)
                            value = beyond
                            if ib >= 0 and iz >= 0 and iy >= 0 and ix >= 0:
                                value = to_acc(x[row + ix * g.x_x])
                            if structure:
                                value = to_acc(value + raised[tap])
                            total, part, count = fold(total, part, count, value)
                        tap += g.tap_x
        store(out, to, total, part, count)

    def moving(x, taps, raised, out, fill, g):
        inner, start = cuda.grid(2)
        if inner >= g.inner:
            return
        beyond, column = to_acc(fill), inner - g.pad_x
        within = column >= 0 and column + g.window_x <= g.size_x
        for outer in range(cuda.blockIdx.z, g.outer, cuda.gridDim.z):
            b, z = outer // g.size_z - g.pad_b, outer % g.size_z - g.pad_z
            planes = b >= 0 and b + g.window_b <= g.size_b and z >= 0 and z + g.window_z <= g.size_z
            for middle in range(start, g.middle, cuda.gridDim.y * cuda.blockDim.y):
                y = middle - g.pad_y
                to = (b + g.pad_b) * g.out_b + (z + g.pad_z) * g.out_z + middle * g.out_y + inner * g.out_x
                if within and planes and y >= 0 and y + g.window_y <= g.size_y:
                    first = b * g.x_b + z * g.x_z + y * g.x_y + column * g.x_x
                    inside(x, taps, raised, out, to, g, first)
                else:
                    across(x, taps, raised, out, to, g, beyond, b, z, y, column)

    return moving


def _add(number: Callable) -> Callable:
    @inlined
    def add(total, part, count, value):
        part, count = number(part + value), count + 1
        if count % PART == 0:
            total, part = number(total + part), number(0)
        return total, part, count

    return add


@inlined
def _larger(best, part, count, value):
    return (value if count == 0 or value > best or value != value else best), part, count + 1


@inlined
def _smaller(best, part, count, value):
    return (value if count == 0 or value < best or value != value else best), part, count + 1
