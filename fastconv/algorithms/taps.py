"""Maxima and minima over footprints and structures of any number of axes.

Two axes make the rows and columns of planes; along the other axes that have a window, taps lie
in further source planes, as in `fastconv.algorithms.filter`.  Every tap is a flat loop over a
staged tile, three or four taps at a time.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import contiguous_strides
from fastconv.algorithms.tiling import (
    MOST_SOURCES,
    SLACK,
    Tiles,
    arrange,
    offsets,
    pass_slots,
    tile_shape,
    tiling,
    window_axes,
)
from fastconv.boundary import index_map
from fastconv.engines.contract import BEYOND, NUMBERS, TAPS_FIELDS, record
from fastconv.problem import WindowProblem

__all__ = ["Taps", "is_ready", "refuse"]


def refuse(problem: Any) -> str | None:
    """Why a footprint's taps cannot be folded one by one, or None."""
    if not isinstance(problem, WindowProblem):
        return "is for moving windows"
    if problem.kind not in ("max", "min"):
        return "is for maxima and minima"
    if not {problem.dtype, problem.out_dtype} <= set(NUMBERS) or problem.acc not in NUMBERS:
        return f"does not read {problem.dtype}, compare {problem.acc} and write {problem.out_dtype}"
    if problem.structure and problem.acc != "float64":
        return "adds structures in float64"
    return None


def is_ready(problem: WindowProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("taps", *_kernel_of(problem))


def _kernel_of(p: WindowProblem) -> tuple[str, str]:
    return "uint8" if p.acc == "bool" else p.acc, p.kind + "-raised" * p.structure


class Taps:
    """Executes a `WindowProblem` of maxima or minima, tap by tap."""

    def __init__(self, problem: WindowProblem, engine: Any):
        self.problem = problem
        self.acc, variant = _kernel_of(problem)
        self.itemsize = np.dtype(self.acc).itemsize
        self.kernel = engine.kernel("taps", self.acc, variant)
        footprint = np.frombuffer(problem.footprint or bytes([1]) * prod(problem.window), bool)
        self.taps = np.argwhere(footprint.reshape(problem.window))
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)

    def __call__(
        self, x: np.ndarray, structure: np.ndarray | None, out: np.ndarray, bias: None, fill: Any, threads: int
    ) -> None:
        bound, added = self._bind(x.strides, out.strides, self._threads(threads))
        raised = None
        if structure is not None:
            raised = np.append(structure[tuple(self.taps.T)].astype(np.float64), 0)[added]  # the last: what is folded
        fills = np.asarray(fill).astype(self.acc)
        run(self.kernel, bound, x, raised, out, None, fills, self._threads(threads))

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        p, threads = self.problem, self._threads(threads)
        steps = contiguous_strides(p.shape, p.dtype), contiguous_strides(p.shape, p.out_dtype)
        return self._bind(*steps, threads)[0].scratch_bytes * threads

    def _threads(self, threads: int) -> int:
        p = self.problem
        return costs.threads_worth_using(2 * self.itemsize * p.flops, p.nbytes, threads)

    def _new_bound(self, x: tuple[int, ...], out: tuple[int, ...], threads: int) -> tuple[Bound, np.ndarray]:
        """The record for arrays of these strides, and which tap each source of a pass is, -1 if none."""
        p, size = self.problem, self.itemsize
        windowed = tuple(a for a, taps in enumerate(p.window) if taps > 1)
        tiles = arrange(window_axes(p, windowed, x, out), np.dtype(p.dtype).itemsize, planes_too=True)
        assert tiles is not None
        rows, cols = tile_shape(tiles, 2 * size, threads)
        (halo_y, halo_x), lanes = tiles.halo, tiles.x.dilation
        pitch = cols + halo_x
        buffer = -(-((rows + halo_y) * pitch * size + SLACK) // 64) * 64

        # Taps by the source plane that they lie in, as (row, column) of the staged tile.
        index = {id(axis): a for axis, a in zip(tiles.windows, windowed, strict=True)}
        place = np.zeros(len(self.taps), np.int64)
        for axis, step in ((tiles.y, pitch), (tiles.x, lanes)):
            if id(axis) in index:
                place += self.taps[:, index[id(axis)]] * step
        beside = self.taps[:, [index[id(axis)] for axis in tiles.beside]]
        planes, plane_of = np.unique(beside, axis=0, return_inverse=True)
        plane_of = plane_of.reshape(-1)
        order = np.argsort(plane_of, kind="stable")
        reach = halo_y * pitch + halo_x
        passes: list[tuple[int, ...]] = []
        ends, added = [], []
        for plane in range(len(planes)):
            left = order[plane_of[order] == plane].tolist()
            while left:
                own = (0,) if passes else ()
                some, left = left[: MOST_SOURCES - len(own)], left[MOST_SOURCES - len(own) :]
                passes.append(pass_slots(reach, own, tuple(place[some].tolist()), size))
                added.append([-1] * len(own) + some + [-1] * (MOST_SOURCES - len(own) - len(some)))
            ends.append(len(passes))

        src_planes, out_planes = _planes(tiles, planes)
        tables = {
            "src_planes": src_planes, "out_planes": out_planes, "map_y": tiles.y.edges(), "map_x": tiles.x.edges(),
            "passes": np.array(passes, np.int64), "pass_ends": np.array(ends, np.int64),
        }  # fmt: skip
        values = {
            **tiling(p, self.acc, tiles, (rows, cols), tables),
            "scratch_bytes": 2 * buffer, "second": buffer, "n_planes": len(planes),
        }  # fmt: skip
        units = len(out_planes) * values["row_tiles"] * values["col_tiles"]
        return Bound(record(TAPS_FIELDS, values), units, 2 * buffer, (), tuple(tables.values())), np.array(added)


def _planes(tiles: Tiles, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each plane of the output its source planes and itself: where they begin, in bytes."""
    _, out = offsets((*tiles.planes, *tiles.beside))
    src, _ = offsets(tiles.planes)
    places = np.zeros((1, len(planes)), np.int64)
    for axis, taps in zip(tiles.beside, planes.T, strict=True):
        at = index_map(np.arange(axis.size)[:, None] + taps - axis.pad, axis.size, axis.rule)
        steps = np.where(at < 0, BEYOND, at * axis.x_step)
        beyond = (places[:, None] == BEYOND) | (steps == BEYOND)
        places = np.where(beyond, BEYOND, places[:, None] + np.where(beyond, 0, steps)).reshape(-1, len(planes))
    table = np.where(places == BEYOND, BEYOND, src[:, None, None] + places).reshape(-1, len(planes))
    return np.ascontiguousarray(table), out
