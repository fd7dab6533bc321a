"""Convolution of 8-bit numbers with 32-bit sums, or (`QuantizedProblem`) with sums that are scaled and rounded to 8 bits.

The kernel (`CONV8_FIELDS` of the contract) multiplies and adds as many neighbouring elements at once as processors can,
`engine.DOT` tells how many: of four bytes, those of the image are unsigned and those of the weights signed.  Elements of
other signs are moved by 128, and what that and the zero points add is taken from the sums: all of it is exact modulo 2**32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from math import gcd, prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import NO_AXIS, Axis, contiguous_strides, geometry, spatial_axes
from fastconv.algorithms.weights import aligned
from fastconv.engines.contract import CONV8_FIELDS, DTYPE_CODES, WEIGHTS8_FIELDS, record
from fastconv.problem import ConvProblem, QuantizedProblem
from fastconv.replay import constant, contiguous, kept_weights

__all__ = ["Conv8", "executor", "is_ready", "refuse"]

BYTES = {"uint8", "int8"}
# As many products of 8-bit numbers less their zero points have sums that 32 bits hold.
MOST_TAPS = (2**31 - 1) // 255**2
# Bytes that a unit stages, and of its results before they are transposed: they stay in the second cache.
UNIT_BYTES = 384 * 1024
UNITS_PER_THREAD = 4
# Groups of fewer filters leave most lanes empty, which pays only if their windows are deep.
FEW_FILTERS, DEEP = 4, 16
# Pixels of a tile of depthwise sums (DEPTH_ROWS of conv8.pxi).
DEPTH_ROWS = 14
# float32 rounds v = sum * scale + offset to the wrong integer only if v is as near to a half as this times |v| + |offset|:
# the sum, the scale, the product and the offset are rounded to 24 bits.
ROUNDING = 3.03 * 2.0**-24
# The same of results times 65536, whose halves are whole numbers: the relative error of scale, offset and result, and of sums
# beyond 2**24; a byte and a half; what 32 bits hold; what little would be left.
UNIT, MOST_RESULT, MOST_SCALED, MOST_NEAR = 1.01 * 2.0**-24, 257.5, 32000.0, 2**12
# Products of bytes, unsigned and signed ones, and of such as have zero points.
LARGEST_PRODUCT, LARGEST_DIFFERENCE = 255 * 128, 255 * 255


def refuse(problem: Any) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    p = problem.conv if isinstance(problem, QuantizedProblem) else problem
    if not isinstance(p, ConvProblem) or {p.in_dtype, p.kernel_dtype} - BYTES:
        return "is for 8-bit numbers"
    if p.ndim > 3:
        return "is for one to three spatial axes"
    if p is problem and (p.out_dtype not in ("int32", "uint32") or p.acc != "uint32" or p.saturate or p.exact):
        return "has sums of 32 bits"
    if p is not problem and p.channels // p.groups * prod(p.kernel_shape) > MOST_TAPS:
        return f"holds sums of up to {MOST_TAPS} products"
    if p is not problem and _is_depthwise(p):
        return None
    if p.filters // p.groups < FEW_FILTERS and p.channels // p.groups < DEEP:
        return f"is for at least {FEW_FILTERS} filters or {DEEP} channels a group"
    return None


def _is_depthwise(p: ConvProblem) -> bool:
    return 1 < p.groups == p.channels == p.filters


def _pixels_together(p: ConvProblem, lanes: int) -> int:
    """How many neighbouring pixels best fill the lanes of blocks with the channels of all of them."""
    width, channels = p.out_shape[-1], p.channels
    window = prod((k - 1) * d + 1 for k, d in zip(p.kernel_shape[:-1], p.dilation[:-1], strict=True))
    if p.stride[-1] > 1 or (window + 1) * (width + p.kernel_shape[-1] * p.dilation[-1]) * channels > UNIT_BYTES // 4:
        return 1
    return min((m for m in (1, 2, 4) if width % m == 0), key=lambda m: -(-m * channels // lanes) / m)


def is_ready(problem: Any, engine: Any) -> bool:
    """Whether the engine's kernels are compiled."""
    return engine.is_ready("conv8", "int32") and engine.is_ready("weights8", "int32")


def executor(problem: Any, engine: Any) -> Conv8:
    """The executor: planes have one of their own on engines that multiply four bytes at once, and read them in rows."""
    in_rows = engine.DOT[2] == 4 and getattr(engine, "DEPTHWISE_IN_PLACE", False)
    if in_rows and isinstance(problem, QuantizedProblem) and _is_depthwise(problem.conv):
        from fastconv.algorithms.depthwise8 import Depthwise8

        return Depthwise8(problem, engine)
    if in_rows and isinstance(problem, QuantizedProblem) and not problem.conv.channels_last:
        from fastconv.algorithms.panels8 import Panels8, takes

        if takes(problem.conv):
            return Panels8(problem, engine)
    return Conv8(problem, engine)


class Conv8:
    """Executes a `QuantizedProblem`, or a `ConvProblem` of bytes."""

    def __init__(self, problem: Any, engine: Any):
        self.problem = problem
        self.conv = p = problem.conv if isinstance(problem, QuantizedProblem) else problem
        self.rows, row_bytes, self.together = engine.DOT
        self.lanes, self.groups = row_bytes // 4, p.groups
        self.channels, self.filters = p.channels // p.groups, p.filters // p.groups
        self.taps = prod(p.kernel_shape)
        self.depth = self.channels * self.taps
        self.depthwise = problem is not p and _is_depthwise(p)
        if self.depthwise:  # one group, whose channels have windows of their own
            self.rows, self.lanes, self.groups = DEPTH_ROWS, self.together * row_bytes // 8, 1
            self.channels = self.filters = p.channels
        # Taps of 3x3 are packed column by column: columns are brought together once for three outputs.
        self.by_columns = self.depthwise and self.together == 4 and p.kernel_shape == (3, 3)
        self.merged = _pixels_together(p, self.lanes) if self.depthwise else 1
        self.blocks = self.groups * -(-self.filters * self.merged // self.lanes)
        self.kernel, self.pack = engine.kernel("conv8", "int32"), engine.kernel("weights8", "int32")
        # Elements moved by 128: those of four bytes that are not unsigned (image) or signed (weights).
        self.x_shift = -128 * (p.in_dtype == "int8")
        self.w_shift = 128 * (p.kernel_dtype == "uint8")
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)
        self._packing = lru_cache(maxsize=REMEMBERED)(self._new_packing)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        p = self.conv
        threads = costs.threads_worth_using(p.flops // 4, p.nbytes, threads)
        bound = self._bind(x.strides, out.strides, threads)
        base, scales, offsets, zeros, guard = self._constants(bias)
        filler, x_zero, shifts = int(fill), 0, zeros
        x_shift = filler
        if self.together == 4:
            x_shift, shifts = self.x_shift, np.full(p.filters, self.w_shift, np.int32)
            x_zero, zeros = filler - x_shift, zeros - shifts
            base = base + zeros * (self.depth * x_zero)
        else:
            zeros = 0 * zeros
        layout = self._layout(x.strides)
        weights = self._weights(w, layout, shifts, threads)
        lanes = [self._in_lanes(values) for values in (base.astype(np.int32), zeros.astype(np.int32), scales, offsets)]
        near = 0 if self.problem is p else self._near(base, scales, offsets, bool(zeros.any()))
        numbers = np.array([filler, x_shift, x_zero, zeros.any(), *self._limits(), 0, near], np.int32)
        numbers[7:8].view(np.float32)[0] = guard
        constants = np.concatenate([values.view(np.uint8) for values in lanes])
        if self.problem is not p or bias is None:
            constant(constants)  # of a bias that is an array of the call it is not
        run(self.kernel, bound, x, weights, out, constants, constant(numbers), threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        p = self.conv
        steps = _strides((p.batch, p.channels, *p.in_shape), p.in_dtype, p.channels_last)
        out_steps = _strides((p.batch, p.filters, *p.out_shape), p.out_dtype, p.channels_last)
        threads = costs.threads_worth_using(p.flops // 4, p.nbytes, threads)
        return self._bind(steps, out_steps, threads).scratch_bytes * threads

    def _limits(self) -> tuple[int, int, int]:
        """Zero point and range of the result."""
        if self.problem is self.conv:
            return 0, 0, 0
        return self.problem.zero_point, *self.problem.range

    def _constants(self, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
        """What sums begin with, int64; scales, offsets; zero points of the weights; the guard of roundings in float32."""
        n = self.conv.filters
        if self.problem is self.conv:
            base = np.zeros(n, np.int64) if bias is None else np.asarray(bias).astype(np.int64)
            return base, np.zeros(n), np.zeros(n), np.zeros(n, np.int64), 0.0
        scales, offsets, zeros = bias  # type: ignore[misc]
        base = np.zeros(n, np.int64)
        room = 2**31 - 1 - 255**2 * self.depth
        if (offsets == np.rint(offsets)).all() and np.abs(offsets).max() <= room:
            base, offsets = offsets.astype(np.int64), np.zeros(n)
        zero, low, high = self._limits()
        error = ROUNDING * (1 + max(zero - low, high - zero) + np.abs(offsets * scales).max())  # others are clamped
        guard = 0.5 - error if error < 0.05 and scales.min() > 1e-30 and scales.max() < 1e30 else -1.0
        return base, scales, offsets, zeros.astype(np.int64), guard

    def _near(self, base: np.ndarray, scales: np.ndarray, offsets: np.ndarray, zeros: bool) -> int:
        """In how many parts of 65536 float32 may err; 0 if 32 bits do not hold results times 65536, or these are clamped.

        `zeros`: whether weights have zero points.
        """
        zero, low, high = self._limits()
        offset = float(np.abs(offsets * scales).max()) + abs(zero) + 0.5
        largest = self.depth * (LARGEST_DIFFERENCE if zeros else LARGEST_PRODUCT) + float(np.abs(base).max())
        near = int(np.ceil(65536 * UNIT * (3 + (largest >= 2**24)) * (MOST_RESULT + offset) + 0.5))
        natural = (low, high) == ((0, 255) if self.problem.dtype == "uint8" else (-128, 127))
        fits = largest * scales.max() + offset < MOST_SCALED and scales.min() > 1e-30 and near < MOST_NEAR
        return near if natural and fits else 0

    def _in_lanes(self, values: np.ndarray) -> np.ndarray:
        """One for each filter, as lanes of blocks."""
        filters = self.filters * self.merged
        padded = np.tile(values, self.merged)
        if filters % self.lanes:
            padded = np.zeros((self.groups, self.blocks // self.groups * self.lanes), values.dtype)
            padded[:, :filters] = np.tile(values, self.merged).reshape(self.groups, -1)
        if self.depthwise:  # fours of channels as they come to lie by unpacking
            padded = padded.reshape(self.blocks, -1, self.together, 4).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(padded).reshape(-1)

    # -- weights ---------------------------------------------------------------------------

    def _weights(self, w: np.ndarray, layout: Layout, shifts: np.ndarray, threads: int) -> np.ndarray:
        index_of, bound = self._packing(layout.joined)

        def packed() -> np.ndarray:
            blocks = self.blocks + bool(self.depthwise)
            weights = aligned(blocks * (len(index_of) // self.together + 1) * self.lanes, "int32")
            each = contiguous(np.broadcast_to(w, (self.merged, *w.shape)))
            less = constant(np.tile(shifts.astype(np.int32), self.merged))
            run(self.pack, bound, each, None, weights, less, None, threads)
            return weights

        kept = kept_weights.get()
        return packed() if kept is None else kept.get((self.problem, layout.joined), w, packed)

    def _new_packing(self, joined: int) -> tuple[np.ndarray, Bound]:
        """Which weight of a filter is each element of its packed ones, -1: none; the record."""
        index = np.arange(self.taps).reshape(1, -1)
        if self.by_columns:
            index = index.reshape(3, 3).T
        if not self.depthwise:
            taps = np.arange(self.taps).reshape(-1, joined, 1)  # [run][tap of it][channel]
            index = (taps + np.arange(self.channels) * self.taps).reshape(len(taps), -1)
        missing = -index.shape[1] % self.together
        index_of = np.pad(index, ((0, 0), (0, missing)), constant_values=-1).reshape(-1).astype(np.int32)
        in_order = self.taps if joined == 1 and (self.taps == 1 or self.channels % 4 == 0) else 0
        values = {
            "scratch_bytes": 0, "filters": self.filters * self.merged, "depth": self.depth, "elements": len(index_of),
            "together": self.together, "taps": in_order, "depthwise": self.depthwise, "index_of": index_of.ctypes.data,
            "src_code": DTYPE_CODES[self.conv.kernel_dtype],
        }  # fmt: skip
        slots = record(WEIGHTS8_FIELDS, values)
        return index_of, Bound(slots, self.blocks, 0, (), (index_of,))

    # -- geometry --------------------------------------------------------------------------

    def _layout(self, x_strides: tuple[int, ...]) -> Layout:
        p = self.conv
        axes = spatial_axes(p, x_strides, (0,) * (p.ndim + 2))
        in_place = (
            self.together == 4 and not self.depthwise and p.in_dtype == "uint8" and x_strides[1] == 1
            and self.channels % 4 == 0 and all(axis.pad == 0 and axis.window <= axis.size for axis in axes)
        )  # fmt: skip
        return Layout(in_place, self._joined(in_place, x_strides))

    def _joined(self, in_place: bool, x_strides: tuple[int, ...]) -> int:
        """Taps of a row that are one run with their channels: fewer elements are added to fill four bytes."""
        p = self.conv
        step = gcd(p.stride[-1], p.dilation[-1]) if x_strides[1] == 1 else 1
        apart = self.depthwise or in_place or self.channels % self.together == 0 or p.dilation[-1] != step
        return 1 if apart else p.kernel_shape[-1]

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p = self.conv
        layout = self._layout(x_strides)
        images, z, y, x = _axes(p, x_strides, out_strides)
        size, out_size = 4 // self.together, np.dtype(p.out_dtype).itemsize
        turned = out_strides[1] != out_size or (self.merged > 1 and x.out_step != self.filters * out_size)
        channels = self.channels
        if layout.joined == 1 and not self.depthwise:
            channels = -(-channels // self.together) * self.together
        step_y = gcd(y.stride, y.dilation)
        step_x = gcd(x.stride, x.dilation) if x_strides[1] == 1 else 1
        joined = min(layout.joined, x.taps)

        def staged(rows: int, cols: int) -> tuple[int, int]:
            """Bytes of a staged row and of a plane."""
            row = (((cols - 1) * x.stride + (x.taps - 1) * x.dilation) // step_x + 1) * channels * size
            return row, (((rows - 1) * y.stride + (y.taps - 1) * y.dilation) // step_y + 1) * row

        def parts(rows: int, cols: int, filters: int) -> list[int]:
            """Bytes of the parts of the scratch memory: tile, a row before it is widened, what is staged, results, tables."""
            row, plane = (0, 0) if layout.in_place else staged(rows, cols)
            raw = row // size if self.together < 4 else 0
            tile = (2 * self.rows + 2 if self.depthwise else self.rows + 1) * self.lanes * 4
            sizes = tile, raw, z.taps * plane, turned * rows * cols * filters * out_size, 20 * rows * cols
            return [-(-(n + 64) // 64) * 64 for n in sizes]

        def fits(rows: int, cols: int) -> bool:
            read = staged(rows, cols)[1] * z.taps if layout.in_place else 0
            written = 0 if turned else rows * cols * self.filters * out_size  # a block of filters at a time
            return sum(parts(rows, cols, self.filters)) + read + written <= UNIT_BYTES

        row_units, col_units, chunks = _divide(y.out_size, x.out_size, fits, images.size * self.groups * z.out_size,
                                               -(-self.filters // self.lanes), threads)  # fmt: skip
        if self.merged > 1:
            col_units = chunks = 1
        rows, cols = -(-y.out_size // row_units), -(-x.out_size // col_units)
        row, plane = staged(rows, cols)
        filters = min(self.filters, -(-(self.filters // self.lanes) // chunks) * self.lanes + self.filters % self.lanes)
        places = np.cumsum([0, *parts(rows, cols, filters)]).tolist()
        tz, ty, tx = np.ogrid[: z.taps, : y.taps, : x.taps : joined]
        if layout.in_place:
            steps = z.dilation * z.x_step, y.dilation * y.x_step, x.dilation * x.x_step
        else:
            steps = plane, y.dilation // step_y * row, x.dilation // step_x * channels * size
        segment_of = np.ascontiguousarray((tz * steps[0] + ty * steps[1] + tx * steps[2]).reshape(-1), np.int64)
        run_length = joined * self.channels
        if self.depthwise:  # taps are multiplied together
            segments = segment_of.reshape(3, 3).T if self.by_columns else segment_of.reshape(1, -1)
            segment_of = np.pad(segments, ((0, 0), (0, -segments.shape[1] % self.together)), "edge").reshape(-1)
            run_length = self.taps
        maps = [axis.edges() for axis in (z, y, x)]
        values = {
            **geometry(p, y, x, maps[1], maps[2]),
            "scratch_bytes": places[-1],
            "depth": z.size, "x_plane": z.x_step, "out_depth": z.out_size, "out_plane": z.out_step,
            "kernel_z": z.taps, "stride_z": z.stride, "dilation_z": z.dilation, "pad_z": z.pad, "map_z": maps[0].ctypes.data,
            "groups": self.groups, "channels": self.channels, "filters": self.filters,
            "x_image": images.x_step, "out_image": images.out_step, "x_channel": x_strides[1], "out_channel": out_strides[1],
            "together": self.together, "depthwise": self.depthwise + self.by_columns, "merged": self.merged,
            "in_place": layout.in_place, "turned": turned,
            "n_row_units": row_units, "n_col_units": col_units, "n_chunks": chunks,
            "step_y": step_y, "step_x": step_x, "pixel": channels * size, "row": row, "plane": plane,
            "segment_of": segment_of.ctypes.data, "segments": len(segment_of), "run": run_length,
            "quads": -(-run_length // self.together),
            "raw": places[1], "staged": places[2], "box": places[3], "tables": places[4],
        }  # fmt: skip
        units = images.size * self.groups * z.out_size * row_units * col_units * chunks
        slots = record(CONV8_FIELDS, values)
        return Bound(slots, units, places[-1], (), (*maps, segment_of))


class Layout:
    """How windows are read: where the image lies or not, and how many taps of a row are one run."""

    def __init__(self, in_place: bool, joined: int):
        self.in_place, self.joined = in_place, joined


def _divide(
    height: int, width: int, fits: Callable[[int, int], bool], planes: int, blocks: int, threads: int
) -> tuple[int, int, int]:
    """Units along rows and columns of an output plane, and chunks of filters."""
    rows = next((n for n in range(1, height) if fits(-(-height // n), width)), height)
    cols = 1
    if rows == height:
        cols = next((n for n in range(1, width) if fits(1, -(-width // n))), width)
    wanted = UNITS_PER_THREAD * threads if threads > 1 else 1
    if planes * rows * cols < wanted:
        if height > 1:
            rows = min(height, max(rows, -(-wanted // planes)))
        else:
            cols = min(max(cols, -(-wanted // planes)), max(cols, width // 16))
    chunks = 1 if planes * rows * cols >= threads else min(blocks, -(-threads // (planes * rows * cols)))
    return rows, cols, chunks


def _axes(p: ConvProblem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> tuple[Axis, Axis, Axis, Axis]:
    """Images and three spatial axes; those that are not filtered are one with the last, if their pixels follow each other."""
    axes = [NO_AXIS] * (3 - p.ndim) + spatial_axes(p, x_strides, out_strides)
    images = Axis(p.batch, p.batch, 1, 1, 1, 0, "fill", x_strides[0], out_strides[0])
    *outer, x = [images, *axes]
    for i in (2, 1, 0):
        axis = outer[i]
        if axis.size == axis.out_size == axis.taps == 1 and axis.pad == 0:
            continue
        follows = (axis.x_step, axis.out_step) == (x.size * x.x_step, x.size * x.out_step)
        if not (follows and axis.untouched and x.untouched):
            break
        x = replace(x, size=x.size * axis.size, out_size=x.size * axis.size)
        outer[i] = NO_AXIS
    return outer[0], outer[1], outer[2], x


def _strides(shape: tuple[int, ...], dtype: str, channels_last: bool) -> tuple[int, ...]:
    if not channels_last:
        return contiguous_strides(shape, dtype)
    batch, *sizes, channels = contiguous_strides((shape[0], *shape[2:], shape[1]), dtype)
    return (batch, channels, *sizes)
