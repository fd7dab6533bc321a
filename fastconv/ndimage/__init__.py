"""`scipy.ndimage`: its filters with the same signatures and results, and all its other names as they are."""

from typing import Any

from fastconv.ndimage.derivatives import laplace, prewitt, sobel
from fastconv.ndimage.extrema import maximum_filter, maximum_filter1d, minimum_filter, minimum_filter1d
from fastconv.ndimage.gaussian import (
    gaussian_filter,
    gaussian_filter1d,
    gaussian_gradient_magnitude,
    gaussian_laplace,
)
from fastconv.ndimage.generic import generic_filter, vectorized_filter
from fastconv.ndimage.gradients import generic_gradient_magnitude, generic_laplace
from fastconv.ndimage.linear import convolve, convolve1d, correlate, correlate1d
from fastconv.ndimage.morphology import grey_closing, grey_dilation, grey_erosion, grey_opening
from fastconv.ndimage.ranks import median_filter, percentile_filter, rank_filter
from fastconv.ndimage.uniform import uniform_filter, uniform_filter1d

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generic_filter",
    "generic_gradient_magnitude",
    "generic_laplace",
    "grey_closing",
    "grey_dilation",
    "grey_erosion",
    "grey_opening",
    "laplace",
    "maximum_filter",
    "maximum_filter1d",
    "median_filter",
    "minimum_filter",
    "minimum_filter1d",
    "percentile_filter",
    "prewitt",
    "rank_filter",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
    "vectorized_filter",
]


def __getattr__(name: str) -> Any:
    """A name that fastconv does not implement is SciPy's."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import scipy.ndimage

    return getattr(scipy.ndimage, name)


def __dir__() -> list[str]:
    return list(__all__)
