"""The direct filter: any number of axes becomes planes of two-dimensional correlations.

The kernel (`FILTER_FIELDS` of the contract) sums 2-D correlations over source planes.
Here a problem with any number of axes, channels and complex parts is brought to that
form without copying the arrays:

- axes that the kernel does not touch move to the front and become separate planes;
- a short contiguous axis behind the last filtered one (the colours of a channels-last
  image) is folded into it: the row becomes longer and the taps lie further apart;
- the last two axes are the plane's rows and columns; every other axis, and every
  channel, contributes taps as further source planes;
- a complex image is a plane of real parts and one of imaginary parts.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.executor import Bound, ConvExecutor, Copy, kernel_types, refuse_types
from fastconv.algorithms.geometry import NO_AXIS, PARTS, Axis, geometry, part_size, spatial_axes
from fastconv.boundary import index_map
from fastconv.engines.contract import ACTIVATIONS, BEYOND, EXACT_CODES, FILTER_FIELDS, record, slope_bits
from fastconv.problem import ConvProblem

__all__ = ["Filter", "can_fold", "is_ready", "refuse"]

# A trailing axis shorter than this is folded into the filtered axis before it.
FOLD_BELOW = 64
# Staged patches: rows and bytes of a row (of a plane of one row), and the most scratch memory their windows may take.
# A thread, float32 15x15, against the FMA peak: 32x512 and 64x512 0.88, 32x384 0.87, 16x1024 0.83.
# Rows of 8-bit images are short, and small kernels take a tenth less time in wider patches.
PATCH_ROWS, PATCH_BYTES, LINE_BYTES = 32, 512, 4096
WIDE_ROWS, WIDE_BYTES, WIDE_TAPS = 16, 1024, 7
SCRATCH_BYTES = 256 * 1024
# Results of so many bytes are written past the caches, those of passes if they have more; by patches of so many rows and
# bytes of a row.
STREAM_BEYOND = 16 << 20
STREAM_ROWS, STREAM_BYTES = 32, 2048
# Units for each thread; one where the caches hold image and result: who takes others than in the last call fetches them
# from another's cache (two threads, one, two and eight units each: 512x512 with 3x3 25, 30 and 33 us, with 7x7 57, 62 and 64).
UNITS_PER_THREAD, IN_CACHES = 8, 12 << 20
# Elements that staged rows are a multiple of: those of a cache line, if they are of 4 bytes.
LINE = 16
# Rows shorter than this are exchanged with the longest axis.
NARROW = 16


def refuse(problem: Any) -> str | None:
    """Why the filter cannot do a problem, or None."""
    return refuse_types(problem, activates=True)


def is_ready(problem: ConvProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("filter", *kernel_types(problem))


class Filter(ConvExecutor):
    """Executes a `ConvProblem` with an engine's filter kernel."""

    operation = "filter"
    fields: tuple[str, ...] = FILTER_FIELDS
    staged = False  # whether the kernel stages all that it reads

    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list[Copy]]:
        """Weights as [filter, output part][channel and tap, input part][ky, kx]."""
        w = w.transpose(0, 1, *(axis + 2 for axis in order))
        if self.problem.acc not in PARTS:
            packed = np.empty(w.shape, self.part)
            copies = [(w, packed, False)]
        else:
            packed, copies = self._real_matrix_of(w)
        for source, target, negative in copies:
            target[...] = -source if negative else source
        return packed, copies

    def _real_matrix_of(self, w: np.ndarray) -> tuple[np.ndarray, list[Copy]]:
        """Room for the real matrix that multiplies as complex weights do, and what goes where in it."""
        parts = [w.real, w.imag] if w.dtype.kind == "c" else [w]
        filters, *planes = w.shape
        if self.problem.in_dtype not in PARTS:
            packed = np.zeros((filters, 2, *planes), self.part)
            return packed, [(part, packed[:, i], False) for i, part in enumerate(parts)]
        taps = min(2, w.ndim - 2)
        inner = len(planes) - taps
        packed = np.zeros((filters, 2, *planes[:inner], 2, *planes[inner:]), self.part)
        into = [[packed[(slice(None), i, ..., j, *(slice(None),) * taps)] for j in (0, 1)] for i in (0, 1)]
        copies = [(parts[0], into[0][0], False), (parts[0], into[1][1], False)]
        return packed, copies + [(part, into[1 - i][i], i == 1) for part in parts[1:] for i in (0, 1)]

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p = self.problem
        any_order = not p.exact or sum(k > 1 for k in p.kernel_shape) < 2
        axes, order = _arrange(spatial_axes(p, x_strides, out_strides), any_order)
        *lead, y, x = axes
        src_planes, out_planes, filter_of = self._planes(lead, x_strides, out_strides)
        map_y, map_x = y.edges(), x.edges()
        row_taps = np.arange(x.taps, dtype=np.int64) * x.dilation

        in_place = not self.staged and p.in_dtype == self.part and x.stride == 1 and x.x_step == self.itemsize
        in_place = in_place and y.x_step % self.itemsize == 0
        store_direct = p.out_dtype == self.part and x.out_step == self.itemsize and y.out_step % self.itemsize == 0
        store_direct = store_direct and not (self.staged or p.saturate)
        n_planes_out = len(out_planes)
        stream = in_place and store_direct and src_planes.shape[1] == 1 and not (p.exact or p.activation)
        stream = stream and n_planes_out * y.out_size * x.out_size * self.itemsize >= STREAM_BEYOND
        rows, cols = self._patch(y, x, stream)
        phase_cols = -(-((cols - 1) * x.stride + (x.taps - 1) * x.dilation + 1) // x.stride)
        pitch = -(-x.stride * phase_cols // LINE) * LINE
        window_rows = (rows - 1) * y.stride + (y.taps - 1) * y.dilation + 1
        col_of = row_taps % x.stride * phase_cols + row_taps // x.stride

        few = in_place and store_direct and p.nbytes <= IN_CACHES
        units = threads * (1 if few else UNITS_PER_THREAD)
        wanted_strips = -(-units // n_planes_out) if threads > 1 else 1
        line = y.out_size == 1 and not self.staged
        length, step = (x.out_size, cols) if line else (y.out_size, rows if self.staged else self.engine.TILE[0])
        strip = -(-length // min(wanted_strips, -(-length // step)) // step) * step
        n_strips = -(-length // strip)
        scratch_bytes = (
            -(-self._scratch_bytes(window_rows * pitch, rows * cols, y.taps * x.taps) // 64) * 64 + 64
        )  # it begins at a cache line
        values = {
            **geometry(p, y, x, map_y, map_x),
            "scratch_bytes": scratch_bytes,
            "src_planes": src_planes.ctypes.data, "out_planes": out_planes.ctypes.data, "filter_of": filter_of.ctypes.data,
            "n_planes": src_planes.shape[1], "n_fills": 2 if p.in_dtype in PARTS else 1,
            "in_place": in_place and store_direct, "store_direct": store_direct,
            "patch_rows": rows, "patch_cols": cols, "strip": strip, "n_strips": n_strips,
            "exact": EXACT_CODES[p.exact], "pitch": pitch, "phase_cols": phase_cols, "col_of": col_of.ctypes.data,
            "stream": stream, "activation": ACTIVATIONS[p.activation], "slope": slope_bits(p.slope),
        }  # fmt: skip
        tables = (src_planes, out_planes, filter_of, map_y, map_x, col_of)
        values |= self._further_values()
        return Bound(record(self.fields, values), n_planes_out * n_strips, scratch_bytes, order, tables)

    def _scratch_bytes(self, window: int, patch: int, taps: int) -> int:
        """Scratch memory of a thread for a staged window, the sums of a patch, and the weights."""
        size = (window + patch) * self.itemsize
        if self.problem.exact:  # sources of 8 bits are summed in float, where that is too coarse again in double
            # and the last tile of a line may pass its end; FLAT_SUMS of exact.h
            size += (window + taps + 512) * 4 + 128 + prod(self.engine.TILE)
        return size

    def _further_values(self) -> dict[str, int]:
        """Slots of the record that the filter's does not have."""
        return {}

    def _patch(self, y: Axis, x: Axis, stream: bool) -> tuple[int, int]:
        """Rows and columns staged at once, in whole tiles: as many as fit."""
        line = y.out_size == 1
        rows, row_bytes = self.engine.LINE if line else self.engine.TILE
        cols = row_bytes // (4 if self.problem.exact else self.itemsize)  # exact sums are made in float first
        wide = part_size(self.problem.in_dtype) == 1 and y.taps <= WIDE_TAPS
        most = (1, LINE_BYTES) if line else (WIDE_ROWS, WIDE_BYTES) if wide else (PATCH_ROWS, PATCH_BYTES)
        most = (STREAM_ROWS, STREAM_BYTES) if stream and not line else most
        down, across = most[0] // rows, most[1] // row_bytes
        down, across = min(down, -(-y.out_size // rows)), min(across, -(-x.out_size // cols))

        def scratch(down: int, across: int) -> int:
            window_rows = (down * rows - 1) * y.stride + (y.taps - 1) * y.dilation + 1
            return window_rows * (across * cols * x.stride + (x.taps - 1) * x.dilation) * self.itemsize

        while across > 1 and scratch(down, across) > SCRATCH_BYTES:
            across -= 1
        while down > 1 and scratch(down, across) > SCRATCH_BYTES:
            down -= 1
        return down * rows, across * cols

    def _planes(
        self, lead: list[Axis], x_strides: tuple[int, ...], out_strides: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Byte offsets of the source planes of each output plane, of the output planes, and their kernels.

        Output planes run over (batch, filter, leading axes, part), source planes over
        (channel of the group, leading taps, part).
        """
        p = self.problem
        in_parts = 2 if p.in_dtype in PARTS else 1
        out_parts = 2 if p.acc in PARTS else 1
        group_channels = p.channels // p.groups
        n = len(lead)
        outer = 3 + n  # batch, filter, leading axes, part; then channel, leading taps, part

        def along(values: np.ndarray, *dims: int) -> np.ndarray:
            shape = [1] * (2 * n + 5)
            for dim, size in zip(dims, values.shape, strict=True):
                shape[dim] = size
            return values.reshape(shape)

        first_channel = np.arange(p.filters) // (p.filters // p.groups) * group_channels
        channel = first_channel[:, None] + np.arange(group_channels)
        src = along(np.arange(p.batch) * x_strides[0], 0) + along(channel * x_strides[1], 1, outer)
        out = along(np.arange(p.batch) * out_strides[0], 0) + along(np.arange(p.filters) * out_strides[1], 1)
        src = src + along(np.arange(in_parts) * (part_size(p.in_dtype)), outer + n + 1)
        out = out + along(np.arange(out_parts) * (part_size(p.out_dtype)), outer - 1)
        beyond = np.zeros((1,) * (2 * n + 5), bool)
        for i, axis in enumerate(lead):
            places = np.arange(axis.out_size)[:, None] * axis.stride + np.arange(axis.taps) * axis.dilation - axis.pad
            index = index_map(places, axis.size, axis.rule)
            src = src + along(index * axis.x_step, 2 + i, outer + 1 + i)
            beyond = beyond | along(index < 0, 2 + i, outer + 1 + i)
            out = out + along(np.arange(axis.out_size) * axis.out_step, 2 + i)
        outer_shape = (p.batch, p.filters, *(axis.out_size for axis in lead), out_parts)
        inner_shape = (group_channels, *(axis.taps for axis in lead), in_parts)
        src = np.broadcast_to(np.where(beyond, BEYOND, src), outer_shape + inner_shape)
        kernel = np.arange(p.filters)[:, None] * out_parts + np.arange(out_parts)
        filter_of = np.broadcast_to(
            along(kernel, 1, outer - 1).reshape((1, p.filters) + (1,) * n + (out_parts,)), outer_shape
        )
        out = np.broadcast_to(out.reshape(out.shape[:outer]), outer_shape)
        return (
            np.ascontiguousarray(src.reshape(prod(outer_shape), prod(inner_shape)), np.int64),
            np.ascontiguousarray(out.reshape(-1), np.int64),
            np.ascontiguousarray(filter_of.reshape(-1), np.int64),
        )


def _arrange(axes: list[Axis], any_order: bool) -> tuple[list[Axis], tuple[int, ...]]:
    """Leading axes, then the plane's rows and columns; and the same order for the kernel's axes.

    Unless it is told that taps may be added in any order, the axes that have several keep theirs.
    """
    places = list(range(len(axes)))
    folded: list[int] = []
    while len(axes) > 1 and can_fold(axes[-2], axes[-1]):
        folded.insert(0, places.pop())  # it has one tap, which may stand anywhere
        axes = [*axes[:-2], axes[-2].fold(axes[-1])]
    last = places[-1] if places else 0
    if any_order and places and axes[last].out_size < NARROW:  # rows should be long: tiles are wide
        last = max(places, key=lambda i: axes[i].out_size)
    rows_last = sorted((i for i in places if i != last), key=lambda i: not axes[i].untouched) + [last] * bool(places)
    arranged = [NO_AXIS] * (2 - len(places)) + [axes[i] for i in rows_last]
    return arranged, (*folded, *rows_last)


def can_fold(outer: Axis, inner: Axis) -> bool:
    """Whether an axis can take in the one behind it."""
    return (
        inner.untouched
        and (inner.size < FOLD_BELOW or outer.untouched)
        and outer.stride == 1
        and outer.x_step == inner.x_step * inner.size
        and outer.out_step == inner.out_step * inner.size
    )
