"""What a run shows of the targets: all their cells, for the page."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fastconv.bench.case import Case
from fastconv.bench.results import Results, Row, geometric_mean
from fastconv.bench.target_lists import FILTERS, LAYERS, NETWORK_LAYERS, Target

__all__ = ["TARGETS", "Cell", "Outcome", "Target", "cases_of", "is_copied", "is_fused", "is_summed", "outcomes"]

TARGETS = (*FILTERS, *NETWORK_LAYERS, *LAYERS)


def cases_of(cases: Iterable[Case], parts: Collection[str], threads: int = 1) -> list[Case]:
    """The cases of the targets for some parts of the benchmark, on so many threads."""
    wanted = [target for target in TARGETS if target.part in parts and threads >= target.threads]
    return [case for case in cases if any(target.has(case.name) for target in wanted)]


def is_copied(case: Case) -> bool:
    """Whether a target holds the case against copying as many bytes."""
    return any(target.against == "copy" and target.has(case.name) for target in TARGETS)


def is_summed(case: Case) -> bool:
    """Whether a target holds the case against its multiply-adds alone."""
    return any(target.against == "peak" and target.has(case.name) for target in TARGETS)


def is_fused(case: Case) -> bool:
    """Whether a target holds the case against its parts, one after the other."""
    return any(target.against == "unfused" and target.has(case.name) for target in TARGETS)


LIMITS = {
    "peak": "of the multiply-add peak",
    "copy": "of the copy bandwidth",
    "unfused": "of bias' and activation's own time saved",
}


@dataclass(frozen=True)
class Cell:
    """One case of a target, on one engine; `once`, the rival was timed by a single call; `row`, the layer.

    `errors`: the engine's and PyTorch's, root mean square, in parts of the values', if they are known.  `limit`: the part
    that is reached of what the peak or the bandwidth allows the direct sum.  `weight`, in means of what is saved: seconds.
    """

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    value: float
    once: bool = False
    row: str = ""
    batch: int = 0
    errors: tuple[float, float] | None = None
    limit: float | None = None
    weight: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What an engine reaches of a target."""

    target: Target
    engine: str
    cells: tuple[Cell, ...]

    @property
    def kind_of_mean(self) -> str:
        return "Of all seconds" if self.target.against == "unfused" else "Geometric mean"

    @property
    def mean(self) -> float:
        """Geometric; of parts that are saved, the part of all seconds."""
        if self.target.against == "unfused":
            return sum(cell.value * cell.weight for cell in self.cells) / sum(cell.weight for cell in self.cells)
        return geometric_mean(cell.value for cell in self.cells) or 0.0

    @property
    def least(self) -> float:
        return min(cell.value for cell in self.cells)

    @property
    def error(self) -> float | None:
        """The engine's errors over PyTorch's, geometric mean."""
        return geometric_mean(ours / theirs for ours, theirs in (cell.errors for cell in self.cells if cell.errors))

    @property
    def reached(self) -> bool:
        return self.mean >= self.target.least and self.least >= self.target.least_cell


def outcomes(results: Results) -> list[Outcome]:
    """The targets that the results have cases of, for each engine."""
    found = []
    for target in TARGETS:
        for engine in results.engines:
            cells = tuple(_cells(results, target, engine))
            if cells:
                found.append(Outcome(target, engine, cells))
    return found


def _cells(results: Results, target: Target, engine: str) -> list[Cell]:
    cells = []
    against = target.against
    for case, rows in results.cases.items():
        if engine in rows and engine != against and target.has(case):
            value = _value(results, rows, rows[engine], against)
            if value is not None:
                info, rival = rows[engine].info, rows.get(against)
                torch = rows.get("torch")
                once = rival is not None and rival.kind == "rival" and rival.rounds == 1
                labels = info.get("row", ""), info.get("batch", 0)
                mine, other = (row.info.get("relative_error") if row else None for row in (rows[engine], torch))
                errors = None if not mine or not other else (mine, other)
                limit = results.limit(rows[engine]) if target.group else None
                own = rows[f"{engine} unfused"].median - rows[f"{engine} alone"].median if against == "unfused" else 0.0
                shape, kernel = tuple(info["shape"]), tuple(info["kernel"])
                cells.append(Cell(shape, kernel, value, once, *labels, errors, limit, own))
    return cells


def _value(results: Results, rows: dict[str, Row], ours: Row, against: str) -> float | None:
    """Times as fast, or the part of what the machine allows."""
    if against == "unfused":
        unfused, alone = (rows.get(f"{ours.contestant} {part}") for part in ("unfused", "alone"))
        if unfused is None or alone is None or unfused.median <= alone.median:
            return None
        return (unfused.median - ours.median) / (unfused.median - alone.median)
    if against == "best":
        times = [row.median for row in rows.values() if row.kind == "rival"]
        return min(times) / ours.median if times else None
    if against == "torch either way":
        other = results.layers.get((ours.info.get("layer", ""), "torch"))
        return other / ours.median if other and "torch" in rows else None
    return rows[against].median / ours.median if against in rows else None
