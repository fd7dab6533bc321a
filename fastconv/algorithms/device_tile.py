"""Direct filters of float32 planes on a GPU: small kernels by `stream` and `strip`, others by `tile` (`engines.numba_cuda`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.algorithms import device
from fastconv.algorithms.device_streams import MAX_BLOCKS, MAX_STEP, Shape, shape_for
from fastconv.device import DeviceArray
from fastconv.problem import ConvProblem, SeparableProblem

__all__ = ["executor", "refuse"]

# Widths of kernels that share compiled code, and the shared memory that a block may have on every GPU served.
WIDTHS = (8, 16, 32, 64)
SHARED_BYTES = 99 << 10
FLOAT32 = "float32"


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
    if max(2 * layout.grid[1], layout.grid[2]) > MAX_BLOCKS:  # streams may have half as many rows
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
        self.phase = -(0, *p.pad)[-1] % 4
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
        """The kernel for weights and biases as they lie, for any GPU."""
        return self._kernel(w, self._shape(w, False)) if self._is_fast(w, bias) else super().kernel(w, bias)

    def _kernel(self, w: Any, shape: Shape | None) -> Any:
        """The kernel of a shape; weights on the host are its arguments, but for large ones."""
        layout = self.layout
        if shape is None:
            return self.engine.kernel("tile", layout.across, layout.wide, layout.kernel_y % 4, layout.kernel_x % 8)
        size = layout.kernel_y, layout.kernel_x
        return self.engine.kernel(shape.operation, *size, layout.phase, *shape[1:-1], int(self._by_value(w)))

    def _by_value(self, w: Any) -> bool:
        return self.problem.channels == 1 and not isinstance(w, DeviceArray)

    def _shape(self, w: Any, warpgroups: bool) -> Shape | None:
        return shape_for(self.problem, self._by_value(w), warpgroups)

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any, fill: Any) -> None:
        """Launch the kernel on an image and a result that lie on the device."""
        if not self._is_fast(w, bias):
            return super().start(call, x, w, out, bias, fill)
        layout, shape = self.layout, self._shape(w, call.has_warpgroups)
        kernel = self._kernel(w, shape)
        constants: Any = ()
        if kernel.constants:
            assert shape is not None, "tiles take no weights by value"
            constants = self.engine.weights_of(shape.operation, np.asarray(w).reshape(layout.kernel_y, layout.kernel_x))
        w = None if kernel.constants else call.put(w)
        steps = (device.steps_of(array) for array in (x, w, out, bias))
        geometry = self.geometry(kernel.geometry, *steps, x.address % 16 == 0, 0 if shape is None else shape.strip)
        grid, shared = layout.grid, layout.shared
        if shape is not None:
            grid = shape.grid(layout.height, layout.width, grid[2])
            shared = shape.shared((layout.kernel_y, layout.kernel_x), layout.phase)
        block = (kernel.bounds[0], 1, 1)
        call.start(kernel, grid, block, (x, w, out, bias), (fill,), geometry, shared, constants)

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
        strip: int = 0,
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
            *([strip] if "strip" in record._fields else []),
        )  # fmt: skip


class TileLines(Tile):
    """Executes a `SeparableProblem` with the outer product of its lines."""

    def __init__(self, problem: SeparableProblem, engine: Any):
        super().__init__(problem.conv, engine)
        self.lines = problem

    def __call__(self, x: Any, w: Any, out: Any, bias: Any, fill: Any, threads: int) -> None:
        super().__call__(x, self.lines.kernel(w)[None, None], out, bias, fill, threads)
