"""The naive, complete definition of every operation, in NumPy alone.

It does what the formulas of `fastconv.problem` say, tap by tap, for any number of
spatial axes and every option.  It is checked against SciPy and PyTorch, and everything
else is checked against it.  Nothing here is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.problem import (
    ActivationProblem,
    BiasGradientProblem,
    ConvProblem,
    DeformGradientProblem,
    DeformProblem,
    FoldProblem,
    LinesProblem,
    NormalizedProblem,
    PoolGradientProblem,
    PoolProblem,
    Problem,
    QuantizedProblem,
    RegionPoolProblem,
    SeparableProblem,
    SoftmaxProblem,
    TransposedProblem,
    UnpoolProblem,
    WeightGradientProblem,
    WindowProblem,
)
from fastconv.reference.activation import activate, activation, softmax
from fastconv.reference.casts import c_cast, saturated
from fastconv.reference.conv import conv, lines, normalized, separable
from fastconv.reference.deform import deform, deform_gradient
from fastconv.reference.gradients import bias_gradient, transposed, weight_gradient
from fastconv.reference.pool import pool
from fastconv.reference.quantized import quantized
from fastconv.reference.regions import fold, pool_gradient, region_pool, unpool
from fastconv.reference.window import window

__all__ = [
    "activate",
    "activation",
    "c_cast",
    "compute",
    "conv",
    "deform",
    "deform_gradient",
    "fold",
    "lines",
    "normalized",
    "pool",
    "pool_gradient",
    "quantized",
    "region_pool",
    "saturated",
    "separable",
    "softmax",
    "transposed",
    "unpool",
    "weight_gradient",
    "window",
]


def compute(
    problem: Problem, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: np.ndarray | None, fill: Any
) -> None:
    """Compute any problem, with the arguments of `fastconv.plan.execute`."""
    _COMPUTE[type(problem)](problem, x, w, out, bias, fill)


# What computes each kind of problem.
_COMPUTE: dict[type, Callable[..., None]] = {
    ActivationProblem: lambda problem, x, w, out, bias, fill: activation(problem, x, w, out),
    ConvProblem: conv,
    DeformGradientProblem: deform_gradient,
    BiasGradientProblem: lambda problem, x, w, out, bias, fill: bias_gradient(problem, x, out),
    DeformProblem: deform,
    FoldProblem: lambda problem, x, w, out, bias, fill: fold(problem, x, out),
    LinesProblem: lambda problem, x, w, out, bias, fill: lines(problem, x, w, out, fill),
    NormalizedProblem: normalized,
    PoolGradientProblem: lambda problem, x, w, out, bias, fill: pool_gradient(problem, x, w, out, bias),
    PoolProblem: lambda problem, x, w, out, bias, fill: pool(problem, x, w, out),
    QuantizedProblem: quantized,
    RegionPoolProblem: lambda problem, x, w, out, bias, fill: region_pool(problem, x, w, out, bias),
    SeparableProblem: lambda problem, x, w, out, bias, fill: separable(problem, x, w, out, fill),
    SoftmaxProblem: lambda problem, x, w, out, bias, fill: softmax(problem, x, w, out),
    TransposedProblem: lambda problem, x, w, out, bias, fill: transposed(problem, x, w, out, bias),
    UnpoolProblem: lambda problem, x, w, out, bias, fill: unpool(problem, x, w, out, bias),
    WeightGradientProblem: lambda problem, x, w, out, bias, fill: weight_gradient(problem, x, w, out, fill),
    WindowProblem: lambda problem, x, w, out, bias, fill: window(problem, x, w, out, fill),
}
