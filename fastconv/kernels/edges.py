"""Kernels that find edges and lines: their weights add up to zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.kernels.arguments import axis_of, outer, turned, whole
from fastconv.kernels.smoothing import binomial_line

__all__ = [
    "edge",
    "kirsch",
    "line",
    "prewitt",
    "roberts",
    "robinson",
    "scharr",
    "sobel",
]


def sobel(size: int = 3, axis: int = -1, ndim: int = 2) -> np.ndarray:
    """Sobel's gradient: a difference along an axis, binomial smoothing along the others.

    For ``size=3``, along `axis` ``[1, 0, -1]``, along each other axis ``[1, 2, 1]``; larger ones are smoothed
    by ``[1, 2, 1]`` along all axes, again and again.

    Parameters
    ----------
    size : int, optional
        Odd number of elements along each axis, at least 3.
    axis : int, optional
        Along which to differentiate.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64; positive where values grow along `axis`, under `fastconv.ndimage.convolve`.

    Raises
    ------
    ValueError
        If `size` is not an odd number of at least 3, or there is no such axis.

    References
    ----------
    I. Sobel, "An isotropic 3x3 image gradient operator" (1968), doi:10.13140/RG.2.1.1912.4965.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.sobel()
    array([[ 1.,  0., -1.],
           [ 2.,  0., -2.],
           [ 1.,  0., -1.]])
    """
    if whole("size", size, 3) % 2 == 0:
        raise ValueError(f"size must be an odd number of at least 3; got {size!r}")
    difference = np.convolve(binomial_line(size - 2), [1.0, 0.0, -1.0])
    return _gradient(difference, binomial_line(size), axis, ndim)


def prewitt(axis: int = -1, ndim: int = 2) -> np.ndarray:
    """Prewitt's gradient: ``[1, 0, -1]`` along an axis, ``[1, 1, 1]`` along the others.

    Parameters
    ----------
    axis : int, optional
        Along which to differentiate.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64; positive where values grow along `axis`, under `fastconv.ndimage.convolve`.

    Raises
    ------
    ValueError
        If there is no such axis.

    References
    ----------
    J. M. S. Prewitt, "Object enhancement and extraction", in "Picture Processing and Psychopictorics" (1970); see
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 6.3, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.prewitt(axis=0)
    array([[ 1.,  1.,  1.],
           [ 0.,  0.,  0.],
           [-1., -1., -1.]])
    """
    return _gradient([1.0, 0.0, -1.0], [1.0, 1.0, 1.0], axis, ndim)


def scharr(axis: int = -1, ndim: int = 2) -> np.ndarray:
    """Scharr's gradient: ``[1, 0, -1]`` along an axis, ``[3, 10, 3]`` along the others.

    Its direction is off by less than Sobel's.

    Parameters
    ----------
    axis : int, optional
        Along which to differentiate.
    ndim : int, optional
        Number of axes.

    Returns
    -------
    ndarray
        float64; positive where values grow along `axis`, under `fastconv.ndimage.convolve`.

    Raises
    ------
    ValueError
        If there is no such axis.

    References
    ----------
    H. Scharr, "Optimal operators in digital image processing", thesis, Heidelberg (2000),
    doi:10.11588/heidok.00000962.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.scharr()
    array([[  3.,   0.,  -3.],
           [ 10.,   0., -10.],
           [  3.,   0.,  -3.]])
    """
    return _gradient([1.0, 0.0, -1.0], [3.0, 10.0, 3.0], axis, ndim)


def roberts(axis: int = -1) -> np.ndarray:
    """Roberts' cross: the difference along a diagonal of 2x2 elements.

    Parameters
    ----------
    axis : int, optional
        -1 or 1: from the upper left to the lower right; 0: from the upper right to the lower left.

    Returns
    -------
    ndarray
        float64, ``(2, 2)``.

    Raises
    ------
    ValueError
        If there is no such axis.

    References
    ----------
    L. G. Roberts, "Machine perception of three-dimensional solids" (1963), hdl:1721.1/11589; see W. Burger,
    M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 6.3, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.roberts()
    array([[ 1.,  0.],
           [ 0., -1.]])
    """
    return np.array([[1.0, 0.0], [0.0, -1.0]] if axis_of(axis, 2) == 1 else [[0.0, 1.0], [-1.0, 0.0]])


def edge(angle: int = 0) -> np.ndarray:
    """Prewitt's gradient turned by steps of 45 degrees.

    Parameters
    ----------
    angle : int, optional
        Multiple of 45, in degrees: towards which the picture grows brighter; 0 is to the right (a vertical edge),
        90 up (a horizontal one).

    Returns
    -------
    ndarray
        float64, ``(3, 3)``.

    Raises
    ------
    ValueError
        If `angle` is not a multiple of 45.

    References
    ----------
    W. Burger, M. J. Burge, "Digital Image Processing", 2nd ed. (2016), section 6.3, doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.edge(45)
    array([[ 0., -1., -1.],
           [ 1.,  0., -1.],
           [ 1.,  1.,  0.]])
    """
    return turned([-1, -1, 0, 1, 1, 1, 0, -1], 0, angle)


def robinson(angle: int = 0) -> np.ndarray:
    """Robinson's compass: Sobel's gradient turned by steps of 45 degrees.

    Parameters
    ----------
    angle : int, optional
        Multiple of 45, in degrees: towards which the picture grows brighter.

    Returns
    -------
    ndarray
        float64, ``(3, 3)``.

    Raises
    ------
    ValueError
        If `angle` is not a multiple of 45.

    References
    ----------
    G. S. Robinson, "Edge detection by compass gradient masks", Comput. Graph. Image Process. 6 (1977) 492,
    doi:10.1016/S0146-664X(77)80024-5.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.robinson(45)
    array([[ 0., -1., -2.],
           [ 1.,  0., -1.],
           [ 2.,  1.,  0.]])
    """
    return turned([-2, -1, 0, 1, 2, 1, 0, -1], 0, angle)


def kirsch(angle: int = 0) -> np.ndarray:
    """Kirsch's compass: three neighbours against the other five, turned by steps of 45 degrees.

    Parameters
    ----------
    angle : int, optional
        Multiple of 45, in degrees: towards which the picture grows brighter.

    Returns
    -------
    ndarray
        float64, ``(3, 3)``.

    Raises
    ------
    ValueError
        If `angle` is not a multiple of 45.

    References
    ----------
    R. A. Kirsch, "Computer determination of the constituent structure of biological images", Comput. Biomed. Res. 4
    (1971) 315, doi:10.1016/0010-4809(71)90034-6.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.kirsch(0)
    array([[ 5., -3., -3.],
           [ 5.,  0., -3.],
           [ 5., -3., -3.]])
    """
    return turned([-3, -3, -3, 5, 5, 5, -3, -3], 0, angle)


def line(angle: int = 0) -> np.ndarray:
    """Thin bright lines at an angle: twice the elements on it, less their neighbours.

    Parameters
    ----------
    angle : int, optional
        Multiple of 45, in degrees: 0 for horizontal lines, 90 for vertical ones.

    Returns
    -------
    ndarray
        float64, ``(3, 3)``.

    Raises
    ------
    ValueError
        If `angle` is not a multiple of 45.

    References
    ----------
    R. C. Gonzalez, R. E. Woods, "Digital Image Processing", 4th ed. (2018), section 10.2; see W. Burger, M. J. Burge,
    "Digital Image Processing", 2nd ed. (2016), doi:10.1007/978-1-4471-6684-9.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.line(45)
    array([[-1., -1.,  2.],
           [-1.,  2., -1.],
           [ 2., -1., -1.]])
    """
    return turned([2, -1, -1, -1, 2, -1, -1, -1], 2, angle)


def _gradient(
    difference: Sequence[float] | np.ndarray, smooth: Sequence[float] | np.ndarray, axis: int, ndim: int
) -> np.ndarray:
    axis = axis_of(axis, ndim)
    return outer([np.asarray(difference if a == axis else smooth, dtype=np.float64) for a in range(ndim)])
