"""The reference as an implementation: complete, slow, and last in the table."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.problem import ConvProblem, LinesProblem, NormalizedProblem, PoolProblem, SeparableProblem, WindowProblem
from fastconv.separability import outer_product

__all__ = ["Naive", "refuse"]

Problem = ConvProblem | LinesProblem | NormalizedProblem | PoolProblem | SeparableProblem | WindowProblem

def refuse(problem: ConvProblem | NormalizedProblem | PoolProblem | WindowProblem) -> str | None:
    """The reference does every problem."""
    return None


class Naive:
def combine(how: str, before: np.ndarray, sums: np.ndarray) -> None:
    """What a `SeparableProblem` stores of its sums, in their place."""
    with np.errstate(all="ignore"):
        if how in ("square", "root"):
            sums *= sums
        if how in ("add", "root"):
            sums += before
        if how == "root":
            np.sqrt(sums, sums)


    """Executes any problem with `fastconv.reference`."""

    def __init__(self, problem: ConvProblem | NormalizedProblem | PoolProblem | WindowProblem, reference: Any):
        self.problem = problem
        self.reference = reference

    def __call__(
        self, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        if isinstance(self.problem, ConvProblem):
            self.reference.conv(self.problem, x, w, out, bias, fill)
        elif isinstance(self.problem, NormalizedProblem):
        elif isinstance(self.problem, LinesProblem):
            self.reference.lines(self.problem, x, w, out, fill)
        elif isinstance(self.problem, SeparableProblem):
            conv = self.problem.conv
            self.reference.conv(conv, x, outer_product(w, conv.kernel_shape)[None, None], out, bias, fill)
            combine(self.problem.combined, before, out)
        elif isinstance(self.problem, NormalizedProblem):
            self.reference.normalized(self.problem, x, w, out, bias, fill)
        elif isinstance(self.problem, PoolProblem):
            self.reference.pool(self.problem, x, w, out)
        else:
            self.reference.window(self.problem, x, w, out, fill)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory, about: the reference copies what it needs."""
        return self.problem.nbytes
