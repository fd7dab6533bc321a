"""The 16-bit floating-point types in memory: conversions from float32, and to them from float32 and float64.

Values are scalars or vectors of bits: LLVM knows the type of bfloat16, llvmlite does not, and without instructions for
float16 LLVM would call functions that are not there.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from fastconv.engines.numba_cpu.simd import HAS_FMA

__all__ = ["Half", "narrowed", "widened"]

# Every processor that fuses multiplication and addition converts float16 too.
HAS_FLOAT16 = HAS_FMA


@dataclass(frozen=True)
class Half:
    """float16 or bfloat16, by its name."""

    name: str
    bitwidth: int = 16


def widened(builder: ir.IRBuilder, stored: ir.Value, source: Half) -> ir.Value:
    """A scalar or vector of 16 bits as float32."""
    number = _like(stored, ir.FloatType())
    if source.name == "float16" and HAS_FLOAT16:
        return builder.fpext(builder.bitcast(stored, _like(stored, ir.HalfType())), number)
    bits = builder.zext(stored, _like(stored, ir.IntType(32)))
    if source.name == "bfloat16":
        return builder.bitcast(builder.shl(bits, _bits(bits, 16)), number)
    # Exponents are rebased by adding to them, those of infinity and NaN twice; subnormal numbers are made normal by
    # subtracting the leading one that they lack.
    sign = builder.shl(builder.and_(bits, _bits(bits, 0x8000)), _bits(bits, 16))
    magnitude = builder.shl(builder.and_(bits, _bits(bits, 0x7FFF)), _bits(bits, 13))
    normal = builder.add(magnitude, _bits(bits, 112 << 23))
    special = builder.icmp_unsigned(">=", magnitude, _bits(bits, 31 << 23))
    normal = builder.select(special, builder.add(normal, _bits(bits, 112 << 23)), normal)
    one = _bits(bits, 113 << 23)
    small = builder.fsub(builder.bitcast(builder.add(magnitude, one), number), builder.bitcast(one, number))
    tiny = builder.icmp_unsigned("<", magnitude, _bits(bits, 1 << 23))
    magnitude = builder.select(tiny, builder.bitcast(small, bits.type), normal)
    return builder.bitcast(builder.or_(magnitude, sign), number)


def narrowed(builder: ir.IRBuilder, value: ir.Value, target: Half) -> ir.Value:
    """A scalar or vector of float32 or float64 as 16 bits: rounded to nearest, halves to even; NaN stays NaN."""
    if _like(value, ir.DoubleType()) == value.type:
        value = _to_odd(builder, value)
    stored, whole = _like(value, ir.IntType(16)), _like(value, ir.IntType(32))
    if target.name == "float16" and HAS_FLOAT16:
        return builder.bitcast(builder.fptrunc(value, _like(value, ir.HalfType())), stored)
    bits = builder.bitcast(value, whole)
    if target.name == "bfloat16":
        rounded = builder.add(bits, builder.add(_bits(bits, 0x7FFF), _bit(builder, bits, 16)))
        nan = builder.fcmp_unordered("uno", value, value)
        rounded = builder.select(nan, builder.or_(bits, _bits(bits, 0x400000)), rounded)
        return builder.trunc(builder.lshr(rounded, _bits(bits, 16)), stored)
    # What becomes subnormal is rounded by adding a number whose last place is the smallest subnormal one.
    magnitude = builder.and_(bits, _bits(bits, 0x7FFFFFFF))
    rebased = builder.sub(magnitude, _bits(bits, (112 << 23) - 0xFFF))
    result = builder.lshr(builder.add(rebased, _bit(builder, bits, 13)), _bits(bits, 13))
    place = _bits(bits, 126 << 23)
    small = builder.fadd(builder.bitcast(magnitude, value.type), builder.bitcast(place, value.type))
    tiny = builder.icmp_unsigned("<", magnitude, _bits(bits, 113 << 23))
    result = builder.select(tiny, builder.sub(builder.bitcast(small, whole), place), result)
    infinite = builder.icmp_unsigned(">=", magnitude, _bits(bits, 143 << 23))
    nan = builder.icmp_unsigned(">", magnitude, _bits(bits, 255 << 23))
    result = builder.select(infinite, builder.select(nan, _bits(bits, 0x7E00), _bits(bits, 0x7C00)), result)
    sign = builder.and_(builder.lshr(bits, _bits(bits, 16)), _bits(bits, 0x8000))
    return builder.trunc(builder.or_(result, sign), stored)


def _to_odd(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """float64 as the float32 whose further rounding is that of the float64: truncated, and odd if inexact."""
    number, whole = _like(value, ir.FloatType()), _like(value, ir.IntType(64))
    near = builder.fptrunc(value, number)
    bits, back = builder.bitcast(near, _like(value, ir.IntType(32))), builder.fpext(near, value.type)
    beyond = builder.icmp_unsigned(">", *(_magnitude(builder, builder.bitcast(v, whole)) for v in (back, value)))
    odd = builder.or_(builder.sub(bits, builder.zext(beyond, bits.type)), _bits(bits, 1))
    inexact = builder.fcmp_ordered("!=", back, value)
    return builder.bitcast(builder.select(inexact, odd, bits), number)


def _magnitude(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    return builder.and_(bits, _bits(bits, 2**63 - 1))


def _bit(builder: ir.IRBuilder, bits: ir.Value, place: int) -> ir.Value:
    return builder.and_(builder.lshr(bits, _bits(bits, place)), _bits(bits, 1))


def _bits(like: ir.Value, number: int) -> ir.Constant:
    kind = like.type
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


def _like(value: ir.Value, kind: ir.Type) -> ir.Type:
    """`kind`, or a vector of as many as `value` has."""
    return ir.VectorType(kind, value.type.count) if isinstance(value.type, ir.VectorType) else kind
