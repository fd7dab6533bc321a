"""Results of a run, as a document in pytest-benchmark's JSON format.

Each timed (case, contestant) is an entry of ``benchmarks``; what it was is in its
``extra_info``.  The key ``fastconv`` holds what that format has no place for: the
machine's ceilings, what was not run and why, wrong outputs, memory.  Files that
pytest-benchmark wrote from `benchmarks/` are read as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import exp, log
from pathlib import Path
from statistics import mean, quantiles, stdev
from typing import Any

import numpy as np

from fastconv.bench.case import Case

__all__ = ["OVERHEAD", "Results", "Row", "case_info", "entry", "geometric_mean", "stats"]

OVERHEAD = "overhead"
VERSION = "5.1.0"  # of the pytest-benchmark whose format this is


def stats(seconds: list[float], iterations: int = 1) -> dict[str, Any]:
    """The statistics of pytest-benchmark, under its names."""
    ordered = sorted(seconds)
    q1, q2, q3 = quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    iqr, spread, centre = q3 - q1, stdev(ordered) if len(ordered) > 1 else 0.0, mean(ordered)
    low, high = q1 - 1.5 * iqr, q3 + 1.5 * iqr
    far = sum(abs(s - centre) > spread for s in ordered)
    outside = sum(s < low or s > high for s in ordered)
    inside = [s for s in ordered if low <= s <= high]
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": centre,
        "stddev": spread,
        "rounds": len(ordered),
        "median": q2,
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outside,
        "stddev_outliers": far,
        "outliers": f"{far};{outside}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": 1.0 / centre,
        "total": sum(ordered),
        "iterations": iterations,
    }


def case_info(case: Case, contestant: Any, threads: int, work: tuple[int, int] | None) -> dict[str, Any]:
    """An entry's ``extra_info``; `work` is the problem's operations and bytes."""
    return {
        "case": case.name,
        "family": case.family,
        "function": case.function,
        "variant": case.variant,
        "dtype": case.dtype,
        "picture": case.source,
        "shape": list(case.shape),
        "kernel": list(case.kernel),
        "image_size": case.image_size,
        "kernel_size": case.window[-1],
        "contestant": contestant.name,
        "kind": contestant.kind,
        "version": contestant.version(),
        "threads": threads,
        "flops": work[0] if work else None,
        "nbytes": work[1] if work else None,
        **case.labels,
    }


def entry(group: str, name: str, seconds: list[float], info: dict[str, Any], iterations: int = 1) -> dict[str, Any]:
    """One element of ``benchmarks``."""
    full = f"{name}[{info['contestant']}]"
    return {
        "group": group,
        "name": full,
        "fullname": f"fastconv bench::{full}",
        "params": {"case": name, "contestant": info["contestant"]},
        "param": f"{name}-{info['contestant']}",
        "extra_info": info,
        "options": {"disable_gc": True, "timer": "perf_counter", "min_rounds": 1, "max_time": 0.0, "warmup": True},
        "stats": stats(seconds, iterations),
    }


@dataclass(frozen=True)
class Row:
    """One timed contestant of a case, or an overhead."""

    case: str
    family: str
    contestant: str
    kind: str
    version: str
    median: float
    q1: float
    q3: float
    rounds: int
    info: dict[str, Any]

    @property
    def gflops(self) -> float | None:
        return self.info["flops"] / self.median / 1e9 if self.info.get("flops") else None

    @property
    def gbytes(self) -> float | None:
        return self.info["nbytes"] / self.median / 1e9 if self.info.get("nbytes") else None

    @property
    def spread(self) -> float:
        """Half the interquartile range, relative to the median."""
        return (self.q3 - self.q1) / 2.0 / self.median


class Results:
    """A run's document, and the questions that reports ask of it."""

    def __init__(self, document: dict[str, Any]):
        self.document = document
        self.more: dict[str, Any] = document.get("fastconv", {})
        try:
            every = [_row(benchmark) for benchmark in document["benchmarks"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"results must be a JSON document of pytest-benchmark; it has no {error}") from None
        self.rows = [row for row in every if row.family != OVERHEAD]
        self.overheads = [row for row in every if row.family == OVERHEAD]

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file; `ValueError` if it is not one of ours or of pytest-benchmark's."""
        try:
            document = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"results must be a JSON document; {path} is not: {error}") from None
        if not isinstance(document, dict):
            raise ValueError(
                f"results must be a JSON document of pytest-benchmark; {path} holds a {type(document).__name__}"
            )
        return cls(document)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document, indent=1) + "\n")

    @property
    def wrong(self) -> list[dict[str, str]]:
        """Wrong outputs: case, contestant, message."""
        return self.more.get("wrong", [])

    @property
    def not_run(self) -> list[dict[str, str]]:
        """What was not timed: case, contestant, reason."""
        return self.more.get("not_run", [])

    @property
    def missing(self) -> dict[str, str]:
        """Contestants that could not take part, and why."""
        return self.more.get("missing", {})

    @cached_property
    def cases(self) -> dict[str, dict[str, Row]]:
        """Rows by case and contestant, in the order of the run."""
        found: dict[str, dict[str, Row]] = {}
        for row in self.rows:
            found.setdefault(row.case, {})[row.contestant] = row
        return found

    @cached_property
    def engines(self) -> list[str]:
        return _unique(row.contestant for row in self.rows if row.kind == "engine")

    @cached_property
    def rivals(self) -> list[str]:
        return _unique(row.contestant for row in self.rows if row.kind == "rival")

    @cached_property
    def layers(self) -> dict[tuple[str, str], float]:
        """The shorter median time of a layer's operation in the two layouts, by its name and contestant."""
        least: dict[tuple[str, str], float] = {}
        for row in self.rows:
            key = (row.info.get("layer", ""), row.contestant)
            least[key] = min(row.median, least.get(key, row.median))
        return least

    def copy_rate(self, nbytes: int | None) -> float | None:
        """Measured bytes a second of a copy that moves `nbytes`."""
        copy = {int(size): rate for size, rate in self.more.get("ceilings", {}).get("copy", {}).items()}
        if not copy or not nbytes:
            return None
        sizes = sorted(copy)
        return exp(float(np.interp(log(nbytes), np.log(sizes), np.log([copy[s] for s in sizes]))))

    def limit(self, row: Row) -> float | None:
        """The part that a row reaches of what the peak or copying as many bytes allows, whichever binds."""
        ceilings, rate = self.more.get("ceilings", {}), self.copy_rate(row.info.get("nbytes"))
        products = {"float32": 1, "uint8": ceilings.get("products_of_bytes", 0)}.get(row.info["dtype"], 0)
        peak = products * ceilings.get("fma_float32", 0.0)
        if not peak or not rate or not row.gflops:
            return None
        return max(row.info["flops"] / peak, row.info["nbytes"] / rate) / row.median

    def of(self, **info: Any) -> list[Row]:
        """The rows whose ``extra_info`` has these values."""
        return [row for row in self.rows if all(row.info.get(name) == value for name, value in info.items())]

    def speedup(self, case: str, engine: str, rival: str) -> float | None:
        """The rival's median time over the engine's, None if one of them has none."""
        rows = self.cases[case]
        if engine not in rows or rival not in rows:
            return None
        return rows[rival].median / rows[engine].median

    def speedups(self, engine: str, rival: str, **info: Any) -> list[float]:
        """Of all cases with these values."""
        cases = _unique(row.case for row in self.of(**info))
        return [s for case in cases if (s := self.speedup(case, engine, rival)) is not None]

    def best_rival(self, case: str) -> Row | None:
        return min(
            (row for row in self.cases[case].values() if row.kind == "rival"), key=lambda row: row.median, default=None
        )

    def losses(self) -> list[tuple[str, str, str, float]]:
        """Case, engine, rival and speed-up wherever a rival was faster than the engine, worst first."""
        found = [
            (case, engine, rival, s)
            for case in self.cases
            for engine in self.engines
            for rival in self.rivals
            if engine != "reference" and (s := self.speedup(case, engine, rival)) is not None and s < 1.0
        ]
        return sorted(found, key=lambda loss: loss[3])


def geometric_mean(values: Iterable[float]) -> float | None:
    """None if there are no values."""
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs)) if logs else None


def _row(benchmark: dict[str, Any]) -> Row:
    info, numbers = benchmark["extra_info"], benchmark["stats"]
    return Row(
        info["case"],
        benchmark["group"] if benchmark["group"] == OVERHEAD else info["family"],
        info["contestant"],
        info["kind"],
        info["version"],
        numbers["median"],
        numbers["q1"],
        numbers["q3"],
        numbers["rounds"],
        info,
    )


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
