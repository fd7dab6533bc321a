"""Gradients of biases: sums of channels, terms in the order that the problem alone decides.

The kernel (`BIAS_GRADIENT_FIELDS` of the contract) adds few terms at a time, and what these give in double.  Few channels of
many pixels are divided into parts, whose sums it adds in a second launch.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.engines.contract import BIAS_GRADIENT_FIELDS, record
from fastconv.problem import BiasGradientProblem, Problem

__all__ = ["BiasGradient", "channel_sums", "is_ready", "refuse"]

DTYPES = ("float32", "float64")
# Channels of a unit that are read side by side, but the last, which has less than twice as many; planes are in at most about
# so many units.
BLOCK, PLANE_UNITS = 128, 16
# Bytes that a unit should have for pixels to be divided, and units that they are divided for at most.
PART_BYTES, MOST_UNITS = 1 << 18, 32
# Sums of some vectors in both types.
SCRATCH_BYTES = 4096


def refuse(problem: Problem) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, BiasGradientProblem):
        return "is for gradients of biases"
    return None if problem.dtype in DTYPES else f"does not sum {problem.dtype}"


def is_ready(problem: BiasGradientProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("bias_gradient", problem.dtype)


class BiasGradient:
    """Executes a `BiasGradientProblem` with an engine's kernel."""

    operation = "bias_gradient"

    def __init__(self, problem: BiasGradientProblem, engine: Any):
        self.problem = problem
        self.kernel = engine.kernel(self.operation, problem.dtype)
        self.lanes = engine.GEMM[1] // 2 // np.dtype(problem.dtype).itemsize
        self._bounds: OrderedDict[tuple[int, ...], Bound] = OrderedDict()

    def __call__(self, x: np.ndarray, w: Any, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        p = self.problem
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bound = self._bounds.get(x.strides)
        if bound is None:
            bound = self._bounds[x.strides] = self._new_bound(x.strides)
            while len(self._bounds) > REMEMBERED:
                self._bounds.popitem(last=False)
        parts = int(bound.slots[-1])
        if parts == 1:
            run(self.kernel, bound, x, None, out, None, None, threads)
            return
        sums = np.empty((parts, p.channels), p.dtype)
        run(self.kernel, bound, x, None, sums, None, None, threads)
        run(self.kernel, channel_sums(parts, p.channels, p.dtype), sums, None, out, None, None, 1)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory: the sums of parts."""
        return MOST_UNITS * self.problem.channels * np.dtype(self.problem.dtype).itemsize

    def _new_bound(self, steps: tuple[int, ...]) -> Bound:
        """The record for pixels, or channels, that follow each other."""
        p, size = self.problem, np.dtype(self.problem.dtype).itemsize
        image, channel, pixel = steps
        pixel = image if p.pixels == 1 else pixel
        together = channel == size and (p.channels > 1 or pixel != size)
        if together:
            return _record(p.channels, 1, p.batch * p.pixels, (0, size, pixel), True, BLOCK, _parts(p, BLOCK))
        groups = -(-p.channels // self.lanes)
        block = -(-groups // PLANE_UNITS) * self.lanes
        return _record(p.channels, p.batch, p.pixels, (image, channel, size), False, block, _parts(p, block))


def channel_sums(rows: int, channels: int, dtype: str) -> Bound:
    """What sums rows of numbers that lie one after the other."""
    size = np.dtype(dtype).itemsize
    return _record(channels, 1, rows, (0, size, channels * size), True, BLOCK, 1)


def _parts(p: BiasGradientProblem, block: int) -> int:
    wanted = min(MOST_UNITS, p.nbytes // PART_BYTES)
    return max(1, wanted // max(1, p.channels // block))


def _record(
    channels: int, images: int, pixels: int, steps: tuple[int, int, int], together: bool, block: int, parts: int
) -> Bound:
    values = {
        "scratch_bytes": SCRATCH_BYTES, "channels": channels, "images": images, "pixels": pixels,
        **dict(zip(("x_image", "x_channel", "x_pixel"), steps, strict=True)),
        "together": together, "block": block, "n_parts": parts,
    }  # fmt: skip
    return Bound(record(BIAS_GRADIENT_FIELDS, values), max(1, channels // block) * parts, SCRATCH_BYTES, (), ())
