"""What algorithms share that are made of convolutions: rows of the table, on the same engine, do these."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.problem import ConvProblem

__all__ = ["algorithm_of", "are_ready", "executor_of", "lacking"]


def _name(engine: Any) -> str:
    """The name of an engine's module in the table."""
    return engine.__name__.rpartition(".")[2].removesuffix("_cpu").replace("numba_cuda", "cuda")


def _row(part: ConvProblem, engine: str) -> Any:
    """The first row on an engine that can do a part, or None."""
    from fastconv.table import first_row

    return first_row(part, engine)


def lacking(parts: Iterable[ConvProblem], engine: str) -> ConvProblem | None:
    """The first part that an engine cannot do."""
    return next((part for part in parts if _row(part, engine) is None), None)


def are_ready(parts: Iterable[ConvProblem], engine: Any) -> bool:
    """Whether the kernels of all parts are compiled."""
    rows = [(_row(part, _name(engine)), part) for part in parts]
    return all(row is not None and row.is_ready(part) for row, part in rows)


def algorithm_of(part: ConvProblem, engine: Any) -> str:
    """The algorithm that computes a part; nothing that `lacking` finds."""
    return _row(part, _name(engine)).algorithm


def executor_of(part: ConvProblem, engine: Any) -> Any:
    """What computes a part; nothing that `lacking` finds."""
    return _row(part, _name(engine)).build(part)
