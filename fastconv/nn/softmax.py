"""Probabilities along an axis: `torch.nn.functional`'s names, arguments and meaning, on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.elementwise import computed, documented, prepared
from fastconv.validate import axis_index

__all__ = ["log_softmax", "softmax", "softmax_axis"]


@documented
def softmax(input: Any, dim: int | None = None, *, dtype: Any = None, out: Any = None) -> np.ndarray:
    """Exponentials that add up to 1 along an axis.

        out[i] = exp(input[i]) / sum over k of exp(input[k])

    Parameters
    ----------
    {input}
    dim : int, optional
        The axis; default the first one of arrays of 0, 1 or 3 dimensions, else the second one.
    dtype : dtype, optional
        What elements are converted to beforehand.
    {out}

    {returns}

    {raises}

    Notes
    -----
    Differs from `torch.nn.functional.softmax`: integers are refused without `dtype`.  NumPy computes it.

    References
    ----------
    P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal of
    Numerical Analysis 41 (2021), doi:10.1093/imanum/draa038.

    Examples
    --------
    >>> from fastconv.nn import softmax
    >>> softmax([[0.0, 1.0], [5.0, 5.0]], 1).round(4)
    array([[0.2689, 0.7311],
           [0.5   , 0.5   ]])
    """
    x, result = prepared(input if dtype is None else np.asarray(input, dtype), False, out)
    if x.size:
        axis = softmax_axis(dim, x.ndim)
        e = np.exp(_shifted(x, axis))
        result[...] = (e / e.sum(axis, keepdims=True)).reshape(x.shape)
    return result


@documented
def log_softmax(input: Any, dim: int | None = None, *, dtype: Any = None, out: Any = None) -> np.ndarray:
    """The logarithm of `softmax`, without underflow.

        out[i] = input[i] - log(sum over k of exp(input[k]))

    Parameters
    ----------
    {input}
    dim : int, optional
        The axis; default the first one of arrays of 0, 1 or 3 dimensions, else the second one.
    dtype : dtype, optional
        What elements are converted to beforehand.
    {out}

    {returns}

    {raises}

    Notes
    -----
    Differs from `torch.nn.functional.log_softmax`: integers are refused without `dtype`.  NumPy computes it.

    References
    ----------
    P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal of
    Numerical Analysis 41 (2021), doi:10.1093/imanum/draa038.

    Examples
    --------
    >>> from fastconv.nn import log_softmax
    >>> log_softmax([0.0, 1.0, 1000.0], 0)
    array([-1000.,  -999.,     0.])
    """
    x, result = prepared(input if dtype is None else np.asarray(input, dtype), False, out)
    if x.size:
        axis = softmax_axis(dim, x.ndim)
        values = _shifted(x, axis)
        result[...] = (values - np.log(np.exp(values).sum(axis, keepdims=True))).reshape(x.shape)
    return result


def softmax_axis(dim: int | None, ndim: int) -> int:
    """The axis that `dim` stands for."""
    if dim is None:
        dim = 0 if ndim in (0, 1, 3) else 1
    return axis_index("dim", dim, max(ndim, 1))


def _shifted(x: np.ndarray, axis: int) -> np.ndarray:
    """Elements less the largest along an axis."""
    values = np.atleast_1d(computed(x))
    with np.errstate(invalid="ignore"):
        return values - values.max(axis, keepdims=True)
