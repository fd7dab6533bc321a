"""Gradients of convolutions' kernels: a matrix product of the channels, whose depth is the pixels.

The kernel (`WEIGHT_GRADIENT_FIELDS` of the contract) packs the input and the gradient of the output a block of pixels at
a time and adds outer products of their channels.  The pixels may be divided among units; their partial sums are added
afterwards, in order.  The division follows from the problem alone, so results do not depend on the threads.

Complex numbers are two channels and two filters, their real and imaginary parts: of the four sums of products, two
each make a part of the result.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from math import gcd, prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.bias_gradient import channel_sums
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import PARTS, contiguous_strides, part_size
from fastconv.boundary import index_map
from fastconv.engines.contract import BEYOND, DTYPE_CODES, WEIGHT_GRADIENT_FIELDS, record
from fastconv.problem import ConvProblem, Problem, WeightGradientProblem
from fastconv.replay import by_value, copy_into

__all__ = ["WeightGradient", "is_ready", "refuse"]

# Pixels of a block: the part of a tile's lanes that they take stays in the first cache.
BLOCK_PIXELS = 192
# Bytes of scratch memory that the sums of a unit, and its packed input, may take.
SUMS_BYTES, PANEL_BYTES = 1 << 20, 3 << 18
# Filters and channels of a unit, at most.
UNIT_FILTERS, UNIT_CHANNELS = 256, 512
# Units that the pixels of a problem are divided for, and pixels of each part for partial sums to cost little.
UNITS, PART_PIXELS = 8, 1024
# Units that channels and filters are divided for, which changes no sum.
UNITS_PER_THREAD = 2
# Fewer channels are broadcast together with the taps of a row.
JOINED_CHANNELS = 8


def refuse(problem: Problem) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, WeightGradientProblem):
        return "is for gradients of kernels"
    p = problem.conv
    if _part(p.acc) not in ("float32", "float64", "uint32", "uint64"):
        return f"does not sum in {p.acc}"
    for dtype in (p.in_dtype, p.out_dtype, p.kernel_dtype):
        if _part(dtype) not in DTYPE_CODES:
            return f"does not read or write {dtype}"
    if p.acc in PARTS and not {p.in_dtype, p.out_dtype, p.kernel_dtype} <= set(PARTS):
        return "is for arrays that are all complex or all real"
    return None


def is_ready(problem: WeightGradientProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("weight_gradient", _part(problem.conv.acc))


def _part(dtype: str) -> str:
    return PARTS.get(dtype, dtype)


@dataclass(frozen=True)
class Packing:
    """Which inputs along an axis are packed, and how they are found: that of tap k of output y stands at
    ``y * step + k * tap``."""

    sources: np.ndarray  # input positions, -1: none
    step: int
    tap: int
    inner: int  # the packed positions whose sources are `spacing` apart
    inner_end: int
    spacing: int

    def width(self, outputs: int, taps: int) -> int:
        """Packed positions of so many outputs."""
        return (outputs - 1) * self.step + (taps - 1) * self.tap + 1


def _packing(p: ConvProblem, axis: int, block: int) -> Packing:
    """All positions that windows reach, or, where less than half of them are read, those of each window by itself."""
    size, taps, n, stride = p.in_shape[axis], p.kernel_shape[axis], p.out_shape[axis], p.stride[axis]
    pad, rule = p.pad[axis], p.boundary[axis]
    spacing = stride if taps == 1 else gcd(stride, p.dilation[axis])
    step, tap = stride // spacing, p.dilation[axis] // spacing if taps > 1 else 0
    if (block - 1) * step + (taps - 1) * tap + 1 > 2 * block * taps:
        positions = np.arange(n)[:, None] * stride + np.arange(taps) * p.dilation[axis] - pad
        return Packing(np.ascontiguousarray(index_map(positions.ravel(), size, rule)), taps, 1, 0, 0, 1)
    count = (n - 1) * step + (taps - 1) * tap + 1
    sources = np.ascontiguousarray(index_map(np.arange(count) * spacing - pad, size, rule))
    inner, end = min(count, -(-pad // spacing)), min(count, (size - 1 + pad) // spacing + 1)
    return Packing(sources, step, tap, inner, max(inner, end), spacing)


class WeightGradient:
    """Executes a `WeightGradientProblem` with an engine's kernel."""

    operation = "weight_gradient"

    def __init__(self, problem: WeightGradientProblem, engine: Any):
        self.problem = problem
        p = problem.conv
        self.part = _part(p.acc)
        self.itemsize = np.dtype(self.part).itemsize
        self.kernel = engine.kernel(self.operation, self.part)
        self.rows, self.lanes = engine.GEMM[0], engine.GEMM[1] // 2 // self.itemsize
        parts = 2 if p.acc in PARTS else 1
        self.channels, self.filters = parts * p.channels // p.groups, parts * p.filters // p.groups  # of a group
        # The last two axes that are not trivial are the rows and columns of images, all others make images.
        axes = [a for a in range(p.ndim) if p.kernel_shape[a] > 1 or p.out_shape[a] > 1] or [p.ndim - 1]
        inner = (
            2 if len(axes) > 1 and prod(p.kernel_shape[a] for a in axes[-2:]) * 2 * self.lanes * 16 <= SUMS_BYTES else 1
        )
        self.inner = axes[-inner:]
        self.outer = [a for a in range(p.ndim) if a not in self.inner]
        self.taps = (1, *(p.kernel_shape[a] for a in self.inner))[-2:]
        self.sizes = (1, *(p.out_shape[a] for a in self.inner))[-2:]
        self.images = p.batch * prod(p.out_shape[a] for a in self.outer)
        self.outer_taps = prod(p.kernel_shape[a] for a in self.outer)
        self.parts = 1
        self._divide()
        adds = self.parts > 1 and p.acc in ("float32", "float64")
        self.adding = engine.kernel("bias_gradient", self.part) if adds else 0
        self.additions = channel_sums(self.parts, prod(self._sums_shape()), self.part) if adds else None
        self._bounds: OrderedDict[tuple, tuple[Bound, bool]] = OrderedDict()

    def __call__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        p = self.problem.conv
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bound, direct = self._bind(x.strides, w.strides, out.strides, threads)
        if direct:
            run(self.kernel, bound, x, w, out, None, None, threads)
            return
        sums = np.empty((self.parts, *self._sums_shape()), self.part)
        run(self.kernel, bound, x, w, sums, None, None, threads)
        if self.additions is not None:
            total = out if self._fits(out) else np.empty(sums.shape[1:], self.part)
            run(self.adding, self.additions, sums, None, total, None, None, threads)
            if total is not out:
                copy_into(out, self._result(total))
            return
        if self.parts > 1 or p.acc in PARTS:
            by_value()  # NumPy adds
        with np.errstate(all="ignore"):
            copy_into(out, self._result(sums[0] if self.parts == 1 else sums.sum(0, dtype=self.part)))

    def _fits(self, out: np.ndarray) -> bool:
        """Whether the sums lie in the result as in memory of their own."""
        return not self.joined and out.dtype == self.part and out.flags.c_contiguous

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, partial sums included."""
        p = self.problem.conv
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bound, direct = self._bind(
            contiguous_strides((p.batch, p.channels, *p.in_shape), p.in_dtype),
            contiguous_strides((p.batch, p.filters, *p.out_shape), p.out_dtype),
            contiguous_strides((p.filters, p.channels // p.groups, *p.kernel_shape), p.kernel_dtype),
            threads,
        )
        return bound.scratch_bytes * threads + (0 if direct else self.parts * prod(self._sums_shape()) * self.itemsize)

    def _divide(self) -> None:
        """Choose blocks and parts of the pixels, and what is packed."""
        height, width = self.sizes
        cols = even(width, BLOCK_PIXELS)
        # Few channels are packed fast only if many rows share their halo.
        pixels = BLOCK_PIXELS * (3 if self.channels < JOINED_CHANNELS and self.taps[1] > 1 else 1)
        rows = even(height, max(1, pixels // cols))
        images = even(self.images, max(1, BLOCK_PIXELS // (rows * cols))) if (rows, cols) == self.sizes else 1
        self.block = images, rows, cols
        outputs = (rows, cols)[-len(self.inner) :]
        packings = [_packing(self.problem.conv, a, n) for a, n in zip(self.inner, outputs, strict=True)]
        self.packed = [Packing(np.zeros(1, np.int64), 1, 0, 0, 1, 1), *packings][-2:]
        # A place of the panel ends where the next begins: its channels must fit in one vector.
        few = self.channels < JOINED_CHANNELS and self.channels <= self.lanes
        self.joined = few and self.taps[1] > 1 and self.packed[1].tap == 1
        self.places = images * self.packed[0].width(rows, self.taps[0]) * self.packed[1].width(cols, self.taps[1])
        # Lanes are filters; with one tap, channels where fewer of the tiles' rows and lanes stay idle.
        f, c = self.filters, self.channels
        self.swapped = prod(self.taps) == 1 and self._idle(f, c) < self._idle(c, f)
        blocks = -(-self.images // images) * -(-height // rows) * -(-width // cols)
        pixels = self.images * height * width
        self.parts = max(1, min(-(-UNITS // self._units(*self._unit(1))), blocks, pixels // PART_PIXELS))

    def _unit(self, threads: int) -> tuple[int, int]:
        """Channels and filters of a unit."""
        f, c, tile = self.filters, self.channels, 2 * self.lanes
        unit_f = even(f, UNIT_FILTERS, 2 if self.swapped else tile)
        most = min(
            UNIT_CHANNELS,
            SUMS_BYTES // (_up(unit_f, tile) * prod(self.taps) * self.itemsize),
            PANEL_BYTES // (self.places * self.itemsize) - 2 * self.lanes,
        )
        unit_c = c if self.joined else even(c, max(most, self.lanes), tile if self.swapped else self.lanes)
        wanted = UNITS_PER_THREAD * threads if threads > 1 else 1
        while self._units(unit_c, unit_f) < wanted and unit_f > tile:
            unit_f = even(f, unit_f - 1, tile)
        while self._units(unit_c, unit_f) < wanted and unit_c > tile and not self.joined:
            unit_c = even(c, unit_c - 1, tile)
        return unit_c, unit_f

    def _units(self, unit_c: int, unit_f: int) -> int:
        """Units of so many channels and filters."""
        blocks = -(-self.filters // unit_f) * -(-self.channels // unit_c)
        return self.problem.conv.groups * self.outer_taps * blocks * self.parts

    def _idle(self, broadcast: int, lanes: int) -> float:
        """Cycles that a product takes, per useful one."""
        vectors = -(-lanes // self.lanes)
        return (-(-broadcast // 2) * 2 + 2 * -(-broadcast // self.rows)) / broadcast * vectors * self.lanes / lanes

    def _sums_shape(self) -> tuple[int, ...]:
        p = self.problem.conv
        if self.joined:
            return (p.groups * self.filters, self.outer_taps, *self.taps, self.channels)
        return (p.groups * self.filters, self.channels, self.outer_taps, *self.taps)

    def _result(self, sums: np.ndarray) -> np.ndarray:
        """The gradient, of sums of products of real numbers."""
        p = self.problem.conv
        sums = np.moveaxis(sums, -1, 1) if self.joined else sums
        if p.acc in PARTS:
            sums = sums.reshape(p.filters, 2, -1, 2, *sums.shape[2:])
            real, imag = sums[:, 0, :, 0] + sums[:, 1, :, 1], sums[:, 1, :, 0] - sums[:, 0, :, 1]
            sums = np.empty(real.shape, p.acc)
            sums.real, sums.imag = real, imag
        return sums.reshape(p.filters, -1, *p.kernel_shape)

    def _turned_plane(self, a_pitch: int, b_pitch: int) -> int:
        """Elements of a line where planes whose rows are shorter than a vector are turned together, those of a block."""
        sizes = [
            (1, *(shape[a] for a in self.inner))[-2:]
            for shape in (self.problem.conv.in_shape, self.problem.conv.out_shape)
        ]
        pitches = (b_pitch, a_pitch) if self.swapped else (a_pitch, b_pitch)
        rows = self.packed[0].width(self.block[1], self.taps[0]), self.block[1]
        parts = zip(rows, sizes, pitches, strict=True)
        return max(-(-min(n, h) * w * pitch // self.lanes) if w < self.lanes else 0 for n, (h, w), pitch in parts)

    # -- the record ------------------------------------------------------------------------

    def _bind(self, *key: Any) -> tuple[Bound, bool]:
        bound = self._bounds.get(key)
        if bound is None:
            bound = self._bounds[key] = self._new_bound(*key)
            while len(self._bounds) > REMEMBERED:
                self._bounds.popitem(last=False)
        return bound

    def _new_bound(
        self, x: tuple[int, ...], g: tuple[int, ...], out: tuple[int, ...], threads: int
    ) -> tuple[Bound, bool]:
        p = self.problem.conv
        (unit_c, unit_f), (images, rows, cols) = self._unit(threads), self.block
        direct = (
            self.parts == 1 and not self.joined and p.acc not in PARTS and _joins(p.kernel_shape, out[2:], self.outer)
        )
        if direct:
            filter_step, channel_step, *taps = out
            outer_step = next((taps[a] for a in self.outer[::-1] if p.kernel_shape[a] > 1), 0)
            tap_step = next((taps[a] for a in self.inner[::-1] if p.kernel_shape[a] > 1), channel_step)
        else:
            _, *sizes = self._sums_shape()
            filter_step, tap_step = prod(sizes) * self.itemsize, self.itemsize
            outer_step = prod(self.taps) * self.itemsize * (self.channels if self.joined else 1)
            channel_step = prod(self.taps) * self.itemsize * (1 if self.joined else self.outer_taps)
        a_channels, b_channels = (unit_f, unit_c) if self.swapped else (unit_c, unit_f)
        a_pitch = self.channels if self.joined else _odd(a_channels, self.lanes)
        b_pitch = _up(b_channels, 2 * self.lanes)
        b_pitch = b_pitch if b_pitch <= 4 * self.lanes else _odd(b_pitch, self.lanes)  # two tiles are read whole
        depth = a_channels * prod(self.taps)
        line = _odd(max(self.places, depth, self._turned_plane(a_pitch, b_pitch)) + self.lanes, self.lanes)
        lengths = [
            (_up(depth, self.lanes) + self.lanes) * b_pitch,
            (self.places + self.lanes) * a_pitch + 2 * self.lanes,
            (images * rows * cols + self.lanes) * b_pitch,
            self.lanes * line,
            -(-images * rows * 8 // self.itemsize),
        ]
        starts = np.cumsum([0, *(_up(n, 64 // self.itemsize) for n in lengths)]).tolist()
        scratch = (starts[-1] * self.itemsize) + 64
        x_channels, x_together = self._channels(p.channels, x[1], p.in_dtype)
        g_channels, g_together = self._channels(p.filters, g[1], p.out_dtype)
        tables = (x_channels, g_channels, *self._image_offsets(x, g), *self._sources())
        x_images, g_images, x_rows, x_cols, g_rows, g_cols = (table.ctypes.data for table in tables[2:])
        (x_row, x_col), (g_row, g_col) = ((0, *(s[2 + a] for a in self.inner))[-2:] for s in (x, g))
        down, across = self.packed
        values = {
            "scratch_bytes": scratch, "groups": p.groups, "channels": self.channels, "filters": self.filters,
            "kernel_z": self.outer_taps, "kernel_y": self.taps[0], "kernel_x": self.taps[1],
            "images": self.images, "out_height": self.sizes[0], "out_width": self.sizes[1],
            "step_y": down.step, "step_x": across.step, "tap_y": down.tap, "tap_x": across.tap,
            "x_channels": x_channels.ctypes.data, "x_images": x_images, "x_rows": x_rows, "x_cols": x_cols,
            "x_row": x_row, "x_col": x_col, "x_together": x_together,
            "x_direct": self._direct(x, p.in_dtype), "x_code": DTYPE_CODES[_part(p.in_dtype)],
            "inner": across.inner, "inner_end": across.inner_end, "inner_step": across.spacing,
            "g_channels": g_channels.ctypes.data, "g_images": g_images, "g_rows": g_rows, "g_cols": g_cols,
            "g_row": g_row, "g_col": g_col, "g_together": g_together,
            "g_direct": self._direct(g, p.out_dtype), "g_code": DTYPE_CODES[_part(p.out_dtype)],
            "block_images": images, "block_rows": rows, "block_cols": cols,
            "unit_channels": unit_c, "unit_filters": unit_f, "n_parts": self.parts,
            "swapped": self.swapped, "joined": self.joined,
            "a_panel": starts[1], "b_panel": starts[2], "lines": starts[3], "row_of": starts[4],
            "a_pitch": a_pitch, "b_pitch": b_pitch, "line_pitch": line,
            "out_part": prod(self._sums_shape()) * self.itemsize, "out_filter": filter_step,
            "out_channel": channel_step, "out_z": outer_step, "out_tap": tap_step,
            "out_code": DTYPE_CODES[_part(p.kernel_dtype) if direct else self.part],
        }  # fmt: skip
        return Bound(record(WEIGHT_GRADIENT_FIELDS, values), self._units(unit_c, unit_f), scratch, (), tables), direct

    def _channels(self, channels: int, step: int, dtype: str) -> tuple[np.ndarray, bool]:
        """Byte offsets of the channels, or of their parts, and whether all lie next to each other."""
        size = part_size(dtype)
        offsets = np.arange(channels)[:, None] * step + np.arange(2 if dtype in PARTS else 1) * size
        offsets = np.ascontiguousarray(offsets.reshape(-1), np.int64)
        return offsets, bool((np.diff(offsets) == size).all())

    def _direct(self, steps: tuple[int, ...], dtype: str) -> bool:
        """Whether elements are those of the sums, and planes or pixels lie in memory without gaps between them."""
        col = steps[2 + self.inner[-1]]
        fitting = dtype == self.part and all(step % self.itemsize == 0 for step in steps)
        return fitting and self.itemsize in (col, steps[1])

    def _image_offsets(self, x: tuple[int, ...], g: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Byte offsets of images: of the input for each tap of the outer axes, BEYOND where it reads none; of the gradient."""
        p = self.problem.conv
        of_x, of_g = np.arange(p.batch)[None, :] * x[0], np.arange(p.batch) * g[0]
        inside = np.ones(of_x.shape, bool)
        for a in self.outer:
            taps, outputs = p.kernel_shape[a], p.out_shape[a]
            places = np.arange(outputs) * p.stride[a] + np.arange(taps)[:, None] * p.dilation[a] - p.pad[a]
            at = index_map(places, p.in_shape[a], p.boundary[a])[None, :, None, :]
            shape = (len(of_x) * taps, of_x.shape[1] * outputs)
            inside = (inside[:, None, :, None] & (at >= 0)).reshape(shape)
            of_x = (of_x[:, None, :, None] + at * x[2 + a]).reshape(shape)
            of_g = (of_g[:, None] + np.arange(outputs) * g[2 + a]).reshape(-1)
        return np.ascontiguousarray(np.where(inside, of_x, BEYOND), np.int64), np.ascontiguousarray(of_g, np.int64)

    def _sources(self) -> tuple[np.ndarray, ...]:
        """Which rows and columns stand at packed places: of the input, of the gradient."""
        return (*(packing.sources.astype(np.int64) for packing in self.packed), *(np.arange(n) for n in self.sizes))


def _joins(kernel_shape: tuple[int, ...], steps: tuple[int, ...], outer: list[int]) -> bool:
    """Whether the taps along the outer axes, and those along the others, are evenly spaced in C order."""
    for axes in (outer, [a for a in range(len(steps)) if a not in outer]):
        axes = [a for a in axes if kernel_shape[a] > 1]
        if any(steps[a] != kernel_shape[b] * steps[b] for a, b in pairwise(axes)):
            return False
    return True


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _odd(n: int, lanes: int) -> int:
    """At least `n`, an odd number of vectors: rows so far apart lie in different sets of the first cache."""
    return (-(-n // lanes) | 1) * lanes


def even(n: int, most: int, multiple: int = 1) -> int:
    """The size of the fewest equal parts of n, each of at most `most`, rounded up to a multiple."""
    most = max(most // multiple * multiple, multiple)
    return min(n, _up(-(-n // -(-n // most)), multiple))
