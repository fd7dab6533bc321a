"""What happens during a call that is being recorded: launches, and copies that tapes can make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from fastconv.engines.contract import EXACT_CODES, FILTER_FIELDS

__all__ = [
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
    "kept_weights",
    "launched",
    "planning",
    "recorder",
    "recording",
    "zeros",
]

# A part of packed weights: the view that it is a copy of, the view of the packed ones, whether it is negated.
Copy = tuple[np.ndarray, np.ndarray, bool]

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

    def __init__(self, n_arrays: int, arrays: list[np.ndarray], values: list[np.ndarray]) -> None:
        self.n_arrays, self.arrays, self.values = n_arrays, arrays, values
        self.steps: list[Launch | Copied] = []
        self.constants: list[np.ndarray] = []
        self.valid = True


# Set by `fastconv.plan.plan`: calls plan and compute nothing.
planning: ContextVar[list | None] = ContextVar("fastconv_planning", default=None)
# Set by `fastconv.prepared`: weights as kernels read them are kept from call to call.
kept_weights: ContextVar[WeightsInTurn | None] = ContextVar("fastconv_kept_weights", default=None)
recorder: ContextVar[Recorder | None] = ContextVar("fastconv_recorder", default=None)


def recording() -> bool:
    """Whether the call that is running is being recorded: small work is then better done by kernels than by NumPy."""
    return recorder.get() is not None


def by_value(first: int = 0) -> None:
    """Tell that the course of the call that is running depends on the values in its arrays from argument `first` on.

    Its tape is of use only if those are what calls are told apart by.
    """
    found = recorder.get()
    if found is not None and first < found.n_arrays:
        found.valid = False


def by_values_of(array: Any) -> None:
    """The same for one array: a tape is of use if all that it may be made from are arguments whose values tell calls apart."""
    found = recorder.get()
    if found is not None:
        apart = any(np.may_share_memory(array, value) for value in found.values)
        found.valid &= apart and not any(np.may_share_memory(array, given) for given in found.arrays)


def launched(
    kernel: int, bound: Any, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, bias: Any, fill: Any, threads: int,
    copies: Sequence[Copy], writes: tuple[np.ndarray, ...], report: np.ndarray | None,
) -> None:  # fmt: skip
    """Tell of a launch; `copies` made `w`, if they alone did; in `report` the kernel may have told what went wrong."""
    found = recorder.get()
    if found is None:
        return
    order_slot = 0
    if copies and w is not None:
        exact = len(bound.slots) >= len(FILTER_FIELDS) and bound.slots[EXACT_SLOT] in LINES
        order_slot = EXACT_SLOT if exact else 0
        if len(copies) > 1:
            found.steps.append(Copied(w, _zero(w)))
        found.steps += [Copied(target, source, negative) for source, target, negative in copies]
    if report is not None:
        found.steps.append(Copied(report, _zero(report)))
    header = (x, w, out, bias, fill)
    found.steps.append(Launch(kernel, bound, threads, header, writes or (out,), report, order_slot))


def copy_into(target: np.ndarray, array: np.ndarray) -> None:
    """Copy an array, which tapes can do too."""
    target[...] = array
    found = recorder.get()
    if found is not None:
        found.steps.append(Copied(target, array))


def contiguous(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """`numpy.ascontiguousarray`, which tapes can do too."""
    result = np.ascontiguousarray(array, dtype)
    found = recorder.get()
    if found is not None and result is not array and not np.may_share_memory(result, array):
        found.steps.append(Copied(result, array))
    return result


def zeros(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """New zeros, which tapes can make too."""
    result = np.zeros(shape, dtype)
    found = recorder.get()
    if found is not None:
        found.steps.append(Copied(result, _zero(result)))
    return result


def _zero(array: np.ndarray) -> np.ndarray:
    """What an array of zeros may be copied from."""
    return constant(np.broadcast_to(np.zeros((), array.dtype), array.shape))


def constant(array: np.ndarray) -> np.ndarray:
    """The array, which follows from arguments that are no arrays, and is not written to: tapes may keep it."""
    found = recorder.get()
    if found is not None:
        found.constants.append(array)
    return array


def conjugate(array: np.ndarray) -> np.ndarray:
    """The complex conjugate of an array, which tapes can make too."""
    result = array.conj()
    found = recorder.get()
    if found is not None and result is not array:
        found.steps += [Copied(result.real, array.real), Copied(result.imag, array.imag, True)]
    return result


def address(array: np.ndarray) -> int:
    """Where the first element lies."""
    return array.__array_interface__["data"][0]


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
        token = recorder.set(None)  # tapes hold them as constants
        try:
            weights = make()
        finally:
            recorder.reset(token)
        kept.as_given = (at == 0 or kept.as_given) and np.may_share_memory(weights, given)
        kept.made[at:] = [(key, weights)]
        return weights
