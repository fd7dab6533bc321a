"""Filters made of one-dimensional passes, one axis after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv.config import current_engine, current_precision
from fastconv.device import new_array, on_device
from fastconv.ndimage.arguments import DTYPES, output_array, writable
from fastconv.ndimage.linear import as_real, correlate_into, in_rows, lie_in_rows, line_order
from fastconv.plan import execute
from fastconv.problem import ConvProblem, LinesProblem, SeparableProblem, accumulator
from fastconv.validate import ArgumentTypeError, as_array, type_name

__all__ = ["Line", "Pass", "checked_image", "correlate_combined", "correlate_passes", "result_array", "wraps_alike"]

# Passes are joined to one kernel of so many taps: up to there memory is what they cost.
DIRECT_TAPS = 27
# Three passes over rows of so many integers are faster than one sum of 27 (100x100x100 uint8: 0.5 ms, not 0.8).
NARROW = 16
# Fewer elements than this along axes behind the filtered ones are columns, too.
FEW = 64
# The smallest product of weights that is still exact in float32.
LEAST_PRODUCT = 1e-30


@dataclass(frozen=True, eq=False)
class Line:
    """The weights of a pass, and what must be known of them."""

    weights: np.ndarray
    order: str = field(init=False)  # in which SciPy sums them
    whole: bool = field(init=False)  # small integers
    least: float = field(init=False)  # smallest magnitude but 0

    def __post_init__(self) -> None:
        size = np.abs(self.weights)
        object.__setattr__(self, "order", line_order(self.weights))
        object.__setattr__(self, "whole", bool((np.trunc(size) == size).all() and size.sum() <= 4))
        object.__setattr__(self, "least", float(size[size > 0].min(initial=1.0)))
        self.weights.flags.writeable = False


class Pass(NamedTuple):
    """A correlation along one axis."""

    axis: int
    line: Line
    rule: str


def checked_image(input: Any) -> np.ndarray:
    """The argument as an array that filters take."""
    image = as_array("input", input, empty=True)
    if type_name(image.dtype) not in DTYPES:
        raise ArgumentTypeError(f"input must have one of the dtypes {', '.join(DTYPES)}; got {image.dtype}")
    return image


def result_array(output: Any, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The array to return and the same to write to; unlike `correlate`, no dtype is promoted."""
    if image.dtype.kind == "c" and isinstance(output, type | np.dtype):
        output = np.dtype(output).name  # names are taken at their word
    return output_array(output, image, image)


def wraps_alike(image: np.ndarray, target: np.ndarray) -> bool:
    """Whether sums with small whole weights, stored pass by pass, are sums modulo the range of `target`.

    Sums of 16-bit integers fit in 32 bits, so that their conversion from double wraps.  (What does not
    fit in int32 becomes its smallest value; what is stored in uint64 may be rounded when it is read.)
    """
    small = image.dtype.kind in "biu" and image.dtype.itemsize <= 2
    return small and target.dtype.kind in "iu" and target.dtype != np.uint64


def correlate_passes(
    image: np.ndarray, target: np.ndarray, passes: Sequence[Pass], cval: np.ndarray, threads: int | None
) -> None:
    """Correlate along one axis after another into `target`, which may overlap the image.

    As in SciPy, what a pass leaves is stored in the dtype of `target`.
    """
    if not passes or image.size == 0:
        target[...] = image
    elif _may_be_joined(image, target, passes, cval):
        _correlate_joined(image, target, tuple(sorted(passes, key=lambda step: step.axis)), cval, threads)
    elif len(passes) > 1 and _may_be_fused(image, target, passes, cval):
        _correlate_fused(image, target, tuple(sorted(passes, key=lambda step: step.axis)), cval, threads)
    elif len(passes) > 1 and _in_double(image, target) and not _on_gpu(image):
        _correlate_integers(image, target, passes, cval, threads)
    elif len(passes) > 1 and not target.dtype.isnative:  # passes could not read it
        native = np.empty(target.shape, target.dtype.newbyteorder("="))
        correlate_passes(image, native, passes, cval, threads)
        target[...] = native
    else:
        spare = new_array(target.shape, target.dtype, (target,)) if len(passes) > 1 else target
        for i, (axis, line, rule) in enumerate(passes, 1):
            destination = spare if (len(passes) - i) % 2 else target
            around = [1] * image.ndim
            around[axis] = line.weights.size
            pad = tuple(size // 2 for size in around)
            weights = line.weights.reshape(around)
            correlate_into(destination, image, weights, pad, (rule,) * image.ndim, cval, threads, line.order)
            image = destination


def _on_gpu(image: np.ndarray) -> bool:
    """Whether passes are made on a GPU, whose kernels neither combine results nor continue those of a pass."""
    return current_engine() == "cuda" or on_device(image)


def _in_double(image: np.ndarray, target: np.ndarray) -> bool:
    """Whether sums are made in double and cut to integers, which the next pass reads."""
    return target.dtype.kind in "iu" and image.dtype.kind in "biuf" and target.dtype.isnative


def _correlate_integers(
    image: np.ndarray, target: np.ndarray, passes: Sequence[Pass], cval: np.ndarray, threads: int | None
) -> None:
    taps = tuple(step.line.weights.size for step in passes)
    problem = LinesProblem(
        shape=image.shape,
        axes=tuple(step.axis for step in passes),
        taps=taps,
        pad=tuple(size // 2 for size in taps),
        boundary=tuple(step.rule for step in passes),
        orders=tuple(step.line.order for step in passes),
        dtype=type_name(image.dtype),
        out_dtype=type_name(target.dtype),
    )
    weights = np.concatenate([step.line.weights for step in passes])
    with writable(target, image) as out:
        execute(problem, image[None, None], weights, out[None, None], fill=np.asarray(cval), threads=threads)


def _may_be_joined(image: np.ndarray, target: np.ndarray, passes: Sequence[Pass], cval: np.ndarray) -> bool:
    """Whether one correlation, with the products of the weights, has the same result sooner."""
    lines = [step.line for step in passes]
    if len(lines) == 1 or _continues(passes, cval) or prod(line.weights.size for line in lines) > DIRECT_TAPS:
        return False
    if target.dtype.kind in "biu":
        solid = len(lines) > 2 and image.shape[-1] >= NARROW
        return not solid and wraps_alike(image, target) and all(line.whole for line in lines)
    fused = _may_be_fused(image, target, passes, cval)
    last = max(step.axis for step in passes)
    if fused and prod(image.shape[last + 1 :]) < FEW:
        return False
    return prod(line.least for line in lines) >= LEAST_PRODUCT


def _may_be_fused(image: np.ndarray, target: np.ndarray, passes: Sequence[Pass], cval: np.ndarray) -> bool:
    """Whether what a pass leaves need not be stored: passes follow each other where it lies in the cache."""
    same = target.dtype.kind in "fc" and type_name(image.dtype) == type_name(target.dtype)
    lines = all(step.line.weights.size > 1 for step in passes)
    fills = target.dtype.kind == "c" and _fills(passes, cval)
    if _continues(passes, cval) and not _averages(passes):  # then SciPy's order tells at the border
        axes = [step.axis for step in passes]
        fills = fills or _on_gpu(image) or axes != sorted(axes)
    return same and lines and not fills and current_precision() != "strict"


def _continues(passes: Sequence[Pass], cval: np.ndarray) -> bool:
    """Whether each pass continues with a value of its own what the one before has left."""
    return len(passes) > 1 and _fills(passes, cval)


def _averages(passes: Sequence[Pass]) -> bool:
    """Whether each pass makes the same number of equal ones: it does so beyond the border."""
    return all(abs(step.line.weights.sum() - 1) < 1e-14 for step in passes)


def _fills(passes: Sequence[Pass], cval: np.ndarray) -> bool:
    """Whether the image continues with another number than 0."""
    return bool(cval != 0) and any(step.rule == "fill" for step in passes)


def correlate_combined(
    image: np.ndarray, target: np.ndarray, terms: Sequence[Sequence[Pass]], squared: bool, cval: np.ndarray,
    threads: int | None,
) -> bool:  # fmt: skip
    """Add correlations up in `target`, or take the root of the sum of two squares; False where that cannot be done."""
    if len(terms) < 2 or (squared and (len(terms) > 2 or target.dtype.kind == "c")) or _on_gpu(image):
        return False
    for passes in terms:
        behind = prod(image.shape[max(step.axis for step in passes) + 1 :])
        if len(passes) > 2 or (len(passes) == 2 and behind >= FEW) or not _may_be_fused(image, target, passes, cval):
            return False
    lines = [step for passes in terms for step in passes]
    image = in_rows(image) if image.dtype.kind == "c" else image
    if image.size and [len(passes) for passes in terms] == [1, 1] and not squared:
        last = max(step.axis for step in lines)
        if prod(image.shape[last + 1 :]) < FEW:
            _correlate_fused(image, target, tuple(sorted(lines, key=lambda step: step.axis)), cval, threads, "cross")
            return True
    if image.size:
        ways = ("square", "root") if squared else ("", *("add",) * (len(terms) - 1))
        with writable(target, image) as out:
            for passes, how in zip(terms, ways, strict=True):
                _correlate_fused(image, out, tuple(sorted(passes, key=lambda step: step.axis)), cval, threads, how)
    return True


def _correlate_fused(
    image: np.ndarray, target: np.ndarray, passes: tuple[Pass, ...], cval: np.ndarray, threads: int | None,
    combined: str = "",
) -> None:  # fmt: skip
    shape, rules = [1] * image.ndim, ["fill"] * image.ndim
    for axis, line, rule in passes:
        shape[axis], rules[axis] = line.weights.size, rule
    with writable(target, image) as out:
        image = in_rows(image) if out.dtype.kind == "c" else image
        parts = [(image, out, cval)]
        if out.dtype.kind == "c" and lie_in_rows(image, out):  # as real images with an axis more
            parts = [(as_real(image), as_real(out), np.real(cval))]
            shape, rules = [*shape, 1], [*rules, "fill"]
        elif out.dtype.kind == "c":
            parts = [(image.real, out.real, np.real(cval)), (image.imag, out.imag, np.imag(cval))]
        weights = np.concatenate([step.line.weights for step in passes])
        for source, destination, fill in parts:
            name = type_name(destination.dtype)
            conv = ConvProblem(
                in_shape=source.shape,
                kernel_shape=tuple(shape),
                out_shape=source.shape,
                in_dtype=name,
                kernel_dtype="float64",
                acc=name,
                out_dtype=name,
                pad=tuple(size // 2 for size in shape),
                boundary=tuple(rules),
                stride=(1,) * source.ndim,
                dilation=(1,) * source.ndim,
            )
            execute(
                SeparableProblem(
                    conv, combined, combined != "cross" and _continues(passes, fill) and not _averages(passes)
                ),
                source[None, None],
                weights,
                destination[None, None],
                fill=np.asarray(fill),
                threads=threads,
            )


def _correlate_joined(
    image: np.ndarray, target: np.ndarray, passes: tuple[Pass, ...], cval: np.ndarray, threads: int | None
) -> None:
    shape, rules = [1] * image.ndim, ["fill"] * image.ndim
    for axis, line, rule in passes:
        shape[axis], rules[axis] = line.weights.size, rule
    kernel, acc = _outer(*(step.line for step in passes)), None
    if target.dtype.kind in "iu":
        kernel, acc = kernel.astype(np.int64), accumulator(target.dtype)
    pad = tuple(size // 2 for size in shape)
    correlate_into(target, image, kernel.reshape(shape), pad, tuple(rules), cval, threads, acc=acc)


@lru_cache(maxsize=16)
def _outer(*lines: Line) -> np.ndarray:
    return reduce(np.multiply.outer, (line.weights for line in lines))
