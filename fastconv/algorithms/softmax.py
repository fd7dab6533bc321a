"""Exponentials that add up to 1 along an axis: blocks of lanes beside it, or the axis itself as rows of vectors."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.activation import COMPUTED_IN, Elementwise, Steps, merged, refuse_elements
from fastconv.algorithms.executor import Bound
from fastconv.engines.contract import DTYPE_CODES, SOFTMAX_FIELDS, SOFTMAX_KINDS, record
from fastconv.problem import SoftmaxProblem

__all__ = ["Softmax", "is_ready", "refuse"]

UNITS_PER_THREAD = 4
# Vectors of a row, and along the axis so many times as long.
WIDTH, LONG = 4, 16
# Bytes of scratch memory for a block's elements, and as many for its gradients.
CHUNK_BYTES = 128 * 1024


def refuse(problem: Any) -> str | None:
    """Why the kernels of softmax cannot do a problem, or None."""
    return refuse_elements(problem) if isinstance(problem, SoftmaxProblem) else "is for softmax"


def is_ready(problem: SoftmaxProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("softmax", COMPUTED_IN[problem.dtype])


class Softmax(Elementwise):
    """Executes a `SoftmaxProblem` with an engine's kernel."""

    operation = "softmax"
    problem: SoftmaxProblem

    def __init__(self, problem: SoftmaxProblem, engine: Any):
        super().__init__(problem, engine)
        self.size = np.dtype(self.acc).itemsize
        self.lanes = engine.TILE[1] // 2 // self.size

    def _new_bound(self, x: Steps, w: Steps, out: Steps, threads: int) -> Bound:
        """The record for arrays of these strides."""
        p, axis, item = self.problem, self.problem.axis, np.dtype(self.problem.dtype).itemsize
        n, along = p.shape[axis], (x[axis], w[axis], out[axis])
        others = merged(*(_without(axis, steps) for steps in (p.shape, x, w, out)))
        across = not others or (n > 1 and abs(out[axis]) <= abs(others[0][3]))
        if across:
            width = WIDTH if n >= LONG * self.lanes else 1
            rows, lanes, blocks, outer = -(-n // (width * self.lanes)), width * self.lanes, 1, others
            row_steps, lane_steps = tuple(width * self.lanes * step for step in along), along
        else:
            (lanes, *lane_steps), *outer = others  # type: ignore[assignment]
            width = WIDTH if lanes > self.lanes else 1
            rows, row_steps, blocks = n, along, -(-lanes // (width * self.lanes))
        block = width * self.lanes
        whole = not across or n % block == 0
        direct = p.dtype == self.acc and whole and all(step == item for step in lane_steps)
        chunk = min(rows, max(CHUNK_BYTES // (block * self.size), 1))
        total = blocks * prod(size for size, *_ in outer)
        strip = -(-total // (threads * UNITS_PER_THREAD if threads > 1 else 1))
        axes = np.array(outer, np.int64).reshape(-1, 4)
        scratch_bytes = (3 + chunk * (1 + p.backward)) * block * self.size
        values = {
            "scratch_bytes": scratch_bytes, "kind": SOFTMAX_KINDS[p.kind], "dtype": DTYPE_CODES[p.dtype],
            "rows": rows, "x_row": row_steps[0], "w_row": row_steps[1], "out_row": row_steps[2],
            "lanes": lanes, "x_lane": lane_steps[0], "w_lane": lane_steps[1], "out_lane": lane_steps[2],
            "width": width, "across": across, "last": n - (rows - 1) * block,
            "blocks": blocks, "total": total, "strip": strip,
            "n_axes": len(outer), "axes": axes.ctypes.data, "direct": direct, "chunk": chunk,
        }  # fmt: skip
        return Bound(record(SOFTMAX_FIELDS, values), -(-total // strip), scratch_bytes, (), (axes,))


def _without(axis: int, values: Steps) -> Steps:
    return values[:axis] + values[axis + 1 :]
