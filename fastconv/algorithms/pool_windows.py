"""The windows of a pooling as its kernels read them: three axes, with a table for each."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fastconv.algorithms.geometry import contiguous_strides
from fastconv.problem import PoolGradientProblem, PoolProblem, RegionPoolProblem

__all__ = [
    "EXACT_DIVISOR",
    "VECTOR",
    "PoolWindows",
    "columns_of_blocks",
    "common_divisor",
    "counts_of_columns",
    "has_gaps",
    "is_packed",
    "layout_steps",
    "lookup",
    "narrow_table",
    "pixels",
    "regular",
    "rounded",
    "scratch_parts",
    "taps_in_place",
    "windows_of",
]

Shape = tuple[int, ...]
Steps = tuple[int, ...]

# Planes in registers: vectors of a plane, bytes of the table of its taps, taps of a window.
PLANE_VECTORS, TABLE_BYTES, MOST_TAPS = 4, 16384, 16
# Narrow planes: the fewest lanes of one, rows and columns of windows.
NARROW_LANES, NARROW_TAPS = 8, 3
EXACT_DIVISOR = 1 << 20  # up to which products of sums and inverses give quotients (`EXACT_QUOTIENTS` of pool_lanes.h)
# Scratch rows are rounded up to this many elements: kernels work in whole vectors there.
VECTOR = 64
# Planes that follow each other are folded in one row, if each has one window: a row costs as much as 100 elements.
PLANES_TOGETHER = 64


@dataclass(frozen=True)
class PoolWindows:
    """Planes, rows and columns of input and output, and the windows.

    A problem of two axes has one plane, one of one axis one row.  `tables` are the contract's.  `stride_x` is 0
    where each window has columns of its own, read from the table.  If all axes are collapsed into the last, a
    window is a run of memory, and a row has those of `collapsed` channels.
    """

    axes: tuple[int, ...]
    in_shape: Shape
    out_shape: Shape
    kernel: Shape
    dilation: Shape
    stride_x: int
    pad_x: int
    tables: tuple[np.ndarray, ...]
    weights: np.ndarray | None = None
    collapsed: int = 0

    def steps(self, steps: Steps, *, outputs: bool) -> Steps:
        """The strides (N, C, z, y, x) of an array with the problem's axes, input or output."""
        if self.collapsed:
            return steps[0], steps[1] * self.collapsed, 0, 0, steps[1] if outputs else steps[-1]
        return (*steps[:2], *spread(self.axes, steps[2:], 0))


def spread(axes: tuple[int, ...], values: tuple[int, ...], missing: int) -> Shape:
    """Values of the problem's axes as those of planes, rows and columns."""
    found = dict(zip(axes, values, strict=True))
    return tuple(found.get(axis, missing) for axis in range(3))


def regular(
    problem: PoolProblem | RegionPoolProblem | PoolGradientProblem,
) -> PoolProblem | RegionPoolProblem | PoolGradientProblem:
    """Adaptive windows that divide the input evenly as those of a plain pooling."""
    if isinstance(problem, PoolGradientProblem):
        pool = regular(problem.pool)
        assert not isinstance(pool, PoolGradientProblem)
        return PoolGradientProblem(pool)
    p = problem
    if (
        isinstance(p, PoolProblem)
        or p.kernel_shape
        or any(n % out for n, out in zip(p.in_shape, p.out_shape, strict=True))
    ):
        return p
    kernel, none = tuple(n // out for n, out in zip(p.in_shape, p.out_shape, strict=True)), (0,) * len(p.in_shape)
    return PoolProblem(
        p.kind, p.in_shape, kernel, p.out_shape, p.dtype, none, kernel, (1,) * len(none), p.batch, p.channels, p.indices,
        channels_last=p.channels_last,
    )  # fmt: skip


def windows_of(
    problem: PoolProblem | RegionPoolProblem | PoolGradientProblem, lanes: int, x: Steps, collapses: bool
) -> PoolWindows:
    """The windows of a problem on arrays of these strides, whose pixels have so many lanes."""
    n = len(x) - 2
    axes = tuple(range(3 - n, 3))
    if isinstance(problem, PoolGradientProblem):
        return _gradient(problem, axes)
    if isinstance(problem, RegionPoolProblem):
        windows = () if problem.kernel_shape else problem.windows
        largest = problem.kernel_shape or tuple(int(table[:, 1].max(initial=0)) for table in windows)
        tables = spread_tables(axes, windows, problem.counted if windows else ())
        return PoolWindows(
            axes, spread(axes, problem.in_shape, 1), spread(axes, problem.out_shape, 1), spread(axes, largest, 1),
            (1, 1, 1), 0, 0, tables,
        )  # fmt: skip
    p = problem
    if collapses and lanes == 1 and _is_one_run(p, x[2:]):
        return _runs(p, x)
    kernel, dilation = spread(axes, p.kernel_shape, 1), spread(axes, p.dilation, 1)
    stride_x, pad_x = spread(axes, p.stride, 1)[2], spread(axes, p.pad, 0)[2]
    # Columns of one in so many are folded one by one: to part them takes as long.
    varies = lanes == 1 and dilation[2] == 1 and stride_x > 2
    return PoolWindows(
        axes, spread(axes, p.in_shape, 1), spread(axes, p.out_shape, 1), kernel, dilation,
        0 if varies else stride_x, 0 if varies else pad_x, spread_tables(axes, p.windows, p.counted),
    )  # fmt: skip


def _runs(p: PoolProblem, x: Steps) -> PoolWindows:
    """Windows that have all of a plane, each a run of memory; of several planes that follow each other, in one row."""
    taps = prod(p.in_shape)
    together = 1
    if x[1] == taps * x[-1] and not p.indices:
        together = max(n for n in range(1, PLANES_TOGETHER + 1) if p.channels % n == 0)
    windows = np.stack([np.arange(together) * taps, np.full(together, taps)], 1)
    tables = spread_tables((2,), (windows,), (np.full(together, np.prod(p.counted, axis=0).item()),))
    return PoolWindows(
        (), (1, 1, together * taps), (1, 1, together), (1, 1, taps), (1, 1, 1), 0, 0, tables, None, together
    )  # fmt: skip


def _is_one_run(p: PoolProblem, steps: Steps) -> bool:
    """Whether the only window of a plane has all of it, and that lies without gaps."""
    whole = all(
        len(w) == 1 and (w[0] == (0, n)).all() and d == 1
        for w, n, d in zip(p.windows, p.in_shape, p.dilation, strict=True)
    )
    return whole and all(a == n * b for a, n, b in zip(steps, p.in_shape[1:], steps[1:], strict=False))


def _gradient(problem: PoolGradientProblem, axes: tuple[int, ...]) -> PoolWindows:
    """Each input is the output of a sum over the windows that hold it, of which each has a weight."""
    p = problem.pool
    shares = [1 / np.maximum(counts, 1) for counts in p.counted]
    if p.divisor > 0:
        shares = [np.full(len(counts), 1 / p.divisor if i == 0 else 1.0) for i, counts in enumerate(p.counted)]
    planes, rows, columns = (dict(zip(axes, shares, strict=True)).get(axis, np.ones(1)) for axis in range(3))
    windows = problem.windows
    largest = tuple(int(table[:, 1].max(initial=0)) for table in windows)
    return PoolWindows(
        axes, spread(axes, p.out_shape, 1), spread(axes, p.in_shape, 1), spread(axes, largest, 1), (1, 1, 1), 0, 0,
        spread_tables(axes, windows, p.counted), np.concatenate([rows, columns, planes]),
    )  # fmt: skip


def spread_tables(
    axes: tuple[int, ...], windows: tuple[np.ndarray, ...], counted: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """The contract's tables of windows, for planes, rows and columns."""
    found = {}
    for axis, window, counts in zip(axes, windows, counted, strict=False):
        table = found[axis] = np.empty((len(window), 4), np.int64)
        table[:, :2] = window
        table[:, 2] = counts[: len(window)] if len(counts) == len(window) else 1
        changes = np.flatnonzero(np.diff(table[:, 2])) + 1
        ends = np.append(changes, len(window))
        table[:, 3] = ends[np.searchsorted(changes, np.arange(len(window)), "right")]
    return tuple(found.get(axis, np.array([[0, 1, 1, 1]], np.int64)) for axis in range(3))


def lookup(w: PoolWindows, lanes: int, size: int, kind: str, divisor: int) -> tuple[int, np.ndarray] | None:
    """Of planes that fit into a few vectors of so many lanes: how many taps an output has, and where they are.

    See `pool_small.h`; None where they do not fit, or a maximum or average is of nothing.
    """
    outputs, elements = prod(w.out_shape), prod(w.in_shape)
    vectors = 2 if elements < 2 * lanes else PLANE_VECTORS
    blocks, bound = -(-outputs // lanes), min(prod(w.kernel), MOST_TAPS + 1)
    if elements > vectors * lanes or blocks * bound * lanes * size > TABLE_BYTES or bound > MOST_TAPS:
        return None
    steps = (w.in_shape[1] * w.in_shape[2], w.in_shape[2], 1)
    at, inside, counted = np.zeros((1, 1), np.int64), np.ones((1, 1), bool), np.ones(1, np.int64)
    for table, kernel, dilation, step in zip(w.tables, w.kernel, w.dilation, steps, strict=True):
        tap = np.arange(kernel)
        here, some = (table[:, :1] + tap * dilation) * step, tap < table[:, 1:2]
        at = (at[:, None, :, None] + here[None, :, None, :]).reshape(len(at) * len(here), -1)
        inside = (inside[:, None, :, None] & some[None, :, None, :]).reshape(at.shape)
        counted = np.multiply.outer(counted, table[:, 2]).reshape(-1)
    if (elements == vectors * lanes and not inside.all()) or (w.weights is None and not inside.any(1).all()):
        return None
    order = np.argsort(~inside, axis=1, kind="stable")[:, : max(1, int(inside.sum(1).max()))]
    at = np.take_along_axis(np.where(inside, at, vectors * lanes - 1), order, 1)
    at = np.pad(at, ((0, blocks * lanes - outputs), (0, 0)))
    rows = at.T.reshape(-1, blocks, lanes).swapaxes(0, 1).astype(f"i{size}").view(f"f{size}")
    if w.weights is None and kind == "avg":
        counts = counted if divisor <= 0 else np.full(outputs, divisor)
        padded = np.pad(counts, (0, blocks * lanes - outputs), constant_values=1).reshape(blocks, 1, lanes)
        rows = np.concatenate([padded.astype(rows.dtype), rows], 1)
    factors = np.empty(0)
    if w.weights is not None:
        high, wide, deep = np.split(w.weights, np.cumsum(w.in_shape[1:]))
        factors = np.pad((deep[:, None, None] * high[:, None] * wide).reshape(-1), (0, vectors * lanes - elements))
    return at.shape[1], np.concatenate([factors.astype(rows.dtype), rows.reshape(-1)])


def columns_of_blocks(w: PoolWindows, lanes: int, block: int, fractional: bool) -> tuple[int, int, np.ndarray]:
    """Columns that a block needs, elements of each stride phase of them, and where the taps of a row begin."""
    if not w.stride_x:
        windows = w.tables[2]
        ends = windows[:, 0] + windows[:, 1]
        last = np.minimum(np.arange(0, len(windows), block) + block, len(windows)) - 1
        cols = w.in_shape[2] if fractional else int((ends[last] - windows[::block, 0]).max(initial=0))
        return cols, 0, np.arange(w.kernel[2], dtype=np.int64) * lanes
    stride, dilation = w.stride_x, w.dilation[2]
    # No more taps than meet the input for some pixel of the block.
    taps = min(w.kernel[2], (w.in_shape[2] + (block - 1) * stride) // dilation + 1)
    cols = (block - 1) * stride + (taps - 1) * dilation + 1
    phase = rounded(-(-cols // stride) * lanes)
    at = np.arange(taps, dtype=np.int64) * dilation
    return cols, phase, at % stride * phase + at // stride * lanes


def common_divisor(pool: PoolProblem | RegionPoolProblem, w: PoolWindows, fractional: bool) -> int:
    """What all sums are divided by, 0 if that is not the same for all."""
    if pool.divisor > 0 or fractional or pool.kind == "max":
        return pool.divisor
    counts = [table[:, 2] for table in w.tables]
    return prod(int(c[0]) for c in counts) if all(len(c) and (c == c[0]).all() for c in counts) else 0


def counts_of_columns(pool: PoolProblem | RegionPoolProblem, w: PoolWindows, divisor: int) -> np.ndarray:
    """How many taps of each output's columns count, in whole vectors; none where that does not matter."""
    if pool.kind == "max" or divisor > 0:
        return np.empty(0)
    counts = w.tables[2][:, 2].astype(pool.dtype)
    return np.pad(counts, (0, -len(counts) % VECTOR), constant_values=1)


def narrow_table(w: PoolWindows, lanes: int, kind: str, divisor: int) -> tuple[int, int, np.ndarray] | None:
    """Of narrow planes, how many lie side by side, their rows of outputs that are stored together, and `pool_narrow.h`'s table.

    Lanes of each tap, then what each such group is divided by, if that is not `divisor` for all.
    """
    (_, rows, columns), windows = w.out_shape, w.tables[2]
    most = max(w.in_shape[2] + 1, columns)
    small = max(w.kernel[1:]) <= NARROW_TAPS and w.kernel[0] == w.in_shape[0] == 1 and w.dilation[1:] == (1, 1)
    some = all(table.size and (table[:, 1] > 0).all() for table in w.tables)
    if most > lanes or lanes < NARROW_LANES or not small or not some or w.stride_x <= 0:
        return None
    width = NARROW_LANES if most <= NARROW_LANES else lanes
    planes, group = lanes // width, 2 if 2 * columns <= width and rows > 1 else 1
    missing = windows[:, 0] if kind == "max" else np.full(columns, width - 1)
    taps = np.arange(w.kernel[2])[:, None]
    at = np.where(taps < windows[:, 1], windows[:, 0] + taps, missing)  # a tap's columns
    at = np.concatenate([at + lanes * row for row in range(group)], 1)
    at = np.pad(at, ((0, 0), (0, width - group * columns)))
    parts = [np.concatenate([at + width * plane for plane in range(planes)], 1).astype(np.int32).view(np.float32)]
    if kind == "avg" and not 0 < divisor <= EXACT_DIVISOR:
        counts = w.tables[1][:, 2:3] * windows[:, 2] if divisor <= 0 else np.full((rows, columns), divisor)
        counts = np.pad(counts, ((0, -rows % group), (0, 0)), constant_values=1).reshape(-1, group * columns)
        counts = np.pad(counts, ((0, 0), (0, width - group * columns)), constant_values=1)
        parts.append(np.tile(counts, (1, planes)).astype(np.float32))
    return planes, group, np.concatenate(parts).reshape(-1)


def has_gaps(steps: Steps, shape: tuple[int, ...], size: int) -> bool:
    """Whether elements of so many bytes do not follow each other in C order."""
    return any(
        n > 1 and step != size * prod(shape[i + 1 :]) for i, (n, step) in enumerate(zip(shape, steps, strict=False))
    )


def taps_in_place(w: PoolWindows, x: Steps, staging: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes from the first row of a window in a plane to its others, and from its corner to all taps."""
    planes, rows = (min(w.kernel[i], (w.in_shape[i] - 1) // w.dilation[i] + 1) for i in (0, 1))
    cols = w.kernel[2] if staging == "windows" else 1
    plane_of, row_of, col_of = (
        np.arange(n, dtype=np.int64) * d * step
        for n, d, step in zip((planes, rows, cols), w.dilation, x[2:5], strict=True)
    )
    return row_of, (plane_of[:, None, None] + row_of[:, None] + col_of).reshape(-1)


def pixels(steps: Steps, lanes: int) -> Steps:
    """Strides (N, C, z, y, x, lane): channels are either planes or lanes."""
    n, c, *rest = steps
    return (n, 0, *rest, c) if lanes > 1 else (n, c, *rest, 0)


def is_packed(steps: Steps, lanes: int, size: int) -> bool:
    return steps[4] == lanes * size and (lanes == 1 or steps[5] == size)


def scratch_parts(sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Where the parts of the scratch memory begin, and the size of all."""
    ends = np.cumsum([rounded(size) for size in sizes.values()]).tolist()
    return dict(zip(sizes, [0, *ends], strict=False)), ends[-1]


def rounded(size: int) -> int:
    return -(-size // VECTOR) * VECTOR


def layout_steps(p: PoolProblem | RegionPoolProblem, shape: tuple[int, ...], size: int) -> Steps:
    """Strides (N, C, ...) of a contiguous array in the problem's layout."""
    order = (p.batch, *shape, p.channels) if p.channels_last else (p.batch, p.channels, *shape)
    steps = tuple(size * step for step in contiguous_strides(order, "int8"))
    return (steps[0], steps[-1], *steps[1:-1]) if p.channels_last else steps
