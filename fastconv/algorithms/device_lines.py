"""Separable filters of float32 planes on a GPU, in one pass (`engines.numba_cuda.lines`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastconv.algorithms import device
from fastconv.algorithms.device_host import by_tiles
from fastconv.algorithms.device_tile import FLOAT32, MAX_BLOCKS
from fastconv.problem import ConvProblem, SeparableProblem

__all__ = ["executor", "refuse"]

# The largest kernels, whose unfinished sums a thread's registers hold; columns of a warp and rows that it stages.
LARGEST = 31

# Up to this size their outer product is faster.
SMALL = 7
WIDTH, STAGES = 128, 4

# Strips are cut so that there are so many, if they have rows enough.
STRIPS, SHORTEST, LONGEST = 8192, 8, 256


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
    return None if max(_grid(p, 1)[1:]) <= MAX_BLOCKS else f"is for {MAX_BLOCKS} planes at most"


def executor(problem: SeparableProblem, engine: Any) -> DeviceStrips:
    """The executor of a problem."""
    return DeviceStrips(problem, engine)


def _strip(p: ConvProblem, warps: int) -> tuple[int, int]:
    """Rows of a strip, and how many warps of a block are side by side."""
    height, width = p.out_shape
    across = -(-width // WIDTH)
    strips = max(1, min(STRIPS // (across * p.batch), -(-height // SHORTEST)))
    return min(-(-height // strips), LONGEST), min(warps, 1 << (across - 1).bit_length())


def _grid(p: ConvProblem, warps: int) -> tuple[int, int, int]:
    height, width = p.out_shape
    strip, beside = _strip(p, warps)
    return -(-width // (WIDTH * beside)), -(-height // (strip * (warps // beside))), p.batch


class DeviceStrips(device.DeviceLines):
    """Executes a `SeparableProblem` in strips, with the weights as arguments."""

    def __init__(self, problem: SeparableProblem, engine: Any):
        super().__init__(problem, engine)
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
        p = self.problem
        (kernel_y, kernel_x), phase = p.kernel_shape, -p.pad[1] % 4
        kernel = self.engine.kernel("lines", kernel_y, kernel_x, phase)
        lines = iter(np.split(w, [kernel_y])) if min(kernel_y, kernel_x) > 1 else iter([w])
        down, along = (next(lines) if taps > 1 else np.ones(1) for taps in (kernel_y, kernel_x))
        threads = kernel.bounds[0]
        warps, steps = threads // 32, (device.steps_of(array) for array in (x, out))
        geometry = self.layout(kernel.geometry, warps, *steps, x.address % 16 == 0)
        pitch = WIDTH - 4 + -(-(phase + kernel_x + 3) // 4) * 4
        shared, weights = 4 * warps * STAGES * pitch, np.concatenate([along, down]).astype(FLOAT32)
        call.start(kernel, _grid(p, warps), (threads, 1, 1), (x, out), (fill,), geometry, shared, weights)

    def _layout(self, record: Any, warps: int, x: device.Steps, out: device.Steps, aligned: bool) -> Any:
        p = self.problem
        strip, beside = _strip(p, warps)
        rules = (self.engine.RULES[rule] for rule in p.boundary)
        vectors = aligned and x[3] == 1 and not (x[0] % 4 or x[2] % 4)
        return record(
            *p.in_shape, *p.out_shape, strip, beside, *p.pad, *rules, x[0], *x[2:], out[0], *out[2:], int(vectors)
        )
