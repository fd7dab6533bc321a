"""What image filters compute besides one plain correlation: gaps, lines, moving windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from fastconv.problem.convolution import ConvProblem
from fastconv.problem.tags import axes_tag

__all__ = ["LinesProblem", "NormalizedProblem", "SeparableProblem", "WindowProblem"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class NormalizedProblem:
    """The correlation `conv` over the samples of ``x`` that are numbers.

    With ``v`` 0 where ``ext(x)`` is NaN and 1 elsewhere, and indices as in `ConvProblem`,

        num[y] = sum over k of w[k] * v * ext(x)      (a product with v = 0 is 0)
        den[y] = sum over k of w[k] * v

    the result is ``num``, or with ``renormalize`` ``num * (W / den)``, where ``W`` is the sum of all
    ``w[k]``, and NaN where ``den`` is 0.  If ``masked``, the argument `bias` of `fastconv.plan.execute` is a mask of
    the shape of ``x``, bool or bytes, and samples where it is not 0 are missing, too.
    """

    conv: ConvProblem
    renormalize: bool
    masked: bool = False

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sums."""
        return self.conv.flops * (1 + self.renormalize)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.conv.nbytes

    def __str__(self) -> str:
        name = "normalized" if self.renormalize else "omitting"
        return f"{name} {'masked ' * self.masked}{self.conv}"


@dataclass(frozen=True)
class SeparableProblem:
    """The correlation `conv` with a kernel that is an outer product of lines, which are given themselves.

    Its argument `w` is one-dimensional: the weights along each axis of several taps, one axis after another.
    Any order of summation will do, and sums along one axis may be rounded before those along the next.
    ``combined`` tells what is stored of a sum v where the output holds y: "" v, "square" ``v * v``,
    "add" ``y + v``, "root" ``sqrt(y + v * v)``.  With "cross" it is no product: the sums along each of two axes are added.
    If ``continued``, sums along each axis, in order, are continued with the fill value as the image is.
    """

    conv: ConvProblem
    combined: str = ""
    continued: bool = False

    def kernel(self, w: Any) -> np.ndarray:
        """The outer product of the lines."""
        shape = self.conv.kernel_shape
        sizes = [taps for taps in shape if taps > 1]
        return reduce(np.multiply.outer, np.split(np.asarray(w), np.cumsum(sizes)[:-1])).reshape(shape)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the passes."""
        return 2 * self.conv.batch * prod(self.conv.out_shape) * sum(k for k in self.conv.kernel_shape if k > 1)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.conv.nbytes

    def __str__(self) -> str:
        return f"separable {self.conv}" + f" {self.combined}" * bool(self.combined) + " continued" * self.continued


@dataclass(frozen=True)
class LinesProblem:
    """Correlations with one-dimensional kernels, one axis after another; input and output have `shape`.

    Along each of ``axes`` in turn sums are made in SciPy's ``orders`` and truncated to the integers of
    ``out_dtype`` (see `ConvProblem.exact`), which the next pass reads.  ``taps``, ``pad`` and ``boundary`` are
    those of each pass.  The argument `w` of `fastconv.plan.execute` has the weights of all passes, one after another.
    """

    shape: Shape
    axes: Shape
    taps: Shape
    pad: Shape
    boundary: tuple[str, ...]
    orders: tuple[str, ...]
    dtype: str
    out_dtype: str

    @property
    def steps(self) -> tuple[ConvProblem, ...]:
        """The passes."""

        def at(axis: int, value: int, other: int) -> Shape:
            return tuple(value if a == axis else other for a in range(len(self.shape)))

        passes = zip(self.axes, self.taps, self.pad, self.boundary, self.orders, strict=True)
        return tuple(
            ConvProblem(
                in_shape=self.shape,
                kernel_shape=at(axis, taps, 1),
                out_shape=self.shape,
                in_dtype=self.out_dtype if i else self.dtype,
                kernel_dtype="float64",
                acc="float64",
                out_dtype=self.out_dtype,
                pad=at(axis, pad, 0),
                boundary=tuple(rule if a == axis else "fill" for a in range(len(self.shape))),
                stride=at(0, 1, 1),
                dilation=at(0, 1, 1),
                exact=order,
            )
            for i, (axis, taps, pad, rule, order) in enumerate(passes)
        )

    def split(self, w: np.ndarray) -> list[np.ndarray]:
        """The weights of each pass."""
        ends = [sum(self.taps[: i + 1]) for i in range(len(self.taps))]
        return [w[end - taps : end] for end, taps in zip(ends, self.taps, strict=True)]

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sums."""
        return 2 * prod(self.shape) * sum(self.taps)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return prod(self.shape) * (np.dtype(self.dtype).itemsize + np.dtype(self.out_dtype).itemsize)

    def __str__(self) -> str:
        lines = zip(self.axes, self.taps, self.pad, self.boundary, self.orders, strict=True)
        tags = [f"axis{axis}:k{taps}p{pad}/{rule}/{order}" for axis, taps, pad, rule, order in lines]
        return f"lines {axes_tag('i', self.shape)} {' '.join(tags)} {self.dtype}->{self.out_dtype}"


@dataclass(frozen=True)
class WindowProblem:
    """One maximum, minimum, mean or rank over a moving window; input and output have `shape`.

        out[y] = kind over k in the footprint of ext(x)[y + k - pad] + structure[k]

    ``kind`` is "max", "min", "mean" or "rank" (the value that stands at place ``rank``, from 0, of
    the window's sorted values).  ``window`` is the shape of the footprint; along an axis that is
    not filtered it is 1.  ``footprint`` has a byte, 0 or 1, for each tap in C order; empty, it is
    all of them.  Values are compared or summed in ``acc``.  With ``structure`` (the argument `w` of
    `fastconv.plan.execute`, of shape ``window``) numbers are added to the taps before (for "max"
    and "min").  With ``passes``, axes, a full window is taken along these one after the other, and what
    each leaves is stored as ``out_dtype`` (of means this tells; sums in acc "int64" are exact).
    """

    kind: str
    shape: Shape
    window: Shape
    dtype: str
    acc: str
    out_dtype: str
    pad: Shape
    boundary: tuple[str, ...]
    footprint: bytes = b""
    rank: int = 0
    structure: bool = False
    passes: Shape = ()

    @property
    def taps(self) -> int:
        """Number of elements in the footprint."""
        return sum(self.footprint) if self.footprint else prod(self.window)

    @property
    def flops(self) -> int:
        """Comparisons or additions of the direct evaluation."""
        return prod(self.shape) * self.taps

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return prod(self.shape) * (np.dtype(self.dtype).itemsize + np.dtype(self.out_dtype).itemsize)

    def __str__(self) -> str:
        tags = [axes_tag("i", self.shape), axes_tag("w", self.window), axes_tag("p", self.pad)]
        tags += ["/".join(dict.fromkeys(self.boundary)), f"{self.dtype}->{self.acc}->{self.out_dtype}"]
        tags += [f"taps{self.taps}"] * bool(self.footprint) + [f"rank{self.rank}"] * (self.kind == "rank")
        return f"{self.kind}filter " + " ".join(tags + ["structure"] * self.structure)
