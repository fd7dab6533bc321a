"""The duel: random calls of SciPy's functions, timed on SciPy and on fastconv in turn.

Both sides are called once before the clock starts; then blocks of calls alternate, each of at
least a millisecond, and medians are compared.  Where fastconv is not clearly faster, more
blocks follow.  fastconv's first and last results must be SciPy's.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

import fastconv
from fastconv.bench.dice import Array
from fastconv.bench.random_problems import Problem
from fastconv.bench.ratios import Ratios

__all__ = ["SIDES", "Duel", "Effort", "Result", "compare", "fight", "run"]

SIDES = ("scipy", "fastconv")
BLOCK = 1e-3
SHORT_CALL = 10e-3  # before a block of shorter calls there is one that is not timed, to get its caches back


@dataclass(frozen=True)
class Effort:
    """How long to measure a problem.

    Attributes
    ----------
    seconds : float
        After which no further round of blocks begins.
    rounds : tuple of int
        At least and at most so many.
    close : float
        From this ratio on, a problem is measured three times as long.
    """

    seconds: float = 0.15
    rounds: tuple[int, int] = (3, 21)
    close: float = 0.8


@dataclass
class Result:
    """What came of one problem; times in seconds, by side."""

    index: int
    function: str
    problem: str
    medians: dict[str, float]
    first: dict[str, float]
    rounds: int
    error: float
    allowed: float

    @property
    def ratio(self) -> float:
        return self.medians["fastconv"] / self.medians["scipy"]


@dataclass
class Duel(Ratios):
    """What came of a run: time(fastconv)/time(SciPy)."""

    wrong: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)  # by SciPy

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return super().document() | {"wrong": self.wrong, "refused": self.refused}


class _Side:
    """One library's call."""

    def __init__(self, library: str, problem: Problem, arguments: list[Any], options: dict[str, Any]):
        self.call = problem.call(library, arguments, options)
        self.samples: list[float] = []
        self.output: Any = None
        self.first = self.estimate = self._seconds(1)

    def warm(self) -> None:
        self.estimate = self._seconds(1)

    def block(self) -> None:
        if self.estimate < SHORT_CALL:
            self._seconds(1)
        times = max(1, int(BLOCK / self.estimate) + 1) if self.estimate < BLOCK else 1
        self.samples.append(self._seconds(times) / times)
        self.estimate = self.samples[-1]

    def _seconds(self, times: int) -> float:
        function, arguments, options = self.call
        repeat = range(times)
        start = time.perf_counter()
        for _ in repeat:
            output = function(*arguments, **options)
        seconds = time.perf_counter() - start
        self.output = output
        return max(seconds, 1e-9)


def fight(problem: Problem, effort: Effort = Effort()) -> Result:
    """Time one problem on both sides.

    Raises
    ------
    ValueError
        If SciPy refuses it.
    AssertionError
        If fastconv fails or gives another result.
    """
    arguments, options = problem.make()
    try:
        scipy = _Side("scipy", problem, arguments, options)
    except Exception as cause:
        raise ValueError(f"{type(cause).__name__}: {cause}") from cause
    expected = scipy.output
    np.full(expected.nbytes, 0xA5, np.uint8)  # pixels that are never written must not look right
    try:
        ours = _Side("fastconv", problem, arguments, options)
    except Exception as cause:
        raise AssertionError(f"fastconv fails: {type(cause).__name__}: {cause}") from cause
    allowed = _allowed(problem, arguments, options, expected)
    error = compare(ours.output, expected, allowed)
    rounds = _alternate([scipy, ours], effort)
    error = max(error, compare(ours.output, expected, allowed))
    medians = {name: median(side.samples) for name, side in zip(SIDES, (scipy, ours), strict=True)}
    first = {"scipy": scipy.first, "fastconv": ours.first}
    return Result(problem.index, problem.function, str(problem), medians, first, rounds, error, allowed)


def _alternate(sides: list[_Side], effort: Effort) -> int:
    """Blocks of both sides in turn; the number of rounds."""
    for side in sides:
        side.warm()
    rounds, start = 0, time.perf_counter()
    while rounds < 3 * effort.rounds[1]:
        for side in sides if rounds % 2 else sides[::-1]:
            side.block()
        rounds += 1
        scipy, ours = (median(side.samples) for side in sides)
        share = 3 if ours > effort.close * scipy else 1
        if rounds >= effort.rounds[0] * share and (
            rounds >= effort.rounds[1] * share or time.perf_counter() - start > effort.seconds * share
        ):
            break
    return rounds


def _allowed(problem: Problem, arguments: list[Any], options: dict[str, Any], expected: np.ndarray) -> float:
    """What a floating-point result may differ by: rounding errors of a sum of n terms grow like sqrt(n)."""
    image, *others = arguments
    if expected.dtype.kind not in "fc":
        return 0.0
    arrays = (a for a in (*arguments, expected) if isinstance(a, np.ndarray))  # SciPy may sum in any of their dtypes
    floats = [a.dtype for a in arrays if a.dtype.kind in "fc"]
    eps = max(float(np.finfo(dtype).eps) for dtype in floats)
    scale = max(float(np.abs(image).max()), abs(options.get("cval", 0.0)), abs(options.get("fillvalue", 0.0)), 1e-300)
    for value, what in zip(others, problem.arguments[1:], strict=True):
        if isinstance(what, Array):
            scale *= float(np.abs(value).sum())
    return (8 + 4 * problem.taps**0.5) * eps * scale * problem.gain


def compare(actual: Any, expected: np.ndarray, allowed: float) -> float:
    """The largest error of a result; `AssertionError` if that is not allowed."""
    kind = tuple((type(value).__name__, str(value.dtype), value.shape) for value in (actual, expected))
    assert kind[0] == kind[1], f"fastconv gives {kind[0]}, SciPy {kind[1]}"
    same = actual == expected
    if expected.dtype.kind in "fc":
        same |= np.isnan(actual) & np.isnan(expected)
    if same.all():
        return 0.0
    if expected.dtype.kind == "b":
        error = (~same).astype(float)
    else:
        wide = np.complex128 if expected.dtype.kind == "c" else np.float64
        with np.errstate(invalid="ignore"):
            error = np.where(same, 0.0, np.abs(actual.astype(wide) - expected.astype(wide)))
    error[np.isnan(error)] = np.inf
    worst = float(error.max())
    if not worst <= allowed or allowed == 0.0:
        at = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
        raise AssertionError(
            f"{int((error > allowed).sum())} of {error.size} elements are wrong; at {at} fastconv gives {actual[at]!r}, "
            f"SciPy {expected[at]!r} (error {worst:.3g}, allowed {allowed:.3g})"
        )
    return worst


def run(
    problems: Iterable[Problem],
    *,
    seed: int,
    threads: int,
    effort: Effort = Effort(),
    progress: Callable[[Problem], None] = lambda problem: None,
) -> Duel:
    """Time problems with `threads` threads at both sides' disposal."""
    import threadpoolctl

    duel, start = Duel(seed, threads), time.perf_counter()
    collected = gc.isenabled()
    with threadpoolctl.threadpool_limits(threads), fastconv.use(threads=threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for problem in problems:
            progress(problem)
            label = {"index": problem.index, "function": problem.function, "problem": str(problem)}
            gc.collect()
            gc.disable()
            try:
                duel.results.append(fight(problem, effort))
            except AssertionError as message:
                duel.wrong.append({**label, "message": str(message)})
            except ValueError as message:
                duel.refused.append({**label, "message": str(message)})
            finally:
                if collected:
                    gc.enable()
    duel.seconds = time.perf_counter() - start
    return duel
