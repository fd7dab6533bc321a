"""Rank filters: programs of minima and maxima, or a set of sorted places that follows the window.

The twin of the Cython engine's `rank.pxi`, operation by operation; `a` is a record of RANK_FIELDS,
addresses and steps are in bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import float64, int64, types, uint32, uint64

from fastconv.engines.contract import BEYOND, DTYPE_CODES, RANK_FIELDS, RANK_OPERATIONS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.ranking import bit_count, load_keys, lowest_bit, order_rows, store_keys
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke
from fastconv.engines.numba_cpu.stage import mapped, source_row

__all__ = ["FIELDS", "MAKERS", "make"]

FIELDS = RANK_FIELDS
BOOL = DTYPE_CODES["bool"]
EXCHANGE, MAXIMUM = RANK_OPERATIONS["exchange"], RANK_OPERATIONS["maximum"]


# -- staging -------------------------------------------------------------------------------


@part
def stage_keys(a, dst, row, fill, left, n, converted, key):
    # dst[i] = the key of the element at position left + i of a row (0: the fill value).
    size, i = itemsize(key), int64(0)
    while i < n:
        position, run = left + i, int64(1)
        column = int64(-1) if row == 0 else mapped(a.map_x, position, a.width, a.pad_x)
        if column < 0:
            poke(dst + i * size, fill)
        else:
            if 0 <= position < a.width:
                run = min(n - i, a.width - position)
            memory = row + column * a.x_col
            if a.src_code == a.acc_code:
                load_keys(dst + i * size, memory, a.x_col, run, a.acc_code, key)
            else:
                load_run(converted, memory, a.x_col, run, a.src_code, float64)
                load_keys(dst + i * size, converted, int64(8), run, a.acc_code, key)
        i += run


@inlined
def stage_tile(a, plane, y, x, rows, cols, staged, converted, key):
    size = itemsize(key)
    load_keys(staged, a.fill, int64(0), int64(1), a.acc_code, key)
    fill = peek(staged, key)
    for p in range(a.n_planes):
        offset = peek(a.src_planes + 8 * (plane * a.n_planes + p), int64)
        for j in range(rows):
            row = int64(0) if offset == BEYOND else source_row(a, a.x + offset, y - a.pad_y + j)
            at = (p * (a.tile_rows + a.kernel_y - 1) + j) * a.pitch
            stage_keys(a, staged + at * size, row, fill, x - a.pad_x, cols, converted, key)


@part
def store_row(a, result, out, cols, elements, key):
    # A row of keys as elements of the output.
    if a.out_code == a.acc_code:
        store_keys(result, out, a.out_col, cols, a.acc_code, key)
    else:
        doubles = elements + 8 * a.tile_cols
        store_keys(result, elements, itemsize(key), cols, a.acc_code, key)
        load_run(doubles, elements, itemsize(key), cols, a.acc_code, float64)
        store_run(out, a.out_col, doubles, cols, a.out_code, float64)


# -- programs ------------------------------------------------------------------------------


@inlined
def operand(program, i, row, slots, columns, result, size):
    code = peek(program + 8 * i, int64)
    base = code & 3
    start = row if base == 0 else slots if base == 1 else columns if base == 2 else result
    return start + (code >> 2) * size


@part
def execute(program, length, row, slots, columns, result, n, key):
    # A program on n elements of every operand, rounded up to whole vectors.
    size = itemsize(key)
    for _ in range(length):
        x, y = (
            operand(program, 1, row, slots, columns, result, size),
            operand(program, 2, row, slots, columns, result, size),
        )
        low = operand(program, 3, row, slots, columns, result, size)
        high = operand(program, 4, row, slots, columns, result, size)
        operation = peek(program, int64)
        if operation == EXCHANGE:
            order_rows(x, y, low, high, n, key, True, True)
        elif operation == MAXIMUM:
            order_rows(x, y, low, high, n, key, False, True)
        else:  # a copy is the minimum of a value and itself
            order_rows(x, y, low, high, n, key, True, False)
        program += 40


@inlined
def select_row(a, row, scratch, cols, staged_cols, key):
    # Programs on the windows of a block of columns.
    size = itemsize(key)
    slots, columns, result = scratch + a.slots, scratch + a.sorted, scratch + a.result
    if a.n_columns > 0:
        for x in range(0, staged_cols, a.block):
            n = min(a.block, staged_cols - x)
            execute(a.columns, a.n_columns, row + x * size, slots, columns + x * size, result, n, key)
    for x in range(0, cols, a.block):
        n, at = min(a.block, cols - x), x * size
        execute(a.window, a.n_window, row + at, slots, columns + at, result + at, n, key)


# -- sets ----------------------------------------------------------------------------------


@part
def sort_pairs(pairs, spare, counts, n, nbytes):
    # Stable sort by the lowest bytes of the upper halves; returns where the result is.
    for i in range(1024):
        poke(counts + 4 * i, uint32(0))
    for i in range(n):
        pair = peek(pairs + 8 * i, int64)
        for b in range(nbytes):
            at = counts + 4 * (256 * b + (pair >> (32 + 8 * b) & 255))
            poke(at, uint32(peek(at, uint32) + 1))
    for b in range(nbytes):
        shift, start = 32 + 8 * b, int64(0)
        for digit in range(256):
            at = counts + 4 * (256 * b + digit)
            here = int64(peek(at, uint32))
            poke(at, uint32(start))
            start += here
        for i in range(n):
            pair = peek(pairs + 8 * i, int64)
            at = counts + 4 * (256 * b + (pair >> shift & 255))
            place = int64(peek(at, uint32))
            poke(spare + 8 * place, pair)
            poke(at, uint32(place + 1))
        pairs, spare = spare, pairs
    return pairs


@part
def sort_wide(pairs, spare, counts, n, keys):
    # By 64-bit keys, which the lower halves are the places of: by the lower 32 bits, then by the upper.
    for shift in range(0, 64, 32):
        for i in range(n):
            place = peek(pairs + 8 * i, int64) & 0xFFFFFFFF
            bits = uint64(peek(keys + 8 * place, int64)) ^ uint64(1 << 63)
            poke(pairs + 8 * i, int64((bits >> uint64(shift)) << uint64(32)) | place)
        found = sort_pairs(pairs, spare, counts, n, 4)
        if found != pairs:
            pairs, spare = spare, pairs
    return pairs


@inlined
def sorted_places(a, staged, scratch, rows, cols, key):
    # The staged keys in order: their places in the lower halves of pairs.
    size, n = itemsize(key), int64(0)
    pairs, counts = scratch + a.pairs, scratch + a.counts
    for p in range(a.n_planes):
        for j in range(rows):
            start = (p * (a.tile_rows + a.kernel_y - 1) + j) * a.pitch
            for place in range(start, start + cols):
                digits = int64(peek(staged + place * size, key)) ^ (1 << (8 * min(size, 4) - 1))
                poke(pairs + 8 * n, (digits << 32) | place)
                n += 1
    total = a.n_planes * rows * cols
    if size == 8:
        return sort_wide(pairs, pairs + 8 * total, counts, total, staged)
    return sort_pairs(pairs, pairs + 8 * total, counts, total, size)


@inlined
def enter(bits, place):
    poke(bits + place // 64 * 8, peek(bits + place // 64 * 8, int64) | (int64(1) << (place % 64)))


@inlined
def leave(bits, place):
    poke(bits + place // 64 * 8, peek(bits + place // 64 * 8, int64) & ~(int64(1) << (place % 64)))


@part
def member(bits, word, below, rank):
    # The word of the member that `rank` others are below, how many are below that word, and the member.
    while below > rank:
        word -= 1
        below -= bit_count(peek(bits + 8 * word, int64))
    here = bit_count(peek(bits + 8 * word, int64))
    while below + here <= rank:
        below += here
        word += 1
        here = bit_count(peek(bits + 8 * word, int64))
    rest = peek(bits + 8 * word, int64)
    for _ in range(below, rank):
        rest &= rest - 1
    return word, below, word * 64 + lowest_bit(rest)


@part
def follow_row(a, places, pairs, bits, words, staged, result, cols, key):
    # A set of places follows the window along a row.
    size, word, below = itemsize(key), int64(0), int64(0)
    for i in range(words):
        poke(bits + 8 * i, int64(0))
    for i in range(a.n_taps):
        enter(bits, int64(peek(places + 4 * peek(a.taps + 8 * i, int64), uint32)))
    for x in range(cols):
        if x > 0:
            for i in range(a.n_moving):
                old = int64(peek(places + 4 * peek(a.leaving + 8 * i, int64), uint32))
                leave(bits, old)
                below -= old // 64 < word
                new = int64(peek(places + 4 * peek(a.entering + 8 * i, int64), uint32))
                enter(bits, new)
                below += new // 64 < word
            places += 4
        word, below, found = member(bits, word, below, a.rank)
        source = peek(pairs + 8 * found, int64) & 0xFFFFFFFF
        poke(result + x * size, peek(staged + source * size, key))


@part
def count_row(a, row, result, cols, key):
    # Of two values alone, the count of the larger one follows the window along a row.
    size, larger = itemsize(key), int64(0)
    smaller = -(int64(1) << (8 * size - 1))
    for i in range(a.n_taps):
        larger += int64(peek(row + size * peek(a.taps + 8 * i, int64), key)) - smaller
    for x in range(cols):
        if x > 0:
            for i in range(a.n_moving):
                larger += int64(peek(row + size * peek(a.entering + 8 * i, int64), key))
                larger -= int64(peek(row + size * peek(a.leaving + 8 * i, int64), key))
            row += size
        poke(result + x * size, key(smaller + (1 if larger >= a.n_taps - a.rank else 0)))


# -- kernels -------------------------------------------------------------------------------


def make(key: str, variant: str = "") -> Callable:
    """The rank kernel whose keys are integers of type `key`."""
    key_type = getattr(types, key)

    def kernel(a, unit, worker):
        size = itemsize(key_type)
        scratch = a.scratch + worker * a.scratch_bytes
        staged, result = scratch + a.staged, scratch + a.result
        plane = unit // a.n_across // a.n_down
        top, left = unit // a.n_across % a.n_down * a.tile_rows, unit % a.n_across * a.tile_cols
        rows, cols = min(a.tile_rows, a.out_height - top), min(a.tile_cols, a.out_width - left)
        staged_rows, staged_cols = rows + a.kernel_y - 1, cols + a.kernel_x - 1
        stage_tile(a, plane, top, left, staged_rows, staged_cols, staged, scratch + a.converted, key_type)
        pairs, total = int64(0), a.n_planes * staged_rows * staged_cols
        if a.n_window == 0 and a.acc_code != BOOL:
            pairs = sorted_places(a, staged, scratch, staged_rows, staged_cols, key_type)
            for i in range(total):
                place = peek(pairs + 8 * i, int64) & 0xFFFFFFFF
                poke(scratch + a.places + 4 * place, uint32(i))
        out = a.out + peek(a.out_planes + 8 * plane, int64) + top * a.out_row + left * a.out_col
        for y in range(rows):
            row = staged + y * a.pitch * size
            if a.n_window > 0:
                select_row(a, row, scratch, cols, staged_cols, key_type)
            elif a.acc_code == BOOL:
                count_row(a, row, result, cols, key_type)
            else:
                places, bits = scratch + a.places + 4 * y * a.pitch, scratch + a.members
                follow_row(a, places, pairs, bits, (total + 63) // 64, staged, result, cols, key_type)
            store_row(a, result, out + y * a.out_row, cols, scratch + a.converted, key_type)

    return kernel


MAKERS = {"rank": make}
