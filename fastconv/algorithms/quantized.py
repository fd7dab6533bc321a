"""Convolutions of quantised numbers: exact sums of a block of outputs, which are then scaled and rounded.

For what `fastconv.algorithms.conv8` leaves.  The sums are made by whatever the table has for them on the same engine, in
float32 where no sum can reach 2**24, else in float64.  A block of them stays in the cache.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.parts import are_ready, executor_of, lacking
from fastconv.engines.contract import DTYPE_CODES, QUANTIZED_FIELDS, record
from fastconv.problem import ConvProblem, QuantizedProblem
from fastconv.replay import by_value

__all__ = ["Quantized", "beyond_cython", "beyond_numba", "is_ready", "refuse"]

# Bytes of the sums of a block.
BLOCK_BYTES = 1024 * 1024
# Elements that the kernel converts at once (QUANTIZED_CHUNK of quantized.pxi).
CHUNK = 512
UNITS_PER_THREAD = 4


def refuse(problem: Any) -> str | None:
    """Why quantised sums cannot be made, or None."""
    if not isinstance(problem, QuantizedProblem):
        return "is for quantised numbers"
    if set(problem.conv.boundary) != {"fill"}:
        return "continues images by their zero points only"
    return None


def beyond_cython(problem: QuantizedProblem) -> str | None:
    """Why the Cython engine cannot make the sums, or None."""
    return _beyond(problem, "cython")


def beyond_numba(problem: QuantizedProblem) -> str | None:
    """Why the Numba engine cannot make the sums, or None."""
    return _beyond(problem, "numba")


def is_ready(problem: QuantizedProblem, engine: Any) -> bool:
    """Whether all kernels are compiled."""
    return engine.is_ready("quantized", "float64") and are_ready(_sums(problem), engine)


def _beyond(problem: QuantizedProblem, engine: str) -> str | None:
    sums = lacking(_sums(problem), engine)
    return None if sums is None else f"cannot do its sums, {sums}"


def _sums(problem: QuantizedProblem) -> list[ConvProblem]:
    return [block.conv for block in _blocks(_in_floats(problem.conv))]


def _in_floats(p: ConvProblem) -> ConvProblem:
    """The convolution in floating-point numbers that hold all sums."""
    acc = "float32" if p.channels // p.groups * prod(p.kernel_shape) * 255**2 <= 2**24 else "float64"
    return replace(p, kernel_dtype=acc, acc=acc, out_dtype=acc)


class Block:
    """A part of the output, the part of the input that it is made from, and their convolution."""

    def __init__(self, p: ConvProblem, places: tuple[range, ...]):
        batch, *axes = places
        reads = [_read(p, axis, place) for axis, place in enumerate(axes)]
        every = slice(None)
        self.source = (slice(batch.start, batch.stop), every, *(slice(low, high) for low, high, _ in reads))
        self.target = (slice(batch.start, batch.stop), every, *(slice(place.start, place.stop) for place in axes))
        self.conv = replace(
            p, batch=len(batch), in_shape=tuple(high - low for low, high, _ in reads), pad=tuple(pad for *_, pad in reads),
            out_shape=tuple(map(len, axes)),
        )  # fmt: skip


def _read(p: ConvProblem, axis: int, place: range) -> tuple[int, int, int]:
    """The inputs under the windows of a range of outputs, and how far the first one begins before them."""
    first = place.start * p.stride[axis] - p.pad[axis]
    last = (place.stop - 1) * p.stride[axis] - p.pad[axis] + (p.kernel_shape[axis] - 1) * p.dilation[axis]
    low = max(first, 0)
    return low, max(min(last + 1, p.in_shape[axis]), low + 1), low - first


def _cut(p: ConvProblem, axis: int, size: int) -> list[range]:
    """Outputs along an axis in pieces of a size; all at once if a piece would read nothing but padding."""
    n = p.out_shape[axis]
    pieces = [range(i, min(i + size, n)) for i in range(0, n, size)]
    inside = all(
        piece.start * p.stride[axis] - p.pad[axis] < p.in_shape[axis]
        and (piece.stop - 1) * p.stride[axis] - p.pad[axis] + (p.kernel_shape[axis] - 1) * p.dilation[axis] >= 0
        for piece in pieces
    )
    return pieces if inside else [range(n)]


@lru_cache(maxsize=64)
def _blocks(p: ConvProblem) -> tuple[Block, ...]:
    """Blocks of at most BLOCK_BYTES of sums, cut along the first axes."""
    room = BLOCK_BYTES // np.dtype(p.out_dtype).itemsize
    sizes = (p.batch, *p.out_shape)
    cuts: list[list[range]] = []
    for axis, n in enumerate(sizes):
        size = max(1, min(n, room // max(1, p.filters * prod(sizes[axis + 1 :]))))
        cuts.append(_cut(p, axis - 1, size) if axis else [range(i, min(i + size, n)) for i in range(0, n, size)])
    return tuple(Block(p, places) for places in product(*cuts))


class Quantized:
    """Executes a `QuantizedProblem` block by block."""

    def __init__(self, problem: QuantizedProblem, engine: Any):
        self.problem = problem
        self.conv = _in_floats(problem.conv)
        self.blocks = _blocks(self.conv)
        convs = {block.conv for block in self.blocks}
        self.convs = {conv: executor_of(conv, engine) for conv in convs}
        self.kernel = engine.kernel("quantized", "float64")
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray, fill: Any, threads: int
    ) -> None:
        by_value()
        scales, offsets, zeros = bias
        axes = (1,) * (w.ndim - 1)
        w = w.astype(self.conv.acc) - zeros.astype(self.conv.acc).reshape(-1, *axes)
        # The input is summed as it is, its zero point beyond its edges too: what that adds is the same everywhere.
        offsets = offsets - float(fill) * w.reshape(len(w), -1).sum(1).astype(np.float64)
        for block in self.blocks:
            target, p = out[block.target], block.conv
            sums = _like(target, p.out_dtype)
            self.convs[p](x[block.source], w, sums, None, fill, threads)
            used = costs.threads_worth_using(4 * sums.size, sums.nbytes, threads)
            bound = self._bind(sums.shape, sums.strides, target.strides, used)
            run(self.kernel, bound, sums, scales, target, offsets, None, used)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        return max(
            block.conv.batch * block.conv.filters * prod(block.conv.out_shape) * np.dtype(block.conv.out_dtype).itemsize
            + self.convs[block.conv].workspace(threads)
            for block in self.blocks
        )

    def _new_bound(
        self, shape: tuple[int, ...], steps: tuple[int, ...], out_steps: tuple[int, ...], threads: int
    ) -> Bound:
        """The record: lines along the axis that is innermost in the sums, and the others."""
        low, high = self.problem.range
        along, *outer = _merged(shape, steps, out_steps)
        axes = np.array(outer, np.int64).reshape(-1, 4)
        lines = prod(n for n, *_ in outer)
        strip = max(1, -(-lines // (threads * UNITS_PER_THREAD)) if threads > 1 else lines)
        values = {
            "scratch_bytes": 8 * CHUNK,
            "src_code": DTYPE_CODES[self.conv.acc],
            "out_code": DTYPE_CODES[self.problem.dtype],
            "zero_point": self.problem.zero_point, "low": low, "high": high,
            "run": along[0], "x_step": along[1], "out_step": along[2], "filter_step": along[3],
            "lines": lines, "strip": strip, "n_axes": len(outer), "axes": axes.ctypes.data,
        }  # fmt: skip
        return Bound(record(QUANTIZED_FIELDS, values), -(-lines // strip), 8 * CHUNK, (), (axes,))


def _merged(
    shape: tuple[int, ...], steps: tuple[int, ...], out_steps: tuple[int, ...]
) -> list[tuple[int, int, int, int]]:
    """(size, steps in the sums, in the output and among the filters) of as few axes as there may be, the innermost first."""
    columns = enumerate(zip(shape, steps, out_steps, strict=True))
    axes = sorted((step, n, to, axis == 1) for axis, (n, step, to) in columns if n > 1)
    merged: list[tuple[int, int, int, int]] = []
    for step, n, to, filters in axes:
        if merged and not filters and (step, to, 0) == tuple(merged[-1][0] * s for s in merged[-1][1:]):
            merged[-1] = (merged[-1][0] * n, *merged[-1][1:])
        else:
            merged.append((n, step, to, int(filters)))
    return merged or [(1, 1, 1, 0)]


def _like(array: np.ndarray, dtype: str) -> np.ndarray:
    """A new array whose axes lie in memory in the order of another's."""
    order = sorted(range(array.ndim), key=lambda a: (-abs(array.strides[a]), a))
    return np.empty([array.shape[a] for a in order], dtype).transpose(np.argsort(order))
