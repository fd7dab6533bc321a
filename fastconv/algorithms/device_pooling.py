"""Pooling that the small-window kernels of a GPU leave: windows that vary or are large, powers, gradients, unpooling.

Which axis threads run along follows from the strides: the channels, where they lie next to each other in memory, else the
columns.  Host arrays are sent there and back.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import inf, prod
from typing import Any

import numpy as np

from fastconv.algorithms import device
from fastconv.algorithms.pool_windows import regular
from fastconv.problem import PoolGradientProblem, PoolProblem, RegionPoolProblem, UnpoolProblem

__all__ = ["executor", "refuse"]

Problem = PoolProblem | RegionPoolProblem | PoolGradientProblem | UnpoolProblem
Steps = device.Steps
FLOATS = ("float16", "float32", "float64")

# Windows of so many taps that hardly overlap have several threads each: so many, or from `MANY` taps on the threads of a
# block; where channels lie side by side, threads and channels of a block.  16x16 windows take 144 us with 8 threads, 190 with 32.
WIDE, PARTS, MANY, THREADS, LANES = 32, 8, 1024, 256, 8
# Threads of a block that puts elements into planes, channels that it shares, and most bytes of their planes in shared memory: the
# first that fit, else the last, in global memory; where channels lie side by side, and where they do not.
SCATTERING_LAST = ((1024, 4, 208 << 10), (1024, 2, 208 << 10), (1024, 8, 0))
SCATTERING = ((256, 1, 52 << 10), (512, 1, 104 << 10), (1024, 1, 208 << 10), (256, 1, 0))
# Claims of its threads are numbers of 32 bits, which begin anew here.
MOST_CLAIM = 1 << 30
# The largest windows and steps that are compiled in.
SMALL = 4
# Rows of pixels (columns) that a thread does one after the other, where that leaves so many threads: 2x2 gradients of averages
# of 32x64x112x112 take 427 us with one row, 187 with four, 135 with 14.
ROWS, ENOUGH = 16, 1 << 18


def refuse(problem: Any) -> str | None:
    """Why the kernels cannot do a problem, or None."""
    if not isinstance(problem, Problem):
        return "is for pooling"
    p = problem.pool if isinstance(problem, PoolGradientProblem) else problem
    if isinstance(p, UnpoolProblem):
        sums = p.kind == "add"
        return _refused(p, len(p.shape), FLOATS if sums else device.POOLED, "add" if sums else "move")
    if isinstance(p, PoolProblem) and max(p.dilation) > 1:
        return "has no windows with gaps (dilation)"
    if isinstance(problem, PoolGradientProblem):
        if p.kind == "max" or (isinstance(p, RegionPoolProblem) and p.kernel_shape):
            return "is for gradients of averages and powers"
        return _refused(p, len(p.in_shape), FLOATS, "sum")
    if isinstance(p, PoolProblem) and p.kind != "lp" and not _is_wide(p) and not (p.indices and _is_small(p)):
        return f"leaves maxima and averages of windows that overlap, or below {WIDE} taps, to other kernels"
    sums = p.kind != "max"
    dtypes = FLOATS if p.kind == "lp" else tuple(name for name in device.POOLED if name != "bool" or not sums)
    return _refused(p, len(p.in_shape), dtypes, f"{p.kind} pool")


def _refused(p: Any, n: int, dtypes: tuple[str, ...], does: str) -> str | None:
    if n > len(device.AXES):
        return f"pools at most {len(device.AXES)} axes"
    return None if p.dtype in dtypes else f"does not {does} {p.dtype}"


def executor(problem: Problem, engine: Any) -> DeviceRegions | DeviceGradient | DeviceUnpool:
    """The executor of a problem."""
    if isinstance(problem, UnpoolProblem):
        return DeviceUnpool(problem, engine)
    if isinstance(problem, PoolGradientProblem):
        return DeviceGradient(problem, engine)
    return DeviceRegions(problem, engine)


class _OnDevice:
    """What the executors share: the arrays of a call are put on the device, those that are written brought back."""

    def __init__(self, problem: Any, engine: Any):
        self.problem, self.engine = problem, engine
        self.geometry = lru_cache(maxsize=8)(self._geometry)

    def __call__(self, x: Any, w: Any, out: Any, bias: Any, fill: Any, threads: int) -> None:
        if out.size == 0:
            return
        with self.engine.Call(out, x, w, bias) as call:
            writes = self.written(w, out, bias)
            put = [call.put(array, contents=contents) for array, contents in self.given(x, w, out, bias)]
            self.start(call, *put)
            for array, host in zip(put, (x, w, out, bias), strict=True):
                if any(host is written for written in writes):
                    call.get(array, host)

    def workspace(self, threads: int) -> int:
        """Device arrays need no scratch memory but for sums of 16-bit floats; host arrays are copied, which is not counted."""
        return 0

    def given(self, x: Any, w: Any, out: Any, bias: Any) -> tuple[tuple[Any, bool], ...]:
        """The arrays, and whether their contents are read."""
        return (x, True), (w, True), (out, False), (bias, True)

    def written(self, w: Any, out: Any, bias: Any) -> tuple[Any, ...]:
        """The arrays that are written."""
        return (out,)

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any) -> None:
        raise NotImplementedError

    def _geometry(self, *steps: Any) -> Any:
        raise NotImplementedError


class DeviceRegions(_OnDevice):
    """Executes a `PoolProblem` or a `RegionPoolProblem`."""

    def given(self, x: Any, w: Any, out: Any, bias: Any) -> tuple[tuple[Any, bool], ...]:
        return (x, True), (w, False), (out, False), (bias, True)

    def written(self, w: Any, out: Any, bias: Any) -> tuple[Any, ...]:
        return (out,) if w is None else (out, w)

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any) -> None:
        """Launch a kernel on arrays that lie on the device; `bias` are the starts of fractional windows."""
        kernel, grid, threads, scalars, geometry = self.geometry(*map(device.steps_of, (x, w, out, bias)))
        arrays = (x, w, out, bias)[: len(kernel.pointers)]
        if threads:
            call.start(kernel, (grid, 1, 1), (threads, 1, 1), arrays, scalars, geometry)
        else:
            call.launch(kernel, grid, arrays, scalars, geometry)

    def _geometry(self, x: Steps, indices: Steps, out: Steps, starts: Steps) -> tuple:
        """Kernel, extents or number of blocks, threads of a block if there is one for each output, scalars, geometry."""
        p = self.problem
        in_shape, out_shape = _three(p.in_shape, 1), _three(p.out_shape, 1)
        windows, kernel, values = _windows(p)
        taps, wide, last = _taps(p), _is_wide(p), _channels_last(out, p.channels)
        threads, lanes = THREADS, LANES if last else THREADS // min(PARTS if taps < MANY else THREADS, THREADS)
        power = getattr(p, "power", 0.0)
        kind = {2.0: "squares", inf: "most", -inf: "least"}.get(power, "lp") if p.kind == "lp" else p.kind
        types = (kind, p.dtype, windows, "indices" * p.indices if p.kind == "max" else "")
        small = p.indices and not wide and _is_small(p)
        if small:
            made = self.engine.kernel("maxima", p.dtype, *kernel[1:], *values["stride"][1:], last)
        else:
            made = self.engine.kernel("wide" if wide else "region", *types, *((threads, lanes, last) if wide else ()))
        x, where = _steps(x), _steps(indices)
        whole = windows == "adaptive" or (windows == "steps" and kernel == in_shape and not any(values["pad"]))
        if wide and whole and out_shape == (1, 1, 1) and _follow(x, in_shape):
            in_shape = kernel = (1, 1, taps)  # one window has all of a plane, without gaps
        groups = -(-p.channels // lanes)
        extents = _extents(last, p.batch, p.channels, out_shape)
        blocks = p.batch * prod(out_shape) * groups if last else -(-prod(extents) // lanes)
        geometry = made.geometry(
            *extents, int(last), p.channels, groups, *in_shape, *out_shape, *kernel, *values["stride"], *values["pad"],
            *values["after"], *values["starts"], sum(p.out_shape), int(getattr(p, "count_include_pad", False)), p.divisor,
            values["taps"], *x, *where, *_steps(out),
        )  # fmt: skip
        scalars = () if small else (power, 1 / power if power else 0.0)
        if small:
            extents = extents[0], _fewer(extents), extents[2]
        return made, blocks if wide else extents, threads if wide else 0, scalars, geometry


class DeviceGradient(_OnDevice):
    """Executes a `PoolGradientProblem`."""

    def __init__(self, problem: PoolGradientProblem, engine: Any):
        super().__init__(regular(problem), engine)

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any) -> None:
        """Launch the kernel on a gradient, the input and outputs of a power average, and the result, on the device."""
        kernel, extents, scalars, geometry = self.geometry(*map(device.steps_of, (x, w, bias, out)))
        arrays = (x, w, bias, out) if len(kernel.pointers) > 2 else (x, out)
        call.launch(kernel, extents, arrays, scalars, geometry)

    def _geometry(self, x: Steps, given: Steps, pooled: Steps, out: Steps) -> tuple:
        p = self.problem.pool
        in_shape, out_shape = _three(p.in_shape, 1), _three(p.out_shape, 1)
        windows, kernel, values = _windows(p)
        counts = [np.unique(counted) for counted in p.counted]
        even = p.divisor > 0 or all(len(found) == 1 for found in counts)
        divisor = p.divisor if p.divisor > 0 else max(prod(int(found[0]) for found in counts), 1) if even else 1
        power, last = getattr(p, "power", 0.0), _channels_last(out, p.channels)
        share = (values["taps"] if p.kind == "lp" else 1) / divisor
        held = [-(-k // step) for k, step in zip(kernel, values["stride"], strict=True)]  # windows that hold a position
        small = p.kind == "avg" and even and windows == "steps" and len(p.in_shape) <= 2 and max(held) <= SMALL
        if small:
            sizes = (*kernel[1:], *values["stride"][1:]) if _is_small(p) else (0, 0, 0, 0)
            made = self.engine.kernel("small_gradient", p.dtype, *held[1:], *sizes, last)
        else:
            made = self.engine.kernel("pool_gradient", p.kind, p.dtype, windows, even, last)
        inner, middle, outer = _extents(last, p.batch, p.channels, in_shape)
        geometry = made.geometry(
            inner, middle, outer, p.channels, *out_shape, *in_shape, *kernel, *values["stride"], *values["pad"],
            *values["after"], int(getattr(p, "count_include_pad", False)),
            *(step for steps in (x, given, pooled, out) for step in _steps(steps)),
        )  # fmt: skip
        scalars = (share,) if small else (share, 1 - power, power - 1)
        return made, (inner, _fewer((inner, middle, outer)), outer), scalars, geometry


class DeviceUnpool(_OnDevice):
    """Executes an `UnpoolProblem`; `bias`, where positions outside of a plane are told of, is on the host or nowhere."""

    def written(self, w: Any, out: Any, bias: Any) -> tuple[Any, ...]:
        return (out,) if bias is None else (out, bias)

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any) -> None:
        """Launch the kernel on arrays that lie on the device."""
        p = self.problem
        if p.kind == "take":
            kernel, extents, _, geometry = self.geometry(*map(device.steps_of, (out, w, x, None)), bias is not None)
            call.launch(kernel, extents, (x, w, out, bias), (), geometry)
            return
        sums = out
        _, threads, _, shared = self.block(device.steps_of(out))
        if p.dtype == "float16" and p.kind == "add" and not shared:
            sums = np.moveaxis(
                call.put(np.empty((p.batch, *p.plane_shape, p.channels), np.float32), contents=False), -1, 1
            )
        kernel, _, blocks, geometry = self.geometry(*map(device.steps_of, (x, w, out, sums)), bias is not None)
        call.start(kernel, (blocks, 1, 1), (threads, 1, 1), (x, w, out, sums, bias), (), geometry, shared)

    def block(self, planes: Steps) -> tuple[bool, int, int, int]:
        """Whether channels are neighbours; a block's threads, and channels, and bytes of shared memory for their planes or 0."""
        p, last = self.problem, _channels_last(planes, self.problem.channels)
        size = 4 if (p.kind, p.dtype) == ("add", "float16") else np.dtype(p.dtype).itemsize
        for threads, lanes, most in SCATTERING_LAST if last else SCATTERING:
            nbytes = prod(p.plane_shape) * lanes * size
            if nbytes <= most:
                return last, threads, lanes, nbytes
        return last, threads, lanes, 0

    def _geometry(self, x: Steps, indices: Steps, planes: Steps, sums: Steps, reports: bool) -> tuple:
        p = self.problem
        shape, plane_shape = _three(p.shape, 1), _three(p.plane_shape, 1)
        last, threads, lanes, shared = self.block(planes)
        groups = -(-p.channels // lanes)
        types = (p.dtype,) if p.kind == "take" else (p.kind, p.dtype, threads, lanes, shared > 0)
        made = self.engine.kernel("take" if p.kind == "take" else "scatter", *types)
        steps = [_steps(array) for array in (x, indices, planes, sums)]
        flat = all(
            not any(array) or _follow(array, size)
            for array, size in zip(steps, (shape, shape, plane_shape, plane_shape), strict=True)
        )
        count = prod(shape)
        extents = (p.channels, count, p.batch) if last else (count, 1, p.batch * p.channels)
        geometry = made.geometry(
            *extents, int(last), p.channels, groups, count, prod(plane_shape), int(flat), int(reports), MOST_CLAIM, *shape[1:],
            *plane_shape[1:], *(step for array in steps for step in array),
        )  # fmt: skip
        return made, extents, p.batch * groups, geometry


def _taps(p: PoolProblem | RegionPoolProblem) -> int:
    """Elements of the largest window."""
    return prod(p.kernel_shape or (-(-n // max(out, 1)) for n, out in zip(p.in_shape, p.out_shape, strict=True)))


def _is_wide(p: PoolProblem | RegionPoolProblem) -> bool:
    """Whether windows are worth a block each: large ones that have few elements in common."""
    return _taps(p) >= WIDE and _taps(p) * prod(p.out_shape) <= 4 * prod(p.in_shape)


def _is_small(p: PoolProblem | RegionPoolProblem) -> bool:
    """Whether windows are compiled in."""
    return isinstance(p, PoolProblem) and len(p.in_shape) <= 2 and max(p.kernel_shape + p.stride) <= SMALL


def _windows(p: PoolProblem | RegionPoolProblem) -> tuple[str, tuple[int, ...], dict[str, Any]]:
    """How a kernel finds windows, their size, and the numbers of the three axes that they follow from."""
    n, none, one = len(p.in_shape), (0, 0, 0), (1, 1, 1)
    found: dict[str, Any] = {"stride": one, "pad": none, "after": none, "starts": (-1, -1, -1), "taps": 1}
    if isinstance(p, PoolProblem):
        found |= {"stride": _three(p.stride, 1), "pad": _three(p.pad, 0), "after": _three(p.pad_after or p.pad, 0)}
        return "steps", _three(p.kernel_shape, 1), found | {"taps": prod(p.kernel_shape)}
    if not p.kernel_shape:
        return "adaptive", one, found
    starts = tuple(sum(p.out_shape[:axis]) for axis in range(n))
    return "fractional", _three(p.kernel_shape, 1), found | {"starts": _three(starts, -1)}


def _extents(last: bool, batch: int, channels: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The grid's extents for results of a shape."""
    depth, height, width = shape
    return (channels, width, batch * depth * height) if last else (width, height, batch * channels * depth)


def _fewer(extents: tuple[int, int, int]) -> int:
    """The grid's middle extent where threads do several outputs along it."""
    return -(-extents[1] // min(max(prod(extents) // ENOUGH, 1), ROWS))


def _three(values: Any, missing: int) -> tuple[int, ...]:
    """Numbers of up to three axes as those of planes, rows and columns."""
    return (missing,) * (3 - len(values)) + tuple(values)


def _steps(steps: Steps) -> tuple[int, ...]:
    """Strides (n, c, z, y, x); zeros for an absent array."""
    return (*steps[:2], *_three(steps[2:], 0)) if steps else (0,) * 5


def _channels_last(steps: Steps, channels: int) -> bool:
    """Whether the channels are neighbours in memory, and no others are."""
    return channels > 1 and abs(steps[1]) == 1 and 1 not in map(abs, steps[2:])


def _follow(steps: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether rows and planes follow each other without gaps, but for axes of one element."""
    at = [(n, step) for n, step in zip(shape, steps[2:], strict=True) if n > 1]
    if at and shape[2] == 1:
        return False  # the last axis' step tells how far neighbours are apart
    return all(a == n * b for (_, a), (n, b) in pairwise(at))
