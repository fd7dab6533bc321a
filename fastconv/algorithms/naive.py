"""The reference as an implementation: complete, slow, and last in the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fastconv.problem import ConvProblem, LinesProblem, NormalizedProblem, PoolProblem, SeparableProblem, WindowProblem
from fastconv.separability import outer_product

__all__ = ["Naive", "refuse"]

Problem = ConvProblem | LinesProblem | NormalizedProblem | PoolProblem | SeparableProblem | WindowProblem


def refuse(problem: Problem) -> str | None:
    """The reference does every problem."""
    return None


def separable(
    reference: Any, problem: SeparableProblem, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, fill: Any
) -> None:
    """What a `SeparableProblem` stores of the sums with the outer product of its lines."""
    conv, before = problem.conv, out.copy()
    if problem.combined != "cross":
        reference.conv(conv, x, outer_product(w, conv.kernel_shape)[None, None], out, None, fill)
    with np.errstate(all="ignore"):
        if problem.combined in ("square", "root"):
            out *= out
        if problem.combined in ("add", "root"):
            out += before
        if problem.combined == "root":
            np.sqrt(out, out)
        if problem.combined == "cross":
            out[...] = sum(_along_axes(reference, conv, x, np.asarray(w), out, fill))


def _along_axes(
    reference: Any, conv: ConvProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, fill: Any
) -> Iterator[np.ndarray]:
    """The sums along each axis of several taps."""
    for axis, taps in enumerate(conv.kernel_shape):
        if taps > 1:
            shape = [taps if a == axis else 1 for a in range(conv.ndim)]
            pad = [n if a == axis else 0 for a, n in enumerate(conv.pad)]
            sums = np.empty_like(out)
            line = replace(conv, kernel_shape=tuple(shape), pad=tuple(pad))
            reference.conv(line, x, w[:taps].reshape(1, 1, *shape), sums, None, fill)
            w = w[taps:]
            yield sums


class Naive:
    """Executes any problem with `fastconv.reference`."""

    def __init__(self, problem: Problem, reference: Any):
        self.problem = problem
        self.reference = reference

    def __call__(
        self, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        if isinstance(self.problem, ConvProblem):
            self.reference.conv(self.problem, x, w, out, bias, fill)
        elif isinstance(self.problem, LinesProblem):
            self.reference.lines(self.problem, x, w, out, fill)
        elif isinstance(self.problem, SeparableProblem):
            separable(self.reference, self.problem, x, w, out, fill)
        elif isinstance(self.problem, NormalizedProblem):
            self.reference.normalized(self.problem, x, w, out, bias, fill)
        elif isinstance(self.problem, PoolProblem):
            self.reference.pool(self.problem, x, w, out)
        else:
            self.reference.window(self.problem, x, w, out, fill)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory, about: the reference copies what it needs."""
        return self.problem.nbytes
