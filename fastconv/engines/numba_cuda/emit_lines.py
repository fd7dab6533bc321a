"""Separable filters in registers, instruction by instruction: intrinsics, and their twins on Numba's simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config

from fastconv.engines.numba_cuda import emit

__all__ = ["begin", "commit_async", "line", "wait_but"]

COLUMNS = emit.COLUMNS

SIMULATED = bool(config.ENABLE_CUDASIM)


def kept(kernel_y: int) -> int:
    """Numbers that a thread keeps: unfinished sums of the windows that have begun, at least one each."""
    return COLUMNS * max(kernel_y - 1, 1)


if SIMULATED:

    def begin(kernel_y: int) -> Callable:
        return lambda: (np.float32(0),) * kept(kernel_y)

    def line(kernel_y: int, kernel_x: int, phase: int) -> Callable:
        def add(sums: Any, staged: Any, at: Any, weights: Any) -> Any:
            values = [
                sum(staged[at + phase + column + tap] * weights[tap] for tap in range(kernel_x))
                for column in range(COLUMNS)
            ]
            down = np.array(weights[kernel_x:], np.float32)
            before = np.concatenate([np.zeros(COLUMNS), np.array(sums)]).astype(np.float32).reshape(-1, COLUMNS)
            after = before[:kernel_y] + np.outer(down, np.array(values, np.float32))
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
                numbers = [build.extract_value(weights, i) for i in range(kernel_x + kernel_y)]
                load = lambda i: emit.four(build, origin, i)  # noqa: E731
                values = emit.gathered(load, phase + kernel_x + COLUMNS - 1)[phase:]
                row = [build.fmul(values[i], numbers[0]) for i in range(COLUMNS)]
                for tap in range(1, kernel_x):
                    row = [build.fma(values[i + tap], numbers[tap], row[i]) for i in range(COLUMNS)]
                after = [build.extract_value(before, i) for i in range(len(sums))]
                done: list = []
                for k in range(kernel_y - 1, -1, -1):
                    weight = numbers[kernel_x + k]
                    if k:
                        line = [build.fma(row[i], weight, after[(k - 1) * COLUMNS + i]) for i in range(COLUMNS)]
                    else:
                        line = [build.fmul(value, weight) for value in row]
                    if k == kernel_y - 1:
                        done = line
                    else:
                        after[k * COLUMNS : (k + 1) * COLUMNS] = line
                parts = context.make_tuple(build, sums, after), context.make_tuple(build, ROW, done)
                return context.make_tuple(build, result, parts)

            return result(sums, staged, types.int64, weights), code

        return add

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
