"""What the patched functions did: calls served, calls left to the original and why."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Counts", "PatchReport", "Tally", "reason_of"]

# Reasons that are told apart for one function; further ones share a line.
MOST_REASONS = 20
OTHER_REASONS = "other reasons"


@dataclass(frozen=True)
class Counts:
    """Calls of one patched function.

    Attributes
    ----------
    served : int
        Calls that fastconv computed.
    fallen_back : dict of str to int
        Calls that the original computed, by reason.
    rejected : int
        Calls that raised an exception, the original's.
    """

    served: int = 0
    fallen_back: dict[str, int] = field(default_factory=dict)
    rejected: int = 0


class PatchReport(dict[str, Counts]):
    """`Counts` by the patched function's name; ``print`` shows a table."""

    def __str__(self) -> str:
        if not self:
            return "no call of a patched function"
        width = max(map(len, self))
        lines = [f"{'function':<{width}}  {'served':>8}  {'fallen back':>11}  {'rejected':>8}"]
        for name, counts in sorted(self.items()):
            fallen = sum(counts.fallen_back.values())
            lines.append(f"{name:<{width}}  {counts.served:>8}  {fallen:>11}  {counts.rejected:>8}")
            by_number = sorted(counts.fallen_back.items(), key=lambda item: -item[1])
            lines += [f"{'':<{width}}  {'':>8}  {number:>11}  {reason}" for reason, number in by_number]
        return "\n".join(lines)


class Tally:
    """The counters of one patched function, safe from several threads."""

    def __init__(self) -> None:
        self._served = self._rejected = 0
        self._reasons: Counter[str] = Counter()

    def serve(self) -> None:
        with _lock:
            self._served += 1

    def reject(self) -> None:
        with _lock:
            self._rejected += 1

    def fall_back(self, reason: str) -> None:
        with _lock:
            known = reason in self._reasons or len(self._reasons) < MOST_REASONS
            self._reasons[reason if known else OTHER_REASONS] += 1

    def counts(self, *, reset: bool = False) -> Counts:
        """What was counted; `reset` starts at zero again."""
        with _lock:
            counts = Counts(self._served, dict(self._reasons), self._rejected)
            if reset:
                self._served = self._rejected = 0
                self._reasons.clear()
            return counts


_lock = threading.Lock()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # another thread may hold it when this one forks


def reason_of(error: Exception) -> str:
    """An exception as a reason: without the values of the call, which would make each one different."""
    message = str(error).partition("; got ")[0].partition(" Problem: ")[0]
    return f"{type(error).__name__}: {message}"
