"""Separable filters of float32 planes on a GPU, in one pass (`engines.numba_cuda`: `line_tiles.cu` and `lines.cu`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.algorithms import device
from fastconv.algorithms.device_host import by_tiles
from fastconv.algorithms.device_streams import MAX_BLOCKS, MAX_SIZE
from fastconv.algorithms.device_strips import Shape, Strips
from fastconv.algorithms.device_tile import FLOAT32
from fastconv.problem import ConvProblem, SeparableProblem

__all__ = ["executor", "refuse"]

# The largest kernels, whose unfinished sums a thread's registers hold.
LARGEST = 31

# Up to this size their outer product is faster.
SMALL = 7

# Kernels, by the largest size up to which.
SHAPES = {
    7: Shape("line_tiles", 8, 4, 8),
    15: Shape("line_tiles", 8, 4, 7, 1),
    31: Shape("lines", 8, 4, 3),
}


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
    return None if max(_strips(p, None).grid()[1:]) <= MAX_BLOCKS else f"is for {MAX_BLOCKS} planes at most"


def executor(problem: SeparableProblem, engine: Any) -> DeviceStrips:
    """The executor of a problem."""
    return DeviceStrips(problem, engine)


def _strips(p: ConvProblem, engine: Any) -> Strips:
    shape = next(shape for size, shape in SHAPES.items() if max(p.kernel_shape) <= size)
    return Strips(p, engine, shape)


class DeviceStrips(device.DeviceLines):
    """Executes a `SeparableProblem` in strips, with the weights as arguments."""

    def __init__(self, problem: SeparableProblem, engine: Any):
        super().__init__(problem, engine)
        self.strips = _strips(self.problem, engine)

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
        self.strips.launch(call, x, np.concatenate([along, down]).astype(FLOAT32), out, fill)
