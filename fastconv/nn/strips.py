"""Several layers, a strip of rows after the other: what each call makes, and which rows of what is between stay.

All rows are made once: those of an intermediate result that the next strip's windows read, too, are moved to the beginning
of its buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Call", "Rows", "Window", "strips_of"]

Rows = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """What a layer reads along the axis of rows: output row y reads `span` rows from ``y * stride - pad`` on."""

    rows_in: int
    rows_out: int
    span: int = 1
    stride: int = 1
    pad: int = 0

    def reads(self, rows: Rows) -> Rows:
        """Which rows some rows of the output read; may lie beyond the edges."""
        return rows[0] * self.stride - self.pad, (rows[1] - 1) * self.stride - self.pad + self.span


@dataclass(frozen=True)
class Call:
    """One layer's part of a strip.

    ``kept`` rows of what was made before, from row ``first`` of the layer's buffer on, are moved to its beginning; then the
    rows ``made`` of the output are computed from the rows ``read`` of the input, with zeros (before, after).  ``held`` and
    ``source``: the output row at the beginning of the buffer, and the same of the layer before; 0 for the last layer's
    result and the first one's input, which are whole.
    """

    layer: int
    made: Rows
    read: Rows
    zeros: Rows
    first: int
    kept: int
    held: int
    source: int


def strips_of(windows: Sequence[Window], rows: int) -> list[Call]:
    """The calls that make the last layer's output, `rows` rows at a time; whole strips are alike but at the edges."""
    done, held = [0] * len(windows), [0] * len(windows)
    calls = []
    while done[-1] < windows[-1].rows_out:
        ends = [min(done[-1] + rows, windows[-1].rows_out)]
        for window in reversed(windows[1:]):
            ends.insert(0, min(max(window.reads((0, ends[0]))[1], 1), window.rows_in))
        for i, (window, end) in enumerate(zip(windows, ends, strict=True)):
            made = (done[i], max(end, done[i]))
            if made[0] == made[1]:
                continue
            first, kept = 0, 0
            if i + 1 < len(windows):  # the next layer goes on from here
                lowest = max(windows[i + 1].reads((done[i + 1], done[i + 1] + 1))[0], 0)
                lowest = min(lowest, done[i])
                first, kept, held[i] = lowest - held[i], done[i] - lowest, lowest
            low, high = window.reads(made)
            read = (max(low, 0), min(high, window.rows_in))
            zeros = (max(-low, 0), max(high - window.rows_in, 0))
            calls.append(Call(i, made, read, zeros, first, kept, held[i], held[i - 1] if i else 0))
            done[i] = made[1]
    return calls
