"""Convolutions whose taps are moved."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.problem.convolution import ConvProblem

__all__ = ["DeformGradientProblem", "DeformProblem"]


@dataclass(frozen=True)
class DeformProblem:
    """The cross-correlation `conv` of two axes, of which every tap of every window is moved, and perhaps weighted.

        out[n, f, y] = bias[f] + sum over c, k of w[f, c, k] * mask[n, d(c) * taps + k, y]
                       * x(n, c, y * stride + k * dilation - pad + offset[n, 2 * (d(c) * taps + k) + (0, 1), y])

    where ``d(c)`` is the offset group of channel c, ``taps`` the number of taps, and ``x(n, c, place)`` interpolates between
    the four elements around a place, those beyond the borders being 0.  The argument `fill` of `fastconv.plan.execute` is
    ``(offset, mask)``, arrays of the accumulator's dtype with the shapes ``(N, 2 * offset_groups * taps, *out_shape)``
    and ``(N, offset_groups * taps, *out_shape)``; the mask is None if `modulated` is not set.
    """

    conv: ConvProblem
    offset_groups: int = 1
    modulated: bool = False

    @property
    def flops(self) -> int:
        """Multiplications and additions of the sums and, seven each, of the interpolations."""
        p = self.conv
        return p.flops + 7 * p.flops // (2 * max(p.filters // p.groups, 1))

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once, offsets not counted."""
        return self.conv.nbytes

    def __str__(self) -> str:
        return f"deform{self.offset_groups}{' modulated' * self.modulated} {self.conv}"


@dataclass(frozen=True)
class DeformGradientProblem:
    """The gradients of the convolution `deform`, whose elements are all of the accumulator's dtype.

    The arguments of `fastconv.plan.execute` are its ``x`` and ``w``; ``bias`` is the gradient of its output; ``out``, of the
    shape of ``x``, becomes the gradient of ``x``; and ``fill`` is ``(offset, mask, places, weights)``, of which the last two
    are written, too: ``places``, ``(N, (2 or 3) * offset_groups * taps, *out_shape)`` and without gaps, holds the gradient
    of the offsets and behind it, if there is a mask, that of the mask; ``weights``, of the shape of ``w``, that of ``w``.

    Interpolation has no derivative at whole places: the one from above counts, as in torchvision.
    """

    deform: DeformProblem

    @property
    def flops(self) -> int:
        """Multiplications and additions: products for two gradients, and the interpolations three times."""
        return 2 * self.deform.conv.flops + 3 * (self.deform.flops - self.deform.conv.flops)

    @property
    def nbytes(self) -> int:
        """Bytes that must move at least once, offsets not counted."""
        return 2 * self.deform.nbytes

    def __str__(self) -> str:
        return f"gradients of {self.deform}"
