"""Separable filters in registers, instruction by instruction: intrinsics, and their twins on Numba's simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config

from fastconv.engines.numba_cuda import emit

__all__ = ["begin", "commit_async", "line", "neighbours_of", "wait_but"]

COLUMNS = emit.COLUMNS

SIMULATED = bool(config.ENABLE_CUDASIM)


def kept(kernel_y: int) -> int:
    """Numbers that a thread keeps: unfinished sums of the windows that have begun, at least one each."""
    return COLUMNS * max(kernel_y - 1, 1)


def neighbours_of(kernel_x: int, phase: int) -> int:
    """Numbers of a row, in whole vectors, that a thread's windows reach."""
    return -(-(phase + kernel_x + COLUMNS - 1) // 4) * 4


if SIMULATED:

    def begin(kernel_y: int) -> Callable:
        return lambda: (np.float32(0),) * kept(kernel_y)

    def line(kernel_y: int, kernel_x: int, phase: int) -> Callable:
        def add(sums: Any, staged: Any, at: Any, weights: Any) -> Any:
            values = [np.float32(staged[at + phase + i]) for i in range(kernel_x + COLUMNS - 1)]
            windows = np.lib.stride_tricks.sliding_window_view(np.array(values), kernel_x)
            along, down = np.split(np.array(weights, np.float32), [kernel_x])
            parts = np.outer(down, windows @ along)
            before = np.concatenate([np.zeros(COLUMNS), np.array(sums)]).astype(np.float32).reshape(-1, COLUMNS)
            after = before[:kernel_y] + parts
            rest = tuple(after[:-1].ravel()) or tuple(sums)
            return rest, tuple(after[-1])

        return add

    def commit_async() -> None:
        pass

    def wait_but(groups: int) -> Callable:
        return lambda: None

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    INT64 = ir.IntType(64)
    ROW = types.UniTuple(types.float32, COLUMNS)

    def begin(kernel_y: int) -> Callable:
        """An intrinsic for the sums before the first row."""
        sums = types.UniTuple(types.float32, kept(kernel_y))

        @intrinsic
        def zeros(typing):
            def code(context, build, signature, args):
                return context.make_tuple(build, sums, [ir.Constant(ir.FloatType(), 0.0)] * len(sums))

            return sums(), code

        return zeros

    def line(kernel_y: int, kernel_x: int, phase: int) -> Callable:
        """An intrinsic that takes a row of the image to unfinished sums, newest first, and gives the finished ones too.

        The row lies in shared memory.  Weights along x come first, then those along y.
        """
        sums = types.UniTuple(types.float32, kept(kernel_y))

        @intrinsic
        def add(typing, before, staged, at, weights):
            result = types.Tuple((sums, ROW))

            def code(context, build, signature, args):
                before, staged, at, weights = args
                base = context.make_array(signature.args[1])(context, build, value=staged).data
                origin = build.gep(base, [at])
                numbers = [build.extract_value(weights, i) for i in range(len(signature.args[3]))]
                load = lambda i: emit.four(build, origin, i)  # noqa: E731
                values = emit.gathered(load, phase + kernel_x + COLUMNS - 1)[phase:]
                values = _summed(build, [None] * COLUMNS, values, numbers[:kernel_x])
                after = [build.extract_value(before, i) for i in range(len(sums))]
                done: list = []
                for k in range(kernel_y - 1, -1, -1):  # a sum takes the place of the one that began a row before
                    begun = after[(k - 1) * COLUMNS : k * COLUMNS] if k else [None] * COLUMNS
                    line = _summed(build, begun, values, numbers[kernel_x + k : kernel_x + k + 1])
                    if k == kernel_y - 1:
                        done = line
                    else:
                        after[k * COLUMNS : (k + 1) * COLUMNS] = line
                parts = context.make_tuple(build, sums, after), context.make_tuple(build, ROW, done)
                return context.make_tuple(build, result, parts)

            return result(sums, staged, types.int64, weights), code

        return add

    def _summed(build: Any, sums: list, values: list, weights: list) -> list:
        """Sums (None: none yet), to each of which the products of weights with the values from its place on are added."""
        for tap, weight in enumerate(weights):
            sums = [
                build.fmul(values[i + tap], weight) if total is None else build.fma(values[i + tap], weight, total)
                for i, total in enumerate(sums)
            ]
        return sums

    def _said(text: str) -> Callable:
        @intrinsic
        def said(typing):
            def code(context, build, signature, args):
                kind = ir.FunctionType(ir.VoidType(), [])
                build.call(ir.InlineAsm(kind, text, "~{memory}", side_effect=True), [])
                return context.get_dummy_value()

            return types.void(), code

        return said

    # Make a group of the copies started since the last.
    commit_async = _said("cp.async.commit_group;")

    def wait_but(groups: int) -> Callable:
        """An intrinsic that waits for this thread's groups of copies but the last few."""
        return _said(f"cp.async.wait_group {groups};")
