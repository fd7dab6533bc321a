"""Direct filters of float32 planes on a GPU: small kernels by `stream`, others by `tile` (`engines.numba_cuda`)."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms import device
from fastconv.device import DeviceArray
from fastconv.problem import ConvProblem, SeparableProblem

__all__ = ["executor", "refuse"]

# Widths of kernels that share compiled code, and the shared memory that a block may have on every GPU served.
WIDTHS = (8, 16, 32, 64)
SHARED_BYTES = 99 << 10
FLOAT32 = "float32"

# Blocks along a grid's y and z, and the largest distance of rows that are found by 32-bit numbers of bytes.
MAX_BLOCKS = 65535
MAX_STEP = (1 << 29) - 1

# The largest kernels for which wide tiles are summed from where the image lies: with weights in shared memory, and as arguments.
STREAMED = (7, 15)

# Rows of a thread, warps of a block, and blocks that a multiprocessor shall hold: of kernels up to so many taps, of larger ones
# (whose rows would not stay in registers), and of weights in shared memory.
STREAM_SMALL, STREAM_LARGE, STREAM_SHARED, SMALL = (4, 4, 6), (4, 8, 3), (8, 4, 4), 81


def refuse(problem: device.Problem) -> str | None:
    """Why tiles are not for a problem, or None."""
    if not isinstance(problem, ConvProblem | SeparableProblem):
        return "is for filters"
    why = device.refuse(problem)
    if why is not None:
        return why
    p = problem.conv if isinstance(problem, SeparableProblem) else problem
    if not p.in_dtype == p.acc == p.out_dtype == FLOAT32:
        return "is for float32"
    if not 0 < p.ndim <= 2 or max(p.stride + p.dilation) > 1:
        return "filters lines and planes with steps of one"
    if not p.channels == p.filters == p.groups or (p.channels_last and p.channels > 1):
        return "is for one channel a group, planes apart"
    width = p.kernel_shape[-1]
    layout = _Layout(p)
    if max(2 * layout.grid[1], layout.grid[2]) > MAX_BLOCKS:  # streams have half as many rows, where they are small
        return f"is for {MAX_BLOCKS} planes at most"
    return None if width <= WIDTHS[-1] and layout.shared <= SHARED_BYTES else "is for smaller kernels"


def executor(problem: ConvProblem | SeparableProblem, engine: Any) -> Tile:
    """The executor of a problem."""
    return TileLines(problem, engine) if isinstance(problem, SeparableProblem) else Tile(problem, engine)


class _Layout:
    """How a plane is cut: threads of a row, the kernel's padded width, outputs of a tile, bytes of shared memory."""

    def __init__(self, p: ConvProblem):
        self.height, self.width = (1, *p.out_shape)[-2:]
        self.kernel_y, self.kernel_x = (1, *p.kernel_shape)[-2:]
        self.wide = next((width for width in WIDTHS if self.kernel_x <= width), WIDTHS[-1])
        self.across = 8 if self.width <= 32 else 16 if self.width <= 64 else 32
        self.tile_y, self.tile_x = 1024 // self.across, 4 * self.across
        self.grid = (-(-self.width // self.tile_x), -(-self.height // self.tile_y), p.batch * p.channels)
        rows = self.tile_y + self.kernel_y - 1
        self.shared = 4 * (self.kernel_y * self.wide + rows * (self.tile_x + self.wide + 4))


class Tile(device.DeviceFilter):
    """Executes a `ConvProblem` by tiles; weights of another dtype go to the plain kernel."""

    def __init__(self, problem: ConvProblem, engine: Any):
        self.layout = _Layout(problem)
        super().__init__(problem, engine)

    def kernel(self, w: Any, bias: Any) -> Any:
        """The kernel for weights and biases as they lie; weights on the host are arguments of small kernels."""
        if not self._is_fast(w, bias):
            return super().kernel(w, bias)
        layout, streamed = self.layout, self._streamed(w)
        if streamed:
            size, phase = (layout.kernel_y, layout.kernel_x), -(0, *self.problem.pad)[-1] % 4
            return self.engine.kernel("stream", *size, phase, *streamed)
        return self.engine.kernel("tile", layout.across, layout.wide, layout.kernel_y % 4, layout.kernel_x % 8)

    def _streamed(self, w: Any) -> tuple[int, int, int, int] | None:
        """Rows of a thread, warps of a block, blocks of a multiprocessor, and whether weights go by value; None for tiles."""
        by_value = self.problem.channels == 1 and not isinstance(w, DeviceArray)
        size = self.layout.kernel_y, self.layout.kernel_x
        if self.layout.across < 32 or max(size) > STREAMED[by_value]:
            return None
        shape = STREAM_SHARED if not by_value else STREAM_SMALL if prod(size) <= SMALL else STREAM_LARGE
        return (*shape, int(by_value))

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any, fill: Any) -> None:
        """Launch the kernel on an image and a result that lie on the device."""
        if not self._is_fast(w, bias):
            return super().start(call, x, w, out, bias, fill)
        kernel, layout, streamed = self.kernel(w, bias), self.layout, self._streamed(w)
        constants = np.ascontiguousarray(w, FLOAT32).ravel() if kernel.constants else ()
        w = None if kernel.constants else call.put(w)
        aligned = x.address % 16 == 0
        geometry = self.geometry(kernel.geometry, *(device.steps_of(array) for array in (x, w, out, bias)), aligned)
        across, down, planes = layout.grid
        if streamed:
            down = -(-layout.height // (streamed[0] * streamed[1]))
        block = (kernel.bounds[0], 1, 1)
        call.start(
            kernel, (across, down, planes), block, (x, w, out, bias), (fill,), geometry, layout.shared, constants
        )

    def _is_fast(self, *arrays: DeviceArray | None) -> bool:
        return all(array is None or array.dtype == FLOAT32 or not isinstance(array, DeviceArray) for array in arrays)

    def _geometry(
        self,
        record: Any,
        x: device.Steps,
        w: device.Steps,
        out: device.Steps,
        bias: device.Steps,
        aligned: bool = False,
    ) -> Any:
        if "aligned" not in record._fields:
            return super()._geometry(record, x, w, out, bias)
        p, layout = self.problem, self.layout
        x, w, out = ((*steps[:2], *(0, *steps[2:])[-2:]) if steps else (0,) * 4 for steps in (x, w, out))
        rules = (0, *(self.engine.RULES[rule] for rule in p.boundary))[-2:]
        return record(
            p.channels, *(1, *p.in_shape)[-2:], layout.height, layout.width, layout.kernel_y, layout.kernel_x,
            *(0, *p.pad)[-2:], *rules, int(p.bias),
            *x, w[0], *w[2:], *out, bias[0] if bias else 0,
            int(aligned and x[3] == 1 and abs(x[2]) <= MAX_STEP and not any(step % 4 for step in x[:3])),
        )  # fmt: skip


class TileLines(Tile):
    """Executes a `SeparableProblem` with the outer product of its lines."""

    def __init__(self, problem: SeparableProblem, engine: Any):
        super().__init__(problem.conv, engine)
        self.lines = problem

    def __call__(self, x: Any, w: Any, out: Any, bias: Any, fill: Any, threads: int) -> None:
        super().__call__(x, self.lines.kernel(w)[None, None], out, bias, fill, threads)
