"""Host arrays through a GPU in tiles: rows of images, or some images at a time.

A tile's buffer holds all the rows that its outputs read, those that the boundary rule tells of included: so tiles
are problems without a boundary along their first axis, and rows of the table do them like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from fastconv.algorithms.parts import executor_of
from fastconv.boundary import index_map
from fastconv.device import DeviceArray
from fastconv.problem import ConvProblem, SeparableProblem

__all__ = ["by_tiles"]

# Bytes of a tile's outputs or inputs, and of an array that is worth tiles.
TILE, WORTH = 32 << 20, 48 << 20
# How often the first and last tiles are halved.
RAMP = 3

Problem = ConvProblem | SeparableProblem


def by_tiles(problem: Problem, engine: Any, x: Any, w: Any, out: Any, bias: Any, fill: Any) -> bool:
    """Compute a filter of large host arrays; False if it is none, or its tiles would not be the whole's."""
    p = problem.conv if isinstance(problem, SeparableProblem) else problem
    if any(isinstance(array, DeviceArray) for array in (x, w, out, bias)) or max(x.nbytes, out.nbytes) < WORTH:
        return False
    if not p.ndim or np.asarray(fill).astype(p.in_dtype) != fill or np.may_share_memory(x, out):
        return False  # rows of fill values must be what the kernels take for them
    executor = lru_cache(maxsize=None)(lambda part: executor_of(part, engine))
    engine.in_tiles([_tile(problem, p, part, executor, engine, x, w, out, bias, fill) for part in _parts(p)])
    return True


def _parts(p: ConvProblem) -> Iterator[tuple[int, int, int, int]]:
    """(first image, images, first row, rows) of the outputs of each tile."""
    image = max(
        np.dtype(p.in_dtype).itemsize * p.channels * int(np.prod(p.in_shape)),
        np.dtype(p.out_dtype).itemsize * p.filters * int(np.prod(p.out_shape)),
    )
    images, height = max(TILE // image, 1), p.out_shape[0]
    if images > 1:
        yield from ((first, min(images, p.batch - first), 0, height) for first in range(0, p.batch, images))
        return
    cuts = _cuts(p.batch * height, min(max(TILE * height // image, 1), height), height)
    yield from ((start // height, 1, start % height, end - start) for start, end in pairwise(cuts))


def _cuts(total: int, rows: int, height: int) -> list[int]:
    """Where tiles of so many rows start, images one below the other, and the end.

    Nothing is computed before the first tile is there, nor sent while the last result comes back: tiles there are smaller.
    """
    ramp = [0, *accumulate(max(rows >> i, 1) for i in range(RAMP, 0, -1))]
    if total < 4 * rows:
        return sorted({*range(0, total, rows), *range(0, total, height), total})
    middle = range(ramp[-1], total - ramp[-1], rows)
    return sorted({*ramp, *middle, *(total - cut for cut in ramp), *range(0, total, height)})


def _tile(problem: Problem, p: ConvProblem, part: tuple, executor: Any, engine: Any,
          x: Any, w: Any, out: Any, bias: Any, fill: Any) -> Any:  # fmt: skip
    first, images, row, rows = part
    above = row * p.stride[0] - p.pad[0]
    reach = (rows - 1) * p.stride[0] + (p.kernel_shape[0] - 1) * p.dilation[0] + 1
    conv = replace(
        p, batch=images, in_shape=(reach, *p.in_shape[1:]), out_shape=(rows, *p.out_shape[1:]), pad=(0, *p.pad[1:])
    )
    here = replace(problem, conv=conv) if isinstance(problem, SeparableProblem) else conv
    source, target = x[first : first + images], out[first : first + images, :, row : row + rows]
    shapes = (images, p.channels, *conv.in_shape), (images, p.filters, *conv.out_shape)
    dtypes = x.dtype, out.dtype
    sizes = tuple(int(np.prod(shape)) * dtype.itemsize for shape, dtype in zip(shapes, dtypes, strict=True))

    def compute(at: int, to: int, stream: int) -> None:
        arrays = (
            _placed(DeviceArray.at(None, address, *_laid(p, shape, dtype), stream=stream), p)
            for address, shape, dtype in zip((at, to), shapes, dtypes, strict=True)
        )
        given, result = arrays
        executor(here)(given, w, result, bias, fill, 1)

    def buffer(memory: np.ndarray, side: int) -> np.ndarray:
        shape, dtype = _laid(p, shapes[side], dtypes[side])
        return _placed(memory[: sizes[side]].view(dtype).reshape(shape), p)

    return engine.Tile(
        sizes,
        lambda memory: _rows(buffer(memory, 0), source, above, p, fill),
        compute,
        lambda memory: [(target, buffer(memory, 1))],
    )


def _laid(p: ConvProblem, shape: tuple[int, ...], dtype: np.dtype) -> tuple[tuple[int, ...], np.dtype]:
    """The shape in the order in which buffers hold it."""
    return ((shape[0], *shape[2:], shape[1]) if p.channels_last else shape), dtype


def _placed(array: Any, p: ConvProblem) -> Any:
    """A buffer's array in the order of problems."""
    return np.moveaxis(array, -1, 1) if p.channels_last else array


def _rows(buffer: np.ndarray, source: np.ndarray, above: int, p: ConvProblem, fill: Any) -> Iterator[tuple]:
    """Copies of the rows from `above` on, as the boundary rule continues the image."""
    reach, height = buffer.shape[2], source.shape[2]
    low, high = min(max(-above, 0), reach), max(min(height - above, reach), 0)
    if low < high:
        yield buffer[:, :, low:high], source[:, :, above + low : above + high]
    outside = [*range(low), *range(max(low, high), reach)] if low < high else range(reach)
    for at in outside:
        row = int(index_map(np.array(above + at), height, p.boundary[0]))
        yield buffer[:, :, at : at + 1], fill if row < 0 else source[:, :, row : row + 1]
