"""Loops over samples that are missing, for the filter over valid ones."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.numba_cpu.simd import element, lanes, load, loop, splat, store

__all__ = [
    "add_vector",
    "copy_numbers",
    "lowest_bit",
    "mark",
    "record_at",
    "renormalize",
    "scale",
    "split",
]

_int64, _bit = ir.IntType(64), ir.IntType(1)


@intrinsic
def record_at(typingctx, like, address):
    """The record at an address, with the fields of another."""

    def emit(context, builder, signature, args):
        return builder.inttoptr(args[1], args[0].type)

    return like(like, types.int64), emit


@intrinsic
def lowest_bit(typingctx, bits):
    """The place of the lowest bit that is set."""

    def emit(context, builder, signature, args):
        return builder.cttz(args[0], _bit(1))

    return types.int64(types.int64), emit


@intrinsic
def copy_numbers(typingctx, dst, src, acc):
    """Copy a vector with 0 for NaN.  Bit i: element i was NaN."""
    dtype = acc.instance_type

    def emit(context, builder, signature, args):
        vector = ir.VectorType(element(dtype), lanes(dtype))
        value = load(builder, args[1], vector)
        missing = builder.fcmp_unordered("uno", value, value)
        store(builder, builder.select(missing, ir.Constant(vector, [0.0] * vector.count), value), args[0])
        return builder.zext(builder.bitcast(missing, ir.IntType(vector.count)), _int64)

    return types.int64(types.int64, types.int64, acc), emit


@intrinsic
def add_vector(typingctx, to, at, acc):
    """Add a vector to another in memory."""
    dtype = acc.instance_type

    def emit(context, builder, signature, args):
        vector = ir.VectorType(element(dtype), lanes(dtype))
        store(builder, builder.fadd(load(builder, args[0], vector), load(builder, args[1], vector)), args[0])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, acc), emit


@intrinsic
def mark(typingctx, values, marks, n, acc):
    """``values[i]`` = NaN where ``marks[i]`` is not 0; `n` elements, whole vectors."""
    dtype = acc.instance_type

    def emit(context, builder, signature, args):
        values, marks, n, _ = args
        count, size = lanes(dtype), dtype.bitwidth // 8
        vector = ir.VectorType(element(dtype), count)
        zero, nan = (ir.Constant(vector, [number] * count) for number in (0.0, float("nan")))
        with loop(builder, builder.udiv(n, n.type(count))) as i:
            at = builder.mul(i, n.type(count * size))
            set_ = builder.fcmp_unordered("une", load(builder, builder.add(marks, at), vector), zero)
            value = load(builder, builder.add(values, at), vector)
            store(builder, builder.select(set_, nan, value), builder.add(values, at))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, acc), emit


@intrinsic
def scale(typingctx, sums, missing, complete, n, margin):
    """``sums[i] *= complete / (complete - missing[i])`` of `n` elements, in whole vectors, and ``missing[i] = 0``.

    It becomes 0 for `margin` elements more, whole vectors.  Whether a window lacks more than half of its weight.
    """

    def emit(context, builder, signature, args):
        sums, missing, complete, n, margin = args
        count, size = lanes(signature.args[2]), signature.args[2].bitwidth // 8
        vector, flags = ir.VectorType(complete.type, count), ir.VectorType(_bit, count)
        zero, whole = ir.Constant(vector, [0.0] * count), splat(builder, complete, count)
        half = builder.fmul(whole, ir.Constant(vector, [0.5] * count))
        found = cgutils.alloca_once_value(builder, ir.Constant(flags, [0] * count))
        passed = builder.udiv(builder.add(n, n.type(count - 1)), n.type(count))
        with loop(builder, passed) as i:
            at = builder.mul(i, n.type(count * size))
            lack = load(builder, builder.add(missing, at), vector)
            store(builder, zero, builder.add(missing, at))
            total = load(builder, builder.add(sums, at), vector)
            left = builder.fsub(whole, lack)
            store(builder, builder.fmul(total, builder.fdiv(whole, left)), builder.add(sums, at))
            positive = builder.fcmp_ordered(">", whole, zero)
            more = builder.select(
                positive, builder.fcmp_ordered(">", lack, half), builder.fcmp_ordered("<", lack, half)
            )
            builder.store(builder.or_(builder.load(found), more), found)
        with loop(builder, builder.udiv(margin, n.type(count))) as i:
            at = builder.mul(builder.add(passed, i), n.type(count * size))
            store(builder, zero, builder.add(missing, at))
        bits = builder.bitcast(builder.load(found), ir.IntType(count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(types.int64, types.int64, complete, types.int64, types.int64), emit


@intrinsic
def split(typingctx, values, valid, n, acc):
    """``valid[i]`` = whether ``values[i]`` is a number (1 or 0); NaN becomes 0.  Whether there was any.

    Of `n` elements, whole vectors.
    """
    dtype = acc.instance_type

    def emit(context, builder, signature, args):
        values, valid, n, _ = args
        count = lanes(dtype)
        vector, size = ir.VectorType(element(dtype), count), dtype.bitwidth // 8
        one, zero = (ir.Constant(vector, [number] * count) for number in (1.0, 0.0))
        flags = ir.VectorType(ir.IntType(1), count)
        found = builder.alloca(flags)
        builder.store(ir.Constant(flags, [0] * count), found)
        with loop(builder, builder.udiv(n, n.type(count))) as i:
            at = builder.mul(i, n.type(count * size))
            value = load(builder, builder.add(values, at), vector)
            missing = builder.fcmp_unordered("uno", value, value)
            store(builder, builder.select(missing, zero, one), builder.add(valid, at))
            store(builder, builder.select(missing, zero, value), builder.add(values, at))
            builder.store(builder.or_(builder.load(found), missing), found)
        bits = builder.bitcast(builder.load(found), ir.IntType(count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(types.int64, types.int64, types.int64, acc), emit


@intrinsic
def renormalize(typingctx, sums, weights, complete, n):
    """``sums[i] *= complete / weights[i]``, NaN where the weight is 0; `n` elements, whole vectors."""

    def emit(context, builder, signature, args):
        sums, weights, complete, n = args
        count, size = lanes(signature.args[2]), signature.args[2].bitwidth // 8
        vector = ir.VectorType(complete.type, count)
        zero, nan = ir.Constant(vector, [0.0] * count), ir.Constant(vector, [float("nan")] * count)
        with loop(builder, builder.udiv(n, n.type(count))) as i:
            at = builder.mul(i, n.type(count * size))
            weight = load(builder, builder.add(weights, at), vector)
            total = load(builder, builder.add(sums, at), vector)
            scaled = builder.fmul(total, builder.fdiv(splat(builder, complete, count), weight))
            scaled = builder.select(builder.fcmp_unordered("une", weight, zero), scaled, nan)
            store(builder, scaled, builder.add(sums, at))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, complete, types.int64), emit
