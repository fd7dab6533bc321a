"""Gradients of probabilities along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.device import native
from fastconv.nn.elementwise import documented, prepared_backward
from fastconv.nn.softmax import at_least_1d, softmax_problem
from fastconv.plan import execute
from fastconv.replay import remembered

__all__ = ["log_softmax_backward", "softmax_backward"]


@remembered(arrays=2)
@documented
def softmax_backward(
    grad_output: Any, input: Any, dim: int | None = None, *, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """Gradient of `fastconv.nn.softmax` with respect to its input.

        out[i] = s[i] * (grad_output[i] - sum over k of grad_output[k] * s[k]),    s = softmax(input)

    Parameters
    ----------
    {grad_output}
    dim : int, optional
        The axis, as in `fastconv.nn.softmax`.
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.softmax`'s gradient: integers are refused.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import softmax_backward
    >>> softmax_backward([1.0, 0.0], [0.0, 0.0], 0)
    array([ 0.25, -0.25])
    """
    return _applied(grad_output, input, dim, out, threads, False)


@remembered(arrays=2)
@documented
def log_softmax_backward(
    grad_output: Any, input: Any, dim: int | None = None, *, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """Gradient of `fastconv.nn.log_softmax` with respect to its input.

        out[i] = grad_output[i] - softmax(input)[i] * sum over k of grad_output[k]

    Parameters
    ----------
    {grad_output}
    dim : int, optional
        The axis, as in `fastconv.nn.log_softmax`.
    {backward}

    Notes
    -----
    Differs from `torch.nn.functional.log_softmax`'s gradient: integers are refused.

    References
    ----------
    {survey}

    Examples
    --------
    >>> from fastconv.nn.grad import log_softmax_backward
    >>> log_softmax_backward([1.0, 0.0], [0.0, 0.0], 0)
    array([ 0.5, -0.5])
    """
    return _applied(grad_output, input, dim, out, threads, True)


def _applied(
    grad_output: Any, input: Any, dim: int | None, out: Any, threads: int | None, logarithm: bool
) -> np.ndarray:
    g, x, result = prepared_backward(grad_output, input, out)
    problem = softmax_problem(dim, x, logarithm, backward=True)
    if x.size:
        execute(problem, at_least_1d(x), at_least_1d(g), at_least_1d(result), threads=threads)
    return native(result)
