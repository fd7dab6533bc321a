"""What a run over random problems came to: ratios of times, their percentiles, and the whole of it as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from fastconv import about
from fastconv.bench import machine

__all__ = ["Ratios"]

PERCENTILES = (50, 90, 95, 99, 100)


@dataclass
class Ratios:
    """Results, dataclasses that have a ``ratio``, and how they were measured."""

    seed: int
    threads: int
    seconds: float = 0.0
    results: list[Any] = field(default_factory=list)

    @property
    def worst(self) -> list[Any]:
        """Results, those of the largest ratios first."""
        return sorted(self.results, key=lambda result: -result.ratio)

    def percentiles(self) -> dict[int, float]:
        """Of the ratios."""
        ratios = [result.ratio for result in self.results]
        return {p: float(np.percentile(ratios, p)) for p in PERCENTILES} if ratios else {}

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "machine_info": machine.machine_info(self.threads),
            "commit_info": machine.commit_info(),
            "datetime": datetime.now(timezone.utc).isoformat(),
            "versions": about.versions(),
            "seed": self.seed,
            "threads": self.threads,
            "seconds": self.seconds,
            "percentiles": {str(p): ratio for p, ratio in self.percentiles().items()},
            "results": [asdict(result) | {"ratio": result.ratio} for result in self.results],
        }
