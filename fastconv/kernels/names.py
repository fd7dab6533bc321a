"""Kernels by name, for the command line and for those who know what they want."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial

import numpy as np

from fastconv.kernels import edges, effects, laplacians, smoothing

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
        kernel = _FIXED[name]()
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


def _motion_blur(angle: float, size: int) -> np.ndarray:
    return smoothing.motion_blur(size, angle)


def _laplacian_of_gaussian(size: int) -> np.ndarray:
    """With the magnitudes of `laplace`."""
    kernel = laplacians.laplacian_of_gaussian(size, (size // 2 + 1) / 4.0)
    return kernel * (8.0 / np.abs(kernel).sum())


def _difference_of_gaussians(size: int) -> np.ndarray:
    return laplacians.difference_of_gaussians(size, (size // 2 + 1) / 4.8)


def _gabor(angle: int, size: int) -> np.ndarray:
    """Stripes along an angle; flat areas become black."""
    kernel = effects.gabor(
        size, (size // 2 + 1) / 4.0, np.deg2rad(90 - angle), wavelength=(size // 2 + 1) / 1.5, gamma=0.8
    )
    kernel -= kernel.mean()
    return kernel * (4.0 / np.abs(kernel).sum())


def _identity() -> np.ndarray:
    return np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


_EIGHT = range(0, 360, 45)
_FIXED: dict[str, Callable[[], np.ndarray]] = {
    "identity": _identity,
    "sharpen": effects.sharpen,
    "sharpen-8": partial(effects.sharpen, connectivity=2),
    "emboss": effects.emboss,
    "prewitt-x": edges.prewitt,
    "prewitt-y": partial(edges.prewitt, axis=0),
    "scharr-x": edges.scharr,
    "scharr-y": partial(edges.scharr, axis=0),
    "roberts-x": edges.roberts,
    "roberts-y": partial(edges.roberts, axis=0),
    "laplacian": laplacians.laplace,
    "laplacian-8": partial(laplacians.laplace, connectivity=2),
    # by what they find: an edge that is vertical is brighter on its right
    "edge-vertical": partial(edges.edge, 0),
    "edge-horizontal": partial(edges.edge, 270),
    **{f"edge-{angle}": partial(edges.edge, angle) for angle in _EIGHT},
    **{f"kirsch-{angle}": partial(edges.kirsch, angle) for angle in _EIGHT},
    **{f"robinson-{angle}": partial(edges.robinson, angle) for angle in _EIGHT},
    **{f"line-{angle}": partial(edges.line, angle) for angle in (0, 45, 90, 135)},
}

# The default size, and the kernel of a size.
_SIZED: dict[str, tuple[int, Callable[[int], np.ndarray]]] = {
    "blur": (5, smoothing.box),
    "box": (5, smoothing.box),
    "binomial": (5, smoothing.binomial),
    "gaussian": (5, smoothing.gaussian),
    "disk": (7, lambda size: smoothing.disk(size / 2.0)),
    "motion-blur": (9, partial(_motion_blur, 135)),
    **{f"motion-blur-{angle}": (9, partial(_motion_blur, angle)) for angle in (0, 45, 90, 135)},
    "unsharp": (5, effects.unsharp),
    "log": (9, _laplacian_of_gaussian),
    "dog": (9, _difference_of_gaussians),
    **{f"gabor-{angle}": (15, partial(_gabor, angle)) for angle in (0, 45, 90, 135)},
    "sobel-x": (3, edges.sobel),
    "sobel-y": (3, partial(edges.sobel, axis=0)),
}

NAMES = tuple(sorted([*_FIXED, *_SIZED]))
