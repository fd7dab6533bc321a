"""Adjoints of convolutions: each stride phase of the result is an ordinary convolution.

Of the outputs ``p = q * stride + r`` of one phase r, only the taps k with ``k * dilation = r + pad`` modulo the stride reach
any, and those see the input at ``q`` plus a constant: a cross-correlation of stride 1 with some of the taps, flipped.  It is
written to every stride-th element of the result by whatever the table has for it on the same engine.

Beyond borders that continue the image, the adjoint on the continued domain is folded back onto the image.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from fastconv.algorithms import fold
from fastconv.algorithms.continued import fold_back, is_continued, unfolded
from fastconv.algorithms.conv import BLOCK_SLOT, NS_PACKED, Conv, kernel_of, prefers_filters
from fastconv.algorithms.geometry import PARTS
from fastconv.algorithms.panels import Panels, refuse_kernel
from fastconv.algorithms.parts import algorithm_of, are_ready, executor_of, lacking
from fastconv.algorithms.transposed_weights import TransposedWeights
from fastconv.algorithms.turned_pixels import TurnedPixels, few_images, turns
from fastconv.algorithms.weights import AdjointPacking
from fastconv.algorithms.winograd import Winograd
from fastconv.problem import ConvProblem, FoldProblem, Problem, TransposedProblem
from fastconv.replay import by_value, contiguous, kept_weights

__all__ = ["Transposed", "beyond_cython", "beyond_numba", "is_ready", "refuse"]


# Bytes of images that are computed phase by phase, if their weights are few: all images read them again.
TOGETHER_BYTES, FEW_WEIGHTS = 4 << 20, 1 << 15
# A weight that is transposed for lanes of pixels, ns.  From so many pixels on, planes of one tap repay it: 256 to 1024 channels,
# 8 images of 14x14, 188 and 216 GFLOP/s.
NS_TRANSPOSED, MANY_PIXELS = 0.5, 1024
# Weights of one tap are read where they lie for so few pixels: 160 to 960 channels at 7x7 0.055 to 0.073 ms rather than 0.086 to
# 0.093, 64 to 384 at 14x14 0.029 to 0.041 rather than 0.054 to 0.087.  More pixels repay packing (8 images of 7x7, 960 to 320
# channels, 10% slower); so do rows so far apart, which share sets of the caches: 1024 to 512 at 14x14 0.76 rather than 1.3 ms.
ROWS_PIXELS, CROWDED_BYTES = 256, 2048


def refuse(problem: Problem) -> str | None:
    """Why phases cannot do a problem, or None."""
    if not isinstance(problem, TransposedProblem):
        return "is for transposed convolutions"
    if problem.conv.saturate or problem.conv.exact:
        return "adds in its own order"
    if is_continued(problem.conv):
        return "applies no activation to what is folded" if problem.activation else None
    return None


def beyond_cython(problem: TransposedProblem) -> str | None:
    """Why the Cython engine cannot do the phases, or None."""
    return _beyond("cython", problem)


def beyond_numba(problem: TransposedProblem) -> str | None:
    """Why the Numba engine cannot do the phases, or None."""
    return _beyond("numba", problem)


def is_ready(problem: TransposedProblem, engine: Any) -> bool:
    """Whether the kernels of all phases are compiled."""
    spread, steps = _spread(problem), _steps_in_full(problem)
    if not (are_ready(steps, engine) and (spread is None or fold.is_ready(spread, engine))):
        return False
    if any(algorithm_of(step, engine) != "conv" for step in steps):
        return True
    most = sorted(steps, key=lambda step: step.flops)[-1:]
    return all(engine.is_ready("conv", *kernel_of(step, True)) for step in most if _prefers_filters(step, engine))


def _prefers_filters(step: ConvProblem, engine: Any) -> bool:
    """Whether lanes are channels of the result, if weights go there at once rather than transposed first."""
    return prefers_filters(step, engine, NS_PACKED - NS_TRANSPOSED)


def _beyond(engine: str, problem: TransposedProblem) -> str | None:
    step = lacking(_steps_in_full(problem), engine)
    return None if step is None else f"is made of convolutions, of which it cannot do {step}"


def _steps_in_full(problem: TransposedProblem) -> list[ConvProblem]:
    """The convolutions that a problem is made of, whatever the input continues with."""
    return _steps(unfolded(problem) if is_continued(problem.conv) else problem)


# -- phases ----------------------------------------------------------------------------------


class Line(NamedTuple):
    """One phase along one axis: outputs ``first + q * stride``, taps ``tap - j * tap_step``, the last first."""

    first: int
    outputs: int
    tap: int
    taps: int
    begin: int  # inputs before it are read by none
    pad: int
    dilation: int


class Phase(NamedTuple):
    """A convolution, and the parts of the arrays that are its own."""

    conv: ConvProblem
    lines: tuple[Line, ...]


def _lines(p: ConvProblem, axis: int) -> list[Line]:
    """The phases along an axis that some tap reaches."""
    stride, dilation, taps = p.stride[axis], p.dilation[axis], p.kernel_shape[axis]
    step = stride // gcd(stride, dilation)
    found = []
    for first in range(min(stride, p.in_shape[axis])):
        k = [k for k in range(min(step, taps)) if (first + p.pad[axis] - k * dilation) % stride == 0]
        if not k:
            continue
        count = len(range(k[0], taps, step))
        last = k[0] + (count - 1) * step
        begin = (first + p.pad[axis] - last * dilation) // stride  # the input under the last tap of the first output
        outputs = len(range(first, p.in_shape[axis], stride))
        if begin < p.out_shape[axis]:
            found.append(Line(first, outputs, last, count, max(begin, 0), max(-begin, 0), step * dilation // stride))
    return found


def _phases(problem: TransposedProblem) -> list[Phase]:
    p = problem.conv
    found = []
    for lines in product(*(_lines(p, axis) for axis in range(p.ndim))):
        conv = replace(
            p, in_shape=tuple(n - line.begin for n, line in zip(p.out_shape, lines, strict=True)),
            kernel_shape=tuple(line.taps for line in lines), out_shape=tuple(line.outputs for line in lines),
            in_dtype=p.out_dtype, out_dtype=p.in_dtype, pad=tuple(line.pad for line in lines), stride=(1,) * p.ndim,
            dilation=tuple(line.dilation for line in lines), channels=p.filters, filters=p.channels, bias=problem.bias,
            boundary=("fill",) * p.ndim, activation=problem.activation, slope=problem.slope, rank=0, transforms="",
            parts=(1, 1), whole=False,
        )  # fmt: skip
        found.append(Phase(conv, lines))
    return found


def _taken(p: ConvProblem, phase: Phase) -> tuple[slice, ...]:
    """The taps of a phase, the last first."""
    taken = []
    for line, stride, dilation in zip(phase.lines, p.stride, p.dilation, strict=True):
        step = stride // gcd(stride, dilation)
        end = line.tap - line.taps * step
        taken.append(slice(line.tap, None if end < 0 else end, -step))
    return tuple(taken)


def _untouched(problem: TransposedProblem) -> ConvProblem:
    """What is stored where no tap reaches, a pixel of it: the activation of the bias."""
    p = problem.conv
    ones = (1,) * p.ndim
    return replace(
        p, in_shape=ones, kernel_shape=ones, out_shape=ones, in_dtype=p.out_dtype, out_dtype=p.in_dtype, pad=(0,) * p.ndim,
        stride=ones, dilation=ones, batch=1, channels=p.filters, filters=p.channels, bias=problem.bias,
        boundary=("fill",) * p.ndim, activation=problem.activation, slope=problem.slope, rank=0, transforms="",
        parts=(1, 1), whole=False,
    )  # fmt: skip


def _all_reached(problem: TransposedProblem) -> bool:
    p = problem.conv
    return all(len(_lines(p, a)) == min(p.stride[a], p.in_shape[a]) for a in range(p.ndim))


def _steps(problem: TransposedProblem) -> list[ConvProblem]:
    """The convolutions that a problem is made of."""
    fixed = [_untouched(problem)] if problem.activation and not _all_reached(problem) else []
    return list(dict.fromkeys([*(phase.conv for phase in _phases(problem)), *fixed]))


def _spread(problem: TransposedProblem) -> FoldProblem | None:
    """What puts the pixels of kernels of one tap between zeros, some images at a time; None where it cannot."""
    p = problem.conv
    reached = all(-(-n // stride) == out for n, stride, out in zip(p.in_shape, p.stride, p.out_shape, strict=True))
    if prod(p.kernel_shape) > 1 or prod(p.stride) == 1 or any(p.pad) or p.ndim != 2 or not reached:
        return None
    if problem.bias or problem.activation or p.in_dtype not in ("float32", "float64"):
        return None
    nbytes = p.channels * prod(p.out_shape) * np.dtype(p.in_dtype).itemsize
    images = max(n for n in range(1, p.batch + 1) if p.batch % n == 0 and (n == 1 or n * nbytes <= TOGETHER_BYTES))
    ones = (1, 1)
    return FoldProblem("fold", p.in_shape, ones, p.out_shape, p.in_dtype, (0, 0), p.stride, ones, images, p.channels)


def _together(p: ConvProblem) -> int:
    """Images whose phases are computed one after the other: what all read, and write parts of, stays in the caches."""
    if prod(p.stride) == 1 or p.filters * p.channels // p.groups * prod(p.kernel_shape) > FEW_WEIGHTS:
        return p.batch
    outputs, inputs = p.filters * prod(p.out_shape), p.channels * prod(p.in_shape)
    most = TOGETHER_BYTES // ((outputs + inputs) * np.dtype(p.acc).itemsize)
    return max((n for n in range(1, p.batch + 1) if p.batch % n == 0 and n <= most), default=1)


# -- execution -------------------------------------------------------------------------------


class Transposed:
    """Executes a `TransposedProblem` as convolutions of its phases."""

    operation = "conv"

    def __init__(self, problem: TransposedProblem, engine: Any):
        self.problem = problem
        self.continued = is_continued(problem.conv)
        if self.continued:
            self.inner = Transposed(unfolded(problem), engine)
            return
        spread = _spread(problem)
        self.spread = None if spread is None else fold.Fold(spread, engine)
        self.engine, self.complete = engine, _all_reached(problem)
        self.turns = turns(problem.conv, engine) and self.complete and spread is None
        self._plan(problem, _together(problem.conv) if spread is None else spread.batch)
        self.turned: TurnedPixels | None = None
        if self.packs and self.turns:
            p, pixels = problem.conv, prod(problem.conv.in_shape)
            self._plan(problem, few_images(p))
            self.turned = TurnedPixels(self.images, p.channels, pixels, p.in_dtype, engine)

    def _plan(self, problem: TransposedProblem, images: int) -> None:
        """The phases of so many images at a time, and what computes them."""
        engine, self.images = self.engine, images
        problem = replace(problem, conv=replace(problem.conv, batch=images))
        self.phases = _phases(problem)
        self.weights = TransposedWeights(problem.conv, [_taken(problem.conv, phase) for phase in self.phases], engine)
        self.executors = {step: executor_of(step, engine) for step in _steps_in_full(problem)}
        self.packings = dict[tuple[int, ...], AdjointPacking]()
        self.adjoint = self._points()
        self.packs = self._packs()
        self.reader = self._reader()
        if self.packs:
            rows = sum(len(taken) for taken in self._taps()) * problem.conv.filters // problem.conv.groups
            for phase in self.phases:
                self.executors[phase.conv] = Conv(phase.conv, engine, filter_lanes=True, weight_rows=rows)

    def __call__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        if self.continued:
            self._folded(x, w, out, bias, threads)
            return
        if not self.complete and self.spread is None:
            self._untouched(out, bias, threads)
        weights: list[np.ndarray] = []
        turned = self.turned if out.flags.c_contiguous else None
        pixels = None if turned is None else np.empty((self.images, *out.shape[2:], out.shape[1]), out.dtype)
        for first in range(0, len(x), self.images):
            images = slice(first, first + self.images)
            if self.spread is None:
                results = out[images] if pixels is None else np.moveaxis(pixels, -1, 1)
                arrays = [self._arrays(x[images], results, phase) for phase in self.phases]
            else:
                arrays = [(x[images], self._pixels(out))]
            reader = self._reads(arrays)
            if not weights:
                own = contiguous(w, self.problem.conv.acc) if reader else None
                weights = self._weights(w, arrays, threads) if own is None else [own]
            for phase, (inputs, outputs), own in zip(self.phases, arrays, weights, strict=True):
                executor = reader or self.executors[phase.conv]
                (executor.compute if reader or self.packs else executor)(inputs, own, outputs, bias, 0, threads)
                if self.spread is not None:
                    self.spread(outputs[:, :, None, None], None, out[images], None, 0, threads)
            if turned is not None and pixels is not None:
                turned(pixels, out[images], threads)

    def _pixels(self, out: np.ndarray) -> np.ndarray:
        """Memory for the pixels that are spread over the result, in its layout."""
        p = self.problem.conv
        if out.strides[1] == out.itemsize and p.channels > 1:
            return np.moveaxis(np.empty((self.images, *p.out_shape, p.channels), out.dtype), -1, 1)
        return np.empty((self.images, p.channels, *p.out_shape), out.dtype)

    def _arrays(self, x: np.ndarray, out: np.ndarray, phase: Phase) -> tuple[np.ndarray, np.ndarray]:
        """What a phase reads, and what it writes."""
        outputs = (slice(line.first, None, s) for line, s in zip(phase.lines, self.problem.conv.stride, strict=True))
        inputs = (slice(line.begin, None) for line in phase.lines)
        return x[(slice(None), slice(None), *inputs)], out[(slice(None), slice(None), *outputs)]

    def _taps(self) -> list[np.ndarray]:
        """The taps of each phase, numbered, in its order."""
        shape = self.problem.conv.kernel_shape
        taps = np.arange(prod(shape)).reshape(shape)
        return [taps[_taken(self.problem.conv, phase)].ravel() for phase in self.phases]

    def _points(self) -> bool:
        """Whether all is one convolution that reads the weights as they are, taking them to its points."""
        convs = [phase.conv for phase in self.phases]
        whole = len(convs) == 1 and convs[0].kernel_shape == self.problem.conv.kernel_shape
        if not whole or not isinstance(executor := self.executors[convs[0]], Winograd) or executor.packs_directly:
            return False
        self.executors[convs[0]] = Winograd(convs[0], self.engine, adjoint=True)
        return True

    def _reader(self) -> Conv | Panels | None:
        """What reads weights of one tap where they lie, as rows of channels, if anything can."""
        p, engine = self.problem.conv, self.engine
        if prod(p.kernel_shape) > 1 or p.groups > 1 or p.acc not in ("float32", "float64") or len(self.phases) != 1:
            return None
        conv, itemsize = self.phases[0].conv, np.dtype(p.acc).itemsize
        if type(self.executors[conv]) not in (Conv, Panels) or not getattr(engine, "READS_ROWS", False):
            return None
        if p.batch * prod(p.out_shape) > ROWS_PIXELS or p.channels * itemsize % CROWDED_BYTES == 0:
            return None
        if refuse_kernel(conv) is None:
            return Panels(conv, engine, rows=True)
        whole = p.channels % (engine.GEMM[1] // 2 // itemsize) == 0
        return Conv(conv, engine, filter_lanes=True, rows=True) if whole and (p.channels_last or self.packs) else None

    def _reads(self, arrays: list[tuple[np.ndarray, np.ndarray]]) -> Conv | Panels | None:
        """What reads the weights of a call where they lie: weights that are kept are packed once."""
        reader = None if kept_weights.get() is not None else self.reader
        lacking = isinstance(reader, Panels) and not reader.is_dense(*(array.strides for array in arrays[0]))
        return None if lacking else reader

    def _packs(self) -> bool:
        """Whether the weights of all phases are packed at once, as rows of channels, rather than transposed first."""
        p, engine = self.problem.conv, self.engine
        convs = sorted((phase.conv for phase in self.phases), key=lambda conv: conv.flops)
        if p.acc in PARTS or not convs or any(type(self.executors[conv]) not in (Conv, Panels) for conv in convs):
            return False
        if (
            prod(p.kernel_shape) == 1
            and type(self.executors[convs[-1]]) is Panels
            and p.batch * prod(p.out_shape) >= MANY_PIXELS
        ):
            return False
        return self.turns or _prefers_filters(convs[-1], engine)

    def _weights(self, w: np.ndarray, arrays: list[tuple[np.ndarray, np.ndarray]], threads: int) -> list[np.ndarray]:
        """The weights of each phase, as its executor reads them."""
        if self.adjoint:
            return [w]
        return self._packed(w, arrays, threads) if self.packs else self.weights(w, threads)

    def _packed(self, w: np.ndarray, arrays: list[tuple[np.ndarray, np.ndarray]], threads: int) -> list[np.ndarray]:
        """The packed weights of each phase."""
        executors = [self.executors[phase.conv] for phase in self.phases]
        bounds = [executor.bind(*own, threads)[0] for executor, own in zip(executors, arrays, strict=True)]
        blocks = tuple(int(bound.slots[BLOCK_SLOT]) for bound in bounds)
        if blocks not in self.packings:
            self.packings[blocks] = AdjointPacking(self.engine, self.problem.conv, self._taps(), blocks)

        packing, kept = self.packings[blocks], kept_weights.get()

        def packed() -> np.ndarray:
            return packing.weights(contiguous(w, self.problem.conv.acc), threads)

        return packing.of_phases(packed() if kept is None else kept.get((self.problem, blocks), w, packed))

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory; what is folded is as large as the image."""
        if self.continued:
            p = self.inner.problem.conv
            size = p.batch * p.channels * int(np.prod(p.in_shape)) * np.dtype(p.acc).itemsize
            return size + self.inner.workspace(threads)
        spread = 0 if self.spread is None else self.spread.problem.flops * np.dtype(self.problem.conv.in_dtype).itemsize
        turned = 0 if self.turned is None else prod(self.turned.shape) * np.dtype(self.problem.conv.in_dtype).itemsize
        return spread + turned + max((executor.workspace(threads) for executor in self.executors.values()), default=0)

    def _untouched(self, out: np.ndarray, bias: Any, threads: int) -> None:
        """Fill the result with what stands where no tap reaches."""
        p = self.problem.conv
        by_value()  # not by a kernel
        values = np.zeros((1, p.channels, *(1,) * p.ndim), p.acc)
        if self.problem.activation:
            step = _untouched(self.problem)
            x, w = (
                np.zeros((1, p.filters, *(1,) * p.ndim)),
                np.zeros((p.channels, p.filters // p.groups, *(1,) * p.ndim)),
            )
            values = values.astype(p.in_dtype)
            self.executors[step](x.astype(p.out_dtype), w.astype(p.kernel_dtype), values, bias, 0, threads)
        elif bias is not None:
            values += np.asarray(bias).astype(p.acc).reshape(values.shape)
        with np.errstate(all="ignore"):
            out[...] = values

    def _folded(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, threads: int) -> None:
        p = self.problem.conv
        by_value()
        c = self.inner.problem.conv
        total = np.empty((c.batch, c.channels, *c.in_shape), c.in_dtype)
        with np.errstate(all="ignore"):
            self.inner(x, w, total, None, 0, threads)
            total = fold_back(p, total)
            if bias is not None:
                total = total + np.asarray(bias).astype(p.acc).reshape(-1, *(1,) * p.ndim)
            out[...] = total
