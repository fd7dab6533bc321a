"""The steps of a recorded call become a tape, if each array is found again where the next call has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import memory
from fastconv.engines.contract import DTYPE_CODES
from fastconv.engines.threads._tape import Tape
from fastconv.replay import MOST, Copied, Launch, Recorder, address

__all__ = ["tape_of"]

# Accumulators that elements are converted to, and from, in the order of `Copy.kind` of the tape.
STAGED = {"float32": 1, "float64": 2, "uint32": 3, "uint64": 4}
STORED = {"float32": 5, "float64": 6}
CACHE_LINE = 64


class _Unknown(Exception):
    """Something lies where no tape finds it again."""


def tape_of(recorder: Recorder, given: list[np.ndarray], returned: Any) -> Tape | None:
    """The tape of a call, or None if it has none."""
    several = type(returned) is tuple
    results = list(returned) if several else [returned]
    if not (recorder.valid and recorder.steps and results and all(map(_holds, results))):
        return None
    written = [next((i for i, array in enumerate(given) if array is result), -1) for result in results]
    new = [result for result, place in zip(results, written, strict=True) if place < 0]
    if any(result.base is not None or not result.flags.c_contiguous for result in new):
        return None
    launches = any(isinstance(step, Launch) for step in recorder.steps)
    if sum(result.nbytes for result in results) > (MOST if launches else memory.LEAST):
        return None
    try:
        if not launches and not several:
            return _copy_of_whole(recorder, given, results[0], written[0])
        return _Assembly(recorder, given, new, written).tape(results, several)
    except (_Unknown, OverflowError):
        return None


def _holds(result: Any) -> bool:
    """Whether a tape can return it."""
    return type(result) is np.ndarray and result.size > 0 and result.dtype.isnative


def _copy_of_whole(recorder: Recorder, given: list[np.ndarray], result: np.ndarray, written: int) -> Tape:
    """The tape of a call that copies an array, perhaps by way of others, and nothing else: NumPy does it."""
    steps = [step for step in recorder.steps if isinstance(step, Copied)]
    *others, (target, source, negative) = steps
    for copy, original, negated in reversed(others):
        if copy is not source or copy.dtype != original.dtype or negated:
            raise _Unknown
        source = original
    found = next((i for i, array in enumerate(given) if array is source), None)
    if found is None or target is not result or negative or len(given) != 1 + (written >= 0):
        raise _Unknown
    tape = Tape(given, [result], [written], False, [], 0, None)
    tape.copy_whole(found)
    return tape


class _Assembly:
    """Finds out in which memory arrays lie: that of the call, new memory that steps write, constants."""

    def __init__(self, recorder: Recorder, given: list[np.ndarray], new: list[np.ndarray], written: list[int]):
        self.recorder, self.given = recorder, given
        self.n_call = len(given) + len(new)
        self.memory = [(*np.lib.array_utils.byte_bounds(array), array) for array in (*given, *new)]
        self.alike = [{j for j, b in enumerate(given) if _coincide(a, b)} for a in given]
        self.writable = {*range(len(given), self.n_call)}.union(*(self.alike[i] for i in written if i >= 0))
        inputs = [i for i in range(len(given)) if i not in self.writable]
        # Of one array, host code makes nothing that it does not tell of: what is not found follows from other arguments.
        self.free = len(inputs) + any(len(self.alike[i]) > 1 for i in written if i >= 0) < 2
        self.places: dict[int, int] = {}  # by the identity of arrays, which the recorder keeps
        self.used: set[int] = set()
        self.made: set[int] = set()  # memory that a step has written so far
        self.kept: list[Any] = []

    def tape(self, results: list[np.ndarray], several: bool) -> Tape:
        """The tape of the steps, without those that make constants."""
        varying = self._varying()
        temporaries = {place: self.n_call + i for i, place in enumerate(sorted(p for p in varying if p >= self.n_call))}
        self.buffers = {place: place for place in range(self.n_call)} | temporaries
        n_steps = sum(self._target(step) in varying for step in self.recorder.steps)
        tape = Tape(
            self.given, results, [next((i for i, a in enumerate(self.given) if a is r), -1) for r in results], several,
            [self._room(place) for place in temporaries], n_steps, self.kept,
        )  # fmt: skip
        for step in self.recorder.steps:
            if self._target(step) not in varying:
                self._check_constants(step)
            elif isinstance(step, Copied):
                self._add_copy(tape, step)
            else:
                self._add_launch(tape, step)
        if not self.used | self.made >= set(range(self.n_call)):
            raise _Unknown  # an array of the call is read or written in a way that is not known here
        if not self.made.issuperset(map(self._find, results)):
            raise _Unknown  # host code wrote a result, which may look right by chance: NaN of NaN
        return tape

    # -- memory ----------------------------------------------------------------------------------

    def _find(self, array: np.ndarray) -> int:
        """The number of the memory that an array lies in."""
        place = self.places.get(id(array))
        if place is None:
            place = self.places[id(array)] = self._search(array)
        return place

    def _search(self, array: np.ndarray) -> int:
        if array.size == 0:
            raise _Unknown
        low, high = np.lib.array_utils.byte_bounds(array)
        for i, (first, last, _) in enumerate(self.memory):
            if first <= low and high <= last:
                return i
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        first, last = np.lib.array_utils.byte_bounds(owner)
        if not (first <= low and high <= last):
            owner, first, last = array, low, high
        self.memory.append((first, last, owner))
        return len(self.memory) - 1

    def _target(self, step: Launch | Copied) -> int:
        return self._find(step.target if isinstance(step, Copied) else step.writes[0])

    def _varying(self) -> set[int]:
        """Memory whose contents depend on the arrays of the call, or that a kernel writes to, whatever it reads."""
        found = set(range(self.n_call))
        before = -1
        while len(found) != before:
            before = len(found)
            for step in self.recorder.steps:
                if isinstance(step, Copied):
                    reads, writes = [step.source], [step.target]
                else:
                    writes = list(step.writes)
                    reads = [a for a in step.header if a is not None and not any(a is b for b in writes)]
                targets = {self._find(array) for array in writes}
                report = step.report if isinstance(step, Launch) else None
                if report is not None:
                    found |= targets | {self._find(report)}
                elif targets & found or any(self._find(array) in found for array in reads):
                    found |= targets
        return found

    def _room(self, place: int) -> tuple[int, int]:
        """Bytes of temporary memory, and where in a cache line it begins."""
        first, last, owner = self.memory[place]
        if not owner.flags.owndata:
            raise _Unknown
        return last - first, first % CACHE_LINE

    def _place(self, array: np.ndarray, constants: bool) -> tuple[int, int]:
        """(buffer, offset) of an array that is read; `constants`: whether it may be a constant that nobody told of."""
        place = self._find(array)
        if place not in self.buffers:
            if not (constants or self._is_constant(place)):
                raise _Unknown
            if any(np.may_share_memory(array, value) for value in self.recorder.values):
                raise _Unknown  # may change
            self.kept.append(array)
            return -1, address(array)
        if place >= len(self.given) and place not in self.made:
            raise _Unknown  # something else has written there
        self.used |= self.alike[place] if place < len(self.given) else {place}
        return self._at(place, array)

    def _is_constant(self, place: int) -> bool:
        """Whether host code told that this memory is constant, or steps made it of constants."""
        told = any(self._find(known) == place for known in self.recorder.constants if known.size)
        return told or any(self._target(step) == place for step in self.recorder.steps)

    def _check_constants(self, step: Launch | Copied) -> None:
        """Whether a step that is left out reads nothing but constants."""
        header: tuple[np.ndarray | None, ...] = (step.source,) if isinstance(step, Copied) else step.header
        writes = (step.target,) if isinstance(step, Copied) else step.writes
        reads = [a for i, a in enumerate(header) if a is not None and i != 4 and not any(a is b for b in writes)]
        if not self.free and not all(self._is_constant(self._find(array)) for array in reads):
            raise _Unknown  # made of arrays of the call in a way that is not known here

    def _made(self, array: np.ndarray) -> tuple[int, int]:
        """(buffer, offset) of an array that is written."""
        place = self._find(array)
        if place < self.n_call and place not in self.writable:
            raise _Unknown
        self.made |= self.alike[place] if place < len(self.given) else {place}
        return self._at(place, array)

    def _at(self, place: int, array: np.ndarray) -> tuple[int, int]:
        first, _, owner = self.memory[place]
        return self.buffers[place], address(array) - (address(owner) if place < self.n_call else first)

    # -- steps -----------------------------------------------------------------------------------

    def _add_launch(self, tape: Tape, step: Launch) -> None:
        places = []
        for i, array in enumerate(step.header):
            if array is None:
                places.append((-1, 0))
            elif any(array is other for other in step.writes):
                places.append((0, 0))
            else:
                places.append(self._place(array, constants=i == 4 or (i > 0 and self.free)))
        for i, array in enumerate(step.header):
            if array is not None and any(array is other for other in step.writes):
                places[i] = self._made(array)
        w, report = step.header[1], next((i for i, a in enumerate(step.header) if a is step.report is not None), -1)
        bound = step.bound
        self.kept.append(bound)
        tape.add_launch(
            step.kernel, bound.slots, bound.units, step.threads, bound.scratch_bytes, places, report, step.order_slot,
            w.size if step.order_slot and w is not None else 0,
        )  # fmt: skip

    def _add_copy(self, tape: Tape, step: Copied) -> None:
        target, source = step.target, np.broadcast_to(step.source, step.target.shape)
        kind, code = _conversion(source.dtype, target.dtype, step.negative)
        axes = [
            (abs(t), n, s, t) for n, s, t in zip(target.shape, source.strides, target.strides, strict=True) if n > 1
        ]
        axes.sort(key=lambda axis: -axis[0])
        together: list[tuple[int, int, int]] = []
        dense = kind and (target if kind in STAGED.values() else source).itemsize
        for _, n, s, t in axes:
            if together and together[-1][1:] == (n * s, n * t):
                together[-1] = (together[-1][0] * n, s, t)
            else:
                together.append((n, s, t))
        inner = (together[-1][2] if kind in STAGED.values() else together[-1][1]) if together else dense
        if not together or (dense and inner != dense):  # one by one
            together.append((1, step.source.itemsize, target.itemsize))
        shape, steps, to_steps = zip(*together, strict=True)
        tape.add_copy(
            self._place(step.source, self.free), self._made(target), kind, code, step.negative, shape, steps, to_steps
        )  # fmt: skip


def _coincide(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have every element at the same place."""
    return (address(a), a.shape, a.strides, a.dtype) == (address(b), b.shape, b.strides, b.dtype)


def _conversion(source: np.dtype, target: np.dtype, negative: bool) -> tuple[int, int]:
    """How elements are copied, and the code that tells of their type, or their size."""
    if source == target and not negative:
        return 0, target.itemsize
    if target.name in STAGED and source.name in DTYPE_CODES:
        return STAGED[target.name], DTYPE_CODES[source.name]
    if source.name in STORED and target.name in DTYPE_CODES and target.kind in "fV" and not negative:
        return STORED[source.name], DTYPE_CODES[target.name]
    raise _Unknown
