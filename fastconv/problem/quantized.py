"""Convolutions of quantised numbers."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.problem.convolution import ConvProblem

__all__ = ["QuantizedProblem"]


@dataclass(frozen=True)
class QuantizedProblem:
    """Exact sums of products of 8-bit numbers, scaled and rounded to 8 bits.

        sum[n, f, y] = sum over c, k of (w[f, c, k] - bias[2, f]) * (ext(x)[n, ...] - fill)
        out[n, f, y] = clamp(rint((sum[n, f, y] + bias[1, f]) * bias[0, f]) + zero_point)

    where the windows are those of `conv`, and `fill`, the zero point of the input, is what continues it; the product is
    rounded to float64 and then to an integer, halves to even, and clamped to the range of ``dtype`` and from `low` to `high`.
    The argument `bias` of `fastconv.plan.execute` has the scales, the offsets and the zero points of the weights, float64.
    ``dtype`` is that of ``out``, uint8 or int8.
    """

    conv: ConvProblem
    dtype: str
    zero_point: int = 0
    low: int = -128
    high: int = 255

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest of the results."""
        low, high = (0, 255) if self.dtype == "uint8" else (-128, 127)
        return max(low, self.low), min(high, self.high)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sum."""
        return self.conv.flops

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.conv.nbytes

    def __str__(self) -> str:
        limits = f"[{self.low},{self.high}]" if (self.low, self.high) != (-128, 255) else ""
        return f"quantized {self.conv}{limits}"
