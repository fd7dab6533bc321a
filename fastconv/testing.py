"""How close results have to be: to the bit for integers, within the rounding of the sum for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.problem import ConvProblem
from fastconv.reference import conv

__all__ = ["assert_identical", "assert_matches", "assert_matches_reference", "magnitude", "tolerance"]


def tolerance(dtype: Any, taps: int) -> float:
    """Bound on the error of a sum of `taps` products in any order, relative to the sum of their magnitudes.

    Parameters
    ----------
    dtype : dtype
        In which products are summed.
    taps : int
        Number of products.

    Returns
    -------
    float
        Twice the classical bound ``n u`` with unit roundoff ``u = eps / 2``, since two results
        that are both rounded are compared; complex products round twice more.  0 for integers.

    References
    ----------
    N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. (2002), section 3.1,
    doi:10.1137/1.9780898718027.

    Examples
    --------
    >>> tolerance("uint8", 9)
    0.0
    >>> tolerance("float64", 9) < 1e-14
    True
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "fc":
        return 0.0
    return float(np.finfo(dtype).eps) * (taps + 2) * (2 if dtype.kind == "c" else 1)


def magnitude(problem: ConvProblem, x: np.ndarray, w: np.ndarray, bias: Any = None, fill: Any = 0) -> np.ndarray:
    """Sum of the magnitudes of the products (and the bias) in each output of a problem."""
    names = {"in_dtype": "float64", "kernel_dtype": "float64", "acc": "float64", "out_dtype": "float64", "exact": ""}
    absolute = ConvProblem(**{**problem.__dict__, **names})
    out = np.empty((problem.batch, problem.filters, *problem.out_shape))
    with np.errstate(all="ignore"):
        conv(absolute, np.abs(x), np.abs(w), out, None if bias is None else np.abs(bias), np.abs(fill))
    return out


def assert_identical(actual: Any, desired: Any, context: str = "") -> None:
    """Assert equal types, dtypes, shapes and values; NaN equals NaN."""
    assert type(actual) is type(desired), f"{context}: type {type(actual)}, not {type(desired)}"
    _assert_same_kind(actual, desired, context)
    np.testing.assert_array_equal(actual, desired, err_msg=context)


def assert_matches(
    actual: Any, desired: Any, scale: Any = None, taps: int = 1, acc: Any = None, context: str = ""
) -> None:
    """Assert that a result agrees with another as well as rounding allows.

    Parameters
    ----------
    actual, desired : ndarray
        Results of the same dtype and shape.
    scale : array_like, optional
        Sum of the magnitudes of the products in each element; default the magnitude of `desired`.
    taps : int, optional
        Number of products summed in an element.
    acc : dtype, optional
        In which they were summed; default the dtype of the result.
    context : str, optional
        Put into the message of a failure.

    Raises
    ------
    AssertionError
        If dtype or shape differ, if integers differ at all, if NaN or infinities stand in
        different places, or if a finite element differs by more than ``tolerance(acc, taps) * scale``.

    Examples
    --------
    >>> import numpy as np
    >>> assert_matches(np.array([1.0, np.nan]), np.array([1.0 + 1e-16, np.nan]))
    """
    actual, desired = np.asarray(actual), np.asarray(desired)
    _assert_same_kind(actual, desired, context)
    if desired.dtype.kind not in "fc":
        np.testing.assert_array_equal(actual, desired, err_msg=context)
        return
    finite = np.isfinite(desired)
    if desired.dtype.kind == "c":  # which part is NaN depends on how the product is written
        np.testing.assert_array_equal(np.isfinite(actual), finite, err_msg=f"{context}: finite elements")
    else:
        np.testing.assert_array_equal(actual[~finite], desired[~finite], err_msg=f"{context}: NaN and infinities")
        np.testing.assert_array_equal(np.isfinite(actual), finite, err_msg=f"{context}: finite elements")
    bounds = np.abs(desired) if scale is None else np.broadcast_to(np.asarray(scale), desired.shape)
    info = np.finfo(desired.dtype)
    unit = max(tolerance(acc or desired.dtype, taps), tolerance(desired.dtype, 1))
    error = np.abs(actual[finite] - desired[finite])
    allowed = unit * bounds[finite] + taps * info.smallest_subnormal
    if (error > allowed).any() or np.isnan(allowed).any():
        worst = int(np.argmax(error / np.maximum(allowed, info.tiny)))
        place = tuple(int(i[worst]) for i in np.nonzero(finite))
        raise AssertionError(
            f"{context}: {int((error > allowed).sum())} of {error.size} elements are off; the worst at {place}: "
            f"{actual[place]!r}, not {desired[place]!r}; off by {error[worst]:.3g}, allowed {allowed[worst]:.3g}"
        )


def assert_matches_reference(
    problem: ConvProblem, actual: np.ndarray, x: np.ndarray, w: np.ndarray, bias: Any = None, fill: Any = 0
) -> None:
    """Assert that `actual` is what the reference gives for a problem on canonical arrays."""
    desired = np.empty(actual.shape, problem.out_dtype)
    conv(problem, x, w, desired, bias, fill)
    taps = problem.channels // problem.groups * int(np.prod(problem.kernel_shape))
    assert_matches(actual, desired, magnitude(problem, x, w, bias, fill), taps, problem.acc, str(problem))


def _assert_same_kind(actual: Any, desired: Any, context: str) -> None:
    assert actual.dtype == desired.dtype, f"{context}: dtype {actual.dtype}, not {desired.dtype}"
    assert actual.shape == desired.shape, f"{context}: shape {actual.shape}, not {desired.shape}"
