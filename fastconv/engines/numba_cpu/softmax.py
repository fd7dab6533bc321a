"""Exponentials that add up to 1 along an axis, their logarithms, and gradients.

A unit is some blocks of lanes.  A block is rows of vectors, taken three times: largest elements, sums of exponentials,
results.  Its elements are read where they lie, or by way of scratch memory a chunk of rows at a time; exponentials
are kept for the third time where there is memory for all.

The state of a block has the largest element of each lane, the sum of exponentials, and (gradients) the sum of gradients,
times them or not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.contract import SOFTMAX_FIELDS, SOFTMAX_KINDS
from fastconv.engines.numba_cpu.activation import line_at
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.formulas import Vector, exp, log
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.pooling import fill_run
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, element, itemsize, lanes, load, loop, store

__all__ = ["FIELDS", "MAKERS"]

FIELDS = SOFTMAX_FIELDS

SOFTMAX, LOG_SOFTMAX, SOFTMAX_BACKWARD, LOG_SOFTMAX_BACKWARD = SOFTMAX_KINDS.values()
WIDTHS = (1, 4)
SUMMED = 128  # rows

_int64, _int32 = ir.IntType(64), ir.IntType(32)


class _Rows:
    """What is emitted of `width` vectors at an address."""

    def __init__(self, builder, acc, width):
        self.builder, self.width = builder, width
        self.vector = ir.VectorType(element(acc), lanes(acc))

    def place(self, address, v):
        return self.builder.add(address, _int64(v * VECTOR_BYTES))

    def load(self, address, v):
        return Vector(self.builder, load(self.builder, self.place(address, v), self.vector))

    def store(self, value, address, v):
        store(self.builder, value.value, self.place(address, v))

    def state(self, state, part):
        """The vectors of a part of the state, in slots that become registers."""
        first = part * self.width
        values = [self.load(state, first + v).value for v in range(self.width)]
        return [cgutils.alloca_once_value(self.builder, value) for value in values]

    def zeros(self):
        return [
            cgutils.alloca_once_value(self.builder, ir.Constant(self.vector, [0.0] * self.vector.count))
            for _ in range(self.width)
        ]

    def read(self, slot):
        return Vector(self.builder, self.builder.load(slot))

    def write(self, value, slot):
        self.builder.store(value.value, slot)

    def save(self, slots, state, part):
        for v, slot in enumerate(slots):
            self.store(self.read(slot), state, part * self.width + v)

    def add(self, slots, state, part):
        for v, slot in enumerate(slots):
            self.store(self.load(state, part * self.width + v) + self.read(slot), state, part * self.width + v)

    @staticmethod
    def larger(x, known):
        return x.where(">", known, x, known)


def _for_each_kind(builder, kind, width, kinds, emit):
    """A switch over kinds and widths; `emit` is called in each case's block."""
    done = builder.append_basic_block()
    code = builder.add(builder.mul(kind, _int64(8)), width)
    switch = builder.switch(builder.trunc(code, _int32), done)
    for k in kinds:
        for w in WIDTHS:
            switch.add_case(_int32(8 * k + w), block := builder.append_basic_block())
            builder.position_at_end(block)
            emit(k, w)
            builder.branch(done)
    builder.position_at_end(done)


@intrinsic
def largest_rows(typingctx, state, x, x_step, rows, width, acc):
    def emit(context, builder, signature, args):
        state, x, x_step, rows, width, _ = args

        def case(_, width):
            block = _Rows(builder, acc.instance_type, width)
            largest = block.state(state, 0)
            with loop(builder, rows) as r:
                at = builder.add(x, builder.mul(r, x_step))
                for v, slot in enumerate(largest):
                    block.write(block.larger(block.load(at, v), block.read(slot)), slot)
            block.save(largest, state, 0)

        _for_each_kind(builder, _int64(0), width, (0,), case)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, acc), emit


@intrinsic
def sum_few_rows(typingctx, state, kept, kept_step, x, x_step, g, g_step, rows, kind, width, acc):
    """``kept[r]`` = exp(x[r] - largest), unless it is 0."""

    def emit(context, builder, signature, args):
        state, kept, kept_step, x, x_step, g, g_step, rows, kind, width, _ = args
        is_kept = builder.icmp_signed("!=", kept, _int64(0))

        def case(kind, width):
            block = _Rows(builder, acc.instance_type, width)
            largest, sums, dots = block.state(state, 0), block.zeros(), block.zeros()
            with loop(builder, rows) as r:
                at, to = builder.add(x, builder.mul(r, x_step)), builder.add(kept, builder.mul(r, kept_step))
                gradients = builder.add(g, builder.mul(r, g_step))
                powers = [exp(block.load(at, v) - block.read(largest[v])) for v in range(width)]
                for v, e in enumerate(powers):
                    block.write(block.read(sums[v]) + e, sums[v])
                    if kind == SOFTMAX_BACKWARD:
                        block.write(block.load(gradients, v).times(e, block.read(dots[v])), dots[v])
                    if kind == LOG_SOFTMAX_BACKWARD:
                        block.write(block.read(dots[v]) + block.load(gradients, v), dots[v])
                with builder.if_then(is_kept):
                    for v, e in enumerate(powers):
                        block.store(e, to, v)
            block.add(sums, state, 1)
            block.add(dots, state, 2)

        # Both functions themselves need the same sums.
        plain = builder.select(builder.icmp_signed("==", kind, _int64(LOG_SOFTMAX)), _int64(SOFTMAX), kind)
        _for_each_kind(builder, plain, width, (SOFTMAX, SOFTMAX_BACKWARD, LOG_SOFTMAX_BACKWARD), case)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10, acc), emit


@intrinsic
def write_rows(typingctx, state, out, out_step, x, x_step, kept, g, g_step, rows, kind, width, acc):
    """The results; `x` holds the exponentials where these are `kept`."""

    def emit(context, builder, signature, args):
        state, out, out_step, x, x_step, kept, g, g_step, rows, kind, width, _ = args
        is_kept = builder.icmp_signed("!=", kept, _int64(0))

        def case(kind, width):
            block = _Rows(builder, acc.instance_type, width)
            largest, scales, dots = ([block.load(state, part * width + v) for v in range(width)] for part in range(3))
            powers = [cgutils.alloca_once(builder, block.vector) for _ in range(width)]
            with loop(builder, rows) as r:
                at, to = builder.add(x, builder.mul(r, x_step)), builder.add(out, builder.mul(r, out_step))
                gradients = builder.add(g, builder.mul(r, g_step))
                for v in range(width):
                    block.write(block.load(at, v), powers[v])
                if kind != LOG_SOFTMAX:
                    with builder.if_then(builder.not_(is_kept)):
                        for v in range(width):
                            block.write(exp(block.read(powers[v]) - largest[v]), powers[v])
                for v in range(width):
                    e = block.read(powers[v])
                    if kind == SOFTMAX:
                        result = e * scales[v]
                    elif kind == LOG_SOFTMAX:
                        result = (e - largest[v]) - scales[v]
                    elif kind == SOFTMAX_BACKWARD:
                        result = e * scales[v] * (block.load(gradients, v) - dots[v])
                    else:
                        result = (-e).times(dots[v], block.load(gradients, v))
                    block.store(result, to, v)

        _for_each_kind(builder, kind, width, SOFTMAX_KINDS.values(), case)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11, acc), emit


@intrinsic(prefer_literal=True)
def combine_lanes(typingctx, vectors, width, summed, acc):
    """All lanes hold the largest, or the sum, of all lanes of `width` vectors."""

    def emit(context, builder, signature, args):
        block = _Rows(builder, acc.instance_type, 1)

        def fold(a, b):
            return a + b if summed.literal_value else block.larger(b, a)

        slot = cgutils.alloca_once_value(builder, block.load(args[0], 0).value)
        with loop(builder, builder.sub(args[1], _int64(1))) as v:
            other = builder.mul(builder.add(v, _int64(1)), _int64(VECTOR_BYTES))
            block.write(fold(block.read(slot), block.load(builder.add(args[0], other), 0)), slot)
        every, half = block.read(slot), block.vector.count // 2
        while half:
            turned = ir.Constant(
                ir.VectorType(_int32, block.vector.count), [i ^ half for i in range(block.vector.count)]
            )
            other = builder.shuffle_vector(every.value, every.value, turned)
            every, half = fold(every, every.new(other)), half // 2
        with loop(builder, args[1]) as v:
            block.store(every, builder.add(args[0], builder.mul(v, _int64(VECTOR_BYTES))), 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, summed, acc), emit


@intrinsic
def scales_of(typingctx, state, kind, width, acc):
    """Sums become what the last pass needs."""

    def emit(context, builder, signature, args):
        state, kind, width, _ = args
        block = _Rows(builder, acc.instance_type, 1)
        part = builder.mul(width, _int64(VECTOR_BYTES))
        is_log = builder.icmp_signed("==", kind, _int64(LOG_SOFTMAX))
        with loop(builder, width) as v:
            at = builder.add(builder.add(state, part), builder.mul(v, _int64(VECTOR_BYTES)))
            total, dot = block.load(at, 0), block.load(builder.add(at, part), 0)
            block.store(dot / total, builder.add(at, part), 0)
            inverse = total.new(total.of(1)) / total
            block.store(total.new(builder.select(is_log, log(total).value, inverse.value)), at, 0)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3, acc), emit


# -- the kernel ----------------------------------------------------------------------------


@part
def load_rows(a, b, dst, src, row_step, lane_step, first, count, beyond, acc):
    # Rows of a block without gaps, `beyond` in the lanes that it has not.
    size, bytes_of = b[5], itemsize(acc)
    for r in range(first, first + count):
        cols = b[4] if r == a.rows - 1 else b[3]
        load_run(dst, src + r * row_step, lane_step, cols, a.dtype, acc)
        fill_run(dst + cols * bytes_of, size - cols, beyond)
        dst += size * bytes_of


@part
def sum_rows(a, state, kept, kept_step, x, x_step, g, g_step, rows, acc):
    # Some rows at a time, so that errors do not grow with their number.
    for first in range(0, rows, SUMMED):
        count, to = min(int64(SUMMED), rows - first), kept + first * kept_step if kept != 0 else int64(0)
        at, of = x + first * x_step, g + first * g_step
        sum_few_rows(state, to, kept_step, at, x_step, of, g_step, count, a.kind, a.width, acc)


@part
def chunk_turn(a, b, state, turn, first, count, low, zero, acc):
    # One of the three times of a chunk that is staged.
    step = b[5] * itemsize(acc)
    x = state + 3 * step
    g, whole = x + a.chunk * step, count == a.rows
    if turn == 0 or not whole:
        load_rows(a, b, x, b[0], a.x_row, a.x_lane, first, count, low, acc)
        if a.kind >= SOFTMAX_BACKWARD:
            load_rows(a, b, g, b[1], a.w_row, a.w_lane, first, count, zero, acc)
    if turn == 0:
        largest_rows(state, x, step, count, a.width, acc)
    elif turn == 1:
        kept = x if whole and a.kind != LOG_SOFTMAX else int64(0)
        sum_rows(a, state, kept, step, x, step, g, step, count, acc)
    else:
        write_rows(state, x, step, x, step, int64(1) if whole else int64(0), g, step, count, a.kind, a.width, acc)
        for r in range(count):
            cols = b[4] if first + r == a.rows - 1 else b[3]
            store_run(b[2] + (first + r) * a.out_row, a.out_lane, x + r * step, cols, a.dtype, acc)


@part
def turn_in_place(a, b, state, turn, acc):
    # One of the three times of a block whose vectors lie in memory as in registers.
    x, g, out = b[0], b[1], b[2]
    kept, step = int64(0), a.out_row
    if a.kind == SOFTMAX:
        kept = out
    elif a.kind >= SOFTMAX_BACKWARD and a.rows <= a.chunk:
        step = b[5] * itemsize(acc)
        kept = state + 3 * step
    if turn == 0:
        largest_rows(state, x, a.x_row, a.rows, a.width, acc)
    elif turn == 1:
        sum_rows(a, state, kept, step, x, a.x_row, g, a.w_row, a.rows, acc)
    else:
        powers, powers_step = (kept, step) if kept != 0 else (x, a.x_row)
        write_rows(state, out, a.out_row, powers, powers_step, kept, g, a.w_row, a.rows, a.kind, a.width, acc)


@part
def softmax_block(a, b, state, low, zero, acc):
    size = b[5]
    step = size * itemsize(acc)
    fill_run(state, size, low)
    fill_run(state + step, 2 * size, zero)
    for turn in range(3):
        if a.direct and b[3] == size:
            turn_in_place(a, b, state, turn, acc)
        else:
            for first in range(0, a.rows, a.chunk):
                chunk_turn(a, b, state, turn, first, min(a.chunk, a.rows - first), low, zero, acc)
        if turn == 0 and a.across:
            combine_lanes(state, a.width, False, acc)
        if turn == 1:
            if a.across:
                combine_lanes(state + step, a.width, True, acc)
                combine_lanes(state + 2 * step, a.width, True, acc)
            scales_of(state, a.kind, a.width, acc)


def softmax(dtype: str, variant: str) -> Callable:
    """The kernel of elements that are computed in `dtype`."""
    acc, count = getattr(types, dtype), lanes(getattr(types, dtype))
    low, zero = getattr(np, dtype)(-np.inf), getattr(np, dtype)(0)

    def kernel(a, unit, worker):
        state, size = a.scratch + worker * a.scratch_bytes, a.width * count
        for index in range(unit * a.strip, min((unit + 1) * a.strip, a.total)):
            lane, (x, w, out) = index % a.blocks * size, line_at(a, index // a.blocks)
            x, w, out = x + lane * a.x_lane, w + lane * a.w_lane, out + lane * a.out_lane
            cols = min(a.lanes - lane, size)
            softmax_block(a, (x, w, out, cols, a.last if a.across else cols, size), state, low, zero, acc)

    return kernel


MAKERS = {"softmax": softmax}
