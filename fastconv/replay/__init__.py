"""Calls seen before are replayed: what a small call costs is two microseconds, not twenty.

Once the shapes, strides and dtypes of the arrays, the other arguments and the settings are known, a call of most
functions is a fixed sequence of kernel launches.  The first such call is recorded (`recording`): each launch's argument
record, and the copies and conversions that host code makes between them.  They are put together to a tape (`assembly`),
which holds in which array, at which offset, their pointers lie.  Later calls (`calls`) play the tape
(`fastconv.engines.threads._tape`) with the addresses of their own arrays: nothing is validated, planned or converted again.

A call is recorded only if its tape, played at once, gives the same bytes.  What a tape cannot hold is left out: results
above `LARGEST` bytes, whose time hides the overhead; arrays whose values, and not only their memory, decide
something (`by_value`); work done by NumPy besides the launches and the copies that are told of.
"""

from __future__ import annotations

from fastconv.replay.assembly import LARGEST
from fastconv.replay.calls import WRITTEN, forget, memories, remembered
from fastconv.replay.recording import (
    Copy,
    KeptWeights,
    WeightsInTurn,
    address,
    by_value,
    by_values_of,
    conjugate,
    constant,
    contiguous,
    copy_into,
    kept_weights,
    launched,
    planning,
    recording,
    zeros,
)

__all__ = [
    "LARGEST",
    "WRITTEN",
    "Copy",
    "KeptWeights",
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
