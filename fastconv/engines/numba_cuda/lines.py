"""Separable filters of float32 planes, in one pass that takes up to twice as long as copying the image.

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

COLUMNS, STAGES = emit.COLUMNS, 4
WIDTH = 32 * COLUMNS

# Threads of a block.  The simulator lets blocks wait, not warps: there a block is one.
THREADS = 32 if config.ENABLE_CUDASIM else 128


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


def lines_kernel(kernel_y: int, kernel_x: int, phase: int) -> Callable:
    """The kernel for filters of one size; `phase`: where in an aligned vector windows start.

    Its arguments are pointers to input and output, the fill value, the weights along x and along y, and a `LinesGeometry`.
    """
    pitch = WIDTH - COLUMNS + -(-(phase + kernel_x + COLUMNS - 1) // 4) * 4
    begin, add = emit_lines.begin(kernel_y), emit_lines.line(kernel_y, kernel_x, phase)
    commit, wait = emit_lines.commit_async, emit_lines.wait_but(STAGES - 2)

    @inlined
    def stage(x, staged, at, first, beyond, g, row, left, lane, inside):
        if inside and row >= 0 and row < g.height:
            source = first + row * g.x_y
            emit.copy_vector(staged, at + lane * COLUMNS, x, source + lane * COLUMNS)
            if lane < (pitch - WIDTH) // COLUMNS:
                emit.copy_vector(staged, at + lane * COLUMNS + WIDTH, x, source + lane * COLUMNS + WIDTH)
            return
        iy = mapped(row, g.height, g.rule_y)
        for i in range(lane, pitch, 32):
            ix = mapped(left + i, g.width, g.rule_x)
            if iy >= 0 and ix >= 0:
                emit.copy_async(staged, at + i, x, first + iy * g.x_y + (ix - left) * g.x_x)
            else:
                staged[at + i] = beyond

    def lines(x, out, fill, weights, g):
        shared = cuda.shared.array(0, float32)  # starts on a multiple of 16 bytes
        lane, warp = cuda.threadIdx.x & 31, cuda.threadIdx.x >> 5
        n = cuda.blockIdx.z
        warps_y = THREADS // 32 // g.beside
        left = (cuda.blockIdx.x * g.beside + warp % g.beside) * WIDTH
        top = (cuda.blockIdx.y * warps_y + warp // g.beside) * g.strip
        rows = min(g.strip, g.out_height - top) + kernel_y - 1
        if left >= g.out_width or rows < kernel_y:
            return
        beyond, own = np.float32(fill), warp * (STAGES * pitch)
        y, x0 = top - g.pad_y, left - g.pad_x - phase
        first = n * g.x_n + x0 * g.x_x
        inside = g.aligned and x0 >= 0 and x0 + pitch <= g.width
        at = n * g.out_n + top * g.out_y + (left + lane * COLUMNS) * g.out_x
        beside = g.out_width - left - lane * COLUMNS
        for row in range(STAGES - 1):
            if row < rows:
                stage(x, shared, own + row * pitch, first, beyond, g, y + row, x0, lane, inside)
            commit()
        sums = begin()
        for row in range(rows):
            wait()
            wait_for_warp()
            ahead = row + STAGES - 1
            if ahead < rows:
                stage(x, shared, own + (ahead & (STAGES - 1)) * pitch, first, beyond, g, y + ahead, x0, lane, inside)
            commit()
            sums, done = add(sums, shared, own + (row & (STAGES - 1)) * pitch + lane * COLUMNS, weights)
            if row >= kernel_y - 1:
                emit.store_tile(out, at, g.out_y, g.out_x, 1, beside, done)
                at += g.out_y

    return lines
