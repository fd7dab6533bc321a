"""Checks and times the CUDA engine on a GPU beside its limits and the libraries that are installed.

    python benchmarks/run_gpu.py --json benchmarks/results/gpu.json
    python benchmarks/run_gpu.py --table benchmarks/results/gpu.json --page docs/gpu.md   # needs no GPU

Device time: the median of batches of calls between CUDA events, results allocated by the call, inputs taken in
turn.  Every row is checked first: into an output full of NaN (of the largest integer), at its corners and random
places, against sums made one by one in float64; then the timed call must give the same, wherever its memory lay.
The limits are measured in the run: a copy of as many bytes, multiplications and additions of one instruction, PCIe.
Rows on the host: wall clock.  A library that is missing, or cannot do a row, has no figure there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

import fastconv
from fastconv import ndimage, nn, signal

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes the device's memory for itself
N, REPEATS, BATCH_SECONDS, SLOW, PLACES = 8192, 9, 4e-3, 0.05, 100
RIVALS = ("torch", "cupy", "jax")
PACKAGES = "numpy numba numba-cuda llvmlite cuda-bindings cuda-core torch cupy-cuda13x cupy-cuda12x jax nvidia-cudnn-cu13".split()

# Rows whose kernels are compiled by one process.
GROUPS = [
    *(f"filter float32 {sizes}" for sizes in ("[357]x*", "9x*", "1[15]x*", "[23]*", "[46]*")),
    *(f"separable float32 {sizes}" for sizes in ("[357]x*", "11x*", "15x*", "31x*")),
    "filter uint8*",
    *(f"{kind} pool {dtype}*" for kind in ("max", "avg") for dtype in ("float32", "float16")),
]

Times = tuple[float, float, float]
Call = Callable[[int], Any]


@dataclass
class Row:
    """A workload: microseconds (median, least, most), what it is held to, and the rivals' times."""

    name: str
    us: Times
    limit: str  # what bounds it, see LIMITS
    limit_us: float
    of_limit: float  # the limit's time over ours; the other way round where less is better
    rivals: dict[str, Times | None] = field(default_factory=dict)
    error: str = ""


# -- the libraries ----------------------------------------------------------------------------------


class Torch:
    name = "torch"

    def __init__(self) -> None:
        import torch

        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
        self.torch, self.functional = torch, torch.nn.functional

    def put(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(array).cuda()

    def get(self, array: Any) -> np.ndarray:
        return array.cpu().numpy()

    def copy(self, nbytes: int) -> list[Callable[[], Any]]:
        pairs = [[self.torch.ones(nbytes, dtype=self.torch.uint8, device="cuda") for _ in range(2)] for _ in range(2)]
        return [lambda pair=pair: pair[0].copy_(pair[1]) for pair in pairs]

    def filter(self, x: Any, w: np.ndarray) -> Any:
        weight = self.put(w)[None, None]
        return lambda: self.functional.conv2d(x[None, None], weight, padding="same")

    def pool(self, x: Any, kind: str, k: int, s: int, p: int, last: bool) -> Any:
        x = x.permute(0, 3, 1, 2) if last else x
        function = self.functional.max_pool2d if kind == "max" else self.functional.avg_pool2d
        return lambda: function(x, k, s, p)


class Cupy:
    name = "cupy"

    def __init__(self) -> None:
        import cupy
        from cupyx.scipy import ndimage as theirs

        self.cupy, self.ndimage = cupy, theirs
        self.put, self.get = cupy.asarray, cupy.asnumpy

    def copy(self, nbytes: int) -> list[Callable[[], Any]]:
        pairs = [[self.cupy.ones(nbytes, "uint8") for _ in range(2)] for _ in range(2)]
        return [lambda pair=pair: self.cupy.copyto(*pair) for pair in pairs]

    def filter(self, x: Any, w: np.ndarray) -> Any:
        weight, out = self.put(w), self.cupy.empty_like(x)
        return lambda: self.ndimage.correlate(x, weight, out, "constant")

    def lines(self, x: Any, line: np.ndarray) -> Any:
        weight, out = self.put(line), self.cupy.empty_like(x)
        return lambda: self.ndimage.correlate1d(
            self.ndimage.correlate1d(x, weight, 0, mode="constant"), weight, 1, out, "constant"
        )

    def fft(self, x: Any, w: np.ndarray) -> Any:
        from cupyx.scipy.signal import fftconvolve

        weight = self.put(w[::-1, ::-1].copy())
        return lambda: fftconvolve(x, weight, "same")


class Jax:
    name = "jax"

    def __init__(self) -> None:
        import jax

        self.jax, self.put = jax, jax.numpy.asarray
        assert jax.devices()[0].platform in ("gpu", "cuda")

    def filter(self, x: Any, w: np.ndarray) -> Any:
        lax, weight = self.jax.lax, self.put(w)[None, None]
        run = self.jax.jit(
            lambda x: lax.conv_general_dilated(x[None, None], weight, (1, 1), "SAME", precision=lax.Precision.HIGHEST)
        )
        return lambda: run(x)


# -- time -------------------------------------------------------------------------------------------


class Clock:
    """CUDA events on the default stream, and what bounds all."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        from fastconv.engines.numba_cuda.launch import require

        self.driver = driver
        self.context = require().current(0)
        self.context.__enter__()  # for the rest of the program
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

    def microseconds(self, calls: list[Callable[[], Any]]) -> Times:
        """Median, least and most of a call's time."""
        turns = len(calls)
        for call in calls:
            call()
        one = max(self.seconds(calls[0]), 1e-6)
        batch = max(1, min(200, int(BATCH_SECONDS / one)))
        repeats = REPEATS if one < SLOW else 3
        times = [self.seconds(lambda: [calls[i % turns]() for i in range(batch)]) / batch * 1e6 for _ in range(repeats)]
        return _spread(times)

    def jax_microseconds(self, call: Callable[[], Any]) -> Times:
        """By the wall clock: what XLA launches is on streams of its own."""
        call().block_until_ready()
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            for _ in range(5):
                result = call()
            result.block_until_ready()
            times.append((time.perf_counter() - start) / 5 * 1e6)
        return _spread(times)

    def copy_rate(self, nbytes: int) -> float:
        """Bytes read and written a second by copies of so many."""
        source, target = (self.do("cuMemAlloc", 2 * nbytes) for _ in range(2))
        self.do("cuMemsetD8", source, 1, 2 * nbytes)
        calls = [
            lambda i=i: self.do("cuMemcpyDtoDAsync", int(target) + i * nbytes, int(source) + i * nbytes, nbytes, 0)
            for i in range(2)
        ]
        median = self.microseconds(calls)[0]
        for memory in (source, target):
            self.do("cuMemFree", memory)
        return 2 * nbytes / median * 1e6

    def fma_rate(self) -> float:
        """Operations a second of float32 multiplications and additions, from registers."""
        from cuda.core import Program, ProgramOptions

        code = """extern "C" __global__ void __launch_bounds__(256) peak(float *o, float a, float b, int n) {
            float v[16]; for (int i = 0; i < 16; i++) v[i] = threadIdx.x + i;
            for (int k = 0; k < n; k++)
            #pragma unroll
            for (int u = 0; u < 8; u++)
            #pragma unroll
            for (int i = 0; i < 16; i++) v[i] = fmaf(v[i], a, b);
            float s = 0; for (int i = 0; i < 16; i++) s += v[i]; if (s == 1.2345f) o[0] = s; }"""
        major, minor = self.attribute("COMPUTE_CAPABILITY_MAJOR"), self.attribute("COMPUTE_CAPABILITY_MINOR")
        compiled = Program(code, "c++", ProgramOptions(arch=f"sm_{major}{minor}")).compile("cubin")
        kernel = compiled.get_kernel("peak")
        blocks, turns = 8 * self.attribute("MULTIPROCESSOR_COUNT"), 2000
        out = self.do("cuMemAlloc", 4)
        values = [np.array([v], t) for v, t in ((int(out), "u8"), (0.999, "f4"), (0.001, "f4"), (turns, "i4"))]
        addresses = np.array([v.ctypes.data for v in values], np.uint64)
        function = self.driver.CUfunction(int(kernel.handle))
        launch = lambda: self.do("cuLaunchKernel", function, blocks, 1, 1, 256, 1, 1, 0, 0, addresses.ctypes.data, 0)  # noqa: E731
        return 2 * 16 * 8 * turns * blocks * 256 / self.microseconds([launch])[0] * 1e6

    def pcie_seconds(self, nbytes: int) -> tuple[float, float, float]:
        """Up and down, each alone, between memory that stays in place and the device; and both at once."""
        piece = min(nbytes, 256 << 20)
        host, device = (
            [self.do(name, piece, *rest) for _ in range(2)] for name, *rest in (("cuMemHostAlloc", 0), ("cuMemAlloc",))
        )
        up = self.microseconds([lambda: self.do("cuMemcpyHtoDAsync", device[0], host[0], piece, 0)])[0]
        down = self.microseconds([lambda: self.do("cuMemcpyDtoHAsync", host[1], device[1], piece, 0)])[0]
        streams = [self.do("cuStreamCreate", 1) for _ in range(2)]
        both = []
        for _ in range(REPEATS):
            self.do("cuCtxSynchronize")
            start = time.perf_counter()
            for _ in range(max(nbytes // piece, 1)):
                self.do("cuMemcpyHtoDAsync", device[0], host[0], piece, streams[0])
                self.do("cuMemcpyDtoHAsync", host[1], device[1], piece, streams[1])
            self.do("cuCtxSynchronize")
            both.append((time.perf_counter() - start) / max(nbytes // piece, 1))
        for stream in streams:
            self.do("cuStreamDestroy", stream)
        for pinned, memory in zip(host, device, strict=True):
            self.do("cuMemFreeHost", pinned)
            self.do("cuMemFree", memory)
        return up * nbytes / piece / 1e6, down * nbytes / piece / 1e6, statistics.median(both) * nbytes / piece

    def driver_seconds(self, source: np.ndarray, target: np.ndarray) -> tuple[float, float]:
        """The driver's own copies of memory that the system may move, up and down."""
        device, times = self.do("cuMemAlloc", source.nbytes), []
        for _ in range(3):
            start = time.perf_counter()
            self.do("cuMemcpyHtoD", device, source.ctypes.data, source.nbytes)
            middle = time.perf_counter()
            self.do("cuMemcpyDtoH", target.ctypes.data, device, target.nbytes)
            times.append((middle - start, time.perf_counter() - middle))
        self.do("cuMemFree", device)
        ups, downs = zip(*times, strict=True)
        return statistics.median(ups), statistics.median(downs)

    def attribute(self, name: str) -> int:
        return self.do(
            "cuDeviceGetAttribute", getattr(self.driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}"), 0
        )


def _spread(times: list[float]) -> Times:
    return statistics.median(times), min(times), max(times)


# -- what results must be -----------------------------------------------------------------------------


def places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    r = np.random.default_rng(3)
    corners = [tuple(0 for _ in shape), tuple(n - 1 for n in shape)]
    return corners + [tuple(int(r.integers(n)) for n in shape) for _ in range(PLACES)]


def check_filter(name: str, x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """A correlation of the same size with zeros around; integers are truncated."""
    ky, kx = w.shape
    for y, c in places(out.shape):
        top, left = y - ky // 2, c - kx // 2
        rows, columns = slice(max(top, 0), min(top + ky, x.shape[0])), slice(max(left, 0), min(left + kx, x.shape[1]))
        part = x[rows, columns].astype("float64")
        terms = part * w[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        exact, scale = terms.sum(), np.abs(terms).sum()
        tolerance = np.finfo("f4").eps * (w.size + 2) * scale if out.dtype.kind == "f" else 1 - 1e-9
        assert abs(float(out[y, c]) - exact) <= tolerance, f"{name}[{y}, {c}]: {out[y, c]}, not {exact}"


def check_pool(name: str, x: np.ndarray, case: tuple, out: np.ndarray) -> None:
    kind, k, s, p, last = case
    x, out = (np.moveaxis(a, -1, 1) if last else a for a in (x, out))
    for n, c, y, z in places(out.shape):
        top, left = y * s - p, z * s - p
        part = x[n, c, max(top, 0) : top + k, max(left, 0) : left + k].astype("float64")
        exact = part.max() if kind == "max" else part.sum() / k**2
        tolerance = np.finfo(out.dtype).eps * np.abs(part).sum()
        assert abs(float(out[n, c, y, z]) - exact) <= tolerance, (
            f"{name}[{n}, {c}, {y}, {z}]: {out[n, c, y, z]}, not {exact}"
        )


# -- the rows -----------------------------------------------------------------------------------------


class Run:
    """One run: clocks, limits, libraries, rows."""

    def __init__(self, pattern: str, rivals: list[str], check: bool, path: str | None, seconds: float) -> None:
        self.clock, self.pattern, self.check = Clock(), pattern, check
        self.rows: list[Row] = []
        self.failures: list[str] = []
        self.libraries: dict[str, Any] = {}
        for kind in (Torch, Cupy, Jax):
            if kind.name in rivals:
                with suppress(Exception):
                    self.libraries[kind.name] = kind()
        own = self.libraries.get("torch") or self.libraries.get("cupy")
        if own is None:
            raise SystemExit("PyTorch or CuPy must be installed: arrays and the memory of results are theirs")
        self.own, self.put, self.get = own, own.put, own.get
        self.copied: dict[int, float] = {}
        self.copy = 1.0 if check else self.clock.copy_rate(4 * N * N)
        self.fma = 1.0 if check else self.clock.fma_rate()
        self.machine = machine(self.clock)
        self.path, self.started, self.rivals_until = path, time.perf_counter(), seconds

    def row(self, name: str, call: Callable[[Any], Any], xs: list[np.ndarray], check: Callable[[np.ndarray], None],
            limit: tuple[str, float], rivals: dict[str, Callable[[Any], Any]]) -> None:  # fmt: skip
        """Check and time a call on each of some arrays; rivals make calls of arrays."""
        if not fnmatchcase(name, self.pattern):
            return
        arrays = [self.put(x) for x in xs]
        try:
            first, again = (self.get(call(arrays[i])) for i in (0, 1))
            check(first)
            assert not np.array_equal(first, again), f"{name}: other inputs gave the same"
            if self.check:
                print(f"{name}: right", flush=True)
                return
            us = self.clock.microseconds([lambda a=a: call(a) for a in arrays])
            assert np.array_equal(self.get(call(arrays[0])), first, equal_nan=True), (
                f"{name}: the timed call gave another result"
            )
        except Exception as error:
            self.failures.append(f"{name}: {error}"[:300])
            print("FAILED", self.failures[-1], flush=True)
            return
        row = Row(name, us, limit[0], limit[1], limit[1] / us[0])
        for rival, make in rivals.items():
            library = self.libraries.get(rival.partition(" ")[0])
            if library is None or time.perf_counter() - self.started > self.rivals_until:
                continue
            try:
                if library.name == "jax":
                    row.rivals[rival] = self.clock.jax_microseconds(make(library)(library.put(xs[0])))
                else:
                    theirs = [make(library)(library.put(x)) for x in xs]
                    row.rivals[rival] = self.clock.microseconds(theirs)
            except Exception as error:  # what a rival cannot do
                print(f"  {rival}: {str(error)[:120]}", flush=True)
        del arrays
        self.add(row)

    def copying(self, nbytes: int) -> float:
        """Microseconds of the faster copy, the driver's or the library's, that reads and writes so many bytes in all."""
        if nbytes not in self.copied and not self.check:
            driver = nbytes / self.clock.copy_rate(nbytes // 2) * 1e6
            self.copied[nbytes] = min(driver, self.clock.microseconds(self.own.copy(nbytes // 2))[0])
        return self.copied.get(nbytes, 1.0)

    def wanted(self, words: str) -> bool:
        """Whether rows with these words in their names may be asked for: processes that compile need not make all data."""
        return self.pattern not in GROUPS or words in self.pattern

    def add(self, row: Row) -> None:
        self.rows.append(row)
        ratios = "  ".join(f"{name} {times[0] / row.us[0]:.2f}x" for name, times in row.rivals.items() if times)
        if self.path:
            report = {"machine": self.machine, "copy_bytes_per_s": self.copy, "fma_per_s": self.fma}
            with open(self.path, "w") as file:
                json.dump(
                    {**report, "rows": [asdict(row) for row in self.rows], "failures": self.failures}, file, indent=1
                )
        print(f"{row.name:34} {row.us[0]:10.1f} us  {row.of_limit:6.3f} of {row.limit:5}  {ratios}", flush=True)

    def filters(self) -> None:
        r = np.random.default_rng(0)
        xs = [r.standard_normal((N, N), "float32") for _ in range(2)] if self.wanted("float32 ") else []
        for k in (3, 5, 7, 9, 11, 15, 21, 31, 47, 63, 127):
            w = r.standard_normal((k, k), "float32")
            copy, fma = 8 * N * N / self.copy * 1e6, 2 * k * k * N * N / self.fma * 1e6
            direct = lambda lib, w=w: lambda x: lib.filter(x, w)  # noqa: E731
            rivals: dict[str, Callable[[Any], Any]] = {}
            if k <= 63:
                rivals["torch"] = direct
            if k <= 31:
                rivals |= {"cupy": direct, "jax": direct}
            if k >= 11:
                rivals["cupy fft"] = lambda lib, w=w: lambda x: lib.fft(x, w)
            limit = ("copy", copy) if k <= 7 else ("fma", fma)
            self.row(
                f"filter float32 {k}x{k}", lambda x, w=w: signal.correlate2d(x, w, "same"), xs,
                lambda out, w=w: check_filter("filter", xs[0], w, out), limit, rivals,
            )  # fmt: skip
        for k in (3, 5, 7, 11, 15, 31):
            sigma = k / 5
            line = np.exp(-(((np.arange(k) - k // 2) / sigma) ** 2) / 2)
            line /= line.sum()
            self.row(
                f"separable float32 {k}x{k}",
                lambda x, k=k, s=sigma: ndimage.gaussian_filter(x, s, mode="constant", radius=k // 2),
                xs,
                lambda out, line=line: check_filter("separable", xs[0], np.multiply.outer(line, line), out),
                ("copy", 8 * N * N / self.copy * 1e6),
                {"cupy": lambda lib, line=line: lambda x: lib.lines(x, line.astype("f4"))},
            )

    def images(self) -> None:
        r = np.random.default_rng(1)
        xs = [r.integers(0, 256, (N, N), "uint8") for _ in range(2)] if self.wanted("uint8") else []
        for k in (3, 5, 7):
            w = r.random((k, k))
            w /= w.sum() * 1.01
            self.row(
                f"filter uint8 {k}x{k}", lambda x, w=w: ndimage.correlate(x, w, mode="constant"), xs,
                lambda out, w=w: self.check_bytes(xs[0], w, out), ("copy", self.copying(2 * N * N)),
                {"cupy": lambda lib, w=w: lambda x: lib.filter(x, w)},
            )  # fmt: skip

    def check_bytes(self, x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        """To the bit as on the CPU, at the top; as float64 sums truncated everywhere else."""
        rows = 64
        with fastconv.use(engine="reference"):
            top = ndimage.correlate(x[: rows + w.shape[0], :512], w, mode="constant")[:rows, : 512 - w.shape[1]]
        assert np.array_equal(out[:rows, : 512 - w.shape[1]], top), "uint8: not the bytes of the CPU engines"
        check_filter("uint8", x, w, out)

    def pools(self) -> None:
        r = np.random.default_rng(2)
        for dtype in ("float32", "float16"):
            for last in (False, True):
                shape = (32, 112, 112, 64) if last else (32, 64, 112, 112)
                if not self.wanted(f"pool {dtype}"):
                    continue
                xs = [r.standard_normal(shape, "float32").astype(dtype) for _ in range(2)]
                for k, s, p in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
                    for kind in ("max", "avg"):
                        self.pool(xs, (kind, k, s, p, last))

    def pool(self, xs: list[np.ndarray], case: tuple) -> None:
        kind, k, s, p, last = case
        x, layout = xs[0], "NHWC" if last else "NCHW"
        name = f"{kind} pool {x.dtype} {layout} {k}x{k}/{s}"
        function = nn.max_pool2d if kind == "max" else nn.avg_pool2d
        out_size = (112 + 2 * p - k) // s + 1
        nbytes = x.nbytes + x.nbytes // 112**2 * out_size**2
        self.row(
            name, lambda x: function(x, k, s, p, data_format=layout), xs, lambda out: check_pool(name, x, case, out),
            ("copy", self.copying(nbytes)), {"torch": lambda lib: lambda x: lib.pool(x, *case)},
        )  # fmt: skip

    def overhead(self) -> None:
        """What a call costs the host: a 3x3 filter of 64x256 with its output allocated, ours and theirs in turn."""
        r = np.random.default_rng(4)
        x, w = r.standard_normal((1, 1, 64, 256), "float32"), r.standard_normal((1, 1, 3, 3), "float32")
        torch = self.libraries.get("torch")
        if torch is None or self.check or not fnmatchcase("call", self.pattern):
            return
        xt, wt = torch.put(x), torch.put(w)
        calls = {
            "torch": lambda: torch.functional.conv2d(xt, wt, padding=1),
            "call, torch tensors": lambda: nn.conv2d(xt, wt, padding=1),
        }
        if "cupy" in self.libraries:
            xc, wc = self.libraries["cupy"].put(x), self.libraries["cupy"].put(w)
            calls["call, CuPy arrays"] = lambda: nn.conv2d(xc, wc, padding=1)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(25):
            for name, call in calls.items():
                for _ in range(20):
                    call()
                self.clock.do("cuCtxSynchronize")
                start = time.perf_counter()
                for _ in range(200):
                    call()
                times[name].append((time.perf_counter() - start) / 200 * 1e6)
        theirs = _spread(times.pop("torch")[1:])
        for name, found in times.items():
            us = _spread(found[1:])
            self.add(Row(name, us, "torch", theirs[0], us[0] / theirs[0], {"torch": theirs}))

    def host(self) -> None:
        """A host array in, a host array out."""
        if self.check or not fnmatchcase("host array", self.pattern):
            return
        n = 2 * N
        x = np.tile(np.random.default_rng(5).standard_normal((n // 8, n), "float32"), (8, 1))
        w = np.random.default_rng(6).standard_normal((3, 3), "float32")
        *alone, both = (1e6 * seconds for seconds in self.clock.pcie_seconds(x.nbytes))
        result = np.zeros_like(x)
        moved = max(self.clock.driver_seconds(x, result)) * 1e6
        for name, source, out, limits in (
            ("host array, out given", x, result, {"pcie": max(alone), "driver": moved}),
            ("host array, pinned", *self.pinned(x), {"pcie": max(alone), "duplex": both}),
        ):
            out[...] = np.nan
            times = []
            with fastconv.use(engine="cuda"):
                for _ in range(6):
                    start = time.perf_counter()
                    signal.correlate2d(source, w, "same", out=out)
                    times.append((time.perf_counter() - start) * 1e6)
            check_filter(name, x, w, out)
            us = _spread(times[1:])
            for limit, least in limits.items():
                self.add(Row(name, us, limit, least, us[0] / least))

    def pinned(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from fastconv.engines.numba_cuda.launch import require

        source, out = (require().pinned(x.nbytes).view(x.dtype).reshape(x.shape) for _ in range(2))
        source[...] = x
        return source, out


def machine(clock: Clock) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "gpu": clock.do("cuDeviceGetName", 128, 0).split(b"\0")[0].decode(),
        "multiprocessors": clock.attribute("MULTIPROCESSOR_COUNT"),
        "driver_cuda": clock.do("cuDriverGetVersion"),
        "cores": len(os.sched_getaffinity(0)),
        "host": platform.platform(), "python": platform.python_version(),
        "fastconv": fastconv.__version__, "versions": versions,
    }  # fmt: skip


def compile_ahead(pattern: str) -> None:
    """Let processes compile the kernels of all rows, which takes seconds each, into the cache on disk."""
    command = [sys.executable, __file__, "--check", "--rivals", "torch,cupy", "--cases"]
    groups = [group for group in GROUPS if pattern == "*" or fnmatchcase(group, pattern)]
    running = [subprocess.Popen([*command, group], stdout=subprocess.DEVNULL) for group in groups]
    for process in running:
        process.wait()


# -- the page -----------------------------------------------------------------------------------------

LIMITS = {
    "copy": "of copy", "fma": "of FMA peak", "torch": "of torch's time", "pcie": "of PCIe's slower direction",
    "duplex": "of PCIe in both directions at once", "driver": "of the driver's copies of such memory",
}  # fmt: skip
LIBRARIES = ("torch", "cupy", "cupy fft", "jax")


def table(report: dict[str, Any]) -> str:
    """The results as a table in Markdown: losses included."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        f"{machine['gpu']}, {machine['host']}: copy {report['copy_bytes_per_s'] / 1e9:.0f} GB/s, "
        f"float32 {report['fma_per_s'] / 1e12:.1f} TFLOP/s. {versions}.",
        "",
        "| workload | µs (least…most) | limit | " + " | ".join(f"vs {name}" for name in LIBRARIES) + " |",
        "| --- | ---: | ---: |" + " ---: |" * len(LIBRARIES),
    ]
    for row in report["rows"]:
        us, rivals = row["us"], row["rivals"]
        cells = [f"{rivals[name][0] / us[0]:.2f}×" if rivals.get(name) else "–" for name in LIBRARIES]
        spread = f"{us[0]:.1f} ({us[1]:.1f}…{us[2]:.1f})"
        lines.append(
            f"| {row['name']} | {spread} | {row['of_limit']:.2f} {LIMITS[row['limit']]} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def write_page(path: str, text: str) -> None:
    """Put the table between the page's marks."""
    start, end = "<!-- gpu table -->\n", "<!-- end of gpu table -->"
    with open(path) as file:
        page = file.read()
    before, _, rest = page.partition(start)
    with open(path, "w") as file:
        file.write(f"{before}{start}{text}\n{end}{rest.partition(end)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="*", help="only the rows whose names match this pattern")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="comma-separated; those that are installed run")
    parser.add_argument("--check", action="store_true", help="check results (and compile kernels), time nothing")
    parser.add_argument("--seconds", type=float, default=110, help="time rivals in the first so many seconds only")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument(
        "--table", metavar="JSON", help="run nothing: print earlier results as a table, or put it into --page"
    )
    parser.add_argument("--page", help="the page that has the table")
    options = parser.parse_args()
    if options.table:
        with open(options.table) as file:
            text = table(json.load(file))
        print(text) if not options.page else write_page(options.page, text)
        return
    rivals = [name for name in options.rivals.split(",") if name and find_spec(name)]
    if not options.check:
        compile_ahead(options.cases)
    run = Run(options.cases, rivals, options.check, options.json, options.seconds)
    print(run.machine["gpu"], f"copy {run.copy / 1e9:.0f} GB/s, {run.fma / 1e12:.1f} TFLOP/s", flush=True)
    for part in (run.overhead, run.host, run.pools, run.images, run.filters):
        try:
            part()
        except Exception as error:
            run.failures.append(f"{part.__name__}: {error}"[:300])
            print("FAILED", run.failures[-1])
        print(f"[{time.perf_counter() - run.started:.0f} s]", flush=True)
    sys.exit(1 if run.failures else 0)


if __name__ == "__main__":
    main()
