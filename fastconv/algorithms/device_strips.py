"""How separable filters of float32 planes are cut on a GPU (`engines.numba_cuda`: `line_tiles.cu`, `lines.cu`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastconv.algorithms import device
from fastconv.algorithms.device_streams import PROCESSORS
from fastconv.problem import ConvProblem

__all__ = ["Shape", "Strips"]

WIDTH = 128  # columns of a warp

# Strips have so many rows, if the image has.
SHORTEST, LONGEST = 8, 512


class Shape(NamedTuple):
    """A kernel: its name, rows of a warp (results of tiles, staged ones of strips), warps of a block, blocks that a
    multiprocessor shall hold, and whether a warp of a tile sums rows in pairs."""

    operation: str
    rows: int
    warps: int
    blocks: int
    paired: int = 0


class Strips:
    """Launches the separable filter of a problem."""

    def __init__(self, problem: ConvProblem, engine: Any, shape: Shape):
        self.problem, self.engine, self.shape = problem, engine, shape
        self.phase = -problem.pad[1] % 4
        self.layout = lru_cache(maxsize=8)(self._layout)

    def cut(self) -> tuple[int, int]:
        """Rows of a warp's results, and how many warps of a block are side by side."""
        if self.shape.operation == "line_tiles":
            return self.shape.rows, 1
        height, width = self.problem.out_shape
        across = -(-width // WIDTH)
        beside = min(self.shape.warps, 1 << (across - 1).bit_length())
        warps = PROCESSORS * self.shape.blocks * self.shape.warps  # that run at the same time
        strips = max(1, min(warps // (-(-across // beside) * beside * self.problem.batch), -(-height // SHORTEST)))
        return min(-(-height // strips), LONGEST), beside

    def grid(self) -> tuple[int, int, int]:
        """Blocks along a plane's axes, and planes."""
        height, width = self.problem.out_shape
        rows, beside = self.cut()
        return -(-width // (WIDTH * beside)), -(-height // (rows * (self.shape.warps // beside))), self.problem.batch

    @property
    def shared(self) -> int:
        """Bytes of shared memory of a block."""
        operation, rows, warps, _, paired = self.shape
        kernel_y, kernel_x = self.problem.kernel_shape
        pitch = WIDTH - 4 + -(-(self.phase + kernel_x + 3) // 4) * 4
        pitch += 4 if paired and pitch % 8 == 0 else 0
        return 4 * pitch * (rows * warps + kernel_y - 1 if operation == "line_tiles" else warps * (rows + 1))

    def launch(self, call: Any, x: Any, weights: np.ndarray, out: Any, fill: Any) -> None:
        """Launch the kernel on an image and a result that lie on the device."""
        operation, *numbers = self.shape
        kernel = self.engine.kernel(operation, *self.problem.kernel_shape, self.phase, *numbers)
        geometry = self.layout(kernel.geometry, device.steps_of(x), device.steps_of(out), x.address % 16 == 0)
        block = (kernel.bounds[0], 1, 1)
        call.start(kernel, self.grid(), block, (x, out), (fill,), geometry, self.shared, weights)

    def _layout(self, record: Any, x: device.Steps, out: device.Steps, aligned: bool) -> Any:
        p = self.problem
        rules = (self.engine.RULES[rule] for rule in p.boundary)
        vectors = aligned and x[3] == 1 and not (x[0] % 4 or x[2] % 4)
        return record(
            *p.in_shape, *p.out_shape, *self.cut(), *p.pad, *rules, x[0], *x[2:], out[0], *out[2:], int(vectors)
        )
