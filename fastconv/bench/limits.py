"""What the machine allows, as a contestant: called in turn with the case that it limits, on as many threads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["Limit"]


class Limit:
    """A contestant that is no library: it compiles nothing in the time of a case, and any precision is its own."""

    compiles = False
    _threads = 1

    def version(self) -> str:
        return ""

    def session(self, threads: int, precision: str = "default") -> AbstractContextManager[Any]:
        self._threads = threads
        return nullcontext()
