"""Kernels that find blobs and outlines: second derivatives, whose weights add up to zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.kernels.arguments import positive, squared_radius, whole
from fastconv.kernels.smoothing import gaussian, gaussian_window

__all__ = ["difference_of_gaussians", "laplace", "laplacian_of_gaussian"]


def laplace(connectivity: int = 1, ndim: int = 2) -> np.ndarray:
    """The Laplacian: the sum of the neighbours, less as many times the centre.

    Parameters
    ----------
    connectivity : int, optional
        Neighbours differ from the centre along so many axes at most, by one: in a plane there are 4 with 1,
        8 with 2.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64, three elements along each of `ndim` axes.

    Raises
    ------
    ValueError
        If `connectivity` is not between 1 and `ndim`.

    References
    ----------
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 6.6, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.laplace()
    array([[ 0.,  1.,  0.],
           [ 1., -4.,  1.],
           [ 0.,  1.,  0.]])
    """
    if whole("connectivity", connectivity) > whole("ndim", ndim):
        raise ValueError(f"connectivity must be at most ndim, {ndim}; got {connectivity}")
    kernel = (squared_radius([3] * ndim) <= connectivity).astype(np.float64)
    kernel[(1,) * ndim] = 1.0 - kernel.sum()
    return kernel


def laplacian_of_gaussian(
    size: int | Sequence[int] | None = None, sigma: float = 1.0, *, truncate: float = 4.0, ndim: int = 2
) -> np.ndarray:
    """The Laplacian of a Gaussian: bright blobs of radius ``sigma * sqrt(ndim)`` give the most negative values.

        w[k] = (|k|**2 - n sigma**2) / sigma**4 * gaussian[k]     on n axes, less its mean

    Parameters
    ----------
    size : int or sequence of int, optional
        Number of elements along each axis; default ``2 * int(truncate * sigma + 0.5) + 1``.
    sigma : float, optional
        Standard deviation.
    truncate : float, optional
        Where the window ends, in standard deviations, if no `size` is given.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64, of `ndim` axes; its sum is zero.

    Raises
    ------
    ValueError
        If one of the arguments is not positive.

    References
    ----------
    D. Marr, E. Hildreth, "Theory of edge detection", Proc. R. Soc. Lond. B 207 (1980) 187,
    doi:10.1098/rspb.1980.0020.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.laplacian_of_gaussian(5, 1.0)[2].round(3)
    array([ 0.05 , -0.092, -0.318, -0.092,  0.05 ])
    """
    sizes, _ = gaussian_window(size, positive("sigma", sigma), truncate, ndim)
    kernel = (squared_radius(sizes) - ndim * sigma**2) / sigma**4 * gaussian(sizes, sigma, ndim=ndim)
    return kernel - kernel.mean()


def difference_of_gaussians(
    size: int | Sequence[int] | None = None,
    sigma: float = 1.0,
    ratio: float = 1.6,
    *,
    truncate: float = 4.0,
    ndim: int = 2,
) -> np.ndarray:
    """A Gaussian less a wider one: a band-pass, and for `ratio` 1.6 nearly the negative `laplacian_of_gaussian`.

        w = gaussian(size, sigma) - gaussian(size, ratio * sigma)

    Parameters
    ----------
    size : int or sequence of int, optional
        Number of elements along each axis; default ``2 * int(truncate * ratio * sigma + 0.5) + 1``.
    sigma : float, optional
        Standard deviation of the narrower Gaussian.
    ratio : float, optional
        How much wider the other one is.
    truncate : float, optional
        Where the window ends, in standard deviations of the wider one, if no `size` is given.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64, of `ndim` axes; its sum is zero.

    Raises
    ------
    ValueError
        If one of the arguments is not positive, or `ratio` not above 1.

    References
    ----------
    D. Marr, E. Hildreth, "Theory of edge detection", Proc. R. Soc. Lond. B 207 (1980) 187,
    doi:10.1098/rspb.1980.0020.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.difference_of_gaussians(5, 0.8, ndim=1).round(3)
    array([-0.074, -0.012,  0.173, -0.012, -0.074])
    """
    if positive("ratio", ratio) <= 1:
        raise ValueError(f"ratio must be above 1; got {ratio!r}")
    sizes, wide = gaussian_window(size, positive("sigma", sigma) * ratio, truncate, ndim)
    return gaussian(sizes, sigma, ndim=ndim) - gaussian(sizes, wide, ndim=ndim)
