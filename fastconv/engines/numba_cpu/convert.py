"""Moving runs of elements between memory of any type and accumulators.

The type in memory is a code of the contract, looked up once for each run: kernels compiled
for every pair of types read and written, 13 times 13, would be too many.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.contract import DTYPE_CODES, HALVES, SATURATE
from fastconv.engines.numba_cpu.half import Half, narrowed, widened
from fastconv.engines.numba_cpu.simd import element, lanes, load, loop, store

__all__ = ["clamped", "converted", "load_run", "store_run"]

_int64, _int32, _byte = ir.IntType(64), ir.IntType(32), ir.IntType(8)


@intrinsic
def load_run(typingctx, dst, memory, step, n, code, acc):
    """``dst[i]`` = the element at ``memory + i * step`` bytes of the type of `code`, converted to `acc`."""
    to = acc.instance_type

    def emit(context, builder, signature, args):
        dst, memory, step, n, code, _ = args
        for dtype, _ in _cases(builder, code, to):
            _convert_run(builder, dst, _size(to), memory, step, n, dtype, to, to, converted)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, acc), emit


@intrinsic
def store_run(typingctx, memory, step, src, n, code, acc):
    """The element at ``memory + i * step`` bytes, of the type of `code`, = ``src[i]`` converted as C does, or clamped."""
    of = acc.instance_type

    def emit(context, builder, signature, args):
        memory, step, src, n, code, _ = args
        for dtype, clamp in _cases(builder, code, of, saturating=True):
            _convert_run(builder, memory, step, src, _size(of), n, of, dtype, of, clamped if clamp else converted)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, acc), emit


def _cases(builder, code, acc, saturating=False):
    """A switch over the codes of the types that go with accumulators of `acc`; yields in each case's block.

    With each type comes whether its code asks for clamped values.
    """
    done = builder.append_basic_block()
    switch = builder.switch(builder.trunc(code, _int32), done)
    for name, number in DTYPE_CODES.items():
        dtype = types.boolean if name == "bool" else Half(name) if name in HALVES else getattr(types, name)
        floating = isinstance(dtype, types.Float | Half)
        if floating and not isinstance(acc, types.Float):
            continue
        for clamp in (False, True) if saturating and not floating else (False,):
            block = builder.append_basic_block(name)
            switch.add_case(_int32(number + SATURATE * clamp), block)
            builder.position_at_end(block)
            yield dtype, clamp
            builder.branch(done)
    builder.position_at_end(done)


def _convert_run(builder, to, to_step, at, at_step, n, source, target, acc, convert):
    """Emit a loop over n elements: whole vectors, the last overlapping its neighbour, if both runs are dense."""

    def move(i: ir.Value, kind: ir.Type) -> None:
        value = load(builder, builder.add(at, builder.mul(i, at_step)), kind)
        store(builder, convert(builder, value, source, target), builder.add(to, builder.mul(i, to_step)))

    kind, count = _in_memory(source), lanes(acc)
    dense = builder.and_(
        builder.icmp_signed("==", at_step, _size(source)), builder.icmp_signed("==", to_step, _size(target))
    )
    with builder.if_else(builder.and_(dense, builder.icmp_signed(">=", n, _int64(count)))) as (vectors, elements):
        with vectors:
            vector, last = ir.VectorType(kind, count), builder.sub(n, _int64(count))
            with loop(builder, builder.udiv(builder.sub(n, _int64(1)), _int64(count))) as i:
                move(builder.mul(i, _int64(count)), vector)
            move(last, vector)
        with elements, loop(builder, n) as i:
            move(i, kind)


def _in_memory(dtype: types.Type | Half) -> ir.Type:
    if isinstance(dtype, Half):
        return ir.IntType(16)
    return _byte if dtype == types.boolean else element(dtype)


def _size(dtype: types.Type | Half) -> ir.Constant:
    return _int64(1 if dtype == types.boolean else dtype.bitwidth // 8)


def converted(builder: ir.IRBuilder, value: ir.Value, source: types.Type, target: types.Type) -> ir.Value:
    """A scalar or vector of `source` as `target`, as C compilers for x86-64 convert it.

    Integers wrap; floats go to integers by way of int32 or int64, so that values beyond
    a narrow or unsigned type wrap too and SciPy's results are met.
    """

    def constant(dtype: types.Type, number: float) -> ir.Constant:
        kind = _like(value, _in_memory(dtype))
        return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)

    kind = _like(value, _in_memory(target))
    if source == target:
        return value
    if isinstance(source, Half):
        return converted(builder, widened(builder, value, source), types.float32, target)
    if isinstance(target, Half):
        return narrowed(builder, value, target)
    if isinstance(source, types.Float):
        if isinstance(target, types.Float):
            return builder.fpext(value, kind) if target.bitwidth > source.bitwidth else builder.fptrunc(value, kind)
        if target == types.uint64:
            return _to_uint64(builder, value, constant(source, 2.0**63), constant(types.int64, -(1 << 63)))
        whole = types.int64 if target in (types.uint32, types.int64) else types.int32
        integer = builder.fptosi(value, _like(value, element(whole)))
        if target == types.boolean:  # of the lowest byte
            integer, whole = builder.trunc(integer, kind), types.uint8
        return converted(builder, integer, whole, target)
    if isinstance(target, types.Float):
        return builder.sitofp(value, kind) if _signed(source) else builder.uitofp(value, kind)
    if target == types.boolean:
        return builder.zext(builder.icmp_unsigned("!=", value, constant(source, 0)), kind)
    if _size(target).constant < _size(source).constant:
        return builder.trunc(value, kind)
    return builder.sext(value, kind) if _signed(source) else builder.zext(value, kind)


def _to_uint64(builder: ir.IRBuilder, value: ir.Value, half: ir.Constant, top_bit: ir.Constant) -> ir.Value:
    """Modulo the range, negative numbers as SciPy's n-dimensional filters convert them: -uint64(-value)."""

    def up(positive: ir.Value) -> ir.Value:
        low = builder.fptosi(positive, top_bit.type)
        high = builder.xor(builder.fptosi(builder.fsub(positive, half), top_bit.type), top_bit)
        return builder.select(builder.fcmp_ordered(">=", positive, half), high, low)

    down = builder.neg(up(builder.fneg(value)))
    above = builder.fcmp_ordered(">", value, builder.fdiv(half, builder.fneg(half)))
    return builder.select(above, up(value), down)


def clamped(builder: ir.IRBuilder, value: ir.Value, source: types.Type, target: types.Type) -> ir.Value:
    """A scalar or vector of `source` as the nearest number of the integer type `target`.

    Floats are rounded, halves to even; NaN becomes 0.  Unsigned integers hold signed sums.
    """
    whole = types.int8 if target == types.boolean else target
    if isinstance(source, types.Float):
        rounded = _call(builder, "llvm.rint", value.type, value)
        integer = _call(builder, f"llvm.fpto{'s' if whole.signed else 'u'}i.sat", _like(value, element(whole)), rounded)
        return integer if target == whole else _bounded(builder, integer, 0, 1)
    low, high = (0, 1) if target == types.boolean else (whole.minval, whole.maxval)
    half = 1 << (source.bitwidth - 1)
    bounded = _bounded(builder, value, max(low, -half), min(high, half - 1))
    return converted(builder, bounded, types.Integer.from_bitwidth(source.bitwidth, True), whole)


def _bounded(builder: ir.IRBuilder, value: ir.Value, low: int, high: int) -> ir.Value:
    """A signed scalar or vector between two numbers."""
    for sign, bound in ((">", low), ("<", high)):
        kind = value.type
        constant = ir.Constant(kind, [bound] * kind.count if isinstance(kind, ir.VectorType) else bound)
        value = builder.select(builder.icmp_signed(sign, value, constant), value, constant)
    return value


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, value: ir.Value) -> ir.Value:
    """Call an intrinsic that LLVM overloads on its result and its argument."""
    kinds = [result] if name == "llvm.rint" else [result, value.type]
    full = ".".join([name, *map(_overloaded, kinds)])
    return builder.call(
        cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [value.type]), full), [value]
    )


def _overloaded(kind: ir.Type) -> str:
    return f"v{kind.count}{kind.element.intrinsic_name}" if isinstance(kind, ir.VectorType) else kind.intrinsic_name


def _like(value: ir.Value, kind: ir.Type) -> ir.Type:
    """`kind`, or a vector of as many as `value` has."""
    return ir.VectorType(kind, value.type.count) if isinstance(value.type, ir.VectorType) else kind


def _signed(dtype: types.Type) -> bool:
    return isinstance(dtype, types.Integer) and dtype.signed
