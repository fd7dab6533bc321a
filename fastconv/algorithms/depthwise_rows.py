"""Planes that depthwise kernels read in rows: lanes are outputs, and tables tell which sources each reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.algorithms.geometry import Axis
from fastconv.problem import ConvProblem

__all__ = ["LEAST_LANES", "aligned", "called_ahead", "column_tables", "reads_rows"]

# Elements of narrower vectors are not shuffled by one instruction.
LEAST_LANES = 8
# Problems of more bytes come from beyond the caches: 32x112x112 of batch 8 takes 0.5 ms rather than 1.7 if memory is called for
# that many bytes ahead (for each step of the stride).
CACHE_BYTES, CALLED_AHEAD = 4 << 20, 8192


def reads_rows(
    p: ConvProblem, engine: Any, acc: str, x: Axis, x_strides: tuple[int, ...], out_strides: tuple[int, ...]
) -> bool:
    """Whether an engine's kernel for rows can do a problem: 3x3, elements of the accumulators' type in contiguous rows."""
    size = np.dtype(acc).itemsize
    lanes = engine.TILE[1] // (2 * size)
    if not getattr(engine, "DEPTHWISE_IN_PLACE", False) or acc not in ("float32", "float64") or lanes < LEAST_LANES:
        return False
    usual = p.ndim == 2 and p.kernel_shape == (3, 3) and p.dilation == (1, 1) and p.stride in ((1, 1), (2, 2))
    usual &= p.in_dtype == p.out_dtype == acc and not p.saturate and x.x_step == x.out_step == size
    usual &= x.rule == "fill" or (x.pad == 0 and x.window <= x.size)
    return usual and all(step % size == 0 for step in (*x_strides, *out_strides))


def called_ahead(p: ConvProblem) -> int:
    """How far ahead memory is called for."""
    return CALLED_AHEAD * p.stride[-1] if p.nbytes > CACHE_BYTES else 0


def column_tables(x: Axis, lanes: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The slot "tables" of the depthwise record, for vectors of so many elements of `size` bytes, and the lanes it points to."""
    reach = (x.taps - 1) * x.dilation
    most = min(lanes, (2 * lanes - 2 - reach) // x.stride + 1)
    n = -(-x.out_size // -(-x.out_size // most))
    first = np.arange(0, x.out_size, n)
    outputs = np.minimum(n, x.out_size - first)
    offsets = np.arange(x.taps)[:, None] * x.dilation + np.arange(lanes) * x.stride
    sources = (first * x.stride - x.pad)[:, None, None] + offsets
    read = (sources >= 0) & (sources < x.size) & (np.arange(lanes) < outputs[:, None, None])
    begin = np.where(read, sources, x.size - 1).min((1, 2))
    count = np.where(read, sources, -1).max((1, 2)) + 1 - begin
    count = np.maximum(count, 0)
    columns = np.stack(
        [first, outputs, begin, np.minimum(count, lanes), np.maximum(count - lanes, 0), np.arange(len(first))], 1
    )
    taken = aligned(np.where(read, sources - begin[:, None, None], 2 * lanes - 1).astype(f"i{size}"))
    return np.concatenate([[len(columns), taken.ctypes.data], columns.ravel()]).astype(np.int64), taken


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a cache line."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    copy = memory[-memory.ctypes.data % 64 :][: array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
