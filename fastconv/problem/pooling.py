"""Pooling of canonical arrays, its gradients, and the rearrangements that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fastconv.problem.tags import axes_tag

__all__ = ["FoldProblem", "PoolGradientProblem", "PoolProblem", "RegionPoolProblem", "UnpoolProblem", "itemsize"]

Shape = tuple[int, ...]
# For each output along an axis, one after the other: the first position inside the input, and how many taps are inside.
Windows = tuple[np.ndarray, ...]
ITEMSIZES = {"bfloat16": 2}


def itemsize(dtype: str) -> int:
    """Bytes of an element; NumPy may know no bfloat16."""
    return ITEMSIZES.get(dtype) or np.dtype(dtype).itemsize


@dataclass(frozen=True)
class PoolProblem:
    """One max, average or power-average pooling of canonical arrays ``(N, C, *in_shape)``.

        max: out[n, c, y] = max over k of x[n, c, y * stride + k * dilation - pad]
        avg: out[n, c, y] = (sum over k of the same) / divisor
        lp:  out[n, c, y] = (taps * (sum over k of x**power) / divisor) ** (1 / power)

    over the taps that lie inside ``x``; ``taps`` is the size of a whole window.  A power of infinity is the largest, one of minus
    infinity the smallest of the absolute values.  With ``indices`` the maximum also
    returns the first position that attains it, counted in C order over ``in_shape``.  The divisor is ``divisor`` if
    positive, else the number of taps inside the input (``count_include_pad`` False) or inside the input and its
    padding, ``pad`` before it and ``pad_after`` (default: as much) behind it (True).
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
    pad_after: Shape = ()
    power: float = 0.0

    @property
    def flops(self) -> int:
        """Comparisons or additions of the direct sum."""
        return self.batch * self.channels * prod(self.out_shape) * prod(self.kernel_shape)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        size = itemsize(self.dtype)
        planes = self.batch * self.channels
        return planes * (prod(self.in_shape) * size + prod(self.out_shape) * (size + 8 * self.indices))

    @property
    def windows(self) -> Windows:
        """The windows of each axis inside the input: an array (out_shape[axis], 2), see `Windows`."""
        return tuple(_windows_inside(*axis) for axis in self._axes())

    @property
    def counted(self) -> Windows:
        """How many taps of each window count in the divisor, for each axis."""
        after = self.pad_after or self.pad
        if not self.count_include_pad:
            return tuple(taps for _, taps in (windows.T for windows in self.windows))
        counted = []
        for (size, out, kernel, stride, pad, _), end in zip(self._axes(), after, strict=True):
            starts = np.arange(out, dtype=np.int64) * stride - pad
            counted.append(np.minimum(starts + kernel, size + end) - np.maximum(starts, -pad))
        return tuple(counted)

    def _axes(self) -> list[tuple[int, ...]]:
        columns = self.in_shape, self.out_shape, self.kernel_shape, self.stride, self.pad, self.dilation
        return list(zip(*columns, strict=True))

    def __str__(self) -> str:
        tags = [f"mb{self.batch}ic{self.channels}", axes_tag("i", self.in_shape), axes_tag("k", self.kernel_shape)]
        tags += [
            axes_tag("o", self.out_shape),
            axes_tag("p", self.pad),
            axes_tag("s", self.stride),
            axes_tag("d", self.dilation),
        ]
        tags += [axes_tag("q", self.pad_after)] * (self.pad_after not in ((), self.pad))
        tags += [self.dtype] + ["nhwc"] * self.channels_last + ["indices"] * self.indices
        tags += ["inside"] * (not self.count_include_pad) + [f"div{self.divisor}"] * bool(self.divisor)
        tags += [f"power{self.power:g}"] * bool(self.power)
        return f"{self.kind}pool " + " ".join(tags)


def _windows_inside(size: int, out: int, kernel: int, stride: int, pad: int, dilation: int) -> np.ndarray:
    starts = np.arange(out, dtype=np.int64) * stride - pad
    skipped = np.maximum(-(starts // dilation), 0)
    first = starts + skipped * dilation
    taps = np.minimum(kernel, -((starts - size) // dilation)) - skipped
    return np.stack([first, np.maximum(taps, 0)], 1)


@dataclass(frozen=True)
class RegionPoolProblem:
    """Max or average pooling of canonical arrays over windows that vary from output to output.

    Adaptive (``kernel_shape`` empty): the window of output y of an axis has the positions from ``floor(y * in / out)``
    to ``ceil((y + 1) * in / out) - 1``.  Fractional: windows have the size ``kernel_shape`` and begin where the argument
    in the place of the bias says, int64 ``(N, C, sum of out_shape)``: the starts along each axis, one axis after the other.
    """

    kind: str
    in_shape: Shape
    out_shape: Shape
    dtype: str
    kernel_shape: Shape = ()
    batch: int = 1
    channels: int = 1
    indices: bool = False
    channels_last: bool = False

    @property
    def flops(self) -> int:
        """Comparisons or additions of the direct sum."""
        each = [-(-n // max(out, 1)) for n, out in zip(self.in_shape, self.out_shape, strict=True)]
        return self.batch * self.channels * prod(self.out_shape) * prod(self.kernel_shape or each)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        size = itemsize(self.dtype)
        planes = self.batch * self.channels
        return planes * (prod(self.in_shape) * size + prod(self.out_shape) * (size + 8 * self.indices))

    @property
    def windows(self) -> Windows:
        """The windows of each axis if they are adaptive: an array (out_shape[axis], 2), see `Windows`."""
        axes = zip(self.in_shape, self.out_shape, strict=True)
        return tuple(_adaptive(size, out) for size, out in axes)

    @property
    def counted(self) -> Windows:
        """How many positions each window has, for each axis."""
        return tuple(windows[:, 1] for windows in self.windows)

    @property
    def divisor(self) -> int:
        """Averages are divided by the number of positions."""
        return 0

    def __str__(self) -> str:
        tags = [f"mb{self.batch}ic{self.channels}", axes_tag("i", self.in_shape), axes_tag("o", self.out_shape)]
        tags += [axes_tag("k", self.kernel_shape)] * bool(self.kernel_shape)
        tags += [self.dtype] + ["nhwc"] * self.channels_last + ["indices"] * self.indices
        return f"{'fractional' if self.kernel_shape else 'adaptive'} {self.kind}pool " + " ".join(tags)


def _adaptive(size: int, out: int) -> np.ndarray:
    at = np.arange(out, dtype=np.int64)
    first, end = at * size // max(out, 1), -(-(at + 1) * size // max(out, 1))
    return np.stack([first, end - first], 1)


@dataclass(frozen=True)
class PoolGradientProblem:
    """The gradient of an average pooling, or a power average, with respect to its input.

        avg: out[n, c, i] = sum over the outputs y whose window holds i of x[n, c, y] / divisor(y)
        lp:  out[n, c, i] = w[n, c, i]**(power - 1) * the same sum of taps * x[n, c, y] * bias[n, c, y]**(1 - power) / divisor(y)

    where ``x`` is the gradient with respect to what `pool` returns, ``(N, C, *pool.out_shape)``, and ``out``
    has the shape of its input.  Of a power average the arguments in the places of weights and bias are its input and what
    it returned; where that is 0, it takes no part.
    """

    pool: PoolProblem | RegionPoolProblem

    @property
    def dtype(self) -> str:
        """The dtype of both gradients."""
        return self.pool.dtype

    @property
    def flops(self) -> int:
        """Additions."""
        return self.pool.flops

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.pool.nbytes

    @property
    def windows(self) -> Windows:
        """For each axis and position of the pooling's input, the outputs whose windows hold it."""
        found = []
        for size, windows in zip(self.pool.in_shape, self.pool.windows, strict=True):
            first, taps = windows.T
            at = np.arange(size)
            low, high = np.searchsorted(first + taps, at, "right"), np.searchsorted(first, at, "right")
            found.append(np.stack([low, np.maximum(high - low, 0)], 1).astype(np.int64))
        return tuple(found)

    def __str__(self) -> str:
        return f"gradient of {self.pool}"


@dataclass(frozen=True)
class UnpoolProblem:
    """Elements moved to or from the flat positions ``w`` of planes of shape ``plane_shape``.

        place: out = 0, then out[n, c, w[n, c, y]] = x[n, c, y], in C order of y
        add:   out = 0, then out[n, c, w[n, c, y]] += x[n, c, y]
        take:  out[n, c, y] = x[n, c, w[n, c, y]]

    A position outside the plane takes no part, and takes 0.  If there is one, but for -1 where elements are added, the
    first number of the int64 array in the place of the bias becomes 1.
    """

    kind: str
    shape: Shape
    plane_shape: Shape
    dtype: str
    batch: int = 1
    channels: int = 1
    channels_last: bool = False

    @property
    def flops(self) -> int:
        """Elements moved."""
        return self.batch * self.channels * prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        size = itemsize(self.dtype)
        planes = self.batch * self.channels
        return planes * (prod(self.shape) * (8 + size) + prod(self.plane_shape) * size)

    def __str__(self) -> str:
        tags = [f"mb{self.batch}ic{self.channels}", axes_tag("i", self.shape), axes_tag("o", self.plane_shape)]
        return f"unpool {self.kind} " + " ".join(tags + [self.dtype] + ["nhwc"] * self.channels_last)


@dataclass(frozen=True)
class FoldProblem:
    """Windows of images as columns, or columns summed into images.

        unfold: out[n, c, i, j, y, x] = image[n, c, y*stride[0] + i*dilation[0] - pad[0], x*stride[1] + j*dilation[1] - pad[1]]
        fold:   the sum of all columns[n, c, i, j, y, x] that unfold would take from a pixel, in C order

    The image ``(N, C, *in_shape)`` is zero beyond its edges; columns are ``(N, C, *kernel_shape, *out_shape)``.
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

    @property
    def flops(self) -> int:
        """Elements of the columns."""
        return self.batch * self.channels * prod(self.kernel_shape) * prod(self.out_shape)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return itemsize(self.dtype) * (self.flops + self.batch * self.channels * prod(self.in_shape))

    def __str__(self) -> str:
        tags = [f"mb{self.batch}ic{self.channels}", axes_tag("i", self.in_shape), axes_tag("k", self.kernel_shape)]
        tags += [axes_tag("o", self.out_shape), axes_tag("p", self.pad), axes_tag("s", self.stride)]
        return f"{self.kind} " + " ".join([*tags, axes_tag("d", self.dilation), self.dtype])
