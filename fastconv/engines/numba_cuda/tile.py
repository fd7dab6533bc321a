"""The direct filter of float32 planes, tile by tile: every kernel size and boundary rule, steps of one.

A block stages weights and the part of the image that its tile of outputs needs in shared memory, where the
boundary rule is applied.  A thread then sums 8 rows by 4 columns of outputs in registers, four kernel rows by
eight taps at a time: each vector of the image that it loads serves up to 128 multiplications, so that nine
instructions of ten multiply.  What remains of the kernel (its sizes modulo 4 and 8) has code of its own rather than
weights of zero, which would spread NaN and infinity.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, float32

from fastconv.engines.numba_cuda import emit
from fastconv.engines.numba_cuda.elements import inlined, mapped, place_in_batch

__all__ = ["TileGeometry", "tile_kernel"]

# Outputs of a thread; kernel rows and taps that it multiplies at a time; threads of a block, in warps of 32.
ROWS, COLUMNS, DOWN, ALONG = emit.ROWS, emit.COLUMNS, 4, 8
THREADS, WARPS = 128, 4

# Blocks that a multiprocessor shall hold.
BLOCKS = 4

# Sizes and strides in elements.  A grid's x and y are tiles of a plane, its z are planes: channels within a batch.
TileGeometry = namedtuple(
    "TileGeometry",
    "channels height width out_height out_width kernel_y kernel_x pad_y pad_x rule_y rule_x has_bias "
    "x_n x_c x_y x_x w_c w_y w_x out_n out_c out_y out_x bias_c aligned",
)


def tile_kernel(across: int, wide: int, rest_y: int, rest_x: int, DOWN=DOWN, ALONG=ALONG, WARPS=WARPS) -> Callable:
    """The kernel for tiles of `across` threads a row and kernels of at most `wide` columns.

    `rest_y` and `rest_x` are the kernel's height modulo 4 and width modulo 8.  Its arguments are pointers to input,
    kernel, output and bias, the fill value and a `TileGeometry`.
    """
    pitch = COLUMNS * across + wide
    groups = 32 // across  # of rows, that a warp sums
    height, width = ROWS * WARPS * groups, COLUMNS * across
    full_rows, some_rows = _rows(pitch, wide, DOWN, rest_x), _rows(pitch, wide, rest_y, rest_x)

    @inlined
    def stage_weights(w, staged, first, g, thread):
        for row in range(g.kernel_y):
            for column in range(thread, g.kernel_x, THREADS):
                emit.copy_async(staged, row * wide + column, w, first + row * g.w_y + column * g.w_x)

    @inlined
    def stage_image(x, staged, at, first, beyond, g, top, left, rows, columns, warp, lane):
        if top >= 0 and left >= 0 and top + rows <= g.height and left + columns <= g.width:
            for row in range(warp, rows, WARPS):
                source = first + (top + row) * g.x_y + left * g.x_x
                for column in range(lane, columns, 32):
                    emit.copy_async(staged, at + row * pitch + column, x, source + column * g.x_x)
            return
        for row in range(warp, rows, WARPS):
            iy = mapped(top + row, g.height, g.rule_y)
            for column in range(lane, columns, 32):
                ix = mapped(left + column, g.width, g.rule_x)
                value = beyond
                if iy >= 0 and ix >= 0:
                    value = x[first + iy * g.x_y + ix * g.x_x]
                staged[at + row * pitch + column] = value

    def tile(x, w, out, bias, fill, g):
        staged = cuda.shared.array(0, float32)  # starts on a multiple of 16 bytes
        thread = cuda.threadIdx.x
        lane, warp = thread & 31, thread >> 5
        n, c = place_in_batch(g, cuda.blockIdx.z)
        left, top = cuda.blockIdx.x * width, cuda.blockIdx.y * height
        image = g.kernel_y * wide
        rows = min(height, g.out_height - top) + g.kernel_y - 1
        columns = min(width, g.out_width - left) + g.kernel_x - 1
        stage_weights(w, staged, c * g.w_c, g, thread)
        first, beyond = n * g.x_n + c * g.x_c, np.float32(fill)
        stage_image(x, staged, image, first, beyond, g, top - g.pad_y, left - g.pad_x, rows, columns, warp, lane)
        emit.wait_async()
        cuda.syncthreads()

        own_row, own_column = (warp * groups + lane // across) * ROWS, lane % across * COLUMNS
        row, column = top + own_row, left + own_column
        if row >= g.out_height or column >= g.out_width:
            return
        here, weights = np.int32(image + own_row * pitch + own_column), np.int32(0)
        sums = emit.tile_of(bias[c * g.bias_c] if g.has_bias else np.float32(0))
        blocks = np.int32(g.kernel_x // ALONG)
        for _ in range(np.int32(g.kernel_y // DOWN)):
            sums = full_rows(sums, staged, weights, here, blocks)
            weights, here = weights + np.int32(DOWN * wide), here + np.int32(DOWN * pitch)
        if rest_y:
            sums = some_rows(sums, staged, weights, here, blocks)
        at = n * g.out_n + c * g.out_c + row * g.out_y + column * g.out_x
        emit.store_tile(out, at, g.out_y, g.out_x, g.out_height - row, g.out_width - column, sums)

    return tile


def _rows(pitch: int, wide: int, down: int, rest: int) -> Callable:
    """A device function that adds the products of `down` kernel rows, eight taps at a time and then the rest."""
    many, few = emit.multiply_add(pitch, wide, down, ALONG), emit.multiply_add(pitch, wide, down, rest)

    @inlined
    def rows(sums: Any, staged: Any, weights: Any, here: Any, blocks: Any) -> Any:
        for _ in range(blocks):
            sums = many(sums, staged, weights, here)
            weights, here = weights + np.int32(ALONG), here + np.int32(ALONG)
        if rest:
            sums = few(sums, staged, weights, here)
        return sums

    return rows
