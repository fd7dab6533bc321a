"""Direct filters of bytes to bytes on a GPU, with small kernels on the host (`engines.numba_cuda.stream_bytes`).

`scipy.ndimage` truncates a float64 sum, and sums in float32 are many times as fast: they are used where they are known to
truncate to the same number, which takes a bound on their rounding errors, the guard.  Weights from 0 to 1, and integers, are
multiplied by the integer matrix units instead, as fixed-point numbers (`engines.numba_cuda.stream_matrix`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastconv.algorithms import device
from fastconv.algorithms.device_streams import MAX_BLOCKS, MAX_STEP
from fastconv.device import DeviceArray
from fastconv.problem import ConvProblem

__all__ = ["executor", "refuse"]

# The largest kernels, and rows of a thread and warps of a block.
LARGEST = 7
ROWS, WARPS = 2, 4
VECTOR = 16

# The same for the matrix units, warps side by side, each with so many columns, and steps down; a position's outputs and the
# bytes that their windows must fit into; bits of a fixed-point weight, and how far below the weight it lies at least.
MATRIX_ROWS, MATRIX_WARPS, ACROSS, STEPS = 16, 4, 2, 1
WARP_COLUMNS, POSITION, WINDOW = 128, 8, 16
FRACTION, APART = 24, 2.0**-10

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
        if call.has_matrix_units and self._start_matrix(call, x, np.asarray(w), out, fill, steps):
            return None
        mode, guard, constants = weighed
        phase = -p.pad[1] % VECTOR
        kernel = self.engine.kernel("bytes", *p.kernel_shape, phase, ROWS, mode, WARPS)
        geometry = self._sizes(kernel, x, out, steps)
        vectors = 31 + -(-(phase + VECTOR + p.kernel_shape[1] - 1) // VECTOR)
        shared = VECTOR * vectors * (ROWS * WARPS + p.kernel_shape[0] - 1)
        call.start(
            kernel, _grid(p), (32 * WARPS, 1, 1), (x, out), (self._number(fill), guard), geometry, shared, constants
        )

    def _start_matrix(self, call: Any, x: Any, w: np.ndarray, out: Any, fill: Any, steps: tuple) -> bool:
        """Launch the kernel for the matrix units; False if it is not for such weights."""
        p, (down, along) = self.problem, self.problem.kernel_shape
        fixed = _fixed(p, w.astype(np.float64).reshape(p.kernel_shape))
        start = -p.pad[1] % VECTOR
        phase = start % 4
        if fixed is None or phase + POSITION + along - 1 > WINDOW:
            return False
        rows, width = MATRIX_ROWS * (MATRIX_WARPS // ACROSS) * STEPS, WARP_COLUMNS * ACROSS
        shape = phase, MATRIX_ROWS, fixed.digits, start - phase, MATRIX_WARPS, ACROSS, STEPS
        kernel = self.engine.kernel("matrix", down, along, *shape)
        grid = -(-p.out_shape[1] // width), -(-p.out_shape[0] // rows), p.batch
        vectors = -(-(start - phase + width + WINDOW - POSITION) // VECTOR)
        shared, scalars = VECTOR * vectors * (rows + down - 1), (self._number(fill), fixed.larger)
        geometry = self._sizes(kernel, x, out, steps)
        call.start(kernel, grid, (32 * MATRIX_WARPS, 1, 1), (x, out), scalars, geometry, shared, fixed.constants)
        return True

    def _number(self, fill: Any) -> int:
        return int(fill) % 256 if "fill" in self.problem.boundary else 0

    def _sizes(self, kernel: Any, x: Any, out: Any, steps: tuple) -> Any:
        aligned = (array.address % VECTOR == 0 for array in (x, out))
        return self.layout(kernel.geometry, *steps, *aligned)

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


class Fixed(NamedTuple):
    """Weights as fixed-point numbers: bytes of each (0: integers), how much larger a sum can be, and what a kernel gets."""

    digits: int
    larger: int
    constants: np.ndarray


def _fixed(p: ConvProblem, w: np.ndarray) -> Fixed | None:
    """Weights for the matrix units, None if those are not for them.

    Fixed-point weights lie below the true ones unless all are exact, and by more than SciPy's rounding takes: so the
    truncated sum is never less than theirs, and zero where the image is.
    """
    if p.acc == "uint32" or not (w % 1).any():
        return Fixed(0, 0, _digits(w % 256, 1))
    if not ((w >= 0) & (w < 1)).all():
        return None
    scaled = w * 2.0**FRACTION
    exact = not (scaled % 1).any()
    whole = scaled if exact else np.maximum(np.floor(scaled - APART), 0)
    larger = 0 if exact else int(np.ceil(BYTE * (scaled - whole).sum())) + 1
    low = [i for i in range(3) if not (whole % 256 ** (i + 1)).any()]  # lowest bytes that are all zero
    digits = 3 - len(low)
    halves = np.ascontiguousarray(w).ravel().view(np.float32)
    return Fixed(digits, larger, np.concatenate([_digits(whole // 256 ** len(low), digits), halves]))


def _digits(whole: np.ndarray, count: int) -> np.ndarray:
    """The bytes of integers, the most significant first, each row of weights in eight, as numbers of 32 bits."""
    placed = np.zeros((count, whole.shape[0], 8), np.uint8)
    for i in range(count):
        placed[i, :, : whole.shape[1]] = whole // 256 ** (count - 1 - i) % 256
    return placed.ravel().view(np.float32)


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
