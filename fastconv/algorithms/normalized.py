"""The direct filter over the samples that are not NaN, with its sums scaled by the weight of those."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastconv.algorithms.executor import kernel_types, refuse_types
from fastconv.algorithms.filter import Filter
from fastconv.algorithms.geometry import Axis, mostly_unread
from fastconv.engines.contract import NORMALIZED_FIELDS
from fastconv.problem import NormalizedProblem

__all__ = ["Normalized", "is_ready", "refuse"]

# Windows are rounded up to whole vectors, of at most so many bytes.
LINE = 64


def refuse(problem: Any) -> str | None:
    """Why the normalized filter cannot do a problem, or None."""
    if not isinstance(problem, NormalizedProblem):
        return "is for convolutions of data with NaN"
    if problem.conv.acc not in ("float32", "float64"):
        return f"does not normalize sums in {problem.conv.acc}"
    if mostly_unread(problem.conv):
        return "stages windows whole, which large strides or dilations leave mostly unread"
    return refuse_types(problem.conv)


def is_ready(problem: NormalizedProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("normalized", *kernel_types(problem.conv))


class Normalized(Filter):
    """Executes a `NormalizedProblem` with an engine's normalized filter.

    Patches are staged always: there NaN is found and replaced while they are in cache.  Separate
    passes (isnan, where, two filters, divide) took 35 rather than 2.6 ms for 3x3 on 2048x2048 float32, two threads.
    """

    operation = "normalized"
    fields = NORMALIZED_FIELDS
    staged = True

    def __init__(self, problem: NormalizedProblem, engine: Any):
        self.renormalize = problem.renormalize
        super().__init__(problem.conv, engine)

    def _patch(self, y: Axis, x: Axis) -> tuple[int, int]:
        # Exact tiles write beyond the end of a single row, where the weights of valid samples are.
        return super()._patch(replace(y, out_size=max(y.out_size, 2)) if self.problem.exact else y, x)

    def _scratch_bytes(self, window: int, patch: int, taps: int) -> int:
        return 2 * ((window + patch) * self.itemsize + LINE)

    def _further_values(self) -> dict[str, int]:
        return {"renormalize": self.renormalize}
