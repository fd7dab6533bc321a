"""Depthwise convolution of planes of 8-bit numbers, for engines with an instruction for four products of bytes.

A plane is staged as one line of rows as far apart as those of the output, so that vectors of outputs go on from row to row; which
bytes of their windows lie beyond an end of their row, the host puts in tables (`DEPTHWISE8_FIELDS` of the contract).  What
does not lie in rows, or steps otherwise, goes by way of pixels (`conv8`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.conv8 import Conv8
from fastconv.algorithms.executor import Bound, run
from fastconv.algorithms.geometry import NO_AXIS, Axis, spatial_axes
from fastconv.engines.contract import DEPTHWISE8_FIELDS, DTYPE_CODES, record
from fastconv.replay import constant, contiguous, kept_weights

__all__ = ["Depthwise8"]

# Fours of taps (MOST_GROUPS of depthwise8.h), and pixels beyond the border of a row.
MOST_GROUPS, MOST_TAPS, MOST_PAD = 64, 127, 1024
# Bytes of a staged plane: two of them, and their tables, stay in the second cache.
STAGED_BYTES = 64 * 1024
UNITS_PER_THREAD = 4
MARGIN = 256


class Depthwise8(Conv8):
    """Executes a `QuantizedProblem` of one channel a group."""

    def __init__(self, problem: Any, engine: Any):
        super().__init__(problem, engine)
        self.planes = engine.kernel("depthwise8", "int32")

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        if not self._in_rows(x.strides, out.strides):
            super().__call__(x, w, out, bias, fill, threads)
            return
        p, depth = self.conv, self.depth
        threads = costs.threads_worth_using(p.flops // 4, p.nbytes, threads)
        base, scales, offsets, zeros, _ = self._constants(bias)
        filler = int(fill) - self.x_shift
        zeros = zeros - self.w_shift
        base = base + zeros * (depth * filler)
        near = self._near(base, scales, offsets, bool(zeros.any()))
        numbers = np.array([filler, filler, zeros.any(), *self._limits(), near], np.int32)
        parts = base.astype(np.int32), zeros.astype(np.int32), scales, offsets
        constants = constant(np.concatenate([values.view(np.uint8) for values in parts]))
        kept = kept_weights.get()
        weights = contiguous(w) if kept is None else kept.get((self.problem, "in rows"), w, lambda: contiguous(w))
        bound = self._bind(x.strides, out.strides, threads)
        run(self.planes, bound, x, weights, out, constants, constant(numbers), threads)

    def _in_rows(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> bool:
        p = self.conv
        if p.ndim > 2 or x_strides[-1] != 1 or out_strides[-1] != 1 or set(p.boundary) != {"fill"}:
            return False
        y, x = _axes(p, x_strides, out_strides)
        step, reach = x.stride, (min(4, x.taps) - 1) * x.dilation
        pitch = max(x.out_size, -(-x.size // step)) * step
        return (
            step in (1, 2) and y.stride == step and reach <= (8 if step == 1 else 3)
            and y.taps * -(-x.taps // 4) <= MOST_GROUPS and self.taps <= MOST_TAPS
            and max(x.pad, y.pad, (x.taps - 1) * x.dilation) <= MOST_PAD
            and ((y.taps - 1) * y.dilation + 4) * pitch <= STAGED_BYTES
        )  # fmt: skip

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        if not self._in_rows(x_strides, out_strides):
            return super()._new_bound(x_strides, out_strides, threads)
        p = self.conv
        y, x = _axes(p, x_strides, out_strides)
        step, columns, reach = x.stride, -(-x.taps // 4), (y.taps - 1) * y.dilation + 1
        out_pitch = max(x.out_size, -(-x.size // step))
        pitch = step * out_pitch
        strips = next(
            n for n in range(1, y.out_size + 1) if (step * -(-y.out_size // n) + reach) * pitch <= STAGED_BYTES
        )
        wanted = UNITS_PER_THREAD * threads if threads > 1 else 1
        strips = min(y.out_size, max(strips, -(-wanted // (p.batch * p.channels))))
        chunk = -(-p.channels // min(p.channels, -(-wanted // (p.batch * strips))))
        strip = -(-y.out_size // strips)
        strips, chunks = -(-y.out_size // strip), -(-p.channels // chunk)
        rows = (strip - 1) * step + reach
        odd = -(-rows // 2) * pitch if step == 2 else 0
        group_of = np.array([
            (r // 2 * pitch + r % 2 * odd if step == 2 else r * pitch) + 4 * q * x.dilation - x.pad
            for r in range(0, y.taps * y.dilation, y.dilation) for q in range(columns)
        ], np.int64)  # fmt: skip
        taps = np.arange(4 * columns)
        tap_of = np.full(-(-group_of.size // 4) * 16, -1, np.int8)
        tap_of[: 4 * group_of.size] = np.where(taps < x.taps, np.arange(y.taps)[:, None] * x.taps + taps, -1).ravel()
        inside, order = _inside(x, strip * out_pitch, out_pitch), _order(x)
        buffer = (rows + 1) // step * step * pitch + pitch + 4 * MARGIN + x.pad + 4 * columns * x.dilation
        buffer = -(-buffer // 64) * 64
        results = 0 if out_pitch == x.out_size == y.out_step else strip * out_pitch + MARGIN
        front = MARGIN + x.pad
        values = {
            "scratch_bytes": 2 * buffer + results + front,
            "channels": p.channels, "height": y.size, "width": x.size, "out_height": y.out_size, "out_width": x.out_size,
            "x_image": x_strides[0], "x_channel": x_strides[1], "x_row": y.x_step,
            "out_image": out_strides[0], "out_channel": out_strides[1], "out_row": y.out_step,
            "step": step, "pad_y": y.pad, "reach": reach, "pitch": pitch, "out_pitch": out_pitch, "odd": odd,
            "groups": group_of.size, "columns": columns, "taps": self.taps,
            "group_of": group_of.ctypes.data, "inside": inside.ctypes.data, "order": order.ctypes.data,
            "tap_of": tap_of.ctypes.data,
            "src_code": DTYPE_CODES[p.in_dtype], "weights_code": DTYPE_CODES[p.kernel_dtype],
            "chunk": chunk, "n_chunks": chunks, "strip": strip, "n_strips": strips,
            "staged": front, "buffer": buffer, "results": front + 2 * buffer,
        }  # fmt: skip
        tables = group_of, inside, order, tap_of
        return Bound(record(DEPTHWISE8_FIELDS, values), p.batch * chunks * strips, values["scratch_bytes"], (), tables)


def _axes(p: Any, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Rows and columns; a line is one row, which steps as its columns do."""
    axes = spatial_axes(p, x_strides, out_strides)
    if len(axes) == 1:
        return replace(NO_AXIS, stride=axes[0].stride, x_step=axes[0].size, out_step=axes[0].out_size), axes[0]
    return axes[0], axes[1]


def _places(step: int) -> np.ndarray:
    """Which outputs of 64 the fours of bytes of four vectors are for, [vector][four]."""
    vector, lane, four = np.ogrid[:4, :4, :4]
    if step == 1:
        places = 16 * lane + 8 * (vector // 2) + 2 * four + vector % 2
    else:
        places = 32 * (vector // 2) + 8 * lane + 2 * four + vector % 2
    return places.reshape(4, 16)


def _inside(x: Axis, outputs: int, pitch: int) -> np.ndarray:
    """The slot "inside" of the record."""
    first = 64 * np.arange(-(-outputs // 64)).reshape(-1, 1, 1, 1)
    column = (
        first + _places(x.stride)[:, :, None]
    ) % pitch * x.stride - x.pad  # [vector of outputs][vector][four][tap]
    bits = []
    for q in range(-(-x.taps // 4)):
        at = column + (4 * q + np.arange(4)) * x.dilation
        inside = ((at >= 0) & (at < x.size)).reshape(len(first), 4, 64)
        bits.append(np.packbits(inside, axis=-1, bitorder="little").view("<u8")[..., 0])
    return np.ascontiguousarray(np.stack(bits, 1)).view(np.int64)


def _order(x: Axis) -> np.ndarray:
    """The slot "order" of the record: of even outputs, and of odd ones of the same bytes."""
    four, tap = np.ogrid[:4, :4]
    places = 2 * x.stride * four + np.minimum(tap, min(4, x.taps) - 1) * x.dilation
    return np.stack([places, np.minimum(places + x.stride, 15)]).astype(np.int8).reshape(2, 16)
