"""What the machine is and what it can do: the ceilings that figures are measured against."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.bench.copying import memcpy
from fastconv.bench.peak import fma_loop

__all__ = ["ceilings", "commit_info", "copy_bandwidth", "fma_peak", "machine_info"]

COPY_SIZES = tuple(1 << exponent for exponent in range(18, 28))  # bytes read and written, 256 KiB to 128 MiB
SECONDS = 0.01  # of one measurement; much longer than threads take to start
REPEATS = 6
PEAK_TRIES = 6


def ceilings(threads: int) -> dict[str, Any]:
    """Peaks in operations a second, and copying in bytes a second by bytes moved.

    Products of bytes: how many are added in a lane by one instruction (``vpdpbusd``), of which there are as many a second as
    of multiply-adds of floats; 0 where it takes several.
    """
    from fastconv.engines.numba_cpu.dots import TOGETHER

    return {
        "products_of_bytes": TOGETHER if TOGETHER == 4 else 0,
        "fma_float32": fma_peak(threads),
        "fma_float64": fma_peak(threads, "float64"),
        "copy": {str(size): rate for size, rate in copy_bandwidth(threads).items()},
    }


def fma_peak(threads: int, dtype: str = "float32") -> float:
    """Multiplications and additions a second that the processor does when it does nothing else."""
    kernel, flops = _fma_kernel(dtype)
    # The best of several tries: a processor shared with others shows its peak now and then.
    return flops * max(_rate(threads, lambda worker, steps: kernel(steps)) for _ in range(PEAK_TRIES))


def copy_bandwidth(threads: int, sizes: tuple[int, ...] = COPY_SIZES) -> dict[int, float]:
    """Bytes moved a second when arrays are copied, by bytes read and written in all."""
    kernel = _copy_kernel()
    bandwidth = {}
    for size in sizes:
        share = size // (2 * threads)
        arrays = [(np.ones(share, np.uint8), np.zeros(share, np.uint8)) for _ in range(threads)]

        def copy(worker: int, times: int, arrays: list = arrays) -> None:
            source, target = arrays[worker]
            kernel(target.ctypes.data, source.ctypes.data, source.nbytes, times)

        bandwidth[size] = 2 * share * _rate(threads, copy)
    return bandwidth


def _rate(threads: int, work: Callable[[int, int], Any]) -> float:
    """How often a second all threads together can do ``work(worker, times)``, which does a thing `times` times."""
    times = 1
    while (seconds := _together(1, work, times)) < SECONDS:
        times = max(2 * times, int(1.2 * times * SECONDS / max(seconds, 1e-5)))
    return threads * times / min(_together(threads, work, times) for _ in range(REPEATS))


def _together(threads: int, work: Callable[[int, int], Any], times: int) -> float:
    """Seconds from the first thread's start of ``work`` to the last one's end."""
    barrier = threading.Barrier(threads)
    starts, ends = [0.0] * threads, [0.0] * threads

    def run(worker: int) -> None:
        barrier.wait()
        starts[worker] = time.perf_counter()
        work(worker, times)
        ends[worker] = time.perf_counter()

    helpers = [threading.Thread(target=run, args=(worker,)) for worker in range(1, threads)]
    for helper in helpers:
        helper.start()
    run(0)
    for helper in helpers:
        helper.join()
    return max(ends) - min(starts)


def _copy_kernel() -> Callable[[int, int, int, int], None]:
    """A compiled loop of memcpy, which frees the GIL."""
    from numba import njit

    copy = memcpy()

    @njit("void(int64, int64, int64, int64)", nogil=True)
    def kernel(target: int, source: int, nbytes: int, times: int) -> None:
        for _ in range(times):
            copy(target, source, nbytes)

    return kernel


def _fma_kernel(dtype: str) -> tuple[Callable[[int], float], int]:
    """A compiled loop of vector multiply-adds, and the operations of one of its steps."""
    from numba import njit, types

    loop, flops = fma_loop(dtype)

    @njit([(types.float32 if dtype == "float32" else types.float64)(types.int64)], nogil=True)
    def kernel(steps: int) -> float:
        return loop(steps)

    return kernel, flops


def machine_info(threads: int) -> dict[str, Any]:
    """The machine in pytest-benchmark's terms, without the names of host and user."""
    from fastconv.about import processor

    return {
        "processor": platform.processor(),
        "machine": platform.machine(),
        "python_compiler": platform.python_compiler(),
        "python_implementation": platform.python_implementation(),
        "python_implementation_version": platform.python_version(),
        "python_version": platform.python_version(),
        "python_build": list(platform.python_build()),
        "release": platform.release(),
        "system": platform.system(),
        "cpu": {"brand_raw": processor(), "count": os.cpu_count(), "arch": platform.machine()},
        "threads": threads,
        "byteorder": sys.byteorder,
    }


def commit_info() -> dict[str, Any]:
    """The commit of the source tree that fastconv was imported from, in pytest-benchmark's terms."""
    import fastconv

    root = Path(fastconv.__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    unknown = {
        "id": "unknown",
        "time": None,
        "author_time": None,
        "dirty": False,
        "project": "fastconv",
        "branch": "unknown",
    }
    try:
        if Path(git("rev-parse", "--show-toplevel")) != root.resolve():
            return unknown
        commit, when, author = git("log", "-1", "--format=%H%n%cI%n%aI").splitlines()
        dirty, branch = bool(git("status", "--porcelain")), git("rev-parse", "--abbrev-ref", "HEAD")
    except (OSError, subprocess.SubprocessError, ValueError):
        return unknown
    return {"id": commit, "time": when, "author_time": author, "dirty": dirty, "project": "fastconv", "branch": branch}
