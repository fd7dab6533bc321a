"""What a call costs besides its sum: dispatch, sleeping threads, import, first calls, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv
from fastconv.bench.pictures import picture
from fastconv.bench.results import OVERHEAD, entry

__all__ = ["measure"]

IDLE_MS = (0, 1, 10, 100)

# Each runs in a process of its own and prints seconds.
IMPORT = "import numpy, time; t = time.perf_counter(); import fastconv; print(time.perf_counter() - t)"
FIRST_CALL = """
import numpy as np, time
x, w = np.ones((512, 512), "f4"), np.ones((5, 5), "f4")
{setup}
t = time.perf_counter()
{call}
print(time.perf_counter() - t)
"""
USE = "with fastconv.use(engine={engine!r}): fastconv.convolve2d(x, w)"


def measure(threads: int, engines: list[str], samples: int = 10) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries of the group "overhead", and the memory that filters take."""
    entries = _dispatch(threads, engines)
    for engine in engines:
        entries += _idle(threads, engine, 2 * samples)
    if threads > 1:  # caches and clocks cool down, too: what one thread loses is not the pool's
        entries += _idle(1, engines[-1], 2 * samples)
    entries += _processes(threads, engines, max(1, samples // 2))
    entries += [measured for engine in engines for measured in _scaling(threads, engine, max(3, samples // 3))]
    return entries, [_memory(engine) for engine in engines]


def _entry(name: str, contestant: str, seconds: list[float], threads: int, iterations: int = 1) -> dict[str, Any]:
    info = {
        "case": name,
        "family": OVERHEAD,
        "contestant": contestant,
        "kind": "rival" if contestant == "scipy" else "engine",
        "version": fastconv.__version__,
        "threads": threads,
    }
    return entry(OVERHEAD, name, seconds, info, iterations)


def _dispatch(threads: int, engines: list[str]) -> list[dict[str, Any]]:
    """An empty kernel through the thread pool, and the smallest of filters through all layers."""
    from fastconv.engines.contract import HEADER
    from fastconv.engines.threads._threads import EMPTY_KERNEL, launch

    record = np.zeros(len(HEADER), np.int64)
    x, w = np.ones((8, 8), np.float32), np.ones((3, 3), np.float32)
    entries = []
    for n in dict.fromkeys((1, threads)):

        def empty(n: int = n) -> None:
            launch(EMPTY_KERNEL, record, None, None, None, None, None, None, n, n)

        entries.append(_entry(f"dispatch of an empty kernel, threads: {n}", "pool", _hot(empty, 1000), n, 1000))
    for engine in engines:
        with fastconv.use(engine=engine, threads=threads):
            seconds = _hot(lambda: fastconv.correlate2d(x, w, "valid"), 200)
        entries.append(_entry("correlate2d of 8x8 with 3x3", engine, seconds, threads, 200))
    return entries


def _hot(call: Callable[[], Any], iterations: int, rounds: int = 15) -> list[float]:
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(iterations):
            call()
        seconds.append((time.perf_counter() - start) / iterations)
    return seconds


def _idle(threads: int, engine: str, samples: int) -> list[dict[str, Any]]:
    """A filter of about 0.3 ms after doing nothing for a while."""
    x, w = picture("camera", (512, 512), "float32"), np.random.default_rng(0).random((9, 9), np.float32)
    rows = 512
    entries = []
    with fastconv.use(engine=engine, threads=threads):

        def seconds_once() -> float:
            start = time.perf_counter()
            fastconv.correlate2d(x[:rows], w, "valid")
            return time.perf_counter() - start

        seconds_once()
        hot = float(np.median([seconds_once() for _ in range(20)]))
        rows = int(np.clip(rows * 0.3e-3 / hot, 32, 512))
        for idle in IDLE_MS:
            seconds = []
            for _ in range(4 * samples if idle == 0 else samples):
                if idle:
                    time.sleep(idle / 1e3)
                seconds.append(seconds_once())
            name = f"a short filter after {idle} ms of idleness, threads: {threads}"
            entries.append(_entry(name, engine, seconds, threads))
    return entries


def _scaling(threads: int, engine: str, samples: int) -> list[dict[str, Any]]:
    """A large filter that arithmetic limits on 1, 2, 4... threads, in turn."""
    x, w = picture("camera", (4096, 4096), "float32"), np.random.default_rng(0).random((15, 15), np.float32)
    counts = sorted({threads, *(2**i for i in range(threads.bit_length()))})
    seconds: dict[int, list[float]] = {n: [] for n in counts}
    with fastconv.use(engine=engine):
        for i in range(samples + 1):
            for n in counts:
                start = time.perf_counter()
                fastconv.correlate2d(x, w, "valid", threads=n)
                if i:  # the first calls start threads and take new memory
                    seconds[n].append(time.perf_counter() - start)
    return [_entry(f"correlate2d of 4096x4096 with 15x15, threads: {n}", engine, seconds[n], n) for n in counts]


def _processes(threads: int, engines: list[str], samples: int) -> list[dict[str, Any]]:
    """Import and first call in fresh processes."""

    def fresh(engine: str) -> str:
        return FIRST_CALL.format(setup="import fastconv", call=USE.format(engine=engine))

    entries = [_entry("import, after NumPy", "fastconv", [_child(IMPORT) for _ in range(samples)], 1)]
    first = "first convolve2d of a process, 512x512 with 5x5"
    with tempfile.TemporaryDirectory() as folder:
        entries.append(
            _entry(f"{first}, empty cache", "auto", [_child(fresh("auto"), folder) for _ in range(samples)], threads)
        )
        if "numba" in engines:
            entries.append(_entry(f"{first}, empty cache", "numba", [_child(fresh("numba"), folder)], threads))
            entries.append(_entry(f"{first}, from the cache", "numba", [_child(fresh("numba"), folder)], threads))
    scipy = FIRST_CALL.format(setup="from scipy.signal import convolve2d", call="convolve2d(x, w)")
    entries.append(_entry(first, "scipy", [_child(scipy) for _ in range(samples)], 1))
    return entries


def _child(program: str, cache: str | None = None) -> float:
    """What a program prints when it runs in a new process, with an own cache of compiled kernels."""
    environment = os.environ | ({"FASTCONV_CACHE_DIR": cache} if cache else {})
    root = os.path.dirname(os.path.dirname(fastconv.__file__))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise RuntimeError(f"a fresh process failed: {run.stderr.strip().splitlines()[-1:]}")
    return float(run.stdout)


def _memory(engine: str) -> dict[str, Any]:
    """Memory that a filter with mirrored borders takes besides its output on one thread: NumPy makes all of it."""
    x, w = picture("camera", (2048, 2048), "float32"), np.random.default_rng(0).random((7, 7), np.float32)
    with fastconv.use(engine=engine, threads=1):  # each has scratch memory of its own
        out = fastconv.convolve2d(x, w, "same", "symm")
        tracemalloc.start()
        fastconv.convolve2d(x, w, "same", "symm", out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return {"engine": engine, "what": "convolve2d of 2048x2048 with 7x7, same, symm", "input": x.nbytes, "extra": peak}
