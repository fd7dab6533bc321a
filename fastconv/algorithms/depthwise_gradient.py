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
    CHUNK_BYTES,
    MOST_BYTES,
    SPAN,
    box_values,
    refuse_groups,
    row_values,
    scratch_places,
    three_axes,
    window,
)
from fastconv.algorithms.depthwise_rows import column_tables, reads_rows
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import PARTS, Axis, contiguous_strides
from fastconv.engines.contract import DEPTHWISE_GRADIENT_FIELDS, DEPTHWISE_READING, DTYPE_CODES, record
from fastconv.problem import Problem, WeightGradientProblem
from fastconv.replay import by_value, copy_into

__all__ = ["DepthwiseGradient", "is_ready", "refuse"]

# Units that a problem of that many bytes or more is divided for (NumPy adds its parts, and it is not replayed: 45 us), or that of
# filters for one vector; most vectors of filters of a unit, chunks of the filters; rows of a block.
UNITS, DIVIDED_BYTES, LONE_BYTES, MOST_VECTORS, CHUNKS, BATCH = 8, 16 << 20, 2 << 20, 4, 4, 8
# Filters of a unit whose planes are read in rows: so many planes lie next to each other, and their sums in the first cache.
ROW_FILTERS = 24


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
        self.engine = engine
        self.kernel = engine.kernel("depthwise_gradient", self.acc)
        self._bounds: OrderedDict[tuple, tuple[Bound, int]] = OrderedDict()

    def __call__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        p = self.problem.conv
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bound, parts = self._bind(x.strides, w.strides, bool(np.isfinite(fill)))
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
            True,
        )
        return bound.scratch_bytes * threads + parts * p.filters * prod(p.kernel_shape) * self.itemsize

    def _bind(self, *key: Any) -> tuple[Bound, int]:
        bound = self._bounds.get(key)
        if bound is None:
            bound = self._bounds[key] = self._new_bound(*key)
            while len(self._bounds) > REMEMBERED:
                self._bounds.popitem(last=False)
        return bound

    def _new_bound(self, x_strides: tuple[int, ...], grad_strides: tuple[int, ...], finite: bool) -> tuple[Bound, int]:
        p = self.problem.conv
        z, y, x = axes = three_axes(p, x_strides, grad_strides)
        maps = z.edges(), y.edges(), x.edges()
        in_rows = reads_rows(p, self.engine, self.acc, x, x_strides, grad_strides)
        if in_rows and finite:  # idle lanes multiply the fill value by 0
            return self._bound_to_rows(axes, maps, x_strides, grad_strides)
        planes = abs(x_strides[1]) > abs(x.x_step) and abs(grad_strides[1]) > abs(x.out_step)
        vectors = -(-p.filters // self.lanes)
        divided = self._is_divided()
        in_place = not planes and self._in_place(x_strides, grad_strides)
        widest = CHUNK_BYTES // (self.lanes * self.itemsize) if in_place else MOST_VECTORS
        most = widest if divided else min(widest, vectors // CHUNKS)
        chunk_vectors = 1 if planes else max(1, min(most, vectors))  # pieces of pixels as long as they may be
        n_chunks = max(1, p.filters // (chunk_vectors * self.lanes))
        last = p.filters - (n_chunks - 1) * chunk_vectors * self.lanes
        pitch = self.lanes if planes else -(-last // self.lanes) * self.lanes
        direct = not planes and p.filters % self.lanes == 0 and p.out_dtype == self.acc
        direct &= grad_strides[1] == self.itemsize and all(step % self.itemsize == 0 for step in grad_strides)
        direct |= in_place
        strip, span = self._box(z, y, x, pitch * self.itemsize)
        if in_place:  # whole blocks of rows, as many as may be
            strips = -(-UNITS // (n_chunks * p.batch)) if divided else 1
            strip, span = min(y.out_size, -(-y.out_size // (4 * strips)) * 4), x.out_size
        n_boxes = p.batch * z.out_size * -(-y.out_size // strip) * -(-x.out_size // span)
        parts = max(1, min(-(-UNITS // n_chunks), n_boxes)) if divided else 1
        taps, pixel = prod(p.kernel_shape), pitch * self.itemsize
        places, at = scratch_places(
            8 * (BATCH * y.stride + y.taps),
            {
                "weights": 0 if direct else strip * span * pixel, "biases": 0, "fills": pixel,
                "turned": max(2 * self.lanes, taps + self.lanes) * self.lanes * self.itemsize, "sums": taps * pixel,
                "band": 0 if in_place else z.taps * window(y, strip) * window(x, span) * pixel,
            },
        )  # fmt: skip
        values = {
            **box_values(p, x_strides, grad_strides, axes, maps, strip, span), "tables": 0, **places,
            "scratch_bytes": at + 64, "store_direct": direct,
            "reading": DEPTHWISE_READING["planes" if planes else "in_place" if in_place else "pixels"],
            "chunk": chunk_vectors * self.lanes, "n_chunks": n_chunks, "pitch": pitch, "batch": BATCH,
            "n_boxes": n_boxes, "n_parts": parts,
        }  # fmt: skip
        return Bound(record(DEPTHWISE_GRADIENT_FIELDS, values), n_chunks * parts, at + 64, (), maps), parts

    def _bound_to_rows(
        self, axes: tuple[Axis, Axis, Axis], maps: tuple[np.ndarray, ...], x_strides: tuple[int, ...],
        grad_strides: tuple[int, ...],
    ) -> tuple[Bound, int]:  # fmt: skip
        """The record for planes that are read in rows."""
        p, (_, y, x) = self.problem.conv, axes
        chunk = max(1, min(p.filters // CHUNKS, ROW_FILTERS))
        n_chunks = p.filters // chunk
        wanted = -(-UNITS // n_chunks) if self._is_divided() else 1
        strip = -(-y.out_size // min(y.out_size, -(-wanted // p.batch)))
        n_boxes = p.batch * -(-y.out_size // strip)
        parts = min(wanted, n_boxes)
        tables, taken = column_tables(x, self.lanes, self.itemsize)
        last = p.filters - (n_chunks - 1) * chunk
        sizes = {"fills": x.size * self.itemsize, "sums": (last * 9 + self.lanes) * self.lanes * self.itemsize}
        places, at = scratch_places(8 * window(y, strip), sizes)
        values = {
            **box_values(p, x_strides, grad_strides, axes, maps, strip, x.out_size), **row_values(p, tables), **places,
            "scratch_bytes": at + 64, "store_direct": True, "chunk": chunk, "n_chunks": n_chunks, "batch": strip,
            "n_boxes": n_boxes, "n_parts": parts,
        }  # fmt: skip
        bound = Bound(record(DEPTHWISE_GRADIENT_FIELDS, values), n_chunks * parts, at + 64, (), (*maps, tables, taken))
        return bound, parts

    def _is_divided(self) -> bool:
        """Whether units share pixels, not only filters."""
        p = self.problem.conv
        return p.nbytes >= (DIVIDED_BYTES if p.filters > self.lanes else LONE_BYTES)

    def _in_place(self, x_strides: tuple[int, ...], grad_strides: tuple[int, ...]) -> bool:
        """Whether windows of 3x3, and the gradient, are read where they lie."""
        p = self.problem.conv
        usual = p.ndim == 2 and p.kernel_shape == (3, 3) and p.dilation == (1, 1) and p.stride in ((1, 1), (2, 2))
        usual &= (
            getattr(self.engine, "DEPTHWISE_IN_PLACE", False)
            and self.acc in ("float32", "float64")
            and p.in_dtype == p.out_dtype == self.acc
        )
        usual &= p.filters == p.channels and p.filters >= self.lanes
        return usual and all(
            strides[1] == self.itemsize and all(step % self.itemsize == 0 for step in strides)
            for strides in (x_strides, grad_strides)
        )

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
