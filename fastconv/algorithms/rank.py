"""Rank filters: programs of minima and maxima for small windows, a sliding set of sorted places for large ones.

The kernels (`RANK_FIELDS` of the contract) make tiles of output planes.  Elements become keys,
signed integers in the elements' order (NaN above all numbers).  From small windows programs of
minima and maxima (`fastconv.algorithms.network`) select, on vectors of pixels; what they cost grows
with the number of taps and with the size of a key.  For large windows the keys of a tile are sorted
once, and the window becomes a set of places in that order, in which finding a rank is counting
bits: what a step along a row costs is the number of taps that leave and enter.  Of two values alone (bool)
it is enough to count the larger one.

References
----------
T. S. Huang, G. J. Yang, G. Y. Tang, "A fast two-dimensional median filtering algorithm", IEEE Trans.
Acoust. Speech Signal Process. 27 (1979) 13, doi:10.1109/TASSP.1979.1163188.
B. Weiss, "Fast median and bilateral filtering", ACM Trans. Graph. 25 (2006) 519, doi:10.1145/1141911.1141918.
"""

from __future__ import annotations

from functools import lru_cache
from math import log2, prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms import network
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import NO_AXIS, Axis, contiguous_strides
from fastconv.boundary import index_map
from fastconv.engines.contract import BEYOND, DTYPE_CODES, NUMBERS, RANK_BASES, RANK_FIELDS, record
from fastconv.problem import WindowProblem

__all__ = ["Rank", "even_part", "is_ready", "planes_of", "refuse"]

Steps = tuple[int, ...]

UNITS_PER_THREAD = 8
# Programs run on tiles of so many bytes across and rows down, and on blocks that keep their slots in the first cache.
TILE_BYTES, TILE_ROWS = 4096, 16
SLOT_BYTES, LEAST_BYTES, MOST_BYTES = 64 * 1024, 1024, 2048
# Tiles that a set follows: at least so many columns, and rows.
SET_COLS, SET_ROWS = 256, 16
# Axes shorter than this are not run along by programs if another one is longer.
SHORT = 16
# Nanoseconds: a minimum or maximum of 64 bytes; a step of the set (in one dimension and in more), a tap that it
# leaves and one that it enters, to sort an element by a byte of its key.
MINIMUM_NS, STEP_NS, TAP_NS, BYTE_NS = 0.65, (4.0, 17.0), 1.1, 0.8
# Programs for windows of more taps are not considered: making them takes long.
MOST_TAPS = 512
# Operations of `costs` that take a nanosecond.
OPERATIONS = 120


def refuse(problem: Any) -> str | None:
    """Why the rank kernels cannot do a problem, or None."""
    if not isinstance(problem, WindowProblem) or problem.kind != "rank":
        return "is for rank filters"
    for dtype in (problem.dtype, problem.out_dtype):
        if dtype not in NUMBERS:
            return f"does not read or write {dtype}"
    if problem.acc not in (problem.dtype, "float64"):
        return f"compares {problem.dtype} as itself or as float64, not as {problem.acc}"
    return None


def is_ready(problem: WindowProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("rank", _key(problem.acc))


class Rank:
    """Executes a `WindowProblem` of kind "rank" with an engine's kernel."""

    def __init__(self, problem: WindowProblem, engine: Any):
        self.problem = problem
        self.kernel = engine.kernel("rank", _key(problem.acc))
        self.size = np.dtype(problem.acc).itemsize
        inside = np.frombuffer(problem.footprint or bytes([1]) * prod(problem.window), bool)
        self.footprint = inside.reshape(problem.window)
        programs = _programs_ns(problem.taps, self.size * 128 / engine.TILE[1])
        following = _set_ns(self.footprint, self.size, problem.acc == "bool")
        self.by_programs = programs <= following
        self.ns = int(min(programs, following) * prod(problem.shape))
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)

    def __call__(self, x: np.ndarray, w: None, out: np.ndarray, bias: None, fill: Any, threads: int) -> None:
        threads = costs.threads_worth_using(self.ns * OPERATIONS, 0, threads)
        bound = self._bind(x.strides, out.strides, threads)
        run(self.kernel, bound, x, None, out, None, np.asarray(fill).astype(self.problem.acc), threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        p = self.problem
        threads = costs.threads_worth_using(self.ns * OPERATIONS, 0, threads)
        steps = contiguous_strides(p.shape, p.dtype), contiguous_strides(p.shape, p.out_dtype)
        return self._bind(*steps, threads).scratch_bytes * threads

    def _new_bound(self, x_steps: Steps, out_steps: Steps, threads: int) -> Bound:
        """The record for arrays of these strides."""
        p = self.problem
        columns = p.shape, p.shape, p.window, p.pad, p.boundary, x_steps, out_steps
        axes = [Axis(n, m, k, 1, 1, pad, rule, i, o) for n, m, k, pad, rule, i, o in zip(*columns, strict=True)]
        order = _order_for_programs(axes) if self.by_programs else _order_for_set(axes, self.footprint)
        lead = [axes[i] for i in order[:-2]]
        y, x = [NO_AXIS] * (2 - len(order)) + [axes[i] for i in order[-2:]]
        footprint = self.footprint.transpose(order).reshape((-1, y.taps, x.taps))
        src_planes, out_planes = planes_of(lead)

        make = self._by_programs if self.by_programs else self._by_set
        rows, cols = _tile(y, x, self.by_programs, self.size, len(out_planes), threads)
        values, tables, end = make(footprint, rows, cols)
        scratch_bytes = _rounded(end + (values["pitch"] + cols) * 16)
        map_y, map_x = y.edges(), x.edges()
        tables += (src_planes, out_planes, map_y, map_x)
        values |= {
            "scratch_bytes": scratch_bytes, "converted": end,
            "height": y.size, "width": x.size, "x_row": y.x_step, "x_col": x.x_step,
            "out_height": y.out_size, "out_width": x.out_size, "out_row": y.out_step, "out_col": x.out_step,
            "kernel_y": y.taps, "kernel_x": x.taps, "stride_y": 1, "stride_x": 1, "dilation_y": 1, "dilation_x": 1,
            "pad_y": y.pad, "pad_x": x.pad, "map_y": map_y.ctypes.data, "map_x": map_x.ctypes.data,
            "src_code": DTYPE_CODES[p.dtype], "out_code": DTYPE_CODES[p.out_dtype], "acc_code": DTYPE_CODES[p.acc],
            "src_planes": src_planes.ctypes.data, "out_planes": out_planes.ctypes.data, "n_planes": src_planes.shape[1],
            "tile_rows": rows, "tile_cols": cols, "n_down": -(-y.out_size // rows), "n_across": -(-x.out_size // cols),
            "rank": p.rank,
        }  # fmt: skip
        units = len(out_planes) * values["n_down"] * values["n_across"]
        return Bound(record(RANK_FIELDS, values), units, scratch_bytes, (), tables)

    def _by_programs(self, footprint: np.ndarray, rows: int, cols: int) -> tuple[dict[str, int], tuple, int]:
        """The slots of the record for programs, the tables they point to, and the end of their scratch memory."""
        planes, kernel_y, kernel_x = footprint.shape
        vector = 64 // self.size
        pitch = _rounded(_rounded(cols, vector) + kernel_x - 1, vector)
        staged_rows, height = rows + kernel_y - 1, planes * kernel_y
        plane, ky, kx = np.nonzero(footprint)
        taps = ((plane * staged_rows + ky) * pitch + kx).tolist()
        shared = len(taps) == footprint.size and height > 1 and kernel_x > 1
        if shared:
            programs = network.selection(height, kernel_x, self.problem.rank)
            sorted_row = {place: i * pitch for i, place in enumerate(sorted(programs.used))}
            sources = [("sorted", sorted_row.get(i, 0) + x) for x in range(kernel_x) for i in range(height)]
        else:
            programs = network.selection(1, len(taps), self.problem.rank)
            sorted_row, sources = {}, [("staged", tap) for tap in taps]
        slots = max(programs.columns.slots, programs.window.slots)
        block = max(SLOT_BYTES // (slots + 4) // 256 * 256, LEAST_BYTES) // self.size
        block = min(block, MOST_BYTES // self.size)
        window = _encoded(programs.window, sources, [("result", 0)], block)
        columns = np.empty((0, 5), np.int64)
        if shared:
            rows_in = [("staged", tap) for tap in taps[::kernel_x]]
            columns = _encoded(programs.columns, rows_in, [("sorted", row) for row in sorted_row.values()], block)
        sizes = {
            "staged": planes * staged_rows * pitch, "sorted": len(sorted_row) * pitch, "result": pitch,
            "slots": block * slots,
        }  # fmt: skip
        ends = np.cumsum([_rounded(n * self.size) for n in sizes.values()]).tolist()
        values = dict(zip(sizes, [0, *ends], strict=False)) | {
            "pitch": pitch, "block": block,
            "columns": columns.ctypes.data, "n_columns": len(columns), "window": window.ctypes.data, "n_window": len(window),
            **dict.fromkeys(("pairs", "counts", "places", "members", "taps", "n_taps", "leaving", "entering", "n_moving"), 0),
        }  # fmt: skip
        return values, (columns, window), ends[-1]

    def _by_set(self, footprint: np.ndarray, rows: int, cols: int) -> tuple[dict[str, int], tuple, int]:
        """The slots of the record for a set that follows the window, the tables, and the end of the scratch memory."""
        planes, kernel_y, kernel_x = footprint.shape
        pitch, staged_rows = cols + kernel_x - 1, rows + kernel_y - 1
        staged = planes * staged_rows * pitch

        def offsets(inside: np.ndarray) -> np.ndarray:
            plane, ky, kx = np.nonzero(inside)
            return (plane * staged_rows + ky) * pitch + kx

        # Taps that their neighbours in the row do not replace: relative to the window before the step.
        before, after = np.zeros_like(footprint), np.zeros_like(footprint)
        before[..., 1:], after[..., :-1] = footprint[..., :-1], footprint[..., 1:]
        taps, leaving, entering = offsets(footprint), offsets(footprint & ~before), offsets(footprint & ~after) + 1
        sizes = {
            "staged": staged * self.size, "pairs": 16 * staged, "counts": 4096, "places": 4 * staged,
            "members": staged // 8 + 16, "result": cols * self.size,
        }  # fmt: skip
        ends = np.cumsum([_rounded(n) for n in sizes.values()]).tolist()
        values = dict(zip(sizes, [0, *ends], strict=False)) | {
            "pitch": pitch, "taps": taps.ctypes.data, "n_taps": len(taps),
            "leaving": leaving.ctypes.data, "entering": entering.ctypes.data, "n_moving": len(leaving),
            **dict.fromkeys(("slots", "block", "sorted", "columns", "n_columns", "window", "n_window"), 0),
        }  # fmt: skip
        return values, (taps, leaving, entering), ends[-1]


def _key(dtype: str) -> str:
    """The integers that stand for elements."""
    return f"int{8 * np.dtype(dtype).itemsize}"


def _programs_ns(taps: int, vectors: float) -> float:
    """Estimated nanoseconds for a pixel of so many vectors; what Batcher's merges come to, less what is pruned."""
    return (1 + 0.28 * taps * log2(taps + 1) ** 2) * MINIMUM_NS * vectors / 64 if taps <= MOST_TAPS else float("inf")


def _moving(footprint: np.ndarray, axis: int) -> int:
    """Taps that enter, and that leave, when the window takes a step along an axis."""
    ahead = np.zeros_like(footprint)
    along = (slice(None),) * axis
    ahead[(*along, slice(None, -1))] = footprint[(*along, slice(1, None))]
    return int((footprint & ~ahead).sum())


def _set_ns(footprint: np.ndarray, size: int, of_bools: bool) -> float:
    """Estimated nanoseconds for a pixel of a set that follows the window, along the best axis."""
    if footprint.ndim == 0:
        return float("inf")
    moving = min(_moving(footprint, axis) for axis in range(footprint.ndim))
    if of_bools:  # a count follows the window
        return 0.5 + TAP_NS / 2 * moving
    lines = max(footprint.shape) == footprint.size
    step = STEP_NS[0] + 20 / footprint.size**0.5 if lines else STEP_NS[1]
    return step + TAP_NS * moving + BYTE_NS * min(size, 5) * (1 if lines else 2)


def _order_for_programs(axes: list[Axis]) -> list[int]:
    """Leading axes, rows, columns: the last axis, unless it is short and another is long, makes the columns."""
    places = list(range(len(axes)))
    if not axes:
        return places
    x = places[-1]
    if axes[x].size < SHORT:
        longest = max(places, key=lambda i: axes[i].size)
        x = longest if axes[longest].size > 4 * axes[x].size else x
    return sorted((i for i in places if i != x), key=lambda i: axes[i].taps > 1) + [x]


def _order_for_set(axes: list[Axis], footprint: np.ndarray) -> list[int]:
    """Leading axes, rows, columns: fewest taps move along the columns, most of the others are in a column."""
    places = list(range(len(axes)))
    x = min(reversed(places), key=lambda i: _moving(footprint, i))
    return sorted((i for i in places if i != x), key=lambda i: axes[i].taps) + [x]


def planes_of(lead: list[Axis]) -> tuple[np.ndarray, np.ndarray]:
    """Byte offsets of the source planes of each output plane, and of the output planes."""
    source, out = np.zeros((1, 1), np.int64), np.zeros(1, np.int64)
    beyond = np.zeros((1, 1), bool)
    for axis in lead:
        index = index_map(np.arange(axis.size)[:, None] + np.arange(axis.taps) - axis.pad, axis.size, axis.rule)
        shape = len(out) * axis.size, -1
        source = (source[:, None, :, None] + (index * axis.x_step)[:, None]).reshape(shape)
        beyond = (beyond[:, None, :, None] | (index < 0)[:, None]).reshape(shape)
        out = (out[:, None] + np.arange(axis.size) * axis.out_step).reshape(-1)
    return np.where(beyond, BEYOND, source), out


def _tile(y: Axis, x: Axis, by_programs: bool, size: int, planes: int, threads: int) -> tuple[int, int]:
    """Rows and columns of a unit: enough units for the threads, but large enough that their halos cost little."""
    if by_programs:
        rows, cols = TILE_ROWS, TILE_BYTES // size
    else:
        rows, cols = max(SET_ROWS, y.taps), max(SET_COLS, 2 * x.taps)
    cols = even_part(x.size, cols if y.size > 1 else 4 * cols)
    rows = even_part(y.size, rows)
    wanted = threads * UNITS_PER_THREAD if threads > 1 else 1

    def units() -> int:
        return planes * -(-y.size // rows) * -(-x.size // cols)

    while units() < wanted and rows >= max(8, y.taps):
        rows = -(-rows // 2)
    while units() < wanted and cols >= max(512, 8 * x.taps):
        cols = -(-cols // 2)
    return rows, cols


def even_part(size: int, most: int) -> int:
    """Parts of about equal size, none larger than `most`."""
    return -(-size // -(-size // most))


def _encoded(
    program: network.Program, sources: list[tuple[str, int]], results: list[tuple[str, int]], block: int
) -> np.ndarray:
    """Instructions as the kernel reads them: an operation and four operands, each ``offset * 4 + base``."""

    def operand(kind: int, number: int) -> int:
        if kind == network.SLOT:
            return number * block * 4 + RANK_BASES["slots"]
        base, offset = (sources if kind == network.SOURCE else results)[number]
        return offset * 4 + RANK_BASES[base]

    rows = [
        [i.operation, operand(*i.a), operand(*i.b), operand(*i.low), operand(*i.high)] for i in program.instructions
    ]
    return np.array(rows, np.int64)


def _rounded(n: int, to: int = 64) -> int:
    return -(-n // to) * to
