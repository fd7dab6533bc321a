"""What fastconv runs on here: engines, threads, caches, versions."""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module, metadata
from pathlib import Path

from fastconv.install import install_command

__all__ = ["clear_cache", "compiled_kernels", "configuration", "processor", "show_config", "show_versions", "versions"]

LIBRARIES = ("numpy", "scipy", "numba", "llvmlite", "threadpoolctl", "platformdirs", "rich", "typer")
OPTIONAL = (
    "numba-cuda",
    "matplotlib",
    "scikit-image",
    "opencv-python-headless",
    "opencv-python",
    "torch",
    "astropy",
    "pytest-benchmark",
)


def show_config() -> None:
    """Print engines, SIMD level, threads and caches.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.show_config()  # doctest: +ELLIPSIS
    engines
      cython ...
    """
    print(_as_text(configuration()))


def show_versions() -> None:
    """Print the versions of fastconv, Python and the libraries that fastconv uses or is compared with.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.show_versions()  # doctest: +ELLIPSIS
    versions
      fastconv ...
    """
    print(_as_text({"versions": versions()}))


def configuration() -> dict[str, dict[str, str]]:
    """What `show_config` prints, by section."""
    from fastconv import config

    return {
        "engines": {"cython": _cython(), "numba": _numba(), "cuda": _cuda(), "reference": "NumPy alone, for checks"},
        "threads": {
            "in use": str(config.get_num_threads()),
            "set by": _thread_source(),
            "processors": f"{_processors()} of {os.cpu_count()} for this process",
        },
        "processor": {"name": processor(), "caches": _caches(), "system": f"{platform.system()} {platform.machine()}"},
        "compiled kernels": compiled_kernels(),
    }


def compiled_kernels() -> dict[str, str]:
    """Where the Numba engine keeps its kernels, and how many."""
    try:
        folder = import_module("fastconv.engines.numba_cpu.jit").cache_folder()
    except ImportError as error:
        return {"cache folder": f"none: {error}"}
    if folder.problem:
        return {"cache folder": f"{folder.path} (not used, kernels stay in memory: {folder.problem})"}
    sizes = folder.sizes()
    used = f"{len(sizes)}, {sum(sizes.values()) / 2**20:.1f} of at most {folder.limit / 2**20:.0f} MiB"
    every = import_module("fastconv.engines.numba_cpu").SPECIALISATIONS
    counts = ", ".join(f"{operation} {len(names)}" for operation, names in every.items())
    return {
        "cache folder": str(folder.path),
        "set by": "FASTCONV_CACHE_DIR"
        if os.environ.get("FASTCONV_CACHE_DIR")
        else "the system; else FASTCONV_CACHE_DIR",
        "kept there": used,
        "there are": f"{sum(map(len, every.values()))} for a processor: {counts}",
    }


def clear_cache() -> str:
    """Delete the compiled kernels; return what was done in a sentence."""
    folder = import_module("fastconv.engines.numba_cpu.jit").cache_folder()
    if folder.problem:
        raise OSError(f"the cache folder {folder.path} is not used: {folder.problem}")
    before = len(folder.sizes())
    folder.clear()
    return f"deleted {before - len(folder.sizes())} compiled kernels from {folder.path}"


def versions() -> dict[str, str]:
    """What `show_versions` prints."""
    import fastconv

    found = {"fastconv": fastconv.__version__, "python": platform.python_version()}
    for name in LIBRARIES + OPTIONAL:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in LIBRARIES:
                found[name] = "not installed"
    return found


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cython() -> str:
    try:
        engine = import_module("fastconv.engines.cython_cpu")
    except ImportError as error:
        return f"not available: {error}"
    names = {
        "v2": "x86-64-v2, SSE",
        "v3": "x86-64-v3, AVX2",
        "v4": "x86-64-v4, AVX-512",
        "plain": "no SIMD level chosen",
    }
    forced = ", by FASTCONV_SIMD" if "FASTCONV_SIMD" in os.environ else ""
    return f"SIMD level {engine.SIMD} ({names[engine.SIMD]}{forced})"


def _numba() -> str:
    try:
        simd = import_module("fastconv.engines.numba_cpu.simd")
        numba = import_module("numba")
    except ImportError as error:
        return f"not available: {error}"
    fused = "with" if simd.HAS_FMA else "without"
    return f"Numba {numba.__version__}, vectors of {simd.VECTOR_BYTES} bytes, {fused} fused multiply-add"


def _cuda() -> str:
    if sys.platform == "darwin":
        return "not available on macOS"
    try:
        metadata.version("numba-cuda")
        cuda = import_module("numba.cuda")
    except (ImportError, metadata.PackageNotFoundError):
        return f"not available: numba-cuda is not installed ({install_command('cuda')})"
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return "Numba's simulator"
    if not cuda.is_available():
        return "not available: no CUDA device"
    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


def _thread_source() -> str:
    for name in ("FASTCONV_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        if name in os.environ:
            return f"{name}={os.environ[name]}, set_num_threads or use"
    return "the number of processors, set_num_threads or use"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _caches() -> str:
    """Data caches of the first processor."""
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level} {size.replace('K', ' KiB').replace('M', ' MiB')}")
    return ", ".join(found) or "unknown"


def _as_text(sections: dict[str, dict[str, str]]) -> str:
    lines = []
    for title, entries in sections.items():
        width = max(map(len, entries))
        lines += [title, *(f"  {name:<{width}}  {value}" for name, value in entries.items())]
    return "\n".join(lines)
