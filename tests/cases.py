"""Named problems, shared by the tests of every engine and layer.

Kernels are asymmetric in values everywhere, so that a flipped one shows; `integers` gives
integer-valued data small enough that every sum is exact, so that results must match to the bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
LONG = [np.dtype(np.longdouble).name, np.dtype(np.clongdouble).name]


class Filter(NamedTuple):
    """An image and a kernel, by their shapes."""

    name: str
    image: tuple[int, ...]
    kernel: tuple[int, ...]


# Tiles are 4 rows of 16 to 64 float32, lines 8 vectors: sizes below, at and above those.
FILTERS_2D = [
    Filter("odd kernel", (13, 17), (3, 5)),
    Filter("even kernel", (12, 16), (4, 2)),
    Filter("row kernel", (9, 21), (1, 4)),
    Filter("column kernel", (21, 9), (5, 1)),
    Filter("one tap", (7, 8), (1, 1)),
    Filter("one pixel", (1, 1), (3, 2)),
    Filter("kernel larger than image", (3, 4), (5, 9)),
    Filter("kernel taller than image", (3, 9), (6, 4)),
    Filter("one row", (1, 140), (1, 7)),
    Filter("one column", (90, 1), (4, 1)),
    Filter("wide", (5, 300), (3, 3)),
    Filter("several tiles", (37, 150), (7, 6)),
    Filter("whole tiles", (18, 130), (3, 3)),
    Filter("large kernel", (30, 33), (21, 16)),
]

FILTERS_ND = [
    Filter("signal", (40,), (5,)),
    Filter("even signal", (41,), (8,)),
    Filter("long signal", (700,), (9,)),
    Filter("kernel longer than signal", (5,), (8,)),
    Filter("image", (11, 12), (4, 3)),
    Filter("volume", (7, 9, 10), (3, 2, 4)),
    Filter("flat volume", (1, 9, 40), (1, 5, 3)),
    Filter("colours behind", (12, 14, 3), (3, 4, 1)),
    Filter("colours in front", (3, 12, 14), (1, 3, 4)),
    Filter("four axes", (3, 4, 5, 6), (2, 3, 1, 4)),
]

# Image and kernel dtypes that SciPy combines.
MIXED_DTYPES = [
    ("uint8", "float32"),
    ("int32", "float32"),
    ("uint8", "int8"),
    ("int64", "uint64"),
    ("float64", "float32"),
    ("float32", "complex64"),
    ("complex64", "float32"),
    ("int16", "complex64"),
    ("complex64", "float64"),
    ("bool", "float64"),
    ("uint16", "bool"),
    ("float16", "float32"),
]


class Conv(NamedTuple):
    """Arguments of nn.conv2d: shapes of input and weight, and options."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: int | tuple[int, int] = 1
    padding: int | tuple | str = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1


CONVS = [
    Conv("plain", (2, 3, 9, 11), (4, 3, 3, 2)),
    Conv("pointwise", (1, 5, 6, 7), (3, 5, 1, 1)),
    Conv("padded", (1, 2, 8, 9), (3, 2, 3, 3), 1, (1, 2)),
    Conv("padded beyond the kernel", (1, 1, 4, 5), (1, 1, 2, 3), 1, (3, 4)),
    Conv("same, even kernel", (1, 2, 8, 9), (2, 2, 4, 2), 1, "same"),
    Conv("same, dilated", (1, 2, 8, 9), (2, 2, 3, 2), 1, "same", (2, 3)),
    Conv("valid", (1, 2, 8, 9), (2, 2, 3, 2), (2, 1), "valid"),
    Conv("strided", (2, 3, 12, 13), (4, 3, 3, 3), 2, 1),
    Conv("stride differs", (1, 2, 11, 14), (2, 2, 3, 4), (3, 2), (0, 2)),
    Conv("stride beyond the kernel", (1, 1, 13, 15), (1, 1, 2, 2), (4, 5)),
    Conv("dilated", (1, 2, 12, 13), (3, 2, 3, 2), 1, (2, 1), (2, 3)),
    Conv("strided and dilated", (1, 2, 17, 19), (2, 2, 3, 3), (2, 3), (4, 0), (3, 2)),
    Conv("stride shares a factor with dilation", (1, 1, 20, 22), (1, 1, 3, 3), (4, 2), 2, (2, 4)),
    Conv("grouped", (2, 6, 7, 8), (4, 3, 3, 2), 1, 1, 1, 2),
    Conv("depthwise", (2, 5, 9, 8), (5, 1, 3, 3), 1, 1, 1, 5),
    Conv("depthwise, two filters each", (1, 3, 9, 8), (6, 1, 2, 3), 2, 1, 1, 3),
    Conv("unbatched", (3, 9, 8), (2, 3, 3, 3), 1, 1),
    Conv("many filters", (2, 16, 12, 13), (33, 16, 3, 3), 1, 1),
    Conv("many channels, strided", (1, 40, 15, 14), (24, 40, 3, 2), 2, (1, 0)),
    Conv("many filters, grouped", (1, 32, 9, 10), (40, 16, 3, 3), 1, 1, (1, 2), 2),
    Conv("pointwise, many filters", (2, 24, 11, 13), (48, 24, 1, 1)),
    Conv("uneven padding", (1, 2, 8, 9), (2, 2, 3, 4), 2, ((2, 0), (1, 3))),
    Conv("several tiles", (1, 4, 21, 140), (3, 4, 5, 3), 1, 2),
]


class Pool(NamedTuple):
    """Arguments of the pooling functions."""

    name: str
    x: tuple[int, ...]
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    ceil_mode: bool = False


POOLS = [
    Pool("2x2", (2, 3, 8, 10), 2),
    Pool("2x2 of odd image", (1, 2, 9, 11), 2),
    Pool("2x2 of odd image, ceil", (1, 2, 9, 11), 2, ceil_mode=True),
    Pool("3x3, overlapping", (2, 3, 11, 13), 3, 2, 1),
    Pool("3x3, overlapping, ceil", (1, 3, 12, 14), 3, 2, 1, 1, True),
    Pool("every position", (1, 2, 7, 20), (3, 4), 1, (1, 2)),
    Pool("window not square", (1, 2, 12, 13), (2, 5), (3, 2)),
    Pool("gaps between windows", (1, 2, 13, 15), 2, (5, 4), 1),
    Pool("ceil drops the last window", (1, 1, 5, 5), 2, 3, 1, 1, True),
    Pool("whole image", (2, 3, 6, 7), (6, 7)),
    Pool("one pixel windows", (1, 2, 5, 6), 1, 2),
    Pool("unbatched", (3, 9, 8), 2, 2, 1),
    Pool("wide", (1, 2, 6, 300), 2),
    Pool("wide, overlapping", (1, 2, 9, 210), 3, 2, 1),
    Pool("dilated", (1, 2, 12, 13), 3, 2, 1, (2, 3)),
    Pool("dilated, every position", (1, 2, 9, 20), 2, 1, 1, 2, True),
]


def names(cases: list) -> list[str]:
    """Test ids."""
    return [case.name for case in cases]


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed or 7)


def values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Random data over the dtype's range (integers) or about one in magnitude (floating point)."""
    r, kind = rng(seed), np.dtype(dtype).kind
    if kind == "b":
        return r.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        info = np.iinfo(dtype)
        return r.integers(info.min, info.max, shape, dtype, endpoint=True)
    if kind == "c":
        return (r.normal(size=shape) + 1j * r.normal(size=shape)).astype(dtype)
    return r.normal(size=shape).astype(dtype)


def integers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Small integers, whose sums of products are exact in every dtype."""
    r, kind = rng(seed), np.dtype(dtype).kind
    low = 0 if kind in "ub" else -9
    data = r.integers(low, 10, shape)
    if kind == "c":
        data = data + 1j * r.integers(low, 10, shape)
    return data.astype(dtype)


def layouts(array: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of equal values that lie differently in memory."""
    read_only = array.copy()
    read_only.flags.writeable = False
    stepped = np.repeat(np.repeat(array, 2, 0), 3, -1)[
        (slice(None, None, 2), ...) if array.ndim > 1 else slice(None, None, 2)
    ]
    unaligned = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    unaligned[...] = array
    reversed_copy = np.ascontiguousarray(np.flip(array))
    return {
        "read-only": read_only,
        "Fortran order": np.asfortranarray(array),
        "strided": stepped[..., ::3],
        "negative strides": np.flip(reversed_copy),
        "byte-swapped": array.astype(array.dtype.newbyteorder("S")),
        "unaligned": unaligned,
        "field of a record": _field(array),
    }


def _field(array: np.ndarray) -> np.ndarray:
    record = np.zeros(array.shape, [("tag", "u1"), ("value", array.dtype)])
    record["value"] = array
    return record["value"]
