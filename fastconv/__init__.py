"""fastconv: convolution, cross-correlation and pooling for NumPy arrays, fast.

>>> import numpy as np, fastconv
>>> fastconv.convolve2d(np.eye(3), [[1, 2], [3, 4]], mode="valid")
array([[5., 2.],
       [3., 5.]])
"""

from fastconv import kernels, ndimage, nn, signal
from fastconv.config import get_num_threads, set_num_threads, use
from fastconv.nn import avg_pool2d, conv2d, max_pool2d
from fastconv.plan import plan, warmup
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
    "plan",
    "set_num_threads",
    "show_config",
    "show_versions",
    "signal",
    "use",
    "warmup",
]


def __getattr__(name: str) -> object:
    if name in ("show_config", "show_versions"):
        from fastconv import about

        return getattr(about, name)
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
