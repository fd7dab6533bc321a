"""Twins of `stream.cu`, `strip.cu` and `pairs.cu` on Numba's simulator: the same outputs of a thread; the order of weights."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import mapped, place_in_batch
from fastconv.engines.numba_cuda.tile import TileGeometry

__all__ = ["StreamGeometry", "stream_twin", "weights_by_value", "weights_of"]

# `strip`: rows of results that are a warp's.
FIELDS = [*TileGeometry._fields, "strip"]
StreamGeometry = namedtuple("StreamGeometry", FIELDS)  # type: ignore[misc]


def weights_by_value(operation: str, size: tuple[int, int]) -> int:
    """How many weights by value a kernel takes."""
    height, width = size
    return (height // 2 * 3 + height % 2 if operation == "pairs" else height) * width


def weights_of(operation: str, w: np.ndarray) -> np.ndarray:
    """The weights by value of a two-dimensional kernel, in the order of an operation's source."""
    if operation != "pairs":
        return (w.T if operation == "strip" else w).astype(np.float32).ravel()
    taken = len(w) // 2 * 2
    even, odd = (w[i:taken:2].astype(np.float64) for i in range(2))
    rows = [part.T.ravel() for part in (even, odd, even + odd)]
    return np.concatenate([*rows, w[taken:].ravel()]).astype(np.float32)


def _kernel_of(operation: str, numbers: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The kernel that `weights_of` was given."""
    height, width = size
    if operation != "pairs":
        return numbers.reshape(size[::-1]).T if operation == "strip" else numbers.reshape(size)
    pairs = height // 2
    even, odd = (numbers[i * pairs * width : (i + 1) * pairs * width].reshape(width, pairs).T for i in range(2))
    rows = np.stack([even, odd], axis=1).reshape(2 * pairs, width)
    return np.concatenate([rows, numbers[3 * pairs * width :].reshape(-1, width)])


def stream_twin(size: tuple[int, int], columns: int, beside: int, warps: int, operation: str) -> Callable:
    """A kernel for filters of one size, whose threads have so many columns; `warps` of a block, `beside` each other.

    Weights by value are in the order of the operation's source.
    """
    taps = list(np.ndindex(*size))

    def stream(x: Any, w: Any, out: Any, bias: Any, fill: Any, *rest: Any) -> None:
        *by_value, g = rest
        thread = cuda.threadIdx.x
        n, c = place_in_batch(g, cuda.blockIdx.z)
        across, down = cuda.blockIdx.x * beside + thread // 32 % beside, cuda.blockIdx.y * (warps // beside)
        left, top = (across * 32 + thread % 32) * columns, (down + thread // 32 // beside) * g.strip
        if by_value:
            weights = _kernel_of(operation, np.array(by_value[0], np.float32), size)
        else:
            weights = np.array([w[c * g.w_c + k * g.w_y + t * g.w_x] for k, t in taps]).reshape(size)
        for row in range(top, min(top + g.strip, g.out_height)):
            for column in range(left, min(left + columns, g.out_width)):
                total = bias[c * g.bias_c] if g.has_bias else np.float32(0)
                for k, t in taps:
                    iy = mapped(row - g.pad_y + k, g.height, g.rule_y)
                    ix = mapped(column - g.pad_x + t, g.width, g.rule_x)
                    inside = iy >= 0 and ix >= 0
                    value = x[n * g.x_n + c * g.x_c + iy * g.x_y + ix * g.x_x] if inside else np.float32(fill)
                    total += value * weights[k, t]
                out[n * g.out_n + c * g.out_c + row * g.out_y + column * g.out_x] = total

    return stream
