"""Max and average pooling over small windows on a GPU, in vectors (`engines.numba_cuda.windows`)."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import gcd, prod
from typing import Any

import numpy as np

from fastconv.algorithms import device
from fastconv.problem import PoolProblem
from fastconv.problem.pooling import itemsize

__all__ = ["executor", "refuse"]

# The largest windows and steps that are unrolled, the bytes of a vector, and threads of a block.
LARGEST = 4
VECTOR = 16
THREADS = 128

# See `emit_windows`.
LARGEST_IN_PARTS = 1 << 20

# Grids, and the indices that are divided by factors and shifts, end here; so do numbers of bytes between rows.
MOST = (1 << 31) - 1

# Windows of a thread, one below the other and side by side with channels last, for steps of one and longer ones; else those
# side by side fill a vector.  Sums of float16, which take the most instructions, share more rows.
ROWS, COLUMNS, ROWS_OF_SUMS = {1: 2, 2: 1}, {1: 2, 2: 1}, 4


def refuse(problem: Any) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, PoolProblem):
        return "is for pooling"
    p = problem
    if p.kind == "lp" or p.indices:
        return "pools maxima without indices, and averages"
    if p.dtype not in ("float32", "float16"):
        return "is for float32 and float16"
    if not 0 < len(p.in_shape) <= 2 or max(p.kernel_shape + p.stride) > LARGEST or max(p.dilation) > 1:
        return f"is for lines and planes, windows and steps up to {LARGEST}"
    return None


def executor(problem: PoolProblem, engine: Any) -> DeviceWindows:
    """The executor of a problem."""
    return DeviceWindows(problem, engine)


class DeviceWindows(device.DevicePool):
    """Executes a `PoolProblem` in vectors; arrays with gaps between neighbours go to the plain kernels."""

    def __init__(self, problem: PoolProblem, engine: Any):
        super().__init__(problem, engine)
        self.layout = lru_cache(maxsize=8)(self._layout)

    def start(self, call: Any, x: Any, indices: Any, out: Any) -> None:
        """Launch a kernel on an image and results that lie on the device."""
        aligned = (array.address // array.dtype.itemsize % VECTOR for array in (x, out))
        launch = self.layout(device.steps_of(x), device.steps_of(out), *aligned)
        if launch is None:
            return super().start(call, x, indices, out)
        kernel, blocks, scalars, geometry = launch
        call.start(kernel, (blocks, 1, 1), (THREADS, 1, 1), (x, out), scalars, geometry)

    def _layout(self, x: device.Steps, out: device.Steps, x_first: int, out_first: int) -> tuple | None:
        """Kernel, blocks, scalars and geometry for arrays with such steps and first elements, None for those with gaps."""
        p = self.problem
        (height, width), (out_height, out_width) = ((1, *shape)[-2:] for shape in (p.in_shape, p.out_shape))
        x, out = ((*steps[:2], *(0, *steps[2:])[-2:]) for steps in (x, out))
        size = (p.batch, p.channels, height, width), (p.batch, p.channels, out_height, out_width)
        channels_last = p.channels > 1 and x[1] == out[1] == 1
        along = 1 if channels_last else 3
        if max(map(abs, (*x[2:], *out[2:]))) >= MOST // 4 or not _neighbours(x, size[0], out, size[1], along):
            return None
        most = VECTOR // itemsize(p.dtype)
        load, store = _vector(most, x_first, x, size[0], along), _vector(most, out_first, out, size[1], along)
        if channels_last:
            load = store = min(load, store)
        (pad_y, pad_x), (stride_y, stride_x) = (0, *p.pad)[-2:], (1, *p.stride)[-2:]
        rows, columns = ROWS[min(stride_y, 2)], COLUMNS[min(stride_x, 2)] if channels_last else most
        if (p.dtype, p.kind, stride_y) == ("float16", "avg", 1):
            rows, columns = ROWS_OF_SUMS, 1 if channels_last else columns
        vectors = p.channels // load if channels_last else 1
        inner, down = -(-out_width // columns) * vectors, -(-out_height // rows)
        bands = down * p.batch * (1 if channels_last else p.channels)
        across = min((inner - 1).bit_length(), 5)
        tiles = -(-inner >> across)
        blocks = tiles * -(-bands // (THREADS >> across))
        if max(blocks, bands, inner) > MOST:
            return None
        (divide, *scalars), limits = _divisor(p)
        kernel = self.engine.kernel(
            "windows", p.dtype, p.kind, *(1, *p.kernel_shape)[-2:], stride_y, stride_x,
            0 if channels_last else -pad_x % load, rows, columns, load, store, channels_last, divide, THREADS,
        )  # fmt: skip
        planes = 1 if channels_last else p.channels
        geometry = kernel.geometry(
            inner, across, bands, *_division(tiles), *_division(down), *_division(vectors), *_division(planes),
            height, width, out_height, out_width, pad_y, pad_x, *limits, *x, *out,
        )  # fmt: skip
        return kernel, blocks, scalars, geometry


def _neighbours(x: device.Steps, size: device.Steps, out: device.Steps, out_size: device.Steps, axis: int) -> bool:
    """Whether elements along an axis lie next to each other."""
    return (x[axis] == 1 or size[axis] == 1) and (out[axis] == 1 or out_size[axis] == 1)


def _vector(most: int, first: int, steps: device.Steps, size: device.Steps, along: int) -> int:
    """Elements along an axis that are aligned wherever they are read or written together, a power of two."""
    others = (step for axis, step in enumerate(steps) if axis != along and size[axis] > 1)
    return gcd(most, first, size[along], *others)


def _divisor(p: PoolProblem) -> tuple[tuple[str, float, float], tuple[int, ...]]:
    """How sums are divided, and two numbers (see `emit_windows.Windows`); and between which rows and columns taps count."""
    if p.kind != "avg":
        return ("", 1, 1), (0, 0, 0, 0)
    if p.divisor > 0:
        return _by(p.divisor, p.dtype), (0, 0, 0, 0)
    before = p.pad if p.count_include_pad else (0,) * len(p.pad)
    after = (p.pad_after or p.pad) if p.count_include_pad else before
    limits = [(-b, size + a) for b, a, size in zip(before, after, p.in_shape, strict=True)]
    axes = zip(limits, p.pad, p.out_shape, p.stride, p.kernel_shape, strict=True)
    whole = all(first <= -pad and (n - 1) * step - pad + k <= end for (first, end), pad, n, step, k in axes)
    rows, columns = ((0, 1), *limits)[-2:]
    return _by(prod(p.kernel_shape), p.dtype) if whole else ("count", 1, 1), (*rows, *columns)


def _by(divisor: int, dtype: str) -> tuple[str, float, float]:
    """How to divide by a number: sums of float16 by two parts of its reciprocal, the first rounded down."""
    near = np.float32(1) / np.float32(divisor)
    if dtype != "float16" or divisor > LARGEST_IN_PARTS:
        return "quotient", divisor, float(near)
    exact = Fraction(1, divisor)
    high = near if Fraction(float(near)) <= exact else np.nextafter(near, np.float32(0))
    rest = np.float32(float(exact - Fraction(float(high))))
    return "parts", float(high), float(max(rest, np.finfo(np.float32).smallest_subnormal))


def _division(divisor: int) -> tuple[int, int, int]:
    """A divisor, and factor and shift by which numbers below 2**31 are divided."""
    shift = 31 + (divisor - 1).bit_length()
    return divisor, -(-(1 << shift) // divisor), shift
