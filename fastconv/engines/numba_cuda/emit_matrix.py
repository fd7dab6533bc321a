"""Filters of bytes by the integer matrix units, instruction by instruction: intrinsics, and their twins on Numba's simulator.

A row of a kernel is a band matrix of 16 bytes of the image by 8 outputs, and two rows are one product of a warp's
16 positions, 8 outputs apart: ``mma.m16n8k32``, of bytes that are loaded as they lie.  Weights are fixed-point numbers of up to
three bytes, each a matrix of its own, whose sums are put together in 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import config

__all__ = ["APART", "POSITION", "TAPS", "WARP_COLUMNS", "WINDOW", "Matrix", "filter_matrix", "store_pairs"]

# Outputs of a position, bytes of the image that it reads of a row, and outputs of a warp in a row: those of a lane are two
# neighbours, and two half a warp's apart.
POSITION, WINDOW, WARP_COLUMNS = 8, 16, 128
APART = WARP_COLUMNS // 2
# Rows whose sums are looked at together: a branch for each row would take as long as its sums.
MARKED = 4
# A row of weights: their bytes of one place, the last of which is zero.
TAPS = 8

SIMULATED = bool(config.ENABLE_CUDASIM)


class Matrix(NamedTuple):
    """A lane's sums: `rows` rows of four, of windows that start `phase` bytes behind a multiple of 4.

    `digits`: bytes of a weight, the most significant first; 0 for integers modulo 256, whose lowest byte is the result.
    """

    kernel: tuple[int, int]
    phase: int
    rows: int
    digits: int

    @property
    def words(self) -> int:
        """Numbers of 32 bits that hold the weights' bytes: two for each row and digit."""
        return 2 * self.kernel[0] * max(self.digits, 1)


if SIMULATED:

    def filter_matrix(shape: Matrix) -> Callable:
        (down, along), digits = shape.kernel, max(shape.digits, 1)

        def make(weights: Any, select: Any, width: Any, image: Any, at: Any, quad: Any, step: Any) -> Any:
            numbers = np.array(weights[: shape.words], np.float32).view(np.uint8).reshape(digits, down, TAPS)
            places = [1 << 8 * (2 - i) for i in range(digits)] if shape.digits else [1]
            results, mask = [], 0
            for row in range(shape.rows):
                for column in range(4):
                    first = at + row * step + shape.phase + 2 * quad + column % 2 + APART * (column // 2)
                    total = 0
                    for k, tap in np.ndindex(down, along):
                        value = int(image[first + k * step + tap])
                        total += sum(int(numbers[i, k, tap]) * value * place for i, place in enumerate(places))
                    if shape.digits:
                        mask |= ((total ^ (total + int(width))) >> 24 & 255 != 0) << (4 * row + column)
                        total >>= 24
                    results.append(total & 255)
            pairs = [np.uint32(results[i] | results[i + 1] << 8) for i in range(0, len(results), 2)]
            return tuple(pairs), np.array(mask, np.uint64).view(np.int64)[()]

        return make

    def store_pairs(out: Any, at: Any, step: Any, rows: Any, columns: Any, whole: Any, results: tuple) -> None:
        for i, pair in enumerate(results):
            for j in range(2):
                column = i % 2 * APART + j
                if i // 2 < rows and column < columns:
                    out[at + i // 2 * step + column] = int(pair) >> 8 * j & 255

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    BYTE, PAIR, INT32, INT64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
    ZERO = ir.Constant(INT32, 0)
    FOUR = ir.LiteralStructType([INT32] * 4)

    def filter_matrix(shape: Matrix) -> Callable:
        """An intrinsic that sums windows from memory or shared memory.

        Its arguments: weights; which of their bytes lie in a lane's part of a matrix; how much larger than their sum in fixed
        point a sum can be; image, offset of the lane's position (aligned), the lane's quarter of it and step of its rows.
        Its results: two bytes in each number, and a bit for each uncertain sum.
        """
        (down, _), rows = shape.kernel, shape.rows
        packed = types.UniTuple(types.uint32, 2 * rows)

        @intrinsic
        def make(typing, weights, select, width, image, at, quad, step):
            is_shared = isinstance(image, types.Array)

            def code(context, build, signature, args):
                numbers, select, width, image, at, quad, step = args
                _assembly(build, ir.VoidType(), "bar.warp.sync 0xffffffff;", "", [], side_effect=True)
                base = context.make_array(signature.args[3])(context, build, value=image).data if is_shared else image
                here = build.add(at, build.shl(quad, ir.Constant(INT64, 2)))
                start = build.ptrtoint(build.gep(base, [here]), INT64)
                step = build.sext(build.trunc(step, INT32), INT64)
                image_rows = [_row(build, start, step, row, 0 if is_shared else 1) for row in range(rows + down - 1)]
                words = [build.bitcast(build.extract_value(numbers, i), INT32) for i in range(shape.words)]
                parts = [
                    _assembly(build, INT32, "prmt.b32 $0, $1, $2, $3;", "=r,r,r,r", [*words[i : i + 2], select])
                    for i in range(0, shape.words, 2)
                ]
                results, mask, select_pair = [], ir.Constant(INT64, 0), "0x4073" if shape.digits else "0x4040"
                for first in range(0, rows, MARKED):
                    total = []
                    for row in range(first, min(first + MARKED, rows)):
                        window = image_rows[row : row + down]
                        sums = [_product(build, window, parts[i : i + down]) for i in range(0, len(parts), down)]
                        total += [_joined(build, digits, shape.digits) for digits in zip(*sums, strict=True)]
                    if shape.digits:
                        differ = [build.xor(value, build.add(value, width)) for value in total]
                        mask = _marked(build, mask, first, differ)
                    results += [
                        _assembly(build, INT32, f"prmt.b32 $0, $1, $2, {select_pair};", "=r,r,r", total[i : i + 2])
                        for i in range(0, len(total), 2)
                    ]
                done = context.make_tuple(build, packed, results)
                return context.make_tuple(build, signature.return_type, [done, mask])

            result = types.Tuple((packed, types.int64))
            number = types.int64
            return result(weights, types.int32, types.int32, image, number, number, number), code

        return make

    def _row(build: Any, start: Any, step: Any, row: int, space: int) -> list:
        """A lane's four bytes of a row of the image at its two positions."""
        place = build.add(start, build.mul(step, ir.Constant(INT64, row)))
        words = []
        for offset in (0, APART):
            address = build.add(place, ir.Constant(INT64, offset))
            word = build.load(build.inttoptr(address, INT32.as_pointer(space)))
            word.align = 4
            if space:
                word.set_metadata("invariant.load", build.module.add_metadata([]))
            words.append(word)
        return words

    def _product(build: Any, window: list, parts: list) -> list:
        """The four sums of a lane: two rows of the kernel at a time, and what is left."""
        sums = [ZERO] * 4
        for k in range(0, len(window) - 1, 2):
            sums = _multiplied(build, sums, [*window[k], *window[k + 1]], parts[k : k + 2], 32)
        return _multiplied(build, sums, window[-1], parts[-1:], 16) if len(window) % 2 else sums

    def _multiplied(build: Any, sums: list, image: list, weights: list, depth: int) -> list:
        names = [f"${i}" for i in range(8 + len(image) + len(weights))]
        behind = 4 + len(image)
        groups = names[:4], names[4:behind], names[behind:-4], names[-4:]
        operands = ", ".join("{" + ", ".join(group) + "}" for group in groups)
        text = f"mma.sync.aligned.m16n8k{depth}.row.col.s32.u8.u8.s32 {operands};"
        constraints = ",".join(["=r"] * 4 + ["r"] * (len(names) - 4))
        result = _assembly(build, FOUR, text, constraints, [*image, *weights, *sums], side_effect=True)
        return [build.extract_value(result, i) for i in range(4)]

    def _joined(build: Any, digits: tuple, count: int) -> Any:
        """A sum in fixed point, with 24 bits behind the integer."""
        total = digits[0]
        for digit in digits[1:]:
            total = build.add(build.mul(total, ir.Constant(INT32, 256)), digit)
        return build.shl(total, ir.Constant(INT32, 8 * (3 - count))) if 0 < count < 3 else total

    def _marked(build: Any, mask: Any, row: int, differ: list) -> Any:
        """The mask with the bits of sums from a row on whose integral part is uncertain; which ones is asked only if any is."""
        some = differ[0]
        for bits in differ[1:]:
            some = build.or_(some, bits)
        fraction = ir.Constant(INT32, (1 << 24) - 1)
        before = build.block
        with build.if_then(build.icmp_unsigned(">", some, fraction), likely=False):
            found = mask
            for i, bits in enumerate(differ):
                one = build.zext(build.icmp_unsigned(">", bits, fraction), INT64)
                found = build.or_(found, build.shl(one, ir.Constant(INT64, 4 * row + i)))
            inside = build.block
        merged = build.phi(INT64)
        merged.add_incoming(mask, before)
        merged.add_incoming(found, inside)
        return merged

    @intrinsic
    def store_pairs(typing, out, at, step, rows, columns, whole, results):
        """Store that part of a lane's results which lies within so many rows and columns, both of a pair if those are `whole`."""
        number = types.int64

        def code(context, build, signature, args):
            out, at, step, rows, columns, whole, results = args
            pairs = [build.extract_value(results, i) for i in range(len(signature.args[-1]))]
            constant = lambda i: ir.Constant(INT64, i)  # noqa: E731
            at_once = build.and_(
                build.icmp_signed("!=", whole, constant(0)), build.icmp_signed(">=", columns, constant(APART + 2))
            )
            count = len(pairs) // 2
            all_rows = build.icmp_signed(">=", rows, constant(count))
            with build.if_else(build.and_(at_once, all_rows)) as (together, one_by_one):
                with together:
                    for row in range(count):
                        place = build.gep(out, [build.add(at, build.mul(step, constant(row)))])
                        for i in range(2):
                            target = build.bitcast(build.gep(place, [constant(APART * i)]), PAIR.as_pointer())
                            build.store(build.trunc(pairs[2 * row + i], PAIR), target).align = 2
                with one_by_one:
                    for row in range(count):
                        with build.if_then(build.icmp_signed(">", rows, constant(row))):
                            place = build.gep(out, [build.add(at, build.mul(step, constant(row)))])
                            for i in range(4):
                                column = APART * (i // 2) + i % 2
                                with build.if_then(build.icmp_signed(">", columns, constant(column))):
                                    byte = build.lshr(pairs[2 * row + i // 2], ir.Constant(INT32, 8 * (i % 2)))
                                    build.store(build.trunc(byte, BYTE), build.gep(place, [constant(column)]))
            return context.get_dummy_value()

        return types.void(out, number, number, number, number, number, results), code

    def _assembly(build: Any, result: Any, text: str, constraints: str, args: list, side_effect: bool = False) -> Any:
        kind = ir.FunctionType(result, [arg.type for arg in args])
        call = build.call(ir.InlineAsm(kind, text, constraints, side_effect=side_effect), args)
        if side_effect:
            call.attributes.add("convergent")  # a whole warp's
        return call
