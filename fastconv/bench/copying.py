"""Copying memory, for what memory limits: beside a case, as many bytes as it moves, on as many threads of the same pool."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastconv import memory
from fastconv.bench.limits import Limit

# Bytes that a unit copies.  Two threads, GB/s read and written by units of 512 KiB, and by one for each thread: 8 MB in
# all 235 and 206, 32 MB 174 and 136, 128 MB 52 and 46; smaller units wait longer for the next.
UNIT = 512 * 1024

__all__ = ["Copy", "memcpy"]


class Copy(Limit):
    """A contestant that moves `nbytes` bytes: it reads half as many, and writes them elsewhere."""

    name = kind = "copy"

    def __init__(self, nbytes: int):
        self.nbytes = nbytes

    def prepare(self, case: Any, x: np.ndarray, w: Any) -> Callable[[], np.ndarray]:
        """A launch of `memcpy`, between arrays of its own: the caches still hold part of what the contestant before has
        read.  No call takes new pages."""
        from fastconv.engines.contract import HEADER
        from fastconv.engines.threads._threads import launch

        half, threads = self.nbytes // 2, self._threads
        source = memory.empty((half,), np.dtype(np.uint8))
        source[...] = np.resize(np.arange(251, dtype=np.uint8), half)  # no two units alike
        target = memory.empty((half,), np.dtype(np.uint8))
        units = threads * max(1, round(half / (threads * UNIT)))
        record = np.array([0] * len(HEADER) + [half, -(-half // units)], np.int64)
        kernel = _kernel().address

        def call() -> np.ndarray:
            launch(kernel, record, source, None, target, None, None, None, units, threads)
            return target

        return call


@cache
def _kernel() -> Any:
    """A kernel of the contract; its record ends with the bytes to copy, and those of a unit."""
    from numba import cfunc

    from fastconv.engines.contract import HEADER

    copy, size = memcpy(), len(HEADER)
    source, target = HEADER.index("x"), HEADER.index("out")

    @cfunc("void(CPointer(int64), int64, int64)")
    def kernel(args: Any, unit: int, worker: int) -> None:
        first = min(unit * args[size + 1], args[size])
        copy(args[target] + first, args[source] + first, min(args[size] - first, args[size + 1]))

    return kernel


@cache
def memcpy() -> Any:
    """The C library's ``memcpy(target, source, nbytes)``, of addresses, for Numba's functions."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def copy(typingctx: Any, target: Any, source: Any, nbytes: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = ir.IntType(8).as_pointer()
            to, at = (builder.inttoptr(address, pointer) for address in args[:2])
            cgutils.raw_memcpy(builder, to, at, args[2], 1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), emit

    return copy
