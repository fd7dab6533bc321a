"""Kernels that smooth: their weights are positive and add up to one."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, floor

import numpy as np

from fastconv.kernels.arguments import centred, number, outer, positive, positives, squared_radius, whole, wholes

__all__ = [
    "ball",
    "binomial",
    "binomial_line",
    "box",
    "disk",
    "gaussian",
    "gaussian_line",
    "gaussian_window",
    "motion_blur",
]


def box(size: int | Sequence[int] = 3, ndim: int = 2) -> np.ndarray:
    """The mean of a box.

        w[k] = 1 / (K L ...)

    Parameters
    ----------
    size : int or sequence of int, optional
        Number of elements along each axis.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64, of `ndim` axes.

    Raises
    ------
    ValueError
        If a size or `ndim` is not a positive integer.

    References
    ----------
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 5.2, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.box((1, 4))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    sizes = wholes("size", size, ndim)
    return np.full(sizes, 1.0 / np.prod(sizes, dtype=float))


def binomial(size: int | Sequence[int] = 3, ndim: int = 2) -> np.ndarray:
    """Binomial coefficients: the smoothing by ``[1, 1] / 2`` repeated, which tends to a Gaussian.

        w[k] = C(K-1, k) / 2**(K-1)     along each axis; its variance is (K-1) / 4

    Parameters
    ----------
    size : int or sequence of int, optional
        Number of elements along each axis.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64, of `ndim` axes.

    Raises
    ------
    ValueError
        If a size or `ndim` is not a positive integer.

    References
    ----------
    T. Lindeberg, "Scale-space for discrete signals", IEEE Trans. Pattern Anal. Mach. Intell. 12 (1990) 234,
    doi:10.1109/34.49051.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.binomial(5, ndim=1)
    array([0.0625, 0.25  , 0.375 , 0.25  , 0.0625])
    """
    return outer([binomial_line(n) / 2.0 ** (n - 1) for n in wholes("size", size, ndim)])


def gaussian(
    size: int | Sequence[int] | None = None,
    sigma: float | Sequence[float] | None = None,
    *,
    truncate: float = 4.0,
    ndim: int = 2,
) -> np.ndarray:
    """A sampled Gaussian.

        w[k] = exp(-k**2 / (2 sigma**2)) / sum over j of exp(-j**2 / (2 sigma**2))     along each axis

    with ``k`` counted from the centre.

    Parameters
    ----------
    size : int or sequence of int, optional
        Number of elements along each axis; default ``2 * int(truncate * sigma + 0.5) + 1``, as of
        `scipy.ndimage.gaussian_filter`.
    sigma : float or sequence of float, optional
        Standard deviation along each axis; default a sixth of the window, ``(size // 2 + 1) / 3``.
    truncate : float, optional
        Where the window ends, in standard deviations, if no `size` is given.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64, of `ndim` axes.

    Raises
    ------
    ValueError
        If neither `size` nor `sigma` is given, or one of the arguments is not positive.

    References
    ----------
    D. Marr, E. Hildreth, "Theory of edge detection", Proc. R. Soc. Lond. B 207 (1980) 187,
    doi:10.1098/rspb.1980.0020.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.gaussian(3, 0.8).round(3)
    array([[0.057, 0.125, 0.057],
           [0.125, 0.272, 0.125],
           [0.057, 0.125, 0.057]])
    """
    sizes, sigmas = gaussian_window(size, sigma, truncate, ndim)
    return outer([gaussian_line(n, s) for n, s in zip(sizes, sigmas, strict=True)])


def disk(radius: float = 2.0, ndim: int = 2) -> np.ndarray:
    """The mean of a disk, a ball, and so on: what a lens out of focus does.

        w[k] = 1 / n where |k| <= radius, else 0;  n elements lie in the disk

    with ``k`` counted from the centre of ``2 * floor(radius) + 1`` elements along each axis.

    Parameters
    ----------
    radius : float, optional
        Radius in elements; need not be an integer.
    ndim : int, optional
        Number of axes: 2 for a disk, 3 for a ball.

    Returns
    -------
    ndarray
        float64, of `ndim` axes.

    Raises
    ------
    ValueError
        If `radius` or `ndim` is not positive.

    References
    ----------
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 5.2, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.disk(1)
    array([[0. , 0.2, 0. ],
           [0.2, 0.2, 0.2],
           [0. , 0.2, 0. ]])
    """
    size = 2 * floor(positive("radius", radius)) + 1
    inside = squared_radius([size] * whole("ndim", ndim)) <= radius**2
    return inside / inside.sum()


def ball(radius: float = 2.0) -> np.ndarray:
    """The mean of a ball: `disk` with three axes.

    Parameters
    ----------
    radius : float, optional
        Radius in elements.

    Returns
    -------
    ndarray
        float64, of three axes.

    Raises
    ------
    ValueError
        If `radius` is not positive.

    References
    ----------
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 5.2, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.ball(1).shape, int((kernels.ball(1) > 0).sum())
    ((3, 3, 3), 7)
    """
    return disk(radius, 3)


def motion_blur(size: int = 9, angle: float = 0.0) -> np.ndarray:
    """The mean along a line through the centre: what a moving camera does.

    The line crosses the window from border to border.  It has weight ``1 / size`` in each column, if it is closer to
    the horizontal, else in each row, shared by the two elements that it passes between.

    Parameters
    ----------
    size : int, optional
        Odd number of rows and columns.
    angle : float, optional
        In degrees, counter-clockwise from the right.

    Returns
    -------
    ndarray
        float64, ``(size, size)``.

    Raises
    ------
    ValueError
        If `size` is not an odd number, or `angle` not finite.

    References
    ----------
    R. C. Gonzalez, R. E. Woods, "Digital Image Processing", 4th ed. (2018), section 5.6; the line is that of X. Wu,
    "An efficient antialiasing technique", Comput. Graph. 25 (1991) 143, doi:10.1145/127719.122734.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.motion_blur(3, angle=45).round(3)
    array([[0.   , 0.   , 0.333],
           [0.   , 0.333, 0.   ],
           [0.333, 0.   , 0.   ]])
    """
    if whole("size", size) % 2 == 0:
        raise ValueError(f"size must be an odd number; got {size!r}")
    turn = np.deg2rad(number("angle", angle))
    across, up = np.cos(turn), np.sin(turn)
    steep = abs(up) > abs(across) * (1 + 1e-12)
    slope = across / up if steep else up / across
    along = centred(size)
    place = np.clip(np.round(size // 2 - along * slope, 12), 0, size - 1)  # rows go down
    first = np.floor(place).astype(int)
    second, share = np.minimum(first + 1, size - 1), place - np.floor(place)
    steps = np.arange(size)
    kernel = np.zeros((size, size))
    np.add.at(kernel, (first, steps), (1 - share) / size)
    np.add.at(kernel, (second, steps), share / size)
    return kernel.T.copy() if steep else kernel


# -- lines, for other kernels too -----------------------------------------------------------


def binomial_line(n: int) -> np.ndarray:
    """Binomial coefficients, which add up to ``2**(n-1)``."""
    return np.array([comb(n - 1, i) for i in range(n)], dtype=np.float64)


def gaussian_line(size: int, sigma: float) -> np.ndarray:
    """A sampled Gaussian of sum one."""
    weights = np.exp(-0.5 * (centred(size) / sigma) ** 2)
    return weights / weights.sum()


def gaussian_window(
    size: int | Sequence[int] | None, sigma: float | Sequence[float] | None, truncate: float, ndim: int
) -> tuple[list[int], list[float]]:
    """Size and standard deviation for each axis."""
    if size is None and sigma is None:
        raise ValueError("size or sigma must be given")
    sizes = None if size is None else wholes("size", size, ndim)
    sigmas = [(n // 2 + 1) / 3.0 for n in sizes or ()] if sigma is None else positives("sigma", sigma, ndim)
    if sizes is None:
        reach = positive("truncate", truncate)
        sizes = [2 * int(reach * s + 0.5) + 1 for s in sigmas]
    return sizes, sigmas
