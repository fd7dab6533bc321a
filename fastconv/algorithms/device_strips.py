"""Filters of float32 planes on a GPU in strips, one kernel launch (`engines.numba_cuda.lines`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastconv.algorithms import device
from fastconv.problem import ConvProblem

__all__ = ["Shape", "Strips"]

WIDTH = 128  # columns of a warp

# Strips have so many rows, if the image has.
SHORTEST, LONGEST = 8, 512


class Shape(NamedTuple):
    """Rows that a warp has staged, warps of a block, blocks that a multiprocessor shall hold, and strips to cut images into."""

    stages: int
    warps: int
    blocks: int
    strips: int


class Strips:
    """Launches the separable filter of a problem."""

    def __init__(self, problem: ConvProblem, engine: Any, shape: Shape):
        self.problem, self.engine, self.shape = problem, engine, shape
        self.layout = lru_cache(maxsize=8)(self._layout)

    def kernel(self) -> Any:
        """The kernel."""
        p = self.problem
        return self.engine.kernel("lines", *p.kernel_shape, -p.pad[1] % 4, *self.shape[:3])

    def cut(self, warps: int) -> tuple[int, int]:
        """Rows of a strip, and how many warps of a block are side by side."""
        height, width = self.problem.out_shape
        across = -(-width // WIDTH)
        strips = max(1, min(self.shape.strips // (across * self.problem.batch), -(-height // SHORTEST)))
        return min(-(-height // strips), LONGEST), min(warps, 1 << (across - 1).bit_length())

    def grid(self, warps: int) -> tuple[int, int, int]:
        """The grid for blocks of so many warps."""
        height, width = self.problem.out_shape
        strip, beside = self.cut(warps)
        return -(-width // (WIDTH * beside)), -(-height // (strip * (warps // beside))), self.problem.batch

    def launch(self, call: Any, x: Any, weights: np.ndarray, out: Any, fill: Any) -> None:
        """Launch the kernel on an image and a result that lie on the device."""
        p, kernel = self.problem, self.kernel()
        phase, threads = -p.pad[1] % 4, kernel.bounds[0]
        warps, steps = threads // 32, (device.steps_of(array) for array in (x, out))
        geometry = self.layout(kernel.geometry, warps, *steps, x.address % 16 == 0)
        pitch = WIDTH - 4 + -(-(phase + p.kernel_shape[1] + 3) // 4) * 4
        shared = 4 * warps * self.shape.stages * pitch
        call.start(kernel, self.grid(warps), (threads, 1, 1), (x, out), (fill,), geometry, shared, weights)

    def _layout(self, record: Any, warps: int, x: device.Steps, out: device.Steps, aligned: bool) -> Any:
        p = self.problem
        rules = (self.engine.RULES[rule] for rule in p.boundary)
        vectors = aligned and x[3] == 1 and not (x[0] % 4 or x[2] % 4)
        return record(
            *p.in_shape, *p.out_shape, *self.cut(warps), *p.pad, *rules, x[0], *x[2:], out[0], *out[2:], int(vectors)
        )
