"""Weights of the phases of an adjoint: those of each group transposed, and the taps of a phase taken, the last first."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.executor import Bound, run
from fastconv.engines.contract import TRANSPOSED_WEIGHTS_FIELDS, record
from fastconv.problem import ConvProblem
from fastconv.replay import contiguous, recording

__all__ = ["TransposedWeights"]

# Fewer bytes of weights are transposed by NumPy, if only in views: it takes 2.6 ns for an element, the kernel 0.1 to 0.5.
LEAST_BYTES = 1 << 14
# Channels of a unit: runs of each filter's weights that are read at once.
BLOCK = 256
# Kernels by the size of an element.
WORDS = {4: "uint32", 8: "uint64"}


class TransposedWeights:
    """Makes the weights of some phases, each with the taps that slices take."""

    def __init__(self, conv: ConvProblem, phases: Sequence[tuple[slice, ...]], engine: Any):
        self.conv, self.phases = conv, phases
        taps = np.arange(prod(conv.kernel_shape)).reshape(conv.kernel_shape)
        taken = [taps[phase] for phase in phases]
        self.shapes = [part.shape for part in taken]
        word = WORDS.get(np.dtype(conv.kernel_dtype).itemsize)
        self.kernel = engine.kernel("transposed_weights", word) if word and phases else None
        sizes = np.array([part.size for part in taken], np.int64)
        filters, channels = conv.filters // conv.groups, conv.channels // conv.groups
        begins = np.cumsum([0, *(sizes * conv.channels * filters)])
        tables = np.concatenate([part.ravel() for part in taken] or [sizes]).astype(np.int64), sizes, begins
        values = {
            "scratch_bytes": 0, "groups": conv.groups, "filters": filters, "channels": channels, "taps": taps.size,
            "phases": len(phases), "taken": tables[0].ctypes.data, "n_taken": sizes.ctypes.data,
            "begins": begins.ctypes.data, "block": BLOCK,
        }  # fmt: skip
        slots = record(TRANSPOSED_WEIGHTS_FIELDS, values)
        self._begins = begins.tolist()
        self._bound = Bound(slots, conv.groups * -(-channels // BLOCK), 0, (), tables)

    def __call__(self, w: np.ndarray, threads: int) -> list[np.ndarray]:
        """The weights of each phase, (C, F/groups, taps)."""
        p = self.conv
        shapes = [(p.channels, p.filters // p.groups, *shape) for shape in self.shapes]
        small = w.nbytes < LEAST_BYTES and not recording()
        if self.kernel is None or not w.flags.c_contiguous or small:
            parts = [contiguous(self._view(w, phase)) for phase in self.phases]
            return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        memory = np.empty(self._begins[-1], w.dtype)
        run(self.kernel, self._bound, w, None, memory, None, None, threads)
        return [
            memory[begin:][: prod(shape)].reshape(shape) for begin, shape in zip(self._begins, shapes, strict=False)
        ]

    def _view(self, w: np.ndarray, phase: tuple[slice, ...]) -> np.ndarray:
        w = w[(slice(None), slice(None), *phase)]
        w = w.reshape(self.conv.groups, -1, *w.shape[1:]).swapaxes(1, 2)
        return w[0] if self.conv.groups == 1 else w
