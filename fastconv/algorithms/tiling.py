"""Tiles of moving windows: which axes make rows and columns, how much of them is made at once.

The kernels (`TILING` of the contract) make tiles of planes.  Here the axes of an array are
brought to rows, columns and planes without copying:

- axes without a window that lie next to each other in memory become one;
- a short axis without a window, behind the one that has one, is folded into it: a row becomes
  longer and its taps lie further apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.geometry import NO_AXIS, Axis
from fastconv.engines.contract import DTYPE_CODES, WINDOW_KINDS
from fastconv.problem import WindowProblem

__all__ = ["Tiles", "arrange", "offsets", "tile_shape", "tiling", "window_axes"]

# A trailing axis shorter than this is folded into the axis before it.
FOLD_BELOW = 64
# Scratch memory of a tile, which stays in the second cache, and bytes of its rows.
TILE_BYTES = 512 * 1024
ROW_BYTES = 8192
UNITS_PER_THREAD = 4
# Kernels work in whole vectors: bytes behind the end of a tile.
SLACK = 256


@dataclass(frozen=True)
class Tiles:
    """Rows and columns of planes, and the other axes, which make the planes."""

    y: Axis
    x: Axis
    planes: tuple[Axis, ...]

    @property
    def halo(self) -> tuple[int, int]:
        """Positions that windows reach beside a tile, down and across."""
        return self.y.taps - 1, (self.x.taps - 1) * self.x.dilation


def window_axes(
    p: WindowProblem, filtered: tuple[int, ...], x_strides: tuple[int, ...], out_strides: tuple[int, ...]
) -> list[Axis]:
    """The axes of a problem with windows along the `filtered` ones."""
    columns = enumerate(zip(p.shape, p.window, p.pad, p.boundary, x_strides, out_strides, strict=True))
    return [
        Axis(n, n, taps, 1, 1, pad, rule, xs, os) if a in filtered else Axis(n, n, 1, 1, 1, 0, "fill", xs, os)
        for a, (n, taps, pad, rule, xs, os) in columns
    ]


def arrange(axes: list[Axis], itemsize: int) -> Tiles | None:
    """Rows, columns and planes of axes of which one or two have windows; None if these are too far apart."""
    axes = _merged([axis for axis in axes if axis.taps > 1 or axis.size > 1])
    windows = [axis for axis in axes if axis.taps > 1]
    columns = min(axes, key=lambda axis: (abs(axis.x_step), axis.size == 1))
    if columns not in windows:
        before = next((a for a in windows if _behind(a, columns)), None)
        if before is not None and columns.size < FOLD_BELOW and columns.x_step == itemsize:
            axes[axes.index(before)] = folded = before.fold(columns)
            windows[windows.index(before)] = folded
            axes.remove(columns)
            columns = folded
    axes.remove(columns)
    windows = [axis for axis in windows if axis is not columns]
    if len(windows) > 1:
        return None
    rows = windows[0] if windows else max(axes, key=lambda axis: axis.size, default=NO_AXIS)
    return Tiles(rows, columns, tuple(axis for axis in axes if axis is not rows))


def _behind(axis: Axis, inner: Axis) -> bool:
    """Whether the elements of `axis` lie as far apart as `inner` is long."""
    return axis.x_step == inner.x_step * inner.size and axis.out_step == inner.out_step * inner.size


def _merged(axes: list[Axis]) -> list[Axis]:
    """The axes with neighbours that have no window and no gap between them made one."""
    merged: list[Axis] = []
    for axis in axes:
        last = merged[-1] if merged else None
        if last is not None and last.taps == 1 and axis.taps == 1 and _behind(last, axis):
            size = last.size * axis.size
            merged[-1] = replace(axis, size=size, out_size=size)
        else:
            merged.append(axis)
    return merged or [NO_AXIS]


def offsets(axes: tuple[Axis, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where each plane begins in the input and in the output, in bytes."""
    x, out = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for axis in axes:
        places = np.arange(axis.size, dtype=np.int64)
        x = (x[:, None] + places * axis.x_step).reshape(-1)
        out = (out[:, None] + places * axis.out_step).reshape(-1)
    return x, out


def tile_shape(tiles: Tiles, element_bytes: int, threads: int) -> tuple[int, int]:
    """Rows and columns of a tile: as large as the scratch memory allows, but several for each thread."""
    halo_y, halo_x = tiles.halo
    height, width, lanes = tiles.y.size, tiles.x.size, tiles.x.dilation
    cols = min(width, max(ROW_BYTES // element_bytes, 2 * halo_x, lanes))
    room = TILE_BYTES // element_bytes

    def rows_in(cols: int) -> int:
        return room // (cols + halo_x) - halo_y

    while rows_in(cols) < max(halo_y, 8) and cols > max(halo_x, 256 // element_bytes):
        cols = -(-cols // 2)
    rows = min(height, max(rows_in(cols), halo_y, 1))
    if threads > 1:
        wanted = -(-threads * UNITS_PER_THREAD // prod(axis.size for axis in tiles.planes))
        rows = min(rows, max(-(-height // wanted), min(halo_y, 16), 1))
        if height < wanted:
            cols = min(cols, max(-(-width * height // wanted), halo_x, 256 // element_bytes))
    return _even(height, rows), _even(width, cols)


def _even(size: int, part: int) -> int:
    """The smallest part of which no more are needed than of `part`."""
    return -(-size // -(-size // part))


def tiling(p: WindowProblem, acc: str, tiles: Tiles, shape: tuple[int, int], tables: dict[str, Any]) -> dict[str, int]:
    """The TILING slots, but those of scratch memory; `tables` has src_planes, out_planes, passes, map_y and map_x."""
    (rows, cols), (halo_y, halo_x), y, x = shape, tiles.halo, tiles.y, tiles.x
    return {
        "kind": WINDOW_KINDS[p.kind], "acc_code": DTYPE_CODES[acc],
        "height": y.size, "width": x.size, "x_row": y.x_step, "x_col": x.x_step,
        "out_row": y.out_step, "out_col": x.out_step,
        "pad_y": y.pad, "pad_x": x.pad, "halo_y": halo_y, "halo_x": halo_x,
        "src_code": DTYPE_CODES[p.dtype], "out_code": DTYPE_CODES[p.out_dtype],
        "tile_rows": rows, "tile_cols": cols, "row_tiles": -(-y.size // rows), "col_tiles": -(-x.size // cols),
        "pitch": cols + halo_x,
        **{name: table.ctypes.data for name, table in tables.items()},
    }  # fmt: skip
