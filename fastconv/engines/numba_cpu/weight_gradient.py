"""The gradient of a convolution's kernel: a matrix product whose depth is the pixels of the output.

Two operands, the input and the gradient of the output, are packed a block of pixels at a time as [place][channel],
whatever they are in memory.  One is broadcast, channel by channel, the other read in vectors of channels.

A unit is a block of channels by a block of filters, by a part of the pixels; what parts give is added afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.contract import BEYOND, WEIGHT_GRADIENT_FIELDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import (
    REGISTERS,
    VECTOR_BYTES,
    element,
    itemsize,
    lanes,
    load,
    loop,
    multiply_add,
    peek,
    poke,
    splat,
    store,
)

__all__ = ["FIELDS", "MAKERS"]

FIELDS = WEIGHT_GRADIENT_FIELDS

# Rows and vectors per row of a tile: 28 of 32, or 12 of 16 registers accumulate.
ROWS, COLS = (14, 2) if REGISTERS == 32 else (6, 2)


@intrinsic(prefer_literal=True)
def outer_tile(typingctx, a, a_step, a_rows, rows, run, b, b_step, c, c_step, add, dtype, height):
    """``c[r][lane] (+)= sum over pixels of a[r] * b[lane]``; pixels of b follow each other, those of a lie in rows."""
    kind, high = dtype.instance_type, height.literal_value

    def emit(context, builder, signature, args):
        a, a_step, a_rows, rows, run, b, b_step, c, c_step, add = args[:10]
        vector, size = ir.VectorType(element(kind), lanes(kind)), kind.bitwidth // 8
        word = ir.IntType(64)
        zero = ir.Constant(vector, None)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(high * COLS)]
        pixel = cgutils.alloca_once_value(builder, b)
        with loop(builder, rows) as y:
            first = load(builder, builder.add(a_rows, builder.mul(y, word(8))), word)
            at = cgutils.alloca_once_value(builder, builder.add(a, builder.mul(first, word(size))))
            builder.store(builder.add(a, builder.mul(first, word(size))), at)
            with loop(builder, run):
                left, right = builder.load(at), builder.load(pixel)
                columns = [load(builder, builder.add(right, word(j * VECTOR_BYTES)), vector) for j in range(COLS)]
                for r in range(high):
                    number = load(builder, builder.add(left, word(r * size)), vector.element)
                    scalar = splat(builder, number, vector.count)
                    for j in range(COLS):
                        slot = sums[r * COLS + j]
                        builder.store(multiply_add(builder, columns[j], scalar, builder.load(slot)), slot)
                builder.store(builder.add(left, a_step), at)
                builder.store(builder.add(right, b_step), pixel)
        plus = builder.fadd if isinstance(kind, types.Float) else builder.add
        more = builder.icmp_signed("!=", add, word(0))
        for r in range(high):
            for j in range(COLS):
                place = builder.add(builder.add(c, builder.mul(c_step, word(r))), word(j * VECTOR_BYTES))
                total = builder.load(sums[r * COLS + j])
                with builder.if_else(more) as (then, otherwise):
                    with then:
                        store(builder, plus(load(builder, place, vector), total), place)
                    with otherwise:
                        store(builder, total, place)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10, dtype, height), emit


@part
def outer(a, a_step, a_rows, rows, run, b, b_step, c, c_step, n, add, acc):
    """`outer_tile` for any number of rows of c."""
    size = itemsize(acc)
    while n >= ROWS:
        outer_tile(a, a_step, a_rows, rows, run, b, b_step, c, c_step, add, acc, ROWS)
        n, a, c = n - ROWS, a + ROWS * size, c + ROWS * c_step
    while n >= 4:
        outer_tile(a, a_step, a_rows, rows, run, b, b_step, c, c_step, add, acc, 4)
        n, a, c = n - 4, a + 4 * size, c + 4 * c_step
    while n > 0:
        outer_tile(a, a_step, a_rows, rows, run, b, b_step, c, c_step, add, acc, 1)
        n, a, c = n - 1, a + size, c + c_step


@part
def pack_row(to, to_step, row, run, step, cols, first, n, col_bytes, inner, inner_end, inner_step, code, acc):
    # The packed columns of one row (0: zeros), `run` elements `step` bytes apart at each, `to_step` bytes apart.
    size, i = itemsize(acc), int64(0)
    while i < n:
        col = first + i
        at, inside = peek(cols + 8 * col, int64), int64(1)
        if row == 0 or at < 0:
            for k in range(run):
                poke(to + i * to_step + k * size, acc(0))
        elif run == 1 and to_step == size:
            if inner <= col and col < inner_end:
                inside = min(n - i, inner_end - col)
            load_run(to + i * to_step, row + at * col_bytes, inner_step * col_bytes, inside, code, acc)
        else:
            load_run(to + i * to_step, row + at * col_bytes, step, run, code, acc)
        i += inside


@part
def pack(
    a, of_x, base, channels, images, n_channels, image, n_images, row, n_rows, col, n_cols, panel, pitch, line, acc
):
    # panel[place][channel] of a block, places in the order (image, row, column).
    size = itemsize(acc)
    rows, cols = (a.x_rows, a.x_cols) if of_x else (a.g_rows, a.g_cols)
    row_bytes, col_bytes = (a.x_row, a.x_col) if of_x else (a.g_row, a.g_col)
    together, code = (a.x_together, a.x_code) if of_x else (a.g_together, a.g_code)
    inner, inner_end, inner_step = (a.inner, a.inner_end, a.inner_step) if of_x else (int64(0), a.out_width, int64(1))
    run = n_channels if together else int64(1)
    step = peek(channels + 8, int64) - peek(channels, int64) if run > 1 else col_bytes
    for c in range(1 if together else n_channels):
        to = panel + c * size
        for m in range(image, image + n_images):
            plane = peek(images + 8 * m, int64)
            for y in range(row, row + n_rows):
                at = int64(-1) if plane == BEYOND else peek(rows + 8 * y, int64)
                source = int64(0) if at < 0 else base + plane + peek(channels + 8 * c, int64) + at * row_bytes
                dense, dense_step = (to, pitch * size) if together else (line, size)
                pack_row(
                    dense, dense_step, source, run, step, cols, col, n_cols, col_bytes,
                    inner, inner_end, inner_step, code, acc,
                )  # fmt: skip
                if not together:
                    for i in range(n_cols):
                        poke(to + i * pitch * size, peek(line + i * size, acc))
                to += n_cols * pitch * size


@inlined
def add_products(a, left, right, rows, n_rows, run, width, n, n_lanes, sums, add, acc):
    # sums[channel, tap][lane] of a block; `width`: packed columns of the broadcast operand.
    size, lane_bytes = itemsize(acc), int64(COLS * VECTOR_BYTES)
    taps = int64(1) if a.swapped else a.kernel_y * a.kernel_x
    across = int64(1) if a.joined or a.swapped else a.kernel_x
    for j in range((n_lanes * size + lane_bytes - 1) // lane_bytes):
        for tap in range(a.kernel_y if a.joined else taps):
            at = left + (tap // across * a.tap_y * width + tap % across * a.tap_x) * a.a_pitch * size
            to = sums + (tap * n if a.joined else tap) * a.b_pitch * size + j * lane_bytes
            c_step = (int64(1) if a.joined else taps) * a.b_pitch * size
            b, a_step, b_step = right + j * lane_bytes, a.step_x * a.a_pitch * size, a.b_pitch * size
            outer(at, a_step, rows, n_rows, run, b, b_step, to, c_step, n, add, acc)


@inlined
def add_block(a, x_channels, x_images, g_channels, channels, filters, block, scratch, add, acc):
    # The sums of a block of pixels.
    size = itemsize(acc)
    rows, line = scratch + a.row_of * size, scratch + a.lines * size
    left, right = scratch + a.a_panel * size, scratch + a.b_panel * size
    across = (a.out_width + a.block_cols - 1) // a.block_cols
    down = (a.out_height + a.block_rows - 1) // a.block_rows
    col, row = block % across * a.block_cols, block // across % down * a.block_rows
    image = block // (across * down) * a.block_images
    n_cols, n_rows = min(a.block_cols, a.out_width - col), min(a.block_rows, a.out_height - row)
    n_images = min(a.block_images, a.images - image)
    x_cols = (n_cols - 1) * a.step_x + (a.kernel_x - 1) * a.tap_x + 1
    x_rows = (n_rows - 1) * a.step_y + (a.kernel_y - 1) * a.tap_y + 1
    to_x, x_pitch = (right, a.b_pitch) if a.swapped else (left, a.a_pitch)
    to_g, g_pitch = (left, a.a_pitch) if a.swapped else (right, a.b_pitch)
    pack(
        a, 1, a.x, x_channels, x_images, channels, image, n_images, row * a.step_y, x_rows, col * a.step_x, x_cols,
        to_x, x_pitch, line, acc,
    )  # fmt: skip
    pack(
        a, 0, a.w, g_channels, a.g_images, filters, image, n_images, row, n_rows, col, n_cols, to_g, g_pitch, line, acc
    )
    single = a.kernel_y * a.kernel_x == 1  # both have the same places
    for m in range(n_images):
        for y in range(n_rows):
            start = (m * x_rows + y * a.step_y) * x_cols * a.a_pitch
            poke(rows + 8 * (m * n_rows + y), int64(0) if single else start)
    broadcast = filters if a.swapped else channels * (a.kernel_x if a.joined else 1)
    n, run = (int64(1), n_images * n_rows * n_cols) if single else (n_images * n_rows, n_cols)
    add_products(a, left, right, rows, n, run, x_cols, broadcast, channels if a.swapped else filters, scratch, add, acc)


@inlined
def store_gradient(a, out, sums, channels, filters, line, acc):
    # To memory, a filter's channels and taps after each other.
    size, taps = itemsize(acc), a.kernel_y * a.kernel_x
    joined = a.out_channel == taps * a.out_tap
    for f in range(filters):
        at = sums + f * a.b_pitch * size
        if not a.swapped:
            at = line
            for i in range(channels * taps):
                poke(line + i * size, peek(sums + (i * a.b_pitch + f) * size, acc))
        for c in range(1 if joined else channels):
            to = out + f * a.out_filter + c * a.out_channel
            store_run(to, a.out_tap, at + c * taps * size, channels * taps if joined else taps, a.out_code, acc)


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that sums in `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        # Units run over (group, tap along z, block of filters, block of channels, part of the pixels).
        blocks_f = (a.filters + a.unit_filters - 1) // a.unit_filters
        blocks_c = (a.channels + a.unit_channels - 1) // a.unit_channels
        part, rest = unit % a.n_parts, unit // a.n_parts
        c, f = rest % blocks_c * a.unit_channels, rest // blocks_c % blocks_f * a.unit_filters
        z, group = rest // (blocks_c * blocks_f) % a.kernel_z, rest // (blocks_c * blocks_f * a.kernel_z)
        channels, filters = min(a.unit_channels, a.channels - c), min(a.unit_filters, a.filters - f)
        across, down = (
            (a.out_width + a.block_cols - 1) // a.block_cols,
            (a.out_height + a.block_rows - 1) // a.block_rows,
        )
        blocks = (a.images + a.block_images - 1) // a.block_images * down * across
        scratch = a.scratch + worker * a.scratch_bytes
        x_channels, g_channels = a.x_channels + 8 * (group * a.channels + c), a.g_channels + 8 * (group * a.filters + f)
        first = part * blocks // a.n_parts
        for block in range(first, (part + 1) * blocks // a.n_parts):
            more = int64(block > first)
            x_images = a.x_images + 8 * z * a.images
            add_block(a, x_channels, x_images, g_channels, channels, filters, block, scratch, more, acc_type)
        out = a.out + part * a.out_part + (group * a.filters + f) * a.out_filter + c * a.out_channel + z * a.out_z
        store_gradient(a, out, scratch, channels, filters, scratch + a.lines * itemsize(acc_type), acc_type)

    return kernel


MAKERS = {"weight_gradient": make}
