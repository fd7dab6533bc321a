"""Functions that remember their calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastconv import config
from fastconv.engines.threads._tape import Memory, play
from fastconv.replay.assembly import LARGEST, tape_of
from fastconv.replay.recording import Launch, Recorder, planning, recorder

__all__ = ["WRITTEN", "forget", "memories", "remembered"]

P = ParamSpec("P")
R = TypeVar("R")

# Tapes of a function.
REMEMBERED = 64
# Names of arguments that may be arrays for the result.
WRITTEN = frozenset(("output", "out", "target"))

memories: list[Memory] = []


def remembered(
    arrays: int | tuple[str, ...], optional: tuple[str, ...] = (), *, listed: bool = True, by_second: int = 4096
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function that computes by `fastconv.plan.execute` alone.

    `arrays` are the names of the arguments that are arrays, or how many of the first ones are; `optional` ones are arrays
    or None.  Those named ``output``, ``out`` or ``target`` may be written to; all others are told apart by their values.
    `listed`: whether `forget` reaches the tapes, which then are kept as long as the process runs.  Calls on two arrays
    whose course depends on the values of the second one are told apart by these, if it has at most `by_second` bytes.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        names = list(signature(function).parameters)
        found = names[:arrays] if isinstance(arrays, int) else list(arrays)
        shared = (WRITTEN, config.SETTINGS, (planning, recorder), REMEMBERED)
        tapes = Memory(names, found, optional, *shared)
        second = Memory(names, found[:1], (), *shared, by_second) if arrays == 2 and not optional else None
        if listed:
            memories.extend((tapes, second) if second else (tapes,))

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            result = tapes.recall(args, kwargs)
            if result is None:
                return _record(tapes, function, args, kwargs)
            if result is False and second is not None:
                result = second.recall(args, kwargs)
                if result is None:
                    return _record(second, function, args, kwargs)
            return function(*args, **kwargs) if result is False else result

        call.tapes = tapes  # type: ignore[attr-defined]
        return call

    return decorate


def forget() -> None:
    """Drop every tape: kernels that were not ready when they were recorded are now."""
    for tapes in memories:
        tapes.forget()


def _record(tapes: Memory, function: Callable[P, R], args: Any, kwargs: Any) -> R:
    """Call the function, and remember its launches if that gives the same result."""
    key, given, args, kwargs = tapes.key(args, kwargs)  # lists as the arrays that launches are to be found in
    before = [array.copy() if array.nbytes <= LARGEST else None for array in given]
    values = [a for a in _arrays(args, kwargs.values()) if not any(a is b for b in given)]
    found = Recorder(tapes.n_arrays + len(given) * tapes.optional, given, values)
    token = recorder.set(found)
    try:
        result = function(*args, **kwargs)
    finally:
        recorder.reset(token)
    if _overlap(given):
        return result  # calls on arrays apart from each other may yet have a tape
    if any(np.may_share_memory(a, b) for a in values for b in _arrays((result,))):
        found.valid = False  # tapes hold what is told apart by its values as constants
    tape = tape_of(found, given, result)
    reports = any(isinstance(step, Launch) and step.report is not None for step in found.steps)
    if (
        tape is not None and not reports and not _same_again(tape, given, before, result)
    ):  # a user's function might print
        tape = None
    tapes.store(key, tape if tape is not None else False)
    return result


def _arrays(*groups: Any) -> list[np.ndarray]:
    """The arrays in groups of arguments or results, and in tuples and lists among these."""
    found = []
    for item in (item for group in groups for item in group):
        if isinstance(item, np.ndarray):
            found.append(item)
        elif isinstance(item, tuple | list):
            found += _arrays(item)
    return found


def _overlap(given: list[np.ndarray]) -> bool:
    """Whether two arrays share memory that are not one."""
    pairs = [(a, b) for i, a in enumerate(given) for b in given[:i] if np.may_share_memory(a, b)]
    return any((a.ctypes.data, a.shape, a.strides) != (b.ctypes.data, b.shape, b.strides) for a, b in pairs)


def _same_again(tape: Any, given: list[np.ndarray], before: list[np.ndarray | None], result: Any) -> bool:
    """Whether the tape gives the same bytes from what the arrays held before the call, which is put back."""
    results = result if isinstance(result, tuple) else (result,)
    expected = [array.copy() for array in results]
    written = [i for i, array in enumerate(given) if any(np.may_share_memory(array, r) for r in results)]
    for i in written:
        if before[i] is None:
            return False
        given[i][...] = before[i]
    again = play(tape, given)
    again = again if isinstance(again, tuple) else (again,)
    same = again[0] is not None and all(
        found.tobytes() == wanted.tobytes() for found, wanted in zip(again, expected, strict=True)
    )
    for array, wanted in zip(results, expected, strict=True):
        if any(array is a for a in given):
            array[...] = wanted
    return same
