"""Squares of vectors taken at the points of Winograd's minimal filtering, and back: products with constant matrices.

See the C twin, winograd.h.  Points 0, 1, -1, for tiles of 4x4 also 2 and -2, and infinity.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastconv.engines.numba_cpu.simd import element, lanes, load, multiply_add, splat, store

__all__ = ["take"]

_int64 = ir.IntType(64)

Matrix = tuple[tuple[float, ...], ...]

# What a square S becomes is M S M'.  By (what it is, outputs of a tile along an axis).
MATRICES: dict[tuple[str, int], Matrix] = {
    ("window", 2): ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    ("sums", 2): ((1, 1, 1, 0), (0, 1, -1, -1)),
    ("weights", 2): ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    ("window", 4): (
        (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
    ),
    ("sums", 4): ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    ("weights", 4): (
        (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
    ),
    # Weights from their values.
    ("back", 2): ((1, 0, 0, 0), (0, 1, -1, 0), (0, 0, 0, 1)),
    ("back", 4): ((4, 0, 0, 0, 0, 0), (0, -3, 3, 0, 0, 0), (0, 0, 0, 0, 0, 1)),
}  # fmt: skip


@intrinsic(prefer_literal=True)
def take(typingctx, what, m, src, row, col, start, dst, dst_row, dst_col, acc):
    """The square of vectors at ``src + i * row + j * col`` (bytes) as another one at `dst`; `start` is added to each vector.

    Returns 1 if one of its numbers is not finite, else 0.
    """
    matrix, kind = MATRICES[what.literal_value, m.literal_value], acc.instance_type

    def emit(context, builder, signature, args):
        _, _, src, row, col, start, dst, dst_row, dst_col, _ = args
        vector = ir.VectorType(element(kind), lanes(kind))
        n_out, n_in = len(matrix), len(matrix[0])

        def place(at: ir.Value, i: int, j: int, down: ir.Value, right: ir.Value) -> ir.Value:
            return builder.add(at, builder.add(builder.mul(down, _int64(i)), builder.mul(right, _int64(j))))

        def line(values: list[ir.Value]) -> list[ir.Value]:
            return [_combined(builder, coefficients, values) for coefficients in matrix]

        columns = [line([load(builder, place(src, i, j, row, col), vector) for i in range(n_in)]) for j in range(n_in)]
        first, zero = load(builder, start, vector), ir.Constant(vector, None)
        lost = zero
        for i in range(n_out):
            for j, value in enumerate(line([column[i] for column in columns])):
                store(builder, builder.fadd(value, first), place(dst, i, j, dst_row, dst_col))
                lost = multiply_add(builder, value, zero, lost)
        number = builder.icmp_signed("!=", *_as_integers(builder, builder.fcmp_unordered("uno", lost, lost)))
        return builder.zext(number, _int64)

    return types.int64(what, m, *[types.int64] * 7, acc), emit


def _as_integers(builder: ir.IRBuilder, flags: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The flags as one number, and 0."""
    number = ir.IntType(flags.type.count)
    return builder.bitcast(flags, number), number(0)


def _combined(builder: ir.IRBuilder, coefficients: tuple[float, ...], values: list[ir.Value]) -> ir.Value:
    """The sum of products of constants and vectors."""
    total = None
    for coefficient, value in zip(coefficients, values, strict=True):
        if coefficient == 0:
            continue
        factor = splat(builder, ir.Constant(value.type.element, coefficient), value.type.count)
        if total is None:
            total = value if coefficient == 1 else builder.fmul(value, factor)
        elif coefficient in (1, -1):
            total = (builder.fadd if coefficient == 1 else builder.fsub)(total, value)
        else:
            total = multiply_add(builder, value, factor, total)
    return total
