"""Depthwise convolution with very large kernels, by Fourier transforms of overlapping blocks: a kernel for each plane.

The transforms, their blocks and the record are those of `fastconv.algorithms.overlap`; the images of a batch are planes that
share a kernel.  Spectra are made by one launch for all kernels and, with weights that are prepared, once.

What errors transforms may make is the same as there (`fastconv.choice`): weights of similar magnitude qualify, and sums that are
not finite are made again directly, as all are where that is estimated to be faster.
"""

from __future__ import annotations

from dataclasses import replace
from math import log2, prod, sqrt
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import Bound
from fastconv.algorithms.overlap import Overlap, best_blocks
from fastconv.algorithms.overlap import refuse as refuse_blocks
from fastconv.algorithms.parts import executor_of
from fastconv.engines.contract import ACTIVATIONS, OVERLAP_FIELDS, slope_bits
from fastconv.engines.threads._threads import launch
from fastconv.problem import ConvProblem
from fastconv.replay import by_value, kept_weights

__all__ = ["OverlapPlanes", "refuse"]

# Fewer taps along an axis are never worth it.
LEAST_ROW = 11
# Operations of the direct sum of planes, a nanosecond on one thread (float64: half as many).
DIRECT_FLOPS_A_NS = 150.0
LEAST_GAIN = 1.15


def refuse(problem: ConvProblem) -> str | None:
    """Why transforms cannot do a problem, or None."""
    if not isinstance(problem, ConvProblem) or problem.precision not in costs.COMPARABLE:
        return "is for convolutions, and not for strict precision"
    p = problem
    if p.channels_last or p.ndim != 2 or not 1 < p.groups == p.channels == p.filters or min(p.kernel_shape) < LEAST_ROW:
        return f"is for depthwise kernels of {LEAST_ROW}x{LEAST_ROW} taps and more, of planes"
    if {p.in_dtype, p.kernel_dtype, p.out_dtype, p.acc} not in ({"float32"}, {"float64"}):
        return "is for floating-point numbers of one type"
    if max(p.stride + p.dilation) > 1 or p.exact or p.saturate:
        return "is for steps of 1"
    of_planes = _of_planes(p)
    why = refuse_blocks(of_planes)
    if why is not None:
        return why
    direct = p.flops / DIRECT_FLOPS_A_NS * (2 if p.acc == "float64" else 1)
    return None if 1e9 * _seconds(p, of_planes) * LEAST_GAIN < direct else "needs more taps to be faster"


def _of_planes(p: ConvProblem) -> ConvProblem:
    """The planes of one channel, which one kernel filters: an image whose first axis is not filtered."""
    return replace(
        p, in_shape=(p.batch, *p.in_shape), out_shape=(p.batch, *p.out_shape), kernel_shape=(1, *p.kernel_shape),
        pad=(0, *p.pad), boundary=(p.boundary[0], *p.boundary), stride=(1, 1, 1), dilation=(1, 1, 1), batch=1, channels=1,
        filters=1, groups=1, bias=False, channels_last=False, activation="", slope=0.0, transforms="overlap", rank=0,
    )  # fmt: skip


def _seconds(p: ConvProblem, of_planes: ConvProblem) -> float:
    """About how long transforms take on one thread, spectra included."""
    blocks = best_blocks(of_planes, 1)
    assert blocks is not None, "refused"
    work = blocks.units + 1
    each = costs.overlap_seconds(
        blocks.points, 1, prod(blocks.lengths), work, np.dtype(p.acc).itemsize, of_planes.nbytes, 1
    )
    return p.channels * each


class OverlapPlanes:
    """Executes a `ConvProblem` by an engine's transforms; what is not finite, or not accurate, directly."""

    operation = "overlap"

    def __init__(self, problem: ConvProblem, engine: Any):
        self.problem = problem
        self.planes = Overlap(_of_planes(problem), engine)
        self.points = 2 * self.planes._blocks(1).points
        self.direct = executor_of(replace(problem, precision="strict"), engine)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        by_value()
        if not self._is_accurate(w):
            self.direct(x, w, out, bias, fill, threads)
            return
        p, inner = self.problem, self.planes
        blocks = inner._blocks(1)
        analysis, convolution = self._bounds(x.strides, w.strides, out.strides)
        scratch = np.empty(convolution.scratch_bytes * threads + 64, np.uint8)

        def spectra() -> np.ndarray:
            made = np.empty(p.channels * inner._spectrum(blocks) * inner.itemsize + 64, np.uint8)
            made = made[-made.ctypes.data % 64 :]
            flipped, zeros = w[:, 0, ::-1, ::-1], np.zeros(2, inner.part)
            launch(inner.kernel, analysis.slots, flipped, None, made, None, zeros, scratch, analysis.units, threads)
            return made

        kept, fills = kept_weights.get(), np.zeros(3 + p.channels, inner.part)
        weights = spectra() if kept is None else kept.get((p, "spectra"), w, spectra)
        fills[:1] = inner._fills(fill)
        fills[3:] = 0 if bias is None else bias
        report = np.zeros(1, np.int64)
        launch(inner.kernel, convolution.slots, x, weights, out, report, fills, scratch, convolution.units, threads)
        if report[0]:
            self.direct(x, w, out, bias, fill, threads)

    def _is_accurate(self, w: np.ndarray) -> bool:
        """Whether the errors of transforms are comparable to those of direct sums, of all kernels: see `fastconv.choice`."""
        weights = np.abs(w[:, 0].reshape(len(w), -1), dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            total, norm = weights.sum(1), np.sqrt(np.square(weights).sum(1))
            allowed = costs.COMPARABLE[self.problem.precision] * sqrt(weights.shape[1]) * total
            return bool((sqrt(self.points * log2(self.points)) * norm <= allowed).all())

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory and of the kernels' spectra."""
        inner = self.planes
        blocks = inner._blocks(1)
        spectra = self.problem.channels * inner._spectrum(blocks) * inner.itemsize
        return max(inner._scratch_bytes(blocks) * threads + spectra, self.direct.workspace(threads))

    def describe(self, threads: int) -> str:
        """How the planes are cut, and about how long it takes on one thread, in words."""
        seconds = _seconds(self.problem, self.planes.problem)
        return f"about {seconds * 1e3:.3g} ms on one, {self.planes._blocks(1)} for each plane"

    def _bounds(self, x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...]) -> tuple[Bound, Bound]:
        """Records of both launches, for all kernels."""
        p, inner = self.problem, self.planes
        bounds = inner._bind((x[0], *x[2:]), (0, -w[2], -w[3]), (out[0], *out[2:]), 1)
        spectrum = bounds.spectrum * inner.itemsize
        own = {"x_kernel": x[1], "out_kernel": out[1], "w_kernel": spectrum, "biases": 3}
        own |= {"activation": ACTIVATIONS[p.activation], "slope": slope_bits(p.slope)}
        return (
            _with(bounds.analysis, {"x_kernel": w[0], "out_kernel": spectrum}, p.channels),
            _with(bounds.convolution, own, p.channels),
        )


def _with(bound: Bound, values: dict[str, int], kernels: int) -> Bound:
    """A record with other values in some slots, and as many units for each kernel."""
    slots = bound.slots.copy()
    for name, value in values.items():
        slots[OVERLAP_FIELDS.index(name)] = value
    return replace(bound, slots=slots, units=bound.units * kernels)
