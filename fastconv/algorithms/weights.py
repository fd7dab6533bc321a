"""Weights of convolutions as rows of lanes: what the kernel of `fastconv.algorithms.conv` reads when lanes are filters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.algorithms.executor import Bound, run
from fastconv.engines.contract import WEIGHTS_FIELDS, record
from fastconv.replay import copy_into, zeros

__all__ = ["Packing", "aligned"]

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
        self.kernel, self.part = engine.kernel("weights", part), part
        self.lanes = engine.GEMM[1] // np.dtype(part).itemsize
        blocks, depth = -(-filters // self.lanes), channels * taps
        self.size, self.bias_shape = groups * blocks * depth * self.lanes, (groups, blocks * self.lanes)
        row_of = _rows(channels, taps, block_channels)
        slots = record(
            WEIGHTS_FIELDS,
            {"scratch_bytes": 0, "filters": filters, "depth": depth, "row_of": row_of.ctypes.data},
        )
        self._bound = Bound(slots, groups * blocks, 0, (), (row_of,))

    def weights(self, w: np.ndarray, threads: int) -> np.ndarray:
        """Packed weights of dense ones of the kernel's type."""
        packed = aligned(self.size, self.part)
        run(self.kernel, self._bound, w, None, packed, None, None, threads)
        return packed

    def bias(self, values: np.ndarray) -> np.ndarray:
        """One for each filter, as lanes."""
        packed = zeros(self.bias_shape, self.part)
        copy_into(packed[:, : values.size // len(packed)], values.reshape(len(packed), -1))
        return packed


def _rows(channels: int, taps: int, block_channels: int) -> np.ndarray:
    """The row of each weight of a filter: blocks of channels, in them taps, in them channels."""
    channel, tap = np.arange(channels)[:, None], np.arange(taps)
    first = channel // block_channels * block_channels
    of_block = np.minimum(block_channels, channels - first)
    return np.ascontiguousarray((first * taps + tap * of_block + channel - first).reshape(-1), np.int64)
