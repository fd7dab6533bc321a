"""Calls seen before are replayed: what a small call costs is two microseconds, not twenty.

Once the shapes, strides and dtypes of the arrays, the other arguments and the settings are known,
a call of most functions is a fixed sequence of kernel launches.  The first such call is
recorded: each launch's argument record, and in which array, at which offset, its pointers lie.
Later ones play the tape (`fastconv.engines.threads._tape`) with the addresses of their own arrays:
nothing is validated, planned or converted again.

A call is recorded only if its tape, played at once, gives the same bytes.  What a tape cannot
hold is left out: results above `LARGEST` bytes, whose time hides the overhead; arrays whose values, and not only
their memory, decide something (`by_value`); work done by NumPy besides the launches and plain copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastconv import config, memory
from fastconv.engines.contract import DTYPE_CODES, EXACT_CODES, FILTER_FIELDS
from fastconv.engines.threads._tape import Memory, Tape, play

__all__ = [
    "LARGEST",
    "Copy",
    "KeptWeights",
    "WeightsInTurn",
    "address",
    "by_value",
    "by_values_of",
    "conjugate",
    "copy_into",
    "forget",
    "kept_weights",
    "launched",
    "planning",
    "remembered",
]

P = ParamSpec("P")
R = TypeVar("R")

# A part of packed weights: the view that it is a copy of, the view of the packed ones, whether it is negated.
Copy = tuple[np.ndarray, np.ndarray, bool]

# Results of more bytes are not remembered.  (4 MiB take a separable filter 100 us on two threads, validation and plans 30.)
LARGEST = 4 * 2**20
# Tapes of a function, of up to 16 KiB each.
REMEMBERED = 64
EXACT_SLOT = FILTER_FIELDS.index("exact")
# Exact sums whose order follows from the weights.
LINES = [EXACT_CODES[order] for order in ("line", "symmetric", "antisymmetric")]

# Names of arguments that may be arrays for the result.
WRITTEN = frozenset(("output", "out", "target"))

# Set by `fastconv.plan.plan`: calls plan and compute nothing.
planning: ContextVar[list | None] = ContextVar("fastconv_planning", default=None)
# Set by `fastconv.prepared`: weights as kernels read them are kept from call to call.
kept_weights: ContextVar[WeightsInTurn | None] = ContextVar("fastconv_kept_weights", default=None)
_recorder: ContextVar[_Recorder | None] = ContextVar("fastconv_recorder", default=None)
_memories: list[Memory] = []


def remembered(arrays: int, *, listed: bool = True) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function whose first `arrays` arguments are arrays, and which computes by `fastconv.plan.execute` alone.

    `listed`: whether `forget` reaches its tapes, which then are kept as long as the process runs.  Arrays named
    ``output``, ``out`` or ``target`` may be written to; all others are told apart by their values.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = list(signature(function).parameters)
        output = next((i for i, name in enumerate(parameters) if name in WRITTEN), -1)
        unless = (planning, _recorder)
        tapes = Memory(arrays, output, WRITTEN, config.SETTINGS, unless, REMEMBERED)
        # Calls whose course depends on the values of the second array are told apart by these.
        by_second = Memory(1, output, WRITTEN, config.SETTINGS, unless, REMEMBERED) if arrays == 2 else None
        if listed:
            _memories.extend((tapes, by_second) if by_second else (tapes,))

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            while len(args) < arrays and parameters[len(args)] in kwargs:  # arrays given by name
                args = (*args, kwargs.pop(parameters[len(args)]))  # type: ignore[assignment]
            found, result = tapes, tapes.recall(args, kwargs)
            if result is False and by_second is not None:
                found, result = by_second, by_second.recall(args, kwargs)
            if result is None:
                return _record(found, function, args, kwargs)
            return function(*args, **kwargs) if result is False else result

        call.tapes = tapes  # type: ignore[attr-defined]
        return call

    return decorate


class KeptWeights:
    """Weights as kernels read them, in the order in which a call makes them."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, np.ndarray]] = []
        self.as_given = False  # whether all that was made is the caller's own memory, read where it lies


class WeightsInTurn:
    """The kept weights of one call."""

    def __init__(self, kept: KeptWeights) -> None:
        self.kept, self.position = kept, 0

    def get(self, key: Any, given: np.ndarray, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Those that come next; `make` makes them of what is `given`, if they are new."""
        at, kept = self.position, self.kept
        self.position += 1
        if at < len(kept.made) and kept.made[at][0] == key:
            return kept.made[at][1]
        token = _recorder.set(None)  # tapes hold them as constants
        try:
            weights = make()
        finally:
            _recorder.reset(token)
        kept.as_given = (at == 0 or kept.as_given) and np.may_share_memory(weights, given)
        kept.made[at:] = [(key, weights)]
        return weights


def forget() -> None:
    """Drop every tape: kernels that were not ready when they were recorded are now."""
    for tapes in _memories:
        tapes.forget()


def by_value(first: int = 0) -> None:
    """Tell that the course of the call that is running depends on the values in its arrays from argument `first` on.

    Its tape is of use only if those are what calls are told apart by.
    """
    recorder = _recorder.get()
    if recorder is not None and first < recorder.n_arrays:
        recorder.valid = False


def by_values_of(array: Any) -> None:
    """The same for one array: a tape is of use if all that it may be made from are arguments whose values tell calls apart."""
    recorder = _recorder.get()
    if recorder is not None:
        sources = [isinstance(given, np.ndarray) and np.may_share_memory(array, given) for given in recorder.arguments]
        if not any(sources) or sources.index(True) < recorder.n_arrays:
            recorder.valid = False


def launched(
    kernel: int, bound: Any, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: Any, fill: Any, threads: int,
    copies: Sequence[Copy], reports: bool,
) -> None:  # fmt: skip
    """Tell of a launch; `copies` made `w`, if they alone did, or the kernel reports there what went wrong."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.launches.append((kernel, bound, threads, x, w, out, bias, fill, copies, reports))


def copy_into(target: np.ndarray, array: np.ndarray) -> None:
    """Copy an array, which tapes can do too."""
    target[...] = array
    recorder = _recorder.get()
    if recorder is not None:
        recorder.copies.append((target, array))


def conjugate(array: np.ndarray) -> np.ndarray:
    """The complex conjugate of an array, which tapes can make too."""
    result = array.conj()
    recorder = _recorder.get()
    if recorder is not None and result is not array:
        recorder.conjugates.append((result, array))
    return result


class _Recorder:
    """Collects the launches of one call."""

    def __init__(self, n_arrays: int, arguments: tuple) -> None:
        self.n_arrays, self.arguments = n_arrays, arguments
        self.launches: list[tuple] = []
        self.conjugates: list[tuple[np.ndarray, np.ndarray]] = []
        self.copies: list[tuple[np.ndarray, np.ndarray]] = []
        self.valid = True


def _record(tapes: Memory, function: Callable[P, R], args: Any, kwargs: Any) -> R:
    """Call the function, and remember its launches if that gives the same result."""
    key, given = tapes.key(args, kwargs)
    args = (*given[: tapes.n_arrays], *args[tapes.n_arrays :])  # lists as the arrays that launches are to be found in
    recorder = _Recorder(tapes.n_arrays, args)
    token = _recorder.set(recorder)
    try:
        result = function(*args, **kwargs)
    finally:
        _recorder.reset(token)
    by_values = [a for a in (*args, *kwargs.values()) if isinstance(a, np.ndarray) and not any(a is b for b in given)]
    # What is written, and weights that kernels read where they lie, which tapes would hold as constants.
    reached = [result, *(array for launch in recorder.launches for array in launch[4:6])]
    if any(np.may_share_memory(a, b) for a in by_values for b in reached if isinstance(b, np.ndarray)):
        recorder.valid = False
    tape = _tape(recorder, given, result) if recorder.valid else None
    if tape is not None and not any(launch[-1] for launch in recorder.launches):  # a user's function might print
        expected = result.tobytes()  # type: ignore[attr-defined]
        again = play(tape, given)
        if again is None or again.tobytes() != expected:
            tape = None
    tapes.store(key, tape if tape is not None else False)
    return result


def address(array: np.ndarray) -> int:
    """Where the first element lies."""
    return array.__array_interface__["data"][0]


class _Unknown(Exception):
    """Something lies where no tape finds it again."""


def _tape(recorder: _Recorder, given: list[np.ndarray], result: Any) -> Tape | None:
    """The tape of a call, or None if it has none."""
    if type(result) is not np.ndarray or result.size == 0 or not (recorder.launches or recorder.copies):
        return None
    if result.nbytes > (LARGEST if recorder.launches else memory.LEAST):
        return None
    written = next((i for i, array in enumerate(given) if array is result), -1)
    if written < 0 and not (result.base is None and result.flags.c_contiguous and result.dtype.isnative):
        return None
    places = _Places([*given, *([result] if written < 0 else [])], len(given), written, recorder.conjugates)
    try:
        copied = places.whole(recorder.copies, result)
        launches = [places.launch(*launch) for launch in recorder.launches]
        if not places.all_used():
            return None
        tape = Tape(len(given), written, result, [owner.nbytes for owner in places.temporaries], places.kept)
        if copied is not None:
            tape.copy(copied)
        for launch in launches:
            tape.add(*launch)
    except (_Unknown, OverflowError):
        return None
    return tape


class _Places:
    """Finds out in which array of a call, and where in it, memory lies."""

    def __init__(self, arrays: list[np.ndarray], n_given: int, written: int, conjugates: list):
        self.arrays = [(*np.lib.array_utils.byte_bounds(array), array) for array in arrays]
        self.n_given, self.written, self.conjugates = n_given, written, conjugates
        self.temporaries: list[np.ndarray] = []
        self.used: set[int] = set()
        self.kept: list[Any] = []

    def launch(
        self, kernel: int, bound: Any, threads: int, x: np.ndarray, w: np.ndarray | None, out: np.ndarray,
        bias: Any, fill: Any, copies: Sequence[Copy], reports: bool,
    ) -> tuple:  # fmt: skip
        """The arguments of `Tape.add`."""
        if bias is not None and not bound.bias_by_value:
            raise _Unknown  # converted from an array of the call
        target = self.find(out)
        if target is None:
            target = self.temporary(out)
        elif target[0] < self.n_given and target[0] != self.written:
            raise _Unknown
        report = w.nbytes if reports and w is not None else 0
        as_given = (
            None if report or copies or w is None else self.find(w)
        )  # weights that the kernel reads where they lie
        packing = None if report or w is None or as_given is not None else self.packing(bound, w, copies)
        weights = as_given or ((-1, 0) if report or packing is not None else self.constant(w))
        places = [self.known(x), weights, target, self.constant(bias), self.constant(fill)]
        self.kept.append(bound)
        return kernel, bound.slots, bound.units, threads, bound.scratch_bytes, places, packing, report

    def whole(self, copies: list[tuple[np.ndarray, np.ndarray]], result: np.ndarray) -> int | None:
        """Which array of the call is copied into the result, if one is, perhaps by way of others."""
        if not copies:
            return None
        *others, (target, source) = copies
        for copy, original in reversed(others):
            if copy is not source or copy.dtype != original.dtype:
                raise _Unknown
            source = original
        found = next((i for i, (_, _, array) in enumerate(self.arrays[: self.n_given]) if array is source), None)
        if found is None or target is not result:
            raise _Unknown
        self.used |= {found, next(i for i, (_, _, array) in enumerate(self.arrays) if array is result)}
        return found

    def packing(self, bound: Any, w: np.ndarray | None, copies: Sequence[Copy]) -> tuple | None:
        """How the weights are made of arrays of the call; None if they follow from its other arguments."""
        found = [self.copy(w, *copy) for copy in copies if w is not None]
        if not found or None in found:
            if (
                any(found) or self.n_given - (self.written >= 0) > 1
            ):  # made from an array in a way that is not known here
                raise _Unknown
            return None
        exact = len(bound.slots) >= len(FILTER_FIELDS) and bound.slots[EXACT_SLOT] in LINES
        return w.dtype.name, w.size, EXACT_SLOT if exact else 0, found  # type: ignore[union-attr]

    def copy(self, w: np.ndarray, source: np.ndarray, target: np.ndarray, negative: bool) -> tuple | None:
        """An argument of `Tape.add`, None if the source lies in no array of the call."""
        place = self.find(source)
        if place is None:
            for conjugate, original in self.conjugates:
                first, last = np.lib.array_utils.byte_bounds(conjugate)
                if first <= address(source) < last and original.flags.c_contiguous:
                    offset, found = address(source) - first, self.find(original)
                    place = None if found is None else (found[0], found[1] + offset)
                    negative ^= offset % conjugate.itemsize > 0  # the imaginary part
        if place is None:
            return None
        if source.dtype.name not in DTYPE_CODES or source.ndim == 0:
            raise _Unknown
        to = address(target) - address(w)
        return place, DTYPE_CODES[source.dtype.name], negative, source.shape, source.strides, to, target.strides

    def find(self, array: np.ndarray) -> tuple[int, int] | None:
        """(array of the call, offset of the first element in it), or None."""
        low, high = np.lib.array_utils.byte_bounds(array)
        at = address(array)
        for i, (first, last, owner) in enumerate(self.arrays):
            if first <= low and high <= last:
                self.used.add(i)
                return i, at - address(owner)
        for i, owner in enumerate(self.temporaries):
            first, last = np.lib.array_utils.byte_bounds(owner)
            if first <= low and high <= last:
                return self.n_given + 1 + i, at - first
        return None

    def known(self, array: np.ndarray) -> tuple[int, int]:
        place = self.find(array)
        if place is None:
            raise _Unknown
        return place

    def temporary(self, array: np.ndarray) -> tuple[int, int]:
        """Memory that one launch writes and a later one reads."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if not owner.flags.owndata or not owner.flags.c_contiguous:
            raise _Unknown
        self.temporaries.append(owner)
        return self.known(array)

    def constant(self, array: np.ndarray | None) -> tuple[int, int]:
        """Numbers that follow from what is not an array in the call."""
        if array is None:
            return -1, 0
        self.kept.append(array)
        return -1, address(array)

    def all_used(self) -> bool:
        """Whether every array of the call is read or written as memory."""
        return self.used == set(range(len(self.arrays)))
