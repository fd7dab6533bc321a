"""What fast kernels say to the compiler instruction by instruction: intrinsics that Numba's simulator has twins of.

A tile is 8 rows by 4 columns of float32 sums, which a thread holds in registers: a tuple of 32 numbers, row by row.
Loops over it are unrolled here, in LLVM's instructions, since a loop in a kernel's Python would leave it in memory, and
a kernel unrolled in Python takes ten seconds to compile.  Addresses are indices into shared memory, in elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import config

__all__ = [
    "COLUMNS", "ROWS", "copy_async", "copy_vector", "four", "gathered", "multiplied", "multiply_add", "store_tile", "tile_of",
    "wait_async",
]  # fmt: skip

ROWS, COLUMNS = 8, 4

SIMULATED = bool(config.ENABLE_CUDASIM)


def multiplied(build: Any, sums: Sequence[Any], down: int, weights: Callable, load: Callable, taps: int) -> list:
    """Instructions that add the products of `down` kernel rows, lists of `taps` weights, to a tile.

    ``load(row, i)`` loads four neighbours of a row of the image, from the i-th on.
    Each row of the image is loaded once for all kernel rows that meet it.
    """
    sums, rows = list(sums), len(sums) // COLUMNS
    for row in range(rows + down - 1):
        values = gathered(lambda i, row=row: load(row, i), taps + COLUMNS - 1)
        for k in range(max(0, row - rows + 1), min(down, row + 1)):
            line = weights(k)
            for tap in range(taps):
                for column in range(COLUMNS):
                    at = (row - k) * COLUMNS + column
                    sums[at] = build.fma(values[tap + column], line[tap], sums[at])
    return sums


def gathered(load: Callable, count: int) -> list:
    return [value for i in range(0, count, 4) for value in load(i)]


if SIMULATED:

    def multiply_add(pitch: int, wide: int, down: int, taps: int) -> Callable:
        def add(sums: Any, staged: Any, weights: Any, here: Any) -> Any:
            tile = np.array(sums, np.float32).reshape(ROWS, COLUMNS)
            for row, column in np.ndindex(ROWS, COLUMNS):
                for k, tap in np.ndindex(down, taps):
                    value = staged[here + (row + k) * pitch + tap + column]
                    tile[row, column] += value * staged[weights + k * wide + tap]
            return tuple(tile.ravel())

        return add

    def tile_of(value: Any) -> tuple:
        return (value,) * (ROWS * COLUMNS)

    def copy_async(staged: Any, at: Any, source: Any, offset: Any) -> None:
        staged[at] = source[offset]

    def copy_vector(staged: Any, at: Any, source: Any, offset: Any) -> None:
        for i in range(16 // staged.dtype.itemsize):
            staged[at + i] = source[offset + i]

    def wait_async() -> None:
        pass

    def store_tile(out: Any, at: Any, step_y: Any, step_x: Any, rows: Any, columns: Any, sums: tuple) -> None:
        for row, column in np.ndindex(max(0, min(len(sums) // COLUMNS, rows)), max(0, min(COLUMNS, columns))):
            out[at + row * step_y + column * step_x] = sums[row * COLUMNS + column]

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
    VECTOR = ir.VectorType(FLOAT, 4)
    TILE = types.UniTuple(types.float32, ROWS * COLUMNS)

    def multiply_add(pitch: int, wide: int, down: int, taps: int) -> Callable:
        """An intrinsic that adds to a tile the products of `down` rows of `taps` weights with the image in shared memory.

        Rows of the image are `pitch` elements apart, those of weights `wide`.
        """

        @intrinsic
        def add(typing, sums, staged, weights, here):
            signature = TILE(TILE, staged, types.int32, types.int32)

            def code(context, build, signature, args):
                base = _shared(context, build, signature.args[1], args[1])
                first, origin = (build.gep(base, [build.sext(args[i], INT64)]) for i in (2, 3))
                rows = [gathered(lambda i, k=k: four(build, first, k * wide + i), taps) for k in range(down)]
                load = lambda row, i: four(build, origin, row * pitch + i)  # noqa: E731
                after = multiplied(build, _parts(build, args[0], TILE), down, rows.__getitem__, load, taps)
                return context.make_tuple(build, signature.return_type, after)

            return signature, code

        return add

    def four(build: Any, start: Any, offset: int) -> list:
        """Four neighbours from an offset on, which is aligned."""
        space = start.type.addrspace
        place = build.gep(start, [ir.Constant(INT64, offset)])
        vector = build.load(build.bitcast(place, VECTOR.as_pointer(space)))
        vector.align = 16
        return [build.extract_element(vector, ir.Constant(INT32, i)) for i in range(4)]

    def _parts(build: Any, value: Any, kind: Any) -> list:
        return [build.extract_value(value, i) for i in range(len(kind))]

    @intrinsic
    def tile_of(typing, value):
        """A tile of one value."""

        def code(context, build, signature, args):
            return context.make_tuple(build, signature.return_type, [args[0]] * len(TILE))

        return TILE(types.float32), code

    def _copying(kind: str, nbytes: int) -> Callable:
        @intrinsic
        def copy(typing, staged, at, source, offset):
            def code(context, build, signature, args):
                target = build.gep(_shared(context, build, signature.args[0], args[0]), [args[1]])
                origin = build.gep(args[2], [args[3]])
                text = (
                    "{ .reg .u64 wide; .reg .u32 narrow; cvta.to.shared.u64 wide, $0; cvt.u32.u64 narrow, wide; "
                    f"cp.async.{kind}.shared.global [narrow], [$1], {nbytes}; }}"
                )
                _assembly(build, text, "l,l", [build.ptrtoint(target, INT64), build.ptrtoint(origin, INT64)])
                return context.get_dummy_value()

            return types.void(staged, types.int64, source, types.int64), code

        return copy

    # Start to copy an element of 4 bytes, or an aligned vector of 16, to shared memory.
    copy_async, copy_vector = _copying("ca", 4), _copying("cg", 16)

    @intrinsic
    def wait_async(typing):
        """Wait for the copies that this thread started."""

        def code(context, build, signature, args):
            _assembly(build, "cp.async.wait_all;", "", [])
            return context.get_dummy_value()

        return types.void(), code

    @intrinsic
    def store_tile(typing, out, at, step_y, step_x, rows, columns, sums):
        """Store that part of a tile which lies within so many rows and columns, by vectors where it may be."""
        number = types.int64

        def code(context, build, signature, args):
            out, at, step_y, step_x, rows, columns, sums = args
            place = build.gep(out, [at])
            by_vectors = _by_vectors(build, place, step_y, step_x, columns)
            values = _parts(build, sums, signature.args[-1])
            with build.if_else(by_vectors) as (vectors, elements):
                with vectors:
                    _store_rows(build, place, step_y, rows, values, lambda p, row: _store_vector(build, p, row))
                with elements:
                    _store_rows(
                        build, place, step_y, rows, values, lambda p, row: _store_each(build, p, step_x, columns, row)
                    )
            return context.get_dummy_value()

        return types.void(out, number, number, number, number, number, sums), code

    def _by_vectors(build: Any, place: Any, step_y: Any, step_x: Any, columns: Any) -> Any:
        low_bits = build.or_(build.ptrtoint(place, INT64), build.shl(step_y, ir.Constant(INT64, 2)))
        aligned = build.icmp_unsigned("==", build.and_(low_bits, ir.Constant(INT64, 15)), ir.Constant(INT64, 0))
        dense = build.icmp_signed("==", step_x, ir.Constant(INT64, 1))
        whole = build.icmp_signed(">=", columns, ir.Constant(INT64, COLUMNS))
        return build.and_(whole, build.and_(aligned, dense))

    def _store_rows(build: Any, place: Any, step: Any, rows: Any, values: list, store: Callable) -> None:
        for row in range(len(values) // COLUMNS):
            with build.if_then(build.icmp_signed(">", rows, ir.Constant(INT64, row))):
                start = build.gep(place, [build.mul(step, ir.Constant(INT64, row))])
                store(start, values[row * COLUMNS : (row + 1) * COLUMNS])

    def _store_vector(build: Any, place: Any, values: list) -> None:
        vector: Any = ir.Constant(VECTOR, ir.Undefined)
        for i, value in enumerate(values):
            vector = build.insert_element(vector, value, ir.Constant(INT32, i))
        build.store(vector, build.bitcast(place, VECTOR.as_pointer())).align = 16

    def _store_each(build: Any, place: Any, step: Any, columns: Any, values: list) -> None:
        for i, value in enumerate(values):
            with build.if_then(build.icmp_signed(">", columns, ir.Constant(INT64, i))):
                build.store(value, build.gep(place, [build.mul(step, ir.Constant(INT64, i))]))

    def _shared(context: Any, build: Any, kind: Any, array: Any) -> Any:
        return context.make_array(kind)(context, build, value=array).data

    def _assembly(build: Any, text: str, constraints: str, args: list) -> None:
        kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
        constraints = ",".join(filter(None, [constraints, "~{memory}"]))
        build.call(ir.InlineAsm(kind, text, constraints, side_effect=True), args)
