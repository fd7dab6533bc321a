"""Grey-scale morphology: dilations, erosions and what is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.ndimage.arguments import filtered_axes, per_axis
from fastconv.ndimage.windows import extreme, size_used, whole, window_image
from fastconv.replay import remembered
from fastconv.validate import ArgumentTypeError

__all__ = ["grey_closing", "grey_dilation", "grey_erosion", "grey_opening"]


@remembered(arrays=1)
def grey_dilation(
    input: Any,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Dilate an array by a structuring element.

    With an element of size ``K`` along an axis,

        output[i] = max over k of input[i - k + K//2 - origin] + structure[k]

    along each axis of `axes`, over all elements ``k``, where `input` is continued beyond its edges by `mode`, and
    without `structure` nothing is added: the element is mirrored, as convolution mirrors its kernel.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    size : int or sequence of int, optional
        Size of a flat and full structuring element, along each of `axes`.  One of `size`, `footprint` and
        `structure` must be given.
    footprint : array_like of bool, optional
        Elements of a flat structuring element, of as many dimensions as `axes`; then `size` is ignored.
    structure : array_like of float, optional
        Heights of a structuring element that is not flat; `footprint`, of the same shape, tells its elements
        (default all).
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"} or sequence of them, optional
        How the input is continued along all axes, or along each of `axes`: ``d c b a | a b c d | d c b a``,
        ``cval``, ``a a | a b c d | d d``, ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms
        "grid-mirror", "grid-constant" and "grid-wrap" are taken too.  A sequence needs a full and flat element.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int or sequence of int, optional
        Shifts the window: positive values to the right.
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
        No size, footprint nor structure, one of the wrong dimensions or without elements, a sequence whose length
        is not that of `axes`, unknown mode, `origin` outside the window, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble, complex numbers.

    Notes
    -----
    Differs from `scipy.ndimage.grey_dilation`: a NaN makes all windows that it is in NaN, 64-bit integers are compared
    exactly, and with a structure, the sums are compared as double (SciPy: all but the first as the
    input's dtype, so that integers wrap and lose the fractions of the structure).

    References
    ----------
    R. M. Haralick, S. R. Sternberg, X. Zhuang, "Image analysis using mathematical morphology", IEEE Transactions on
    Pattern Analysis and Machine Intelligence 9 (1987) 532, doi:10.1109/TPAMI.1987.4767941.

    Examples
    --------
    >>> from fastconv.ndimage import grey_dilation
    >>> grey_dilation([0, 0, 0, 5, 0, 0, 0], footprint=[0, 1, 1])
    array([0, 0, 0, 5, 5, 0, 0])
    >>> grey_dilation([0, 0, 0, 5, 0, 0, 0], structure=[1, 2, 0])
    array([2, 2, 6, 7, 5, 2, 2])
    """
    image, size = window_image(input), size_used(size, footprint)
    return _dilate(image, size, footprint, structure, output, mode, cval, origin, axes, threads)


@remembered(arrays=1)
def grey_erosion(
    input: Any,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Erode an array by a structuring element.

    With an element of size ``K`` along an axis,

        output[i] = min over k of input[i + k - K//2 - origin] - structure[k]

    along each axis of `axes`, over all elements ``k``, where `input` is continued beyond its edges by `mode`, and
    without `structure` nothing is subtracted.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    size : int or sequence of int, optional
        Size of a flat and full structuring element, along each of `axes`.  One of `size`, `footprint` and
        `structure` must be given.
    footprint : array_like of bool, optional
        Elements of a flat structuring element, of as many dimensions as `axes`; then `size` is ignored.
    structure : array_like of float, optional
        Heights of a structuring element that is not flat; `footprint`, of the same shape, tells its elements
        (default all).
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"} or sequence of them, optional
        How the input is continued along all axes, or along each of `axes`: ``d c b a | a b c d | d c b a``,
        ``cval``, ``a a | a b c d | d d``, ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms
        "grid-mirror", "grid-constant" and "grid-wrap" are taken too.  A sequence needs a full and flat element.
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
        No size, footprint nor structure, one of the wrong dimensions or without elements, a sequence whose length
        is not that of `axes`, unknown mode, `origin` outside the window, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble, complex numbers.

    Notes
    -----
    Differs from `scipy.ndimage.grey_erosion`: a NaN makes all windows that it is in NaN, 64-bit integers are compared
    exactly, and with a structure, the sums are compared as double (SciPy: all but the first as the
    input's dtype, so that integers wrap and lose the fractions of the structure).

    References
    ----------
    R. M. Haralick, S. R. Sternberg, X. Zhuang, "Image analysis using mathematical morphology", IEEE Transactions on
    Pattern Analysis and Machine Intelligence 9 (1987) 532, doi:10.1109/TPAMI.1987.4767941.

    Examples
    --------
    >>> from fastconv.ndimage import grey_erosion
    >>> grey_erosion([9, 9, 9, 5, 9, 9, 9], footprint=[0, 1, 1])
    array([9, 9, 5, 5, 9, 9, 9])
    >>> grey_erosion([9, 9, 9, 5, 9, 9, 9], structure=[1, 2, 0])
    array([7, 7, 5, 3, 4, 7, 7])
    """
    image, size = window_image(input), size_used(size, footprint)
    return extreme("min", image, size, footprint, structure, output, mode, cval, origin, axes, threads)


@remembered(arrays=1)
def grey_opening(
    input: Any,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Open an array by a structuring element: erode it, then dilate it.

    Peaks that the element does not fit under are removed; ``grey_dilation(grey_erosion(input, ...), ...)``.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    size : int or sequence of int, optional
        Size of a flat and full structuring element, along each of `axes`.  One of `size`, `footprint` and
        `structure` must be given.
    footprint : array_like of bool, optional
        Elements of a flat structuring element, of as many dimensions as `axes`; then `size` is ignored.
    structure : array_like of float, optional
        Heights of a structuring element that is not flat; `footprint`, of the same shape, tells its elements
        (default all).
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"} or sequence of them, optional
        How the input is continued along all axes, or along each of `axes`: ``d c b a | a b c d | d c b a``,
        ``cval``, ``a a | a b c d | d d``, ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms
        "grid-mirror", "grid-constant" and "grid-wrap" are taken too.  A sequence needs a full and flat element.
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
        No size, footprint nor structure, one of the wrong dimensions or without elements, a sequence whose length
        is not that of `axes`, unknown mode, `origin` outside the window, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble, complex numbers.

    Notes
    -----
    Differs from `scipy.ndimage.grey_opening` as `grey_erosion` and `grey_dilation` do from SciPy's.

    References
    ----------
    R. M. Haralick, S. R. Sternberg, X. Zhuang, "Image analysis using mathematical morphology", IEEE Transactions on
    Pattern Analysis and Machine Intelligence 9 (1987) 532, doi:10.1109/TPAMI.1987.4767941.

    Examples
    --------
    >>> from fastconv.ndimage import grey_opening
    >>> grey_opening([1, 1, 9, 1, 5, 5, 5, 1], size=3)
    array([1, 1, 1, 1, 5, 5, 5, 1])
    """
    image, size = window_image(input), size_used(size, footprint)
    eroded = window_image(extreme("min", image, size, footprint, structure, None, mode, cval, origin, axes, threads))
    return _dilate(eroded, size, footprint, structure, output, mode, cval, origin, axes, threads)


@remembered(arrays=1)
def grey_closing(
    input: Any,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Close an array by a structuring element: dilate it, then erode it.

    Pits that the element does not fit into are filled; ``grey_erosion(grey_dilation(input, ...), ...)``.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    size : int or sequence of int, optional
        Size of a flat and full structuring element, along each of `axes`.  One of `size`, `footprint` and
        `structure` must be given.
    footprint : array_like of bool, optional
        Elements of a flat structuring element, of as many dimensions as `axes`; then `size` is ignored.
    structure : array_like of float, optional
        Heights of a structuring element that is not flat; `footprint`, of the same shape, tells its elements
        (default all).
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"} or sequence of them, optional
        How the input is continued along all axes, or along each of `axes`: ``d c b a | a b c d | d c b a``,
        ``cval``, ``a a | a b c d | d d``, ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms
        "grid-mirror", "grid-constant" and "grid-wrap" are taken too.  A sequence needs a full and flat element.
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
        No size, footprint nor structure, one of the wrong dimensions or without elements, a sequence whose length
        is not that of `axes`, unknown mode, `origin` outside the window, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble, complex numbers.

    Notes
    -----
    Differs from `scipy.ndimage.grey_closing` as `grey_dilation` and `grey_erosion` do from SciPy's.

    References
    ----------
    R. M. Haralick, S. R. Sternberg, X. Zhuang, "Image analysis using mathematical morphology", IEEE Transactions on
    Pattern Analysis and Machine Intelligence 9 (1987) 532, doi:10.1109/TPAMI.1987.4767941.

    Examples
    --------
    >>> from fastconv.ndimage import grey_closing
    >>> grey_closing([9, 9, 1, 9, 5, 5, 5, 9], size=3)
    array([9, 9, 9, 9, 5, 5, 5, 9])
    """
    image, size = window_image(input), size_used(size, footprint)
    dilated = window_image(_dilate(image, size, footprint, structure, None, mode, cval, origin, axes, threads))
    return extreme("min", dilated, size, footprint, structure, output, mode, cval, origin, axes, threads)


def _dilate(
    image: np.ndarray, size: Any, footprint: Any, structure: Any, output: Any, mode: Any, cval: Any, origin: Any,
    axes: Any, threads: int | None,
) -> np.ndarray:  # fmt: skip
    """The maximum over the mirrored element: of even sizes, the middle moves."""
    footprint, structure = (None if part is None else np.flip(np.asarray(part)) for part in (footprint, structure))
    n = len(filtered_axes(axes, image.ndim))
    name, element = ("structure", structure) if footprint is None else ("footprint", footprint)
    extents = per_axis("size", size, n) if element is None else per_axis(name, element.shape, n)
    origins = per_axis("origin", origin, n)
    if element is not None or size is not None:
        even = [whole("size", k) % 2 == 0 for k in extents]
        try:
            origins = [-shift - moves for shift, moves in zip(origins, even, strict=True)]
        except TypeError:
            raise ArgumentTypeError(f"origin must be an integer for each axis; got {origin!r}") from None
    return extreme("max", image, size, footprint, structure, output, mode, cval, origins, axes, threads)
