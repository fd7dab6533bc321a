"""Pooling of canonical arrays."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fastconv.problem.tags import axes_tag

__all__ = ["PoolProblem"]

Shape = tuple[int, ...]


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
        tags = [f"mb{self.batch}ic{self.channels}", axes_tag("i", self.in_shape), axes_tag("k", self.kernel_shape)]
        tags += [
            axes_tag("o", self.out_shape),
            axes_tag("p", self.pad),
            axes_tag("s", self.stride),
            axes_tag("d", self.dilation),
        ]
        tags += [self.dtype] + ["nhwc"] * self.channels_last + ["indices"] * self.indices
        tags += ["inside"] * (not self.count_include_pad) + [f"div{self.divisor}"] * bool(self.divisor)
        return f"{self.kind}pool " + " ".join(tags)
