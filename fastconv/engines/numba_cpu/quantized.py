"""Sums of quantised numbers, scaled and rounded.  A unit is a strip of lines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import float64, int64

from fastconv.engines.contract import QUANTIZED_FIELDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.simd import peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = QUANTIZED_FIELDS

CHUNK = 512  # elements converted at once


@part
def quantized_line(a, room, x, out, first):
    for i in range(0, a.run, CHUNK):
        n, at = min(a.run - i, CHUNK), 8 * (first + i * a.filter_step)
        load_run(room, x + i * a.x_step, a.x_step, n, a.src_code, float64)
        for j in range(n):
            place = at + 8 * j * a.filter_step
            total = peek(room + 8 * j, float64) + peek(a.bias + place, float64)
            value = np.rint(total * peek(a.w + place, float64)) + float64(a.zero_point)
            poke(room + 8 * j, min(max(value, float64(a.low)), float64(a.high)))
        store_run(out + i * a.out_step, a.out_step, room, n, a.out_code, float64)


def make(dtype: str, variant: str = "") -> Callable:
    """The kernel, whatever type sums have in memory."""

    def kernel(a, unit, worker):
        for line in range(unit * a.strip, min((unit + 1) * a.strip, a.lines)):
            x, out, first, rest = a.x, a.out, int64(0), line
            for axis in range(a.n_axes - 1, -1, -1):
                steps = a.axes + 32 * axis
                i, rest = rest % peek(steps, int64), rest // peek(steps, int64)
                x += i * peek(steps + 8, int64)
                out += i * peek(steps + 16, int64)
                first += i * peek(steps + 24, int64)
            quantized_line(a, a.scratch + worker * a.scratch_bytes, x, out, first)

    return kernel


MAKERS = {"quantized": make}
