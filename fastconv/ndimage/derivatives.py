"""Differences of neighbours, and what is made of derivatives along several axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv.config import current_precision
from fastconv.ndimage.arguments import boundary_rule, checked_cval, filtered_axes, per_axis
from fastconv.ndimage.linear import correlate_into
from fastconv.ndimage.passes import Line, Pass, checked_image, correlate_passes, result_array, wraps_alike
from fastconv.problem import accumulator
from fastconv.replay import by_value, planning, remembered
from fastconv.validate import as_array, axis_index

__all__ = ["generic_gradient_magnitude", "generic_laplace", "laplace", "prewitt", "sobel"]


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
    output (SciPy then filters what it has overwritten).  Floating-point sums along two axes are
    made in one pass if the result is finite.

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
    overlap = isinstance(output, np.ndarray) and np.may_share_memory(np.asarray(input), output)
    at_once = not overlap and current_precision() != "strict"
    result = _laplace(input, output, mode, cval, axes, threads, at_once)
    floats = result.ndim > 1 and result.dtype.kind in "fc"
    if at_once and floats and planning.get() is None and not _all_finite(result, axes):
        return _laplace(input, output, mode, cval, axes, threads, False)
    return result


def generic_laplace(
    input: Any,
    derivative2: Callable[..., Any],
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    extra_arguments: Iterable[Any] = (),
    extra_keywords: Mapping[str, Any] | None = None,
    *,
    axes: int | Iterable[int] | None = None,
) -> np.ndarray:
    """Sum the second derivatives of an array along its axes, as a function gives them.

        output = sum over a of derivative2(input, a, output, mode, cval, *extra_arguments, **extra_keywords)

    for each axis ``a`` of `axes`.

    Parameters
    ----------
    input : array_like
        Numbers.
    derivative2 : callable
        Called as in the formula: with the array to write to for the first axis, and for the others
        with the dtype of a new array to return.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : str or sequence of str, optional
        Given to `derivative2`, one for each axis of `axes`.
    cval : scalar, optional
        Given to `derivative2`.
    extra_arguments : sequence, optional
        Further arguments of `derivative2`.
    extra_keywords : dict, optional
        Keyword arguments of `derivative2`.
    axes : int, sequence of int, optional
        Axes to differentiate along; default all.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Axes out of range, a sequence of modes of the wrong length, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.generic_laplace`: the input may be the output (SciPy then filters
    what it has overwritten).

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> from fastconv.ndimage import correlate1d, generic_laplace
    >>> def second(input, axis, output, mode, cval, weights):
    ...     return correlate1d(input, weights, axis, output, mode, cval)
    >>> generic_laplace([0, 0, 1, 4, 9], second, extra_arguments=([1, -2, 1],))
    array([ 0,  1,  2,  2, -5])
    """
    return _combine(input, derivative2, output, mode, cval, extra_arguments, extra_keywords, axes, squared=False)


def generic_gradient_magnitude(
    input: Any,
    derivative: Callable[..., Any],
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    extra_arguments: Iterable[Any] = (),
    extra_keywords: Mapping[str, Any] | None = None,
    *,
    axes: int | Iterable[int] | None = None,
) -> np.ndarray:
    """Take the magnitude of the gradient of an array, whose derivatives a function gives.

        output = sqrt(sum over a of derivative(input, a, output, mode, cval, *extra_arguments, **extra_keywords)**2)

    for each axis ``a`` of `axes`.

    Parameters
    ----------
    input : array_like
        Numbers.
    derivative : callable
        Called as in the formula: with the array to write to for the first axis, and for the others
        with the dtype of a new array to return, which is then overwritten.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : str or sequence of str, optional
        Given to `derivative`, one for each axis of `axes`.
    cval : scalar, optional
        Given to `derivative`.
    extra_arguments : sequence, optional
        Further arguments of `derivative`.
    extra_keywords : dict, optional
        Keyword arguments of `derivative`.
    axes : int, sequence of int, optional
        Axes to differentiate along; default all.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Axes out of range, a sequence of modes of the wrong length, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.generic_gradient_magnitude` as `generic_laplace` does from SciPy's.
    Squares of integers wrap, and what is no number in the end is stored without a warning.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import generic_gradient_magnitude, sobel
    >>> generic_gradient_magnitude(np.array([[0.0, 0, 3], [0, 0, 3], [4, 4, 7]]), sobel)
    array([[ 0., 12., 12.],
           [16., 20., 20.],
           [16., 20., 20.]])
    """
    return _combine(input, derivative, output, mode, cval, extra_arguments, extra_keywords, axes, squared=True)


# -- what they have in common -------------------------------------------------------------------

_DIFFERENCE, _SECOND = Line(np.array([-1.0, 0, 1])), Line(np.array([1.0, -2, 1]))
_BINOMIAL, _BOX = Line(np.array([1.0, 2, 1])), Line(np.array([1.0, 1, 1]))


# A large result is finite if these rows are, beside which there are no two others.
SAMPLED, STEP = 1 << 16, 3


@remembered(arrays=1)
def _laplace(
    input: Any, output: Any, mode: Any, cval: Any, axes: Any, threads: int | None, at_once: bool
) -> np.ndarray:
    """`laplace`; if `at_once`, floating-point sums along two axes have taps of weight 0, which NaN and infinity show."""
    image = checked_image(input)
    axes = filtered_axes(axes, image.ndim)
    rules = [boundary_rule(m) for m in per_axis("mode", mode, len(axes))]
    cval = checked_cval(cval, image, image)
    result, target = result_array(output, image)
    integers = len(axes) in (1, 2, 3) and wraps_alike(image, target) and _is_small_integer(cval)
    if image.size and (integers or (at_once and len(axes) == 2 and target.dtype.kind in "fc")):
        _correlate_star(image, target, tuple(zip(axes, rules, strict=True)), cval, threads)
    elif len(axes) == 1:
        correlate_passes(image, target, [Pass(axes[0], _SECOND, rules[0])], cval, threads)
    else:
        _add_second_differences(image, target, list(zip(axes, rules, strict=True)), cval, threads)
    return result


def _add_second_differences(
    image: np.ndarray, target: np.ndarray, rules: list[tuple[int, str]], cval: np.ndarray, threads: int | None
) -> None:
    """One axis after another; what each gives is stored as the result's dtype."""
    by_value()  # NumPy adds them up
    if not rules:
        target[...] = image
        return
    image = image.copy() if np.may_share_memory(image, target) else np.ascontiguousarray(image)
    term = np.empty(target.shape, target.dtype)
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


def _all_finite(result: np.ndarray, axes: Any) -> bool:
    """Whether sums whose windows reach one element further hold neither NaN nor infinity."""
    if result.size > SAMPLED:
        rows = result.swapaxes(0, filtered_axes(axes, result.ndim)[0])
        return bool(np.isfinite(rows[::STEP]).all() and np.isfinite(rows[-1]).all())
    return bool(np.isfinite(result).all())


def _derivative(
    input: Any, axis: Any, output: Any, mode: Any, cval: Any, threads: int | None, across: Line
) -> np.ndarray:
    """The difference along one axis, smoothed across it."""
    image = checked_image(input)
    axis = axis_index("axis", axis, image.ndim)
    modes = per_axis("mode", mode, image.ndim)
    others = [a for a in range(image.ndim) if a != axis]
    lines = [(axis, _DIFFERENCE), *((a, across) for a in others)]
    passes = [Pass(a, line, boundary_rule(modes[a])) for a, line in lines]
    cval = checked_cval(cval, image, image)
    result, target = result_array(output, image)
    correlate_passes(image, target, passes, cval, threads)
    return result


def _combine(
    input: Any,
    derivative: Callable[..., Any],
    output: Any,
    mode: Any,
    cval: Any,
    extra_arguments: Iterable[Any],
    extra_keywords: Mapping[str, Any] | None,
    axes: Any,
    squared: bool,
) -> np.ndarray:
    """The sum of derivatives, or the root of the sum of their squares, stored in the result's dtype at each step."""
    image = as_array("input", input, empty=True)
    axes = filtered_axes(axes, image.ndim)
    modes = per_axis("mode", mode, len(axes))
    result, target = result_array(output, image)
    if not axes:
        target[...] = image
        return result
    if len(axes) > 1 and np.may_share_memory(image, target):
        image = image.copy()
    with np.errstate(all="ignore"):
        for axis, m in zip(axes, modes, strict=True):
            first = axis == axes[0]
            to = target if first else target.dtype
            made = derivative(image, axis, to, m, cval, *extra_arguments, **(extra_keywords or {}))
            term = target if first else made
            if squared:
                np.multiply(term, term, term)
            if not first:
                np.add(target, term, out=target)
        if squared:
            _take_roots(target)
    return result


def _take_roots(target: np.ndarray) -> None:
    """Square roots in place; those of all small integers are fewer than those of an image (and slow: they are float16)."""
    dtype = target.dtype
    if dtype.kind not in "iu" or dtype.itemsize > 2 or not dtype.isnative or target.size < 1 << 8 * dtype.itemsize:
        np.sqrt(target, target, casting="unsafe")
        return
    unsigned = np.dtype(f"u{dtype.itemsize}")
    roots = np.arange(1 << 8 * dtype.itemsize, dtype=unsigned).view(dtype)
    np.sqrt(roots, roots, casting="unsafe")
    target[...] = roots[target.view(unsigned)]


def _is_small_integer(cval: np.ndarray) -> bool:
    return bool(np.isfinite(cval) and cval == np.trunc(cval) and abs(cval) < 2**15)


def _correlate_star(
    image: np.ndarray, target: np.ndarray, rules: tuple[tuple[int, str], ...], cval: np.ndarray, threads: int | None
) -> None:
    """The sum of second differences in one pass."""
    kernel = _star(image.ndim, tuple(axis for axis, _ in rules))
    rule_of = dict(rules)
    boundary = tuple(rule_of.get(axis, "fill") for axis in range(image.ndim))
    acc = None
    if target.dtype.kind in "iu":
        kernel, cval, acc = kernel.astype(np.int64), cval.astype(np.int64), accumulator(target.dtype)
    correlate_into(target, image, kernel, tuple(n // 2 for n in kernel.shape), boundary, cval, threads, acc=acc)


@lru_cache(maxsize=32)
def _star(ndim: int, axes: tuple[int, ...]) -> np.ndarray:
    """Weights of the sum of second differences; those in the corners are 0."""
    kernel = np.zeros([3 if axis in axes else 1 for axis in range(ndim)])
    centre = tuple(size // 2 for size in kernel.shape)
    for axis in axes:
        at: tuple[Any, ...] = centre[:axis] + (slice(None),) + centre[axis + 1 :]
        kernel[at] += [1, -2, 1]
    return kernel
