"""The direct filter over the samples that are not missing, with its sums scaled by the weight of those."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import Bound, kernel_types, refuse_types, run
from fastconv.algorithms.filter import Filter
from fastconv.algorithms.geometry import Axis, mostly_unread, part_size
from fastconv.engines.contract import DTYPE_CODES, FILTER_FIELDS, NORMALIZED_FIELDS, record
from fastconv.problem import NormalizedProblem

__all__ = ["Normalized", "is_ready", "refuse"]

# Patches: rows and bytes of a row (of a plane of one row), and the most scratch memory that a window may take.
# Next to nothing changes from 16 to 32 rows and from 1024 to 2048 bytes; the kernel calls for the next patch's memory.
PATCH_ROWS, PATCH_BYTES, LINE_BYTES, WINDOW_BYTES = 32, 1024, 4096, 256 * 1024
# Elements of a window that may be read beyond its end, and which parts of the scratch memory are a multiple of.
SPARE = 64
# Kernels of fewer taps are summed twice as fast as gaps are listed.
FEW_TAPS = 5


def refuse(problem: Any) -> str | None:
    """Why the normalized filter cannot do a problem, or None."""
    if not isinstance(problem, NormalizedProblem):
        return "is for convolutions of data with NaN"
    if problem.conv.acc not in ("float32", "float64"):
        return f"does not normalize sums in {problem.conv.acc}"
    if mostly_unread(problem.conv):
        return "stages windows whole, which large strides or dilations leave mostly unread"
    return refuse_types(problem.conv)


def is_ready(problem: NormalizedProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("normalized", *kernel_types(problem.conv))


class Normalized(Filter):
    """Executes a `NormalizedProblem` with an engine's normalized filter.

    Patches are staged always: there NaN is found and replaced while they are in cache.  Separate
    passes (isnan, where, two filters, divide) took 35 rather than 2.6 ms for 3x3 on 2048x2048 float32, two threads.
    """

    operation = "normalized"
    fields = NORMALIZED_FIELDS
    staged = True

    def __init__(self, problem: NormalizedProblem, engine: Any):
        self.renormalize, self.masked = problem.renormalize, problem.masked
        super().__init__(problem.conv, engine)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        x, mask = _alike(x, bias) if self.masked else (x, None)
        threads = costs.threads_worth_using(self.problem.flops, self.problem.nbytes, threads)
        bound = self._bind(x.strides, out.strides, threads)
        weights, copies = self._pack(w, bound.order)
        run(self.kernel, bound, x, weights, out, mask, self._constants(fill), threads, copies)

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        bound = super()._new_bound(x_strides, out_strides, threads)
        values = dict(zip(self.fields, bound.slots.tolist(), strict=True))
        values |= self._parts(values)
        tables = bound.tables
        if self.masked:
            steps = {name: values[name] // values["element"] for name in ("x_row", "x_col")}
            mask = record(self.fields, values | steps | {"src_code": DTYPE_CODES["uint8"]})
            tables, values["mask"] = (*tables, mask), mask.ctypes.data
        return replace(bound, slots=record(self.fields, values), scratch_bytes=values["scratch_bytes"], tables=tables)

    def _patch(self, y: Axis, x: Axis, *_: Any) -> tuple[int, int]:
        line = y.out_size == 1 and not self.problem.exact  # tiles that keep SciPy's order would pass the end of one row
        rows, row_bytes = self.engine.LINE if line else self.engine.TILE
        cols = row_bytes // self.itemsize
        down, across = 1 if line else PATCH_ROWS // rows, (LINE_BYTES if line else PATCH_BYTES) // row_bytes
        down, across = min(down, -(-y.out_size // rows)), min(across, -(-x.out_size // cols))

        def window(down: int, across: int) -> int:
            height = (down * rows - 1) * y.stride + (y.taps - 1) * y.dilation + 1
            return height * (across * cols * x.stride + (x.taps - 1) * x.dilation) * self.itemsize

        while across > 1 and window(down, across) > WINDOW_BYTES:
            across -= 1
        while down > 1 and window(down, across) > WINDOW_BYTES:
            down -= 1
        return down * rows, across * cols

    def _scratch_bytes(self, window: int, patch: int, taps: int) -> int:
        return 0  # `_parts` knows

    def _further_values(self) -> dict[str, int]:
        return dict.fromkeys(NORMALIZED_FIELDS[len(FILTER_FIELDS) :], 0)

    def _parts(self, g: dict[str, int]) -> dict[str, int]:
        """The slots that the filter's record does not have."""
        lanes = self.engine.TILE[1] // 2 // self.itemsize
        height = (g["patch_rows"] - 1) * g["stride_y"] + (g["kernel_y"] - 1) * g["dilation_y"] + 1
        window, patch = height * g["pitch"] + SPARE, g["patch_rows"] * g["patch_cols"]
        vectors = 1 - (-((g["kernel_x"] - 1) * g["dilation_x"]) // lanes)  # that a gap's weights lie in
        flipped_pitch, most_gaps = (vectors + 1) * lanes, 0
        if g["stride_y"] == g["stride_x"] == 1:
            most_gaps = self._most_gaps(g["kernel_y"], g["kernel_x"], vectors, patch, window, lanes)
        sizes = {
            "window": window, "valid": window, "sums": patch, "valid_sums": patch,
            "flipped": g["n_planes"] * g["kernel_y"] * flipped_pitch if most_gaps and self.renormalize else 0,
            "missing": g["patch_rows"] * (g["patch_cols"] + 2 * flipped_pitch) if most_gaps and self.renormalize else 0,
            "places": 8 * most_gaps // self.itemsize if self.renormalize else 0,
        }  # fmt: skip
        begins, at = {}, 0
        for name, size in sizes.items():
            begins[name] = at
            at += -(-size // SPARE) * SPARE
        del begins["window"]
        return begins | {
            "scratch_bytes": at * self.itemsize, "renormalize": self.renormalize, "most_gaps": most_gaps,
            "flipped_pitch": flipped_pitch, "mask": 0, "element": part_size(self.problem.in_dtype),
        }  # fmt: skip

    def _most_gaps(self, kernel_y: int, kernel_x: int, vectors: int, patch: int, window: int, lanes: int) -> int:
        """In how many places of a window NaN may be for sums over those to take less time than over all of it.

        A place takes about 20 cycles, and 3 for each vector of weights; a vector of the second sum half a cycle for
        each tap, besides staging a vector of validity, about 4.
        """
        if not self.renormalize:
            return 1  # nothing is listed
        if self.problem.exact or kernel_y * kernel_x < FEW_TAPS:
            return 0
        return int((patch * kernel_y * kernel_x / 2 + 4 * window) / lanes / (20 + 3 * vectors * kernel_y))


def _alike(x: np.ndarray, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """The arrays, or copies, such that the mask's bytes lie as the elements of `x` do."""
    mask = np.asarray(mask)
    mask = mask.view(np.uint8) if mask.dtype.itemsize == 1 else mask != 0
    if tuple(step * x.itemsize for step in mask.strides) != x.strides:
        x, mask = np.ascontiguousarray(x), np.ascontiguousarray(mask)
    return x, mask
