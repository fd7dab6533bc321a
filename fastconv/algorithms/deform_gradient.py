"""Gradients of convolutions whose taps are moved, a block of pixels at a time.

The columns of values that the convolution multiplies are made again, for the gradient of the weights; in their place comes
the columns' own gradient, from which follow those of offsets, mask and image.  Both products are the table's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.deform import UNIT_PIXELS, block_of, block_values
from fastconv.algorithms.executor import Bound, run
from fastconv.algorithms.parts import are_ready, executor_of, lacking
from fastconv.engines.contract import DEFORM_FIELDS, DEFORM_GRADIENT_FIELDS, record
from fastconv.problem import ConvProblem, DeformGradientProblem, WeightGradientProblem
from fastconv.replay import by_value

__all__ = ["DeformGradient", "beyond_cython", "beyond_numba", "is_ready", "refuse"]

Steps = tuple[int, ...]

KERNELS = ("deform", "deform_places", "deform_image")
# Channels of the image's gradient that a unit of work owns, at least, and units for each thread.
LEAST_CHANNELS, UNITS_PER_THREAD = 16, 4


def refuse(problem: Any) -> str | None:
    """Why these kernels cannot do a problem, or None."""
    if not isinstance(problem, DeformGradientProblem):
        return "is for gradients of convolutions whose taps are moved"
    if problem.deform.conv.acc not in ("float32", "float64"):
        return f"does not interpolate in {problem.deform.conv.acc}"
    return None


def beyond_cython(problem: DeformGradientProblem) -> str | None:
    """Why the Cython engine cannot multiply the columns, or None."""
    return _beyond(problem, "cython")


def beyond_numba(problem: DeformGradientProblem) -> str | None:
    """Why the Numba engine cannot multiply the columns, or None."""
    return _beyond(problem, "numba")


def is_ready(problem: DeformGradientProblem, engine: Any) -> bool:
    """Whether all kernels are compiled."""
    acc = problem.deform.conv.acc
    return all(engine.is_ready(kernel, acc) for kernel in KERNELS) and are_ready(_parts(problem), engine)


def _beyond(problem: DeformGradientProblem, engine: str) -> str | None:
    part = lacking(_parts(problem), engine)
    return None if part is None else f"cannot multiply columns, {part}"


def _product(p: ConvProblem, count: int) -> ConvProblem:
    """The product of weights and columns of so many pixels."""
    return ConvProblem(
        in_shape=(count,), kernel_shape=(1,), out_shape=(count,), in_dtype=p.acc, kernel_dtype=p.acc, acc=p.acc,
        out_dtype=p.acc, pad=(0,), boundary=("fill",), stride=(1,), dilation=(1,),
        channels=p.channels * p.kernel_shape[0] * p.kernel_shape[1], filters=p.filters, groups=p.groups,
        channels_last=p.channels_last,
    )  # fmt: skip


def _sizes(p: ConvProblem) -> dict[int, None]:
    """Pixels of a whole block, and of the last one of an image."""
    pixels, block = p.out_shape[0] * p.out_shape[1], block_of(p)
    return dict.fromkeys((block, (pixels - 1) % block + 1))


def _parts(problem: DeformGradientProblem) -> list[Any]:
    """The products for the gradients of weights and columns."""
    products = [_product(problem.deform.conv, count) for count in _sizes(problem.deform.conv)]
    turned = [replace(p, channels=p.filters, filters=p.channels) for p in products]
    return [*map(WeightGradientProblem, products), *turned]


class DeformGradient:
    """Executes a `DeformGradientProblem` block by block."""

    def __init__(self, problem: DeformGradientProblem, engine: Any):
        self.problem = problem
        p = problem.deform.conv
        parts = [executor_of(part, engine) for part in _parts(problem)]
        sizes = list(_sizes(p))
        self.of_weights = dict(zip(sizes, parts, strict=False))
        self.of_columns = dict(zip(sizes, parts[len(sizes) :], strict=True))
        self.kernels = {name: engine.kernel(name, p.acc) for name in KERNELS}
        self._bind = lru_cache(maxsize=256)(self._new_bounds)

    def __call__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        p, (offset, mask, places, weights) = self.problem.deform.conv, fill
        by_value()
        depth, pixels, block = self._depth, p.out_shape[0] * p.out_shape[1], block_of(p)
        used = costs.threads_worth_using(8 * depth * block, 8 * depth * block, threads)
        gradient = bias.reshape(p.batch, p.filters, pixels)
        turned = self._turned(w)
        total = np.zeros((p.filters, depth // p.groups, 1), p.acc)
        part = np.empty_like(total)
        out[...] = 0
        for n in range(p.batch):
            masked = None if mask is None else mask[n]
            flat = places[n].reshape(len(places[n]), pixels)
            steps = (
                x.strides[1:],
                out.strides[1:],
                offset.strides[1:],
                (0, 0, 0) if mask is None else mask.strides[1:],
            )
            for first in range(0, pixels, block):
                count = min(block, pixels - first)
                columns = np.empty((count, depth) if p.channels_last else (depth, count), p.acc)
                planes = columns.T[None] if p.channels_last else columns[None]
                bounds = self._bind(*steps, flat.strides[0], first, count, used)
                above = gradient[n : n + 1, :, first : first + count]
                run(self.kernels["deform"], bounds[0], x[n], offset[n], columns, masked, None, used)
                self.of_weights[count](planes, above, part, None, 0, threads)
                total += part
                self.of_columns[count](above, turned, planes, None, 0, threads)
                run(self.kernels["deform_places"], bounds[1], x[n], offset[n], flat[:, first:], masked, columns, used)
                run(self.kernels["deform_image"], bounds[2], columns, offset[n], out[n], masked, None, used)
        weights[...] = self._as_weights(total)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights and their gradient not counted."""
        p = self.problem.deform.conv
        columns = block_of(p) * self._depth * np.dtype(p.acc).itemsize
        parts = (*self.of_weights.values(), *self.of_columns.values())
        return columns + max(part.workspace(threads) for part in parts)

    @property
    def _depth(self) -> int:
        p = self.problem.deform.conv
        return p.channels * p.kernel_shape[0] * p.kernel_shape[1]

    def _turned(self, w: np.ndarray) -> np.ndarray:
        """Weights (row of the columns, filter of its group, 1)."""
        p = self.problem.deform.conv
        taps = w.transpose(0, 2, 3, 1) if p.channels_last else w
        matrices = taps.reshape(p.groups, p.filters // p.groups, -1)
        return np.ascontiguousarray(matrices.transpose(0, 2, 1)).reshape(self._depth, -1, 1)

    def _as_weights(self, total: np.ndarray) -> np.ndarray:
        """The gradient (filter, row of the columns of its group, 1) in the shape of the weights."""
        p = self.problem.deform.conv
        if p.channels_last:
            return total.reshape(p.filters, *p.kernel_shape, -1).transpose(0, 3, 1, 2)
        return total.reshape(p.filters, -1, *p.kernel_shape)

    def _new_bounds(
        self, x: Steps, image: Steps, offset: Steps, mask: Steps, place_c: int, first: int, count: int, threads: int
    ) -> tuple[Bound, Bound, Bound]:
        """The records of a block of pixels, for columns, for offsets and mask, and for the image."""
        problem = self.problem.deform
        values, run_of = block_values(problem, x, offset, mask, first, count)
        length, runs = values["run"], len(run_of)
        pieces = max(1, min(length // LEAST_CHANNELS, -(-threads * UNITS_PER_THREAD // runs)))
        piece = -(-length // (pieces * LEAST_CHANNELS)) * LEAST_CHANNELS if pieces > 1 else length
        pieces = -(-length // piece)
        itemsize = np.dtype(problem.conv.acc).itemsize
        scratch = (UNIT_PIXELS * 4 * 16 + length * itemsize + 63) // 64 * 64
        more = {"scratch_bytes": 0, "place_c": place_c, "pieces": pieces, "piece": piece}
        image_steps = dict(zip(("x_c", "x_row", "x_col"), image, strict=True))
        units = -(-count // UNIT_PIXELS)
        return (
            Bound(record(DEFORM_FIELDS, {**values, "scratch_bytes": scratch}), units, scratch, (), (run_of,)),
            Bound(record(DEFORM_GRADIENT_FIELDS, {**values, **more}), units, 0, (), (run_of,)),
            Bound(record(DEFORM_GRADIENT_FIELDS, {**values, **more, **image_steps}), runs * pieces, 0, (), (run_of,)),
        )
