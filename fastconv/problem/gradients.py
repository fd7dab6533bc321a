"""What follows from a convolution by transposition: its adjoint, and the gradients of its kernel and its bias."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.problem.convolution import ConvProblem

__all__ = ["BiasGradientProblem", "TransposedProblem", "WeightGradientProblem"]


@dataclass(frozen=True)
class TransposedProblem:
    """The adjoint of the cross-correlation `conv` with respect to its input: what its input gradients are.

        out[n, c, p] = bias[c] + sum over f, k and y with place(y * stride + k * dilation - pad) = p of
                       w[f, c - group(f) * C/groups, k] * x[n, f, y]

    where ``place`` is the boundary rule of `conv`, the sum goes over the filters f of c's group, and the names of sizes
    are those of `conv`.  So ``x`` has the shape and dtype of its output, ``(N, F, *out_shape)``, ``w`` those of its
    kernel, and ``out`` those of its input, ``(N, C, *in_shape)``; what no tap of a window reaches is ``bias``.  Nothing is
    conjugated.  ``bias`` and ``activation`` are this problem's: `conv` has none.
    """

    conv: ConvProblem
    bias: bool = False
    activation: str = ""
    slope: float = 0.0

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sum."""
        return self.conv.flops

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.conv.nbytes

    def __str__(self) -> str:
        tags = ["bias"] * self.bias + [f"{self.activation}{self.slope or ''}"] * bool(self.activation)
        return " ".join([f"transposed {self.conv}", *tags])


@dataclass(frozen=True)
class WeightGradientProblem:
    """The gradient of the cross-correlation `conv` with respect to its kernel.

        out[f, c, k] = sum over n, y of
                       conj(ext(x)[n, group(f) * C/groups + c, y * stride + k * dilation - pad]) * w[n, f, y]

    ``x`` is what `conv` reads, and the argument `w` of `fastconv.plan.execute` the gradient of what it makes,
    ``(N, F, *out_shape)`` of its ``out_dtype``; ``out`` has the shape and dtype of its kernel.  Complex inputs are
    conjugated, as gradients of real functions want it.
    """

    conv: ConvProblem

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sum."""
        return self.conv.flops

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.conv.nbytes

    def __str__(self) -> str:
        return f"weight gradient {self.conv}"


@dataclass(frozen=True)
class BiasGradientProblem:
    """The gradient of a convolution with respect to its bias.

        out[c] = sum over n, p of x[n, c, p]

    ``x`` is the gradient of what the convolution makes, ``(N, C, pixels)``, its pixels or its channels next to each other.
    """

    batch: int
    channels: int
    pixels: int
    dtype: str

    @property
    def flops(self) -> int:
        """Additions."""
        return self.batch * self.channels * self.pixels

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once."""
        return self.flops * (4 if self.dtype == "float32" else 8)

    def __str__(self) -> str:
        return f"bias gradient {self.dtype} {self.batch}x{self.channels}x{self.pixels}"
