"""A user's jitted function, compiled into the loop over windows.

The kernel (`FUNCTION_RECORD` of the contract) hands each window to the function as a 1-D array of float64.  It is
called from the library's threads without the GIL; an exception stops it, and leaves the window that raised.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from llvmlite import ir
from numba import carray, float64, int64, njit, types
from numba.core.ccallback import CFunc
from numba.core.errors import NumbaError
from numba.core.registry import CPUDispatcher
from numba.extending import intrinsic

from fastconv.engines.contract import BEYOND, FUNCTION_RECORD
from fastconv.engines.numba_cpu.convert import store_run
from fastconv.engines.numba_cpu.jit import OPTIONS, Record, part
from fastconv.engines.numba_cpu.simd import peek, poke
from fastconv.engines.numba_cpu.stage import source_row, stage_row

__all__ = ["is_compiled", "window_kernel"]


def is_compiled(function: Any) -> bool:
    """Whether it is a function that kernels can call: jitted, without Python objects and threads of its own."""
    options = getattr(function, "targetoptions", {})
    return isinstance(function, CPUDispatcher) and not (options.get("parallel") or options.get("forceobj"))


@lru_cache(maxsize=128)
def window_kernel(function: CPUDispatcher, extra: tuple = (), kinds: tuple = ()) -> CFunc | None:
    """The kernel for ``function(window, *extra)``, or None if extra arguments keep it from being compiled.

    `kinds` are the types of `extra`, which equal numbers of several types would not tell apart.
    """
    called = function if not extra else njit(lambda window: function(window, *extra))
    try:
        kernel = CFunc(_make(called), ((Record(FUNCTION_RECORD), types.int64, types.int64), types.void), {}, OPTIONS)
        kernel.compile()
    except NumbaError:
        if not extra:
            raise
        return None
    return kernel


@intrinsic
def _pointer(typingctx, address):
    """The address as a pointer to float64."""

    def emit(context, builder, signature, args):
        return builder.inttoptr(args[0], ir.DoubleType().as_pointer())

    return types.CPointer(types.float64)(types.int64), emit


@part
def gather(a, staged, buffer):
    for i in range(a.n_taps):
        poke(buffer + 8 * i, peek(staged + 8 * peek(a.taps + 8 * i, int64), float64))


@part
def stage_tile(a, plane, y, x, rows, cols, staged):
    fill = peek(a.fill, float64)
    for p in range(a.n_planes):
        offset = peek(a.src_planes + 8 * (plane * a.n_planes + p), int64)
        for j in range(rows + a.kernel_y - 1):
            row = int64(0) if offset == BEYOND else source_row(a, a.x + offset, y - a.pad_y + j)
            to = staged + 8 * (p * (a.tile_rows + a.kernel_y - 1) + j) * a.pitch
            stage_row(a, to, row, fill, x - a.pad_x, cols + a.kernel_x - 1, float64)


def _make(function: CPUDispatcher) -> Callable:
    @njit
    def apply(a, row, buffer, result, cols):
        # The number of windows done before one raised.
        x = 0
        try:
            while x < cols:
                gather(a, row + 8 * x, buffer)
                poke(result + 8 * x, float64(function(carray(_pointer(buffer), (a.n_taps,)))))
                x += 1
        except Exception:  # of whatever type: Numba cannot tell them apart
            pass
        return x

    def kernel(a, unit, worker):
        if peek(a.w, int64) != 0:
            return
        scratch = a.scratch + worker * a.scratch_bytes
        staged, buffer, result = scratch + a.staged, scratch + a.buffer, scratch + a.result
        plane = unit // a.n_across // a.n_down
        top, left = unit // a.n_across % a.n_down * a.tile_rows, unit % a.n_across * a.tile_cols
        rows, cols = min(a.tile_rows, a.out_height - top), min(a.tile_cols, a.out_width - left)
        stage_tile(a, plane, top, left, rows, cols, staged)
        out = a.out + peek(a.out_planes + 8 * plane, int64) + top * a.out_row + left * a.out_col
        for y in range(rows):
            row = staged + 8 * y * a.pitch
            done = apply(a, row, buffer, result, cols)
            if done < cols:
                report = a.w + 8 + worker * (8 + 8 * a.n_taps)
                gather(a, row + 8 * done, report + 8)
                poke(report, int64(1))
                poke(a.w, int64(1))
                return
            store_run(out + y * a.out_row, a.out_col, result, cols, a.out_code, float64)

    return kernel
