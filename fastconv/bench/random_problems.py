"""Random calls of the functions that fastconv and SciPy have in common.

``draw(seed, index)`` always gives the same problem, whatever of it fastconv has.  Sizes, kernels
and windows are drawn log-uniformly.  Problems that would take SciPy longer than `LONGEST`, by the
rates of the recipes, are drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

import numpy as np

from fastconv.bench.dice import Array, Dice, Named
from fastconv.bench.recipes import RECIPES

__all__ = ["Problem", "draw", "functions", "problems"]

LONGEST = 1.0  # seconds


@dataclass(frozen=True)
class Problem:
    """One call.

    Attributes
    ----------
    seed, index : int
        What it was drawn from.
    function : str
        Its name under `fastconv` and under `scipy`.
    arguments : tuple
        Positional arguments; `Array` and `Named` stand for what `call` makes of them.
    options : tuple of (str, value)
        Keyword arguments.
    estimate : float
        Seconds that SciPy is expected to take.
    taps : int
        Terms of one output.
    gain : float
        How much larger an output can be than the largest input.
    """

    seed: int
    index: int
    function: str
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    estimate: float
    taps: float
    gain: float

    def __str__(self) -> str:
        arguments = [str(value) for value in self.arguments]
        options = [
            f"{name}={value if isinstance(value, Array | Named) else repr(value)}" for name, value in self.options
        ]
        return f"{self.function}({', '.join(arguments + options)})"

    @property
    def image(self) -> Array:
        return self.arguments[0]

    def make(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with their arrays."""
        rng = np.random.default_rng((self.seed, self.index, 1))

        def made(value: Any) -> Any:
            return value.make(rng) if isinstance(value, Array) else value

        return [made(value) for value in self.arguments], {name: made(value) for name, value in self.options}

    def call(self, library: str, arguments: list[Any], options: dict[str, Any]) -> tuple[Callable[..., Any], Any, Any]:
        """The function of a library ("fastconv" or "scipy"), and its arguments."""
        package, name = self.function.split(".")
        module = import_module(f"{library}.{package}")

        def resolved(value: Any) -> Any:
            return value.of(module) if isinstance(value, Named) else value

        return getattr(module, name), [resolved(v) for v in arguments], {k: resolved(v) for k, v in options.items()}


def functions() -> list[str]:
    """The functions that can be drawn and that fastconv has of its own."""
    return [name for name in RECIPES if name.split(".")[1] in import_module(f"fastconv.{name.split('.')[0]}").__all__]


def problems(count: int, seed: int = 0, pattern: str | None = None) -> Iterator[Problem]:
    """The first `count` problems of a seed whose functions fastconv has and match a shell pattern."""
    present = [name for name in functions() if pattern is None or fnmatchcase(name, f"*{pattern}*")]
    if not present:
        raise ValueError(f"functions must match one of {', '.join(functions())}; got {pattern!r}")
    index = 0
    while count > 0:
        if _function(_generator(seed, index)) in present:
            yield draw(seed, index)
            count -= 1
        index += 1


def draw(seed: int, index: int) -> Problem:
    """The problem of an index."""
    rng = _generator(seed, index)
    name = _function(rng)
    dice = Dice(rng)
    while True:
        call = RECIPES[name](dice)
        if call.seconds < LONGEST:
            options = tuple(call.options.items())
            return Problem(seed, index, name, call.arguments, options, call.seconds, call.taps, call.gain)


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng((seed, index, 0))


def _function(rng: np.random.Generator) -> str:
    return list(RECIPES)[rng.integers(len(RECIPES))]
