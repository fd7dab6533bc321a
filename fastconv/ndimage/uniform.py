"""Moving means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.ndimage.arguments import filtered_axes
from fastconv.ndimage.windows import filter_lines, line_window, lines_of, window_image
from fastconv.replay import remembered

__all__ = ["uniform_filter", "uniform_filter1d"]


@remembered(arrays=1)
def uniform_filter(
    input: Any,
    size: int | Iterable[int] = 3,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Means over a moving window, along one axis after another.

    With a window of size ``K`` along an axis,

        output[i] = 1/K * sum over k < K of input[i + k - K//2 - origin]

    along each axis of `axes` in turn, where `input` is continued beyond its edges by `mode`.  What is left after
    each axis is stored in the output's dtype: integers are cut.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    size : int or sequence of int, optional
        Size of the window, along each of `axes`.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"} or sequence of them, optional
        How the input is continued along all axes, or along each of `axes`: ``d c b a | a b c d | d c b a``,
        ``cval``, ``a a | a b c d | d d``, ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms
        "grid-mirror", "grid-constant" and "grid-wrap" are taken too.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int or sequence of int, optional
        Shifts the window: positive values to the left.
    axes : int or sequence of int, optional
        Axes to filter along; default all.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        A sequence whose length is not that of `axes`, unknown mode, `origin` outside the window, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.uniform_filter`: each window is summed by itself, in pairs, rather than by adding
    to a running sum what enters and subtracting what leaves it.  So a NaN or an infinity stays in the windows that
    it is in (SciPy: all that follow are NaN), and rounding errors do not grow along a line.  float32 results of
    float32 input are summed in float32 (SciPy: double).  Integer results of integers are exactly SciPy's where
    their sums are below 2**53; those of floating-point numbers may differ by one where SciPy's sum has drifted.

    References
    ----------
    M. J. McDonnell, "Box-filtering techniques", Computer Graphics and Image Processing 17 (1981) 65,
    doi:10.1016/S0146-664X(81)80009-3.

    Examples
    --------
    >>> from fastconv.ndimage import uniform_filter
    >>> uniform_filter([[9, 0, 0], [0, 0, 18], [0, 0, 0]], 3)
    array([[4, 4, 4],
           [2, 3, 4],
           [0, 2, 4]])
    """
    image = window_image(input, complex_too=True)
    lines = lines_of(size, origin, mode, filtered_axes(axes, image.ndim))
    return filter_lines("mean", image, output, lines, cval, threads)


@remembered(arrays=1)
def uniform_filter1d(
    input: Any,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Means over a moving window along one axis.

    With a window of size ``K``, along `axis`,

        output[i] = 1/K * sum over k < K of input[i + k - K//2 - origin]

    where `input` is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    size : int
        Size of the window.
    axis : int, optional
        Axis to filter along.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued: ``d c b a | a b c d | d c b a``, ``cval``, ``a a | a b c d | d d``,
        ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms "grid-mirror", "grid-constant" and
        "grid-wrap" are taken too.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int, optional
        Shifts the window: positive values to the left.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        `size` below 1, unknown mode, `origin` outside the window, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.uniform_filter1d` as `uniform_filter` does from SciPy's.

    References
    ----------
    M. J. McDonnell, "Box-filtering techniques", Computer Graphics and Image Processing 17 (1981) 65,
    doi:10.1016/S0146-664X(81)80009-3.

    Examples
    --------
    >>> from fastconv.ndimage import uniform_filter1d
    >>> uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    image = window_image(input, complex_too=True)
    return filter_lines("mean", image, output, [line_window(image, size, axis, origin, mode)], cval, threads)
