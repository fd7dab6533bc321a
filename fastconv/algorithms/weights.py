"""Weights of convolutions as rows of lanes: what the kernel of `fastconv.algorithms.conv` reads when lanes are filters."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.executor import Bound, run
from fastconv.algorithms.geometry import PARTS
from fastconv.engines.contract import WEIGHTS_FIELDS, record
from fastconv.problem import ConvProblem
from fastconv.replay import copy_into, zeros

__all__ = ["AdjointPacking", "Packing", "aligned"]

LINE_BYTES = 64


def aligned(size: int, dtype: str) -> np.ndarray:
    """New memory that begins with a cache line: vectors of weights then lie in one each."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.empty(size * itemsize + LINE_BYTES, np.uint8)
    return memory[-memory.ctypes.data % LINE_BYTES :][: size * itemsize].view(dtype)


class Packing:
    """Packs weights [group][filter][channel][tap] as [group][block of filters][block of channels][tap][channel][lane]."""

    def __init__(
        self, engine: Any, part: str, groups: int, filters: int, channels: int, taps: int, block_channels: int
    ):
        depth = channels * taps
        places = {"lane_step": depth, "runs": 1, "run_step": 0, "length": depth, "group_step": filters * depth}
        self._rows = LaneRows(engine, part, groups, filters, _rows(channels, taps, block_channels), depth, places)

    def weights(self, w: np.ndarray, threads: int) -> np.ndarray:
        """Packed weights of dense ones of the kernel's type."""
        return self._rows.weights(w, threads)

    def bias(self, values: np.ndarray) -> np.ndarray:
        """One for each filter, as lanes."""
        return self._rows.bias(values)


class AdjointPacking:
    """Packs weights [group][filter][channel][tap] for the phases of an adjoint, whose lanes are channels, in one pass.

    A phase's weights are the rows from ``begins[phase]`` on of each of the blocks, which have ``rows``.
    """

    def __init__(self, engine: Any, conv: ConvProblem, taken: Sequence[np.ndarray], blocks: Sequence[int]):
        """`taken`: the taps of each phase, in order; `blocks`: how many of the filters are staged at once."""
        filters, channels, taps = conv.filters // conv.groups, conv.channels // conv.groups, prod(conv.kernel_shape)
        row_of = np.full((filters, taps), -1, np.int64)
        self.begins = np.cumsum([0, *(filters * part.size for part in taken)]).tolist()
        for part, begin, block in zip(taken, self.begins, blocks, strict=False):
            row_of[:, part.ravel()] = begin + _rows(filters, part.size, block).reshape(filters, -1)
        places = {
            "lane_step": taps, "runs": filters, "run_step": channels * taps, "length": taps,
            "group_step": filters * channels * taps,
        }  # fmt: skip
        dtype = PARTS.get(conv.acc, conv.acc)
        self._rows = LaneRows(engine, dtype, conv.groups, channels, row_of.reshape(-1), self.begins[-1], places)

    def weights(self, w: np.ndarray, threads: int) -> np.ndarray:
        """Packed weights of all phases, of dense ones of the kernel's type."""
        return self._rows.weights(w, threads)

    def of_phases(self, packed: np.ndarray) -> list[np.ndarray]:
        """The packed weights of each phase."""
        return [packed[begin * self._rows.lanes :] for begin in self.begins[:-1]]


class LaneRows:
    """Weights as rows of lanes, by the kernel **weights**; `places`: where they come from, see WEIGHTS_FIELDS."""

    def __init__(
        self, engine: Any, part: str, groups: int, lanes: int, row_of: np.ndarray, rows: int, places: dict[str, int]
    ):
        self.kernel, self.part = engine.kernel("weights", part), part
        self.lanes = engine.GEMM[1] // np.dtype(part).itemsize
        blocks = groups * -(-lanes // self.lanes)
        self.size, self.bias_shape = blocks * rows * self.lanes, (groups, blocks // groups * self.lanes)
        values = {"scratch_bytes": 0, "lanes": lanes, **places, "size": groups * places["group_step"], "rows": rows}
        slots = record(WEIGHTS_FIELDS, values | {"row_of": row_of.ctypes.data})
        self._bound = Bound(slots, blocks, 0, (), (row_of,))

    def weights(self, w: np.ndarray, threads: int) -> np.ndarray:
        """Packed weights of dense ones of the kernel's type."""
        packed = aligned(self.size, self.part)
        run(self.kernel, self._bound, w, None, packed, None, None, threads)
        return packed

    def bias(self, values: np.ndarray) -> np.ndarray:
        """One for each lane."""
        packed = zeros(self.bias_shape, self.part)
        copy_into(packed[:, : values.size // len(packed)], values.reshape(len(packed), -1))
        return packed


def _rows(channels: int, taps: int, block_channels: int) -> np.ndarray:
    """The row of each weight of a filter: blocks of channels, in them taps, in them channels."""
    channel, tap = np.arange(channels)[:, None], np.arange(taps)
    first = channel // block_channels * block_channels
    of_block = np.minimum(block_channels, channels - first)
    return np.ascontiguousarray((first * taps + tap * of_block + channel - first).reshape(-1), np.int64)
