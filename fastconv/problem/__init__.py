"""What is to be computed, with every default resolved.

A problem is immutable and hashable: plans are cached on it.  It knows shapes,
dtypes and the boundary rule, and nothing of memory, engines or user input.

Every convolution, cross-correlation and filter of the library is one
`ConvProblem`, written as a cross-correlation of canonical arrays

    out[n, f, y] = bias[f] + sum over c, k of
                   w[f, c, k] * ext(x)[n, group(f) * C/groups + c,
                                       y * stride + k * dilation - pad]

where ``x`` is ``(N, C, *in_shape)``, ``w`` is ``(F, C/groups, *kernel_shape)``,
``out`` is ``(N, F, *out_shape)``; ``y``, ``k``, ``stride``, ``dilation`` and
``pad`` are vectors over the spatial axes; and ``ext(x)`` continues ``x`` beyond
its borders by the boundary rule of each axis (`fastconv.boundary`).  A
convolution is the same with the kernel flipped beforehand.
"""

from __future__ import annotations

from fastconv.problem.activation import ACTIVATIONS, POWERS, TWO_PARAMETERS, ActivationProblem, SoftmaxProblem
from fastconv.problem.convolution import ConvProblem, accumulator
from fastconv.problem.deform import DeformGradientProblem, DeformProblem
from fastconv.problem.filters import LinesProblem, NormalizedProblem, SeparableProblem, WindowProblem
from fastconv.problem.gradients import BiasGradientProblem, TransposedProblem, WeightGradientProblem
from fastconv.problem.pooling import (
    FoldProblem,
    PoolGradientProblem,
    PoolProblem,
    RegionPoolProblem,
    UnpoolProblem,
)
from fastconv.problem.quantized import QuantizedProblem

__all__ = [
    "ACTIVATIONS",
    "POWERS",
    "TWO_PARAMETERS",
    "ActivationProblem",
    "BiasGradientProblem",
    "ConvProblem",
    "DeformGradientProblem",
    "DeformProblem",
    "FoldProblem",
    "LinesProblem",
    "NormalizedProblem",
    "PoolGradientProblem",
    "PoolProblem",
    "Problem",
    "QuantizedProblem",
    "RegionPoolProblem",
    "SeparableProblem",
    "SoftmaxProblem",
    "TransposedProblem",
    "UnpoolProblem",
    "WeightGradientProblem",
    "WindowProblem",
    "accumulator",
]

Problem = (
    ActivationProblem
    | BiasGradientProblem
    | ConvProblem
    | DeformProblem
    | DeformGradientProblem
    | FoldProblem
    | LinesProblem
    | NormalizedProblem
    | PoolGradientProblem
    | PoolProblem
    | QuantizedProblem
    | RegionPoolProblem
    | SeparableProblem
    | SoftmaxProblem
    | TransposedProblem
    | UnpoolProblem
    | WeightGradientProblem
    | WindowProblem
)
