"""Differences of neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv.device import new_array, on_device
from fastconv.ndimage.arguments import boundary_rule, checked_cval, filtered_axes, per_axis
from fastconv.ndimage.linear import correlate_into
from fastconv.ndimage.passes import (
    Line,
    Pass,
    checked_image,
    correlate_combined,
    correlate_passes,
    result_array,
    wraps_alike,
)
from fastconv.problem import accumulator
from fastconv.replay import by_value, remembered
from fastconv.validate import axis_index

__all__ = ["SMOOTHED", "derivative_passes", "laplace", "prewitt", "sobel"]


@remembered(arrays=1)
def sobel(
    input: Any,
    axis: int = -1,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Take the Sobel derivative of an array along one axis.

    Along `axis`, and then along each other axis,

        output[i] = input[i + 1] - input[i - 1]
        output[i] = output[i - 1] + 2 * output[i] + output[i + 1]

    where the array is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    axis : int, optional
        Axis to differentiate along.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype; unsigned integers wrap.
    mode : str or sequence of str, optional
        How the array is continued along each axis; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        An axis out of range, a sequence of modes of the wrong length, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.sobel`: float32 results of float32 input are summed in float32
    (SciPy: double).  Integer results are exactly SciPy's.  Up to three axes are taken in one pass
    where the result is the same.

    References
    ----------
    P.-E. Danielsson and O. Seger, "Generalized and Separable Sobel Operators", in Machine Vision for
    Three-Dimensional Scenes (1990) 347-379, doi:10.1016/B978-0-12-266722-0.50016-6.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import sobel
    >>> sobel(np.array([[0, 0, 9], [0, 0, 9], [0, 0, 9]]))
    array([[ 0, 36, 36],
           [ 0, 36, 36],
           [ 0, 36, 36]])
    """
    return _derivative(input, axis, output, mode, cval, threads, across=_BINOMIAL)


@remembered(arrays=1)
def prewitt(
    input: Any,
    axis: int = -1,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Take the Prewitt derivative of an array along one axis.

    Along `axis`, and then along each other axis,

        output[i] = input[i + 1] - input[i - 1]
        output[i] = output[i - 1] + output[i] + output[i + 1]

    where the array is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    axis : int, optional
        Axis to differentiate along.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype; unsigned integers wrap.
    mode : str or sequence of str, optional
        How the array is continued along each axis; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        An axis out of range, a sequence of modes of the wrong length, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.prewitt` as `sobel` does from SciPy's.

    References
    ----------
    P.-E. Danielsson and O. Seger, "Generalized and Separable Sobel Operators", in Machine Vision for
    Three-Dimensional Scenes (1990) 347-379, doi:10.1016/B978-0-12-266722-0.50016-6.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import prewitt
    >>> prewitt(np.array([[0, 0, 9], [0, 0, 9], [0, 0, 9]]))
    array([[ 0, 27, 27],
           [ 0, 27, 27],
           [ 0, 27, 27]])
    """
    return _derivative(input, axis, output, mode, cval, threads, across=_BOX)


@remembered(arrays=1)
def laplace(
    input: Any,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Sum the second differences of an array along its axes.

        output[i] = sum over a of input[i - e_a] - 2 * input[i] + input[i + e_a]

    for each axis ``a`` of `axes`, with ``e_a`` a step along it, where `input` is continued beyond its
    edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype; unsigned integers wrap.
    mode : str or sequence of str, optional
        How the input is continued along each axis of `axes`; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    axes : int, sequence of int, optional
        Axes to differentiate along; default all.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Axes out of range, a sequence of modes of the wrong length, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.laplace` as `sobel` does from SciPy's, and the input may be the
    output (SciPy then filters what it has overwritten).

    References
    ----------
    T. Lindeberg, "Scale-Space for Discrete Signals", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 12 (1990) 234-254, doi:10.1109/34.49051.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import laplace
    >>> laplace(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]))
    array([[ 0,  1,  0],
           [ 1, -4,  1],
           [ 0,  1,  0]])
    """
    image = checked_image(input)
    axes = filtered_axes(axes, image.ndim)
    rules = [boundary_rule(m) for m in per_axis("mode", mode, len(axes))]
    cval = checked_cval(cval, image, image)
    result, target = result_array(output, image)
    terms = [[Pass(axis, _SECOND, rule)] for axis, rule in zip(axes, rules, strict=True)]
    if image.size and 0 < len(axes) < 4 and wraps_alike(image, target) and _is_small_integer(cval):
        _correlate_star(image, target, dict(zip(axes, rules, strict=True)), cval, threads)
    elif len(terms) == 1:
        correlate_passes(image, target, terms[0], cval, threads)
    elif not correlate_combined(image, target, terms, False, cval, threads):
        _add_second_differences(image, target, list(zip(axes, rules, strict=True)), cval, threads)
    return result


# -- what they have in common -------------------------------------------------------------------

_DIFFERENCE, _SECOND = Line(np.array([-1.0, 0, 1])), Line(np.array([1.0, -2, 1]))
_BINOMIAL, _BOX = Line(np.array([1.0, 2, 1])), Line(np.array([1.0, 1, 1]))
# How derivatives are smoothed across.
SMOOTHED: tuple[tuple[Any, Line], ...] = ((sobel, _BINOMIAL), (prewitt, _BOX))


def _add_second_differences(
    image: np.ndarray, target: np.ndarray, rules: list[tuple[int, str]], cval: np.ndarray, threads: int | None
) -> None:
    """One axis after another; what each gives is stored as the result's dtype."""
    by_value()  # NumPy adds them up
    if not rules:
        target[...] = image
        return
    if np.may_share_memory(image, target):
        image = image.copy()
    elif not on_device(image):
        image = np.ascontiguousarray(image)
    term = new_array(target.shape, target.dtype, (target,))
    for i, (axis, rule) in enumerate(rules):
        _second_difference(image, axis, term if i else target, rule, cval.item(), threads)
        if i:
            np.add(target, term, out=target)


@remembered(arrays=1)
def _second_difference(
    image: np.ndarray, axis: int, out: np.ndarray, rule: str, cval: Any, threads: int | None
) -> np.ndarray:
    correlate_passes(image, out, [Pass(axis, _SECOND, rule)], np.asarray(cval), threads)
    return out


def derivative_passes(ndim: int, axis: int, mode: Any, across: Line) -> list[Pass]:
    """The difference along one axis, then `across` along the others."""
    modes = per_axis("mode", mode, ndim)
    lines = [(axis, _DIFFERENCE), *((a, across) for a in range(ndim) if a != axis)]
    return [Pass(a, line, boundary_rule(modes[a])) for a, line in lines]


def _derivative(
    input: Any, axis: Any, output: Any, mode: Any, cval: Any, threads: int | None, across: Line
) -> np.ndarray:
    """The difference along one axis, smoothed across it."""
    image = checked_image(input)
    passes = derivative_passes(image.ndim, axis_index("axis", axis, image.ndim), mode, across)
    cval = checked_cval(cval, image, image)
    result, target = result_array(output, image)
    correlate_passes(image, target, passes, cval, threads)
    return result


def _is_small_integer(cval: np.ndarray) -> bool:
    return bool(np.isfinite(cval) and cval == np.trunc(cval) and abs(cval) < 2**15)


def _correlate_star(
    image: np.ndarray, target: np.ndarray, rules: dict[int, str], cval: np.ndarray, threads: int | None
) -> None:
    """The sum of second differences in one pass; taps of weight 0 do no harm to integers."""
    kernel = _star(image.ndim, tuple(rules))
    boundary = tuple(rules.get(axis, "fill") for axis in range(image.ndim))
    pad, acc = tuple(n // 2 for n in kernel.shape), accumulator(target.dtype)
    correlate_into(target, image, kernel, pad, boundary, cval.astype(np.int64), threads, acc=acc)


@lru_cache(maxsize=32)
def _star(ndim: int, axes: tuple[int, ...]) -> np.ndarray:
    """Weights of the sum of second differences; those in the corners are 0."""
    kernel = np.zeros([3 if axis in axes else 1 for axis in range(ndim)], np.int64)
    centre = tuple(size // 2 for size in kernel.shape)
    for axis in axes:
        at: tuple[Any, ...] = centre[:axis] + (slice(None),) + centre[axis + 1 :]
        kernel[at] += [1, -2, 1]
    return kernel
