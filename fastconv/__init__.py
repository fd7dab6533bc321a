"""fastconv: convolution, cross-correlation and pooling for NumPy arrays, fast.

>>> import numpy as np, fastconv
>>> fastconv.convolve2d(np.eye(3), [[1, 2], [3, 4]], mode="valid")
array([[5., 2.],
       [3., 5.]])
"""

from fastconv import kernels, ndimage, nn, signal
from fastconv.config import get_num_threads, set_num_threads, use
from fastconv.nn import avg_pool2d, conv2d, max_pool2d
from fastconv.plan import plan
from fastconv.signal import convolve, convolve2d, correlate, correlate2d

__version__ = "0.1.0"

__all__ = [
    "avg_pool2d",
    "conv2d",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "get_num_threads",
    "kernels",
    "max_pool2d",
    "ndimage",
    "nn",
    "patch_map",
    "patch_report",
    "patch_scipy",
    "patched_scipy",
    "plan",
    "set_num_threads",
    "show_config",
    "show_versions",
    "signal",
    "tune",
    "unpatch_scipy",
    "use",
    "warmup",
]


_LATER = {
    "show_config": "fastconv.about",
    "show_versions": "fastconv.about",
    "patch_map": "fastconv.interop.scipy_patch",
    "patch_report": "fastconv.interop.scipy_patch",
    "patch_scipy": "fastconv.interop.scipy_patch",
    "patched_scipy": "fastconv.interop.scipy_patch",
    "tune": "fastconv.tuning",
    "unpatch_scipy": "fastconv.interop.scipy_patch",
    "warmup": "fastconv.compilation",
}


def __getattr__(name: str) -> object:
    """What few programs need is imported when it is asked for."""
    from importlib import import_module

    if name in ("keras", "plot"):
        return import_module(f"fastconv.{name}")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
