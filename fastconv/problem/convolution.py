"""Cross-correlation of canonical arrays: every convolution, correlation and filter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from fastconv.problem.tags import axes_tag

__all__ = ["ConvProblem", "accumulator"]

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
    ``activation`` is the function (a name of `fastconv.problem.ACTIVATIONS`) that is applied to the sum, bias included,
    before it is stored; ``slope`` is its parameter, if it has one.
    ``precision`` other than ``"strict"`` (`fastconv.use`) allows sums by fewer multiplications, whose rounding errors differ.
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
    activation: str = ""
    slope: float = 0.0
    precision: str = "strict"

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
        tags += [axes_tag("i", self.in_shape), axes_tag("k", self.kernel_shape), axes_tag("o", self.out_shape)]
        tags += [axes_tag("p", self.pad), axes_tag("s", self.stride), axes_tag("d", self.dilation)]
        tags += [
            "/".join(dict.fromkeys(self.boundary)),
            f"{self.in_dtype}*{self.kernel_dtype}->{self.acc}->{self.out_dtype}",
        ]
        tags += ["nhwc"] * self.channels_last + ["bias"] * self.bias + [f"exact:{self.exact}"] * bool(self.exact)
        tags += ["saturate"] * self.saturate + [f"rank{self.rank}"] * (self.rank > 0)
        tags += [self.transforms] * bool(self.transforms) + ["parts" + "x".join(map(str, self.parts))] * (
            self.parts != (1, 1)
        )
        tags += [self.precision] * (self.precision != "strict")
        tags += ["whole"] * self.whole + [f"{self.activation}{self.slope or ''}"] * bool(self.activation)
        return "conv " + " ".join(tags)


@cache
def accumulator(dtype: np.dtype) -> str:
    """The dtype to sum a result of `dtype` in.

    Integers are summed modulo 2**32 or 2**64, which their own range divides; 16-bit floating-point numbers in float32.
    """
    if dtype.kind in "iu":
        return "uint32" if dtype.itemsize <= 4 else "uint64"
    if dtype.itemsize == 2:
        return "float32"
    return dtype.name
