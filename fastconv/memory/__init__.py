"""The memory of results.

Results of 8 MiB and more are written to memory that earlier results have left, if there is some of the same size:
new pages cost as much as a small filter.  At most ``FASTCONV_KEEP_MIB`` MiB (default 512) are kept; after two
seconds the system may take them back whenever it is short of memory.
"""

from __future__ import annotations

import os
from math import prod

import numpy as np

from fastconv.memory._blocks import empty as _kept_memory
from fastconv.memory._blocks import keep, kept

__all__ = ["empty", "keep", "kept"]

LEAST = 8 * 2**20
DEFAULT_MIB = 512


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array for a result, like `numpy.empty`."""
    if prod(shape) * dtype.itemsize < LEAST or not dtype.isnative:
        return np.empty(shape, dtype)
    return _kept_memory(shape, dtype)


def _limit() -> int:
    text = os.environ.get("FASTCONV_KEEP_MIB", "").strip()
    return (int(text) if text.isdigit() else DEFAULT_MIB) * 2**20


keep(_limit())
