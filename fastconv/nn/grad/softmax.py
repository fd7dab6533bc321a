"""Gradients of probabilities along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.elementwise import computed, documented, prepared_backward
from fastconv.nn.softmax import softmax, softmax_axis

__all__ = ["log_softmax_backward", "softmax_backward"]


@documented
def softmax_backward(grad_output: Any, input: Any, dim: int | None = None, *, out: Any = None) -> np.ndarray:
    """Gradient of `fastconv.nn.softmax` with respect to its input.

        out[i] = s[i] * (grad_output[i] - sum over k of grad_output[k] * s[k]),    s = softmax(input)

    Parameters
    ----------
    {grad_output}
    dim : int, optional
        The axis, as in `fastconv.nn.softmax`.
    {out_backward}

    {returns}

    {raises_backward}

    Notes
    -----
    Differs from `torch.nn.functional.softmax`'s gradient: integers are refused.  NumPy computes it.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import softmax_backward
    >>> softmax_backward([1.0, 0.0], [0.0, 0.0], 0)
    array([ 0.25, -0.25])
    """
    g, x, result = prepared_backward(grad_output, input, out)
    if x.size:
        axis = softmax_axis(dim, x.ndim)
        g, s = np.atleast_1d(computed(g)), softmax(np.atleast_1d(computed(x)), axis)
        result[...] = (s * (g - (g * s).sum(axis, keepdims=True))).reshape(x.shape)
    return result


@documented
def log_softmax_backward(grad_output: Any, input: Any, dim: int | None = None, *, out: Any = None) -> np.ndarray:
    """Gradient of `fastconv.nn.log_softmax` with respect to its input.

        out[i] = grad_output[i] - softmax(input)[i] * sum over k of grad_output[k]

    Parameters
    ----------
    {grad_output}
    dim : int, optional
        The axis, as in `fastconv.nn.log_softmax`.
    {out_backward}

    {returns}

    {raises_backward}

    Notes
    -----
    Differs from `torch.nn.functional.log_softmax`'s gradient: integers are refused.  NumPy computes it.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import log_softmax_backward
    >>> log_softmax_backward([1.0, 0.0], [0.0, 0.0], 0)
    array([ 0.5, -0.5])
    """
    g, x, result = prepared_backward(grad_output, input, out)
    if x.size:
        axis = softmax_axis(dim, x.ndim)
        g = np.atleast_1d(computed(g))
        s = softmax(np.atleast_1d(computed(x)), axis)
        result[...] = (g - s * g.sum(axis, keepdims=True)).reshape(x.shape)
    return result
