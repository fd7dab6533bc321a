"""The Numba engine: kernels compiled at run time for the processor they run on.

Importing this package imports no Numba; the first kernel asked for does.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

__all__ = ["DOT", "GEMM", "LINE", "SPECIALISATIONS", "TILE", "is_ready", "kernel"]

# Which module makes the kernels of an operation.
_MODULES = {
    "filter": "filter",
    "normalized": "normalized",
    "conv": "conv",
    "conv8": "conv8",
    "depthwise": "depthwise",
    "depthwise_gradient": "depthwise_gradient",
    "weights": "weights",
    "weights8": "weights8",
    "winograd": "winograd",
    "winograd_weights": "winograd_weights",
    "activation": "activation",
    "softmax": "softmax",
    "quantized": "quantized",
    "deform": "deform",
    "deform_places": "deform_gradient",
    "deform_image": "deform_gradient",
    "max_pool": "pool",
    "max_pool_indices": "pool",
    "avg_pool": "pool",
    "unpool": "unpool",
    "fold": "fold",
    "unfold": "fold",
    "rank": "rank",
    "separable": "separable",
    "sliding": "sliding",
    "taps": "taps",
    "transposed_weights": "transposed_weights",
    "weight_gradient": "weight_gradient",
    "bias_gradient": "bias_gradient",
}

_BYTES = ("int8", "uint8")
_INTEGERS = (*_BYTES, "int16", "uint16", "int32", "uint32", "int64", "uint64")
_FLOATS = ("float32", "float64")
_NUMBERS = (*_INTEGERS, *_FLOATS)

# All that `kernel` may be asked for: "dtype" or "dtype-variant" of each operation.  Sizes of kernels and windows,
# boundaries, and the dtypes of input and output where sums are wider, are decided at run time.
SPECIALISATIONS: dict[str, tuple[str, ...]] = {
    "filter": (*_FLOATS, "float64-exact", "uint32", "uint64"),
    "normalized": (*_FLOATS, "float64-exact"),
    "conv": tuple(f"{dtype}-{lanes}" for dtype in (*_FLOATS, "uint32", "uint64") for lanes in ("filters", "pixels")),
    "conv8": ("int32",),
    "depthwise": (*_FLOATS, "uint32", "uint64"),
    "depthwise_gradient": (*_FLOATS, "uint32", "uint64"),
    "weights": (*_FLOATS, "uint32", "uint64"),
    "weights8": ("int32",),
    "winograd": _FLOATS,
    "winograd_weights": _FLOATS,
    "activation": _FLOATS,
    "softmax": _FLOATS,
    "quantized": ("float64",),
    "deform": _FLOATS,
    "deform_places": _FLOATS,
    "deform_image": _FLOATS,
    "separable": _FLOATS,
    "transposed_weights": ("uint32", "uint64"),
    "weight_gradient": (*_FLOATS, "uint32", "uint64"),
    "bias_gradient": _FLOATS,
    "rank": ("int8", "int16", "int32", "int64"),
    "max_pool": ("bool", *_NUMBERS),
    "max_pool_indices": ("bool", *_NUMBERS),
    "avg_pool": (
        *(f"{dtype}-{bits}" for dtype in _BYTES for bits in (16, 32, 64)),
        *(f"{dtype}-{bits}" for dtype in ("int16", "uint16") for bits in (32, 64)),
        *(f"{dtype}-64" for dtype in ("int32", "uint32", "int64", "uint64")),
        *_FLOATS,
    ),
    "unpool": ("bool", *_NUMBERS),
    "fold": ("bool", *_NUMBERS),
    "unfold": ("bool", *_NUMBERS),
    "sliding": (
        *(f"{dtype}-{kind}" for dtype in _NUMBERS for kind in ("max", "min")),
        *(f"{dtype}-mean" for dtype in ("uint16", *_FLOATS)),
    ),
    "taps": (
        *(f"{dtype}-{kind}" for dtype in _NUMBERS for kind in ("max", "min")),
        *(f"float64-{kind}-raised" for kind in ("max", "min")),  # structures are added in double
    ),
}

# Rows, and bytes per row, of the filter's and the matrix product's tiles, by the module that knows them.
_SHAPES = {"TILE": "filter", "LINE": "filter", "GEMM": "conv", "DOT": "dots"}

_kernels: dict[str, Any] = {}
_lock = threading.Lock()


def kernel(operation: str, dtype: str, variant: str = "") -> int:
    """Address of the kernel of an operation that computes in `dtype`; compiled if need be."""
    name = _name(operation, dtype, variant)
    if name not in _kernels:
        from fastconv.engines.numba_cpu import jit

        with _lock:
            if name not in _kernels:
                module = import_module(f"{__name__}.{_MODULES[operation]}")
                _kernels[name] = jit.compile_kernel(name, module.MAKERS[operation](dtype, variant), module.FIELDS)
    return _kernels[name].address


def is_ready(operation: str, dtype: str, variant: str = "") -> bool:
    """Whether the kernel is compiled in this process."""
    return _name(operation, dtype, variant) in _kernels


def _name(*parts: str) -> str:
    return "-".join(part for part in parts if part)


def __getattr__(name: str) -> tuple[int, ...]:
    if name in _SHAPES:
        return getattr(import_module(f"{__name__}.{_SHAPES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
