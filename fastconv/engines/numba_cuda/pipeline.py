"""Host arrays through a device, tile by tile: uploads, kernels and downloads of neighbouring tiles at the same time.

Only memory that the system cannot move takes part in transfers at full speed, so tiles go through buffers of such
memory, into and out of which threads of the host copy while the device works on the tiles before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

import numpy as np

from fastconv.engines.numba_cuda.launch import require

__all__ = ["Tile", "in_tiles"]

# Tiles under way; the host fills the buffers of one and empties those of another meanwhile.
SLOTS = 4
# Threads that copy, and bytes of a copy that one makes.
COPIERS, PIECE = min(16, os.cpu_count() or 1), 4 << 20

Copies = Iterable[tuple[np.ndarray, Any]]


@dataclass(frozen=True)
class Tile:
    """One tile: how many bytes go in and come out, the copies (to, from) into a buffer of bytes and out of another, of arrays
    (images, channels, rows, ...), and what starts its kernels at the addresses of source and target, in the order of a stream."""

    sizes: tuple[int, int]
    fill: Callable[[np.ndarray], Copies]
    compute: Callable[[int, int, int], None]
    empty: Callable[[np.ndarray], Copies]


class _Slot:
    """Buffers of a tile on both sides."""

    def __init__(self, runner: Any, sizes: tuple[int, int], stream: int):
        self.host = [runner.pinned(size) for size in sizes]
        self.device = [runner.allocate(size, stream) for size in sizes]
        self.sent, self.computed, self.done = (runner.event() for _ in range(3))
        self.clear()

    def clear(self) -> None:
        """Nothing is under way any more."""
        self.busy = False
        self.staged: list[tuple[np.ndarray, Any]] = []  # copies that empty the buffer, once the result has come
        self.staged_in: list[tuple[np.ndarray, Any]] = []
        self.direct: list[tuple[np.ndarray, Any]] = []
        self.filling: list[Future] = []
        self.emptying: list[Future] = []


class _Pipeline:
    """Streams and slots of one device, kept for later calls."""

    def __init__(self, device: int):
        self.runner, self.device, self.lock = require(), device, Lock()
        self.sizes = (0, 0)
        self.slots: list[_Slot] = []
        self.up, self.work, self.down = (self.runner.new_stream() for _ in range(3))

    def run(self, tiles: list[Tile]) -> None:
        """Send all tiles through; what they write to the host is complete when this returns."""
        self._reserve(*(max(tile.sizes[side] for tile in tiles) for side in range(2)))
        try:
            for i in range(len(tiles) + 1):  # copies for a tile are made while the one before is sent
                if i < len(tiles):
                    self._fill(self.slots[i % SLOTS], tiles[i])
                if i:
                    self._send(self.slots[(i - 1) % SLOTS], tiles[i - 1])
            for slot in self.slots:
                self._empty(slot)
            for slot in self.slots:
                _finish(slot.emptying)
        except BaseException:
            for slot in self.slots:
                wait([*slot.filling, *slot.emptying])
            for stream in (self.up, self.work, self.down):
                self.runner.synchronize(stream)  # the buffers are not in use any more
            raise
        finally:
            for slot in self.slots:
                slot.clear()

    def _fill(self, slot: _Slot, tile: Tile) -> None:
        """Start the copies into a slot's buffer, and those of the result that was there."""
        self._empty(slot)
        slot.staged_in, slot.direct = self._split(tile.fill(slot.host[0]), inward=True)
        slot.filling = _copies(slot.staged_in)

    def _empty(self, slot: _Slot) -> None:
        """Start to bring the result of the slot's tile to where it belongs, once it has come."""
        if slot.busy:
            self.runner.finish(slot.done)
            slot.busy = False
            slot.emptying = _copies(slot.staged)

    def _send(self, slot: _Slot, tile: Tile) -> None:
        """Send a slot's tile, compute it and let its result come back, all in the order of streams."""
        runner = self.runner
        source, target = (memory.address for memory in slot.device)
        _finish(slot.filling)
        if not slot.direct:
            runner.upload(slot.host[0][: tile.sizes[0]], source, self.up)
        for to, array in [*((to, to) for to, _ in slot.staged_in if slot.direct), *slot.direct]:
            runner.upload(array, source + _distance(to, slot.host[0]), self.up)
        runner.record(slot.sent, self.up)
        runner.wait_for(self.work, slot.sent)
        tile.compute(source, target, self.work)
        runner.record(slot.computed, self.work)
        runner.wait_for(self.down, slot.computed)
        _finish(slot.emptying)
        slot.staged, direct = self._split(tile.empty(slot.host[1]), inward=False)
        if slot.staged:
            runner.download(target, slot.host[1][: tile.sizes[1]], self.down, wait=False)
            slot.staged += direct
        else:
            for to, array in direct:
                runner.download(target + _distance(array, slot.host[1]), to, self.down, wait=False)
        runner.record(slot.done, self.down)
        slot.busy = True

    def _split(self, copies: Copies, inward: bool) -> tuple[list, list]:
        """Copies that go by way of the buffer, and those that the device makes itself, whose memory is pinned."""
        staged: list[tuple[np.ndarray, Any]] = []
        direct: list[tuple[np.ndarray, Any]] = []
        copies = list(copies)
        apart = all(to.flags.c_contiguous for to, _ in copies)  # pieces of the buffer that are sent one by one
        for to, source in copies:
            far = source if inward else to
            alike = isinstance(source, np.ndarray) and (to.shape, to.dtype) == (source.shape, source.dtype)
            (direct if apart and alike and source.flags.c_contiguous and self.runner.is_pinned(far) else staged).append(
                (to, source)
            )
        return staged, direct

    def _reserve(self, inward: int, outward: int) -> None:
        if inward > self.sizes[0] or outward > self.sizes[1]:
            for slot in self.slots:
                for memory in slot.device:
                    memory.free()
            self.slots.clear()  # before the new ones are made
            self.sizes = (0, 0)
            sizes = (inward, outward)
            self.slots = [_Slot(self.runner, sizes, self.work) for _ in range(SLOTS)]
            self.runner.synchronize(self.work)  # memory belongs to the stream until then
            self.sizes = sizes


def _distance(array: np.ndarray, buffer: np.ndarray) -> int:
    return array.__array_interface__["data"][0] - buffer.__array_interface__["data"][0]


def in_tiles(tiles: list[Tile]) -> None:
    """Compute tiles of host arrays on the current device."""
    runner = require()
    device = runner.current_device()
    with runner.current(device):
        pipeline = _pipeline(device)
        with pipeline.lock:
            pipeline.run(tiles)


@cache
def _pipeline(device: int) -> _Pipeline:
    return _Pipeline(device)


@cache
def _copiers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(COPIERS, "fastconv-copy")


def _copies(regions: list[tuple[np.ndarray, Any]]) -> list[Future]:
    """Copies that threads have started to make, a piece each."""
    pieces = [piece for region in regions for piece in _pieces(*region)]
    return [_copiers().submit(np.copyto, to, source, casting="unsafe") for to, source in pieces]


def _pieces(to: np.ndarray, source: Any) -> Iterator[tuple[np.ndarray, Any]]:
    """A copy as several, cut along the longer of images and rows."""
    axis = 2 if to.shape[2] >= to.shape[0] else 0
    source, each = np.broadcast_to(source, to.shape), max(1, PIECE * to.shape[axis] // max(to.nbytes, 1))
    for first in range(0, to.shape[axis], each):
        key = (slice(None),) * axis + (slice(first, first + each),)
        yield to[key], source[key]


def _finish(copies: list[Future]) -> None:
    for copy in copies:
        copy.result()
    copies.clear()
