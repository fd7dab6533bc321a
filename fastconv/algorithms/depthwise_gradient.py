"""Gradients of depthwise convolutions' kernels: pixels of the output's gradient times their windows, summed.

The kernel's lanes are filters, as those of the convolution, whose record it reads, too (`DEPTHWISE_GRADIENT_FIELDS` of the
contract).  Where there are few filters the pixels are divided among units, and their partial sums added afterwards, in
order.  The division follows from the problem alone, so results do not depend on the threads.
"""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.depthwise import (
    BAND_BYTES,
    MOST_BYTES,
    SPAN,
    box_values,
    refuse_groups,
    scratch_places,
    three_axes,
    window,
)
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import PARTS, Axis, contiguous_strides
from fastconv.engines.contract import DEPTHWISE_GRADIENT_FIELDS, DEPTHWISE_READING, DTYPE_CODES, record
from fastconv.problem import Problem, WeightGradientProblem
from fastconv.replay import by_value, copy_into

__all__ = ["DepthwiseGradient", "is_ready", "refuse"]

# Units that a problem of that many bytes or more is divided for; most vectors of filters of a unit, chunks of the filters of
# a smaller problem; rows of a block.
UNITS, DIVIDED_BYTES, MOST_VECTORS, CHUNKS, BATCH = 8, 2 << 20, 4, 4, 8


def refuse(problem: Problem) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, WeightGradientProblem):
        return "is for gradients of kernels"
    p = problem.conv
    if p.acc in PARTS:
        return "does not sum complex numbers"
    if p.acc not in ("float32", "float64", "uint32", "uint64"):
        return f"does not sum in {p.acc}"
    for dtype in (p.in_dtype, p.out_dtype):
        if dtype not in DTYPE_CODES:
            return f"does not read or write {dtype}"
    return refuse_groups(p)


def is_ready(problem: WeightGradientProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("depthwise_gradient", problem.conv.acc)


class DepthwiseGradient:
    """Executes a `WeightGradientProblem` of one channel a group with an engine's kernel."""

    def __init__(self, problem: WeightGradientProblem, engine: Any):
        self.problem = problem
        self.acc = problem.conv.acc
        self.itemsize = np.dtype(self.acc).itemsize
        self.lanes = engine.TILE[1] // (2 * self.itemsize)
        self.kernel = engine.kernel("depthwise_gradient", self.acc)
        self._bounds: OrderedDict[tuple, tuple[Bound, int]] = OrderedDict()

    def __call__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        p = self.problem.conv
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bound, parts = self._bind(x.strides, w.strides)
        beyond = np.full(1, fill).astype(self.acc)
        if parts == 1 and out.dtype == self.acc and out.flags.c_contiguous:
            run(self.kernel, bound, x, w, out, None, beyond, threads)
            return
        if parts > 1:
            by_value()  # NumPy adds
        sums = np.empty((parts, p.filters, prod(p.kernel_shape)), self.acc)
        run(self.kernel, bound, x, w, sums, None, beyond, threads)
        with np.errstate(all="ignore"):
            copy_into(out, (sums[0] if parts == 1 else sums.sum(0, dtype=self.acc)).reshape(out.shape))

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, partial sums included."""
        p = self.problem.conv
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bound, parts = self._bind(
            contiguous_strides((p.batch, p.channels, *p.in_shape), p.in_dtype),
            contiguous_strides((p.batch, p.filters, *p.out_shape), p.out_dtype),
        )
        return bound.scratch_bytes * threads + parts * p.filters * prod(p.kernel_shape) * self.itemsize

    def _bind(self, *key: tuple[int, ...]) -> tuple[Bound, int]:
        bound = self._bounds.get(key)
        if bound is None:
            bound = self._bounds[key] = self._new_bound(*key)
            while len(self._bounds) > REMEMBERED:
                self._bounds.popitem(last=False)
        return bound

    def _new_bound(self, x_strides: tuple[int, ...], grad_strides: tuple[int, ...]) -> tuple[Bound, int]:
        p = self.problem.conv
        z, y, x = axes = three_axes(p, x_strides, grad_strides)
        maps = z.edges(), y.edges(), x.edges()
        planes = abs(x_strides[1]) > abs(x.x_step) and abs(grad_strides[1]) > abs(x.out_step)
        vectors = -(-p.filters // self.lanes)
        divided = p.nbytes >= DIVIDED_BYTES
        most = MOST_VECTORS if divided else min(MOST_VECTORS, vectors // CHUNKS)
        chunk_vectors = 1 if planes else max(1, min(most, vectors))  # pieces of pixels as long as they may be
        n_chunks = max(1, p.filters // (chunk_vectors * self.lanes))
        last = p.filters - (n_chunks - 1) * chunk_vectors * self.lanes
        pitch = self.lanes if planes else -(-last // self.lanes) * self.lanes
        direct = not planes and p.filters % self.lanes == 0 and p.out_dtype == self.acc
        direct &= grad_strides[1] == self.itemsize and all(step % self.itemsize == 0 for step in grad_strides)
        strip, span = self._box(z, y, x, pitch * self.itemsize)
        n_boxes = p.batch * z.out_size * -(-y.out_size // strip) * -(-x.out_size // span)
        parts = max(1, min(-(-UNITS // n_chunks), n_boxes)) if divided else 1
        taps, pixel = prod(p.kernel_shape), pitch * self.itemsize
        places, at = scratch_places(
            8 * (BATCH * y.stride + y.taps),
            {
                "weights": 0 if direct else strip * span * pixel, "biases": 0, "fills": pixel,
                "turned": max(2 * self.lanes, taps + self.lanes) * self.lanes * self.itemsize, "sums": taps * pixel,
                "band": z.taps * window(y, strip) * window(x, span) * pixel,
            },
        )  # fmt: skip
        values = {
            **box_values(p, x_strides, grad_strides, axes, maps, strip, span), **places,
            "scratch_bytes": at + 64, "reading": DEPTHWISE_READING["planes" if planes else "pixels"], "store_direct": direct,
            "chunk": chunk_vectors * self.lanes, "n_chunks": n_chunks, "pitch": pitch, "batch": BATCH,
            "n_boxes": n_boxes, "n_parts": parts,
        }  # fmt: skip
        return Bound(record(DEPTHWISE_GRADIENT_FIELDS, values), n_chunks * parts, at + 64, (), maps), parts

    def _box(self, z: Axis, y: Axis, x: Axis, pixel: int) -> tuple[int, int]:
        """Rows and columns of outputs whose windows are staged at once."""
        strip, span = y.out_size, x.out_size if x.out_size <= SPAN else -(-x.out_size // -(-x.out_size // SPAN))

        def band() -> int:
            return (z.taps * window(y, strip) * window(x, span) + strip * span) * pixel

        while strip > 1 and band() > BAND_BYTES and window(y, strip) > 2 * y.taps * y.dilation:
            strip = -(-strip // 2)
        while span > 16 and band() > MOST_BYTES:
            span = -(-span // 2)
        while strip > 1 and band() > MOST_BYTES:
            strip = -(-strip // 2)
        return strip, span
