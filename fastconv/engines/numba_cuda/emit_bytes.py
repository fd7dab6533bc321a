"""Filters of bytes in registers, instruction by instruction: intrinsics, and their twins on Numba's simulator.

Bytes become float32 numbers, in which the sums are made.  A float that is added to 2**23, rounding toward zero, has its
integral part in its low bits: two additions instead of conversions, which take four to eight times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import config

__all__ = ["COLUMNS", "Bytes", "exact_sum", "filter_bytes", "lowest_bit", "store_bytes"]

# Outputs of a thread side by side: one vector.
COLUMNS = 16

SIMULATED = bool(config.ENABLE_CUDASIM)


class Bytes(NamedTuple):
    """A thread's sums: `rows` rows of them, of windows that start `phase` bytes behind a vector's start.

    `mode`: ``"ring"``: integers modulo 256; else sums are truncated, and those are told whose integral part may depend on
    rounding errors, relative ones of ``"positive"`` weights or absolute ones of ``"signed"`` weights.
    """

    kernel: tuple[int, int]
    phase: int
    rows: int
    mode: str

    @property
    def vectors(self) -> int:
        """Vectors of a row of the image."""
        return -(-(self.phase + COLUMNS + self.kernel[1] - 1) // COLUMNS)

    def words(self, vector: int) -> tuple[int, int]:
        """The first word of a vector that is needed, and how many are, as they can be loaded at once."""
        needed = range(self.phase, self.phase + COLUMNS + self.kernel[1] - 1)
        own = [word for word in range(4) if any((16 * vector + 4 * word + i) in needed for i in range(4))]
        if len(own) == 1:
            return own[0], 1
        return (own[0], 2) if own in ([0, 1], [2, 3]) else (0, 4)


if SIMULATED:

    def filter_bytes(shape: Bytes) -> Callable:
        (down, along), phase = shape.kernel, shape.phase
        floating = np.float32

        def bounds(value: Any, guard: Any) -> tuple:
            if shape.mode == "positive":
                return value * (floating(1) - guard), value * (floating(1) + guard)
            return max(abs(value) - guard, floating(0)), abs(value) + guard

        def make(weights: Any, guard: Any, image: Any, at: Any, step: Any) -> Any:
            results, mask = [], 0
            for row, column in np.ndindex(shape.rows, COLUMNS):
                total = floating(0)
                for k, tap in np.ndindex(down, along):
                    total += floating(image[at + (row + k) * step + phase + tap + column]) * weights[k * along + tap]
                if shape.mode != "ring":
                    low, high = (np.trunc(bound) for bound in bounds(total, floating(guard)))
                    mask |= (low != high) << (row * COLUMNS + column)
                    total = -low if total < 0 else low
                results.append(int(total) & 255)
            return tuple(results), np.array(mask, np.uint64).view(np.int64)[()]

        return make

    def exact_sum(kernel: tuple[int, int], behind: int) -> Callable:
        down, along = kernel

        def add(weights: Any, image: Any, at: Any, step: Any) -> Any:
            doubles = np.array(weights[behind:], np.float32).view(np.float64)
            total = 0.0
            for k, tap in np.ndindex(down, along):
                total += float(image[at + k * step + tap]) * doubles[k * along + tap]
            return total

        return add

    def lowest_bit(mask: Any) -> int:
        return (int(mask) & -int(mask)).bit_length() - 1

    def store_bytes(out: Any, at: Any, step: Any, rows: Any, columns: Any, whole: Any, results: tuple) -> None:
        for row, column in np.ndindex(max(0, min(len(results) // COLUMNS, rows)), max(0, min(COLUMNS, columns))):
            out[at + row * step + column] = results[row * COLUMNS + column]

else:
    from llvmlite import ir
    from numba import cuda
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    BYTE, FLOAT, DOUBLE = ir.IntType(8), ir.FloatType(), ir.DoubleType()
    INT32, INT64 = ir.IntType(32), ir.IntType(64)
    # Numbers that have the byte they are added to in their low bits: of what is not negative, and of any integer.
    WHOLE, ANY = float(1 << 23), float(3 << 22)

    def filter_bytes(shape: Bytes) -> Callable:
        """An intrinsic that sums windows from memory or shared memory.

        Its arguments: weights, of which the first are float32; the guard; image, offset of the first vector (aligned) and
        step of its rows.  Its results: four bytes in each number, row by row, and a bit for each uncertain one.
        """
        (down, along), rows = shape.kernel, shape.rows
        packed = types.UniTuple(types.uint32, rows * 4)

        @intrinsic
        def make(typing, weights, guard, image, at, step):
            is_shared = isinstance(image, types.Array)

            def code(context, build, signature, args):
                numbers, guard, image, at, step = args
                base = _shared(context, build, signature.args[2], image) if is_shared else image
                space = 0 if is_shared else 1
                start = build.ptrtoint(build.gep(base, [at]), INT64)
                step = build.sext(build.trunc(step, INT32), INT64)
                weights = [build.extract_value(numbers, i) for i in range(down * along)]
                zero = ir.Constant(FLOAT, 0.0)
                sums = [[zero] * COLUMNS for _ in range(rows)]
                for row in range(rows + down - 1):
                    place = build.add(start, build.mul(step, ir.Constant(INT64, row)))
                    values = _bytes_of(build, shape, place, space)
                    for k in range(max(0, row - rows + 1), min(down, row + 1)):
                        line = sums[row - k]
                        for tap in range(along):
                            weight = weights[k * along + tap]
                            for i in range(COLUMNS):
                                line[i] = build.fma(values[tap + i], weight, line[i])
                results, mask = _truncated(build, shape.mode, sums, guard)
                done = context.make_tuple(build, packed, results)
                return context.make_tuple(build, signature.return_type, [done, mask])

            result = types.Tuple((packed, types.int64))
            return result(weights, types.float32, image, types.int64, types.int64), code

        return make

    def _bytes_of(build: Any, shape: Bytes, place: Any, space: int) -> list:
        """A row of the image as float32 numbers, from the first window's first byte on."""
        values: list = [None] * (COLUMNS * shape.vectors)
        for vector in range(shape.vectors):
            first, count = shape.words(vector)
            address = build.add(place, ir.Constant(INT64, 16 * vector + 4 * first))
            kind = ir.VectorType(INT32, count)
            loaded = build.load(build.inttoptr(address, kind.as_pointer(space)))
            loaded.align = 4 * count
            if space:
                loaded.set_metadata("invariant.load", build.module.add_metadata([]))
            for word in range(count):
                number = build.extract_element(loaded, ir.Constant(INT32, word))
                for i in range(4):
                    values[16 * vector + 4 * (first + word) + i] = (number, i)
        wanted = values[shape.phase : shape.phase + COLUMNS + shape.kernel[1] - 1]
        return [_float_of(build, *value) for value in wanted]

    def _float_of(build: Any, word: Any, i: int) -> Any:
        """A byte of a word as a number: it becomes the low bits of 2**23, which is then subtracted."""
        bits = _assembly(build, INT32, f"prmt.b32 $0, $1, 0x4B000000, {0x7440 + i};", "=r,r", [word])
        return build.fsub(build.bitcast(bits, FLOAT), ir.Constant(FLOAT, WHOLE))

    def _truncated(build: Any, mode: str, sums: list, guard: Any) -> tuple[list, Any]:
        """The sums' low bytes, packed, and which sums are uncertain."""
        results, mask = [], ir.Constant(INT64, 0)
        one = ir.Constant(FLOAT, 1.0)
        scales = [build.fsub(one, guard), build.fadd(one, guard)] if mode == "positive" else []
        for row, line in enumerate(sums):
            if mode == "ring":
                low = [build.bitcast(_sum(build, "rn", value, ANY), INT32) for value in line]
            else:
                pairs = [_bounds(build, mode, value, guard, scales) for value in line]
                low, high = (
                    [build.bitcast(_sum(build, "rz", b, WHOLE), INT32) for b in bounds]
                    for bounds in zip(*pairs, strict=True)
                )
                differ = [build.xor(a, b) for a, b in zip(low, high, strict=True)]
                mask = _marked(build, mask, row, differ)
                if mode == "signed":
                    low = [_with_sign(build, a, value) for a, value in zip(low, line, strict=True)]
            results += [_packed(build, low[i : i + 4]) for i in range(0, COLUMNS, 4)]
        return results, mask

    def _bounds(build: Any, mode: str, value: Any, guard: Any, scales: list) -> tuple:
        """Between what magnitudes the true sum lies."""
        if mode == "positive":
            return tuple(build.fmul(value, scale) for scale in scales)
        size = _assembly(build, FLOAT, "abs.f32 $0, $1;", "=f,f", [value])
        low = _assembly(build, FLOAT, "max.f32 $0, $1, 0f00000000;", "=f,f", [build.fsub(size, guard)])
        return low, build.fadd(size, guard)

    def _sum(build: Any, rounding: str, value: Any, number: float) -> Any:
        return _assembly(build, FLOAT, f"add.{rounding}.f32 $0, $1, $2;", "=f,f,f", [value, ir.Constant(FLOAT, number)])

    def _with_sign(build: Any, size: Any, value: Any) -> Any:
        sign = build.ashr(build.bitcast(value, INT32), ir.Constant(INT32, 31))
        return build.sub(build.xor(size, sign), sign)

    def _marked(build: Any, mask: Any, row: int, differ: list) -> Any:
        """The mask with the bits of a row in which something differs; which ones is asked only if any does."""
        some = differ[0]
        for bits in differ[1:]:
            some = build.or_(some, bits)
        before = build.block
        with build.if_then(build.icmp_unsigned("!=", some, ir.Constant(INT32, 0)), likely=False):
            found = mask
            for i, bits in enumerate(differ):
                one = build.zext(build.icmp_unsigned("!=", bits, ir.Constant(INT32, 0)), INT64)
                found = build.or_(found, build.shl(one, ir.Constant(INT64, row * COLUMNS + i)))
            inside = build.block
        merged = build.phi(INT64)
        merged.add_incoming(mask, before)
        merged.add_incoming(found, inside)
        return merged

    def _packed(build: Any, low: list) -> Any:
        """The low bytes of four numbers."""
        pairs = [_assembly(build, INT32, "prmt.b32 $0, $1, $2, 0x0040;", "=r,r,r", low[i : i + 2]) for i in (0, 2)]
        return _assembly(build, INT32, "prmt.b32 $0, $1, $2, 0x5410;", "=r,r,r", pairs)

    def exact_sum(kernel: tuple[int, int], behind: int) -> Callable:
        """An intrinsic that sums one window as SciPy does: in float64, in order, each product and sum rounded.

        The weights are the halves of float64 numbers behind so many float32 ones.
        """
        down, along = kernel

        @intrinsic
        def add(typing, weights, image, at, step):
            is_shared = isinstance(image, types.Array)

            def code(context, build, signature, args):
                numbers, image, at, step = args
                base = _shared(context, build, signature.args[1], image) if is_shared else image
                start = build.gep(base, [at])
                total = ir.Constant(DOUBLE, 0.0)
                for k in range(down):
                    place = build.gep(start, [build.mul(step, ir.Constant(INT64, k))])
                    for tap in range(along):
                        first = behind + 2 * (k * along + tap)
                        halves = [build.extract_value(numbers, first + i) for i in range(2)]
                        weight = _assembly(build, DOUBLE, "mov.b64 $0, {$1, $2};", "=d,f,f", halves)
                        value = build.uitofp(build.load(build.gep(place, [ir.Constant(INT64, tap)])), DOUBLE)
                        product = _assembly(build, DOUBLE, "mul.rn.f64 $0, $1, $2;", "=d,d,d", [value, weight])
                        total = _assembly(build, DOUBLE, "add.rn.f64 $0, $1, $2;", "=d,d,d", [total, product])
                return total

            return types.float64(weights, image, types.int64, types.int64), code

        return add

    @cuda.jit(device=True, inline="always")
    def lowest_bit(mask):
        """Where the lowest bit of a mask is set."""
        return np.int64(cuda.ffs(mask)) - 1

    @intrinsic
    def store_bytes(typing, out, at, step, rows, columns, whole, results):
        """Store that part of the results which lies within so many rows and columns, by vectors if those are `whole`."""
        number = types.int64

        def code(context, build, signature, args):
            out, at, step, rows, columns, whole, results = args
            words = [build.extract_value(results, i) for i in range(len(signature.args[-1]))]
            constant = lambda i: ir.Constant(INT64, i)  # noqa: E731
            vectors = build.and_(
                build.icmp_signed("!=", whole, constant(0)), build.icmp_signed(">=", columns, constant(16))
            )
            for row in range(len(words) // 4):
                with build.if_then(build.icmp_signed(">", rows, constant(row))):
                    place = build.gep(out, [build.add(at, build.mul(step, constant(row)))])
                    line = words[4 * row : 4 * row + 4]
                    with build.if_else(vectors) as (at_once, one_by_one):
                        with at_once:
                            vector: Any = ir.Constant(ir.VectorType(INT32, 4), ir.Undefined)
                            for i, word in enumerate(line):
                                vector = build.insert_element(vector, word, ir.Constant(INT32, i))
                            build.store(vector, build.bitcast(place, vector.type.as_pointer())).align = 16
                        with one_by_one:
                            for i in range(COLUMNS):
                                with build.if_then(build.icmp_signed(">", columns, constant(i))):
                                    shifted = build.lshr(line[i // 4], ir.Constant(INT32, 8 * (i % 4)))
                                    build.store(build.trunc(shifted, BYTE), build.gep(place, [constant(i)]))
            return context.get_dummy_value()

        return types.void(out, number, number, number, number, number, results), code

    def _shared(context: Any, build: Any, kind: Any, array: Any) -> Any:
        return context.make_array(kind)(context, build, value=array).data

    def _assembly(build: Any, result: Any, text: str, constraints: str, args: list) -> Any:
        kind = ir.FunctionType(result, [arg.type for arg in args])
        return build.call(ir.InlineAsm(kind, text, constraints), args)
