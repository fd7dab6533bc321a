"""The Numba engine: kernels compiled at run time, specialised to what the problem needs.

Importing this package imports no Numba; the first kernel asked for does.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

__all__ = ["LINE", "TILE", "is_ready", "kernel"]

# Which module makes the kernels of an operation.
_MODULES = {"filter": "filter"}

_kernels: dict[tuple[str, ...], Any] = {}
_lock = threading.Lock()


def kernel(operation: str, *types: str) -> int:
    """Address of the kernel of an operation for the given element types and variants; compiles it if need be."""
    key = (operation, *types)
    if key not in _kernels:
        from fastconv.engines.numba_cpu import jit

        with _lock:
            if key not in _kernels:
                module = import_module(f"{__name__}.{_MODULES[operation]}")
                name = "-".join(part for part in key if part)
                _kernels[key] = jit.compile_kernel(name, module.make(*types), module.FIELDS)
    return _kernels[key].address


def is_ready(operation: str, *types: str) -> bool:
    """Whether the kernel is compiled in this process."""
    return (operation, *types) in _kernels


def __getattr__(name: str) -> tuple[int, int]:
    if name in ("LINE", "TILE"):  # rows and bytes per row of the filter's tiles
        return getattr(import_module(f"{__name__}.filter"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
