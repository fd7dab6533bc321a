"""How the direct filters in C++ cut a float32 plane (`engines.numba_cuda`: `stream.cu`, `strip.cu`, `halves.cu`)."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from fastconv.problem import ConvProblem

__all__ = ["MAX_BLOCKS", "MAX_STEP", "Shape", "microseconds", "shape_for"]

# Blocks along a grid's y and z.
MAX_BLOCKS = 65535

# The largest distance of rows, and size of a plane along an axis, that the kernels' 32-bit numbers hold.
MAX_STEP, MAX_SIZE = (1 << 29) - 1, 1 << 28

# Up to so many taps tiles are faster than strips, and than those of matrix units.
TILED, BY_HALVES = 81, 63

RING = 3  # rows of the image that `stream.cu` stages at borders


class Shape(NamedTuple):
    """A kernel's numbers behind its phase, as `engines.numba_cuda.define` tells, and the rows of results that a warp sums."""

    operation: str
    rows: int
    stages: int  # times that rows are staged ahead, 0 where none are
    beside: int
    warps: int
    blocks: int
    columns: int  # of a thread
    near: int  # outputs of a row of the matrix that `halves.cu` makes of a row of the image
    strip: int

    @property
    def width(self) -> int:
        """Columns of a warp."""
        return 32 * self.columns

    def grid(self, height: int, width: int, planes: int) -> tuple[int, int, int]:
        """Blocks along a plane's axes, and planes."""
        below = self.warps // self.beside
        return -(-width // (self.width * self.beside)), -(-height // (self.strip * below)), planes

    def shared(self, size: tuple[int, int], phase: int) -> int:
        """Bytes of shared memory of a block."""
        columns = self.columns
        if self.operation == "halves":
            steps = -(-(phase % 2 + size[1] + self.near - 1) // 16)
            pitch = -(-(phase // 2 * 2 + self.width - self.near + 16 * steps) // 4) * 4
            return 512 * steps * -(-self.near * size[0] // 8) + 4 * self.warps * (1 + self.stages * self.rows) * pitch
        pitch = self.width - columns + -(-(phase + size[1] + columns - 1) // 4) * 4
        lines = RING if self.operation == "stream" else self.rows * self.stages + 1
        return 4 * self.warps * lines * pitch


# By the largest size of a kernel: a shape's numbers but the last.  Weights as arguments, weights on the device.
STREAM: dict[int, tuple[int, ...]] = {3: (2, 0, 1, 4, 10, 4, 0), 5: (4, 0, 2, 4, 7, 4, 0), 15: (4, 0, 1, 4, 6, 4, 0)}
STREAM_IN_REGISTERS: dict[int, tuple[int, ...]] = {
    3: (4, 0, 4, 4, 8, 4, 0),
    5: (4, 0, 2, 4, 5, 4, 0),
    7: (4, 0, 2, 4, 4, 4, 0),
}
STRIP: dict[int, tuple[int, ...]] = {11: (2, 2, 4, 4, 4, 4, 0), 15: (1, 3, 4, 4, 4, 4, 0), 21: (3, 3, 4, 4, 2, 4, 0)}
# On matrix units, where sums need not be those of float32 one by one.  Two rows at a time are unrolled, four are not.
HALVES: dict[int, tuple[int, ...]] = {
    9: (4, 3, 4, 4, 4, 4, 8),
    11: (2, 3, 4, 4, 3, 4, 4),
    13: (4, 3, 4, 4, 3, 4, 4),
    17: (4, 3, 4, 4, 3, 4, 8),
    25: (4, 3, 4, 8, 1, 4, 8),
}
# Microseconds of a warp's row on matrix units, and of a product of other kernels, on an H100.
ROW_US, DIRECT_US = 1.0, 5.0e-8
# The longest strips of kernels of so many columns: their neighbours' rows are in the second cache still (11x11 302 for 319 us).
NARROW, LONGEST = 13, 128

# Multiprocessors whose warps shall all have a strip at the same time, and the fewest rows of one, as often as a kernel's.
PROCESSORS, SHORTEST = 132, 5


def shape_for(p: ConvProblem, by_value: bool, warpgroups: bool = True) -> Shape | None:
    """The shape that is fastest for a plane, None if these kernels are not for it."""
    height, width = (1, *p.out_shape)[-2:]
    kernel_y, kernel_x = (1, *p.kernel_shape)[-2:]
    taps, largest = kernel_y * kernel_x, max(kernel_y, kernel_x)
    if max(*p.in_shape, *p.out_shape) > MAX_SIZE:
        return None
    if warpgroups and p.precision != "strict" and taps > BY_HALVES:
        shape = _in_strips("halves", HALVES, p, largest)
        if shape is not None and _microseconds(shape, p) < _direct_microseconds(p):
            return shape
    by_value = by_value and p.channels == 1
    if by_value and taps > TILED:
        shape = _in_strips("strip", STRIP, p, largest)
        if shape is not None and shape.strip >= SHORTEST * kernel_y:
            return shape
    found = _numbers(STREAM if by_value else STREAM_IN_REGISTERS, largest)
    if found is None or width <= 64:
        return None
    shape = Shape._make(("stream", *found, found[0]))
    return shape if shape.grid(height, width, 1)[1] <= MAX_BLOCKS else None


def microseconds(p: ConvProblem, warpgroups: bool) -> float:
    """How long the direct filters take on an H100."""
    shape = shape_for(p, True, warpgroups)
    return _microseconds(shape, p) if shape and shape.operation == "halves" else _direct_microseconds(p)


def _direct_microseconds(p: ConvProblem) -> float:
    return DIRECT_US * p.batch * p.channels * prod(p.out_shape) * prod(p.kernel_shape)


def _microseconds(shape: Shape, p: ConvProblem) -> float:
    height, width = (1, *p.out_shape)[-2:]
    across, down, planes = shape.grid(height, width, p.batch * p.channels)
    times = max(across * down * planes / (PROCESSORS * shape.blocks), 1)
    return times * (shape.strip + (1, *p.kernel_shape)[-2] - 1) * ROW_US


def _in_strips(operation: str, table: dict[int, tuple[int, ...]], p: ConvProblem, largest: int) -> Shape | None:
    """The shape whose warps all have a strip at the same time."""
    found = _numbers(table, largest)
    if found is None:
        return None
    height, width = (1, *p.out_shape)[-2:]
    shape = Shape._make((operation, *found, 0))
    across = -(-width // (shape.width * shape.beside)) * shape.beside * p.batch * p.channels
    strips = max(1, PROCESSORS * shape.blocks * shape.warps // across)
    strip = -(-height // (strips * shape.rows)) * shape.rows
    longest = LONGEST if operation == "halves" and largest <= NARROW else strip
    return shape._replace(strip=min(strip, longest))


def _numbers(table: dict[int, tuple[int, ...]], largest: int) -> tuple[int, ...] | None:
    return next((numbers for most, numbers in table.items() if largest <= most), None)
