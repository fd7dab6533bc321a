"""The reference as an implementation: complete, slow, and last in the table."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.problem import Problem

__all__ = ["Naive", "refuse"]


def refuse(problem: Problem) -> str | None:
    """The reference does every problem."""
    return None


class Naive:
    """Executes any problem with `fastconv.reference`."""

    def __init__(self, problem: Problem, reference: Any):
        self.problem = problem
        self.reference = reference

    def __call__(
        self, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        self.reference.compute(self.problem, x, w, out, bias, fill)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory, about: the reference copies what it needs."""
        return self.problem.nbytes
