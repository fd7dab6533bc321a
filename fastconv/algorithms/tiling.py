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

__all__ = [
    "MOST_SOURCES",
    "SLACK",
    "Tiles",
    "arrange",
    "even",
    "offsets",
    "pass_slots",
    "tile_shape",
    "tiling",
    "window_axes",
]

# A trailing axis shorter than this is folded into the axis before it.
FOLD_BELOW = 64
# Rows of fewer elements cost more than elements that lie apart.
SHORT = 16
# Scratch memory of a tile, which stays in the second cache; a row costs as much as so many bytes besides its own.
TILE_BYTES = 512 * 1024
ROW_BYTES = 64
UNITS_PER_THREAD = 4
# Kernels work in whole vectors: bytes behind the end of a tile.
SLACK = 256
# Sources of a pass, at most.
MOST_SOURCES = 4


@dataclass(frozen=True)
class Tiles:
    """Rows and columns, and the other axes: those that have no window, and those that have one.

    `windows` are all axes that have a window, in their order.
    """

    y: Axis
    x: Axis
    planes: tuple[Axis, ...]
    beside: tuple[Axis, ...] = ()
    windows: tuple[Axis, ...] = ()

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


def arrange(axes: list[Axis], itemsize: int, planes_too: bool = False) -> Tiles | None:
    """Rows, columns and planes of axes; None if more axes have windows than rows and columns, unless planes may."""
    axes = _merged([axis for axis in axes if axis.taps > 1 or axis.size > 1])
    columns = min(axes, key=lambda axis: (abs(axis.x_step), axis.size == 1))
    before = next((a for a in axes if a.taps > 1 and _behind(a, columns)), None)
    if columns.taps == 1 and before is not None and columns.size < FOLD_BELOW and columns.x_step == itemsize:
        axes.remove(columns)
        columns = before.fold(columns)
        axes[axes.index(before)] = columns
    else:
        columns = min(axes, key=lambda axis: (axis.size < SHORT, abs(axis.x_step)))
    windows = tuple(axis for axis in axes if axis.taps > 1)
    others = [axis for axis in axes if axis is not columns]
    beside = [axis for axis in others if axis.taps > 1]
    if len(beside) > 1 and not planes_too:
        return None
    rows = beside.pop() if beside else max(others, key=lambda axis: axis.size, default=NO_AXIS)
    planes = tuple(axis for axis in others if axis is not rows and axis.taps == 1)
    return Tiles(rows, columns, planes, tuple(beside), windows)


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


def pass_slots(reach: int, own: tuple[int, ...], base: tuple[int, ...], size: int) -> tuple[int, ...]:
    """A pass of the contract, from places in elements of so many bytes."""
    at = [place * size for place in own + base]
    return len(at), len(own), reach, *at, *[0] * (MOST_SOURCES - len(at))


def tile_shape(tiles: Tiles, element_bytes: int, threads: int) -> tuple[int, int]:
    """Rows and columns of a tile: those that cost least in the scratch memory, but several tiles for each thread."""
    (halo_y, halo_x), height, width = tiles.halo, tiles.y.size, tiles.x.size
    room = TILE_BYTES // element_bytes
    shapes = []
    for cols in {-(-width // 2**i) for i in range(width.bit_length())}:
        rows = min(height, max(room // (cols + halo_x) - halo_y, 1))
        shapes.append((_staged(tiles, rows, cols) * (1 + ROW_BYTES / (cols * element_bytes)), rows, cols))
    _, rows, cols = min(shapes)
    rows, cols = even(height, rows), even(width, cols)
    wanted = threads * UNITS_PER_THREAD if threads > 1 else 1
    beside = prod(axis.size for axis in tiles.planes) * -(-width // cols)
    if beside * -(-height // rows) < wanted:
        rows = even(height, max(-(-height * beside // wanted), min(halo_y, 16), 1))
    if beside * -(-height // rows) < threads:
        cols = even(width, max(-(-width * height * beside // rows // wanted), halo_x, 1024 // element_bytes))
    return rows, cols


def _staged(tiles: Tiles, rows: int, cols: int) -> float:
    """Elements staged for each output."""
    halo_y, halo_x = tiles.halo
    return (1 + halo_y / rows) * (1 + halo_x / cols)


def even(size: int, part: int) -> int:
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
