"""What the executors of `ConvProblem`s have in common: binding to strides, constants, the launch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.geometry import PARTS, contiguous_strides
from fastconv.engines.contract import DTYPE_CODES
from fastconv.engines.threads._threads import launch
from fastconv.problem import ConvProblem
from fastconv.replay import Copy, constant, contiguous, copy_into, launched

__all__ = ["Bound", "ConvExecutor", "Copy", "kernel_types", "refuse_types", "run"]

# Argument records remembered for each plan, one for each set of strides it has met.
REMEMBERED = 8


def refuse_types(problem: Any, *, activates: bool = False) -> str | None:
    """Why no window kernel can do a problem, or None; `activates`: whether the kernel applies activations."""
    if not isinstance(problem, ConvProblem):
        return "is for convolutions"
    if problem.activation and not activates:
        return "applies no activation"
    if PARTS.get(problem.acc, problem.acc) not in ("float32", "float64", "uint32", "uint64"):
        return f"does not sum in {problem.acc}"
    for dtype in (problem.in_dtype, problem.out_dtype):
        if PARTS.get(dtype, dtype) not in DTYPE_CODES:
            return f"does not read or write {dtype}"
    return None


def kernel_types(problem: ConvProblem) -> tuple[str, str]:
    """What a kernel is made for: the elements that it sums in, and whether it keeps SciPy's order of summation."""
    acc = PARTS.get(problem.acc, problem.acc)
    return acc, "exact" if problem.exact and acc == "float64" else ""


@dataclass(frozen=True)
class Bound:
    """A problem bound to arrays of given strides: all that a launch needs besides pointers."""

    slots: np.ndarray
    units: int
    scratch_bytes: int
    order: tuple[int, ...]  # the kernel's axes in the order in which weights are packed
    tables: tuple[np.ndarray, ...]  # kept alive: `slots` holds their addresses


def run(
    kernel: int, bound: Bound, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: Any, fill: Any, threads: int,
    copies: Sequence[Copy] = (), writes: tuple[np.ndarray, ...] = (), report: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Launch a kernel on arrays: `w`, `bias` and `fill` as the kernel reads them.

    `copies` tell how `w` was made of the caller's weights, if by copies alone; `writes` are the arrays that the kernel writes
    to, if not `out` alone.  In the array `report`, zeros, it may leave what went wrong, 0 first if nothing did.
    """
    scratch = np.empty(bound.scratch_bytes * threads, np.uint8)
    launch(kernel, bound.slots, x, w, out, bias, fill, scratch, bound.units, threads)
    launched(kernel, bound, x, w, out, bias, fill, threads, copies, writes, report)


class ConvExecutor(ABC):
    """Executes a `ConvProblem` with one kernel of an engine."""

    operation: str

    def __init__(self, problem: ConvProblem, engine: Any, types: tuple[str, str] | None = None):
        """`types`: what the kernel is made for, if not the `kernel_types`."""
        self.problem = problem
        self.engine = engine
        self.part = PARTS.get(problem.acc, problem.acc)
        self.itemsize = np.dtype(self.part).itemsize
        self.kernel = engine.kernel(self.operation, *(types or kernel_types(problem)))
        self._bounds: OrderedDict[tuple, Bound] = OrderedDict()

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        threads = costs.threads_worth_using(self.problem.flops, self.problem.nbytes, threads)
        bound = self._bind(x.strides, out.strides, threads)
        (weights, copies), biases, fills = self._pack(w, bound.order), self._constants(bias), self._constants(fill)
        run(self.kernel, bound, x, weights, out, biases, fills, threads, copies)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        p = self.problem
        x_steps = contiguous_strides((p.batch, p.channels, *p.in_shape), p.in_dtype)
        out_steps = contiguous_strides((p.batch, p.filters, *p.out_shape), p.out_dtype)
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        return self._bind(x_steps, out_steps, threads).scratch_bytes * threads

    @abstractmethod
    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list[Copy]]:
        """Weights as the kernel reads them, and the copies that made them, if copies did."""

    @abstractmethod
    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        """The record for arrays of these strides."""

    def _bind(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        key = (x_strides, out_strides, threads)
        bound = self._bounds.get(key)
        if bound is None:
            bound = self._bounds[key] = self._new_bound(x_strides, out_strides, threads)
            while len(self._bounds) > REMEMBERED:
                self._bounds.popitem(last=False)
        return bound

    def _constants(self, values: Any) -> np.ndarray | None:
        """Bias or fill values as the kernel reads them: real and imaginary parts alternate."""
        if values is None:
            return None
        array = np.atleast_1d(values)
        if np.ndim(values) == 0:
            constant(array)  # what lies beyond the borders is no array of the call
        if self.problem.acc in PARTS:
            return contiguous(array, self.problem.acc).view(self.part)
        return contiguous(array, self.part)

    def _real_matrix(self, w: np.ndarray) -> np.ndarray:
        """Complex weights (filter, plane, tap) as the real matrix of the same product, parts next to planes."""
        real, imag = (w.real, w.imag) if w.dtype.kind == "c" else (w, constant(np.zeros(w.shape, w.dtype)))
        filters, *planes, taps = w.shape
        if self.problem.in_dtype not in PARTS:
            packed = np.empty((filters, 2, *planes, taps), self.part)
            places = [(packed[:, 0], real, False), (packed[:, 1], imag, False)]
        else:
            packed = np.empty((filters, 2, *planes, 2, taps), self.part)
            places = [(packed[:, i, ..., i, :], real, False) for i in (0, 1)]
            places += [(packed[:, 1, ..., 0, :], imag, False), (packed[:, 0, ..., 1, :], imag, True)]
        for target, source, negative in places:
            copy_into(target, source, negative)
        return packed
