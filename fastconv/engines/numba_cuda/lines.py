"""Separable filters of float32 planes, in one pass.

A warp goes down a strip, 128 columns wide.  Each row is staged in shared memory a few rows ahead, where the boundary rule is
applied; a thread sums it along x for 4 columns and adds it to the sums along y of all windows that meet the row, in
registers.  The finished one is stored.  So each number is multiplied once for each tap of each axis, and nothing waits for
other warps.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import config, cuda, float32

from fastconv.engines.numba_cuda import emit, emit_lines
from fastconv.engines.numba_cuda.elements import inlined, mapped

__all__ = ["LinesGeometry", "lines_kernel"]

COLUMNS = emit.COLUMNS
WIDTH = 32 * COLUMNS

# The simulator lets blocks wait, not warps: there a block is one.
MOST_WARPS = 1 if config.ENABLE_CUDASIM else 32


@inlined
def wait_for_warp():
    if config.ENABLE_CUDASIM:
        cuda.syncthreads()
    else:
        cuda.syncwarp()


# `strip` rows of results are a warp's; `beside` warps of a block are side by side, the others below.
LinesGeometry = namedtuple(
    "LinesGeometry",
    "height width out_height out_width strip beside pad_y pad_x rule_y rule_x x_n x_y x_x out_n out_y out_x aligned",
)


def lines_kernel(kernel_y: int, kernel_x: int, phase: int, stages: int, warps: int) -> Callable:
    """The kernel for filters of one size; `phase`: where in an aligned vector windows start; `stages`, a power of two:
    rows that have room in shared memory; `warps` of a block.

    Its arguments are pointers to input and output, the fill value, the weights along x and along y, and a
    `LinesGeometry`.
    """
    pitch = WIDTH - COLUMNS + emit_lines.neighbours_of(kernel_x, phase)
    begin, add = emit_lines.begin(kernel_y), emit_lines.line(kernel_y, kernel_x, phase)
    commit, wait = emit_lines.commit_async, emit_lines.wait_but(stages - 2)

    @inlined
    def stage(x, staged, at, first, beyond, g, row, left, lane, low, high):
        if row < 0 or row >= g.height:
            row = mapped(row, g.height, g.rule_y)
        if row < 0:
            for i in range(lane, pitch, 32):
                staged[at + i] = beyond
            return
        source, i = first + row * g.x_y, lane * COLUMNS
        if i >= low and i < high:
            emit.copy_vector(staged, at + i, x, source + i)
        if i + WIDTH < high:
            emit.copy_vector(staged, at + i + WIDTH, x, source + i + WIDTH)
        if low > 0 or high < pitch:
            for i in range(lane, low + pitch - high, 32):
                place = i if i < low else i - low + high
                ix = mapped(left + place, g.width, g.rule_x)
                if ix >= 0:
                    emit.copy_async(staged, at + place, x, source + (ix - left) * g.x_x)
                else:
                    staged[at + place] = beyond

    def lines(x, out, fill, weights, g):
        shared = cuda.shared.array(0, float32)  # starts on a multiple of 16 bytes
        lane, warp = cuda.threadIdx.x & 31, cuda.threadIdx.x >> 5 if warps > 1 else 0
        n = cuda.blockIdx.z
        warps_y = warps // g.beside
        left = (cuda.blockIdx.x * g.beside + warp % g.beside) * WIDTH
        top = (cuda.blockIdx.y * warps_y + warp // g.beside) * g.strip
        rows = min(g.strip, g.out_height - top) + kernel_y - 1
        if left >= g.out_width or rows < kernel_y:
            return
        beyond, own = np.float32(fill), warp * (stages * pitch)
        y, x0 = top - g.pad_y, left - g.pad_x - phase
        first = n * g.x_n + x0 * g.x_x
        # Of what is staged, vectors lie in the image from `low` to `high`.
        low = high = 0
        if g.aligned:
            low = min(max(-x0, 0), pitch)
            high = max(min((g.width - x0) // COLUMNS * COLUMNS, pitch), low)
        at = n * g.out_n + top * g.out_y + (left + lane * COLUMNS) * g.out_x
        beside = g.out_width - left - lane * COLUMNS
        by_vectors = emit.stored_by_vectors(out, at, g.out_y, g.out_x, beside)
        for row in range(stages - 1):
            if row < rows:
                stage(x, shared, own + row * pitch, first, beyond, g, y + row, x0, lane, low, high)
            commit()
        sums = begin()
        for row in range(rows):
            wait()
            wait_for_warp()
            ahead = row + stages - 1
            if ahead < rows:
                place = own + (ahead & (stages - 1)) * pitch
                stage(x, shared, place, first, beyond, g, y + ahead, x0, lane, low, high)
            commit()
            sums, done = add(sums, shared, own + (row & (stages - 1)) * pitch + lane * COLUMNS, weights)
            if row >= kernel_y - 1:
                emit.store_row(out, at, g.out_x, beside, by_vectors, done)
                at += g.out_y

    return lines
