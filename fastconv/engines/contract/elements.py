"""What all records share: the header, codes of element types, the geometry of a sliding window."""

from __future__ import annotations

import numpy as np

__all__ = ["BEYOND", "DTYPE_CODES", "GEOMETRY", "HALVES", "HEADER", "MAX_SLOTS", "NUMBERS", "SATURATE", "record"]

MAX_SLOTS = 72

# Pointers, set at launch.  `w` is the packed kernel (the index array in pooling).
HEADER = ("x", "w", "out", "bias", "fill", "scratch")

# Element types that kernels compute with, and those that only lie in memory: they are converted on the way.
NUMBERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
HALVES = ("float16", "bfloat16")

# How kernels name element types.
DTYPE_CODES = {name: code for code, name in enumerate(NUMBERS + HALVES)}

# Added to the code of an output that sums are rounded and clamped to rather than truncated and wrapped:
# to the nearest integer, halves to even, NaN to 0.  Unsigned accumulators then hold signed sums.
SATURATE = 16

# The offset of a source plane that lies beyond the border: all of it is the fill value.
# (Not -1: arrays with negative strides have negative offsets.)
BEYOND = -(2**63)

# What every kernel that slides a window over planes knows: sizes, byte strides, the window, the edges.
GEOMETRY = HEADER + (
    "scratch_bytes",  # per worker
    "height", "width", "x_row", "x_col",  # source plane: size, byte strides
    "out_height", "out_width", "out_row", "out_col",  # output plane
    "kernel_y", "kernel_x",
    "stride_y", "stride_x", "dilation_y", "dilation_x", "pad_y", "pad_x",
    "map_y", "map_x",  # pointers to int64 edge maps: `pad` positions before, then those after
    "src_code", "out_code",  # DTYPE_CODES of the elements in memory; out_code may have SATURATE added
)  # fmt: skip


def record(fields: tuple[str, ...], values: dict[str, int]) -> np.ndarray:
    """The slots of `values` in the order of `fields`, header slots zero."""
    missing = set(fields[len(HEADER) :]) - set(values)
    unknown = set(values) - set(fields)
    if missing or unknown:
        raise KeyError(f"record slots missing {sorted(missing)}, unknown {sorted(unknown)}")
    return np.array([values.get(name, 0) for name in fields], dtype=np.int64)
