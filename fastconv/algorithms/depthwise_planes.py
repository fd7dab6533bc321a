"""Depthwise convolution of pixels with large kernels, by way of planes: no kernel of its own.

Lanes of planes are outputs, which neighbouring taps share: from 9x9 taps on that takes a third of the time that lanes
of channels do, more than copying pixels to planes and back, and planes have transforms for very large kernels
(`fastconv.algorithms.overlap_planes`).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.parts import executor_of
from fastconv.problem import ConvProblem
from fastconv.replay import copy_into

__all__ = ["DepthwisePlanes", "refuse"]

# 64 channels at 56x56, 9x9 taps: one thread 0.40 rather than 0.49 ms, but copies are one thread's work.
LEAST_TAPS = 121


def refuse(problem: ConvProblem) -> str | None:
    """Why planes cannot do a problem, or None."""
    p = problem
    if not isinstance(p, ConvProblem):
        return "is for convolutions"
    if not p.channels_last or p.ndim != 2 or not 1 < p.groups == p.channels or prod(p.kernel_shape) < LEAST_TAPS:
        return f"is for depthwise kernels of {LEAST_TAPS} taps and more, channels last"
    if {p.in_dtype, p.out_dtype, p.acc} not in ({"float32"}, {"float64"}) or p.exact or max(p.stride + p.dilation) > 1:
        return "is for floating-point numbers of one type, and steps of 1"
    return None


class DepthwisePlanes:
    """Executes a `ConvProblem` of pixels by the first row of the same engine for planes."""

    operation = "depthwise"

    def __init__(self, problem: ConvProblem, engine: Any):
        self.problem = problem
        self.planes = executor_of(replace(problem, channels_last=False), engine)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        source, target = np.empty(x.shape, x.dtype), np.empty(out.shape, out.dtype)
        copy_into(source, x)
        self.planes(source, w, target, bias, fill, threads)
        copy_into(out, target)

    def workspace(self, threads: int) -> int:
        """Bytes of the planes, and what their convolution takes."""
        p = self.problem
        elements = p.batch * (p.channels * prod(p.in_shape) + p.filters * prod(p.out_shape))
        return elements * np.dtype(p.acc).itemsize + self.planes.workspace(threads)

    def describe(self, threads: int) -> str:
        """What planes are convolved by, in words."""
        describe = getattr(self.planes, "describe", None)
        return "copied to planes and back, " + ("direct sums" if describe is None else describe(threads))
