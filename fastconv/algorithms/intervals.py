"""Where the windows of fractional pooling begin: pseudo-random intervals, from a sample for each axis of each plane."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import Bound, run
from fastconv.engines.contract import HEADER, record
from fastconv.engines.threads._intervals import INTERVALS

__all__ = ["INTERVALS_FIELDS", "intervals"]

# The record of the kernel, which all engines share.
INTERVALS_FIELDS = HEADER + (
    "scratch_bytes", "planes", "strip",  # planes of a unit
    "axes", "windows",  # of a plane
    "wide",  # whether samples are float64, not float32
    "of_axes",  # pointer to int64[axes][4]: which sample, size, kernel, windows
)  # fmt: skip
UNITS_PER_THREAD = 4
# Operations of `costs` for a window: two products, two conversions.
OPERATIONS = 8

Shape = tuple[int, ...]


def intervals(samples: np.ndarray, sizes: Shape, kernel: Shape, made: Shape, threads: int) -> np.ndarray | None:
    """Starts (N, C, windows), along one axis after the other; None if a sample is not from 0 to 1.

    `samples` (N, C, axes) are contiguous; of two axes, those of the columns come first.
    """
    batch, channels, _ = samples.shape
    starts = np.empty((batch, channels, sum(made)), np.int64)
    threads = costs.threads_worth_using(OPERATIONS * starts.size, starts.nbytes, threads)
    bound = _bound(batch * channels, samples.dtype == np.float64, sizes, kernel, made, threads)
    report = np.zeros(1, np.int64)
    run(INTERVALS, bound, samples, report, starts, None, None, threads, report=report)
    return None if report[0] else starts


@lru_cache(maxsize=64)
def _bound(planes: int, wide: bool, sizes: Shape, kernel: Shape, made: Shape, threads: int) -> Bound:
    axes = len(sizes)
    order = (1, 0) if axes == 2 else range(axes)
    of_axes = np.array(list(zip(order, sizes, kernel, made, strict=True)), np.int64)
    strip = -(-planes // (threads * UNITS_PER_THREAD)) if threads > 1 else planes
    values = {
        "scratch_bytes": 0, "planes": planes, "strip": strip, "axes": axes, "windows": sum(made), "wide": wide,
        "of_axes": of_axes.ctypes.data,
    }  # fmt: skip
    return Bound(record(INTERVALS_FIELDS, values), -(-planes // strip), 0, (), (of_axes,))
