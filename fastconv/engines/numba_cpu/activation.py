"""Functions of each element, and gradients times their derivatives; activations of finished sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba import int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.contract import ACTIVATION_FIELDS, ACTIVATIONS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.formulas import FUNCTIONS, FUNCTIONS_OF_TWO, SLOPES, SLOPES_OF_TWO, Vector
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import element, itemsize, lanes, load, loop, peek, splat, store

__all__ = [
    "FIELDS",
    "LAST_RECTIFIED",
    "MAKERS",
    "activate",
    "activate_backward",
    "activate_run",
    "line_at",
    "rectify",
    "slope_of",
]

FIELDS = ACTIVATION_FIELDS

# Activations up to this one take an instruction or two: sums are finished in registers (`rectify`).
RECTIFIERS = ("relu", "relu6", "leaky_relu")
LAST_RECTIFIED = ACTIVATIONS[RECTIFIERS[-1]]
CHUNK = 1024  # elements moved through scratch memory at once

_int64, _int32 = ir.IntType(64), ir.IntType(32)


@intrinsic
def activate(typingctx, dst, src, n, code, slope, bound, acc):
    """``dst[i]`` = the function of `code` (`ACTIVATIONS`) of ``src[i]``; `slope` and `bound` are its parameters."""

    def emit(context, builder, signature, args):
        dst, src, n, code, *parameters, _ = args
        _each(builder, acc.instance_type, dst, [src], n, code, parameters, FUNCTIONS | FUNCTIONS_OF_TWO)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, types.float64, types.float64, acc), emit


@intrinsic
def activate_backward(typingctx, dst, grad, src, n, code, slope, bound, acc):
    """``dst[i]`` = ``grad[i]`` times the function's derivative at ``src[i]``."""

    def emit(context, builder, signature, args):
        dst, grad, src, n, code, *parameters, _ = args
        _each(builder, acc.instance_type, dst, [src, grad], n, code, parameters, SLOPES | SLOPES_OF_TWO)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, types.float64, types.float64, acc), emit


@intrinsic
def activate_run(typingctx, sums, n, code, slope, acc):
    """The sums of a kernel, before they are stored; integers have no activation."""

    def emit(context, builder, signature, args):
        sums, n, code, slope, _ = args
        if isinstance(acc.instance_type, types.Float):
            _each(builder, acc.instance_type, sums, [sums], n, code, [slope], FUNCTIONS)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3, types.float64, acc), emit


def rectify(
    builder: ir.IRBuilder, dtype: types.Number, slots: Sequence[ir.Value], code: ir.Value, slope: ir.Value
) -> None:
    """Emit the first few activations of vectors in stack slots (LLVM makes registers of them); others leave them as they are."""
    if not isinstance(dtype, types.Float):
        return
    narrow = builder.fptrunc(slope, element(dtype)) if dtype.bitwidth == 32 else slope
    parameter = Vector(builder, splat(builder, narrow, lanes(dtype)))
    switch = builder.switch(builder.trunc(code, _int32), done := builder.append_basic_block())
    for name in RECTIFIERS:
        switch.add_case(_int32(ACTIVATIONS[name]), block := builder.append_basic_block(name))
        builder.position_at_end(block)
        for slot in slots:
            builder.store(FUNCTIONS[name](Vector(builder, builder.load(slot)), parameter).value, slot)
        builder.branch(done)
    builder.position_at_end(done)


@intrinsic
def slope_of(typingctx, bits):
    """The parameter of an activation, from the bits that records hold."""

    def emit(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), emit


def _each(builder, dtype, dst, sources, n, code, parameters, functions):
    """Emit a loop over vectors for each function; elements that fill none go through buffers."""
    kind, count = element(dtype), lanes(dtype)
    vector, size = ir.VectorType(kind, count), _int64(dtype.bitwidth // 8)
    narrow = dtype.bitwidth == 32
    parameters = [splat(builder, builder.fptrunc(p, kind) if narrow else p, count) for p in parameters]
    whole, rest = builder.udiv(n, _int64(count)), builder.urem(n, _int64(count))
    done, some = builder.append_basic_block(), builder.icmp_signed(">", rest, _int64(0))
    end = builder.mul(builder.mul(whole, _int64(count)), size)
    buffers = [builder.ptrtoint(cgutils.alloca_once(builder, vector), _int64) for _ in sources]
    with builder.if_then(some):
        for buffer, source in zip(buffers, sources, strict=True):
            with loop(builder, rest) as i:
                at = builder.mul(i, size)
                store(builder, load(builder, builder.add(builder.add(source, end), at), kind), builder.add(buffer, at))
    vectors = builder.add(whole, builder.zext(some, _int64))
    switch = builder.switch(builder.trunc(code, _int32), done)
    for name, function in functions.items():
        switch.add_case(_int32(ACTIVATIONS[name]), block := builder.append_basic_block(name))
        builder.position_at_end(block)
        with loop(builder, vectors) as i:
            inside, at = builder.icmp_signed("<", i, whole), builder.mul(builder.mul(i, _int64(count)), size)
            given = [
                Vector(builder, load(builder, builder.select(inside, builder.add(source, at), buffer), vector))
                for buffer, source in zip(buffers, sources, strict=True)
            ]
            to = builder.select(inside, builder.add(dst, at), buffers[0])
            used = parameters if name in SLOPES_OF_TWO else parameters[:1]
            store(builder, function(*given, *(Vector(builder, p) for p in used)).value, to)
        builder.branch(done)
    builder.position_at_end(done)
    with builder.if_then(builder.and_(some, builder.icmp_signed("!=", code, _int64(0)))), loop(builder, rest) as i:
        at = builder.mul(i, size)
        store(builder, load(builder, builder.add(buffers[0], at), kind), builder.add(builder.add(dst, end), at))


# -- the kernel ----------------------------------------------------------------------------


@part
def activate_line(a, scratch, x, w, out, n, acc):
    slope, bound, gradient = slope_of(a.slope), slope_of(a.bound), scratch + CHUNK * itemsize(acc)
    if a.direct and a.backward:
        activate_backward(out, w, x, n, a.activation, slope, bound, acc)
        return
    if a.direct:
        activate(out, x, n, a.activation, slope, bound, acc)
        return
    for i in range(0, n, CHUNK):
        m = min(n - i, CHUNK)
        load_run(scratch, x + i * a.x_step, a.x_step, m, a.dtype, acc)
        if a.backward:
            load_run(gradient, w + i * a.w_step, a.w_step, m, a.dtype, acc)
            activate_backward(scratch, gradient, scratch, m, a.activation, slope, bound, acc)
        else:
            activate(scratch, scratch, m, a.activation, slope, bound, acc)
        store_run(out + i * a.out_step, a.out_step, scratch, m, a.dtype, acc)


@inlined
def line_at(a, line):
    # Where a line of each array begins.
    x, w, out, rest = a.x, a.w, a.out, line
    for axis in range(a.n_axes):  # the innermost first
        steps = a.axes + 32 * axis
        i, rest = rest % peek(steps, int64), rest // peek(steps, int64)
        x += i * peek(steps + 8, int64)
        w += i * peek(steps + 16, int64)
        out += i * peek(steps + 24, int64)
    return x, w, out


def activation(dtype: str, variant: str) -> Callable:
    """The kernel of elements that are computed in `dtype`."""
    acc = getattr(types, dtype)

    def kernel(a, unit, worker):
        scratch, begin, first = (
            a.scratch + worker * a.scratch_bytes,
            unit % a.n_pieces * a.piece,
            unit // a.n_pieces * a.strip,
        )
        for line in range(first, min(first + a.strip, a.lines)):
            x, w, out = line_at(a, line)
            x, w, out = x + begin * a.x_step, w + begin * a.w_step, out + begin * a.out_step
            activate_line(a, scratch, x, w, out, min(a.piece, a.run - begin), acc)

    return kernel


MAKERS = {"activation": activation}
