"""Regret: how much slower the chosen algorithm is than the best one that could have been chosen.

Random correlations are computed by every algorithm that can do them as precisely as asked for, forced one after the other,
and as fastconv chooses.  Blocks of calls alternate, and the least times are compared: of what a busy machine adds,
nothing is left in them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

import fastconv
from fastconv.bench.dice import Array, Dice
from fastconv.bench.ratios import Ratios
from fastconv.choice import forced

__all__ = ["ALGORITHMS", "Correlation", "Regret", "Result", "draw", "measure", "problems", "run"]

ALGORITHMS = ("direct", "passes", "overlap", "transforms")
CHOICE = "choice"
# Operations of a direct sum, at most; multiplications and additions per second, for an estimate.
MOST_FLOPS = 4e10
LARGEST_KERNEL = {1: 20_000, 2: 255, 3: 31}
DTYPES = ("float32",) * 5 + ("float64",) * 3 + ("uint8", "uint8", "int16", "int32", "complex64")
# A block of calls takes so many seconds at least; rounds of blocks, and those of problems with some regret.
BLOCK, ROUNDS, MORE_ROUNDS, SOME = 1e-3, 4, 16, 1.08
# An algorithm that takes so many times longer than the best is not timed again.
HOPELESS = 3.0


@dataclass(frozen=True)
class Correlation:
    """One call, with a kernel that is a sum of `rank` outer products; 0: of full rank."""

    seed: int
    index: int
    function: str
    image: Array
    kernel: tuple[int, ...]
    dtype: str  # of the kernel
    rank: int
    options: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options)
        rank = f" rank {self.rank}" if self.rank else ""
        return f"{self.function}({self.image}, {self.dtype}[{'x'.join(map(str, self.kernel))}{rank}]{options})"

    def call(self) -> Callable[[], np.ndarray]:
        """The call, its arrays made."""
        rng = np.random.default_rng((self.seed, self.index, 1))
        package, name = self.function.split(".")
        function = getattr(getattr(fastconv, package), name)
        return partial(function, self.image.make(rng), self._weights(rng), **dict(self.options))

    def _weights(self, rng: np.random.Generator) -> np.ndarray:
        shape = self.kernel
        weights: Any = rng.uniform(0.2, 1.0, shape) if self.rank == 0 else 0.0
        for _ in range(self.rank):
            lines = [rng.uniform(0.2, 1.0, k) * rng.choice((-1, 1), k) for k in shape]
            weights = weights + np.einsum(*(part for axis, line in enumerate(lines) for part in (line, [axis])))
        if self.dtype[0] in "iu":
            return np.rint(np.abs(weights) * 20).astype(self.dtype)
        return (weights / np.abs(weights).sum()).astype(self.dtype)


@dataclass
class Result:
    """Seconds of a problem by each algorithm that can do it, and of what was chosen."""

    index: int
    problem: str
    chosen: str  # engine:algorithm
    seconds: dict[str, float]
    rounds: int

    @property
    def best(self) -> str:
        """The algorithm that is the fastest."""
        return min((name for name in self.seconds if name != CHOICE), key=lambda name: self.seconds[name])

    @property
    def ratio(self) -> float:
        """Time of the choice over that of the best."""
        return self.seconds[CHOICE] / min(self.seconds.values())


@dataclass
class Regret(Ratios):
    """What came of a run: time(choice)/time(best)."""

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        found = super().document()
        for row, result in zip(found["results"], self.results, strict=True):
            row["best"] = result.best
        return found


def problems(count: int, seed: int = 0) -> Iterator[Correlation]:
    """The first `count` problems of a seed."""
    return (draw(seed, index) for index in range(count))


def draw(seed: int, index: int) -> Correlation:
    """The problem of an index: sizes are drawn log-uniformly."""
    dice = Dice(np.random.default_rng((seed, index, 0)))
    while True:
        image = dice.image(DTYPES)
        most = LARGEST_KERNEL[image.ndim]
        sizes = [dice.integer(2, most) for _ in image.shape]
        sizes = sizes[:1] * image.ndim if dice.chance(0.7) else sizes
        kernel = tuple(min(k | 1, 2 * n - 1) for k, n in zip(sizes, image.shape, strict=True))
        parts = 2 if image.dtype[0] == "c" else 1
        if 2 * image.size * prod(kernel) * parts <= MOST_FLOPS and prod(kernel) > 1:
            break
    rank = int(dice.integer(1, 4)) if image.ndim > 1 and dice.chance(0.4) else 0
    if dice.chance(0.5):
        name = "correlate2d" if image.ndim == 2 and dice.chance(0.6) else dice.one(("convolve", "correlate"))
        options: dict[str, Any] = {"mode": dice.one(("full", "same"))}
        return Correlation(seed, index, f"signal.{name}", image, kernel, image.dtype, rank, tuple(options.items()))
    options = dice.boundary()
    dtype = image.dtype if image.dtype[0] in "fc" else "float64"
    name = dice.one(("convolve", "correlate"))
    return Correlation(seed, index, f"ndimage.{name}", image, kernel, dtype, rank, tuple(options.items()))


class _Lane:
    """A call by one algorithm, or as fastconv chooses."""

    def __init__(self, name: str, call: Callable[[], np.ndarray]):
        self.name, self.call = name, call
        self.least = float("inf")
        self.block()
        self.block()

    def block(self) -> None:
        """Time some calls."""
        with nullcontext() if self.name == CHOICE else forced(self.name):
            self.call()
            times = max(1, int(BLOCK / self.least) + 1) if self.least < BLOCK else 1
            start = time.perf_counter()
            for _ in range(times):
                self.call()
            self.least = min(self.least, (time.perf_counter() - start) / times)


def measure(problem: Correlation) -> Result:
    """Time one problem by all algorithms that can do it, and as chosen."""
    call = problem.call()
    lanes = [_Lane(CHOICE, call)]
    for name in ALGORITHMS:
        try:
            lanes.append(_Lane(name, call))
        except NotImplementedError:
            continue
    rounds = 0
    while rounds < MORE_ROUNDS:
        best = min(lane.least for lane in lanes)
        if rounds >= ROUNDS and lanes[0].least < SOME * best:
            break
        for lane in lanes if rounds % 2 else lanes[::-1]:
            if lane.name == CHOICE or lane.least < HOPELESS * best:
                lane.block()
        rounds += 1
    seconds = {lane.name: lane.least for lane in lanes}
    chosen = fastconv.plan(call.func, *call.args, **call.keywords).implementation  # type: ignore[attr-defined]
    return Result(problem.index, str(problem), chosen, seconds, rounds)


def run(
    chosen: Iterable[Correlation],
    *,
    seed: int,
    threads: int,
    progress: Callable[[Correlation], None] = lambda problem: None,
) -> Regret:
    """Time problems with `threads` threads."""
    regret, start = Regret(seed, threads), time.perf_counter()
    collected = gc.isenabled()
    with fastconv.use(threads=threads):
        for problem in chosen:
            progress(problem)
            gc.collect()
            gc.disable()
            try:
                regret.results.append(measure(problem))
            finally:
                if collected:
                    gc.enable()
    regret.seconds = time.perf_counter() - start
    return regret
