"""Gaussian filters and filters made of derivatives of Gaussians."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv.ndimage.arguments import boundary_rule, checked_cval, filtered_axes, output_array, per_axis
from fastconv.ndimage.gradients import generic_gradient_magnitude, generic_laplace
from fastconv.ndimage.passes import Line, Pass, checked_image, correlate_passes, result_array
from fastconv.replay import remembered
from fastconv.validate import ArgumentError, ArgumentTypeError, axis_index

__all__ = ["gaussian_filter", "gaussian_filter1d", "gaussian_gradient_magnitude", "gaussian_laplace"]

# Axes with a smaller sigma are left as they are.
LEAST_SIGMA = 1e-15


@remembered(arrays=1)
def gaussian_filter(
    input: Any,
    sigma: float | Iterable[float],
    order: int | Iterable[int] = 0,
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | Iterable[int] | None = None,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Smooth an array with a Gaussian, or a derivative of one along each axis.

    Along one axis after another,

        output[i] = sum over |k| <= radius of input[i - k] * g[k]

    where ``g[k] = exp(-k**2 / (2 sigma**2))``, divided by the sum of all of them, or its derivative
    of the given order at ``k``, and `input` is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    sigma : float or sequence of float
        Standard deviation along each axis of `axes`; 0 leaves an axis as it is.
    order : int or sequence of int, optional
        Order of the derivative along each axis of `axes`; 0 smooths.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : str or sequence of str, optional
        How the input is continued along each axis of `axes`; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    truncate : float, optional
        The radius of the kernel in standard deviations, rounded.
    radius : int or sequence of int, optional
        The radius of the kernel along each axis of `axes`, rather than by `truncate`.
    axes : int, sequence of int, optional
        Axes to filter along, in this order; default all.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Negative order or radius, sequences of the wrong length, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble; an order that is no integer.

    Notes
    -----
    Differs from `scipy.ndimage.gaussian_filter`: float32 results of float32 input are summed in
    float32 (SciPy: double), and kernels of up to 27 taps are summed in one pass.  Integer results
    are exactly SciPy's: truncated after each axis.  Bool results are truth values after each axis
    (SciPy reads its own as any bytes).

    References
    ----------
    P. Getreuer, "A Survey of Gaussian Convolution Algorithms", Image Processing On Line 3 (2013)
    286-310, doi:10.5201/ipol.2013.87.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import gaussian_filter
    >>> gaussian_filter(np.array([[0, 0, 0], [0, 100, 0], [0, 0, 0]]), sigma=0.5)
    array([[ 1,  7,  1],
           [ 8, 61,  8],
           [ 1,  7,  1]])
    """
    image = checked_image(input)
    axes = filtered_axes(axes, image.ndim)
    passes = _passes(axes, sigma, order, mode, truncate, radius)
    cval = checked_cval(cval, image, image)
    result, target = result_array(output, image)
    correlate_passes(image, target, passes, cval, threads)
    return result


@remembered(arrays=1)
def gaussian_filter1d(
    input: Any,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Smooth an array with a Gaussian, or a derivative of one, along one axis.

    Along `axis`,

        output[i] = sum over |k| <= radius of input[i - k] * g[k]

    where ``g[k] = exp(-k**2 / (2 sigma**2))``, divided by the sum of all of them, or its derivative
    of the given order at ``k``, and `input` is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    sigma : float
        Standard deviation.
    axis : int, optional
        Axis to filter along.
    order : int, optional
        Order of the derivative; 0 smooths.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    truncate : float, optional
        The radius of the kernel in standard deviations, rounded.
    radius : int, optional
        The radius of the kernel, rather than by `truncate`.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Negative order or radius, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble; an order that is no integer.
    ZeroDivisionError
        If `sigma` is 0.

    Notes
    -----
    Differs from `scipy.ndimage.gaussian_filter1d` as `correlate` does from SciPy's.

    References
    ----------
    P. Getreuer, "A Survey of Gaussian Convolution Algorithms", Image Processing On Line 3 (2013)
    286-310, doi:10.5201/ipol.2013.87.

    Examples
    --------
    >>> from fastconv.ndimage import gaussian_filter1d
    >>> gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1)
    array([1.42704095, 2.06782203, 3.        , 3.93217797, 4.57295905])
    """
    image = checked_image(input)
    line = _gaussian(sigma, order, truncate, radius)
    step = Pass(axis_index("axis", axis, image.ndim), line, boundary_rule(mode))
    cval = checked_cval(cval, image, image)
    result, target = output_array(output, image, image)
    correlate_passes(image, target, [step], cval, threads)
    return result


@remembered(arrays=1)
def gaussian_laplace(
    input: Any,
    sigma: float | Iterable[float],
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
    **kwargs: Any,
) -> np.ndarray:
    """Sum the second derivatives of a smoothed array: the Laplacian of Gaussian.

        output = sum over a of gaussian_filter(input, sigma, order=2 along a and 0 along the others)

    for each axis ``a`` of `axes`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    sigma : float or sequence of float
        Standard deviation along each axis of `axes` (if they are all, in ascending order); the others
        are not smoothed.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : str or sequence of str, optional
        How the input is continued in the derivative along each axis of `axes`; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    axes : int, sequence of int, optional
        Axes to differentiate along; default all.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.
    **kwargs
        `truncate` and `radius`, for `gaussian_filter`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Sequences of the wrong length, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.gaussian_laplace` as `gaussian_filter` does from SciPy's, and the
    input may be the output (SciPy then filters what it has overwritten).

    References
    ----------
    D. Marr and E. Hildreth, "Theory of Edge Detection", Proceedings of the Royal Society B 207
    (1980) 187-217, doi:10.1098/rspb.1980.0020.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import gaussian_laplace
    >>> gaussian_laplace(np.array([0.0, 0, 0, 1, 0, 0, 0]), sigma=1).round(3)
    array([ 0.037,  0.162,  0.   , -0.399,  0.   ,  0.162,  0.037])
    """
    ndim = np.ndim(input)
    axes = filtered_axes(axes, ndim)
    named = axes if len(axes) < ndim else range(ndim)  # as in SciPy
    sigma_of = dict(zip(named, per_axis("sigma", sigma, len(axes)), strict=True))
    sigmas = tuple(sigma_of.get(axis, 0) for axis in range(ndim))
    return generic_laplace(input, _Derivative(2, sigmas, threads, kwargs), output, mode, cval, axes=axes)


@remembered(arrays=1)
def gaussian_gradient_magnitude(
    input: Any,
    sigma: float | Iterable[float],
    output: Any = None,
    mode: str | Iterable[str] = "reflect",
    cval: Any = 0.0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
    **kwargs: Any,
) -> np.ndarray:
    """Take the magnitude of the gradient of a smoothed array.

        output = sqrt(sum over a of gaussian_filter(input, sigma, order=1 along a and 0 along the others)**2)

    for each axis ``a`` of `axes`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    sigma : float or sequence of float
        Standard deviation along each axis of `input`: as in SciPy, all of them are smoothed.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : str or sequence of str, optional
        How the input is continued in the derivative along each axis of `axes`; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    axes : int, sequence of int, optional
        Axes to differentiate along; default all.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.
    **kwargs
        `truncate` and `radius`, for `gaussian_filter`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Sequences of the wrong length, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.gaussian_gradient_magnitude` as `gaussian_filter` does from SciPy's,
    and the input may be the output (SciPy then filters what it has overwritten).

    References
    ----------
    J. Canny, "A Computational Approach to Edge Detection", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 8 (1986) 679-698, doi:10.1109/TPAMI.1986.4767851.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import gaussian_gradient_magnitude
    >>> gaussian_gradient_magnitude(np.array([0.0, 0, 0, 1, 1, 1]), sigma=1).round(3)
    array([0.013, 0.122, 0.364, 0.364, 0.122, 0.013])
    """
    return generic_gradient_magnitude(input, _Derivative(1, sigma, threads, kwargs), output, mode, cval, axes=axes)


@dataclass(frozen=True)
class _Derivative:
    """A derivative of a smoothed array, as `generic_laplace` and `generic_gradient_magnitude` take them."""

    order: int
    sigma: Any
    threads: int | None
    options: dict[str, Any]

    def __call__(self, image: Any, axis: int, output: Any, mode: Any, cval: Any) -> np.ndarray:
        order = tuple(self.order * (a == axis) for a in range(np.ndim(image)))
        return gaussian_filter(image, self.sigma, order, output, mode, cval, threads=self.threads, **self.options)

    def passes(self, ndim: int, axis: int, mode: Any) -> list[Pass]:
        """The passes of a call; none if there are options that must be seen to first."""
        if not self.options.keys() <= {"truncate", "radius"}:
            return []
        order, truncate = tuple(self.order * (a == axis) for a in range(ndim)), self.options.get("truncate", 4.0)
        return _passes(tuple(range(ndim)), self.sigma, order, mode, truncate, self.options.get("radius"))


# -- weights ------------------------------------------------------------------------------------


def _passes(axes: tuple[int, ...], sigma: Any, order: Any, mode: Any, truncate: Any, radius: Any) -> list[Pass]:
    """What is done along each axis; nothing along those whose sigma is 0."""
    arguments = {"sigma": sigma, "order": order, "mode": mode, "radius": radius}
    columns = (per_axis(name, value, len(axes)) for name, value in arguments.items())
    return [
        Pass(axis, _gaussian(s, o, truncate, r), boundary_rule(m))
        for axis, s, o, m, r in zip(axes, *columns, strict=True)
        if _is_wide(s)
    ]


def _is_wide(sigma: Any) -> bool:
    try:
        return bool(sigma > LEAST_SIGMA)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"sigma must be a number, or a sequence of numbers; got {sigma!r}") from None


def _gaussian(sigma: Any, order: Any, truncate: Any, radius: Any) -> Line:
    """The weights of one axis, as `scipy.ndimage` has them to the last bit."""
    if isinstance(sigma, np.ndarray) and sigma.size == 1:
        sigma = sigma.reshape(())[()]
    try:
        deviation = float(sigma)
    except (TypeError, ValueError) as error:
        raise type(error)(f"sigma must be a number; got {sigma!r}") from None
    if radius is None:
        if isinstance(truncate, str) or truncate is None:
            raise ArgumentTypeError(f"truncate must be a number; got {truncate!r}")
        size = float(truncate) * deviation + 0.5
        if not math.isfinite(size):
            kind = ValueError if math.isnan(size) else OverflowError
            raise kind(f"truncate * sigma must be finite; got {truncate!r} * {sigma!r}")
        radius = int(size)
    if not isinstance(radius, numbers.Integral) or radius < 0:
        raise ArgumentError(f"radius must be an integer of at least 0; got {radius!r} (sigma {sigma!r})")
    if isinstance(order, np.ndarray) and order.ndim == 0:
        order = order[()]
    if not isinstance(order, numbers.Integral) or isinstance(order, bool | np.bool):
        raise ArgumentTypeError(f"order must be an integer; got {order!r}")
    if order < 0:
        raise ArgumentError(f"order must be at least 0; got {order!r}")
    if sigma * sigma == 0:
        raise ZeroDivisionError(f"sigma must not be 0; got {sigma!r}")
    return _weights(sigma, int(order), int(radius))


@lru_cache(maxsize=64, typed=True)  # a float32 sigma is squared in float32
def _weights(sigma: Any, order: int, radius: int) -> Line:
    """The derivative of a Gaussian of unit sum, in the order in which a correlation takes its samples.

    It is the Gaussian times a polynomial q: each derivative makes q' - q x / sigma**2 of q, which a
    matrix does to the coefficients.
    """
    variance = sigma * sigma
    x = np.arange(-radius, radius + 1)
    with np.errstate(all="ignore"):
        bell = np.exp(-0.5 / variance * x**2)
        bell = np.where(x == 0, 1.0, bell)  # which is no number for the least variances
        bell = bell / bell.sum()
        if order == 0:
            return Line(bell[::-1].copy())
        powers = np.arange(order + 1)
        derive = np.diag(powers[1:], 1) + np.diag(np.ones(order) / -variance, -1)
        q = np.zeros(order + 1)
        q[0] = 1
        for _ in range(order):
            q = derive.dot(q)
        base = x if max(radius, 1) ** order < 2**63 else x.astype(float)
        return Line((np.power.outer(base, powers).dot(q) * bell)[::-1].copy())
