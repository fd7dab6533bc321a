"""Separable filters of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.config import current_precision
from fastconv.plan import execute
from fastconv.problem import ConvProblem, SeparableProblem
from fastconv.replay import remembered
from fastconv.validate import as_array, type_name

__all__ = ["sepfir2d"]


@remembered(arrays=1)  # weights in lists are of any precision: they may not become arrays
def sepfir2d(input: Any, hrow: Any, hcol: Any, *, threads: int | None = None) -> np.ndarray:
    """Convolve an image with one kernel along its rows and another one down its columns.

    With kernels of ``2 R + 1`` and ``2 C + 1`` taps,

        output[i, j] = sum over k, l of hcol[k] * hrow[l] * input[i - k + C, j - l + R]

    where `input` is mirrored about its edges: ``d c b a | a b c d | d c b a``.

    Parameters
    ----------
    input : array_like
        Image (H, W).
    hrow : array_like
        Kernel along the rows, of odd length.
    hcol : array_like
        Kernel down the columns, of odd length.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The filtered image: float32, float64, complex64 or complex128, the first of them that holds
        the image's dtype.

    Raises
    ------
    ValueError
        If there are not two dimensions and one, if a kernel has an even length, or for longdouble.
    TypeError
        Dtypes that are not numbers; arrays of weights that the result's dtype does not hold.

    Notes
    -----
    Differs from `scipy.signal.sepfir2d`: kernels may be longer than the image, and images empty
    (SciPy reads and writes beyond its arrays), and arguments may be named.

    References
    ----------
    M. Unser, A. Aldroubi, M. Eden, "B-Spline Signal Processing: Part II - Efficient Design and
    Applications", IEEE Transactions on Signal Processing 41 (1993) 834-848, doi:10.1109/78.193221.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.signal import sepfir2d
    >>> sepfir2d(np.array([[1.0, 2, 4], [0, 0, 8]]), [1, 2, 3], [1])
    array([[ 7., 11., 18.],
           [ 0.,  8., 24.]])
    """
    image = as_array("input", input, ndim=2, empty=True)
    dtype = np.promote_types(image.dtype, np.float32)
    if type_name(dtype) not in ("float32", "float64", "complex64", "complex128"):
        kind = TypeError if dtype.kind == "c" else ValueError
        raise kind(f"input must be of no higher precision than float64 or complex128; got {image.dtype}")
    row, column = _weights("hrow", hrow, dtype), _weights("hcol", hcol, dtype)
    out = np.empty(image.shape, dtype)
    if out.size == 0:
        return out
    if image.dtype == np.float16:
        image = image.astype(dtype)
    across, down = row[None, ::-1], column[::-1, None]
    if min(row.size, column.size) > 1 and current_precision() != "strict":
        lines = np.concatenate([column[::-1], row[::-1]]).astype(np.result_type(row, column, np.float64))
        problem = SeparableProblem(_problem(image, down * across, dtype))
        execute(problem, image[None, None], lines, out[None, None], threads=threads)
        return out
    between = np.empty(image.shape, dtype)
    _correlate(_problem(image, across, dtype), image, across, between, threads)
    _correlate(_problem(between, down, dtype), between, down, out, threads)
    return out


def _weights(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    weights = as_array(name, value)
    if weights.ndim != 1 or weights.size % 2 == 0:
        raise ValueError(f"{name} must have 1 dimension of odd length; got shape {weights.shape}")
    given = hasattr(value, "dtype")
    fits = np.can_cast(weights.dtype, dtype) if given else weights.dtype.kind != "c" or dtype.kind == "c"
    if not fits:
        raise TypeError(f"{name} must have a dtype that the result's {dtype} holds; got {weights.dtype}")
    return weights


def _problem(image: np.ndarray, weights: np.ndarray, dtype: np.dtype) -> ConvProblem:
    return ConvProblem(
        in_shape=image.shape,
        kernel_shape=weights.shape,
        out_shape=image.shape,
        in_dtype=type_name(image.dtype),
        kernel_dtype=type_name(weights.dtype),
        acc=type_name(dtype),
        out_dtype=type_name(dtype),
        pad=(weights.shape[0] // 2, weights.shape[1] // 2),
        boundary=("reflect", "reflect"),
        stride=(1, 1),
        dilation=(1, 1),
    )


def _correlate(
    problem: ConvProblem, image: np.ndarray, weights: np.ndarray, out: np.ndarray, threads: int | None
) -> None:
    execute(problem, image[None, None], weights[None, None], out[None, None], threads=threads)
