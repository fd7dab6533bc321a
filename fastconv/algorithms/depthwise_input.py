"""Gradients of depthwise convolutions' inputs, and depthwise transposed convolutions, of strides beyond 1.

Each element sums the outputs whose windows hold it (`DEPTHWISE_INPUT_FIELDS` of the contract); which these are, the host puts
in tables, one for each axis.  Arrays that do not lie as the kernel reads them go by way of the phases (`transposed`).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.depthwise import CHUNK_BYTES, MIN_CHANNELS, UNITS_PER_THREAD, scratch_places
from fastconv.algorithms.depthwise_rows import LEAST_LANES, aligned, called_ahead
from fastconv.algorithms.executor import Bound, ConvExecutor, run
from fastconv.algorithms.geometry import contiguous_strides
from fastconv.algorithms.transposed import Transposed
from fastconv.engines.contract import ACTIVATIONS, DEPTHWISE_INPUT_FIELDS, record, slope_bits
from fastconv.problem import Problem, TransposedProblem
from fastconv.replay import contiguous

__all__ = ["DepthwiseInput", "is_ready", "refuse"]

# Rows, and columns, of the largest kernel; taps that reach an element.
MOST_KERNEL, MOST_TAPS = 8, 64


def refuse(problem: Problem) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, TransposedProblem):
        return "is for transposed convolutions"
    p = problem.conv
    if not p.groups == p.channels == p.filters or p.channels < MIN_CHANNELS:
        return f"is for one channel and one filter a group, and at least {MIN_CHANNELS} groups"
    if p.ndim != 2 or p.stride == (1, 1) or max(p.kernel_shape) > MOST_KERNEL:
        return f"is for strides beyond 1 along two axes, and kernels up to {MOST_KERNEL}x{MOST_KERNEL}"
    if p.acc not in ("float32", "float64") or not p.in_dtype == p.out_dtype == p.acc:
        return "is for float32 and float64"
    if p.saturate or p.exact:
        return "adds in its own order"
    if set(p.boundary) != {"fill"}:
        return "is for images that end at their borders"
    return None


def is_ready(problem: TransposedProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("depthwise_input", problem.conv.acc)


class DepthwiseInput(ConvExecutor):
    """Executes a `TransposedProblem` of one channel a group with an engine's kernel."""

    operation = "depthwise_input"

    def __init__(self, problem: TransposedProblem, engine: Any):
        super().__init__(problem.conv, engine)
        self.whole = problem
        self.lanes = engine.TILE[1] // (2 * self.itemsize)
        self._phases: Transposed | None = None

    def __call__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        if self._layout(x.strides, out.strides) is None:
            self._phases = self._phases or Transposed(self.whole, self.engine)
            self._phases(x, w, out, bias, fill, threads)
            return
        threads = costs.threads_worth_using(self.problem.flops, self.problem.nbytes, threads)
        bound = self._bind(x.strides, out.strides, threads)
        weights, copies = self._pack(w, ())
        run(self.kernel, bound, x, weights, out, self._constants(bias), None, threads, copies)

    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list]:
        return contiguous(w, self.part), []

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        p = self.problem
        x_steps = contiguous_strides((p.batch, p.filters, *p.out_shape), p.out_dtype)
        out_steps = contiguous_strides((p.batch, p.channels, *p.in_shape), p.in_dtype)
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        return self._bind(x_steps, out_steps, threads).scratch_bytes * threads

    def _layout(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> str | None:
        """Whether lanes are "columns" of planes or "channels" of pixels, or None."""
        size, p = self.itemsize, self.problem
        if any(step % size for step in (*x_strides, *out_strides)):
            return None
        if x_strides[1] == out_strides[1] == size and p.channels >= self.lanes:
            return "channels"
        in_rows = x_strides[3] == out_strides[3] == size and self.lanes >= LEAST_LANES and self._run() > 0
        return "columns" if in_rows else None

    def _run(self) -> int:
        """Columns whose sources lie in two vectors, but their last lane; at most a vector."""
        p = self.problem
        reach = (p.kernel_shape[1] - 1) * p.dilation[1]
        return min(self.lanes, (2 * self.lanes - 2) * p.stride[1] - reach + 1)

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p, in_rows = self.problem, self._layout(x_strides, out_strides) == "columns"
        tables = [_reaching(*axis) for axis in self._axes()]
        pads = [pad if (taps, *steps) == (3, 2, 1) else -1 for _, _, taps, *steps, pad in self._axes()]
        columns, lanes = self._columns(tables[1]) if in_rows else (np.zeros(1, np.int64), None)
        wanted = threads * UNITS_PER_THREAD if threads > 1 else 1
        chunk = p.channels if in_rows else min(p.channels, CHUNK_BYTES // self.itemsize)
        if in_rows:
            chunk = -(-p.channels // min(p.channels, -(-wanted // p.batch)))
        n_chunks = p.channels // chunk
        strip = -(-p.in_shape[0] // min(p.in_shape[0], -(-wanted // (p.batch * n_chunks))))
        widest = -(-(p.channels - (n_chunks - 1) * chunk) // self.lanes) * self.lanes * self.itemsize
        places, at = scratch_places(0, {"weights": 0 if in_rows else prod(p.kernel_shape) * widest, "biases": widest})
        n_strips = -(-p.in_shape[0] // strip)
        values = {
            **places, "scratch_bytes": at + 64, "channels": p.channels, "height": p.in_shape[0], "width": p.in_shape[1],
            "kernel_y": p.kernel_shape[0], "kernel_x": p.kernel_shape[1],
            "x_image": x_strides[0], "x_channel": x_strides[1], "x_row": x_strides[2], "x_col": x_strides[3],
            "out_image": out_strides[0], "out_channel": out_strides[1], "out_row": out_strides[2], "out_col": out_strides[3],
            "taps_y": tables[0].ctypes.data, "step_y": tables[0].shape[1],
            "taps_x": tables[1].ctypes.data, "step_x": tables[1].shape[1],
            "in_rows": in_rows, "x_height": p.out_shape[0], "x_width": p.out_shape[1],
            "pad_y": pads[0], "pad_x": pads[1],
            "tables": columns.ctypes.data,
            "chunk": chunk, "n_chunks": n_chunks, "strip": strip, "n_strips": n_strips, "ahead": called_ahead(p),
            "activation": ACTIVATIONS[self.whole.activation], "slope": slope_bits(self.whole.slope),
        }  # fmt: skip
        kept = (*tables, columns) if lanes is None else (*tables, columns, lanes)
        return Bound(record(DEPTHWISE_INPUT_FIELDS, values), p.batch * n_strips * n_chunks, at + 64, (), kept)

    def _axes(self) -> list[tuple[int, ...]]:
        p = self.problem
        return list(zip(p.in_shape, p.out_shape, p.kernel_shape, p.stride, p.dilation, p.pad, strict=True))

    def _columns(self, taps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The slot "tables", and the lanes that it points to."""
        width, run, most = self.problem.in_shape[1], self._run(), max(1, int(taps[:, 0].max()))
        entries, lanes = [], np.full((-(-width // run), most, 2, self.lanes), 2 * self.lanes - 1)
        for i, first in enumerate(range(0, width, run)):
            reached = [row[1 : 1 + 2 * row[0]].reshape(-1, 2) for row in taps[first : first + run]]
            sources = np.concatenate(reached)[:, 1]
            begin = int(sources.min()) if len(sources) else 0
            count = int(sources.max()) + 1 - begin if len(sources) else 0
            entries.append([first, len(reached), begin, min(count, self.lanes), max(count - self.lanes, 0), i])
            for lane, pairs in enumerate(reached):
                lanes[i, : len(pairs), 0, lane] = pairs[:, 1] - begin
                lanes[i, : len(pairs), 1, lane] = pairs[:, 0]
        taken = aligned(lanes.astype(f"i{self.itemsize}"))
        return np.array([len(entries), taken.ctypes.data, most, *np.ravel(entries)], np.int64), taken


def _reaching(size: int, outputs: int, taps: int, stride: int, dilation: int, pad: int) -> np.ndarray:
    """Of each position of an axis: how many outputs' windows hold it, and of each the tap and the output."""
    table = np.zeros((size, 1 + 2 * taps), np.int64)
    for place in range(size):
        for tap in range(taps):
            output, rest = divmod(place + pad - tap * dilation, stride)
            if rest == 0 and 0 <= output < outputs:
                n = table[place, 0]
                table[place, 1 + 2 * n : 3 + 2 * n] = tap, output
                table[place, 0] += 1
    return table
