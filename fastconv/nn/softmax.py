"""Probabilities along an axis: `torch.nn.functional`'s names, arguments and meaning, on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.device import native
from fastconv.nn.elementwise import documented, prepared
from fastconv.plan import execute
from fastconv.problem import SoftmaxProblem
from fastconv.replay import remembered
from fastconv.validate import axis_index, type_name

__all__ = ["at_least_1d", "log_softmax", "softmax", "softmax_problem"]


@remembered(arrays=1)
@documented
def softmax(
    input: Any, dim: int | None = None, *, dtype: Any = None, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """Exponentials that add up to 1 along an axis.

        out[i] = exp(input[i]) / sum over k of exp(input[k])

    Parameters
    ----------
    {input}
    dim : int, optional
        The axis; default the first one of arrays of 0, 1 or 3 dimensions, else the second one.
    dtype : dtype, optional
        What elements are converted to beforehand.
    {plain}

    Notes
    -----
    Differs from `torch.nn.functional.softmax`: integers are refused without `dtype`.

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
    return _applied(input, dim, dtype, out, threads, False)


@remembered(arrays=1)
@documented
def log_softmax(
    input: Any, dim: int | None = None, *, dtype: Any = None, out: Any = None, threads: int | None = None
) -> np.ndarray:
    """The logarithm of `softmax`, without underflow.

        out[i] = input[i] - log(sum over k of exp(input[k]))

    Parameters
    ----------
    {input}
    dim : int, optional
        The axis; default the first one of arrays of 0, 1 or 3 dimensions, else the second one.
    dtype : dtype, optional
        What elements are converted to beforehand.
    {plain}

    Notes
    -----
    Differs from `torch.nn.functional.log_softmax`: integers are refused without `dtype`.

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
    return _applied(input, dim, dtype, out, threads, True)


def _applied(input: Any, dim: int | None, dtype: Any, out: Any, threads: int | None, logarithm: bool) -> np.ndarray:
    x, result = prepared(input if dtype is None else np.asarray(input, dtype), False, out)
    problem = softmax_problem(dim, x, logarithm)
    if x.size:
        execute(problem, at_least_1d(x), None, at_least_1d(result), threads=threads)
    return native(result)


def softmax_problem(dim: int | None, x: Any, logarithm: bool, backward: bool = False) -> SoftmaxProblem:
    """The problem of an array, one of no axes taken for one of one element; `dim` may be None."""
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    shape = x.shape or (1,)
    return SoftmaxProblem(shape, axis_index("dim", dim, len(shape)), type_name(x.dtype), logarithm, backward)


def at_least_1d(x: Any) -> Any:
    """An array of no axes as one of one element."""
    return x if x.ndim else x.reshape(1)
