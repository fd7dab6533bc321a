"""Pixels, their channels side by side, turned into planes: by the kernel that transposes weights, an image for a group.

The phases of strided adjoints write pixels where planes would have every other column of theirs: stored one by one these took a
third of the time (8x128x28x28 to 56x56, 3x3, one thread: 13.8 ms, now 9.7).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.executor import Bound, run
from fastconv.algorithms.transposed_weights import WORDS
from fastconv.engines.contract import TRANSPOSED_WEIGHTS_FIELDS, record
from fastconv.problem import ConvProblem

__all__ = ["TurnedPixels", "few_images", "turns"]

# Channels of a unit, and at least; bytes of pixels that are turned at once: with 4 MiB, 8 and 32 images of 128 channels of 56x56
# to 512 of 14x14 take 1.05 to 1.2 times as long, since each phase has fewer units.
BLOCK, LEAST_CHANNELS, MOST_BYTES = 64, 32, 16 << 20


def turns(p: ConvProblem, engine: Any) -> bool:
    """Whether the phases of a convolution's adjoint should write pixels."""
    planes = not p.channels_last and p.ndim == 2 and p.stride[1] > 1 and getattr(engine, "TURNS_IN_REGISTERS", False)
    return planes and p.channels >= LEAST_CHANNELS and p.in_dtype in ("float32", "float64")


def few_images(p: ConvProblem) -> int:
    """Images whose pixels stay in the caches until they are turned."""
    most = MOST_BYTES // max(1, p.channels * prod(p.in_shape) * np.dtype(p.in_dtype).itemsize)
    return max((n for n in range(1, p.batch + 1) if p.batch % n == 0 and n <= most), default=1)


class TurnedPixels:
    """Turns images of so many pixels and channels into planes that follow each other."""

    def __init__(self, images: int, channels: int, pixels: int, dtype: str, engine: Any):
        self.shape, self.dtype = (images, pixels, channels), dtype
        self.kernel = engine.kernel("transposed_weights", WORDS[np.dtype(dtype).itemsize])
        tap, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        values = {
            "scratch_bytes": 0, "groups": images, "filters": pixels, "channels": channels, "taps": 1, "phases": 1,
            "taken": tap.ctypes.data, "n_taken": one.ctypes.data, "begins": tap.ctypes.data, "block": BLOCK,
        }  # fmt: skip
        units = images * -(-channels // BLOCK)
        self._bound = Bound(record(TRANSPOSED_WEIGHTS_FIELDS, values), units, 0, (), (tap, one))

    def __call__(self, pixels: np.ndarray, planes: np.ndarray, threads: int) -> None:
        run(self.kernel, self._bound, pixels, None, planes, None, None, threads)
