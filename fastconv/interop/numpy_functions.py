"""`numpy.convolve` and `numpy.correlate` with their signatures and results, for patching."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from fastconv import signal
from fastconv.validate import result_type

__all__ = ["convolve", "correlate"]

DTYPES = "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 complex64 complex128"
Mode = Literal["full", "same", "valid"]
# Products below which NumPy's loop, which starts in 0.8 us, is the faster one: of floats (which it
# vectorises) and of other numbers.
SMALL_FLOATS, SMALL = 15_000, 2_500


def convolve(a: Any, v: Any, mode: Mode = "full") -> np.ndarray:
    """Convolve two one-dimensional sequences.

    With the longer of length ``N`` and the shorter of length ``K``,

        z[i] = sum over k of a[i - k] * v[k],   0 <= i < N+K-1

    Parameters
    ----------
    a, v : array_like
        One-dimensional and not empty; the longer one is taken as the signal.
    mode : {"full", "same", "valid"}, optional
        Length ``N+K-1``; its ``N`` middle elements from ``(K-1)//2``; the ``N-K+1`` complete sums.

    Returns
    -------
    ndarray
        Dtype ``numpy.result_type(a, v)``.

    Raises
    ------
    ValueError
        Sequences that are empty or not one-dimensional, an unknown mode.
    TypeError
        Dtypes that fastconv does not convolve (bool, float16, longdouble, object).
    NotImplementedError
        A shorter sequence with NaN or infinity: NumPy adds no products with the zeros beyond the edges.

    Notes
    -----
    Small problems are left to NumPy, whose calls start sooner.  Sums are direct, never by a transform.

    Examples
    --------
    >>> from fastconv.interop.numpy_functions import convolve
    >>> convolve([1, 2, 3], [0, 1, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    a, v = np.array(a, copy=None, ndmin=1), np.array(v, copy=None, ndmin=1)
    if _is_small(a, v):
        return np.convolve(a, v, mode)
    _check(a, v)
    long, short = (a, v) if a.size >= v.size else (v, a)
    _check_finite(short)
    return signal.convolve(long, short, mode, "direct")


def correlate(a: Any, v: Any, mode: Mode = "valid") -> np.ndarray:
    """Cross-correlate two one-dimensional sequences.

    With ``a`` of length ``N`` and ``v`` of length ``K``,

        z[i] = sum over k of a[i - (K-1) + k] * conj(v[k]),   0 <= i < N+K-1

    Parameters
    ----------
    a, v : array_like
        One-dimensional and not empty.
    mode : {"valid", "same", "full"}, optional
        As in `convolve`.  With a longer `v`, ``"same"`` has `v`'s length and starts at ``N//2``.

    Returns
    -------
    ndarray
        Dtype ``numpy.result_type(a, v)``.

    Raises
    ------
    ValueError, TypeError, NotImplementedError
        As `convolve`.

    Examples
    --------
    >>> from fastconv.interop.numpy_functions import correlate
    >>> correlate([1, 2, 3], [0, 1, 0.5])
    array([3.5])
    """
    a, v = np.asarray(a), np.asarray(v)  # unlike `convolve`, NumPy's takes no scalars
    if _is_small(a, v):
        return np.correlate(a, v, mode)
    _check(a, v)
    if a.size >= v.size:
        _check_finite(v)
        return signal.correlate(a, v, mode, "direct")
    _check_finite(a)  # NumPy correlates conj(v) with conj(a) and reverses the result
    return signal.correlate(v.conj(), a.conj(), mode, "direct")[::-1].copy()


def _is_small(a: np.ndarray, v: np.ndarray) -> bool:
    return a.size * v.size < (SMALL_FLOATS if a.dtype.kind == v.dtype.kind == "f" else SMALL)


def _check(a: np.ndarray, v: np.ndarray) -> None:
    for name, array in (("a", a), ("v", v)):
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"{name} must be one-dimensional and not empty; got shape {array.shape}")
    result_type(DTYPES, a=a, v=v)


def _check_finite(kernel: np.ndarray) -> None:
    if kernel.dtype.kind in "fc" and not np.isfinite(kernel).all():
        raise NotImplementedError("the shorter sequence has NaN or infinity, which meets no zeros beyond the edges")
