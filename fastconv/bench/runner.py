"""Runs cases: every contestant in turn, in blocks, its output checked before and after.

The blocks of all contestants are interleaved, so that a machine that changes its pace
changes it for all.  A block begins with calls that are not timed, until the threads of the one
before have gone to sleep, its own are awake, and the caches are its own.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from math import inf
from typing import Any

import numpy as np

import fastconv
from fastconv import about
from fastconv.bench import machine
from fastconv.bench.case import Case
from fastconv.bench.check import Checker
from fastconv.bench.contestants import Engine, Rival, Unsupported, WrongOutput, fastconv_function
from fastconv.bench.copying import Copy
from fastconv.bench.layer_truth import LayerChecker
from fastconv.bench.layers import Layer
from fastconv.bench.peak import Peak
from fastconv.bench.results import VERSION, Results, case_info, entry
from fastconv.bench.targets import is_copied, is_fused, is_summed
from fastconv.bench.unfused import Unfused, parts
from fastconv.plan import planned

__all__ = ["Effort", "checker", "run", "run_case", "work_of"]

WARM_CALLS, TIMED_CALLS, CALLS_IN_TURN = 3, 5, 100
# Seconds that calls are not timed for.  PyTorch's threads (GNU OpenMP) go on spinning for 3 to 5 ms after its calls, and
# ours share two processors with them: 0.62 ms in the first, then 0.54, 0.33 from the fifth on (3x3, 64 to 64 channels,
# 56x56; 1x1 0.11 and 0.07).  Once asleep, they wake up late: PyTorch's own first one to three calls take 3 to 20 ms, so
# calls go on until one is no longer than twice the shortest, though not for ever.
SETTLED, UNSETTLED = 8e-3, 0.1
SHORTEST_SAMPLE = 50e-6  # shorter calls are timed several at a time
LONG = 2.0  # seconds of a call that the progress bar tells of

Progress = Callable[[str, int, int], None]
Contestant = Engine | Rival | Copy | Peak | Unfused


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes
    ----------
    seconds : float
        For each contestant of each case.
    blocks : int
        At most so many blocks.
    patience : float
        A contestant that would need longer than this for one call is not called.
    total : float
        Seconds for all cases.  Cases that begin late, on a busy machine, get one block.
    once : dict of str to float
        Contestants that are called all the same, once, if that takes so many seconds or less.
    """

    seconds: float
    blocks: int
    patience: float
    total: float = inf
    once: dict[str, float] = field(default_factory=dict)

    def with_patience(self, seconds: float) -> Effort:
        """With other patience; where some are called once, with no more than before for the others."""
        others = min(seconds, self.patience) if self.once else seconds
        return replace(self, patience=others, once=dict.fromkeys(self.once, seconds))

    def times(self, parts: int) -> Effort:
        """The effort for so many parts of the benchmark."""
        return replace(self, total=self.total * parts)

    def longest(self, contestant: str) -> float:
        """The longest call of a contestant that is worth waiting for."""
        return max(self.patience, self.once.get(contestant, 0.0))

    def after(self, seconds: float, share: float) -> Effort:
        """The effort for the next case, when a `share` of the cases is done after so many seconds."""
        late = seconds > self.total * share
        return replace(self, seconds=self.seconds / 5, blocks=1) if late else self


QUICK, FULL = Effort(0.1, 5, 3.0, 75.0), Effort(0.5, 8, 30.0)
# 350 cases: about eight minutes, and five more for calls of SciPy that take 6 to 80 seconds (31x31 on 8192x8192).
TARGETS = Effort(0.2, 5, 6.0, once={"scipy": 150.0})
# 570 convolution layers of networks, or 1350 other operations, each on both engines and by PyTorch: ten minutes.
LAYERS = Effort(0.08, 5, 6.0, 600.0)


@dataclass
class _Lane:
    """A contestant of the case at hand."""

    contestant: Contestant
    call: Callable[[], Any]
    first_call: float
    error: float
    estimate: float
    samples: list[float] = field(default_factory=list)
    spent: float = 0.0
    output: Any = None

    @property
    def iterations(self) -> int:
        return max(1, int(SHORTEST_SAMPLE / self.estimate))

    def block(self, effort: Effort) -> None:
        """Call and time; of long calls one."""
        self.settle(effort)
        for _ in range(1 if self.is_slow(effort) else TIMED_CALLS):
            self.sample()

    def sample(self) -> None:
        """Time one call, or several short ones."""
        n, start = self.iterations, time.perf_counter()
        for _ in range(n):
            self.output = self.call()
        spent = time.perf_counter() - start
        self.samples.append(spent / n)
        self.spent += spent

    def settle(self, effort: Effort) -> None:
        """Call until calls take as long as they usually do."""
        start, calls, steady = time.perf_counter(), 0, False
        while (spent := time.perf_counter() - start) < SETTLED or (not steady and spent < UNSETTLED):
            before = time.perf_counter()
            self.call()
            took = time.perf_counter() - before
            calls += 1
            self.estimate = min(self.estimate, took)
            steady = took < 2 * self.estimate and (calls >= WARM_CALLS or self.is_slow(effort))

    def is_slow(self, effort: Effort) -> bool:
        return self.estimate > effort.seconds / (WARM_CALLS + TIMED_CALLS)


@dataclass
class Outcome:
    """What became of one case."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    not_run: list[dict[str, str]] = field(default_factory=list)
    wrong: list[dict[str, str]] = field(default_factory=list)


def run(
    cases: list[Case],
    contestants: Sequence[Contestant],
    *,
    threads: int,
    effort: Effort,
    missing: dict[str, str] | None = None,
    overheads: Callable[[], tuple[list[dict[str, Any]], list[dict[str, Any]]]] | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Results:
    """Time all contestants on all cases, each on `threads` threads.

    `overheads` gives further entries and what memory was taken; see `fastconv.bench.overheads`.
    """
    import threadpoolctl

    total = len(cases) + 2
    progress("the machine's peak and bandwidth", 0, total)
    entries: list[dict[str, Any]] = []
    memory: list[dict[str, Any]] = []
    outcome = Outcome()
    rates: dict[tuple[str, str], float] = {}
    with threadpoolctl.threadpool_limits(threads):
        ceilings = machine.ceilings(threads)
        if overheads is not None:
            progress("dispatch, wake-up, import and memory", 1, total)
            entries, memory = overheads()
        start = time.perf_counter()
        for i, case in enumerate(cases):
            progress(case.name, i + 1, total)
            pace = effort.after(time.perf_counter() - start, (i + 1) / len(cases))
            one = run_case(
                case,
                contestants,
                threads=threads,
                effort=pace,
                rates=rates,
                slowly=lambda what, done=i + 1: progress(what, done, total),  # type: ignore[misc]
            )
            outcome.entries += one.entries
            outcome.not_run += one.not_run
            outcome.wrong += one.wrong
        again = machine.fma_peak(threads)
    ceilings["fma_float32"] = max(ceilings["fma_float32"], again)
    progress("done", total, total)
    now = datetime.now(timezone.utc)
    document = {
        "machine_info": machine.machine_info(threads),
        "commit_info": machine.commit_info(),
        "benchmarks": entries + outcome.entries,
        "datetime": now.isoformat(),
        "version": VERSION,
        "fastconv": {
            "threads": threads,
            "ceilings": ceilings,
            "versions": about.versions(),
            "missing": missing or {},
            "not_run": outcome.not_run,
            "wrong": outcome.wrong,
            "memory": memory,
        },
    }
    return Results(document)


def run_case(
    case: Case,
    contestants: Iterable[Contestant],
    *,
    threads: int,
    effort: Effort,
    rates: dict[tuple[str, str], float] | None = None,
    slowly: Callable[[str], None] = lambda what: None,
) -> Outcome:
    """Time and check the contestants of one case.

    `rates` remembers the least seconds that each contestant took for one operation of a
    family's problems, from one case to the next; `slowly` is told of calls that will take long.
    """
    rates = {} if rates is None else rates
    outcome = Outcome()
    x, w = case.arguments()
    check = checker(case, x, w)
    work = work_of(case, x, w)
    lanes = []
    measures = _measures(case, contestants, work)

    def judge(contestant: Contestant, output: Any) -> float:
        return check(contestant.name, output, contestant.slack(case)) if isinstance(contestant, Engine | Rival) else 0.0

    # rivals first: SciPy's output becomes the one that others are compared with
    for contestant in sorted([*contestants, *measures], key=lambda c: c.kind != "rival"):
        key = (contestant.name, case.family)
        predicted = rates.get(key, 0.0) * (work[0] if work else 0)
        label = {"case": case.name, "contestant": contestant.name}
        if predicted > effort.longest(contestant.name):
            outcome.not_run.append({**label, "reason": f"would take about {predicted:.0f} s a call"})
            continue
        if predicted > LONG:
            slowly(f"{contestant.name}, about {predicted:.0f} s: {case.name}")
        try:
            lane = _first_calls(contestant, case, x, w, threads, judge, effort)
        except Unsupported as reason:
            outcome.not_run.append({**label, "reason": str(reason)})
        except WrongOutput as message:
            outcome.wrong.append({**label, "message": str(message)})
        except Exception as problem:
            what = f"{type(problem).__name__}: {problem}"
            if contestant.kind == "engine":
                outcome.wrong.append({**label, "message": f"{contestant.name} failed: {what}"})
            else:
                outcome.not_run.append({**label, "reason": what})
        else:
            lanes.append(lane)
            if work:
                rates[key] = min(rates.get(key, inf), lane.estimate / work[0])

    _interleave(lanes, threads, case.precision, effort)

    for lane in lanes:
        label = {"case": case.name, "contestant": lane.contestant.name}
        try:
            error = judge(lane.contestant, lane.output)
        except WrongOutput as message:
            outcome.wrong.append({**label, "message": f"after timing: {message}"})
            continue
        info = case_info(case, lane.contestant, threads, work)
        if lane.contestant.kind == "engine":
            info["implementation"] = _implementation(lane.contestant, case, x, w, threads)
        info |= {"first_call": lane.first_call, "max_error": max(error, lane.error), "tolerance": check.tolerance}
        if isinstance(check, LayerChecker) and lane.contestant not in measures:
            info["relative_error"] = check.relative(lane.output)
        outcome.entries.append(entry(case.family, case.name, lane.samples, info, lane.iterations))
    return outcome


def _measures(case: Case, contestants: Iterable[Contestant], work: tuple[int, int] | None) -> list[Contestant]:
    """What is timed beside a case since a target holds it against that."""
    limits: list[Contestant] = [Copy(work[1])] if work and is_copied(case) else []
    if work and is_summed(case):
        limits.append(Peak(work[0]))
    engines = [contestant for contestant in contestants if isinstance(contestant, Engine)]
    return limits + [part for engine in engines for part in parts(engine) if is_fused(case)]


def _implementation(contestant: Contestant, case: Case, x: np.ndarray, w: Any, threads: int) -> str | None:
    """The row of the table that an engine took; None for what is not planned."""
    with contestant.session(threads, case.precision):
        plans = planned(fastconv_function(case), case.positional(x, w), case.keywords)
    return plans[-1].implementation if plans else None


def checker(case: Case, x: np.ndarray, w: Any) -> Checker | LayerChecker:
    """What tells whether an output is right."""
    return LayerChecker(case, x, w) if isinstance(case, Layer) else Checker(case, x, w)


def work_of(case: Case, x: np.ndarray, w: Any) -> tuple[int, int] | None:
    """Operations and bytes of the direct sum; None for what fastconv does not sum directly."""
    try:
        problem = fastconv.plan(fastconv_function(case), *case.positional(x, w), **case.keywords).problem
    except ValueError:
        return None
    return problem.flops, problem.nbytes


def _first_calls(
    contestant: Contestant,
    case: Case,
    x: np.ndarray,
    w: Any,
    threads: int,
    judge: Callable[[Contestant, Any], float],
    effort: Effort,
) -> _Lane:
    """The first call, which may compile, with its output checked; and an estimate of later ones."""
    with contestant.session(threads, case.precision):
        call = contestant.prepare(case, x, w)
        _spoil(x.nbytes)
        start = time.perf_counter()
        output = call()
        first = time.perf_counter() - start
        error = judge(contestant, output)
        lane = _Lane(contestant, call, first, error, max(first, 1e-9), output=output)
        if first > effort.patience and not contestant.compiles:
            lane.samples, lane.spent = [first], first
            return lane
        # torch, too, makes its kernels in the first call: 0.85 s, then 0.02, for 2048x2048 with 3x3
        # and new huge pages, for a second result beside the first, may take 6 ms each in a virtual machine
        output = lane.output = None
        start = time.perf_counter()
        lane.output = call()
        lane.estimate = time.perf_counter() - start
        if lane.estimate > effort.seconds:
            lane.samples = [lane.estimate]
            lane.spent = 0.0 if lane.estimate < 5 * effort.seconds else lane.estimate
    return lane


def _spoil(nbytes: int) -> None:
    """Leave garbage in memory that is likely to be handed out next: pixels never written must not look right."""
    for _ in range(2):
        np.full(nbytes, 0xA5, np.uint8)


def _interleave(lanes: list[_Lane], threads: int, precision: str, effort: Effort) -> None:
    """Blocks of all lanes in turn until their time is spent."""
    waiting = [lane for lane in lanes if lane.spent < effort.seconds]
    gc_was_on = gc.isenabled()
    gc.disable()
    try:
        for _ in range(effort.blocks):
            for lane in waiting:
                with lane.contestant.session(threads, precision):
                    lane.block(effort)
            waiting = [lane for lane in waiting if lane.spent < effort.seconds]
        if any(isinstance(lane.contestant, Unfused) for lane in lanes):
            _in_turn([lane for lane in lanes if lane.contestant.kind in ("engine", "part")], threads, precision)
    finally:
        if gc_was_on:
            gc.enable()


def _in_turn(lanes: list[_Lane], threads: int, precision: str) -> None:
    """Calls of a whole and of its parts one after the other, in place of what blocks of them took.

    What they differ by is a tenth of a call, less than what the machine's pace changes from block to block.
    """
    for lane in lanes:
        lane.samples.clear()
    for _ in range(CALLS_IN_TURN):
        for lane in lanes:
            with lane.contestant.session(threads, precision):
                lane.sample()
    for lane in lanes:
        del lane.samples[: len(lane.samples) // 10]
