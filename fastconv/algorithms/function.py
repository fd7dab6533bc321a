"""Windows handed one by one to a user's function that an engine has compiled into a kernel.

Tiles of the output are units of work; what their windows read is staged as float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import Bound, run
from fastconv.algorithms.geometry import NO_AXIS, Axis
from fastconv.algorithms.rank import even_part, planes_of
from fastconv.engines.contract import DTYPE_CODES, FUNCTION_RECORD, record

__all__ = ["run_function"]

UNITS_PER_THREAD = 16
TILE_ROWS, TILE_COLS = 16, 256
# Operations of `costs` for a tap: functions take a nanosecond or more.
OPERATIONS = 120


def run_function(
    kernel: int, x: np.ndarray, out: np.ndarray, footprint: np.ndarray, pad: tuple[int, ...], rules: tuple[str, ...],
    fill: Any, threads: int,
) -> np.ndarray | None:  # fmt: skip
    """Write what the kernel makes of each window; if one raises an exception, return that window."""
    taps = int(footprint.sum())
    threads = costs.threads_worth_using(x.size * taps * OPERATIONS, 0, threads)
    bound = _bound(x, out, footprint, pad, rules, threads)
    report = np.zeros(1 + threads * (1 + taps), np.int64)
    run(kernel, bound, x, report, out, None, np.asarray(fill).astype(np.float64), threads, report=report)
    if not report[0]:
        return None
    windows = report[1:].reshape(threads, 1 + taps)
    return windows[windows[:, 0].argmax(), 1:].copy().view(np.float64)


def _bound(
    x: np.ndarray, out: np.ndarray, footprint: np.ndarray, pad: tuple[int, ...], rules: tuple[str, ...], threads: int
) -> Bound:
    columns = x.shape, x.shape, footprint.shape, pad, rules, x.strides, out.strides
    axes = [Axis(n, m, k, 1, 1, before, rule, i, o) for n, m, k, before, rule, i, o in zip(*columns, strict=True)]
    src_planes, out_planes = planes_of(axes[:-2])
    row, col = [NO_AXIS] * (2 - len(axes)) + axes[-2:]
    rows, cols = even_part(row.size, TILE_ROWS), even_part(col.size, TILE_COLS)
    while rows > 1 and len(out_planes) * -(-row.size // rows) * -(-col.size // cols) < threads * UNITS_PER_THREAD:
        rows = -(-rows // 2)
    pitch = cols + col.taps - 1
    plane, ky, kx = np.nonzero(footprint.reshape(-1, row.taps, col.taps))
    taps = (plane * (rows + row.taps - 1) + ky) * pitch + kx
    staged = src_planes.shape[1] * (rows + row.taps - 1) * pitch
    map_y, map_x = row.edges(), col.edges()
    values = {
        "scratch_bytes": 8 * (staged + len(taps) + cols) + 64,
        "staged": 0, "buffer": 8 * staged, "result": 8 * (staged + len(taps)),
        "height": row.size, "width": col.size, "x_row": row.x_step, "x_col": col.x_step,
        "out_height": row.size, "out_width": col.size, "out_row": row.out_step, "out_col": col.out_step,
        "kernel_y": row.taps, "kernel_x": col.taps, "stride_y": 1, "stride_x": 1, "dilation_y": 1, "dilation_x": 1,
        "pad_y": row.pad, "pad_x": col.pad, "map_y": map_y.ctypes.data, "map_x": map_x.ctypes.data,
        "src_code": DTYPE_CODES[x.dtype.name], "out_code": DTYPE_CODES[out.dtype.name],
        "src_planes": src_planes.ctypes.data, "out_planes": out_planes.ctypes.data, "n_planes": src_planes.shape[1],
        "tile_rows": rows, "tile_cols": cols, "n_down": -(-row.size // rows), "n_across": -(-col.size // cols),
        "pitch": pitch, "taps": taps.ctypes.data, "n_taps": len(taps),
    }  # fmt: skip
    units = len(out_planes) * values["n_down"] * values["n_across"]
    tables = (src_planes, out_planes, map_y, map_x, taps)
    return Bound(record(FUNCTION_RECORD, values), units, values["scratch_bytes"], (), tables)
