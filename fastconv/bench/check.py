"""Whether a timed output is right.

What is right is SciPy's own result, in double precision, from the adapters of
`fastconv.bench.rivals`.  Small problems are compared as a whole.  Of large ones SciPy
computes windows (two opposite corners and a few random ones), and outputs that pass are
compared with each other as a whole; where two differ, SciPy decides.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.bench.case import Case
from fastconv.bench.contestants import WrongOutput
from fastconv.bench.rivals import SCIPY

__all__ = ["Checker", "WrongOutput"]

# Multiplications for which SciPy takes about 0.1 s: as much is compared as a whole.
WHOLE_BELOW = 30_000_000
WINDOW = 12
RANDOM_WINDOWS = 3

Box = list[tuple[int, int]]  # first and last + 1 output position along each axis of the case


class Checker:
    """Checks the outputs of one case."""

    def __init__(self, case: Case, x: np.ndarray, w: Any):
        self.case, self.x, self.w = case, x, w
        self._whole: Any = None
        self._witness: tuple[str, int, np.ndarray] | None = None
        weights = np.abs(w) if isinstance(w, np.ndarray) else np.full(1, case.gain)
        self.taps = int(prod(w.shape[1:] if case.function == "nn.conv2d" else case.window))
        largest_sum = weights.sum(axis=(1, 2, 3)).max() if case.function == "nn.conv2d" else weights.sum()
        # rounding errors of a sum of n terms grow like sqrt(n); a kernel off by one tap errs by 1/n
        self.tolerance = 0.0
        if x.dtype.kind in "fc" and not case.selects:
            largest = largest_sum * np.nanmax(np.abs(x))
            self.tolerance = float((4.0 + self.taps**0.5) * np.finfo(x.dtype).eps * largest)

    def __call__(self, name: str, output: Any, slack: int = 0) -> float:
        """The output's largest error; raises `WrongOutput` if that is too large.

        `slack` is what integers may differ by.
        """
        values = output[0] if isinstance(output, tuple) else output
        self._check_kind(name, values)
        if isinstance(output, tuple) or self._is_small(values):
            if self._whole is None:
                self._whole = self._scipy(self.x)
            outputs, wholes = (v if isinstance(v, tuple) else (v,) for v in (output, self._whole))
            return max(self._compare(name, *pair, slack) for pair in zip(outputs, wholes, strict=True))
        error = max(self._check_box(name, values, box, slack) for box in self._boxes(values.shape))
        return max(error, self._compare_with_witness(name, values, slack))

    def _is_small(self, values: np.ndarray) -> bool:
        """Whether SciPy computes the whole soon, or sooner than the windows with their margins."""
        sizes = [self.x.shape[axis] for axis in self.case.axes]
        reach = [WINDOW * self.case.stride + 3 * k for k in self.case.window]
        windows = (2 + RANDOM_WINDOWS) * prod(map(min, sizes, reach))
        return values.size * self.taps <= WHOLE_BELOW or windows >= prod(sizes)

    def _check_kind(self, name: str, values: np.ndarray) -> None:
        if values.dtype != self.x.dtype:
            raise WrongOutput(f"{name} gave {values.dtype}, expected {self.x.dtype}")

    def _scipy(self, x: np.ndarray) -> Any:
        """SciPy's result for an input, in double precision."""
        double = {"f": np.float64, "c": np.complex128}.get(x.dtype.kind)
        if double is None or self.case.selects:
            return SCIPY.prepare(self.case, x, self.w)()
        w = self.w.astype(double) if isinstance(self.w, np.ndarray) else self.w
        return SCIPY.prepare(self.case, x.astype(double), w)()

    def _compare(self, name: str, values: np.ndarray, expected: np.ndarray, slack: int, where: str = "") -> float:
        if values.shape != expected.shape:
            raise WrongOutput(f"{name} gave shape {values.shape}, expected {expected.shape}")
        allowed = slack if values.dtype.kind in "iu" else self.tolerance
        difference = _difference(values, expected)
        error = float(difference.max())
        if not error <= allowed:
            at = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), difference.shape))
            raise WrongOutput(
                f"{name} is wrong at {at}{where}: {values[at]}, SciPy gives {expected[at]} "
                f"(error {error:.3g}, allowed {allowed:.3g})"
            )
        return error

    # -- windows -------------------------------------------------------------------------

    def _check_box(self, name: str, values: np.ndarray, box: Box, slack: int) -> float:
        whole: list[Any] = [slice(None)] * values.ndim
        part = whole.copy()
        x = self.x
        for axis, (low, high) in zip(self.case.axes, box, strict=True):
            whole[axis] = slice(low, high)
            places, first = self._input_places(axis, low, high)
            x = np.take(x, places, axis)
            part[axis] = slice(low - first, high - first)
        start = tuple(low for low, _ in box)
        return self._compare(
            name, values[tuple(whole)], self._scipy(x)[tuple(part)], slack, f" of the window at {start}"
        )

    def _input_places(self, axis: int, low: int, high: int) -> tuple[np.ndarray, int]:
        """Input positions from which outputs `low` to `high` can be computed, and the first output they give.

        Positions stop at the image's edge, so that its border is the window's too, unless it is periodic.
        """
        size, step = self.x.shape[axis], self.case.stride
        k = self.case.window[self.case.axes.index(axis)]
        first, stop = low - -(-k // step), high * step + 2 * k
        if self.case.border == "wrap":
            return np.arange(first * step, stop) % size, first
        first = max(first, 0)
        return np.arange(first * step, min(stop, size)), first

    def _boxes(self, shape: tuple[int, ...]) -> list[Box]:
        rng = np.random.default_rng()
        sizes = [shape[axis] for axis in self.case.axes]
        edges = [min(WINDOW, size) for size in sizes]
        last = np.subtract(sizes, edges)
        starts = [0 * last, last, *(rng.integers(0, last + 1) for _ in range(RANDOM_WINDOWS))]
        return [[(int(low), int(low) + edge) for low, edge in zip(lows, edges, strict=True)] for lows in starts]

    # -- whole outputs against each other --------------------------------------------------

    def _compare_with_witness(self, name: str, values: np.ndarray, slack: int) -> float:
        """Compare with the first output that passed; SciPy decides which of the two is wrong."""
        if self._witness is None:
            self._witness = (name, slack, values.copy())
            return 0.0
        other, its_slack, witness = self._witness
        if values.shape != witness.shape:
            raise WrongOutput(f"{name} gave shape {values.shape}, {other} {witness.shape}")
        difference = _difference(values, witness)
        worst = float(difference.max())
        if not worst <= (slack + its_slack if values.dtype.kind in "iu" else 2 * self.tolerance):
            at = np.unravel_index(int(difference.argmax()), difference.shape)
            box = [(int(at[axis]), int(at[axis]) + 1) for axis in self.case.axes]
            self._check_box(name, values, box, slack)
            self._check_box(other, witness, box, its_slack)
        return 0.0


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute differences; NaN counts as infinitely wrong."""
    if a.dtype.kind in "iu":
        return np.abs(a.astype(np.int64) - b.astype(np.int64))
    difference = np.abs(a - b)
    return np.where(np.isnan(difference), np.inf, difference)
