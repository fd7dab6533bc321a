"""Multiply-adds of registers, for what arithmetic limits: beside a case, as many as its direct sum has, on as many threads
of the same pool."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastconv.bench.limits import Limit

CHAINS = 16  # independent accumulators: two units of four or five cycles' latency stay busy
SUM_ELEMENTS = 16  # from one unit's sum to the next: a cache line

__all__ = ["Peak", "fma_loop"]


class Peak(Limit):
    """A contestant that adds and multiplies `flops` times, at least, and touches no memory: a unit for each thread, as what
    lies in the caches is filtered.

    The best rate ever seen is no measure of a processor shared with others: clocks change, and threads may share a core for
    a while.  This is called in turn with the case.
    """

    name = kind = "peak"

    def __init__(self, flops: int):
        self.flops = flops

    def prepare(self, case: Any, x: np.ndarray, w: Any) -> Callable[[], np.ndarray]:
        """A launch of the loop, each unit's sum in a cache line of its own."""
        from fastconv.engines.contract import HEADER
        from fastconv.engines.threads._threads import launch

        threads, (kernel, step) = self._threads, _kernel()
        sums = np.zeros((threads, SUM_ELEMENTS), np.float32)
        record = np.array([0] * len(HEADER) + [-(-self.flops // (threads * step))], np.int64)

        def call() -> np.ndarray:
            launch(kernel.address, record, None, None, sums, None, None, None, threads, threads)
            return sums

        return call


@cache
def _kernel() -> tuple[Any, int]:
    """A kernel of the contract, whose record ends with the steps of a unit; and the operations of a step."""
    from numba import cfunc

    from fastconv.engines.contract import HEADER
    from fastconv.engines.numba_cpu.simd import poke

    loop, flops = fma_loop("float32")
    size, out = len(HEADER), HEADER.index("out")

    @cfunc("void(CPointer(int64), int64, int64)")
    def kernel(args: Any, unit: int, worker: int) -> None:
        poke(args[out] + unit * 4 * SUM_ELEMENTS, loop(args[size]))

    return kernel, flops


@cache
def fma_loop(dtype: str) -> tuple[Any, int]:
    """For Numba's functions: a loop of so many steps of vector multiply-adds in registers, which gives a sum; and the
    operations of a step."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from fastconv.engines.numba_cpu.simd import HAS_FMA, VECTOR_BYTES

    number = types.float32 if dtype == "float32" else types.float64
    scalar = ir.FloatType() if dtype == "float32" else ir.DoubleType()
    count = VECTOR_BYTES * 8 // number.bitwidth
    vector = ir.VectorType(scalar, count)

    @intrinsic
    def loop(typingctx: Any, steps: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            name = f"llvm.fma.v{count}{scalar.intrinsic_name}"
            fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
            factor = ir.Constant(vector, [0.999] * count)
            sums = [
                cgutils.alloca_once_value(builder, ir.Constant(vector, [float(i + 1)] * count)) for i in range(CHAINS)
            ]
            with cgutils.for_range(builder, args[0]):
                for slot in sums:
                    value = builder.load(slot)
                    if HAS_FMA:
                        value = builder.call(fma, [value, factor, factor])
                    else:
                        value = builder.fadd(builder.fmul(value, factor), factor)
                    builder.store(value, slot)
            total = builder.load(sums[0])
            for slot in sums[1:]:
                total = builder.fadd(total, builder.load(slot))
            return builder.extract_element(total, ir.IntType(32)(0))

        return number(types.int64), emit

    return loop, 2 * CHAINS * count
