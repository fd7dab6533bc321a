"""Spatial axes bound to the strides of arrays, and the GEOMETRY slots made from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from fastconv.boundary import edge_map
from fastconv.engines.contract import DTYPE_CODES, SATURATE
from fastconv.problem import ConvProblem

__all__ = ["NO_AXIS", "PARTS", "Axis", "contiguous_strides", "geometry", "mostly_unread", "part_size", "spatial_axes"]

# Complex arrays are interleaved planes of real and imaginary parts.
PARTS = {"complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True)
class Axis:
    """One spatial axis: the problem's numbers, and the strides of the arrays in bytes."""

    size: int
    out_size: int
    taps: int
    stride: int
    dilation: int
    pad: int
    rule: str
    x_step: int
    out_step: int
    folded: int = 1  # elements of a folded trailing axis

    @property
    def untouched(self) -> bool:
        """Whether the output along this axis is the input, element by element."""
        return self.taps == 1 and self.stride == 1 and self.pad == 0 and self.size == self.out_size

    @property
    def window(self) -> int:
        """Positions that all outputs read together."""
        return (self.out_size - 1) * self.stride + (self.taps - 1) * self.dilation + 1

    def edges(self) -> np.ndarray:
        """Edge map; a folded axis repeats it for each of its elements."""
        f = self.folded
        after = max(0, self.window - self.pad - self.size)
        edges = edge_map(self.size // f, self.pad // f, after // f, self.rule)[:, None]
        return np.where(edges < 0, -1, edges * f + np.arange(f)).reshape(-1)

    def fold(self, inner: Axis) -> Axis:
        """This axis with an untouched contiguous axis behind it taken in."""
        m = inner.size
        return replace(
            self, size=self.size * m, out_size=self.out_size * m, dilation=self.dilation * m, pad=self.pad * m,
            x_step=inner.x_step, out_step=inner.out_step, folded=m,
        )  # fmt: skip


NO_AXIS = Axis(1, 1, 1, 1, 1, 0, "fill", 0, 0)


def spatial_axes(p: ConvProblem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> list[Axis]:
    """The axes of a problem on arrays of the given strides."""
    columns = p.in_shape, p.out_shape, p.kernel_shape, p.stride, p.dilation, p.pad, p.boundary
    return [Axis(*values) for values in zip(*columns, x_strides[2:], out_strides[2:], strict=True)]


def geometry(p: ConvProblem, y: Axis, x: Axis, map_y: np.ndarray, map_x: np.ndarray) -> dict[str, int]:
    """The GEOMETRY slots of a plane with rows `y` and columns `x`, but ``scratch_bytes``."""
    return {
        "height": y.size, "width": x.size, "x_row": y.x_step, "x_col": x.x_step,
        "out_height": y.out_size, "out_width": x.out_size, "out_row": y.out_step, "out_col": x.out_step,
        "kernel_y": y.taps, "kernel_x": x.taps, "stride_y": y.stride, "stride_x": x.stride,
        "dilation_y": y.dilation, "dilation_x": x.dilation, "pad_y": y.pad, "pad_x": x.pad,
        "map_y": map_y.ctypes.data, "map_x": map_x.ctypes.data,
        "src_code": DTYPE_CODES[PARTS.get(p.in_dtype, p.in_dtype)],
        "out_code": DTYPE_CODES[PARTS.get(p.out_dtype, p.out_dtype)] + SATURATE * p.saturate,
    }  # fmt: skip


def mostly_unread(p: ConvProblem) -> bool:
    """Whether large strides or dilations leave most of a tile's window unread: what staging it would cost."""
    waste = 1.0
    for tile, taps, stride, dilation in zip((8, 32), p.kernel_shape[-2:], p.stride[-2:], p.dilation[-2:], strict=False):
        window = (tile - 1) * stride + (taps - 1) * dilation + 1
        waste *= window / min(window, tile * taps)
    return waste > 16


def part_size(dtype: str) -> int:
    """Bytes of an element, or of one part of a complex one."""
    return np.dtype(PARTS.get(dtype, dtype)).itemsize


def contiguous_strides(shape: tuple[int, ...], dtype: str) -> tuple[int, ...]:
    """Byte strides of a new array."""
    size = np.dtype(dtype).itemsize
    return tuple(size * prod(shape[i + 1 :]) for i in range(len(shape)))
