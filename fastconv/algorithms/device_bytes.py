"""Direct filters of bytes to bytes on a GPU, with small kernels on the host (`engines.numba_cuda.stream_bytes`).

`scipy.ndimage` truncates a float64 sum, and sums in float32 are many times as fast: they are used where they are known to
truncate to the same number, which takes a bound on their rounding errors, the guard.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastconv.algorithms import device
from fastconv.algorithms.device_tile import MAX_BLOCKS, MAX_STEP
from fastconv.device import DeviceArray
from fastconv.problem import ConvProblem

__all__ = ["executor", "refuse"]

# The largest kernels, and rows of a thread and warps of a block.
LARGEST = 7
ROWS, WARPS = 2, 4
VECTOR = 16

# The largest value of a byte, what sums must stay below, half a float32's precision, the largest guard that
# pays, and weights that a float32 holds precisely.
BYTE, BELOW, UNIT, WORTH = 255.0, float(1 << 22), 2.0**-24, 2.0**-7
TINY = 1e-30


def refuse(problem: Any) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, ConvProblem):
        return "is for filters"
    why = device.refuse(problem)
    if why is not None:
        return why
    p = problem
    sums = (p.acc, p.exact) in (("uint32", ""), ("float64", "order"))
    if not p.in_dtype == p.out_dtype == "uint8" or not sums or p.kernel_dtype[0] == "c":
        return "is for bytes to bytes"
    if p.ndim != 2 or max(p.stride + p.dilation) > 1 or max(p.kernel_shape) > LARGEST:
        return f"filters planes with kernels up to {LARGEST}x{LARGEST} and steps of one"
    if not p.channels == p.filters == 1 or p.bias:
        return "is for one channel without a bias"
    return None if max(_grid(p)[1:]) <= MAX_BLOCKS else f"is for {MAX_BLOCKS} planes at most"


def executor(problem: ConvProblem, engine: Any) -> DeviceBytes:
    """The executor of a problem."""
    return DeviceBytes(problem, engine)


def _grid(p: ConvProblem) -> tuple[int, int, int]:
    height, width = p.out_shape
    return -(-width // (32 * VECTOR)), -(-height // (ROWS * WARPS)), p.batch


class DeviceBytes(device.DeviceFilter):
    """Executes a `ConvProblem` of bytes; weights on the device, and values that are no bytes, go to the plain kernel."""

    def __init__(self, problem: ConvProblem, engine: Any):
        super().__init__(problem, engine)
        self.layout = lru_cache(maxsize=8)(self._layout)

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any, fill: Any) -> None:
        """Launch a kernel on an image and a result that lie on the device."""
        p = self.problem
        weighed = None if isinstance(w, DeviceArray) else _weighed(p, np.asarray(w, np.float64).reshape(p.kernel_shape))
        steps = device.steps_of(x), device.steps_of(out)
        fits = (steps[1][3] == 1 or p.out_shape[1] == 1) and abs(steps[0][2]) <= MAX_STEP
        if weighed is None or not fits or not _is_byte(p, fill):
            return super().start(call, x, w, out, bias, fill)
        mode, guard, constants = weighed
        phase = -p.pad[1] % VECTOR
        kernel = self.engine.kernel("bytes", *p.kernel_shape, phase, ROWS, mode, WARPS)
        aligned = (array.address % VECTOR == 0 for array in (x, out))
        geometry = self.layout(kernel.geometry, *steps, *aligned)
        vectors = 31 + -(-(phase + VECTOR + p.kernel_shape[1] - 1) // VECTOR)
        shared = VECTOR * vectors * (ROWS * WARPS + p.kernel_shape[0] - 1)
        number = int(fill) % 256 if "fill" in p.boundary else 0
        call.start(kernel, _grid(p), (32 * WARPS, 1, 1), (x, out), (number, guard), geometry, shared, constants)

    def _layout(self, record: Any, x: device.Steps, out: device.Steps, x_aligned: bool, out_aligned: bool) -> Any:
        p = self.problem
        rules = (self.engine.RULES[rule] for rule in p.boundary)
        vectors = x_aligned and (x[3] == 1 or p.in_shape[1] == 1) and not (x[0] % VECTOR or x[2] % VECTOR)
        stored = out_aligned and not (out[0] % VECTOR or out[2] % VECTOR)
        return record(
            *p.in_shape, *p.out_shape, *p.pad, *rules, x[0], *x[2:], out[0], out[2], int(vectors), int(stored)
        )


def _is_byte(p: ConvProblem, fill: Any) -> bool:
    """Whether the value beyond the border is a byte, or one modulo 256 of a sum of integers."""
    if "fill" not in p.boundary:
        return True
    return complex(fill).imag == 0 and float(fill).is_integer() and (p.acc == "uint32" or 0 <= float(fill) <= BYTE)


def _weighed(p: ConvProblem, w: np.ndarray) -> tuple[str, float, np.ndarray] | None:
    """How the kernel sums, the guard and the weights as float32 numbers; None if float32 is of no use."""
    if p.acc == "uint32":
        return "ring", 0.0, ((w + 128) % 256 - 128).astype(np.float32).ravel()
    total = BYTE * np.abs(w).sum()
    if not total < BELOW:  # or not a number
        return None
    narrow = w.astype(np.float32)
    if not (w % 1).any():
        return "ring", 0.0, narrow.ravel()
    steps, guard, mode = w.size + 4, 0.0, "positive" if _all_positive(w) else "signed"
    if not _is_exact(w, total):
        partial = BYTE * np.cumsum(np.abs(w))
        error = BYTE * np.abs(w - narrow).sum() + _half_ulp(partial).sum() + 2 * _half_ulp(partial[-1])
        guard = 1.01 * (steps * UNIT if mode == "positive" else error)
        if guard * (total if mode == "positive" else 1) > WORTH:
            return None
    halves = np.ascontiguousarray(w).ravel().view(np.float32)
    return mode, guard, np.concatenate([narrow.ravel(), halves])


def _all_positive(w: np.ndarray) -> bool:
    """Whether the sum's relative error is bounded: no weight is negative, and none is so small that it underflows."""
    return bool(((w == 0) | (w > TINY)).all())


def _half_ulp(size: Any) -> Any:
    """The largest rounding errors of float32 numbers of at most such sizes."""
    return np.ldexp(UNIT / 2, np.frexp(size)[1])


def _is_exact(w: np.ndarray, total: float) -> bool:
    """Whether sums in float32 are exact: those of small multiples of a power of two."""
    unit = total * UNIT
    power = 2.0 ** np.ceil(np.log2(unit)) if unit else 1.0
    return not (w / power % 1).any()
