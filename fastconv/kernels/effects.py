"""Kernels for effects and textures: emboss, sharpen, unsharp mask, Gabor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.kernels.arguments import centred, number, positive, turned, wholes
from fastconv.kernels.laplacians import laplace
from fastconv.kernels.smoothing import gaussian

__all__ = ["emboss", "gabor", "sharpen", "unsharp"]


def emboss(angle: int = 315) -> np.ndarray:
    """A picture as a relief: itself, and how much brighter it grows along an angle.

    Parameters
    ----------
    angle : int, optional
        Multiple of 45, in degrees: along which growing brighter becomes bright; the default is to the lower right.

    Returns
    -------
    ndarray
        float64, ``(3, 3)``; its sum is one.

    Raises
    ------
    ValueError
        If `angle` is not a multiple of 45.

    References
    ----------
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), chapter 5, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.emboss()
    array([[ 2.,  1.,  0.],
           [ 1.,  1., -1.],
           [ 0., -1., -2.]])
    """
    return turned([-2, -1, 0, 1, 2, 1, 0, -1], 1, angle)


def sharpen(amount: float = 1.0, connectivity: int = 1, ndim: int = 2) -> np.ndarray:
    """A picture less its Laplacian.

        w = identity - amount * laplace(connectivity)

    Parameters
    ----------
    amount : float, optional
        How much of the Laplacian.
    connectivity : int, optional
        As of `laplace`.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64, three elements along each of `ndim` axes; its sum is one.

    Raises
    ------
    ValueError
        If `amount` is not finite, or `connectivity` not between 1 and `ndim`.

    References
    ----------
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 6.6, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.sharpen()
    array([[ 0., -1.,  0.],
           [-1.,  5., -1.],
           [ 0., -1.,  0.]])
    """
    kernel = 0.0 - number("amount", amount) * laplace(connectivity, ndim)
    kernel[(1,) * ndim] += 1.0
    return kernel


def unsharp(
    size: int | Sequence[int] = 5, sigma: float | Sequence[float] | None = None, amount: float = 1.0, ndim: int = 2
) -> np.ndarray:
    """The unsharp mask: a picture and what its Gaussian blur took away.

        w = (1 + amount) * identity - amount * gaussian(size, sigma)

    Parameters
    ----------
    size : int or sequence of int, optional
        Odd number of elements along each axis.
    sigma : float or sequence of float, optional
        As of `gaussian`.
    amount : float, optional
        How much of what the blur took away.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64, of `ndim` axes; its sum is one.

    Raises
    ------
    ValueError
        If a size is not an odd number, or the other arguments are not positive or finite.

    References
    ----------
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 6.6, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.unsharp(3, 0.8).round(3)
    array([[-0.057, -0.125, -0.057],
           [-0.125,  1.728, -0.125],
           [-0.057, -0.125, -0.057]])
    """
    sizes = wholes("size", size, ndim)
    if any(n % 2 == 0 for n in sizes):
        raise ValueError(f"size must be odd along each axis; got {size!r}")
    kernel = -number("amount", amount) * gaussian(sizes, sigma, ndim=ndim)
    kernel[tuple(n // 2 for n in sizes)] += 1.0 + amount
    return kernel


def gabor(
    size: int | Sequence[int] | None = None,
    sigma: float = 3.0,
    theta: float = 0.0,
    wavelength: float = 8.0,
    gamma: float = 0.5,
    psi: float = 0.0,
) -> np.ndarray:
    """A wave under a Gaussian: texture of a wavelength and a direction.

        w[y, x] = exp(-(u**2 + gamma**2 v**2) / (2 sigma**2)) * cos(2 pi u / wavelength + psi)
        u = x cos(theta) + y sin(theta),  v = -x sin(theta) + y cos(theta)

    with ``y`` (down) and ``x`` (to the right) counted from the centre.

    Parameters
    ----------
    size : int or sequence of int, optional
        Rows and columns; default ``2 * ceil(3 * sigma / min(1, gamma)) + 1``.
    sigma : float, optional
        Standard deviation of the Gaussian along the wave.
    theta : float, optional
        Direction of the wave in radians, clockwise from the right; 0 answers to vertical stripes.
    wavelength : float, optional
        In elements.
    gamma : float, optional
        Aspect ratio: the Gaussian is ``sigma / gamma`` wide across the wave.
    psi : float, optional
        Phase in radians: 0 is even, ``-pi/2`` odd.

    Returns
    -------
    ndarray
        float64, two axes.  Its sum is not zero; subtract the mean to make flat areas black.

    Raises
    ------
    ValueError
        If `sigma`, `wavelength`, `gamma` or a size is not positive, or an angle not finite.

    Notes
    -----
    For odd sizes these are the weights of OpenCV's ``getGaborKernel``, flipped: OpenCV correlates.

    References
    ----------
    J. G. Daugman, "Uncertainty relation for resolution in space, spatial frequency, and orientation optimized by
    two-dimensional visual cortical filters", J. Opt. Soc. Am. A 2 (1985) 1160, doi:10.1364/JOSAA.2.001160.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.gabor(5, sigma=1.5, wavelength=4.0)[2].round(3)
    array([-0.411,  0.   ,  1.   ,  0.   , -0.411])
    """
    sigma, wavelength, gamma = (
        positive(name, value) for name, value in (("sigma", sigma), ("wavelength", wavelength), ("gamma", gamma))
    )
    theta, psi = number("theta", theta), number("psi", psi)
    if size is None:
        size = 2 * int(np.ceil(3.0 * sigma / min(1.0, gamma))) + 1
    y, x = np.meshgrid(*(centred(n) for n in wholes("size", size, 2)), indexing="ij")
    u, v = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
    return np.exp(-(u**2 + (gamma * v) ** 2) / (2.0 * sigma**2)) * np.cos(2.0 * np.pi * u / wavelength + psi)
