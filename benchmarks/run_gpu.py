"""Checks and times the CUDA kernels on a GPU, beside PyTorch and CuPy where they are installed.

    python benchmarks/run_gpu.py --json gpu.json

Device time by CUDA events: the median over repetitions of a batch of calls into a given output, with
inputs taken in turn so that together they exceed the L2 cache.  Every timed output is first filled with
NaN (the largest integer) and then compared, at its corners and at random places, with float64 sums made
one by one in NumPy.  Copying memory is measured in the same run: it is the ceiling of small kernels.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np

import fastconv
from fastconv import nn, signal
from fastconv.engines.numba_cuda.launch import require

REPEATS = 15
BATCH_SECONDS = 4e-3
L2_BYTES = 128 << 20  # inputs taken in turn span at least this much
RIVALS = ("torch", "cupy")

Times = tuple[float, float, float]


@dataclass(frozen=True)
class Case:
    """A call: "filter" (image and kernel), "conv" (input, weight), "max" or "avg" (input and window)."""

    kind: str
    x: tuple[int, ...]
    k: tuple[int, ...]
    dtype: str = "float32"
    stride: int = 1
    pad: int = 0
    groups: int = 1

    @property
    def name(self) -> str:
        sizes = "x".join(map(str, self.x)) + ":k" + "x".join(map(str, self.k))
        groups = f"g{self.groups}" if self.groups > 1 else ""
        return f"{self.kind}:{self.dtype}:{sizes}s{self.stride}p{self.pad}{groups}"

    @property
    def out(self) -> tuple[int, ...]:
        sizes = [(n + 2 * self.pad - k) // self.stride + 1 for n, k in zip(self.x[-2:], self.k[-2:], strict=True)]
        return (
            (*sizes,) if self.kind == "filter" else (self.x[0], self.k[0] if self.kind == "conv" else self.x[1], *sizes)
        )

    @property
    def flops(self) -> int:
        return 2 * prod(self.out) * prod(self.k[-3:] if self.kind == "conv" else self.k)

    @property
    def nbytes(self) -> int:
        weights = prod(self.k) if self.kind in ("filter", "conv") else 0
        return (prod(self.x) + prod(self.out) + weights) * np.dtype(self.dtype).itemsize


CASES = [
    *(Case("filter", (n, n), (k, k)) for n in (2048, 8192) for k in (3, 5, 7, 15, 31)),
    *(Case("filter", (8192, 8192), (k, k), "uint8") for k in (3, 7)),
    Case("filter", (4096, 4096), (5, 5), "float64"),
    Case("conv", (32, 64, 56, 56), (64, 64, 3, 3), pad=1),
    Case("conv", (32, 128, 28, 28), (128, 128, 3, 3), pad=1),
    Case("conv", (32, 256, 14, 14), (256, 256, 3, 3), pad=1),
    Case("conv", (32, 512, 7, 7), (512, 512, 3, 3), pad=1),
    Case("conv", (32, 256, 56, 56), (64, 256, 1, 1)),
    Case("conv", (32, 3, 224, 224), (64, 3, 7, 7), stride=2, pad=3),
    Case("conv", (32, 128, 56, 56), (128, 1, 3, 3), pad=1, groups=128),
    *(Case(kind, (32, 64, 112, 112), (2, 2), stride=2) for kind in ("max", "avg")),
    *(Case(kind, (32, 64, 112, 112), (3, 3), stride=2, pad=1) for kind in ("max", "avg")),
    Case("max", (32, 64, 112, 112), (3, 3), pad=1),
]


@dataclass
class Row:
    """What was measured of a case: times in microseconds as (median, least, largest)."""

    case: str
    ours: Times
    first_call_seconds: float
    gbytes_per_s: float
    tflops: float
    of_copy: float
    rivals: dict[str, Times] = field(default_factory=dict)


# -- data, and what it must come to -------------------------------------------------------------


def random(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    r = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return r.standard_normal(shape, "float32").astype(dtype)
    return r.integers(0, 256, shape, dtype)


def expected(case: Case, x: np.ndarray, w: np.ndarray, at: tuple[int, ...]) -> tuple[float, float]:
    """One output in float64, and the sum of the magnitudes of its terms."""
    *lead, y, column = at
    corner = np.array([y, column]) * case.stride - case.pad
    low, high = np.maximum(corner, 0), np.minimum(corner + case.k[-2:], x.shape[-2:])
    inside = (slice(low[0], high[0]), slice(low[1], high[1]))
    if case.kind in ("max", "avg"):
        window = x[lead[0], lead[1]][inside].astype("float64")
        result = window.max() if case.kind == "max" else window.sum() / prod(case.k)
        return result, np.abs(window).sum()
    taps = (slice(low[0] - corner[0], high[0] - corner[0]), slice(low[1] - corner[1], high[1] - corner[1]))
    if case.kind == "filter":
        terms = x[inside].astype("float64") * w[taps].astype("float64")
    else:
        n, f = lead
        channels = case.k[1]
        first = f // (case.k[0] // case.groups) * channels
        terms = x[(n, slice(first, first + channels), *inside)].astype("float64") * w[(f, slice(None), *taps)]
    return terms.sum(), np.abs(terms).sum()


def check(case: Case, x: np.ndarray, w: np.ndarray, out: np.ndarray, places: int = 200) -> None:
    """Compare an output with float64, and make sure that all of it was written."""
    if out.dtype.kind == "f":
        assert not np.isnan(out).any(), f"{case.name}: {np.isnan(out).sum()} outputs were not written"
    r = np.random.default_rng(3)
    corners = [tuple(0 for _ in out.shape), tuple(n - 1 for n in out.shape)]
    for at in corners + [tuple(int(r.integers(n)) for n in out.shape) for _ in range(places)]:
        value, scale = expected(case, x, w, at)
        if out.dtype.kind == "f":
            tolerance = np.finfo(out.dtype).eps * (case.flops / prod(case.out) / 2 + 2) * scale
            assert abs(float(out[at]) - value) <= tolerance, f"{case.name}{list(at)}: {out[at]}, not {value}"
        else:
            assert int(out[at]) == int(value) % 256, f"{case.name}{list(at)}: {out[at]}, not {int(value) % 256}"


# -- the calls, ours and the rivals' --------------------------------------------------------------


def our_call(case: Case) -> Callable[[Any, Any, Any], Any]:
    if case.kind == "filter":
        return lambda x, w, out: signal.correlate2d(x, w, "valid", out=out)
    if case.kind == "conv":
        return lambda x, w, out: nn.conv2d(x, w, None, case.stride, case.pad, 1, case.groups, out=out)
    function = nn.max_pool2d if case.kind == "max" else nn.avg_pool2d
    return lambda x, w, out: function(x, case.k, case.stride, case.pad, out=out)


def torch_call(case: Case, xs: list[np.ndarray], w: np.ndarray) -> Callable[[int], Any] | None:
    if np.dtype(case.dtype).kind != "f":
        return None
    import torch
    import torch.nn.functional as F

    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    inputs, weight = [torch.from_numpy(x).cuda() for x in xs], torch.from_numpy(w).cuda()
    if case.kind == "filter":
        inputs, weight = [x[None, None] for x in inputs], weight[None, None]
    if case.kind in ("filter", "conv"):
        return lambda i: F.conv2d(inputs[i], weight, None, case.stride, case.pad, 1, case.groups)
    function = F.max_pool2d if case.kind == "max" else F.avg_pool2d
    return lambda i: function(inputs[i], case.k, case.stride, case.pad)


def cupy_call(case: Case, xs: list[np.ndarray], w: np.ndarray) -> Callable[[int], Any] | None:
    if case.kind != "filter":
        return None
    import cupy
    from cupyx.scipy import ndimage

    inputs, weight = [cupy.asarray(x) for x in xs], cupy.asarray(w)
    outs = cupy.empty_like(inputs[0])
    return lambda i: ndimage.correlate(inputs[i], weight, outs, "constant")


# -- time -----------------------------------------------------------------------------------------


class Clock:
    """CUDA events on the default stream."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self.driver = driver
        self.context = require().current(0)  # kept: for the rest of the program
        self.context.__enter__()
        self.events = [self.do("cuEventCreate", 0) for _ in range(2)]

    def do(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self.driver, name)(*arguments)
        if error != self.driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{name} failed with {error}")
        return values[0] if values else None

    def seconds(self, function: Callable[[], Any]) -> float:
        start, end = self.events
        self.do("cuEventRecord", start, 0)
        function()
        self.do("cuEventRecord", end, 0)
        self.do("cuEventSynchronize", end)
        return self.do("cuEventElapsedTime", start, end) * 1e-3

    def microseconds(self, call: Callable[[int], Any], turns: int) -> Times:
        """Median, least and largest time of a call, over batches."""
        for i in range(turns + 1):
            call(i % turns)
        batch = max(1, min(200, int(BATCH_SECONDS / max(self.seconds(lambda: call(0)), 1e-6))))
        times = [self.seconds(lambda: [call(i % turns) for i in range(batch)]) / batch * 1e6 for _ in range(REPEATS)]
        return statistics.median(times), min(times), max(times)

    def copy_rate(self, nbytes: int) -> float:
        """Bytes read and written a second by a copy of so many bytes."""
        turns = max(1, L2_BYTES // nbytes)
        source, target = (self.do("cuMemAlloc", nbytes * turns) for _ in range(2))
        self.do("cuMemsetD8", source, 1, nbytes * turns)

        def copy(i: int) -> None:
            self.do("cuMemcpyDtoDAsync", int(target) + i * nbytes, int(source) + i * nbytes, nbytes, 0)

        median, _, _ = self.microseconds(copy, turns)
        for memory in (source, target):
            self.do("cuMemFree", memory)
        return 2 * nbytes / median * 1e6


def measure(case: Case, clock: Clock, rivals: list[str]) -> Row:
    turns = max(1, min(16, L2_BYTES // case.nbytes))
    xs = [random(case.x, case.dtype, seed) for seed in range(turns)]
    w = random(case.k, case.dtype, 99) if case.kind in ("filter", "conv") else np.zeros(1, case.dtype)
    ours, first = measure_ours(case, clock, xs, w)
    rate, copied = case.nbytes / ours[0] * 1e6, clock.copy_rate(max(case.nbytes // 2, 1))
    row = Row(case.name, ours, first, rate / 1e9, case.flops / ours[0] / 1e6, rate / copied)
    for rival in rivals:
        theirs = {"torch": torch_call, "cupy": cupy_call}[rival](case, xs, w)
        if theirs is not None:
            row.rivals[rival] = clock.microseconds(theirs, turns)
    return row


def measure_ours(case: Case, clock: Clock, xs: list[np.ndarray], w: np.ndarray) -> tuple[Times, float]:
    """The time of a call, and the seconds that the first one took."""
    from numba import cuda

    unwritten = np.nan if np.dtype(case.dtype).kind == "f" else np.iinfo(case.dtype).max
    poison, call = np.full(case.out, unwritten, case.dtype), our_call(case)
    inputs, weight, out = [cuda.to_device(x) for x in xs], cuda.to_device(w), cuda.to_device(poison)
    start = time.perf_counter()
    call(inputs[0], weight, out)
    cuda.synchronize()
    first = time.perf_counter() - start
    check(case, xs[0], w, out.copy_to_host())
    ours = clock.microseconds(lambda i: call(inputs[i], weight, out), len(xs))
    out.copy_to_device(poison)
    call(inputs[-1], weight, out)
    check(case, xs[-1], w, out.copy_to_host())
    return ours, first


def host_microseconds(rivals: list[str]) -> dict[str, float]:
    """What a small call costs the host: 3x3 max pooling of 8x8, 500 calls without waiting."""
    x = np.ones((1, 1, 8, 8), "float32")
    calls: dict[str, Callable[[], Any]] = {}
    from numba import cuda

    inputs, out = cuda.to_device(x), cuda.to_device(np.ones((1, 1, 4, 4), "float32"))
    calls["fastconv, numba arrays, out="] = lambda: nn.max_pool2d(inputs, 2, out=out)
    calls["fastconv, numba arrays"] = lambda: nn.max_pool2d(inputs, 2)
    if "torch" in rivals:
        import torch

        tensor = torch.from_numpy(x).cuda()
        calls["fastconv, torch tensors"] = lambda: nn.max_pool2d(tensor, 2)
        calls["torch"] = lambda: torch.nn.functional.max_pool2d(tensor, 2)
    if "cupy" in rivals:
        import cupy

        array = cupy.asarray(x)
        calls["fastconv, cupy arrays"] = lambda: nn.max_pool2d(array, 2)
    result = {}
    for name, call in calls.items():
        for _ in range(20):
            call()
        times = []
        for _ in range(5):
            cuda.synchronize()
            start = time.perf_counter()
            for _ in range(100):
                call()
            times.append((time.perf_counter() - start) / 100 * 1e6)
        result[name] = statistics.median(times)
    return result


# -- the report -----------------------------------------------------------------------------------


def machine(clock: Clock) -> dict[str, Any]:
    def number(name: str) -> int:
        return clock.do(
            "cuDeviceGetAttribute", getattr(clock.driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}"), 0
        )

    versions = {}
    for package in (
        "numpy",
        "numba",
        "numba-cuda",
        "cuda-bindings",
        "cuda-core",
        "torch",
        "cupy-cuda13x",
        "cupy-cuda12x",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "gpu": clock.do("cuDeviceGetName", 128, 0).split(b"\0")[0].decode(),
        "multiprocessors": number("MULTIPROCESSOR_COUNT"),
        "l2_bytes": number("L2_CACHE_SIZE"),
        "compute_capability": [number("COMPUTE_CAPABILITY_MAJOR"), number("COMPUTE_CAPABILITY_MINOR")],
        "driver_cuda": clock.do("cuDriverGetVersion"),
        "host": platform.platform(),
        "python": platform.python_version(),
        "fastconv": fastconv.__version__,
        "versions": versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="*", help="only the cases whose names match this pattern")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="comma-separated; those that are installed run")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    wanted = [name for name in options.rivals.split(",") if name]
    rivals = [name for name in wanted if find_spec(name)]
    print(*(f"{name} is not installed" for name in wanted if name not in rivals), sep="\n")
    clock = Clock()
    report: dict[str, Any] = {"machine": machine(clock), "copy_gbytes_per_s": clock.copy_rate(256 << 20) / 1e9}
    print(report["machine"]["gpu"], f"copies {report['copy_gbytes_per_s']:.0f} GB/s, read and written")
    report["host_us"] = host_microseconds(rivals)
    for name, us in report["host_us"].items():
        print(f"{name:40} {us:8.1f} us a call on the host")
    print(f"{'case':55} {'us':>9} {'GB/s':>6} {'TFLOP/s':>8} {'of copy':>7} {'first, s':>8}  ratio to")
    rows, failures = [], []
    for case in CASES:
        if not fnmatchcase(case.name, options.cases):
            continue
        try:
            row = measure(case, clock, rivals)
        except AssertionError as error:
            failures.append(str(error))
            print("WRONG", error)
            continue
        rows.append(asdict(row))
        ratios = "  ".join(f"{name} {times[0] / row.ours[0]:.2f}" for name, times in row.rivals.items())
        print(
            f"{row.case:55} {row.ours[0]:9.1f} {row.gbytes_per_s:6.0f} {row.tflops:8.2f} {row.of_copy:7.2f} "
            f"{row.first_call_seconds:8.2f}  {ratios}",
            flush=True,
        )
    report["rows"], report["failures"] = rows, failures
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
