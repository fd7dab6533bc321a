"""The engine's vector type: tiles of SIMD registers, as a Numba extension type.

A `Tile` is ``rows x cols`` LLVM vectors of one element type, as wide as the
processor's registers, held in registers from its first load to its last store.
Each intrinsic emits the straight-line code of a whole tile with llvmlite, so that
kernels stay loops over tiles and nothing is left to LLVM's loop vectoriser: its
success depends on aliasing and on the register pressure it guesses.

Memory is named by byte addresses (int64) and may be unaligned.
"""

from __future__ import annotations

import operator
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, config
from numba.extending import intrinsic, models, overload, register_model

from fastconv.engines import level

__all__ = [
    "BLOCK_HEIGHTS",
    "HAS_FMA",
    "REGISTERS",
    "VECTOR_BYTES",
    "Tile",
    "element",
    "itemsize",
    "lanes",
    "load",
    "loop",
    "multiply_add",
    "peek",
    "poke",
    "splat",
    "store",
    "tile_correlate",
    "tile_fill",
    "tile_load",
    "tile_prefetch",
    "tile_store",
]

_int64 = ir.IntType(64)


def _host_simd() -> tuple[int, bool]:
    """Bytes of the widest vector register, and whether it multiplies and adds in one step.

    LLVM is asked, by looking at what it makes of a 64-byte sum, so that
    ``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES`` and ``NUMBA_ENABLE_AVX`` count; so does ``FASTCONV_SIMD``.
    """
    features = config.CPU_FEATURES
    if features is None:
        features = "" if config.CPU_NAME else codegen.get_host_cpu_features()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=config.CPU_NAME or llvm.get_host_cpu_name(), features=features
    )
    module = llvm.parse_assembly("""
        declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
        define <16 x float> @f(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
            %d = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
            ret <16 x float> %d
        }""")
    assembly = machine.emit_assembly(module)
    width = 64 if "%zmm" in assembly else 32 if "%ymm" in assembly else 16
    widest = width if level.SIMD in level.LEVELS[-1:] else level.VECTOR_BYTES[level.SIMD]
    return min(width, widest), "fmaf" not in assembly and level.SIMD != "v2"


VECTOR_BYTES, HAS_FMA = _host_simd()
REGISTERS = 32 if VECTOR_BYTES == 64 or platform.machine().lower() in ("aarch64", "arm64") else 16

# Heights of `tile_correlate`'s blocks: a row of weights takes a register beside the accumulators.
BLOCK_HEIGHTS = (1, 2, 3, 4, 5, 7) if REGISTERS == 32 else (1, 2, 3)


def lanes(dtype: types.Number) -> int:
    """Elements of a vector."""
    return VECTOR_BYTES // (dtype.bitwidth // 8)


class Tile(types.Type):
    """``rows x cols`` vectors of `dtype`."""

    def __init__(self, dtype: types.Number, rows: int, cols: int):
        self.dtype, self.rows, self.cols = dtype, rows, cols
        super().__init__(name=f"Tile({dtype}, {rows}, {cols})")


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile):
        vector = ir.VectorType(element(tile.dtype), lanes(tile.dtype))
        super().__init__(manager, tile, ir.ArrayType(vector, tile.rows * tile.cols))


# -- emitting ------------------------------------------------------------------------------


def element(dtype: types.Number) -> ir.Type:
    """LLVM type of an element."""
    if isinstance(dtype, types.Float):
        return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


def _pointer(builder: ir.IRBuilder, address: ir.Value, to: ir.Type) -> ir.Value:
    return builder.inttoptr(address, to.as_pointer())


def load(builder: ir.IRBuilder, address: ir.Value, of: ir.Type) -> ir.Value:
    value = builder.load(_pointer(builder, address, of))
    value.align = 1
    return value


def store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    builder.store(value, _pointer(builder, address, value.type)).align = 1


def _offset(builder: ir.IRBuilder, address: ir.Value, nbytes: int) -> ir.Value:
    return builder.add(address, _int64(nbytes)) if nbytes else address


@contextmanager
def loop(builder: ir.IRBuilder, count: ir.Value) -> Iterator[ir.Value]:
    """Emit a loop over ``0 <= i < count`` that LLVM is told to leave as it is: unrolling is done here."""
    before = builder.block
    body, after = builder.append_basic_block(), builder.append_basic_block()
    builder.cbranch(builder.icmp_signed(">", count, count.type(0)), body, after)
    builder.position_at_end(body)
    index = builder.phi(count.type)
    index.add_incoming(count.type(0), before)
    yield index
    following = builder.add(index, count.type(1))
    index.add_incoming(following, builder.block)
    latch = builder.cbranch(builder.icmp_signed("<", following, count), body, after)
    module = builder.module
    plain = module.add_metadata([ir.MetaDataString(module, "llvm.loop.disable_nonforced")])
    latch.set_metadata("llvm.loop", _refer_to_itself(module.add_metadata([plain, index.type(len(module.metadata))])))
    builder.position_at_end(after)


def _refer_to_itself(node: ir.MDValue) -> ir.MDValue:
    """What identifies a loop is metadata whose first operand is itself."""
    node.operands = (node, node.operands[0])
    return node


def splat(builder: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
    vector = ir.VectorType(value.type, count)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count))


def multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c; fused where the processor can: elsewhere LLVM would call the C library for each lane."""
    if isinstance(a.type.element, ir.IntType):
        return builder.add(builder.mul(a, b), c)
    if not HAS_FMA:
        return builder.fadd(builder.fmul(a, b), c)
    name = f"llvm.fma.v{a.type.count}{a.type.element.intrinsic_name}"
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(fma, [a, b, c])


def _vectors(builder: ir.IRBuilder, tile: Tile, value: ir.Value) -> list[ir.Value]:
    return [builder.extract_value(value, i) for i in range(tile.rows * tile.cols)]


def _tile(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    value = ir.Constant(ir.ArrayType(vectors[0].type, len(vectors)), ir.Undefined)
    for i, vector in enumerate(vectors):
        value = builder.insert_value(value, vector, i)
    return value


# -- scalars -------------------------------------------------------------------------------


@intrinsic
def itemsize(typingctx, dtype):
    """Bytes of an element."""

    def emit(context, builder, signature, args):
        return _int64(dtype.instance_type.bitwidth // 8)

    return types.int64(dtype), emit


@intrinsic
def peek(typingctx, address, dtype):
    """The element at an address."""

    def emit(context, builder, signature, args):
        return load(builder, args[0], element(dtype.instance_type))

    return dtype.instance_type(types.int64, dtype), emit


@intrinsic
def poke(typingctx, address, value):
    """Store an element at an address."""

    def emit(context, builder, signature, args):
        store(builder, args[1], args[0])
        return context.get_dummy_value()

    return types.void(types.int64, value), emit


# -- tiles ---------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def tile_fill(typingctx, value, rows, cols):
    """A tile of one value."""
    dtype = types.unliteral(value)
    tile = Tile(dtype, rows.literal_value, cols.literal_value)

    def emit(context, builder, signature, args):
        return _tile(builder, [splat(builder, args[0], lanes(dtype))] * (tile.rows * tile.cols))

    return tile(dtype, rows, cols), emit


@intrinsic(prefer_literal=True)
def tile_load(typingctx, address, row_step, dtype, rows, cols):
    """A tile whose rows lie `row_step` bytes apart."""
    tile = Tile(dtype.instance_type, rows.literal_value, cols.literal_value)

    def emit(context, builder, signature, args):
        vector = ir.VectorType(element(tile.dtype), lanes(tile.dtype))
        row, vectors = args[0], []
        for _ in range(tile.rows):
            vectors += [load(builder, _offset(builder, row, c * VECTOR_BYTES), vector) for c in range(tile.cols)]
            row = builder.add(row, args[1])
        return _tile(builder, vectors)

    return tile(types.int64, types.int64, dtype, rows, cols), emit


@intrinsic
def tile_store(typingctx, tile, address, row_step):
    """Store a tile, its rows `row_step` bytes apart."""

    def emit(context, builder, signature, args):
        vectors, row = iter(_vectors(builder, tile, args[0])), args[1]
        for _ in range(tile.rows):
            for c in range(tile.cols):
                store(builder, next(vectors), _offset(builder, row, c * VECTOR_BYTES))
            row = builder.add(row, args[2])
        return context.get_dummy_value()

    return types.void(tile, types.int64, types.int64), emit


@intrinsic(prefer_literal=True)
def tile_prefetch(typingctx, address, row_step, rows, cols):
    """Ask for the lines of a tile to be brought into the second cache; they need not exist."""

    def emit(context, builder, signature, args):
        pointer, flag, row = ir.IntType(8).as_pointer(), ir.IntType(32), args[0]
        prefetch_type = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], prefetch_type)
        for _ in range(rows.literal_value):
            for offset in range(0, cols.literal_value * VECTOR_BYTES, 64):
                line = builder.inttoptr(_offset(builder, row, offset), pointer)
                builder.call(prefetch, [line, flag(0), flag(2), flag(1)])
            row = builder.add(row, args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, rows, cols), emit


@intrinsic(prefer_literal=True)
def tile_correlate(typingctx, tile, src, row_step, col_of, w, kernel_x, taps):
    """``tile[r] += sum over ky < taps, kx < kernel_x of w[ky][kx] * row[r + ky][col_of[kx] ...]``.

    Row j of the source lies ``j * row_step`` bytes after `src` and serves every (r, ky)
    with r + ky == j, so each loaded vector feeds up to ``min(taps, rows)`` multiplications.
    `taps` is a constant or one of BLOCK_HEIGHTS.  The loop runs over kx; what is inside it is
    unrolled for each height.
    """
    heights = (taps.literal_value,) if isinstance(taps, types.IntegerLiteral) else BLOCK_HEIGHTS

    def emit(context, builder, signature, args):
        value, src, row_step, col_of, w, kernel_x, taps = args
        sums = [cgutils.alloca_once_value(builder, v) for v in _vectors(builder, tile, value)]
        done = builder.append_basic_block()
        choice = builder.switch(builder.trunc(taps, ir.IntType(32)), done)
        for height in heights:
            choice.add_case(ir.IntType(32)(height), block := builder.append_basic_block())
            builder.position_at_end(block)
            _correlate_block(builder, tile, sums, src, row_step, col_of, w, kernel_x, height)
            builder.branch(done)
        builder.position_at_end(done)
        return _tile(builder, [builder.load(slot) for slot in sums])

    return tile(tile, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64), emit


def _correlate_block(
    builder: ir.IRBuilder, tile: Tile, sums: list[ir.Value], src: ir.Value, row_step: ir.Value, col_of: ir.Value,
    w: ir.Value, kernel_x: ir.Value, height: int,
) -> None:  # fmt: skip
    """Emit `tile_correlate` for one height, on accumulators in stack slots (LLVM makes registers of them)."""
    size = tile.dtype.bitwidth // 8
    vector = ir.VectorType(element(tile.dtype), lanes(tile.dtype))
    w_step = builder.mul(kernel_x, _int64(size))
    with loop(builder, kernel_x) as kx:
        acc = [builder.load(slot) for slot in sums]
        column = load(builder, builder.add(col_of, builder.mul(kx, _int64(8))), _int64)
        row = builder.add(src, builder.mul(column, _int64(size)))
        tap = builder.add(w, builder.mul(kx, _int64(size)))
        weights = []
        for _ in range(height):
            weights.append(splat(builder, load(builder, tap, vector.element), vector.count))
            tap = builder.add(tap, w_step)
        for j in range(tile.rows + height - 1):
            for c in range(tile.cols):
                x = load(builder, _offset(builder, row, c * VECTOR_BYTES), vector)
                for r in range(max(0, j - height + 1), min(tile.rows, j + 1)):
                    acc[r * tile.cols + c] = multiply_add(builder, x, weights[j - r], acc[r * tile.cols + c])
            row = builder.add(row, row_step)
        for slot, v in zip(sums, acc, strict=True):
            builder.store(v, slot)


@intrinsic(prefer_literal=True)
def _tile_arithmetic(typingctx, a, b, code):
    """Element by element; `b` is a tile or a number for all."""

    def emit(context, builder, signature, args):
        name = code.literal_value
        instruction: Callable = getattr(builder, f"f{name}" if isinstance(a.dtype, types.Float) else name)
        left = _vectors(builder, a, args[0])
        same = isinstance(b, Tile)
        right = _vectors(builder, b, args[1]) if same else [splat(builder, args[1], lanes(a.dtype))] * len(left)
        return _tile(builder, [instruction(x, y) for x, y in zip(left, right, strict=True)])

    return a(a, b, code), emit


def _overload(function: Any, name: str) -> None:
    @overload(function)
    def tile_operator(a, b):
        if isinstance(a, Tile) and b in (a, a.dtype):
            return lambda a, b: _tile_arithmetic(a, b, name)
        return None


for _function, _name in ((operator.add, "add"), (operator.sub, "sub"), (operator.mul, "mul")):
    _overload(_function, _name)
