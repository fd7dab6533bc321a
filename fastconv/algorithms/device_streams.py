"""How the direct filters in C++ cut a float32 plane (`engines.numba_cuda`: `stream.cu`, `strip.cu`, `pairs.cu`)."""

from __future__ import annotations

from typing import NamedTuple

from fastconv.problem import ConvProblem

__all__ = ["IN_STRIPS", "MAX_BLOCKS", "MAX_STEP", "Shape", "shape_for"]

# Blocks along a grid's y and z.
MAX_BLOCKS = 65535

# The largest distance of rows, and size of a plane along an axis, that the kernels' 32-bit numbers hold.
MAX_STEP, MAX_SIZE = (1 << 29) - 1, 1 << 28

# The largest kernels: with weights as arguments in strips and in tiles, and with weights on the device.
STRIPS, BY_VALUE, IN_REGISTERS = 21, 15, 7
IN_STRIPS = ("strip", "pairs")
TILED = 81  # Up to so many taps tiles are faster.


RING = 3  # rows of the image that `stream.cu` stages at borders


class Shape(NamedTuple):
    """A kernel's numbers behind its phase, as `engines.numba_cuda.define` tells, and the rows of results that a warp sums."""

    operation: str
    rows: int
    several: int  # columns of a thread, or how often rows are staged ahead
    beside: int
    warps: int
    blocks: int
    strip: int

    @property
    def width(self) -> int:
        """Columns of a warp."""
        return 32 * (self.several if self.operation == "stream" else 4)

    def grid(self, height: int, width: int, planes: int) -> tuple[int, int, int]:
        """Blocks along a plane's axes, and planes."""
        below = self.warps // self.beside
        return -(-width // (self.width * self.beside)), -(-height // (self.strip * below)), planes

    def shared(self, kernel_x: int, phase: int) -> int:
        """Bytes of shared memory of a block."""
        columns = self.width // 32
        pitch = self.width - columns + -(-(phase + kernel_x + columns - 1) // 4) * 4
        lines = RING if self.operation == "stream" else self.rows * self.several + 1
        return 4 * self.warps * lines * pitch


# By the largest size of a kernel; weights as arguments, weights on the device.
STREAM = {3: (2, 4, 1, 4, 10), 5: (4, 4, 2, 4, 7), 15: (4, 4, 1, 4, 6)}
STREAM_IN_REGISTERS = {3: (4, 4, 4, 4, 8), 5: (4, 4, 2, 4, 5), 7: (4, 4, 2, 4, 4)}
STRIP = {11: (2, 2, 4, 4, 4), 15: (1, 3, 4, 4, 4), 21: (3, 3, 4, 4, 2)}
# Where rounding errors may be twice as large.
PAIRS = {11: (2, 3, 4, 4, 4), 15: (2, 3, 4, 4, 3)}

# Multiprocessors whose warps shall all have a strip at the same time, and the fewest rows of one, as often as a kernel's.
PROCESSORS, SHORTEST = 132, 5


def shape_for(p: ConvProblem, by_value: bool) -> Shape | None:
    """The shape that is fastest for a plane, None if these kernels are not for it."""
    height, width = (1, *p.out_shape)[-2:]
    kernel_y, kernel_x = (1, *p.kernel_shape)[-2:]
    if max(*p.in_shape, *p.out_shape) > MAX_SIZE:
        return None
    strip = _strip(p, height, width, (kernel_y, kernel_x)) if by_value and p.channels == 1 else None
    if strip is not None:
        return strip
    table = STREAM if by_value and p.channels == 1 else STREAM_IN_REGISTERS
    found = next((numbers for most, numbers in table.items() if max(kernel_y, kernel_x) <= most), None)
    if found is None or width <= 64:
        return None
    shape = Shape("stream", *found, strip=found[0])
    return shape if shape.grid(height, width, 1)[1] <= MAX_BLOCKS else None


def _strip(p: ConvProblem, height: int, width: int, size: tuple[int, int]) -> Shape | None:
    if size[0] * size[1] <= TILED:
        return None
    tables = {"strip": STRIP} if p.precision == "strict" or size[0] < 2 else {"pairs": PAIRS, "strip": STRIP}
    fitting = (
        (name, numbers) for name, table in tables.items() for most, numbers in table.items() if max(size) <= most
    )
    operation, found = next(fitting, ("", None))
    if found is None:
        return None
    rows, _, beside, warps, blocks = found
    across = -(-width // (128 * beside)) * beside * p.batch
    strips = max(1, PROCESSORS * blocks * warps // across)
    strip = -(-height // (strips * rows)) * rows
    return Shape(operation, *found, strip=strip) if strip >= SHORTEST * size[0] else None
