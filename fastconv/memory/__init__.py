"""The memory of results.

Results of 8 MiB and more are written to memory that earlier results have left, if there is some of the same size:
new pages cost as much as a small filter.  At most ``FASTCONV_KEEP_MIB`` MiB (default 512) are kept; after two
seconds the system may take them back whenever it is short of memory.

Those of 64 KiB to 4 MiB begin with a cache line: whole vectors are stored to one line each, and threads share fewer (1x1
convolutions of 14x14 pixels take 3 to 5% less, of few channels or 7x7 pixels 8 to 18%, Intel Xeon).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import prod

import numpy as np

from fastconv.memory._blocks import empty as _kept_memory
from fastconv.memory._blocks import empty_lines, keep, kept

__all__ = ["LEAST", "Empty", "allocator", "empty", "keep", "kept"]

Empty = Callable[[tuple[int, ...], np.dtype], np.ndarray]

LEAST = 8 * 2**20
LINES, NUMPYS = 64 * 2**10, 4 * 2**20  # beyond, NumPy asks for huge pages
DEFAULT_MIB = 512


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array for a result, like `numpy.empty`."""
    return (allocator(prod(shape) * dtype.itemsize, dtype) or np.empty)(shape, dtype)


def allocator(nbytes: int, dtype: np.dtype) -> Empty | None:
    """What makes arrays of so many bytes, unless NumPy does."""
    if nbytes < LINES or NUMPYS <= nbytes < LEAST or not dtype.isnative:
        return None
    return _kept_memory if nbytes >= LEAST else empty_lines


def _limit() -> int:
    text = os.environ.get("FASTCONV_KEEP_MIB", "").strip()
    return (int(text) if text.isdigit() else DEFAULT_MIB) * 2**20


keep(_limit())
