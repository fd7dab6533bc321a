"""The CUDA engine: Numba kernels for arrays that live on a GPU.

The contract of a CUDA kernel
-----------------------------
A kernel is a Python function that Numba compiles, plain or emitting PTX through
intrinsics, with arguments of three sorts, in this order and all by value:

- *pointers* to the first element of each array, one for each `Kernel.pointers`; the
  strides are in the geometry, in elements, and may be negative.  A bool is a byte.
  An absent array is a null pointer;
- *scalars*, one for each `Kernel.scalars`: int64, uint64, float64 or complex128;
- *the geometry*, one named tuple of int64.

So the parameters of every compiled kernel are 64-bit slots, as the records of the CPU
kernels are (`fastconv.engines.contract`), and `launch` needs to know nothing else.  The
same Python function runs on Numba's simulator if it uses no intrinsics.

The caller owns every array.  A kernel allocates nothing, never fails and writes inside
its output only; it handles its own edges.  Its grid has three axes: `inner` runs along
neighbours in memory, `middle` and `outer` are looped over, since a grid's y and z end at
65535.  The host (`fastconv.algorithms.device`) chooses grid and block, writes the
geometry and refuses what the kernel cannot do.  A kernel made for a case of its own takes
its place as a row of the table before the plain ones.

The modules: `filter`, `moving`, `elementwise`, `pool`, `regions`, `pool_gradient` and `unpool` hold plain kernels, `elements`
what they share; `cubins`
compiles, `driver` loads and launches with the CUDA driver, `simulator` is its twin on Numba's
simulator; `launch` puts the arrays of one call on the device and in stream order,
`pipeline` sends host arrays through in tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from fastconv.device import on_device
from fastconv.engines.numba_cuda.launch import RULES, Call, Kernel, Source, require
from fastconv.engines.numba_cuda.pipeline import Tile, in_tiles

__all__ = ["RULES", "Call", "Tile", "define", "has_warpgroups", "in_tiles", "is_ready", "kernel", "weights_of"]


# Blocks that a multiprocessor shall hold of kernels that pool, and of those that sum float16 numbers by steps of one.
WINDOW_BLOCKS, SUM_BLOCKS = 6, 4
BYTES_BLOCKS = (6, 5)  # of kernels up to nine taps, and of larger ones
UNROLLED = 15  # taps of a row that `strip.cu` sums without a loop: the instructions' cache holds the code
MATRIX_BLOCKS = 4  # with 5x5 and 7x7 weights some bytes are spilled; fewer rows or more blocks are slower

# Kernels of transforms in passes through memory, and the blocks that a multiprocessor shall hold of rows and of columns.
PASSES = ("prepare", "rows", "columns", "columns_of_weights", "rows_back")
PASS_BLOCKS = (3, 1)

# Blocks of transforms that a multiprocessor shall hold, by their points along an axis.
FOURIER_BLOCKS = {16: 4, 32: 4, 64: 3, 128: 1}


def kernel(operation: str, *types: Any) -> Kernel:
    """The kernel of an operation for the given element types; see `define`.

    Raises
    ------
    RuntimeError
        If there is nothing to run it on; it says what to do.
    """
    require()
    return define(operation, *types)


@cache
def define(operation: str, *types: Any) -> Kernel:
    """The Python function of a kernel and its types, which need no GPU.

    ``stream``, ``strip``, ``halves``: kernel height and width, phase, rows of a thread or staged at a time, times that rows are
    staged ahead, warps side by side, warps of a block, blocks that a multiprocessor shall hold, columns of a thread, outputs
    of a row of ``halves``' matrix, and whether weights go by value (those of ``strip`` do); see `stream.cu`, `strip.cu`,
    `halves.cu`.
    ``tile``: see `tile.tile_kernel`, whose arguments are numbers.
    ``spectrum``, ``fourier``: see `fourier.spectrum_kernel` and `fourier.fourier_kernel`, whose arguments are numbers.
    ``prepare``, ``rows``, ``columns``, ``columns_of_weights``, ``rows_back``: points along an axis, see `passes`.
    ``filter``: input, kernel, bias, accumulator and output types, the problem's `exact`, and its axes beyond three.
    ``lines``: kernel height and width, phase, rows of results of a warp, warps of a block, blocks that a multiprocessor shall
    hold, and whether rows are summed in pairs (see `lines.cu`).
    ``bytes``: kernel height and width, phase, rows and mode (see `emit_bytes.Bytes`), and the warps of a block.
    ``matrix``: kernel height and width, phase, rows and digits (see `emit_matrix.Matrix`), the bytes from an aligned vector to
    the windows' start, warps of a block, warps side by side, and steps down.
    ``windows``: the fields of `emit_windows.Windows`, pairs one by one, and the threads of a block.
    ``moving``: kind, input, accumulator and output types, whether there are a footprint and a structure.
    ``map``: operation, input and output types.
    ``max``: type, and "indices" or "".  ``max_2x2`` and ``avg``: type.
    ``region``, ``wide``, ``pool_gradient``, ``maxima``, ``small_gradient``, ``scatter``, ``take``: see `regions`,
    `pool_gradient`, `small_pool` and `unpool`, whose makers have the same arguments.
    """
    return replace(_made(operation, types), name="-".join(map(str, (operation, *types))))


def _made(operation: str, types: tuple) -> Kernel:
    alone: dict[str, Callable[..., Kernel]] = {
        "filter": _filter, "windows": _windows, "bytes": _bytes, "matrix": _matrix, "moving": _moving,
        "lines": _lines, "map": _map, "tile": _tile, "pool_gradient": _pool_gradient,
    }  # fmt: skip
    if operation in alone:
        return alone[operation](*types)
    several: dict[tuple[str, ...], Callable[..., Kernel]] = {
        ("stream", "strip", "halves"): _stream,
        PASSES: _pass, ("spectrum", "fourier"): _fourier, ("region", "wide"): _regions,
        ("maxima", "small_gradient"): _small_pool, ("scatter", "take"): _unpool,
    }  # fmt: skip
    return next((make for names, make in several.items() if operation in names), _pool)(operation, *types)


def _filter(source: str, weights: str, bias: str, acc: str, out: str, exact: str, further: int) -> Kernel:
    from fastconv.engines.numba_cuda import filter

    function = filter.filter_kernel(acc, out, exact, further)
    scalar = {"f": "float64", "c": "complex128"}.get(np.dtype(acc).kind, "uint64")
    return Kernel(function, (source, weights, out, bias), (scalar,), filter.geometry_of(further))


def _tile(*numbers: int) -> Kernel:
    from fastconv.engines.numba_cuda import tile

    bounds = (tile.THREADS, tile.BLOCKS)
    return Kernel(tile.tile_kernel(*numbers), ("float32",) * 4, ("float64",), tile.TileGeometry, bounds)


def _stream(operation: str, height: int, width: int, phase: int, rows: int, stages: int, *rest: int) -> Kernel:
    from fastconv.engines.numba_cuda import stream

    beside, warps, blocks, columns, near, by_value = rest
    macros: dict[str, int | str] = {
        "KERNEL_Y": height,
        "KERNEL_X": width,
        "PHASE": phase,
        "ROWS": rows,
        "BESIDE": beside,
    }
    if operation == "stream":
        macros["COLUMNS"] = columns
    else:
        macros["STAGES"] = stages
    if operation == "strip":
        macros["TAPS"] = width if width <= UNROLLED else 4
    if operation == "halves":
        macros |= stream.operands(height, columns, near)
    twin = stream.stream_twin((height, width), columns, beside, warps, operation)
    return Kernel(
        twin, ("float32",) * 4, ("float64",), stream.StreamGeometry, (32 * warps, blocks), height * width * by_value,
        replace(Source.of(operation, **macros), needs_own=operation == "halves"),
    )  # fmt: skip


def _lines(height: int, width: int, phase: int, rows: int, warps: int, blocks: int, paired: int) -> Kernel:
    from fastconv.engines.numba_cuda import lines

    macros = {"KERNEL_Y": height, "KERNEL_X": width, "PHASE": phase, "ROWS": rows, "PAIRED": paired}
    twin, source = lines.lines_twin(height, width, rows, warps), Source.of("lines", **macros)
    constants = height + width
    return Kernel(
        twin, ("float32",) * 2, ("float64",), lines.LinesGeometry, (32 * warps, blocks), constants, source,
    )  # fmt: skip


def _bytes(height: int, width: int, phase: int, rows: int, mode: str, warps: int) -> Kernel:
    from fastconv.engines.numba_cuda import stream_bytes
    from fastconv.engines.numba_cuda.emit_bytes import Bytes

    function = stream_bytes.bytes_kernel(Bytes((height, width), phase, rows, mode), warps)
    blocks = BYTES_BLOCKS[height * width > 9]
    constants = height * width * (1 if mode == "ring" else 3)  # float32 weights, and the halves of float64 ones
    return Kernel(
        function, ("uint8",) * 2, ("float64",) * 2, stream_bytes.BytesGeometry, (32 * warps, blocks), constants
    )


def _matrix(height: int, width: int, phase: int, rows: int, digits: int, skip: int, *block: int) -> Kernel:
    from fastconv.engines.numba_cuda import stream_bytes, stream_matrix
    from fastconv.engines.numba_cuda.emit_matrix import Matrix

    shape = Matrix((height, width), phase, rows, digits)
    function = stream_matrix.matrix_kernel(shape, skip, *block)
    constants = shape.words + (2 * height * width if digits else 0)  # bytes of weights, and the halves of float64 ones
    bounds = (32 * block[0], MATRIX_BLOCKS)
    return Kernel(function, ("uint8",) * 2, ("float64",) * 2, stream_bytes.BytesGeometry, bounds, constants)


def _windows(dtype: str, kind: str, *numbers: Any) -> Kernel:
    from fastconv.engines.numba_cuda import windows
    from fastconv.engines.numba_cuda.emit_windows import Windows

    kernel_y, kernel_x, stride_y, stride_x, *rest, threads = numbers
    function = windows.windows_kernel(Windows(dtype, kind, (kernel_y, kernel_x), (stride_y, stride_x), *rest), threads)
    blocks = SUM_BLOCKS if (dtype, kind, stride_y) == ("float16", "avg", 1) else WINDOW_BLOCKS
    return Kernel(function, (dtype,) * 2, ("float64",) * 2, windows.WindowsGeometry, (threads, blocks))


def _moving(kind: str, source: str, acc: str, out: str, footprint: bool, structure: bool) -> Kernel:
    from fastconv.engines.numba_cuda import moving

    function = moving.moving_kernel(kind, acc, out, footprint, structure)
    number = "float64" if np.dtype(acc).kind == "f" else "uint64" if acc == "uint64" else "int64"
    return Kernel(function, (source, "uint8", acc, out), (number,), moving.MovingGeometry)


def _map(operation: str, source: str, out: str) -> Kernel:
    from fastconv.engines.numba_cuda import elementwise

    return Kernel(elementwise.map_kernel(operation, source, out), (source, source, out), (), elementwise.MapGeometry)


def _fourier(operation: str, n: int, points: int, parts: int = 0) -> Kernel:
    from fastconv.engines.numba_cuda import fourier

    bounds = (n * n // points, FOURIER_BLOCKS[n])
    if operation == "spectrum":
        return Kernel(
            fourier.spectrum_kernel(n, points), ("float32", "complex64"), ("float64",), fourier.FourierGeometry, bounds
        )
    pointers, function = ("float32", "float32", "float32", "complex64"), fourier.fourier_kernel(n, points, bool(parts))
    return Kernel(function, pointers, ("float64",), fourier.FourierGeometry, bounds)


def _pass(operation: str, n: int) -> Kernel:
    from fastconv.engines.numba_cuda import passes

    threads = n // passes.RADICES[n][0]
    rows, columns = (threads * passes.ROWS, PASS_BLOCKS[0]), (threads * passes.COLUMNS, PASS_BLOCKS[1])
    function, pointers, scalars, bounds = {
        "prepare": lambda: (passes.prepare_kernel(n), ("float32", "complex64"), ("float64",), (passes.THREADS,)),
        "rows": lambda: (passes.rows_kernel(n), ("float32", "complex64", "complex64"), ("float64",), rows),
        "columns": lambda: (passes.columns_kernel(n, False), ("complex64",) * 3, (), columns),
        "columns_of_weights": lambda: (passes.columns_kernel(n, True), ("complex64",) * 3, (), columns),
        "rows_back": lambda: (passes.rows_back_kernel(n), ("float32",) * 3 + ("complex64",) * 2, ("float64",), rows),
    }[operation]()
    return Kernel(function, pointers, scalars, passes.PassGeometry, bounds)


def _pool(operation: str, dtype: str, *rest: str) -> Kernel:
    from fastconv.engines.numba_cuda import pool

    makers = {
        "max": lambda: pool.max_kernel(dtype, bool(rest[0])),
        "max_2x2": pool.max_2x2_kernel,
        "avg": lambda: pool.avg_kernel(dtype),
    }
    return Kernel(makers[operation](), (dtype, "int64", dtype), (), pool.PoolGeometry)


def _regions(operation: str, kind: str, dtype: str, windows: str, indices: str, *block: Any) -> Kernel:
    from fastconv.engines.numba_cuda import regions

    maker = regions.wide_kernel if operation == "wide" else regions.region_kernel
    function = maker(kind, dtype, windows, bool(indices), *block)
    pointers, scalars, bounds = (dtype, "int64", dtype, "int64"), ("float64",) * 2, block[:1] and (block[0], 1)
    return Kernel(function, pointers, scalars, regions.RegionGeometry, bounds)


def _pool_gradient(kind: str, dtype: str, windows: str, even: bool, channels_last: bool) -> Kernel:
    from fastconv.engines.numba_cuda import pool_gradient

    function = pool_gradient.gradient_kernel(kind, dtype, windows, even, channels_last)
    return Kernel(function, (dtype,) * 4, ("float64",) * 3, pool_gradient.GradientGeometry)


def _small_pool(operation: str, dtype: str, *numbers: Any) -> Kernel:
    from fastconv.engines.numba_cuda import pool_gradient, regions, small_pool

    if operation == "maxima":
        function = small_pool.maxima_kernel(dtype, *numbers)
        return Kernel(function, (dtype, "int64", dtype), (), regions.RegionGeometry)
    function = small_pool.small_gradient_kernel(dtype, *numbers)
    return Kernel(function, (dtype, dtype), ("float64",), pool_gradient.GradientGeometry)


def _unpool(operation: str, *types: Any) -> Kernel:
    from fastconv.engines.numba_cuda import unpool

    if operation == "take":
        (dtype,) = types
        return Kernel(unpool.take_kernel(dtype), (dtype, "int64", dtype, "int64"), (), unpool.UnpoolGeometry)
    kind, dtype, threads, lanes, staged = types
    sums = "float32" if (kind, dtype) == ("add", "float16") else dtype
    function = unpool.scatter_kernel(kind, dtype, threads, lanes, staged)
    return Kernel(function, (dtype, "int64", dtype, sums, "int64"), (), unpool.UnpoolGeometry, (threads, 1))


def weights_of(operation: str, w: np.ndarray) -> np.ndarray:
    """The weights by value of a two-dimensional kernel, in the order of the source of ``stream``, ``strip`` or ``halves``."""
    from fastconv.engines.numba_cuda import stream

    return stream.weights_of(operation, w)


def has_warpgroups(array: Any) -> bool:
    """Whether four warps multiply matrices together on the device where an array lies, or would be brought."""
    with Call(array if on_device(array) else None) as call:
        return call.has_warpgroups


def is_ready(operation: str, *types: Any) -> bool:
    """Always: arrays on a GPU have no other engine that could serve them while this one compiles."""
    return True
