"""Twins of `stream.cu`, `strip.cu` and `halves.cu` on Numba's simulator: the same outputs of a thread; the order of weights."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from fastconv.engines.numba_cuda.elements import mapped, place_in_batch
from fastconv.engines.numba_cuda.tile import TileGeometry

__all__ = ["StreamGeometry", "operands", "stream_twin", "weights_of"]

# `strip`: rows of results that are a warp's.
FIELDS = [*TileGeometry._fields, "strip"]
StreamGeometry = namedtuple("StreamGeometry", FIELDS)  # type: ignore[misc]


def weights_of(operation: str, w: np.ndarray) -> np.ndarray:
    """The weights by value of a two-dimensional kernel, in the order of an operation's source."""
    return (w.T if operation == "strip" else w).astype(np.float32).ravel()


def operands(height: int, columns: int, near: int) -> dict[str, int | str]:
    """Macros of `halves.cu` and `matrix_units.cuh` for a kernel's height, a thread's columns, and outputs of a matrix's row: an
    instruction has as many operands as there are bands."""
    count = 4 * -(-near * height // 8)
    sums, a = (", ".join(f"%{i}" for i in range(*ends)) for ends in ((count,), (count, count + 4)))
    product = (
        f"wgmma.mma_async.sync.aligned.m64n{2 * count}k16.f32.f16.f16 {{{sums}}}, {{{a}}}, %{count + 4}, p, 1, 1, 0;"
    )
    results = ", ".join(f'"+f"(d[{i}])' for i in range(count))
    named = {"BANDS_PRODUCT": f'"{product}"', "BANDS_ADD": f'"%{count + 5}"', "BANDS_RESULTS": results}
    return {"NEAR": near, "WIDTH": 32 * columns, **named}


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
            numbers = np.array(by_value[0], np.float32)
            weights = numbers.reshape(size[::-1]).T if operation == "strip" else numbers.reshape(size)
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
