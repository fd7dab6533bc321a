"""The Cython engine: kernels compiled ahead of time for several SIMD levels; `fastconv.engines.level` tells which."""

from __future__ import annotations

import importlib

from fastconv.engines.level import SIMD

__all__ = [
    "DEPTHWISE_IN_PLACE",
    "DOT",
    "GEMM",
    "LINE",
    "PLANES_IN_REGISTERS",
    "READS_ROWS",
    "SIMD",
    "TILE",
    "TURNS_IN_REGISTERS",
    "WINDOWS_IN_PLACE",
    "is_ready",
    "kernel",
]


_build = importlib.import_module(f"{__name__}.{SIMD}")

# Rows and bytes per row of the filter's tiles.
TILE: tuple[int, int] = _build.TILE
LINE: tuple[int, int] = _build.LINE
# Rows and bytes per row of the matrix product's tiles.
GEMM: tuple[int, int] = _build.GEMM
# The same of the products of 8-bit numbers, and how many of them are summed at once.
DOT: tuple[int, int, int] = _build.DOT
# Moving windows read rows where they lie, and make means of bytes in bytes.
WINDOWS_IN_PLACE = True
# Pooling folds small windows of planes in registers.
PLANES_IN_REGISTERS = True
# Depthwise kernels read rows of planes where they lie, and gradients of such kernels pixels.
DEPTHWISE_IN_PLACE = True
# Weights are transposed in registers; so are pixels that strided adjoints turn into planes.
TURNS_IN_REGISTERS = True
# Weights of one tap may lie as rows of filters.
READS_ROWS = True


def kernel(operation: str, dtype: str, *_: str) -> int:
    """Address of the kernel of an operation that computes in `dtype`; other types are looked up at run time."""
    return _build.KERNELS[f"{operation}:{dtype}"]


def is_ready(operation: str, dtype: str, *_: str) -> bool:
    """Whether the kernel can run without waiting: always, if it exists."""
    return f"{operation}:{dtype}" in _build.KERNELS
