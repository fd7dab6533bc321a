"""Activations and their derivatives, by their formulas in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.problem import POWERS, TWO_PARAMETERS, ActivationProblem, SoftmaxProblem

__all__ = ["activate", "activation", "softmax"]


def activation(problem: ActivationProblem, x: np.ndarray, w: np.ndarray | None, out: np.ndarray) -> None:
    """Compute an `ActivationProblem` into `out`."""
    if not problem.backward:
        out[...] = activate(x, problem.name, problem.slope, problem.bound)
        return
    values = np.asarray(x).astype(np.float64)
    with np.errstate(all="ignore"):
        slopes = _SLOPES[problem.name](values, *_parameters(problem.name, problem.slope, problem.bound))
        gradients = np.asarray(w).astype(np.float64) * slopes
        flat = (slopes == 0) & (problem.name in _PIECEWISE)  # where infinite gradients become 0, too
        out[...] = np.where(flat, 0.0, gradients).astype(out.dtype)


def softmax(problem: SoftmaxProblem, x: np.ndarray, w: np.ndarray | None, out: np.ndarray) -> None:
    """Compute a `SoftmaxProblem` into `out`."""
    values = np.asarray(x).astype(np.float64)

    def total(array: np.ndarray) -> np.ndarray:
        return array.sum(problem.axis, keepdims=True)

    with np.errstate(all="ignore"):
        values = values - values.max(problem.axis, keepdims=True)
        s = np.exp(values) / total(np.exp(values))
        if problem.backward:
            g = np.asarray(w).astype(np.float64)
            result = g - s * total(g) if problem.logarithm else s * (g - total(g * s))
        else:
            result = values - np.log(total(np.exp(values))) if problem.logarithm else s
        out[...] = result.astype(out.dtype)


def activate(values: Any, name: str, slope: float, bound: float = 0.0) -> np.ndarray:
    """The function of each value, in the dtype of the values."""
    values = np.asarray(values)
    with np.errstate(all="ignore"):
        parameters = _parameters(name, slope, bound)
        return _FUNCTIONS[name](values.astype(np.float64), *parameters).astype(values.dtype)


def _parameters(name: str, *parameters: float) -> tuple[float, ...]:
    return parameters if name in (*TWO_PARAMETERS, *POWERS) else parameters[:1]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _normal(x: np.ndarray) -> np.ndarray:
    """The normal distribution's probability below x."""
    return 0.5 * np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2))


def _cubic(x: np.ndarray) -> np.ndarray:
    return math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.where(x > 20, x, np.logaddexp(0, x))


def _gelu_tanh_slope(x: np.ndarray) -> np.ndarray:
    near = np.clip(x, -50, 50)  # beyond, x times 0 is 0
    s = _sigmoid(_cubic(near))
    return s + near * s * _sigmoid(-_cubic(near)) * math.sqrt(8 / math.pi) * (1 + 0.134145 * near**2)


def _silu_slope(x: np.ndarray) -> np.ndarray:
    return _sigmoid(x) + np.clip(x, -800, 800) * _sigmoid(x) * _sigmoid(-x)


def _mish_slope(x: np.ndarray) -> np.ndarray:
    near = np.clip(x, -800, 800)
    return np.tanh(_softplus(x)) + near * _sigmoid(near) / np.cosh(np.minimum(_softplus(near), 700)) ** 2


_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "": lambda x, slope: x,
    "relu": lambda x, slope: np.where(x < 0, 0, x),
    "relu6": lambda x, slope: np.clip(x, 0, 6),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "sigmoid": lambda x, slope: _sigmoid(x),
    "tanh": lambda x, slope: np.tanh(x),
    "silu": lambda x, slope: x * _sigmoid(x),
    "gelu": lambda x, slope: np.where(x == -np.inf, 0, x * _normal(x)),
    "gelu_tanh": lambda x, slope: x * _sigmoid(_cubic(x)),
    "hardswish": lambda x, slope: x * (np.clip(x + 3, 0, 6) / 6),
    "elu": lambda x, slope: np.where(x >= 0, x, slope * np.expm1(np.minimum(x, 0))),
    "softplus": lambda x, slope: _softplus(x),
    "mish": lambda x, slope: x * np.tanh(_softplus(x)),
    "hardsigmoid": lambda x, slope: np.clip(x + 3, 0, 6) / 6,
    "softsign": lambda x, slope: x / (1 + np.abs(x)),
    "logsigmoid": lambda x, slope: -np.logaddexp(0, -x),
    "hardtanh": lambda x, low, high: np.clip(x, low, high),
    "softplus_beta": lambda x, beta, bound: np.where(x * beta > bound, x, np.logaddexp(0, x * beta) / beta),
}

# Their derivative is 0 in places, and not only below the smallest number.
_PIECEWISE = frozenset(("relu", "relu6", "hardswish", "hardsigmoid", "hardtanh"))

_SLOPES: dict[str, Callable[..., np.ndarray]] = {
    "relu": lambda x, slope: np.where(x <= 0, 0, 1),
    "relu6": lambda x, slope: np.where((x > 0) & (x < 6), 1, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, 1, slope),
    "sigmoid": lambda x, slope: _sigmoid(x) * _sigmoid(-x),
    "tanh": lambda x, slope: 1 / np.cosh(x) ** 2,
    "silu": lambda x, slope: _silu_slope(x),
    "gelu": lambda x, slope: _normal(x) + np.clip(x, -50, 50) * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "gelu_tanh": lambda x, slope: _gelu_tanh_slope(x),
    "hardswish": lambda x, slope: np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)),
    "elu": lambda x, slope: np.where(x > 0, 1, slope * np.exp(np.minimum(x, 0))),
    "softplus": lambda x, slope: np.where(x > 20, 1, _sigmoid(x)),
    "mish": lambda x, slope: _mish_slope(x),
    "hardsigmoid": lambda x, slope: np.where((x > -3) & (x < 3), 1 / 6, 0),
    "softsign": lambda x, slope: 1 / (1 + np.abs(x)) ** 2,
    "logsigmoid": lambda x, slope: _sigmoid(-x),
    "hardtanh": lambda x, low, high: np.where((x > low) & (x < high), 1, 0),
    "softplus_beta": lambda x, beta, bound: np.where(x * beta > bound, 1, _sigmoid(x * beta)),
    "power": lambda x, power, factor: factor * x**power,
    "power_or_0": lambda x, power, factor: np.where(x == 0, 0, factor * x**power),
}
