"""Pooling: windows folded over their rows, then over their columns.

The kernels (`POOL_FIELDS` of the contract) pool planes of pixels.  Which axis makes the
pixels follows from the strides and not from the layout's name: where the channels lie next
to each other in memory, a pixel is all of them, else each channel has a plane of its own.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import isinf, prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.pool_windows import (
    EXACT_DIVISOR,
    VECTOR,
    PoolWindows,
    columns_of_blocks,
    common_divisor,
    counts_of_columns,
    has_gaps,
    is_packed,
    layout_steps,
    lookup,
    narrow_table,
    pixels,
    regular,
    scratch_parts,
    taps_in_place,
    windows_of,
)
from fastconv.engines.contract import DTYPE_CODES, HALVES, NUMBERS, POOL_FIELDS, POOL_STAGING, record, slope_bits
from fastconv.problem import PoolGradientProblem, PoolProblem, RegionPoolProblem
from fastconv.problem.pooling import itemsize
from fastconv.replay import constant, copy_into

__all__ = ["Pool", "is_ready", "refuse"]

Problem = PoolProblem | RegionPoolProblem | PoolGradientProblem
Steps = tuple[int, ...]

UNITS_PER_THREAD = 8
# A row is folded in blocks that stay in the innermost cache.
BLOCK_BYTES = 8192
# Windows of at most so many taps, of pixels of at least so many bytes, are folded where they lie.
WINDOW_TAPS = 16
WINDOW_BYTES = 64
# Windows of planes of at most so many taps are folded in registers.
PLANE_TAPS = 49
# Gradients of averages of planes are added and spread in registers where windows have so many taps, rows and columns.
SPREAD_TAPS, SPREAD_ROWS, SPREAD_COLUMNS = 8, 32, 65536
# Kinds of staging without scratch memory.
REGISTERS = ("planes", "small", "lines", "pixels", "narrow")
# Input and output of at least so many bytes are more than the caches hold: the output is written past them, rows of up to
# so many bytes.  3x3 windows of 8x64 planes of 112x112: 1.4 ms rather than 1.9, of 32x64: 4.4 rather than 8.1.
STREAM_BEYOND, STREAM_ROW, LINE = 24 << 20, 16384, 64
# Elements that the scan for indices takes at once.
SCANNED = 16


def refuse(problem: Any) -> str | None:
    """Why the pooling kernels cannot do a problem, or None."""
    if not isinstance(problem, Problem):
        return "is for pooling"
    pool = _pooling(problem)
    if len(pool.in_shape) > 3:
        return f"pools images of at most three axes, not {len(pool.in_shape)}"
    if pool.dtype not in (*NUMBERS, *HALVES) or (pool.kind == "avg" and pool.dtype == "bool"):
        return f"does not {pool.kind} pool {pool.dtype}"
    if (pool.kind == "lp" or problem is not pool) and pool.dtype not in ("float32", "float64", *HALVES):
        return f"does not sum powers or gradients of {pool.dtype}"
    if isinstance(pool, PoolProblem) and isinf(pool.power):
        return "does not raise to infinite powers"
    if problem is not pool and pool.kind != "avg":
        return "is for gradients of averages"
    if isinstance(pool, PoolProblem) and pool.kind != "max" and max(pool.dilation) > 1:
        return "does not average windows with gaps (dilation)"
    if pool.indices and _window_places(pool) > np.iinfo(np.int32).max:
        return "counts the positions in a window's rows in 32 bits"
    return None


def _pooling(problem: Problem) -> PoolProblem | RegionPoolProblem:
    return problem.pool if isinstance(problem, PoolGradientProblem) else problem


def _window_places(p: PoolProblem | RegionPoolProblem) -> int:
    """Positions from the first row of a window to the end of the last."""
    if not isinstance(p, PoolProblem):
        return prod(p.in_shape)
    spans = ((k - 1) * d + 1 for k, d in zip(p.kernel_shape, p.dilation, strict=True))
    return prod((min(p.in_shape[0], next(spans)), *p.in_shape[1:]))


def _kernel_of(problem: Problem) -> tuple[str, str, str]:
    """Operation, dtype and variant: the bits that sums of a window's integers need."""
    p = _pooling(problem)
    dtype = "float32" if p.dtype in HALVES else p.dtype
    if p.kind == "max":
        return "max_pool_indices" if p.indices else "max_pool", dtype, ""
    if dtype[:5] == "float":
        return "avg_pool", dtype, ""
    taps = p.kernel_shape if isinstance(p, PoolProblem) else [int(table[:, 1].max(initial=1)) for table in p.windows]
    bits = 8 * itemsize(dtype) + prod(taps).bit_length()  # and a sign
    return "avg_pool", dtype, "16" if bits < 16 else "32" if bits < 32 else "64"


def is_ready(problem: Problem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready(*_kernel_of(problem))


class Pool:
    """Executes a pooling problem with an engine's kernel."""

    def __init__(self, problem: Problem, engine: Any):
        self.problem = regular(problem)
        self.pool = p = _pooling(self.problem)
        self.engine, self.kernel = engine, engine.kernel(*_kernel_of(problem))
        self.size = itemsize(p.dtype)
        integers = p.kind == "avg" and p.dtype[:5] != "float" and p.dtype not in HALVES
        self.acc_size = 8 if integers else max(self.size, 4) if p.dtype in HALVES else self.size
        # Elements that are folded as they are, and those that are converted, raised to powers or weighed first.
        self.plain = self.acc_size == self.size and p.kind != "lp" and p is self.problem
        self.prepared = not self.plain and not integers
        self.sums = p.kind != "max" and not integers
        self.fractional = isinstance(p, RegionPoolProblem) and bool(p.kernel_shape)
        if self.fractional:  # the windows of a plane, but for where they begin
            missing = 3 - len(p.in_shape)
            self.table = np.ones((missing + sum(p.out_shape), 4), np.int64)
            self.table[:missing, 0], self.table[missing:, 1] = 0, np.repeat(p.kernel_shape, p.out_shape)
        self._flops, self._nbytes = problem.flops, problem.nbytes
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)

    def __call__(
        self, x: np.ndarray, indices: np.ndarray | None, out: np.ndarray, starts: np.ndarray | None, fill: Any, threads: int
    ) -> None:  # fmt: skip
        if self.sums and not (out.flags.c_contiguous or np.moveaxis(out, 1, -1).flags.c_contiguous):
            axis = -1 if self.pool.channels_last else 1
            shape = np.moveaxis(out, 1, axis).shape  # kernels for results with gaps would round sums otherwise
            dense = np.moveaxis(np.empty(shape, out.dtype), axis, 1)
            self(x, None, dense, starts, fill, threads)
            copy_into(out, dense)
            return
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        bound = self._bind(x.strides, out.strides, () if indices is None else indices.strides, threads)
        tables = None if starts is None else self._tables_of_planes(starts)
        writes = (out,) if indices is None else (out, indices)
        run(self.kernel, bound, x, indices, out, tables, None, threads, writes=writes)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        p = self.pool
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        shapes = (p.in_shape, p.out_shape) if p is self.problem else (p.out_shape, p.in_shape)
        x, out = (layout_steps(p, shape, self.size) for shape in shapes)
        idx = layout_steps(p, p.out_shape, 8) if p.indices else ()
        return self._bind(x, out, idx, threads).scratch_bytes * threads

    def _tables_of_planes(self, starts: np.ndarray) -> np.ndarray:
        """The tables of windows of each plane, from where they begin: those of planes, of rows, of columns."""
        planes, windows = starts.shape[0] * starts.shape[1], starts.shape[2]
        tables = np.empty((planes, *self.table.shape), np.int64)
        copy_into(tables, constant(self.table))
        copy_into(tables[:, -windows:, 0], starts.reshape(planes, windows))
        return tables

    def _new_bound(self, x: Steps, out: Steps, idx: Steps, threads: int) -> Bound:
        """The record for arrays of these strides."""
        p, size = self.pool, self.size
        one_pixel = (
            prod(p.in_shape if p is self.problem else p.out_shape) == 1
        )  # of which any layout has the channels together
        lanes = p.channels if (out if one_pixel else x)[1] == size and not self.fractional else 1
        w = windows_of(self.problem, lanes, x, collapses=self.plain)
        channels = p.channels // lanes // max(w.collapsed, 1)
        idx = idx or (0,) * len(x)
        x, out, idx = (pixels(w.steps(steps, outputs=i > 0), lanes) for i, steps in enumerate((x, out, idx)))
        staging = "staged" if self.prepared else _staging(p, w, lanes, x, size)
        packed = is_packed(out, lanes, size) and (not p.indices or is_packed(idx, lanes, 8))
        if staging == "flat" and packed and lanes == 1 and self._fits_registers(w):
            staging = "planes"
        height = (p.stride[-2:-1] or (1,), p.pad[-2:-1] or (0,)) if isinstance(p, PoolProblem) else ((1,), (0,))
        if packed and self._fits_pixels(w, x, lanes):
            staging = "pixels"
        divisor = common_divisor(self.pool, w, self.fractional) if p is self.problem else -1
        narrow = self._narrow(w, x, out, divisor) if lanes == 1 else None
        small = self._small(w, x, (out, idx) if p.indices else (out,)) if lanes == 1 and narrow is None else None
        if narrow is not None:
            staging = "narrow"
        elif small is not None:
            staging = "small"
        elif lanes == 1 and packed and is_packed(x, 1, size) and not p.indices:
            small = self._lines(w, divisor)
            staging = "lines" if small is not None else staging
        in_registers = narrow is not None or small is not None
        spread = self._spread(w) if lanes == 1 and is_packed(x, 1, size) and not in_registers else None
        if spread is not None:
            staging = "planes"
        store_direct = packed and p.dtype not in HALVES and spread is None

        block = w.out_shape[2]
        if not w.collapsed:
            block = _block(w, lanes * self.acc_size) if w.stride_x else self._varying_block(w, lanes)
        cols, phase, col_of = columns_of_blocks(w, lanes, block, self.fractional)
        if spread is not None:
            cols, block, (phase, col_of) = w.in_shape[2], w.out_shape[2], spread
        elif narrow is not None:
            block, phase, col_of = narrow
            divisor = divisor if divisor <= EXACT_DIVISOR else 0  # the table has larger ones
        elif small is not None:
            block, (phase, col_of) = prod(w.in_shape), small
        elif staging == "planes":
            col_of = counts_of_columns(self.pool, w, divisor)
        in_place = (
            not w.stride_x
            and staging == "flat"
            and self.plain
            and lanes == 1
            and (p.indices or prod(w.kernel[:2]) == 1)
        )
        pitch = -(-lanes // SCANNED) * SCANNED if p.indices and not w.stride_x and lanes > 1 else lanes
        parts, scratch_bytes = scratch_parts({
            "folded": (max(cols * lanes, 2 * phase) + VECTOR) * self.acc_size
            * (spread is not None or (staging in ("flat", "staged", "gather") and not in_place
                                      and (w.stride_x <= 1 or staging != "gather"))),
            "phases": (max(2, min(w.stride_x, (w.kernel[2] - 1) * w.dilation[2] + 1)) * phase + VECTOR) * self.acc_size
            * (staging not in ("windows", *REGISTERS) and w.stride_x > 1),
            "gathered": (max(cols * lanes, phase) + VECTOR) * self.acc_size * (staging in ("gather", "staged")),
            "result": (block * pitch + VECTOR) * self.acc_size * (staging not in REGISTERS and (p.kind != "max" or p.indices)),
            "places": (block * pitch + VECTOR) * 8 * (p.indices and staging not in REGISTERS),
            "stored": (block * lanes + VECTOR) * (8 if p.indices else self.acc_size) * (not store_direct),
        })  # fmt: skip
        rows = p.batch * channels * w.out_shape[0] * w.out_shape[1]
        strip = -(-rows // (threads * UNITS_PER_THREAD)) if threads > 1 else rows
        if staging in ("small", "narrow"):  # whole planes
            strip = -(-strip // (w.out_shape[0] * w.out_shape[1])) * (w.out_shape[0] * w.out_shape[1])
        stream = p is self.problem and p.nbytes >= STREAM_BEYOND
        if staging == "pixels":
            stream = stream and all(step % LINE == 0 for step in out[:-1])
        else:
            dense = not has_gaps(out, (p.batch, channels, *w.out_shape), size)
            stream = stream and staging == "planes" and not p.indices and dense and w.out_shape[2] * size <= STREAM_ROW
        row_of, window_of = taps_in_place(w, x, staging)
        kept = (row_of, window_of, col_of, *w.tables, *([] if w.weights is None else [w.weights]))
        values = {
            "scratch_bytes": scratch_bytes, **parts,
            "dtype": DTYPE_CODES["float32" if p.dtype in HALVES else p.dtype], "src_code": DTYPE_CODES[p.dtype],
            "power": slope_bits(p.power) if isinstance(p, PoolProblem) else 0,
            "batch": p.batch, "channels": channels, "lanes": lanes, "height": w.in_shape[1], "width": w.in_shape[2],
            "rows": w.kernel[0] * w.kernel[1], "kernel_x": w.kernel[2], "stride_x": w.stride_x, "pad_x": w.pad_x,
            "stride_y": height[0][0], "pad_y": height[1][0],
            **dict(zip(("out_depth", "out_height", "out_width"), w.out_shape, strict=True)),
            **dict(zip(("dilation_z", "dilation_y", "dilation_x"), w.dilation, strict=True)),
            **_steps("x", x), **_steps("out", out), **_steps("idx", idx),
            "staging": POOL_STAGING[staging], "store_direct": store_direct, "block": block, "strip": strip,
            "divisor": divisor,
            **self._tables(w), "weights": 0 if w.weights is None else w.weights.ctypes.data,
            "row_of": row_of.ctypes.data, "window_of": window_of.ctypes.data, "col_of": col_of.ctypes.data if col_of.size else 0,
            "phase": phase, "stream": stream,
        }  # fmt: skip
        return Bound(record(POOL_FIELDS, values), -(-rows // strip), scratch_bytes, (), kept)

    @property
    def _vector(self) -> int:
        """Bytes of a vector of an engine that folds planes in registers, 0 of others."""
        return self.engine.TILE[1] // 2 if getattr(self.engine, "PLANES_IN_REGISTERS", False) else 0

    def _spread(self, w: PoolWindows) -> tuple[int, np.ndarray] | None:
        """Of a gradient of planes whose windows are small, how many taps they have, and the table of what vectors read.

        See `pool_convert.h`; the vectors are those of the engine that has such a kernel.
        """
        if w.weights is None or not self._vector or self.pool.dtype in HALVES:
            return None
        lanes, (first, taps) = self._vector // self.size, w.tables[2][:, :2].T
        count, most = len(first), int(taps.max(initial=1))
        blocks = -(-count // lanes)
        if most > SPREAD_TAPS or prod(w.kernel[:2]) > SPREAD_ROWS or max(count, w.in_shape[2]) > SPREAD_COLUMNS:
            return None
        first = np.concatenate([first, np.full(blocks * lanes - count, first[-1])]).reshape(blocks, 1, lanes)
        taps = np.concatenate([taps, np.zeros(blocks * lanes - count, np.int64)]).reshape(blocks, 1, lanes)
        base = first[:, :, :1]
        tap = np.arange(most)[:, None]
        at = np.where(tap < taps, first + tap - base, 0)
        if at.max() >= 2 * lanes:
            return None
        kind = np.int32 if self.size == 4 else np.int64
        vectors = np.stack([at, np.where(tap < taps, -1, 0)], 2).astype(kind)
        rows = np.concatenate([base.reshape(blocks, 1).view(np.uint8), vectors.reshape(blocks, -1).view(np.uint8)], 1)
        return most, np.ascontiguousarray(rows)

    def _small(self, w: PoolWindows, x: Steps, results: tuple[Steps, ...]) -> tuple[int, np.ndarray] | None:
        """Of planes that the engine can hold in registers, and that lie without gaps, `lookup`'s taps."""
        fits = self.plain or w.weights is not None
        if self.pool.dtype not in ("float32", "float64") or not fits or self.fractional or w.collapsed:
            return None
        sizes = [
            (x, w.in_shape, self.size),
            *((at, w.out_shape, each) for at, each in zip(results, (self.size, 8), strict=False)),
        ]
        gaps = any(has_gaps(at[2:], shape, each) for at, shape, each in sizes)
        if gaps or not self._vector:
            return None
        return lookup(w, self._vector // self.size, self.size, self.pool.kind, self.pool.divisor)

    def _narrow(self, w: PoolWindows, x: Steps, out: Steps, divisor: int) -> tuple[int, int, np.ndarray] | None:
        """`narrow_table` of planes whose rows fit into a vector of the engine's, and that more than two such hold."""
        lanes = self._vector // self.size
        p = self.problem
        plain = isinstance(p, PoolProblem) and p.dtype == "float32" and p.kind != "lp" and not p.indices
        gaps = has_gaps(x[2:], w.in_shape, self.size) or has_gaps(out[2:], w.out_shape, self.size)
        if not plain or gaps or w.collapsed or prod(w.in_shape) < 2 * lanes:
            return None
        return narrow_table(w, lanes, self.pool.kind, divisor)

    def _lines(self, w: PoolWindows, divisor: int) -> tuple[int, np.ndarray] | None:
        """Of windows of one plane whose rows the engine can hold in registers, `lookup`'s taps of columns."""
        fits = (self.plain and w.stride_x == 0) or w.weights is not None
        one = w.kernel[0] == w.dilation[1] == 1 and not self.fractional and not w.collapsed
        floats = self.pool.dtype in ("float32", "float64") and self._vector > 0
        some = [(table[:, 1] > 0).all() for table in w.tables[: 2 if w.weights is None else 1]]
        if not (fits and one and floats and all(some)):
            return None
        weights = w.weights
        if weights is not None:
            weights = np.concatenate([[1.0], weights[w.in_shape[1] :][: w.in_shape[2]], [1.0]])
        width, outputs, taps = ((1, 1, shape[2]) for shape in (w.in_shape, w.out_shape, w.kernel))
        one_row = np.array([[0, 1, 1, 1]])
        columns = replace(
            w, in_shape=width, out_shape=outputs, kernel=taps, tables=(one_row, one_row, w.tables[2]), weights=weights
        )
        return lookup(columns, self._vector // self.size, self.size, self.pool.kind, divisor)

    def _fits_registers(self, w: PoolWindows) -> bool:
        """Whether windows are small, none is empty, and the engine folds such in registers."""
        p = self.problem
        lanes = self._vector // self.size
        small = prod(w.kernel) <= PLANE_TAPS and w.stride_x in (1, 2) and w.dilation[2] == 1 and w.kernel[2] > 1
        near = w.pad_x <= lanes and w.kernel[2] - 1 - w.pad_x <= lanes
        if self.pool.indices:  # rows are scanned one by one, and their positions counted in 32 bits
            small = small and w.kernel[0] == w.dilation[1] == 1 and prod(w.in_shape[1:]) <= np.iinfo(np.int32).max
        plain = isinstance(p, PoolProblem) and p.dtype in ("float32", "float64")
        return plain and small and near and all((table[:, 1] > 0).all() for table in w.tables)

    def _fits_pixels(self, w: PoolWindows, x: Steps, lanes: int) -> bool:
        """Whether pixels have a vector of channels, windows are small and regular, none is empty, and the engine has a kernel."""
        p, vector = self.problem, self._vector
        if not vector or lanes * self.size < vector or not is_packed(x, lanes, self.size):
            return False
        plain = (
            isinstance(p, PoolProblem) and p.dtype in ("float32", "float64") and self.plain and not self.pool.indices
        )
        small = prod(w.kernel) <= WINDOW_TAPS and w.kernel[0] == w.dilation[1] == w.dilation[2] == 1 and w.stride_x > 0
        return plain and small and w.kernel[2] > 1 and all((table[:, 1] > 0).all() for table in w.tables)

    def _varying_block(self, w: PoolWindows, lanes: int) -> int:
        """Outputs whose windows, one after the other, fit into a block; all where each plane has its own."""
        windows, count = w.tables[2], w.out_shape[2]
        ends = windows[:, 0] + windows[:, 1]
        block = count
        while block > 1 and not self.fractional:
            spans = ends[block - 1 :: block] - windows[: count - block + 1 : block, 0]
            if spans.max(initial=0) * lanes * self.acc_size <= BLOCK_BYTES:
                break
            block = -(-block // 2)
        return block

    def _tables(self, w: PoolWindows) -> dict[str, int]:
        """Where the tables of windows are: addresses, or places in the tables of a plane."""
        names = ("windows_z", "windows_y", "windows_x")
        if not self.fractional:
            return {**{name: t.ctypes.data for name, t in zip(names, w.tables, strict=True)}, "window_step": 0}
        ends = [32 * sum(w.out_shape[:i]) for i in range(4)]
        return {**dict(zip(names, ends[:3], strict=True)), "window_step": ends[3]}


def _staging(p: PoolProblem | RegionPoolProblem, w: PoolWindows, lanes: int, x: Steps, size: int) -> str:
    """How the input is read; see `POOL_STAGING`."""
    span = (w.kernel[2] - 1) * w.dilation[2] + 1
    packed = is_packed(x, lanes, size) or (w.in_shape[2] == 1 and (lanes == 1 or x[5] == size))
    many_lanes = lanes > 1 and x[5] == size and lanes * size >= WINDOW_BYTES and (not p.indices or lanes % SCANNED == 0)
    apart = not w.stride_x or w.stride_x >= span
    if many_lanes and (prod(w.kernel) <= WINDOW_TAPS or apart) and not (packed and w.stride_x == 1 and not p.indices):
        return "windows"
    # A stride that skips most columns is better followed than read across.
    return "flat" if packed and w.stride_x <= 4 * span else "gather"


def _block(w: PoolWindows, pixel_bytes: int) -> int:
    """Output pixels made at once: as many as fit, but enough that blocks overlap little."""
    span = (w.kernel[2] - 1) * w.dilation[2] + 1
    fitting = BLOCK_BYTES // (w.stride_x * pixel_bytes)
    return min(w.out_shape[2], max(fitting, span // w.stride_x, 8))


def _steps(name: str, steps: Steps) -> dict[str, int]:
    return {f"{name}_{axis}": step for axis, step in zip(("n", "c", "z", "row", "col", "lane"), steps, strict=True)}
