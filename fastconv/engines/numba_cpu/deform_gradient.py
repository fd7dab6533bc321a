"""What the gradient of the columns gives for convolutions whose taps are moved: that of offsets and mask, and of the image."""

from __future__ import annotations

from collections.abc import Callable
from math import floor

from numba import int64, types

from fastconv.engines.contract import DEFORM_GRADIENT_FIELDS
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = DEFORM_GRADIENT_FIELDS

PIXELS = 32  # of a unit


@part
def moved_place(a, group, tap, p, acc):
    # Where a tap of a window lies, and its weight.
    y, x = (a.first + p) // a.out_width, (a.first + p) % a.out_width
    channel = group * a.kernel_y * a.kernel_x + tap
    offset = a.w + 2 * channel * a.offset_c + y * a.offset_row + x * a.offset_col
    down = acc(y * a.stride_y - a.pad_y + tap // a.kernel_x * a.dilation_y) + peek(offset, acc)
    along = acc(x * a.stride_x - a.pad_x + tap % a.kernel_x * a.dilation_x) + peek(offset + a.offset_c, acc)
    scale = acc(1)
    if a.bias != 0:
        scale = peek(a.bias + channel * a.mask_c + y * a.mask_row + x * a.mask_col, acc)
    return down, along, scale


@part
def dot(a, group, tap, p, corner, acc):
    # Of the columns' gradient with one of the elements around a place, over the channels that are moved alike.
    total = acc(0)
    for r in range(group * a.runs, (group + 1) * a.runs):
        gradient = a.fill + peek(a.run_of + 8 * r, int64) + tap * a.col_tap + p * a.col_p
        value = corner + r * a.run * a.x_c
        for c in range(a.run):
            total += peek(gradient + c * a.col_c, acc) * peek(value + c * a.x_c, acc)
    return total


def make_places(dtype: str, variant: str = "") -> Callable:
    """The kernel for the gradients of offsets and mask.  A unit is some pixels."""
    acc = getattr(types, dtype)

    def kernel(a, unit, worker):
        first, taps, size = unit * PIXELS, a.kernel_y * a.kernel_x, itemsize(acc)
        one = acc(1)
        for channel in range(a.offset_groups * taps):
            group, tap = channel // taps, channel % taps
            for p in range(first, min(first + PIXELS, a.count)):
                down, along, scale = moved_place(a, group, tap, p, acc)
                inside = down >= -1 and down < a.height and along >= -1 and along < a.width
                low_y, low_x = int64(0), int64(0)
                y = x = acc((down - down) * 0 + (along - along) * 0) if down != down or along != along else acc(0)
                if inside:
                    low_y, low_x = int64(floor(down)), int64(floor(along))
                    y, x = acc(down - acc(low_y)), acc(along - acc(low_x))
                # the four elements: sums with the parts of their weights
                of_y = of_x = whole = acc(0)
                for k in range(4):
                    row, col = low_y + (k >> 1), low_x + (k & 1)
                    d = acc(0)
                    if inside and row >= 0 and row < a.height and col >= 0 and col < a.width:
                        d = dot(a, group, tap, p, a.x + row * a.x_row + col * a.x_col, acc)
                    part_y, part_x = y if k >> 1 else one - y, x if k & 1 else one - x
                    of_y += (d if k >> 1 else -d) * part_x
                    of_x += (d if k & 1 else -d) * part_y
                    whole += d * part_y * part_x
                to = a.out + 2 * channel * a.place_c + p * size
                poke(to, acc(scale * of_y))
                poke(to + a.place_c, acc(scale * of_x))
                if a.bias != 0:
                    poke(a.out + (2 * a.offset_groups * taps + channel) * a.place_c + p * size, whole)

    return kernel


def make_image(dtype: str, variant: str = "") -> Callable:
    """The kernel for the gradient of the image.  A unit is some channels."""
    acc = getattr(types, dtype)

    def kernel(a, unit, worker):
        r, begin, one = unit // a.pieces, unit % a.pieces * a.piece, acc(1)
        for tap in range(a.kernel_y * a.kernel_x):
            for p in range(a.count):
                down, along, scale = moved_place(a, r // a.runs, tap, p, acc)
                if down > -1 and down < a.height and along > -1 and along < a.width:
                    low_y, low_x = int64(floor(down)), int64(floor(along))
                    y, x = acc(down - acc(low_y)), acc(along - acc(low_x))
                    gradient = a.x + peek(a.run_of + 8 * r, int64) + tap * a.col_tap + p * a.col_p + begin * a.col_c
                    for k in range(4):
                        row, col = low_y + (k >> 1), low_x + (k & 1)
                        if row >= 0 and row < a.height and col >= 0 and col < a.width:
                            weight = acc((y if k >> 1 else one - y) * (x if k & 1 else one - x) * scale)
                            to = a.out + row * a.x_row + col * a.x_col + (r * a.run + begin) * a.x_c
                            for c in range(min(a.piece, a.run - begin)):
                                value = peek(to + c * a.x_c, acc) + weight * peek(gradient + c * a.col_c, acc)
                                poke(to + c * a.x_c, value)

    return kernel


MAKERS = {"deform_places": make_places, "deform_image": make_image}
