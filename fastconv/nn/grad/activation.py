"""Gradients of smooth activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.activation import APPROXIMATIONS, BETA, THRESHOLD
from fastconv.nn.elementwise import applied_backward, documented
from fastconv.replay import remembered
from fastconv.validate import choice

__all__ = [
    "gelu_backward",
    "logsigmoid_backward",
    "mish_backward",
    "sigmoid_backward",
    "silu_backward",
    "softplus_backward",
    "softsign_backward",
    "tanh_backward",
]


@remembered(arrays=2)
@documented
def sigmoid_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.sigmoid` with respect to its input.

        out[i] = grad_output[i] * sigmoid(input[i]) * (1 - sigmoid(input[i]))

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.sigmoid`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import sigmoid_backward
    >>> sigmoid_backward([4.0], [0.0])
    array([1.])
    """
    return applied_backward("sigmoid", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def logsigmoid_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.logsigmoid` with respect to its input.

        out[i] = grad_output[i] * sigmoid(-input[i])

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.logsigmoid`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import logsigmoid_backward
    >>> logsigmoid_backward([4.0], [0.0])
    array([2.])
    """
    return applied_backward("logsigmoid", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def tanh_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.tanh` with respect to its input.

        out[i] = grad_output[i] * (1 - tanh(input[i])**2)

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.tanh`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import tanh_backward
    >>> tanh_backward([2.0], [0.0])
    array([2.])
    """
    return applied_backward("tanh", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def softsign_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.softsign` with respect to its input.

        out[i] = grad_output[i] / (1 + abs(input[i]))**2

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.softsign`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import softsign_backward
    >>> softsign_backward([4.0], [-1.0])
    array([1.])
    """
    return applied_backward("softsign", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def silu_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.silu` with respect to its input.

        out[i] = grad_output[i] * s * (1 + input[i] * (1 - s)),    s = sigmoid(input[i])

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.silu`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import silu_backward
    >>> silu_backward([2.0], [0.0])
    array([1.])
    """
    return applied_backward("silu", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def mish_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.mish` with respect to its input.

        out[i] = grad_output[i] * (t + input[i] * (1 - t**2) * sigmoid(input[i])),    t = tanh(softplus(input[i]))

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.mish`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import mish_backward
    >>> mish_backward([2.0], [0.0])
    array([1.2])
    """
    return applied_backward("mish", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def gelu_backward(
    grad_output: Any, input: Any, approximate: str = "none", *, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """Gradient of `fastconv.nn.gelu` with respect to its input.

        out[i] = grad_output[i] * (P(input[i]) + input[i] * p(input[i]))

    where p is the density of the normal distribution, and P its integral.

    Parameters
    ----------
    {grad_output}
    approximate : {"none", "tanh"}, optional
        ``"tanh"``: of the approximation that `fastconv.nn.gelu` gives.
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.gelu`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import gelu_backward
    >>> gelu_backward([2.0], [0.0])
    array([1.])
    """
    return applied_backward(choice("approximate", approximate, APPROXIMATIONS), grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def softplus_backward(
    grad_output: Any,
    input: Any,
    beta: float = 1.0,
    threshold: float = 20.0,
    *,
    out: Any = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.softplus` with respect to its input.

        out[i] = grad_output[i] * sigmoid(beta * input[i]),    grad_output[i] where beta * input[i] > threshold

    Parameters
    ----------
    {grad_output}
    beta, threshold : float, optional
        As in `fastconv.nn.softplus`.
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.softplus`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import softplus_backward
    >>> softplus_backward([2.0], [0.0])
    array([1.])
    """
    if (beta, threshold) == (BETA, THRESHOLD):
        return applied_backward("softplus", grad_output, input, out, threads)
    return applied_backward("softplus_beta", grad_output, input, out, threads, beta, threshold)
