"""The twin of `lines.cu` on Numba's simulator: the same outputs of a thread, without what makes them fast."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import mapped

__all__ = ["LinesGeometry", "lines_twin"]

COLUMNS = 4

LinesGeometry = namedtuple(
    "LinesGeometry",
    "height width out_height out_width pad_y pad_x rule_y rule_x x_n x_y x_x out_n out_y out_x aligned",
)


def lines_twin(kernel_y: int, kernel_x: int, rows: int, warps: int) -> Callable:
    """A kernel for separable filters of one size; `rows` of results of a warp, and `warps` of a block.

    Its arguments are pointers to input and output, the fill value, the weights along x and along y, and a `LinesGeometry`.
    """

    def lines(x: Any, out: Any, fill: Any, weights: Any, g: Any) -> None:
        thread, n = cuda.threadIdx.x, cuda.blockIdx.z
        left, top = (cuda.blockIdx.x * 32 + thread % 32) * COLUMNS, (cuda.blockIdx.y * warps + thread // 32) * rows
        along, below = np.split(np.array(weights, np.float32), [kernel_x])
        for column in range(left, min(left + COLUMNS, g.out_width)):
            xs = [mapped(column - g.pad_x + t, g.width, g.rule_x) for t in range(kernel_x)]
            for row in range(top, min(top + rows, g.out_height)):
                total = np.float32(0)
                for k in range(kernel_y):
                    iy, line = mapped(row - g.pad_y + k, g.height, g.rule_y), np.float32(0)
                    for ix, weight in zip(xs, along, strict=True):
                        inside = iy >= 0 and ix >= 0
                        value = x[n * g.x_n + iy * g.x_y + ix * g.x_x] if inside else np.float32(fill)
                        line += value * weight
                    total += line * below[k]
                out[n * g.out_n + row * g.out_y + column * g.out_x] = total

    return lines
