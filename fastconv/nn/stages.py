"""Which layers of a `Sequence` are computed together, a strip of rows after the other, and how."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from fastconv.nn.steps import Step
from fastconv.nn.strips import Call, strips_of

__all__ = ["Stage", "stages_of"]

# A result goes from layer to layer by strips if it has more bytes than the caches keep, and takes the layers before and behind
# it less than so many operations a byte: memory is what they wait for.  Float32, one thread, beside layer by layer (32 MiB of
# third cache): inverted residuals, 10 to 20 operations a byte, 1.0 to 1.3 times as fast from 9 MB on, 1.3 to 1.6 from 28 MB
# on, 0.8 to 1.0 up to 5 MB; 7x7/2 with maxima, 73, 1.1; 3x3 64 to 64 with maxima, 290, 0.97 to 1.0.
FAR_BYTES, MOST_INTENSITY = 8 * 2**20, 128
# What is between layers should have so many bytes, of a strip.  112x112 and 448x448 pixels of 96 channels took the same
# time with 1.3 to 10 MB, with 14 MB a tenth more.
STRIP_BYTES = 4 * 2**20
# Weights that are read again for each strip.
MOST_WEIGHTS = 2**20
LEAST_ROWS = 4


class Stage:
    """Steps that are done one after the other: on all rows (one step), or on a strip of rows after the other."""

    def __init__(self, steps: list[Step], rows: int = 0):
        self.steps, self.rows = steps, rows
        self.calls: list[tuple[Call, Callable]] = []
        self.between: list[tuple[int, ...]] = []  # shapes of what is between the steps of a strip
        self.why = ""
        if rows:
            self._plan()

    def _plan(self) -> None:
        made: dict[tuple, Callable] = {}
        heights = [0] * len(self.steps)
        for call in strips_of([step.window for step in self.steps if step.window], self.rows):
            read = call.read[1] - call.read[0]
            key = (call.layer, read, call.zeros)
            if key not in made:
                made[key] = self.steps[call.layer].strip(read, call.zeros)
            self.calls.append((call, made[key]))
            heights[call.layer] = max(heights[call.layer], call.made[1] - call.held)
        for step, height in zip(self.steps[:-1], heights, strict=False):
            self.between.append(step.shape_of(height))
        height = self.steps[-1].window.rows_out if self.steps[-1].window else 0
        each = "image by image" if self.rows >= height else f"{self.rows} of {height} rows at a time"
        whole = sum(step.nbytes for step in self.steps[:-1])
        self.why = f"{each}: {sum(self.nbytes) / 2**20:.3g} MiB between these layers rather than {whole / 2**20:.3g}"

    @property
    def nbytes(self) -> list[int]:
        """Bytes of what is between the steps of a strip."""
        return [prod(shape) * step.dtype.itemsize for shape, step in zip(self.between, self.steps, strict=False)]

    def run(self, x: np.ndarray, out: np.ndarray, between: list[np.ndarray]) -> None:
        """Compute `out` from `x`; `between` has arrays of the shapes of the same name."""
        if not self.rows:
            self.steps[0].run(x, out=out)
            return
        axis = self.steps[0].rows_axis
        for n in range(len(x)):
            arrays = [x[n : n + 1], *between, out[n : n + 1]]
            for call, function in self.calls:
                source, to = arrays[call.layer], arrays[call.layer + 1]
                if call.first and call.kept:
                    _rows(to, axis, 0, call.kept)[...] = _rows(to, axis, call.first, call.kept)
                read = _rows(source, axis, call.read[0] - call.source, call.read[1] - call.read[0])
                function(read, out=_rows(to, axis, call.made[0] - call.held, call.made[1] - call.made[0]))


def _rows(array: np.ndarray, axis: int, first: int, n: int) -> np.ndarray:
    return array[:, first : first + n] if axis == 1 else array[:, :, first : first + n]


def stages_of(steps: list[Step], rows: int | None = None) -> list[Stage]:
    """The steps in stages; `rows`: of all strips, else (None) they are there where they win."""
    stages, first = [], 0
    while first < len(steps):
        end = first + 1
        while end < len(steps) and (_can_join if rows else _should_join)(steps[first : end + 1]) and rows != 0:
            end += 1
        chain = steps[first:end]
        stages.append(Stage(chain, 0 if len(chain) == 1 else rows or _strip_rows(chain)))
        first = end
    return stages


def _can_join(chain: list[Step]) -> bool:
    return all(step.window is not None for step in chain)


def _should_join(chain: list[Step]) -> bool:
    """Whether the last step goes with those before."""
    source, last = chain[-2:]
    if not _can_join(chain) or source.nbytes < FAR_BYTES:
        return False
    weights = sum(step.weight.nbytes for step in chain if step.weight is not None)
    few = source.flops + last.flops < MOST_INTENSITY * source.nbytes
    return few and weights <= MOST_WEIGHTS and _strip_bytes(chain, LEAST_ROWS) <= STRIP_BYTES


def _strip_rows(chain: list[Step]) -> int:
    """As many rows of the result as leave what is between small."""
    height = chain[-1].shape[chain[-1].rows_axis]
    return max(LEAST_ROWS, min(height, LEAST_ROWS * STRIP_BYTES // max(1, _strip_bytes(chain, LEAST_ROWS))))


def _strip_bytes(chain: list[Step], rows: int) -> int:
    """Bytes between the layers, of a strip of so many rows of the result, about."""
    total = 0
    for step, after in zip(reversed(chain[:-1]), reversed(chain[1:]), strict=True):
        if after.window is not None:
            low, high = after.window.reads((0, rows))
            rows = min(high - low, after.window.rows_in)
        total += prod(step.shape_of(rows)) * step.dtype.itemsize
    return total
