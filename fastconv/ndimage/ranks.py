"""Rank filters: medians, percentiles, any place in the order of a moving window's values."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.ndimage.arguments import (
    boundary_rule,
    checked_cval,
    filtered_axes,
    output_array,
    per_axis,
    warn_caller,
    writable,
)
from fastconv.ndimage.windows import compared, extreme, of_dtype, pad_before, window_image
from fastconv.plan import execute
from fastconv.problem import WindowProblem
from fastconv.replay import remembered
from fastconv.validate import ArgumentError, ArgumentTypeError, type_name

__all__ = ["median_filter", "percentile_filter", "rank_filter", "window_footprint"]


def rank_filter(
    input: Any,
    rank: int,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Take the value of one rank from a window around each element; the result has the input's shape.

    With a footprint of ``K`` elements along an axis,

        output[i] = sorted(input[i + k - K//2 - origin] for k in the footprint)[rank]

    along each axis of `axes`, where `input` is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    rank : int
        Place in the sorted window, from 0; negative ones count from the end.
    size : int or sequence of int, optional
        Shape of a window that is full, one number for each axis of `axes` or one for all.
    footprint : array_like, optional
        Which elements of the window count: those that are not zero.  One of `size` and `footprint` must
        be given.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued: ``d c b a | a b c d | d c b a``, ``cval``, ``a a | a b c d | d d``,
        ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms "grid-mirror", "grid-constant" and
        "grid-wrap" are taken too.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int or sequence of int, optional
        Shifts the window: positive values to the left.
    axes : int, sequence of int, optional
        Axes to filter along; default all.  As in SciPy, the dimensions of the window belong to them in
        ascending order.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        No window or one of the wrong dimensions, `rank` or `origin` outside it, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not real numbers, float16, longdouble; numbers that are not integers.

    Notes
    -----
    NaN counts as larger than all numbers.  Rank 0 and the last rank are `minimum_filter` and
    `maximum_filter`, as in SciPy: there NaN is the extreme of every window that it is in.

    Differs from `scipy.ndimage.rank_filter`: 64-bit integers are compared as they are (SciPy compares
    arrays of more than one dimension as float64).  The footprint of a one-dimensional input may have
    gaps, and its result another dtype (SciPy 1.17 ignores the gaps, and writes the input's dtype into the
    output's memory).  NaN has a place in the order (SciPy leaves it undefined).

    Windows of a few dozen elements go through selection networks, larger ones through a set of the
    sorted elements that follows the window.

    References
    ----------
    A. Adams, "Fast median filters using separable sorting networks", ACM Trans. Graph. 40 (2021) 70,
    doi:10.1145/3450626.3459773.
    B. Weiss, "Fast median and bilateral filtering", ACM Trans. Graph. 25 (2006) 519,
    doi:10.1145/1141911.1141918.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import rank_filter
    >>> rank_filter(np.array([3, 1, 4, 1, 5, 9, 2, 6]), 1, size=4)
    array([1, 3, 1, 1, 4, 2, 5, 6])
    """
    number, window = _index("rank", rank), _window(size, footprint)
    return _filter(input, "rank", number, *window, output, mode, cval, origin, axes, threads)


def median_filter(
    input: Any,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Take the median of a window around each element; the result has the input's shape.

    This is `rank_filter` with rank ``n // 2`` of the ``n`` elements in the window: of an even number the
    upper one of the two in the middle.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    size : int or sequence of int, optional
        Shape of a window that is full.
    footprint : array_like, optional
        Which elements of the window count.  One of `size` and `footprint` must be given.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued; see `rank_filter`.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int or sequence of int, optional
        Shifts the window: positive values to the left.
    axes : int, sequence of int, optional
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
        No window or one of the wrong dimensions, `origin` outside it, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not real numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.median_filter` as `rank_filter` does from SciPy's.

    References
    ----------
    A. Adams, "Fast median filters using separable sorting networks", ACM Trans. Graph. 40 (2021) 70,
    doi:10.1145/3450626.3459773.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import median_filter
    >>> median_filter(np.array([3, 1, 4, 1, 5, 9, 2, 6]), size=3)
    array([3, 3, 1, 4, 5, 5, 6, 6])
    """
    return _filter(input, "median", 0, *_window(size, footprint), output, mode, cval, origin, axes, threads)


def percentile_filter(
    input: Any,
    percentile: float,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Take a percentile of a window around each element; the result has the input's shape.

    This is `rank_filter` with rank ``int(n * percentile / 100)`` of the ``n`` elements in the window, the
    last one for 100.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    percentile : scalar
        From 0 to 100; negative ones count from the end: -20 is 80.
    size : int or sequence of int, optional
        Shape of a window that is full.
    footprint : array_like, optional
        Which elements of the window count.  One of `size` and `footprint` must be given.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued; see `rank_filter`.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int or sequence of int, optional
        Shifts the window: positive values to the left.
    axes : int, sequence of int, optional
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
        No window or one of the wrong dimensions, `percentile` or `origin` out of range, unknown mode, unfit
        `output`.
    TypeError
        Dtypes that are not real numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.percentile_filter` as `rank_filter` does from SciPy's.

    References
    ----------
    A. Adams, "Fast median filters using separable sorting networks", ACM Trans. Graph. 40 (2021) 70,
    doi:10.1145/3450626.3459773.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import percentile_filter
    >>> percentile_filter(np.array([3, 1, 4, 1, 5, 9, 2, 6]), 80, size=5)
    array([4, 4, 5, 9, 9, 9, 9, 9])
    """
    try:
        part = float(percentile)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"percentile must be a number; got {percentile!r}") from None
    if not -100 <= part <= 100:
        raise ArgumentError(f"percentile must be in [-100, 100]; got {percentile!r}")
    part += 100 * (part < 0)
    return _filter(input, "percentile", part, *_window(size, footprint), output, mode, cval, origin, axes, threads)


# -- what they have in common ---------------------------------------------------------------


def window_footprint(
    size: Any, footprint: Any, origin: Any, axes: tuple[int, ...], ndim: int
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The footprint over all axes of an array, and the origin along each of them.

    As in SciPy, its dimensions belong to `axes` in ascending order, the origins to them as they are named
    if some axes are left out.
    """
    if footprint is None:
        if size is None:
            raise ArgumentError("size or footprint must be given; got None")
        sizes = [_index("size", n) for n in per_axis("size", size, len(axes))]
        if min(sizes, default=1) < 1:
            raise ArgumentError(f"size must be at least 1; got {size!r}")
        inside = np.ones(sizes, bool)
    else:
        inside = np.asarray(footprint).astype(bool)
        if inside.ndim != len(axes) or not inside.any():
            raise ArgumentError(
                f"footprint must have {len(axes)} dimensions, one for each axis, and an element that is not zero; "
                f"got {footprint!r}"
            )
    origins = per_axis("origin", origin, len(axes))
    shift_of = dict(zip(sorted(axes) if len(axes) == ndim else axes, origins, strict=True))
    inside = np.expand_dims(inside, tuple(a for a in range(ndim) if a not in axes))
    return inside, tuple(shift_of.get(a, 0) for a in range(ndim))


def _window(size: Any, footprint: Any) -> tuple[Any, Any]:
    """The arguments that tell the window; a footprint as numbers and text, by which calls are remembered."""
    if footprint is None:
        return size, None
    if size is not None:
        warn_caller("ignoring size because footprint is set")
    inside = np.asarray(footprint).astype(bool)
    return None, (*inside.shape, inside.tobytes().decode("latin1"))


def _rank(operation: str, number: Any, taps: int) -> int:
    """The rank in a window of so many values."""
    if operation == "median":
        return taps // 2
    if operation == "percentile":
        return taps - 1 if number == 100 else int(taps * number / 100)
    if not -taps <= number < taps:
        raise ArgumentError(f"rank must be in [{-taps}, {taps}) for a footprint of {taps} elements; got {number}")
    return number % taps


@remembered(arrays=1)
def _filter(
    input: Any,
    operation: str,
    number: Any,
    size: Any,
    footprint: Any,
    output: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
    threads: int | None,
) -> np.ndarray:
    image = window_image(input)
    if footprint is not None:
        footprint = np.frombuffer(footprint[-1].encode("latin1"), bool).reshape(footprint[:-1])
    axes = filtered_axes(axes, image.ndim)
    inside, origins = window_footprint(size, footprint, origin, axes, image.ndim)
    taps = int(inside.sum())
    rank = _rank(operation, number, taps)
    if rank in (0, taps - 1):
        if not isinstance(mode, str) and isinstance(mode, Iterable):
            named = dict(zip(axes, per_axis("mode", mode, len(axes)), strict=True))
            mode = [named.get(a, "constant") for a in range(image.ndim)]
        kind = "max" if rank else "min"
        return extreme(kind, image, None, inside, None, output, mode, cval, origins, None, threads)
    pad = tuple(pad_before(n, shift) for n, shift in zip(inside.shape, origins, strict=True))
    rule = boundary_rule(mode)
    cval = checked_cval(cval, image, image)
    result, target = output_array(output, image, image)
    if image.size == 0:
        return result
    with writable(target, image) as native:
        acc, cval = _compared(image, native, rule == "fill", cval)
        problem = WindowProblem(
            "rank", image.shape, inside.shape, type_name(image.dtype), acc, type_name(native.dtype), pad,
            (rule,) * image.ndim, b"" if taps == inside.size else inside.tobytes(), rank,
        )  # fmt: skip
        execute(problem, image, None, native, fill=cval, threads=threads)
    return result


def _compared(image: np.ndarray, out: np.ndarray, filled: bool, cval: Any) -> tuple[str, Any]:
    """The dtype in which values are compared, and the fill value.

    As in SciPy, arrays of more than one dimension take `cval` as a number of their own dtype.
    """
    own = type_name(image.dtype)
    if image.ndim > 1:
        cval = of_dtype(cval, image.dtype)
    fits = compared(image, image, filled, cval) == own
    if fits and np.can_cast(image.dtype, out.dtype):
        return own, cval
    return compared(image, out, filled, cval), cval


def _index(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentTypeError(f"{name} must be an integer; got {value!r}") from None
