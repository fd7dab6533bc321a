"""What is to be computed, with every default resolved.

A problem is immutable and hashable: plans are cached on it.  It knows shapes,
dtypes and the boundary rule, and nothing of memory, engines or user input.

Every convolution, cross-correlation and filter of the library is one
`ConvProblem`, written as a cross-correlation of canonical arrays

    out[n, f, y] = bias[f] + sum over c, k of
                   w[f, c, k] * ext(x)[n, group(f) * C/groups + c,
                                       y * stride + k * dilation - pad]

where ``x`` is ``(N, C, *in_shape)``, ``w`` is ``(F, C/groups, *kernel_shape)``,
``out`` is ``(N, F, *out_shape)``; ``y``, ``k``, ``stride``, ``dilation`` and
``pad`` are vectors over the spatial axes; and ``ext(x)`` continues ``x`` beyond
its borders by the boundary rule of each axis (`fastconv.boundary`).  A
convolution is the same with the kernel flipped beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

__all__ = [
    "ConvProblem",
    "LinesProblem",
    "NormalizedProblem",
    "PoolProblem",
    "SeparableProblem",
    "WindowProblem",
    "accumulator",
]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ConvProblem:
    """One cross-correlation of canonical arrays; see the module's formula.

    ``acc`` is the dtype in which products are summed: an unsigned integer means
    arithmetic modulo its range.  ``exact`` asks for SciPy's own order and rounding
    of the sum (`scipy.ndimage` with integer output): ``"order"`` adds the taps one
    by one in C order; for one-dimensional kernels, as `scipy.ndimage.correlate1d` does,
    ``"line"`` adds the last tap first and then the others in order, ``"symmetric"`` and
    ``"antisymmetric"`` the centre first and then mirrored pairs.  ``""`` leaves the order free.
    With ``saturate`` (for bool and integer ``out_dtype``) sums are rounded to the nearest integer,
    halves to even, and clamped to the dtype's range; NaN becomes 0; an unsigned ``acc`` then holds
    signed sums.  ``rank``: the kernel is a sum of so many outer products, to the accuracy in force, and
    separable passes are estimated to be faster (`fastconv.separability`); 0: nothing is known.
    ``transforms`` names the algorithm by which Fourier transforms are estimated to be faster, with errors that fit the
    precision in force (`fastconv.choice`); it may cut the integers of image and kernel into so many `parts`.
    ``whole``: both have whole numbers, as floating-point numbers, so that sums by transforms are rounded.
    """

    in_shape: Shape
    kernel_shape: Shape
    out_shape: Shape
    in_dtype: str
    kernel_dtype: str
    acc: str
    out_dtype: str
    pad: Shape
    boundary: tuple[str, ...]
    stride: Shape
    dilation: Shape
    batch: int = 1
    channels: int = 1
    filters: int = 1
    groups: int = 1
    bias: bool = False
    channels_last: bool = False
    exact: str = ""
    saturate: bool = False
    rank: int = 0
    transforms: str = ""
    parts: tuple[int, ...] = (1, 1)
    whole: bool = False

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.in_shape)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sum (a complex product counts 4 of each)."""
        taps = self.channels // self.groups * prod(self.kernel_shape)
        parts = (2 if self.in_dtype[0] == "c" else 1) * (2 if self.kernel_dtype[0] == "c" else 1)
        return 2 * parts * taps * self.batch * self.filters * prod(self.out_shape)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once: the input read, the kernel read, the output written."""
        return (
            self.batch * self.channels * prod(self.in_shape) * np.dtype(self.in_dtype).itemsize
            + self.filters
            * self.channels
            // self.groups
            * prod(self.kernel_shape)
            * np.dtype(self.kernel_dtype).itemsize
            + self.batch * self.filters * prod(self.out_shape) * np.dtype(self.out_dtype).itemsize
        )

    def __str__(self) -> str:
        groups = f"g{self.groups}" if self.groups > 1 else ""
        tags = [f"{groups}mb{self.batch}ic{self.channels}oc{self.filters}"]
        tags += [_axes("i", self.in_shape), _axes("k", self.kernel_shape), _axes("o", self.out_shape)]
        tags += [_axes("p", self.pad), _axes("s", self.stride), _axes("d", self.dilation)]
        tags += [
            "/".join(dict.fromkeys(self.boundary)),
            f"{self.in_dtype}*{self.kernel_dtype}->{self.acc}->{self.out_dtype}",
        ]
        tags += ["nhwc"] * self.channels_last + ["bias"] * self.bias + [f"exact:{self.exact}"] * bool(self.exact)
        tags += ["saturate"] * self.saturate + [f"rank{self.rank}"] * (self.rank > 0)
        tags += [self.transforms] * bool(self.transforms) + ["parts" + "x".join(map(str, self.parts))] * (
            self.parts != (1, 1)
        )
        tags += ["whole"] * self.whole
        return "conv " + " ".join(tags)


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
    """

    conv: ConvProblem
    combined: str = ""

    @property
    def flops(self) -> int:
        """Multiplications and additions of the passes."""
        return 2 * self.conv.batch * prod(self.conv.out_shape) * sum(k for k in self.conv.kernel_shape if k > 1)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.conv.nbytes

    def __str__(self) -> str:
        return f"separable {self.conv}" + f" {self.combined}" * bool(self.combined)


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
        return f"lines {_axes('i', self.shape)} {' '.join(tags)} {self.dtype}->{self.out_dtype}"


@dataclass(frozen=True)
class PoolProblem:
    """One max or average pooling of canonical arrays ``(N, C, *in_shape)``.

        max: out[n, c, y] = max over k of x[n, c, y * stride + k * dilation - pad]
        avg: out[n, c, y] = (sum over k of the same) / divisor

    over the taps that lie inside ``x``.  With ``indices`` the maximum also returns
    the first position that attains it, counted in C order over ``in_shape``.  The
    divisor is ``divisor`` if positive, else the number of taps inside the input
    (``count_include_pad`` False) or inside the input and its padding (True).
    """

    kind: str
    in_shape: Shape
    kernel_shape: Shape
    out_shape: Shape
    dtype: str
    pad: Shape
    stride: Shape
    dilation: Shape
    batch: int = 1
    channels: int = 1
    indices: bool = False
    count_include_pad: bool = True
    divisor: int = 0
    channels_last: bool = False

    @property
    def flops(self) -> int:
        """Comparisons or additions of the direct sum."""
        return self.batch * self.channels * prod(self.out_shape) * prod(self.kernel_shape)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        size = np.dtype(self.dtype).itemsize
        planes = self.batch * self.channels
        return planes * (prod(self.in_shape) * size + prod(self.out_shape) * (size + 8 * self.indices))

    def __str__(self) -> str:
        tags = [f"mb{self.batch}ic{self.channels}", _axes("i", self.in_shape), _axes("k", self.kernel_shape)]
        tags += [_axes("o", self.out_shape), _axes("p", self.pad), _axes("s", self.stride), _axes("d", self.dilation)]
        tags += [self.dtype] + ["nhwc"] * self.channels_last + ["indices"] * self.indices
        tags += ["inside"] * (not self.count_include_pad) + [f"div{self.divisor}"] * bool(self.divisor)
        return f"{self.kind}pool " + " ".join(tags)


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
        tags = [_axes("i", self.shape), _axes("w", self.window), _axes("p", self.pad)]
        tags += ["/".join(dict.fromkeys(self.boundary)), f"{self.dtype}->{self.acc}->{self.out_dtype}"]
        tags += [f"taps{self.taps}"] * bool(self.footprint) + [f"rank{self.rank}"] * (self.kind == "rank")
        return f"{self.kind}filter " + " ".join(tags + ["structure"] * self.structure)


@cache
def accumulator(dtype: np.dtype) -> str:
    """The dtype to sum a result of `dtype` in.

    Integers are summed modulo 2**32 or 2**64, which their own range divides.
    """
    if dtype.kind in "iu":
        return "uint32" if dtype.itemsize <= 4 else "uint64"
    return dtype.name


def _axes(letter: str, values: Shape) -> str:
    return letter + "x".join(map(str, values))
