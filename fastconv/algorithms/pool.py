"""Max and average pooling of images: windows folded over their rows, then over their columns.

The kernels (`POOL_FIELDS` of the contract) pool planes of pixels.  Which axis makes the
pixels follows from the strides and not from the layout's name: where the channels lie next
to each other in memory, a pixel is all of them, else each channel has a plane of its own.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import contiguous_strides
from fastconv.engines.contract import DTYPE_CODES, NUMBERS, POOL_FIELDS, POOL_STAGING, record
from fastconv.problem import PoolProblem

__all__ = ["Pool", "is_ready", "refuse"]

Steps = tuple[int, ...]

UNITS_PER_THREAD = 8
# A row is folded in blocks that stay in the innermost cache.
BLOCK_BYTES = 8192
# Windows of at most so many taps, of pixels of at least so many bytes, are folded where they lie.
WINDOW_TAPS = 16
WINDOW_BYTES = 64
# Scratch rows are rounded up to this many elements: kernels work in whole vectors there.
VECTOR = 64
# Elements that the scan for indices takes at once.
SCANNED = 16


def refuse(problem: Any) -> str | None:
    """Why the pooling kernels cannot do a problem, or None."""
    if not isinstance(problem, PoolProblem):
        return "is for pooling"
    if len(problem.in_shape) != 2:
        return f"pools images of two axes, not {len(problem.in_shape)}"
    if problem.dtype not in NUMBERS or (problem.kind == "avg" and problem.dtype == "bool"):
        return f"does not {problem.kind} pool {problem.dtype}"
    if problem.kind == "avg" and max(problem.dilation) > 1:
        return "does not average windows with gaps (dilation)"
    rows = min(problem.in_shape[0], (problem.kernel_shape[0] - 1) * problem.dilation[0] + 1)
    if problem.indices and rows * problem.in_shape[1] > np.iinfo(np.int32).max:
        return "counts the positions in a window's rows in 32 bits"
    return None


def is_ready(problem: PoolProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready(*_kernel_of(problem))


class Pool:
    """Executes a `PoolProblem` with an engine's pooling kernel."""

    def __init__(self, problem: PoolProblem, engine: Any):
        self.problem = problem
        self.kernel = engine.kernel(*_kernel_of(problem))
        self._flops, self._nbytes = problem.flops, problem.nbytes
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)

    def __call__(
        self, x: np.ndarray, indices: np.ndarray | None, out: np.ndarray, bias: None, fill: Any, threads: int
    ) -> None:
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        bound = self._bind(x.strides, out.strides, () if indices is None else indices.strides, threads)
        run(self.kernel, bound, x, indices, out, None, None, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        p = self.problem
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        steps = [
            _layout_steps(p, shape, dtype)
            for shape, dtype in ((p.in_shape, p.dtype), (p.out_shape, p.dtype), (p.out_shape, "int64"))
        ]
        return self._bind(steps[0], steps[1], steps[2] if p.indices else (), threads).scratch_bytes * threads

    def _new_bound(self, x: Steps, out: Steps, idx: Steps, threads: int) -> Bound:
        """The record for arrays of these strides."""
        p = self.problem
        size = np.dtype(p.dtype).itemsize
        lanes = p.channels if x[1] == size else 1
        channels = p.channels // lanes
        x, out, idx = (_pixels(steps, lanes) for steps in (x, out, idx or (0, 0, 0, 0)))
        staging = _staging(p, lanes, x, size)
        store_direct = _packed(out, lanes, size) and (not p.indices or _packed(idx, lanes, 8))

        acc_size = 8 if p.kind == "avg" and np.dtype(p.dtype).kind in "iu" else size
        block = _block(p, lanes * acc_size)
        cols, phase, col_of = _columns(p, lanes, block)
        row_of, window_of = _taps_in_place(p, x, staging)
        parts, scratch_bytes = _scratch(p, staging, store_direct, block * lanes, cols * lanes, phase, acc_size)
        rows = p.batch * channels * p.out_shape[0]
        strip = -(-rows // (threads * UNITS_PER_THREAD)) if threads > 1 else rows
        values = {
            "scratch_bytes": scratch_bytes, **parts,
            "dtype": DTYPE_CODES[p.dtype], "batch": p.batch, "channels": channels, "lanes": lanes,
            "height": p.in_shape[0], "width": p.in_shape[1], "out_height": p.out_shape[0], "out_width": p.out_shape[1],
            **_axes("kernel", p.kernel_shape), **_axes("stride", p.stride),
            **_axes("dilation", p.dilation), **_axes("pad", p.pad),
            **_steps("x", x), **_steps("out", out), **_steps("idx", idx),
            "staging": POOL_STAGING[staging], "store_direct": store_direct,
            "include_pad": p.count_include_pad, "divisor": p.divisor,
            "block": block, "strip": strip, "phase": phase,
            "row_of": row_of.ctypes.data, "window_of": window_of.ctypes.data, "col_of": col_of.ctypes.data,
        }  # fmt: skip
        return Bound(record(POOL_FIELDS, values), -(-rows // strip), scratch_bytes, (), (row_of, window_of, col_of))


def _kernel_of(p: PoolProblem) -> tuple[str, str, str]:
    """Operation, dtype and variant: the bits that sums of a window's integers need."""
    if p.kind != "avg":
        return "max_pool_indices" if p.indices else "max_pool", p.dtype, ""
    dtype = np.dtype(p.dtype)
    if dtype.kind == "f":
        return "avg_pool", p.dtype, ""
    bits = 8 * dtype.itemsize + prod(p.kernel_shape).bit_length()  # and a sign
    return "avg_pool", p.dtype, "16" if bits < 16 else "32" if bits < 32 else "64"


def _layout_steps(p: PoolProblem, shape: tuple[int, ...], dtype: str) -> Steps:
    """Strides (N, C, H, W) of a contiguous array in the problem's layout."""
    if not p.channels_last:
        return contiguous_strides((p.batch, p.channels, *shape), dtype)
    n, y, x, c = contiguous_strides((p.batch, *shape, p.channels), dtype)
    return n, c, y, x


def _pixels(steps: Steps, lanes: int) -> Steps:
    """Strides (N, C, H, W, lane): channels are either planes or lanes."""
    n, c, y, x = steps
    return (n, 0, y, x, c) if lanes > 1 else (n, c, y, x, 0)


def _packed(steps: Steps, lanes: int, size: int) -> bool:
    return steps[3] == lanes * size and (lanes == 1 or steps[4] == size)


def _staging(p: PoolProblem, lanes: int, x: Steps, size: int) -> str:
    """How the input is read; see `POOL_STAGING`."""
    stride, span = p.stride[1], (p.kernel_shape[1] - 1) * p.dilation[1] + 1
    packed = _packed(x, lanes, size)
    many_lanes = x[4] == size and lanes * size >= WINDOW_BYTES and (not p.indices or lanes % SCANNED == 0)
    if many_lanes and prod(p.kernel_shape) <= WINDOW_TAPS and not (packed and stride == 1 and not p.indices):
        return "windows"
    # A stride that skips most columns is better followed than read across.
    return "flat" if packed and stride <= 4 * span else "gather"


def _block(p: PoolProblem, pixel_bytes: int) -> int:
    """Output pixels made at once: as many as fit, but enough that blocks overlap little."""
    stride, span = p.stride[1], (p.kernel_shape[1] - 1) * p.dilation[1] + 1
    fitting = BLOCK_BYTES // (stride * pixel_bytes)
    return min(p.out_shape[1], max(fitting, span // stride, 8))


def _columns(p: PoolProblem, lanes: int, block: int) -> tuple[int, int, np.ndarray]:
    """Columns that a block needs, elements of each stride phase of them, and where the taps of a row begin."""
    stride, dilation = p.stride[1], p.dilation[1]
    # No more taps than meet the input for some pixel of the block.
    taps = min(p.kernel_shape[1], (p.in_shape[1] + (block - 1) * stride) // dilation + 1)
    cols = (block - 1) * stride + (taps - 1) * dilation + 1
    phase = _rounded(-(-cols // stride) * lanes)
    at = np.arange(taps, dtype=np.int64) * dilation
    return cols, phase, at % stride * phase + at // stride * lanes


def _taps_in_place(p: PoolProblem, x: Steps, staging: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes from the first row of a window to its others inside the input, and from its corner to all taps."""
    rows = min(p.kernel_shape[0], (p.in_shape[0] - 1) // p.dilation[0] + 1)
    cols = p.kernel_shape[1] if staging == "windows" else 1
    row_of = np.arange(rows, dtype=np.int64) * (p.dilation[0] * x[2])
    return row_of, row_of[:, None] + np.arange(cols, dtype=np.int64) * (p.dilation[1] * x[3])


def _scratch(
    p: PoolProblem, staging: str, store_direct: bool, block: int, cols: int, phase: int, acc_size: int
) -> tuple[dict[str, int], int]:
    """Where the parts of the scratch memory begin, and the size of all; `block`, `cols` and `phase` count elements."""
    size, stride = np.dtype(p.dtype).itemsize, p.stride[1]
    phases = max(2, min(stride, (p.kernel_shape[1] - 1) * p.dilation[1] + 1))
    folds, row = staging != "windows", _rounded(block)
    sizes = {
        "folded": (max(cols, 2 * phase) + VECTOR) * acc_size * (folds and (stride == 1 or staging == "flat")),
        "phases": (phases * phase + VECTOR) * acc_size * (folds and stride > 1),
        "gathered": phase * size * (staging == "gather"),
        "result": row * acc_size * (p.kind == "avg" or p.indices),
        "places": row * 8 * p.indices,
        "stored": row * (8 if p.indices else size) * (not store_direct),
    }
    ends = np.cumsum([_rounded(size) for size in sizes.values()]).tolist()
    return dict(zip(sizes, [0, *ends], strict=False)), ends[-1]


def _rounded(size: int) -> int:
    return -(-size // VECTOR) * VECTOR


def _axes(name: str, values: tuple[int, ...]) -> dict[str, int]:
    return {f"{name}_{axis}": value for axis, value in zip("yx", values, strict=True)}


def _steps(name: str, steps: Steps) -> dict[str, int]:
    return {f"{name}_{axis}": step for axis, step in zip(("n", "c", "row", "col", "lane"), steps, strict=True)}
