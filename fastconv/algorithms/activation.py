"""Functions of each element: axes merged into long lines, whatever the layout."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import contiguous_strides
from fastconv.engines.contract import ACTIVATION_FIELDS, ACTIVATIONS, DTYPE_CODES, record, slope_bits
from fastconv.problem import ActivationProblem, SoftmaxProblem

__all__ = ["COMPUTED_IN", "Activation", "Elementwise", "Steps", "is_ready", "merged", "refuse", "refuse_elements"]

Steps = tuple[int, ...]

UNITS_PER_THREAD = 4
# Units have at least so many elements, in whole cache lines.
LEAST, LINE = 8192, 64
# Elements that kernels move through scratch memory at once, and their gradients.
SCRATCH_ELEMENTS = 2 * 1024
COMPUTED_IN = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"}


def refuse(problem: Any) -> str | None:
    """Why the kernels of activations cannot do a problem, or None."""
    return refuse_elements(problem) if isinstance(problem, ActivationProblem) else "is for activations"


def refuse_elements(problem: ActivationProblem | SoftmaxProblem) -> str | None:
    """Why kernels cannot read or write the elements, or None."""
    if problem.dtype not in COMPUTED_IN or problem.dtype not in DTYPE_CODES:
        return f"does not read or write {problem.dtype}"
    return None


def is_ready(problem: ActivationProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("activation", COMPUTED_IN[problem.dtype])


class Elementwise:
    """Executes a problem whose arrays have one shape with an engine's kernel."""

    operation: str

    def __init__(self, problem: ActivationProblem | SoftmaxProblem, engine: Any):
        self.problem = problem
        self.acc = COMPUTED_IN[problem.dtype]
        self.kernel = engine.kernel(self.operation, self.acc)
        self._flops, self._nbytes = problem.flops, problem.nbytes
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)

    def __call__(
        self, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: None, fill: Any, threads: int
    ) -> None:
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        bound = self._bind(x.strides, x.strides if w is None else w.strides, out.strides, threads)
        run(self.kernel, bound, x, w, out, None, None, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        steps = contiguous_strides(self.problem.shape, self.problem.dtype)
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        return self._bind(steps, steps, steps, threads).scratch_bytes * threads

    def _new_bound(self, x: Steps, w: Steps, out: Steps, threads: int) -> Bound:
        """The record for arrays of these strides."""
        raise NotImplementedError


class Activation(Elementwise):
    """Executes an `ActivationProblem` with an engine's kernel."""

    operation = "activation"
    problem: ActivationProblem

    def _new_bound(self, x: Steps, w: Steps, out: Steps, threads: int) -> Bound:
        """The record for arrays of these strides."""
        p = self.problem
        size = np.dtype(p.dtype).itemsize
        (run_length, *steps), *outer = merged(p.shape, x, w, out) or [(1, size, size, size)]
        lines = prod(n for n, *_ in outer)
        piece = strip = 0
        if threads > 1:
            share = max(LEAST, -(-run_length * lines // (threads * UNITS_PER_THREAD)))
            piece, strip = -(-min(share, run_length) // LINE) * LINE, max(1, share // run_length)
        piece, strip = piece or run_length, min(strip or lines, lines)
        pieces = -(-run_length // piece)
        direct = p.dtype == self.acc and all(step == size for step in steps)
        axes = np.array(outer, np.int64).reshape(-1, 4)
        scratch_bytes = 0 if direct else SCRATCH_ELEMENTS * np.dtype(self.acc).itemsize
        values = {
            "scratch_bytes": scratch_bytes,
            "activation": ACTIVATIONS[p.name], "slope": slope_bits(p.slope), "bound": slope_bits(p.bound), "backward": p.backward,
            "dtype": DTYPE_CODES[p.dtype],
            "run": run_length, "x_step": steps[0], "w_step": steps[1], "out_step": steps[2],
            "piece": piece, "n_pieces": pieces, "lines": lines, "strip": strip,
            "n_axes": len(outer), "axes": axes.ctypes.data, "direct": direct,
        }  # fmt: skip
        return Bound(record(ACTIVATION_FIELDS, values), -(-lines // strip) * pieces, scratch_bytes, (), (axes,))


def merged(shape: Steps, x: Steps, w: Steps, out: Steps) -> list[tuple[int, int, int, int]]:
    """(size, strides) of as few axes as reach every element, the innermost first."""
    axes = sorted((abs(o), n, a, b, o) for n, a, b, o in zip(shape, x, w, out, strict=True) if n > 1)
    found: list[tuple[int, int, int, int]] = []
    for _, n, *steps in axes:
        if found and steps == [found[-1][0] * step for step in found[-1][1:]]:
            found[-1] = (found[-1][0] * n, *found[-1][1:])  # type: ignore[assignment]
        else:
            found.append((n, *steps))  # type: ignore[arg-type]
    return found
