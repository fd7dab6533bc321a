"""Textbook kernels by name, as arrays for `fastconv.ndimage.convolve`.

They are *convolution* kernels: `sobel-x` gives positive values where the picture grows
brighter to the right, under `convolve`, which flips the kernel.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from math import comb

import numpy as np

__all__ = ["NAMES", "is_derivative", "named", "parse"]


def named(name: str, size: int | None = None) -> np.ndarray:
    """Return the kernel of a name.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    size : int, optional
        Odd number of rows and columns, at least 3; only for the kernels that have sizes.

    Returns
    -------
    ndarray
        Two-dimensional, float64.

    Raises
    ------
    ValueError
        If the name is unknown, or has no kernel of that size.

    Examples
    --------
    >>> from fastconv import kernels
    >>> kernels.named("sobel-x")
    array([[ 1.,  0., -1.],
           [ 2.,  0., -2.],
           [ 1.,  0., -1.]])
    """
    if name in _FIXED:
        kernel = np.array(_FIXED[name], dtype=np.float64)
        if size not in (None, len(kernel)):
            raise ValueError(f"size of {name!r} can only be {len(kernel)}; got {size}")
        return kernel
    if name not in _SIZED:
        raise ValueError(f"kernel must be one of {', '.join(NAMES)}, or a list like [[0, 1], [1, 0]]; got {name!r}")
    default, make = _SIZED[name]
    size = default if size is None else size
    if size < 3 or size % 2 == 0:
        raise ValueError(f"size must be an odd number of at least 3; got {size}")
    return make(size)


def parse(text: str, size: int | None = None) -> np.ndarray:
    """Return the kernel that a text tells: a name, or rows of numbers such as ``"[[0, 1], [-1, 0]]"``."""
    if not text.strip().startswith("["):
        return named(text.strip(), size)
    if size is not None:
        raise ValueError(f"size goes with a kernel's name, not with numbers; got {size}")
    try:
        kernel = np.array(ast.literal_eval(text.strip()), dtype=np.float64)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(
            f"kernel must be rows of numbers of one length, like [[0, 1], [-1, 0]]; got {text!r}"
        ) from None
    if kernel.ndim != 2 or kernel.size == 0:
        raise ValueError(f"kernel must have two dimensions and at least one number; got shape {kernel.shape}")
    if not np.isfinite(kernel).all():
        raise ValueError(f"kernel must have finite numbers; got {text!r}")
    return kernel


def is_derivative(kernel: np.ndarray) -> bool:
    """Whether the weights add up to zero, so that a flat picture gives black."""
    return bool(abs(kernel.sum()) <= 1e-9 * np.abs(kernel).sum())


def _binomial(n: int) -> np.ndarray:
    return np.array([comb(n - 1, i) for i in range(n)], dtype=np.float64)


def _sobel(size: int) -> np.ndarray:
    return np.outer(_binomial(size), np.convolve(_binomial(size - 2), [1.0, 0.0, -1.0]))


def _gaussian(size: int) -> np.ndarray:
    # the sigma at which the window holds about three of them on each side
    radius = size // 2
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) * 3.0 / (radius + 1)) ** 2)
    return np.outer(line, line) / line.sum() ** 2


def _laplacian_of_gaussian(size: int) -> np.ndarray:
    radius, sigma = size // 2, (size // 2 + 1) / 4.0
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    r2 = (x * x + y * y) / (2.0 * sigma * sigma)
    kernel = (r2 - 1.0) * np.exp(-r2)
    kernel -= kernel.mean()
    return kernel * (8.0 / np.abs(kernel).sum())


def _sharpen(size: int) -> np.ndarray:
    """Unsharp mask: twice the picture less its Gaussian blur."""
    kernel = -_gaussian(size)
    kernel[size // 2, size // 2] += 2.0
    return kernel


_FIXED: dict[str, list[list[float]]] = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "emboss": [[2, 1, 0], [1, 1, -1], [0, -1, -2]],
    "prewitt-x": [[1, 0, -1]] * 3,
    "prewitt-y": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    "scharr-x": [[3, 0, -3], [10, 0, -10], [3, 0, -3]],
    "scharr-y": [[3, 10, 3], [0, 0, 0], [-3, -10, -3]],
    "roberts-x": [[1, 0], [0, -1]],
    "roberts-y": [[0, 1], [-1, 0]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "laplacian-8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    # Prewitt's compass: brighter towards 0 (right), 45 (up and right), 90 (up), 135 degrees
    "edge-0": [[1, 0, -1]] * 3,
    "edge-45": [[0, -1, -1], [1, 0, -1], [1, 1, 0]],
    "edge-90": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "edge-135": [[-1, -1, 0], [-1, 0, 1], [0, 1, 1]],
    # thin bright lines at an angle
    "line-0": [[-1, -1, -1], [2, 2, 2], [-1, -1, -1]],
    "line-45": [[-1, -1, 2], [-1, 2, -1], [2, -1, -1]],
    "line-90": [[-1, 2, -1]] * 3,
    "line-135": [[2, -1, -1], [-1, 2, -1], [-1, -1, 2]],
}

_SIZED: dict[str, tuple[int, Callable[[int], np.ndarray]]] = {
    "blur": (5, lambda size: np.full((size, size), 1.0 / size**2)),
    "gaussian": (5, _gaussian),
    "motion-blur": (9, lambda size: np.eye(size) / size),
    "unsharp": (5, _sharpen),
    "log": (9, _laplacian_of_gaussian),
    "sobel-x": (3, _sobel),
    "sobel-y": (3, lambda size: _sobel(size).T.copy()),
}

NAMES = tuple(sorted([*_FIXED, *_SIZED]))
