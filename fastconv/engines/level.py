"""The SIMD level of this process: the best that the processor has, or a lower one by ``FASTCONV_SIMD``.

x86-64-v2 has vectors of 16 bytes (SSE), v3 of 32 (AVX2, with fused multiply-add), v4 of 64 (AVX-512).  Elsewhere the
compiler knows what every processor of the kind has, and the only level is "plain": 16 bytes (NEON) on 64-bit ARM.
"""

from __future__ import annotations

import os

from fastconv.engines.threads import _threads

__all__ = ["LEVELS", "SIMD", "VECTOR_BYTES"]

# Levels that this processor has, the best last, and the bytes of their vectors.
LEVELS = tuple(f"v{level}" for level in range(2, _threads.cpu_level() + 1)) or ("plain",)
VECTOR_BYTES = {"plain": 16, "v2": 16, "v3": 32, "v4": 64}


def _choose() -> str:
    wanted = os.environ.get("FASTCONV_SIMD") or LEVELS[-1]
    if wanted not in LEVELS:
        raise ImportError(f"FASTCONV_SIMD={wanted!r}: this processor runs {', '.join(LEVELS)}")
    return wanted


SIMD = _choose()
