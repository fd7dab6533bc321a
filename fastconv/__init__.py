"""fastconv: fast convolution, cross-correlation and pooling for NumPy arrays."""

__version__ = "0.1.0"

from fastconv import signal
from fastconv.signal import convolve, convolve2d, correlate, correlate2d
from fastconv.config import get_num_threads, set_num_threads, use
from fastconv.plan import plan
