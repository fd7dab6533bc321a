"""Convolutions of quantised numbers."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.problem.convolution import ConvProblem

__all__ = ["QuantizedProblem"]


@dataclass(frozen=True)
class QuantizedProblem:
    """Exact sums of integers, scaled and rounded to 8 bits.

        out[n, f, y] = clamp(rint((sum[n, f, y] + bias[1, f]) * bias[0, f]) + zero_point)

    where ``sum`` is the result of `conv`, whose accumulator holds it exactly and whose fill value is the zero point of its
    input; the product is rounded to float64 and then to an integer, halves to even.  The argument `bias` of
    `fastconv.plan.execute` has the scales and the offsets, float64, and ``dtype`` is that of ``out``, uint8 or int8.
    """

    conv: ConvProblem
    dtype: str
    zero_point: int = 0

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sum."""
        return self.conv.flops

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.conv.nbytes

    def __str__(self) -> str:
        return f"quantized {self.conv}->{self.dtype}"
