"""Separable filters of float32 planes on a GPU, in one pass (`engines.numba_cuda`: `lines.cu`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastconv.algorithms import device
from fastconv.algorithms.device_host import by_tiles
from fastconv.algorithms.device_streams import MAX_BLOCKS, MAX_SIZE
from fastconv.algorithms.device_tile import FLOAT32
from fastconv.problem import ConvProblem, SeparableProblem

__all__ = ["executor", "refuse"]

# The largest kernels, whose rows a tile holds in shared memory.
LARGEST = 31

# Up to this size their outer product is faster.
SMALL = 5

WIDTH = 128  # columns of a tile


class Shape(NamedTuple):
    """Rows of results of a warp, warps of a block, blocks that a multiprocessor shall hold, whether rows are summed in pairs."""

    rows: int
    warps: int
    blocks: int
    paired: int


# By the largest size of a kernel.
SHAPES = {9: Shape(4, 8, 6, 1), 17: Shape(4, 8, 6, 0), 25: Shape(8, 8, 4, 1), 31: Shape(8, 8, 2, 1)}


def refuse(problem: Any) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, SeparableProblem):
        return "is for separable filters"
    why = device.refuse(problem)
    if why is not None:
        return why
    p = problem.conv
    if not p.in_dtype == p.acc == p.out_dtype == FLOAT32:
        return "is for float32"
    if p.ndim != 2 or max(p.stride + p.dilation) > 1 or max(p.kernel_shape) > LARGEST:
        return f"filters planes with kernels up to {LARGEST}x{LARGEST} and steps of one"
    if max(p.kernel_shape) <= SMALL:
        return f"is for kernels larger than {SMALL}x{SMALL}"
    if not p.channels == p.filters == 1 or p.bias:
        return "is for one channel without a bias"
    if max(*p.in_shape, *p.out_shape) > MAX_SIZE:
        return f"is for planes of at most {MAX_SIZE} elements along an axis"
    return None if max(_grid(p)[1:]) <= MAX_BLOCKS else f"is for {MAX_BLOCKS} planes at most"


def executor(problem: SeparableProblem, engine: Any) -> DeviceTiles:
    """The executor of a problem."""
    return DeviceTiles(problem, engine)


def _shape(p: ConvProblem) -> Shape:
    return next(shape for size, shape in SHAPES.items() if max(p.kernel_shape) <= size)


def _grid(p: ConvProblem) -> tuple[int, int, int]:
    """Blocks along a plane's axes, and planes."""
    (height, width), shape = p.out_shape, _shape(p)
    return -(-width // WIDTH), -(-height // (shape.rows * shape.warps)), p.batch


class DeviceTiles(device.DeviceLines):
    """Executes a `SeparableProblem` in tiles, with the weights as arguments."""

    def __init__(self, problem: SeparableProblem, engine: Any):
        super().__init__(problem, engine)
        self.shape, self.phase = _shape(self.problem), -self.problem.pad[1] % 4
        self.layout = lru_cache(maxsize=8)(self._layout)

    def __call__(self, x: Any, w: Any, out: Any, bias: Any, fill: Any, threads: int) -> None:
        if out.size == 0 or by_tiles(self.lines, self.engine, x, w, out, bias, fill):
            return
        with self.engine.Call(out, x) as call:
            source, target = call.put(x), call.put(out, contents=False)
            self.launch(call, source, np.asarray(w), target, fill)
            call.get(target, out)

    def launch(self, call: Any, x: Any, w: np.ndarray, out: Any, fill: Any) -> None:
        """Launch the kernel on an image and a result that lie on the device."""
        kernel_y, kernel_x = self.problem.kernel_shape
        lines = iter(np.split(w, [kernel_y])) if min(kernel_y, kernel_x) > 1 else iter([w])
        down, along = (next(lines) if taps > 1 else np.ones(1) for taps in (kernel_y, kernel_x))
        weights = np.concatenate([along, down]).astype(FLOAT32)
        kernel = self.engine.kernel("lines", kernel_y, kernel_x, self.phase, *self.shape)
        geometry = self.layout(kernel.geometry, device.steps_of(x), device.steps_of(out), x.address % 16 == 0)
        block = (kernel.bounds[0], 1, 1)
        call.start(kernel, _grid(self.problem), block, (x, out), (fill,), geometry, self.shared, weights)

    @property
    def shared(self) -> int:
        """Bytes of shared memory of a block."""
        kernel_y, kernel_x = self.problem.kernel_shape
        columns = 8 if self.shape.paired else 4  # of a lane
        pitch = WIDTH - columns + -(-(self.phase + kernel_x + columns - 1) // 4) * 4
        pitch += 4 if self.shape.paired and pitch % 8 == 0 else 0
        return 4 * pitch * (self.shape.rows * self.shape.warps + kernel_y - 1)

    def _layout(self, record: Any, x: device.Steps, out: device.Steps, aligned: bool) -> Any:
        p = self.problem
        rules = (self.engine.RULES[rule] for rule in p.boundary)
        vectors = aligned and x[3] == 1 and not (x[0] % 4 or x[2] % 4)
        return record(*p.in_shape, *p.out_shape, *p.pad, *rules, x[0], *x[2:], out[0], *out[2:], int(vectors))
