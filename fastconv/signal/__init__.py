"""`scipy.signal`: its convolutions with the same signatures and results, and all its other names as they are."""

from typing import Any

from fastconv.signal.direct import convolve, convolve2d, correlate, correlate2d
from fastconv.signal.fourier import choose_conv_method, fftconvolve, oaconvolve
from fastconv.signal.lags import correlation_lags
from fastconv.signal.separable import sepfir2d

__all__ = [
    "choose_conv_method",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "correlation_lags",
    "fftconvolve",
    "oaconvolve",
    "sepfir2d",
]


def __getattr__(name: str) -> Any:
    """A name that fastconv does not implement is SciPy's."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import scipy.signal

    return getattr(scipy.signal, name)


def __dir__() -> list[str]:
    return list(__all__)
