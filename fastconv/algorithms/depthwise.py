"""Depthwise convolution: each filter reads one channel.

The kernel's lanes are filters (`DEPTHWISE_FIELDS` of the contract).  Channels that lie side by side are read where they
lie; planes are transposed to pixels in scratch memory, a vector of channels and a strip of rows at a time.  Planes of 3x3
windows are read in rows, where the engine can (`depthwise_rows`): lanes are outputs.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.depthwise_rows import called_ahead, column_tables, reads_rows
from fastconv.algorithms.executor import Bound, ConvExecutor, kernel_types, refuse_types
from fastconv.algorithms.geometry import NO_AXIS, PARTS, Axis, geometry, part_size, spatial_axes
from fastconv.engines.contract import ACTIVATIONS, DEPTHWISE_FIELDS, DEPTHWISE_READING, record, slope_bits
from fastconv.problem import ConvProblem
from fastconv.replay import contiguous

__all__ = [
    "BAND_BYTES",
    "CHUNK_BYTES",
    "MIN_CHANNELS",
    "MOST_BYTES",
    "SPAN",
    "UNITS_PER_THREAD",
    "Depthwise",
    "box_values",
    "executor",
    "is_ready",
    "refuse",
    "refuse_groups",
    "row_values",
    "scratch_places",
    "several_a_group",
    "three_axes",
    "window",
]

# Fewer channels leave most lanes empty: the direct filter, whose lanes are pixels, wins.
MIN_CHANNELS = 4
# Channels of a group that fill a vector with those of others.
TOGETHER = (2, 4, 8, 16)
# Bytes of pixels read together; of staged windows; the most that they may take.
CHUNK_BYTES, BAND_BYTES, MOST_BYTES = 1024, 128 * 1024, 2 * 2**20
# Pixels that are read where they lie come in longer runs: 576 channels, 14x14, steps of 2, batch 32, 0.75 ms rather than 0.82.
RUN_BYTES = 4096
# Columns of one unit in a long row, outputs that are made before they are stored, and units.
SPAN, BATCH, UNITS_PER_THREAD = 256, 64, 4
# Larger problems come from beyond the caches: planes are called for so many bytes ahead.
CACHE_BYTES, CALLED_AHEAD = 1 << 20, 256
# ... and pixels a block ahead: 144x56x56 of batch 8 takes 0.75 ms rather than 1.2 to 2.0, but a fifth more where the third
# cache holds it.
STREAMED_BYTES = 16 << 20


def refuse(problem: ConvProblem) -> str | None:
    """Why this algorithm cannot do a problem, or None."""
    why = refuse_types(problem, activates=True)
    if why is not None:
        return why
    if problem.acc in PARTS:
        return "does not sum complex numbers"
    if problem.exact:
        return "adds in its own order"
    return None if _groups_of_vectors(problem) else refuse_groups(problem)


def several_a_group(problem: ConvProblem) -> str | None:
    """What is left to others where lanes of several groups are not a vector."""
    return "is for one channel a group" if problem.groups != problem.channels else None


def _groups_of_vectors(p: ConvProblem) -> bool:
    """Whether the channels of some groups may be those of a vector, and their filters: 3x3 taps of blocks of outputs."""
    each = p.channels // p.groups
    return (
        p.ndim == 2
        and p.groups > 1
        and each in TOGETHER
        and p.filters == p.channels
        and (p.kernel_shape, p.dilation) == ((3, 3), (1, 1))
        and p.stride in ((1, 1), (2, 2))
        and p.acc in ("float32", "float64")
    )


def executor(problem: ConvProblem, engine: Any) -> ConvExecutor:
    """The executor: groups larger than a vector are products of matrices."""
    if problem.channels // problem.groups * np.dtype(problem.acc).itemsize > engine.TILE[1] // 2:
        from fastconv.algorithms.conv import Conv

        return Conv(problem, engine)
    return Depthwise(problem, engine)


def refuse_groups(problem: ConvProblem) -> str | None:
    """Why a kernel for one channel a group cannot do a problem, or None."""
    if problem.groups != problem.channels or problem.groups < MIN_CHANNELS:
        return f"is for one channel a group, and at least {MIN_CHANNELS} groups"
    if problem.ndim > 3:
        return "is for one to three spatial axes"
    reach = zip(problem.kernel_shape, problem.dilation, problem.stride, strict=True)
    if 64 * prod((k - 1) * d + s for k, d, s in reach) > MOST_BYTES:
        return f"stages windows of at most {MOST_BYTES >> 20} MiB"
    return None


def is_ready(problem: ConvProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("depthwise", *kernel_types(problem))


class Depthwise(ConvExecutor):
    """Executes a `ConvProblem` of one channel a group with an engine's depthwise kernel."""

    operation = "depthwise"

    def __init__(self, problem: ConvProblem, engine: Any):
        super().__init__(problem, engine)
        self.lanes = engine.TILE[1] // (2 * self.itemsize)

    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list]:
        return contiguous(w, self.part), []  # the kernel transposes them

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p = self.problem
        z, y, x = three_axes(p, x_strides, out_strides)
        maps = z.edges(), y.edges(), x.edges()
        if p.groups == p.channels and reads_rows(p, self.engine, self.part, x, x_strides, out_strides):
            return self._bound_to_rows((z, y, x), maps, x_strides, out_strides, threads)
        reading, direct = self._access(x, x_strides, out_strides)
        planes = reading == DEPTHWISE_READING["planes"]
        staged = reading != DEPTHWISE_READING["in_place"]
        chunk, pitch = self._chunk(
            planes, not staged, z.out_size * -(-y.out_size // 4) * -(-x.out_size // SPAN), threads
        )
        n_chunks = max(1, p.filters // chunk)
        strip, span = self._box(z, y, x, pitch if staged else 0, p.batch * z.out_size * n_chunks, threads)
        batch = min(strip, max(8, BATCH // span))
        taps, pixel = prod(p.kernel_shape) * p.channels // p.groups, pitch * self.itemsize
        band = z.taps * window(y, strip) * window(x, span) * pixel
        places, at = scratch_places(
            8 * (z.taps + batch * y.stride + z.taps * y.taps + taps),
            {
                "weights": taps * pixel, "biases": pixel, "fills": pixel, "turned": 2 * self.lanes**2 * self.itemsize,
                "sums": 0 if direct else (batch * span + self.lanes) * pixel, "band": band if staged else 0,
            },
        )  # fmt: skip
        values = {
            **box_values(p, x_strides, out_strides, (z, y, x), maps, strip, span), "tables": 0, **places,
            "scratch_bytes": at + 64,
            "reading": reading, "store_direct": direct,
            "chunk": chunk, "n_chunks": n_chunks, "pitch": pitch, "batch": batch,
            "activation": ACTIVATIONS[p.activation], "slope": slope_bits(p.slope),
        }  # fmt: skip
        units = p.batch * z.out_size * values["n_strips"] * values["n_spans"] * n_chunks
        return Bound(record(DEPTHWISE_FIELDS, values), units, at + 64, (), maps)

    def _bound_to_rows(
        self, axes: tuple[Axis, Axis, Axis], maps: tuple[np.ndarray, ...], x_strides: tuple[int, ...],
        out_strides: tuple[int, ...], threads: int,
    ) -> Bound:  # fmt: skip
        """The record for planes that are read in rows."""
        p, (_, y, x) = self.problem, axes
        wanted = threads * UNITS_PER_THREAD if threads > 1 else 1
        chunk = -(-p.filters // min(p.filters, -(-wanted // p.batch)))
        n_chunks = p.filters // chunk
        strip = -(-y.out_size // min(y.out_size, max(1, wanted // (p.batch * n_chunks))))
        tables, taken = column_tables(x, self.lanes, self.itemsize)
        places, at = scratch_places(8 * window(y, strip), {"fills": x.size * self.itemsize})
        values = {
            **box_values(p, x_strides, out_strides, axes, maps, strip, x.out_size), **row_values(p, tables), **places,
            "scratch_bytes": at + 64, "store_direct": True, "chunk": chunk, "n_chunks": n_chunks, "batch": strip,
            "activation": ACTIVATIONS[p.activation], "slope": slope_bits(p.slope), "sums": 0,
        }  # fmt: skip
        units = p.batch * values["n_strips"] * n_chunks
        return Bound(record(DEPTHWISE_FIELDS, values), units, at + 64, (), (*maps, tables, taken))

    def _access(self, x: Axis, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> tuple[int, bool]:
        """DEPTHWISE_READING, and whether sums are written where the output lies."""
        p = self.problem
        enough = p.filters >= self.lanes
        direct = enough and p.out_dtype == p.acc and out_strides[1] == self.itemsize and not p.saturate
        direct &= x.out_step % self.itemsize == 0
        if abs(x_strides[1]) > abs(x.x_step) and abs(out_strides[1]) > abs(x.out_step):
            return DEPTHWISE_READING["planes"], False
        in_place = enough and p.filters == p.channels and p.in_dtype == p.acc and x_strides[1] == self.itemsize
        in_place &= all(step % self.itemsize == 0 for step in x_strides)
        return DEPTHWISE_READING["in_place" if in_place else "pixels"], direct

    def _chunk(self, planes: bool, in_place: bool, boxes: int, threads: int) -> tuple[int, int]:
        """Filters of a unit, and of a pixel in scratch memory."""
        p = self.problem
        if planes:
            vectors = -(-p.filters // self.lanes)
            units = vectors * p.batch
            return max(1, min(vectors, units // (UNITS_PER_THREAD * threads))) * self.lanes, self.lanes
        widest = RUN_BYTES // (p.channels // p.groups) if in_place else CHUNK_BYTES
        chunk = max(2 * self.lanes, widest // self.itemsize)
        wanted = threads * UNITS_PER_THREAD if threads > 1 else 1
        while chunk > 2 * self.lanes and p.batch * boxes * (p.filters // chunk) < wanted:
            chunk //= 2
        chunk = min(chunk, max(self.lanes, p.filters // self.lanes * self.lanes))
        n_chunks = max(1, p.filters // chunk)
        last = p.filters - (n_chunks - 1) * chunk
        return chunk, -(-last // self.lanes) * self.lanes

    def _box(self, z: Axis, y: Axis, x: Axis, pitch: int, units: int, threads: int) -> tuple[int, int]:
        """Rows and columns of a unit."""
        span = x.out_size if x.out_size <= SPAN else -(-x.out_size // -(-x.out_size // SPAN))
        strips = min(y.out_size, max(1, -(-threads * UNITS_PER_THREAD // (units * -(-x.out_size // span)))))
        if threads == 1:
            strips = 1
        strip = -(-y.out_size // strips)
        if strip < 4 * (y.taps - 1) * y.dilation // y.stride:  # what strips share is read twice
            strip = min(y.out_size, max(strip, 4))

        def band() -> int:
            return z.taps * window(y, strip) * window(x, span) * pitch * self.itemsize

        while strip > 1 and band() > BAND_BYTES and window(y, strip) > 2 * y.taps * y.dilation:
            strip = -(-strip // 2)
        while span > 16 and band() > MOST_BYTES:
            span = -(-span // 2)
        while strip > 1 and band() > MOST_BYTES:
            strip = -(-strip // 2)
        return strip, span


def three_axes(p: ConvProblem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> tuple[Axis, Axis, Axis]:
    """Planes, rows and columns."""
    z, y, x = [NO_AXIS, NO_AXIS, NO_AXIS, *spatial_axes(p, x_strides, out_strides)][-3:]
    if x.out_size == 1 and x.taps == 1 and x.size == 1:  # a column: rows are read along
        y, x = x, y
    return z, y, x


def box_values(
    p: ConvProblem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], axes: tuple[Axis, Axis, Axis],
    maps: tuple[np.ndarray, ...], strip: int, span: int,
) -> dict[str, int]:  # fmt: skip
    """The slots that tell of the axes, and of boxes of `strip` rows and `span` columns."""
    z, y, x = axes
    planes = abs(x_strides[1]) > abs(x.x_step)
    return {
        **geometry(p, y, x, maps[1], maps[2]),
        "depth": z.size, "out_depth": z.out_size, "x_plane": z.x_step, "out_plane": z.out_step,
        "kernel_z": z.taps, "stride_z": z.stride, "dilation_z": z.dilation, "pad_z": z.pad,
        "map_z": maps[0].ctypes.data,
        "x_image": x_strides[0], "out_image": out_strides[0],
        "x_channel": x_strides[1], "out_channel": out_strides[1],
        "x_end": end_of((p.channels, *p.in_shape), x_strides[1:], part_size(p.in_dtype)),
        "filters": p.filters, "multiplier": p.filters // p.channels, "together": p.channels // p.groups,
        "strip": strip, "n_strips": -(-y.out_size // strip), "span": span, "n_spans": -(-x.out_size // span),
        "band_pixels": window(y, strip) * window(x, span),
        "ahead": CALLED_AHEAD if p.nbytes > (CACHE_BYTES if planes else STREAMED_BYTES) else 0,
    }  # fmt: skip


def row_values(p: ConvProblem, tables: np.ndarray) -> dict[str, int]:
    """The slots of planes that are read in rows, and those that are of no use there."""
    return {
        "tables": tables.ctypes.data,
        "reading": DEPTHWISE_READING["rows"], "ahead": called_ahead(p), "pitch": 0,
        "weights": 0, "biases": 0, "turned": 0, "band": 0,
    }  # fmt: skip


def scratch_places(at: int, sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Where parts of the scratch memory begin, the first at or behind `at`, and where the last ends."""
    places, at = {}, -(-at // 64) * 64
    for name, size in sizes.items():
        places[name] = at
        at += -(-size // 64) * 64
    return places, at


def window(axis: Axis, outputs: int) -> int:
    """Positions that so many outputs read together."""
    return (outputs - 1) * axis.stride + (axis.taps - 1) * axis.dilation + 1


def end_of(shape: tuple[int, ...], strides: tuple[int, ...], size: int) -> int:
    """Bytes from the first element to the end of the memory of an array."""
    return size + sum(max(0, (n - 1) * step) for n, step in zip(shape, strides, strict=True))
