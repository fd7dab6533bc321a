"""The Cython engine: kernels compiled ahead of time for several SIMD levels, the best chosen at import.

``FASTCONV_SIMD=v2`` (v3, v4) takes a lower level, for tests.
"""

from __future__ import annotations

import importlib
import os

from fastconv.engines.threads import _threads

__all__ = ["GEMM", "LINE", "SIMD", "TILE", "is_ready", "kernel"]


def _choose_level() -> str:
    best = _threads.cpu_level()
    levels = [f"v{level}" for level in range(2, best + 1)] or ["plain"]
    wanted = os.environ.get("FASTCONV_SIMD", levels[-1])
    if wanted not in levels:
        raise ImportError(f"FASTCONV_SIMD={wanted!r}: this processor runs {', '.join(levels)}")
    return wanted


SIMD = _choose_level()
_build = importlib.import_module(f"{__name__}.{SIMD}")

# Rows and bytes per row of the filter's tiles.
TILE: tuple[int, int] = _build.TILE
LINE: tuple[int, int] = _build.LINE
# Rows and bytes per row of the matrix product's tiles.
GEMM: tuple[int, int] = _build.GEMM


def kernel(operation: str, dtype: str, *_: str) -> int:
    """Address of the kernel of an operation that computes in `dtype`; other types are looked up at run time."""
    return _build.KERNELS[f"{operation}:{dtype}"]


def is_ready(operation: str, dtype: str, *_: str) -> bool:
    """Whether the kernel can run without waiting: always, if it exists."""
    return f"{operation}:{dtype}" in _build.KERNELS
