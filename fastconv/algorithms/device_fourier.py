"""Filters of float32 planes on a GPU by Fourier transforms of overlapping blocks (`engines.numba_cuda.fourier`).

Large kernels take larger blocks, tiles that three kernels pass through memory (`engines.numba_cuda.passes`).
"""

from __future__ import annotations

from math import log2, sqrt
from typing import Any, NamedTuple

import numpy as np

from fastconv import costs
from fastconv.algorithms import device, device_streams
from fastconv.device import DeviceArray
from fastconv.problem import ConvProblem

__all__ = ["NAME", "Blocks", "Fourier", "blocks_for", "least_sum", "pays", "refuse"]

NAME = "device_fourier"
FLOAT32 = "float32"

# Points along an axis of a block: how many a thread has, blocks of a multiprocessor, and microseconds that it takes for them, and
# for the weights' spectrum.  Measured on an H100, whose multiprocessors are counted, at 8192x8192; others differ by about the
# same factor as direct sums do.
SIZES = {64: (16, 3, 24.0, 18.0), 128: (32, 1, 30.0, 40.0)}
PROCESSORS = 132
# The same of tiles in memory: threads of a line, microseconds for two tiles, and for the spectrum; lines of a block, bytes of
# the tiles that lie in scratch memory at the same time.
PASSES = {1024: (64, 38.0, 150.0)}
PASS_ROWS, PASS_COLUMNS, GROUP = 4, 8, 128 << 20
# A kernel is cut into at most as many parts along an axis; a block with parts has 32 points a thread.
MOST_PARTS, POINTS_OF_PARTS = 3, 32
# Blocks along a grid's y and z.
MAX_BLOCKS = 65535


class Blocks(NamedTuple):
    """How a filter is cut: points along a block's axes and of a thread (0: tiles in memory), parts of the kernel, their
    sizes, outputs of a tile, blocks along three axes (tiles side by side, below each other, planes), estimated time."""

    n: int
    points: int
    parts: tuple[int, int]
    part: tuple[int, int]
    step: tuple[int, int]
    grid: tuple[int, int, int]
    microseconds: float


def blocks_for(p: ConvProblem) -> Blocks | None:
    """The blocks that are estimated to be fastest, None if the kernel fits in none."""
    found = []
    (height, width), (kernel_y, kernel_x) = p.out_shape, p.kernel_shape
    for n, (points, per_processor, wave, spectrum) in SIZES.items():
        for down in range(1, MOST_PARTS + 1):
            for across in range(1, MOST_PARTS + 1):
                part = -(-kernel_y // down), -(-kernel_x // across)
                step = n + 1 - part[0], n + 1 - part[1]
                if min(step) < n // 8 or (down - 1) * part[0] >= kernel_y or (across - 1) * part[1] >= kernel_x:
                    continue
                grid = -(-width // (2 * step[1])), -(-height // step[0]), p.batch
                waves = -(-grid[0] * grid[1] * grid[2] // (PROCESSORS * per_processor))
                seconds = spectrum + waves * wave * down * across
                points = points if down * across == 1 else POINTS_OF_PARTS
                if max(grid[1:]) <= MAX_BLOCKS:
                    found.append(Blocks(n, points, (down, across), part, step, grid, seconds))
    for n, (_, pair, spectrum) in PASSES.items():
        most_y, most_x = n + 1 - kernel_y, n + 1 - kernel_x
        if min(most_y, most_x) >= n // 4:
            grid = -(-width // (2 * most_x)), -(-height // most_y), p.batch
            step = -(-height // grid[1]), -(-width // (2 * grid[0]))
            time = spectrum + pair * grid[0] * grid[1] * grid[2]
            found.append(Blocks(n, 0, (1, 1), (kernel_y, kernel_x), step, grid, time))
    return min(found, key=lambda blocks: blocks.microseconds, default=None)


def pays(p: ConvProblem, warpgroups: bool) -> bool:
    """Whether transforms can do a problem, and are estimated to be faster than direct sums, perhaps those of warpgroups."""
    blocks = None if _refused(p) else blocks_for(p)
    return blocks is not None and blocks.microseconds < device_streams.microseconds(p, warpgroups)


def least_sum(p: ConvProblem, comparable: float) -> float:
    """How many times their norm the weights' magnitudes must sum to: see `fastconv.choice`."""
    blocks = blocks_for(p)
    assert blocks is not None, "refused"
    taps = p.kernel_shape[0] * p.kernel_shape[1]
    return sqrt(blocks.n**2 * log2(blocks.n**2) / taps) / comparable


def refuse(problem: device.Problem) -> str | None:
    """Why these transforms are not for a problem, or None."""
    if not isinstance(problem, ConvProblem) or problem.transforms != NAME:
        return "is for large kernels, where its errors are as asked for"
    return _refused(problem)


def _refused(p: ConvProblem) -> str | None:
    why = device.refuse(p)
    if why is not None:
        return why
    if not p.in_dtype == p.acc == p.out_dtype == FLOAT32:
        return "is for float32"
    if p.ndim != 2 or max(p.stride + p.dilation) > 1 or p.bias or p.channels * p.filters > 1:
        return "is for planes, one kernel and steps of one"
    return None if min(p.in_shape + p.out_shape) > 0 and blocks_for(p) is not None else "is for smaller kernels"


class Fourier(device.DeviceFilter):
    """Executes a `ConvProblem` by transforms; weights of another dtype go to the plain kernel."""

    def __init__(self, problem: ConvProblem, engine: Any):
        super().__init__(problem, engine)
        blocks = blocks_for(problem)
        assert blocks is not None, "refused"
        self.blocks = blocks
        self.shared = 8 * blocks.n * (blocks.n + 1)

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any, fill: Any) -> None:
        """Launch the kernels on an image and a result that lie on the device."""
        if isinstance(w, DeviceArray) and w.dtype != FLOAT32:
            return super().start(call, x, w, out, bias, fill)
        if not self.blocks.points:
            return self._start_passes(call, x, w, out, fill)
        p, blocks, engine = self.problem, self.blocks, self.engine
        parts, size = blocks.parts[0] * blocks.parts[1], (blocks.n, blocks.points)
        w, least = call.put(w), least_sum(p, costs.COMPARABLE[p.precision])
        spectra = call.put(np.empty(parts * blocks.n**2 + 1, np.complex64), contents=False)
        (_, _, *x_steps), (_, _, *w_steps), (_, _, *out_steps) = map(device.steps_of, (x, w, out))
        rules = (engine.RULES[rule] for rule in p.boundary)
        spectrum, filter = engine.kernel("spectrum", *size), engine.kernel("fourier", *size, int(parts > 1))
        geometry = spectrum.geometry(
            *p.in_shape, *p.out_shape, *p.kernel_shape, parts, blocks.parts[1], *blocks.part, *blocks.step, *p.pad, *rules,
            device.steps_of(x)[0], *x_steps, *w_steps, device.steps_of(out)[0], *out_steps,
        )  # fmt: skip
        block = (spectrum.bounds[0], 1, 1)
        call.start(spectrum, (parts, 1, 1), block, (w, spectra), (least,), geometry, self.shared)
        call.start(filter, blocks.grid, block, (x, w, out, spectra), (fill,), geometry, self.shared)

    def _start_passes(self, call: Any, x: Any, w: Any, out: Any, fill: Any) -> None:
        p, (n, *_, step, grid, _), engine = self.problem, self.blocks, self.engine
        w, least, tiles = call.put(w), least_sum(p, costs.COMPARABLE[p.precision]), grid[0] * grid[1] * grid[2]
        group = min(tiles, max(1, GROUP // (8 * n**2)))
        scratch, spectra, roots = (
            call.put(np.empty(size, np.complex64), contents=False) for size in (group * n**2, n**2, n + 1)
        )
        (x_n, _, *x_steps), (_, _, *w_steps), (out_n, _, *out_steps) = map(device.steps_of, (x, w, out))
        rules = [engine.RULES[rule] for rule in p.boundary]
        names = ("prepare", "rows", "columns_of_weights", "columns", "rows_back")
        prepare, rows, columns_of_weights, columns, rows_back = (engine.kernel(name, n) for name in names)

        def geometry(first: int) -> Any:
            return prepare.geometry(
                *p.in_shape, *p.out_shape, *p.kernel_shape, *step, *p.pad, *rules, x_n, *x_steps, *w_steps, out_n, *out_steps,
                *grid[:2], first,
            )  # fmt: skip

        weights = geometry(0)._replace(
            height=p.kernel_shape[0], width=p.kernel_shape[1], step_x=n, pad_y=0, pad_x=0, rule_y=engine.RULES["fill"],
            rule_x=engine.RULES["fill"], x_y=w_steps[0], x_x=w_steps[1], tiles_x=1, tiles_y=1,
        )  # fmt: skip
        threads = PASSES[n][0]
        by_rows, by_columns = (threads, PASS_ROWS, 1), (PASS_COLUMNS, threads, 1)
        for_rows, for_columns = (8 * lines * (n + n // 4 + n // 16) for lines in (PASS_ROWS, PASS_COLUMNS))
        call.start(prepare, (1, 1, 1), (prepare.bounds[0], 1, 1), (w, roots), (least,), weights)
        call.start(rows, (n // PASS_ROWS, 1, 1), by_rows, (w, scratch, roots), (0.0,), weights, for_rows)
        arrays = scratch, spectra, roots
        call.start(columns_of_weights, (n // PASS_COLUMNS, 1, 1), by_columns, arrays, (), weights, for_columns)
        for first in range(0, tiles, group):
            count, sizes = min(group, tiles - first), geometry(first)
            call.start(rows, (n // PASS_ROWS, count, 1), by_rows, (x, scratch, roots), (fill,), sizes, for_rows)
            call.start(columns, (n // PASS_COLUMNS, count, 1), by_columns, arrays, (), sizes, for_columns)
            outputs = -(-step[0] // PASS_ROWS), count, 1
            call.start(rows_back, outputs, by_rows, (x, w, out, scratch, roots), (fill,), sizes, for_rows)

    def workspace(self, threads: int) -> int:
        """Bytes of the weights' spectra, on the device."""
        n, grid = self.blocks.n, self.blocks.grid
        if not self.blocks.points:
            return 8 * (n**2 + n + 1) + min(grid[0] * grid[1] * grid[2] * 8 * n**2, GROUP)
        return 8 * (self.blocks.parts[0] * self.blocks.parts[1] * n**2 + 1)

    def describe(self, threads: int) -> str:
        """How the output is cut, and about how long it takes on an H100, in words."""
        b = self.blocks
        parts = f", the kernel in {b.parts[0]}x{b.parts[1]} parts" if max(b.parts) > 1 else ""
        return f"about {b.microseconds / 1e3:.3g} ms, {b.grid[0] * b.grid[1] * b.grid[2]} blocks of {b.n}x{b.n} points{parts}"
