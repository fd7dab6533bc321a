"""Moving maxima and minima."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.ndimage.windows import extreme, filter_lines, line_window, size_used, window_image
from fastconv.replay import remembered

__all__ = ["maximum_filter", "maximum_filter1d", "minimum_filter", "minimum_filter1d"]


@remembered(arrays=1)
def maximum_filter(
    input: Any,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Maxima over a moving window.

    With a window of size ``K`` along an axis,

        output[i] = max over k of input[i + k - K//2 - origin]

    along each axis of `axes`, over all ``k < K`` or over those of the `footprint`, where `input` is continued
    beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    size : int or sequence of int, optional
        Size of the window, along each of `axes`.  One of `size` and `footprint` must be given.
    footprint : array_like of bool, optional
        The window's elements, of as many dimensions as `axes`; then `size` is ignored.  As in SciPy, its
        dimensions belong to the axes in ascending order.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"} or sequence of them, optional
        How the input is continued along all axes, or along each of `axes`: ``d c b a | a b c d | d c b a``,
        ``cval``, ``a a | a b c d | d d``, ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms
        "grid-mirror", "grid-constant" and "grid-wrap" are taken too.  A sequence needs a full window.
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
        Neither size nor footprint, a footprint of the wrong dimensions or without elements, a sequence whose
        length is not that of `axes`, unknown mode, `origin` outside the window, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble, complex numbers.

    Notes
    -----
    Differs from `scipy.ndimage.maximum_filter`: the maximum of a window with a NaN is NaN (SciPy keeps or loses it
    by accident), 64-bit integers are compared exactly (SciPy: as double), and with a footprint, a `cval` that the
    input's dtype cannot hold is compared as it is (SciPy converts it).

    References
    ----------
    M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels",
    Pattern Recognition Letters 13 (1992) 517, doi:10.1016/0167-8655(92)90069-C (the problem; here windows double).

    Examples
    --------
    >>> from fastconv.ndimage import maximum_filter
    >>> maximum_filter([[5, 0, 0, 0], [0, 0, 0, 7]], size=3)
    array([[5, 5, 7, 7],
           [5, 5, 7, 7]])
    >>> maximum_filter([[5, 0, 0, 0], [0, 0, 0, 7]], footprint=[[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    array([[5, 5, 0, 7],
           [5, 0, 7, 7]])
    """
    image, size = window_image(input), size_used(size, footprint)
    return extreme("max", image, size, footprint, None, output, mode, cval, origin, axes, threads)


@remembered(arrays=1)
def maximum_filter1d(
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
    """Maxima over a moving window along one axis.

    With a window of size ``K``, along `axis`,

        output[i] = max over k < K of input[i + k - K//2 - origin]

    where `input` is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
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
        Dtypes that are not numbers, float16, longdouble, complex numbers.

    Notes
    -----
    Differs from `scipy.ndimage.maximum_filter1d` as `maximum_filter` does from SciPy's.

    References
    ----------
    M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels",
    Pattern Recognition Letters 13 (1992) 517, doi:10.1016/0167-8655(92)90069-C (the problem; here windows double).

    Examples
    --------
    >>> from fastconv.ndimage import maximum_filter1d
    >>> maximum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([8, 8, 8, 4, 9, 9, 9, 9])
    """
    image = window_image(input)
    return filter_lines("max", image, output, [line_window(image, size, axis, origin, mode)], cval, threads)


@remembered(arrays=1)
def minimum_filter(
    input: Any,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Minima over a moving window.

    With a window of size ``K`` along an axis,

        output[i] = min over k of input[i + k - K//2 - origin]

    along each axis of `axes`, over all ``k < K`` or over those of the `footprint`, where `input` is continued
    beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    size : int or sequence of int, optional
        Size of the window, along each of `axes`.  One of `size` and `footprint` must be given.
    footprint : array_like of bool, optional
        The window's elements, of as many dimensions as `axes`; then `size` is ignored.  As in SciPy, its
        dimensions belong to the axes in ascending order.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"} or sequence of them, optional
        How the input is continued along all axes, or along each of `axes`: ``d c b a | a b c d | d c b a``,
        ``cval``, ``a a | a b c d | d d``, ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms
        "grid-mirror", "grid-constant" and "grid-wrap" are taken too.  A sequence needs a full window.
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
        Neither size nor footprint, a footprint of the wrong dimensions or without elements, a sequence whose
        length is not that of `axes`, unknown mode, `origin` outside the window, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble, complex numbers.

    Notes
    -----
    Differs from `scipy.ndimage.minimum_filter`: the minimum of a window with a NaN is NaN (SciPy keeps or loses it
    by accident), 64-bit integers are compared exactly (SciPy: as double), and with a footprint, a `cval` that the
    input's dtype cannot hold is compared as it is (SciPy converts it).

    References
    ----------
    M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels",
    Pattern Recognition Letters 13 (1992) 517, doi:10.1016/0167-8655(92)90069-C (the problem; here windows double).

    Examples
    --------
    >>> from fastconv.ndimage import minimum_filter
    >>> minimum_filter([[5, 6, 4, 8], [9, 9, 9, 7]], size=3)
    array([[5, 4, 4, 4],
           [5, 4, 4, 4]])
    >>> minimum_filter([[5, 6, 4, 8], [9, 9, 9, 7]], footprint=[[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    array([[5, 4, 4, 4],
           [5, 6, 4, 7]])
    """
    image, size = window_image(input), size_used(size, footprint)
    return extreme("min", image, size, footprint, None, output, mode, cval, origin, axes, threads)


@remembered(arrays=1)
def minimum_filter1d(
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
    """Minima over a moving window along one axis.

    With a window of size ``K``, along `axis`,

        output[i] = min over k < K of input[i + k - K//2 - origin]

    where `input` is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
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
        Dtypes that are not numbers, float16, longdouble, complex numbers.

    Notes
    -----
    Differs from `scipy.ndimage.minimum_filter1d` as `minimum_filter` does from SciPy's.

    References
    ----------
    M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels",
    Pattern Recognition Letters 13 (1992) 517, doi:10.1016/0167-8655(92)90069-C (the problem; here windows double).

    Examples
    --------
    >>> from fastconv.ndimage import minimum_filter1d
    >>> minimum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2, 0, 0, 0, 1, 1, 0, 0])
    """
    image = window_image(input)
    return filter_lines("min", image, output, [line_window(image, size, axis, origin, mode)], cval, threads)
