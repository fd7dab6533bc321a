"""Which inputs lie under a window."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.problem import ConvProblem, PoolProblem

__all__ = ["Tap", "gather", "grid", "outside", "places_under"]

Tap = tuple[int, ...]  # channel of the group, then one kernel index for each axis


def places_under(p: ConvProblem | PoolProblem, k: Any) -> list[np.ndarray]:
    """For each axis, the input position under kernel index `k` of each output position."""
    return [
        np.arange(n) * stride + tap * dilation - pad
        for n, stride, tap, dilation, pad in zip(p.out_shape, p.stride, k, p.dilation, p.pad, strict=True)
    ]


def grid(places: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    return tuple(np.meshgrid(*places, indexing="ij", sparse=True))


def gather(x: np.ndarray, places: tuple[np.ndarray, ...]) -> np.ndarray:
    """x[n, c, places...] as an array (N, C, *O); -1 reads anything."""
    index: tuple[Any, ...] = (slice(None), slice(None), *places)
    return x[index]


def outside(places: tuple[np.ndarray, ...]) -> np.ndarray:
    """Where any of the indices is -1."""
    result = np.zeros((1,) * len(places), bool)
    for place in places:
        result = result | (place < 0)
    return result
