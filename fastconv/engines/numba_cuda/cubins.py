"""Machine code of kernels: from the disk, or compiled by Numba or NVRTC, and NVIDIA's linker.

A file is told apart by all that the code depends on: the sources of this package, the versions
of the compilers, the kind of GPU and the driver.  See `PrivateFolder` for who may share it.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import folders
from fastconv.engines.numba_cuda.elements import in_memory
from fastconv.engines.numba_cuda.launch import INSTALL, Kernel
from fastconv.engines.numba_cuda.nvrtc import FOLDER, architecture, compile_source
from fastconv.engines.private_folder import PrivateFolder

__all__ = ["cache_folder", "code_of", "compile_ptx", "link"]

# Bytes of machine code on disk, of all versions: each kernel has 10 to 100 KB.
CACHE_BYTES = 64 << 20
COMPILERS = (
    "numba",
    "numba-cuda",
    "llvmlite",
    "nvidia-nvvm",
    "nvidia-nvjitlink",
    "cuda-core",
    "nvidia-cuda-nvrtc",
    "nvidia-cuda-nvrtc-cu12",
)
SOURCES = ("*.py", "*.cu", "*.cuh")

# Names that numba-cuda 0.30 looks up at its first compilation and NumPy 2.5 no longer has.
NUMPY_NAMES = {"row_stack": "vstack"}


def code_of(kernel: Kernel, capability: tuple[int, int], driver: int) -> tuple[str, bytes]:
    """The name of a kernel's entry and its machine code for a kind of GPU and a version of the driver."""
    name = _file(kernel, capability, driver)
    kept = cache_folder().read(name) if kernel.name else None
    if kept is not None:
        entry, _, code = kept.partition(b"\0")
        return entry.decode(), code
    ptx, entered = compile_ptx(kernel, capability)
    code = bytes(link(ptx, architecture(kernel, capability)).code)
    if kernel.name:
        cache_folder().write(name, entered.encode() + b"\0" + code)
    return entered, code


def compile_ptx(kernel: Kernel, capability: tuple[int, int]) -> tuple[str, str]:
    """A kernel as PTX, and the name of its entry; needs the compiler's libraries, but no GPU."""
    with _compiler():
        if kernel.source is not None:
            return compile_source(kernel, capability), kernel.source.name
    with _compiler(), _numpy_names():
        from numba import cuda
        from numba.cuda import types

        pointers = [types.CPointer(getattr(types, in_memory(name))) for name in kernel.pointers]
        scalars = [getattr(types, name) for name in kernel.scalars]
        geometry = types.NamedUniTuple(types.int64, len(kernel.geometry._fields), kernel.geometry)
        constants = [types.UniTuple(types.float32, kernel.constants)] if kernel.constants else []
        signature = types.void(*pointers, *scalars, *constants, geometry)
        bounds = kernel.bounds or None
        ptx, _ = cuda.compile(
            kernel.function, signature, device=False, abi="numba", cc=capability, launch_bounds=bounds
        )
    entry = re.search(r"\.visible \.entry (\w+)", ptx)
    assert entry is not None
    return ptx, entry[1]


def link(ptx: str, architecture: str) -> Any:
    """PTX as machine code; needs nvJitLink, or the driver."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(arch=f"sm_{architecture}")
    return Linker(ObjectCode.from_ptx(ptx.encode()), options=options).link("cubin")


@cache
def cache_folder() -> PrivateFolder:
    """The folder of machine code: below ``FASTCONV_CACHE_DIR``, or the user's own cache folder."""
    return PrivateFolder(Path(folders.cache()) / "cuda", CACHE_BYTES)


def _file(kernel: Kernel, capability: tuple[int, int], driver: int) -> str:
    key = repr((_versions(), capability, driver, kernel.name, kernel.bounds))
    return f"sm{capability[0]}{capability[1]}-{kernel.name[:60]}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


@cache
def _versions() -> tuple:
    found = []
    for package in COMPILERS:
        try:
            found.append(version(package))
        except PackageNotFoundError:
            found.append("")
    sources = b"\0".join(path.read_bytes() for ending in SOURCES for path in sorted(FOLDER.glob(ending)))
    return hashlib.sha256(sources).hexdigest(), *found, sys.version_info[:2]


@contextmanager
def _compiler() -> Iterator[None]:
    try:
        yield
    except (ImportError, OSError, RuntimeError) as error:
        libraries = f"its compiler libraries come with {INSTALL}"
        raise RuntimeError(f"engine 'cuda' could not compile a kernel ({libraries}): {error}") from error


@contextmanager
def _numpy_names() -> Iterator[None]:
    missing = {old: new for old, new in NUMPY_NAMES.items() if not hasattr(np, old)}
    for old, new in missing.items():
        setattr(np, old, getattr(np, new))
    try:
        yield
    finally:
        for old in missing:
            delattr(np, old)
