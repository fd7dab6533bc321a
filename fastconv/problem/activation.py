"""Functions applied to each element, and their derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fastconv.problem.tags import axes_tag

__all__ = [
    "ACTIVATIONS",
    "POWERS",
    "TWO_PARAMETERS",
    "ActivationProblem",
    "SoftmaxProblem",
]

# The functions, and the default of the parameter of those that have one.
ACTIVATIONS = {
    "relu": 0.0,
    "relu6": 0.0,
    "leaky_relu": 0.01,
    "sigmoid": 0.0,
    "tanh": 0.0,
    "silu": 0.0,
    "gelu": 0.0,
    "gelu_tanh": 0.0,
    "hardswish": 0.0,
    "elu": 1.0,
    "softplus": 0.0,
    "mish": 0.0,
    "hardsigmoid": 0.0,
    "softsign": 0.0,
    "logsigmoid": 0.0,
}
# Functions of two parameters, which are not applied to the sums of other operations: their defaults.
TWO_PARAMETERS = {"hardtanh": (-1.0, 1.0), "softplus_beta": (1.0, 20.0)}
# Weights of gradients alone: ``bound * x[i] ** slope``, of the second one 0 where x is.
POWERS = ("power", "power_or_0")


@dataclass(frozen=True)
class SoftmaxProblem:
    """Exponentials along an axis that add up to 1, or (``logarithm``) their logarithms.

        s[i] = exp(x[i]) / sum over k of exp(x[k])
        out[i] = s[i]
        out[i] = log(s[i])                                (``logarithm``)
        out[i] = s[i] * (w[i] - sum over k of w[k] * s[k])       (``backward``)
        out[i] = w[i] - s[i] * sum over k of w[k]                (both)

    The argument `w` of `fastconv.plan.execute` is the gradient with respect to the function's values, of the same
    shape and dtype as `x`.  The output may be the input or the gradient itself.
    """

    shape: tuple[int, ...]
    axis: int
    dtype: str
    logarithm: bool = False
    backward: bool = False

    @property
    def kind(self) -> str:
        """The function's name, and ``_backward``."""
        return "log_" * self.logarithm + "softmax" + "_backward" * self.backward

    @property
    def flops(self) -> int:
        """About: an exponential and a few operations for each element."""
        return prod(self.shape) * 30

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return (2 + self.backward) * prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        tags = [self.kind.removesuffix("_backward"), "backward"][: 1 + self.backward]
        return " ".join([*tags, axes_tag("i", self.shape), f"axis{self.axis}", self.dtype])


@dataclass(frozen=True)
class ActivationProblem:
    """One function of each element of an array of any `shape`; `dtype` is that of input and output.

        out[i] = name(x[i])
        out[i] = w[i] * name'(x[i])         (``backward``; for `POWERS` the function itself)

    The argument `w` of `fastconv.plan.execute` is the gradient with respect to the function's values, of the same
    shape and dtype.  The output may be the input or the gradient itself.  ``slope`` is the parameter of the functions
    that have one (`ACTIVATIONS`), the first of those that have two (`TWO_PARAMETERS`); ``bound`` is the second.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    slope: float = 0.0
    bound: float = 0.0
    backward: bool = False

    @property
    def flops(self) -> int:
        """About: a few operations for each element, thirty where exponentials are needed."""
        cheap = self.name in (
            "relu",
            "relu6",
            "leaky_relu",
            "hardswish",
            "hardsigmoid",
            "softsign",
            "hardtanh",
            *POWERS,
        )
        return prod(self.shape) * (2 if cheap else 30)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return (2 + self.backward) * prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        tags = [self.name, "backward"][: 1 + self.backward] + [axes_tag("i", self.shape), self.dtype]
        tags += [f"{field}{value}" for field in ("slope", "bound") if (value := getattr(self, field))]
        return "activation " + " ".join(tags)
