"""What is made of derivatives along several axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastconv.device import as_device, on_device
from fastconv.ndimage.arguments import checked_cval, filtered_axes, per_axis
from fastconv.ndimage.derivatives import SMOOTHED, derivative_passes
from fastconv.ndimage.passes import Pass, correlate_combined, correlate_passes, result_array
from fastconv.replay import by_value, remembered
from fastconv.validate import as_array

__all__ = ["generic_gradient_magnitude", "generic_laplace"]


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
    known = next((i for i, (function, _) in enumerate(SMOOTHED) if derivative is function), -1)
    if known >= 0 and not extra_arguments and not extra_keywords:
        if squared and axes is None and isinstance(mode, str) and np.ndim(input) == 1:  # there is nothing to add
            result = derivative(input, 0, output, mode, cval)
            target: Any = as_device("the derivative", result) or result
            with np.errstate(all="ignore"):
                np.multiply(target, target, target)
                _take_roots(target)
            return result
        return _combine_known(input, known, output, mode, cval, axes, squared)
    return _combine_any(input, derivative, output, mode, cval, extra_arguments, extra_keywords, axes, squared)


@remembered(arrays=1)
def _combine_known(input: Any, known: int, output: Any, mode: Any, cval: Any, axes: Any, squared: bool) -> np.ndarray:
    """`_combine` with one of the derivatives in `SMOOTHED`."""
    return _combine_any(input, SMOOTHED[known][0], output, mode, cval, (), None, axes, squared)


def _combine_any(
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
    image = as_array("input", input, empty=True)
    axes = filtered_axes(axes, image.ndim)
    modes = per_axis("mode", mode, len(axes))
    result, target = result_array(output, image)
    if not axes:
        target[...] = image
        return result
    if target.dtype.kind == "f" and not extra_arguments and not extra_keywords:
        terms = [_passes_of(derivative, image.ndim, axis, m) for axis, m in zip(axes, modes, strict=True)]
        if all(terms):
            value, threads = checked_cval(cval, image, image), getattr(derivative, "threads", None)
            if len(terms) == 1 and not squared:
                correlate_passes(image, target, terms[0], value, threads)
                return result
            if correlate_combined(image, target, terms, squared, value, threads):
                return result
    by_value()  # NumPy puts together what the function gives
    if len(axes) > 1 and np.may_share_memory(image, target):
        image = image.copy()
    with np.errstate(all="ignore"):
        for axis, m in zip(axes, modes, strict=True):
            first = axis == axes[0]
            to = target if first else target.dtype
            made = derivative(image, axis, to, m, cval, *extra_arguments, **(extra_keywords or {}))
            term: Any = target if first else as_device("the derivative", made) or made
            if squared:
                np.multiply(term, term, term)
            if not first:
                np.add(target, term, out=target)
        if squared:
            _take_roots(target)
    return result


def _passes_of(derivative: Any, ndim: int, axis: int, mode: Any) -> list[Pass]:
    """The passes that a derivative consists of; none if that is not known."""
    for function, across in SMOOTHED:
        if derivative is function:
            return derivative_passes(ndim, axis, mode, across)
    return derivative.passes(ndim, axis, mode) if hasattr(derivative, "passes") else []


def _take_roots(target: np.ndarray) -> None:
    """Square roots in place; those of all small integers are fewer than those of an image (and slow: they are float16)."""
    dtype = target.dtype
    few = on_device(target) or target.size < 1 << 8 * dtype.itemsize
    if dtype.kind not in "iu" or dtype.itemsize > 2 or not dtype.isnative or few:
        np.sqrt(target, target, casting="unsafe")
        return
    unsigned = np.dtype(f"u{dtype.itemsize}")
    roots = np.arange(1 << 8 * dtype.itemsize, dtype=unsigned).view(dtype)
    np.sqrt(roots, roots, casting="unsafe")
    target[...] = roots[target.view(unsigned)]
