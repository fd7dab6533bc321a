"""Convolutions whose taps are moved: columns of interpolated values, a block of pixels at a time, times the weights.

The product is a convolution of one tap, by whatever the table has for it on the same engine.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import Bound, run
from fastconv.algorithms.parts import are_ready, executor_of, lacking
from fastconv.engines.contract import DEFORM_FIELDS, record
from fastconv.problem import ConvProblem, DeformProblem
from fastconv.replay import contiguous, copy_into

__all__ = ["UNIT_PIXELS", "Deform", "beyond_cython", "beyond_numba", "block_of", "block_values", "is_ready", "refuse"]

Steps = tuple[int, ...]

# Bytes of the columns of a block, and pixels of a unit (DEFORM_PIXELS of deform.pxi).
BLOCK_BYTES = 2 * 1024 * 1024
UNIT_PIXELS = 32


def refuse(problem: Any) -> str | None:
    """Why columns cannot be made, or None."""
    if not isinstance(problem, DeformProblem):
        return "is for convolutions whose taps are moved"
    if problem.conv.acc not in ("float32", "float64"):
        return f"does not interpolate in {problem.conv.acc}"
    return None


def beyond_cython(problem: DeformProblem) -> str | None:
    """Why the Cython engine cannot multiply the columns, or None."""
    return _beyond(problem, "cython")


def beyond_numba(problem: DeformProblem) -> str | None:
    """Why the Numba engine cannot multiply the columns, or None."""
    return _beyond(problem, "numba")


def is_ready(problem: DeformProblem, engine: Any) -> bool:
    """Whether all kernels are compiled."""
    return engine.is_ready("deform", problem.conv.acc) and are_ready(_products(problem), engine)


def _beyond(problem: DeformProblem, engine: str) -> str | None:
    product = lacking(_products(problem), engine)
    return None if product is None else f"cannot multiply columns, {product}"


def block_of(p: ConvProblem) -> int:
    """Pixels of a block of columns."""
    pixels, depth = p.out_shape[0] * p.out_shape[1], p.channels * p.kernel_shape[0] * p.kernel_shape[1]
    return min(pixels, max(UNIT_PIXELS, BLOCK_BYTES // (depth * np.dtype(p.acc).itemsize)))


def _products(problem: DeformProblem) -> list[ConvProblem]:
    """The products of the weights with a whole block and with the last one of an image."""
    p = problem.conv
    pixels, block = p.out_shape[0] * p.out_shape[1], block_of(p)
    sizes = dict.fromkeys((block, (pixels - 1) % block + 1))
    return [
        ConvProblem(
            in_shape=(n,), kernel_shape=(1,), out_shape=(n,), in_dtype=p.acc, kernel_dtype=p.acc, acc=p.acc,
            out_dtype=p.out_dtype, pad=(0,), boundary=("fill",), stride=(1,), dilation=(1,),
            channels=p.channels * p.kernel_shape[0] * p.kernel_shape[1], filters=p.filters, groups=p.groups,
            bias=p.bias, channels_last=p.channels_last,
        )
        for n in sizes
    ]  # fmt: skip


class Deform:
    """Executes a `DeformProblem` block by block."""

    def __init__(self, problem: DeformProblem, engine: Any):
        self.problem = problem
        self.products = {p.in_shape[0]: executor_of(p, engine) for p in _products(problem)}
        self.kernel = engine.kernel("deform", problem.conv.acc)
        self._bind = lru_cache(maxsize=256)(self._new_bound)

    def __call__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        p, (offset, mask) = self.problem.conv, fill
        x = x if x.dtype == p.acc else contiguous(x, p.acc)
        weights = self._weights(w)
        depth, pixels, block = weights.shape[1] * p.groups, p.out_shape[0] * p.out_shape[1], block_of(p)
        used = costs.threads_worth_using(8 * depth * block, 8 * depth * block, threads)
        flat = out.reshape(p.batch, p.filters, pixels)  # a copy if rows do not follow each other
        steps = (x.strides[1:], offset.strides[1:], (0, 0, 0) if mask is None else mask.strides[1:])
        for n in range(p.batch):
            for first in range(0, pixels, block):
                count = min(block, pixels - first)
                columns = np.empty((count, depth) if p.channels_last else (depth, count), p.acc)
                bound = self._bind(*steps, first, count)
                run(self.kernel, bound, x[n], offset[n], columns, None if mask is None else mask[n], None, used)
                planes = columns.T[None] if p.channels_last else columns[None]
                self.products[count](planes, weights, flat[n : n + 1, :, first : first + count], bias, 0, threads)
        if not np.may_share_memory(flat, out):
            copy_into(out, flat.reshape(out.shape))

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        p = self.problem.conv
        depth = p.channels * p.kernel_shape[0] * p.kernel_shape[1]
        columns = block_of(p) * depth * np.dtype(p.acc).itemsize
        return columns + max(product.workspace(threads) for product in self.products.values())

    def _weights(self, w: np.ndarray) -> np.ndarray:
        """Weights (filter, row of the columns of its group, 1), in the order of the columns."""
        p = self.problem.conv
        taps = w.transpose(0, 2, 3, 1) if p.channels_last else w
        return contiguous(taps, p.acc).reshape(p.filters, -1, 1)

    def _new_bound(self, x: Steps, offset: Steps, mask: Steps, first: int, count: int) -> Bound:
        """The record of a block of pixels."""
        values, run_of = block_values(self.problem, x, offset, mask, first, count)
        scratch = (UNIT_PIXELS * 4 * 16 + values["run"] * np.dtype(self.problem.conv.acc).itemsize + 63) // 64 * 64
        slots = record(DEFORM_FIELDS, {**values, "scratch_bytes": scratch})
        return Bound(slots, -(-count // UNIT_PIXELS), scratch, (), (run_of,))


def block_values(
    problem: DeformProblem, x: Steps, offset: Steps, mask: Steps, first: int, count: int
) -> tuple[dict[str, Any], np.ndarray]:
    """What a record tells of a block of pixels, and the table of runs, of channels in one group and in one offset group."""
    p, size = problem.conv, np.dtype(problem.conv.acc).itemsize
    taps, in_group = p.kernel_shape[0] * p.kernel_shape[1], p.channels // p.groups
    in_offset_group = p.channels // problem.offset_groups
    length = gcd(in_group, in_offset_group)
    starts = np.arange(0, p.channels, length)
    if p.channels_last:  # columns [pixel][group][tap][channel]
        run_of = (starts // in_group * in_group * taps + starts % in_group) * size
        col_c, col_tap, col_p = size, in_group * size, p.channels * taps * size
    else:  # [channel][tap][pixel]
        run_of = starts * taps * count * size
        col_c, col_tap, col_p = taps * count * size, count * size, size
    run_of = np.ascontiguousarray(run_of, np.int64)
    values = {
        "height": p.in_shape[0], "width": p.in_shape[1], "x_c": x[0], "x_row": x[1], "x_col": x[2],
        "out_width": p.out_shape[1],
        "offset_c": offset[0], "offset_row": offset[1], "offset_col": offset[2],
        "mask_c": mask[0], "mask_row": mask[1], "mask_col": mask[2],
        "kernel_y": p.kernel_shape[0], "kernel_x": p.kernel_shape[1],
        "stride_y": p.stride[0], "stride_x": p.stride[1],
        "dilation_y": p.dilation[0], "dilation_x": p.dilation[1], "pad_y": p.pad[0], "pad_x": p.pad[1],
        "first": first, "count": count,
        "offset_groups": problem.offset_groups, "runs": in_offset_group // length, "run": length,
        "run_of": run_of.ctypes.data, "col_c": col_c, "col_tap": col_tap, "col_p": col_p,
    }  # fmt: skip
    return values, run_of
