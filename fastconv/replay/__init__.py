"""Calls seen before are replayed: what a small call costs is two microseconds, not twenty.

Once the shapes, strides and dtypes of the arrays, the other arguments and the settings are known, a call of most
functions is a fixed sequence of kernel launches.  The first such call is recorded: each launch's argument record, and the copies
and conversions that host code makes between them.  They are put together to a tape (`fastconv.replay.assembly`), which
holds in which array, at which offset, their pointers lie.  Later calls play the tape (`fastconv.engines.threads._tape`)
with the addresses of their own arrays: nothing is validated, planned or converted again.

A call is recorded only if its tape, played at once, gives the same bytes.  Calls with results above `LARGEST` bytes must
have been made `OFTEN` times before.  What a tape cannot hold is left out: results above `MOST` bytes, whose time hides
the overhead; arrays whose values, and not only their memory, decide something (`by_value`); work done by NumPy besides the
launches and the copies that are told of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from fastconv import config
from fastconv.costs import REPLAYED_KERNEL, REPLAYED_RESULT
from fastconv.engines.contract import EXACT_CODES, FILTER_FIELDS
from fastconv.engines.threads._tape import DeviceMemory, Memory, play, same_bytes

__all__ = [
    "LARGEST",
    "LARGEST_LAYER",
    "MOST",
    "OFTEN",
    "WRITTEN",
    "Copied",
    "Copy",
    "KeptWeights",
    "Launch",
    "Recorder",
    "WeightsInTurn",
    "address",
    "by_value",
    "by_values_of",
    "conjugate",
    "constant",
    "contiguous",
    "copy_into",
    "forget",
    "kept_weights",
    "launched",
    "memories",
    "planning",
    "recording",
    "remembered",
    "zeros",
]

P = ParamSpec("P")
R = TypeVar("R")

# A part of packed weights: the view that it is a copy of, the view of the packed ones, whether it is negated.
Copy = tuple[np.ndarray, np.ndarray, bool]

# Results of more bytes are not remembered at once.  (4 MiB take a separable filter 100 us on two threads, validation 30.)
LARGEST = REPLAYED_RESULT
# ... of layers.  (4.6 MiB take a 1x1 layer 0.2 ms on
# two threads, validation and plans 0.05 to 0.1.)
LARGEST_LAYER = 16 * 2**20 - 1
# Calls with larger ones are made once more to be remembered: after so many.  (64 MiB leave the caches without Python's own data:
# 3x3 of 4096x4096 takes 2.5 ms on two threads, validation and plans 0.3 to 0.4.)
OFTEN, MOST = 8, 256 * 2**20
# Bytes that steps of a call on such arrays may leave between them: passes block by block take no more memory when recorded.
MOST_HELD = 512 * 1024
# Tapes of a function, and of all functions on arrays of a GPU.
REMEMBERED, REMEMBERED_ON_DEVICES = 64, 1024
# Names of arguments that may be arrays for the result.
WRITTEN = frozenset(("output", "out", "target"))

EXACT_SLOT = FILTER_FIELDS.index("exact")
# Exact sums whose order follows from the weights.
LINES = [EXACT_CODES[order] for order in ("line", "symmetric", "antisymmetric")]


class Launch(NamedTuple):
    """A launch: what its header points to is read, but for what it writes."""

    kernel: int
    bound: Any
    threads: int
    header: tuple[np.ndarray | None, ...]  # x, w, out, bias, fill
    writes: tuple[np.ndarray, ...]
    report: np.ndarray | None
    order_slot: int  # where the record has the order of an exact sum, if it follows from the weights


class Copied(NamedTuple):
    """A copy, with conversion, and perhaps negated."""

    target: np.ndarray
    source: np.ndarray
    negative: bool = False


class Recorder:
    """Collects the steps of one call whose `arrays` are to be found again, others told apart by their `values`."""

    def __init__(self, n_arrays: int, arrays: list[np.ndarray], values: list[np.ndarray], large: bool) -> None:
        self.n_arrays, self.arrays, self.values, self.large = n_arrays, arrays, values, large
        self.steps: list[Launch | Copied] = []
        self.constants: list[np.ndarray] = []
        self.valid = True
        self._held: dict[int, int] = {}

    def add(self, step: Launch | Copied) -> None:
        """Keep a step and what it writes; where arrays are large, no more than little besides the largest, the result."""
        if self.valid:
            self.steps.append(step)
        if self.valid and self.large:
            owner = step.target if isinstance(step, Copied) else step.writes[0]
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            if not any(np.may_share_memory(owner, array) for array in self.arrays):
                self._held[id(owner)] = owner.nbytes
            if self._held and sum(self._held.values()) - max(self._held.values()) > MOST_HELD:
                self.valid = False
                self.steps.clear()


# Set by `fastconv.plan.plan`: calls plan and compute nothing.
planning: ContextVar[list | None] = ContextVar("fastconv_planning", default=None)
# Set by `fastconv.prepared`: weights as kernels read them are kept from call to call.
kept_weights: ContextVar[WeightsInTurn | None] = ContextVar("fastconv_kept_weights", default=None)
_recorder: ContextVar[Recorder | None] = ContextVar("fastconv_recorder", default=None)
device_tapes = DeviceMemory(config.SETTINGS, (planning, _recorder), WRITTEN, REMEMBERED_ON_DEVICES)
memories: list[Memory] = []


def recording() -> bool:
    """Whether the call that is running is being recorded: small work is then better done by kernels than by NumPy."""
    return _recorder.get() is not None


def by_value(first: int = 0) -> None:
    """Tell that the course of the call that is running depends on the values in its arrays from argument `first` on.

    Its tape is of use only if those are what calls are told apart by.
    """
    found = _recorder.get()
    if found is not None and first < found.n_arrays:
        found.valid = False


def by_values_of(array: Any) -> None:
    """The same for one array: a tape is of use if all that it may be made from are arguments whose values tell calls apart."""
    found = _recorder.get()
    if found is not None:
        apart = any(np.may_share_memory(array, value) for value in found.values)
        found.valid &= apart and not any(np.may_share_memory(array, given) for given in found.arrays)


def launched(
    kernel: int, bound: Any, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: Any, fill: Any, threads: int,
    copies: Sequence[Copy], writes: tuple[np.ndarray, ...], report: np.ndarray | None,
) -> None:  # fmt: skip
    """Tell of a launch; `copies` made `w`, if they alone did; in `report` the kernel may have told what went wrong."""
    found = _recorder.get()
    if found is None:
        return
    order_slot = 0
    if copies and w is not None:
        exact = len(bound.slots) >= len(FILTER_FIELDS) and bound.slots[EXACT_SLOT] in LINES
        order_slot = EXACT_SLOT if exact else 0
        if len(copies) > 1:
            found.add(Copied(w, _zero(w)))
        for source, target, negative in copies:
            found.add(Copied(target, source, negative))
    if report is not None:
        found.add(Copied(report, _zero(report)))
    header = (x, w, out, bias, fill)
    found.add(Launch(kernel, bound, threads, header, writes or (out,), report, order_slot))


def copy_into(target: np.ndarray, array: np.ndarray, negative: bool = False) -> None:
    """Copy an array, perhaps negated, which tapes can do too."""
    target[...] = -array if negative else array
    found = _recorder.get()
    if found is not None:
        found.add(Copied(target, array, negative))


def contiguous(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """`numpy.ascontiguousarray`, which tapes can do too."""
    result = np.ascontiguousarray(array, dtype)
    found = _recorder.get()
    if found is not None and result is not array and not np.may_share_memory(result, array):
        found.add(Copied(result, array))
    return result


def zeros(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """New zeros, which tapes can make too."""
    result = np.zeros(shape, dtype)
    found = _recorder.get()
    if found is not None:
        found.add(Copied(result, _zero(result)))
    return result


def _zero(array: np.ndarray) -> np.ndarray:
    """What an array of zeros may be copied from."""
    return constant(np.broadcast_to(np.zeros((), array.dtype), array.shape))


def constant(array: np.ndarray) -> np.ndarray:
    """The array, which follows from arguments that are no arrays, and is not written to: tapes may keep it."""
    found = _recorder.get()
    if found is not None:
        found.constants.append(array)
    return array


def conjugate(array: np.ndarray) -> np.ndarray:
    """The complex conjugate of an array, which tapes can make too."""
    result = array.conj()
    found = _recorder.get()
    if found is not None and result is not array:
        found.add(Copied(result.real, array.real))
        found.add(Copied(result.imag, array.imag, True))
    return result


def address(array: np.ndarray) -> int:
    """Where the first element lies."""
    return array.__array_interface__["data"][0]


class KeptWeights:
    """Weights as kernels read them, in the order in which a call makes them of the caller's."""

    def __init__(self, weight: np.ndarray) -> None:
        self.weight = weight
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
        as_given = np.may_share_memory(weights, given) and np.may_share_memory(given, kept.weight)
        kept.as_given = (at == 0 or kept.as_given) and as_given
        kept.made[at:] = [(key, weights)]
        return weights


def remembered(
    arrays: int | tuple[str, ...],
    optional: tuple[str, ...] = (),
    *,
    listed: bool = True,
    by_second: int = REPLAYED_KERNEL,
    largest: int = LARGEST,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function that computes by `fastconv.plan.execute` alone.

    `arrays` are the names of the arguments that are arrays, or how many of the first ones are; `optional` ones are arrays
    or None.  Those named ``output``, ``out`` or ``target`` may be written to; all others are told apart by their values.
    `listed`: whether `forget` reaches the tapes, which then are kept as long as the process runs.  Calls on two arrays
    whose course depends on the values of the second one are told apart by these, if it has at most `by_second` bytes.
    The first call is remembered if its results have at most `largest` bytes.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        code = function.__code__  # inspect.signature takes 13 us
        names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        found = names[:arrays] if isinstance(arrays, int) else list(arrays)
        shared = (WRITTEN, config.SETTINGS, (planning, _recorder), REMEMBERED)
        tapes = Memory(names, found, optional, *shared)
        tapes.function, tapes.on_devices = function, device_tapes
        second = Memory(names, found[:1], (), *shared, by_second) if arrays == 2 and not optional else None
        if listed:
            memories.extend((tapes, second) if second else (tapes,))

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            result = tapes.recall(args, kwargs)
            if result is None:
                return _record(tapes, function, args, kwargs, largest)
            if result is False and second is not None:
                result = second.recall(args, kwargs)
                if result is None:
                    return _record(second, function, args, kwargs, largest)
            if result is not False:
                return result
            return _on_device(function, args, kwargs)

        call.tapes = tapes  # type: ignore[attr-defined]
        return call

    return decorate


def _on_device(function: Callable[..., R], args: tuple, kwargs: dict[str, Any]) -> R:
    """The result of a call that is not replayed; one on arrays of a GPU is remembered."""
    if not args or isinstance(args[0], np.ndarray):
        return function(*args, **kwargs)
    from fastconv.dlpack import handed_over  # few programs have a GPU

    if not hasattr(args[0], "__cuda_array_interface__"):
        return handed_over(function(*args, **kwargs))
    from fastconv.replay.device import record

    return handed_over(record(device_tapes, function, args, kwargs))


def forget() -> None:
    """Drop every tape: kernels that were not ready when they were recorded are now."""
    for tapes in memories:
        tapes.forget()


def _record(tapes: Memory, function: Callable[P, R], args: Any, kwargs: Any, largest: int) -> R:
    """Call the function, and remember its launches if that gives the same result."""
    from fastconv.replay.assembly import tape_of  # few programs' imports end in a call

    key, given, args, kwargs = tapes.key(args, kwargs)  # lists as the arrays that launches are to be found in
    before = [array.copy() if array.nbytes <= largest else None for array in given]
    values = [a for a in _arrays(args, kwargs.values()) if not any(a is b for b in given)]
    large = any(array.nbytes > largest for array in given)
    found = Recorder(tapes.n_arrays + len(given) * tapes.optional, given, values, large)
    token = _recorder.set(found)
    try:
        result = function(*args, **kwargs)
    finally:
        _recorder.reset(token)
    if _overlap(given):
        return result  # calls on arrays apart from each other may yet have a tape
    results = _arrays((result,))
    if any(np.may_share_memory(a, b) for a in values for b in results):
        found.valid = False  # tapes hold what is told apart by its values as constants
    large = sum(array.nbytes for array in results) > largest
    if large and any(isinstance(step, Copied) and step.target.nbytes > largest for step in found.steps):
        found.valid = False  # NumPy copies as fast
    tape = tape_of(found, given, result)
    if tape is not None and large and not tapes.often(key, OFTEN):
        return result
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
    written = [i for i, array in enumerate(given) if any(np.may_share_memory(array, r) for r in results)]
    expected = [array.copy() if any(array is a for a in given) else array for array in results]
    for i in written:
        values = before[i]
        if values is not None:
            given[i][...] = values
        elif any(i != j and np.may_share_memory(given[i], other) for j, other in enumerate(given)):
            return False
    again = play(tape, given)
    again = again if isinstance(again, tuple) else (again,)
    same = again[0] is not None and all(
        same_bytes(np.ascontiguousarray(found), np.ascontiguousarray(wanted))
        for found, wanted in zip(again, expected, strict=True)
    )
    for array, wanted in zip(results, expected, strict=True):
        if array is not wanted:
            array[...] = wanted
    return same
