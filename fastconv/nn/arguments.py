"""Arguments that operations of several kinds share: layouts, groups, padding, sizes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.validate import choice, int_tuple, result_type, type_name

__all__ = [
    "FLOATS",
    "NUMBERS",
    "Pads",
    "canonical",
    "group_count",
    "is_channels_last",
    "out_sizes",
    "padding_of",
    "result_shape",
    "rule_of",
    "sum_type",
]

FLOATS = "float16 bfloat16 float32 float64"
NUMBERS = f"int8 uint8 int16 uint16 int32 uint32 int64 uint64 {FLOATS} complex64 complex128"

# Zeros (before, after) along each axis.
Pads = tuple[tuple[int, int], ...]

DATA_FORMATS = {
    1: {"NCW": False, "NCL": False, "NWC": True, "NLC": True},
    2: {"NCHW": False, "NHWC": True},
    3: {"NCDHW": False, "NDHWC": True},
}
# Of padding_mode: the rule of `fastconv.boundary`, and how far padding may reach, relative to the axis' size.
PADDING_MODES = {"zeros": "fill", "reflect": "mirror", "replicate": "nearest", "circular": "wrap"}
REACH = {"mirror": -1, "wrap": 0}
# dtype= may ask for a kind of numbers that holds those of the arrays.
KINDS = {"u": 0, "i": 0, "f": 1, "V": 1, "c": 2}


def is_channels_last(data_format: Any, ndim: int) -> bool:
    """Whether channels stand last in arrays with so many spatial axes."""
    return choice("data_format", data_format, DATA_FORMATS[ndim])


def canonical(array: Any, ndim: int, channels_last: bool) -> Any:
    """The array, batched or not, as a view ``(N, C, *spatial)``."""
    array = array if array.ndim == ndim + 2 else array[None]
    return np.moveaxis(array, -1, 1) if channels_last else array


def result_shape(
    batch: int, channels: int, sizes: tuple[int, ...], channels_last: bool, batched: bool
) -> tuple[int, ...]:
    """The shape of a result in the caller's layout."""
    shape = (*sizes, channels) if channels_last else (channels, *sizes)
    return (batch, *shape) if batched else shape


def sum_type(dtype: Any, **arrays: Any) -> np.dtype:
    """The dtype of sums of products of the arrays: `dtype`, or the one that they combine to."""
    if dtype is None:
        return result_type(NUMBERS, **arrays)
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be one of {NUMBERS}; got {dtype!r}") from None
    names = {name: type_name(array.dtype) for name, array in arrays.items()}
    for name, found in {"dtype": type_name(wanted), **names}.items():
        if found not in NUMBERS.split():
            raise TypeError(f"{name} must be one of {NUMBERS}; got {found}")
    if any(KINDS[array.dtype.kind] > KINDS[wanted.kind] for array in arrays.values()):
        got = ", ".join(f"{name}: {found}" for name, found in names.items())
        raise TypeError(f"dtype must hold numbers of the kind of the arrays ({got}); got {wanted}")
    return wanted


def group_count(groups: Any, channels: int, filters: int, group_channels: int) -> int:
    """The argument as the number of groups, which divides channels and filters."""
    (groups,) = int_tuple("groups", groups, 1, minimum=1)
    if channels % groups or filters % groups:
        raise ValueError(
            f"groups must divide the {channels} channels of input and the {filters} filters of weight; got {groups}"
        )
    if group_channels != channels // groups:
        raise ValueError(
            f"weight must have C/groups = {channels}/{groups} = {channels // groups} channels (axis 1); got {group_channels}"
        )
    return groups


def padding_of(
    padding: Any,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    *,
    causal: bool = False,
) -> Pads:
    """The argument as zeros before and after each axis; `causal`: whether "causal" is a padding here."""
    n = len(sizes)
    if isinstance(padding, str):
        names = dict.fromkeys(("valid", "same", "causal") if causal else ("valid", "same"))
        choice("padding", padding.lower(), names)
        spans = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        if padding.lower() == "causal":
            return tuple((span, 0) for span in spans)
        if padding.lower() == "valid":
            return ((0, 0),) * n
        # TensorFlow's rule: as little as makes ceil(size / stride) outputs, the odd one after.
        total = [
            max((-(-size // s) - 1) * s + span + 1 - size, 0)
            for size, s, span in zip(sizes, stride, spans, strict=True)
        ]
        return tuple((t // 2, t - t // 2) for t in total)
    padding = tuple(padding) if isinstance(padding, Iterable) else padding
    if isinstance(padding, tuple) and any(isinstance(p, Iterable) for p in padding):
        if len(padding) != n:
            raise ValueError(f"padding must be an integer, {n} integers or {n} pairs; got {padding!r}")
        pairs = [int_tuple("padding", p, 2, minimum=0) for p in padding]
        return tuple((before, after) for before, after in pairs)
    return tuple((p, p) for p in int_tuple("padding", padding, n, minimum=0))


def rule_of(padding_mode: Any, pads: Pads, sizes: tuple[int, ...]) -> str:
    """The boundary rule of a padding mode, which must have enough elements to continue the axes with."""
    rule = choice("padding_mode", padding_mode, PADDING_MODES)
    if rule in REACH:
        for size, pair in zip(sizes, pads, strict=True):
            if max(pair) > size + REACH[rule]:
                raise ValueError(
                    f"padding must be at most {size + REACH[rule]} along an axis of {size} elements "
                    f"for padding_mode={padding_mode!r}; got {pair}"
                )
    return rule


def out_sizes(
    sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], pads: Pads
) -> tuple[int, ...]:
    """Sizes of the output along the spatial axes."""
    out = []
    for n, k, s, d, (before, after) in zip(sizes, kernel, stride, dilation, pads, strict=True):
        room = n + before + after - d * (k - 1) - 1
        if room < 0:
            raise ValueError(
                f"weight must fit into the padded input: a kernel of {k} with dilation {d} spans {d * (k - 1) + 1}, "
                f"the input with its padding {n + before + after}"
            )
        out.append(room // s + 1)
    return tuple(out)
