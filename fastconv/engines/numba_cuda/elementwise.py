"""Elementwise operations in plain Numba: what filters put together of several results."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import conversion, in_memory, inlined

__all__ = ["OPERATIONS", "MapGeometry", "map_kernel"]

# Sizes and strides in elements, along four axes of which z is inside b; see `fastconv.algorithms.device_axes`.
MapGeometry = namedtuple(
    "MapGeometry",
    "inner middle outer "
    "size_b first_b second_b out_b "
    "size_z first_z second_z out_z "
    "size_y first_y second_y out_y "
    "size_x first_x second_x out_x",
)

OPERATIONS = ("copy", "add", "multiply", "sqrt")


def map_kernel(operation: str, source: str, out: str) -> Callable:
    """The kernel of one of `OPERATIONS` on numbers of type `source`; integers wrap, roots of them are cut.

    Its arguments are pointers to two inputs (the same where there is but one) and the output, and a
    `MapGeometry`.
    """
    number = getattr(np, in_memory(source))
    compute = {"copy": _first, "add": _sum(number), "multiply": _product(number), "sqrt": _root(source)}[operation]
    made = "float64" if operation == "sqrt" and np.dtype(source).kind != "f" else in_memory(source)
    to_out, two = conversion(made, out), operation in ("add", "multiply")

    def elementwise(first, second, out, g):
        inner, start = cuda.grid(2)
        if inner >= g.inner:
            return
        for outer in range(cuda.blockIdx.z, g.outer, cuda.gridDim.z):
            b, z = outer // g.size_z, outer % g.size_z
            for middle in range(start, g.middle, cuda.gridDim.y * cuda.blockDim.y):
                a = number(first[b * g.first_b + z * g.first_z + middle * g.first_y + inner * g.first_x])
                other = a
                if two:
                    other = number(second[b * g.second_b + z * g.second_z + middle * g.second_y + inner * g.second_x])
                out[b * g.out_b + z * g.out_z + middle * g.out_y + inner * g.out_x] = to_out(compute(a, other))

    return elementwise


@inlined
def _first(a, b):
    return a


def _sum(number: Callable) -> Callable:
    @inlined
    def add(a, b):
        return number(a + b)

    return add


def _product(number: Callable) -> Callable:
    @inlined
    def multiply(a, b):
        return number(a * b)

    return multiply


def _root(dtype: str) -> Callable:
    wide = np.float32 if dtype == "float32" else np.float64

    @inlined
    def root(a, b):
        value = wide(a)
        return math.sqrt(value) if value >= 0 else wide(math.nan)  # Python's raises an error

    return root
