"""Gradients of the activations of `fastconv.nn.rectifiers`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.elementwise import applied_backward, documented
from fastconv.replay import remembered

__all__ = [
    "elu_backward",
    "hardsigmoid_backward",
    "hardswish_backward",
    "hardtanh_backward",
    "leaky_relu_backward",
    "relu6_backward",
    "relu_backward",
]


@remembered(arrays=2)
@documented
def relu_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.relu` with respect to its input.

        out[i] = grad_output[i] if input[i] > 0 else 0

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.relu`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import relu_backward
    >>> relu_backward([1.0, 2.0, 3.0], [-1.0, 0.0, 1.0])
    array([0., 0., 3.])
    """
    return applied_backward("relu", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def relu6_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.relu6` with respect to its input.

        out[i] = grad_output[i] if 0 < input[i] < 6 else 0

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.relu6`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import relu6_backward
    >>> relu6_backward([1.0, 2.0, 3.0], [-1.0, 1.0, 6.0])
    array([0., 2., 0.])
    """
    return applied_backward("relu6", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def leaky_relu_backward(
    grad_output: Any, input: Any, negative_slope: float = 0.01, *, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """Gradient of `fastconv.nn.leaky_relu` with respect to its input.

        out[i] = grad_output[i] if input[i] > 0 else negative_slope * grad_output[i]

    Parameters
    ----------
    {grad_output}
    negative_slope : float, optional
        What negative elements are multiplied by.
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.leaky_relu`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import leaky_relu_backward
    >>> leaky_relu_backward([2.0, 2.0], [-1.0, 1.0], 0.25)
    array([0.5, 2. ])
    """
    return applied_backward("leaky_relu", grad_output, input, out, threads, negative_slope)


@remembered(arrays=2)
@documented
def elu_backward(
    grad_output: Any, input: Any, alpha: float = 1.0, *, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """Gradient of `fastconv.nn.elu` with respect to its input.

        out[i] = grad_output[i] if input[i] > 0 else grad_output[i] * alpha * exp(input[i])

    Parameters
    ----------
    {grad_output}
    alpha : float, optional
        Minus the limit at minus infinity.
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.elu`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import elu_backward
    >>> elu_backward([2.0, 2.0], [0.0, 1.0], 0.5)
    array([1., 2.])
    """
    return applied_backward("elu", grad_output, input, out, threads, alpha)


@remembered(arrays=2)
@documented
def hardsigmoid_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.hardsigmoid` with respect to its input.

        out[i] = grad_output[i] / 6 if -3 < input[i] < 3 else 0

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.hardsigmoid`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import hardsigmoid_backward
    >>> hardsigmoid_backward([6.0, 6.0], [0.0, 4.0])
    array([1., 0.])
    """
    return applied_backward("hardsigmoid", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def hardswish_backward(grad_output: Any, input: Any, *, out: Any = None, threads: int | None = None) -> np.ndarray:
    """Gradient of `fastconv.nn.hardswish` with respect to its input.

        out[i] = grad_output[i] * (input[i] / 3 + 1/2) between -3 and 3, 0 below, grad_output[i] above

    Parameters
    ----------
    {grad_output}
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.hardswish`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import hardswish_backward
    >>> hardswish_backward([2.0, 2.0], [0.0, 4.0])
    array([1., 2.])
    """
    return applied_backward("hardswish", grad_output, input, out, threads)


@remembered(arrays=2)
@documented
def hardtanh_backward(
    grad_output: Any,
    input: Any,
    min_val: float = -1.0,
    max_val: float = 1.0,
    *,
    out: Any = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.hardtanh` with respect to its input.

        out[i] = grad_output[i] if min_val < input[i] < max_val else 0

    Parameters
    ----------
    {grad_output}
    min_val, max_val : float, optional
        The range.
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.hardtanh`'s gradient: {differs}.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import hardtanh_backward
    >>> hardtanh_backward([2.0, 2.0], [0.0, 4.0])
    array([2., 0.])
    """
    return applied_backward("hardtanh", grad_output, input, out, threads, min_val, max_val)
