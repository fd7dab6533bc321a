"""Textbook kernels, by name and by parameters, as arrays for `fastconv.ndimage.convolve`.

They are *convolution* kernels: `sobel` gives positive values where the picture grows brighter
along the axis, under `convolve`, which flips the kernel (under `correlate` signs change).  Angles
are counted counter-clockwise from the right, as in a picture whose rows go down: 90 degrees is up.
"""

from __future__ import annotations

from fastconv.kernels.edges import (
    edge,
    kirsch,
    line,
    prewitt,
    roberts,
    robinson,
    scharr,
    sobel,
)
from fastconv.kernels.effects import emboss, gabor, sharpen, unsharp
from fastconv.kernels.laplacians import difference_of_gaussians, laplace, laplacian_of_gaussian
from fastconv.kernels.names import NAMES, is_derivative, named, parse
from fastconv.kernels.smoothing import ball, binomial, box, disk, gaussian, motion_blur

__all__ = [
    "NAMES",
    "ball",
    "binomial",
    "box",
    "difference_of_gaussians",
    "disk",
    "edge",
    "emboss",
    "gabor",
    "gaussian",
    "is_derivative",
    "kirsch",
    "laplace",
    "laplacian_of_gaussian",
    "line",
    "motion_blur",
    "named",
    "parse",
    "prewitt",
    "roberts",
    "robinson",
    "scharr",
    "sharpen",
    "sobel",
    "unsharp",
]


def __dir__() -> list[str]:
    return list(__all__)
