"""Who is timed: fastconv's engines and the libraries that people use today.

A contestant turns a case and its arguments into a call without arguments that gives the
case's result, or says why it cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from fastconv.bench.case import Case
from fastconv.plan import plan

__all__ = ["Adapter", "Call", "Contestant", "Engine", "Rival", "Unsupported", "WrongOutput", "fastconv_function"]

Call = Callable[[], Any]
Adapter = Callable[[Case, np.ndarray, Any], Call]


class Unsupported(Exception):
    """A contestant cannot do a case; the message tells why."""


class WrongOutput(Exception):
    """A contestant's result is not what it should be."""


@dataclass(frozen=True)
class Engine:
    """fastconv itself, on one engine."""

    name: str
    kind: str = "engine"

    @property
    def compiles(self) -> bool:
        """Whether the first call may take longer than the next."""
        return self.name in ("numba", "cuda")

    def missing(self) -> str | None:
        """Why the engine cannot run here, or None."""
        modules = {"numba": "numba_cpu", "cython": "cython_cpu", "cuda": "numba_cuda"}
        if self.name not in modules:
            return None
        try:
            import_module(f"fastconv.engines.{modules[self.name]}")
            if self.name == "cuda" and not import_module("numba.cuda").is_available():
                return "no CUDA device"
        except ImportError as error:
            return str(error)
        return None

    def version(self) -> str:
        import fastconv

        return fastconv.__version__

    def slack(self, case: Case) -> int:
        """By how much integer results may differ."""
        return 0

    def session(self, threads: int, precision: str = "default") -> AbstractContextManager[Any]:
        """The settings under which this contestant's calls are made."""
        import fastconv

        return fastconv.use(engine=self.name, threads=threads, precision=precision)

    def prepare(self, case: Case, x: np.ndarray, w: Any) -> Call:
        function, keywords = fastconv_function(case), case.keywords
        arguments = case.positional(x, w)
        if case.prepared:
            constant = arguments[1].copy()
            constant.flags.writeable = False  # else it would be compared with what was packed, at each call
            function = plan(function, arguments[0], constant, *arguments[2:], **keywords).prepare(constant)
            arguments, keywords = arguments[:1], {}

        def call() -> Any:
            try:
                return function(*arguments, **keywords)
            except NotImplementedError as error:
                raise Unsupported(str(error).partition(". Problem:")[0]) from error

        return call


@dataclass(frozen=True)
class Rival:
    """Another library.

    Attributes
    ----------
    name, package : str
        What it is called here, and the module to import.
    adapters : dict of str to callable
        By function name; ``function(case, x, w)`` gives the call or raises `Unsupported`.
    use_threads : callable
        Sets the library's number of threads.
    settings : callable
        Gives a context that calls are made in.
    slacks : dict of str to int
        By function name, by how much integer results may differ, for other rules of rounding.
    """

    name: str
    package: str
    adapters: dict[str, Adapter] = field(repr=False)
    use_threads: Callable[[int], None] = field(repr=False)
    slacks: dict[str, int] = field(default_factory=dict, repr=False)
    settings: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext, repr=False)
    kind: str = "rival"
    compiles: bool = False

    def missing(self) -> str | None:
        """Why the library cannot be used here, or None."""
        try:
            import_module(self.package)
        except ImportError as error:
            return f"it is not installed ({error})"
        return None

    def version(self) -> str:
        return str(import_module(self.package).__version__)

    def session(self, threads: int, precision: str = "default") -> AbstractContextManager[Any]:
        """The settings under which this contestant's calls are made."""
        self.use_threads(threads)
        return self.settings()

    def slack(self, case: Case) -> int:
        return self.slacks.get(case.function, 0)

    def prepare(self, case: Case, x: np.ndarray, w: Any) -> Call:
        if case.function not in self.adapters:
            raise Unsupported("it has nothing like it for arrays")
        return self.adapters[case.function](case, x, w)


Contestant = Engine | Rival


def fastconv_function(case: Case) -> Callable[..., Any]:
    """The function of fastconv that a case calls."""
    module, _, name = case.function.rpartition(".")
    return getattr(import_module(f"fastconv.{module}"), name)
