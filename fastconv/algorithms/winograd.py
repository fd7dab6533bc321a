"""Winograd's minimal filtering: many channels and filters of 3x3 taps with less than half of the multiplications.

Kernels of 5x5 and 7x7 taps are sums of pieces of 3x3, 3x2, 2x3 and 2x2 taps, two apart: so far as tiles of 2x2 are, so that the
pieces share the values at the points.  49 products stand for 100, 100 for 196, with errors like the direct sum's.

Outputs are made by tiles of m x m: sums of products at (m + 2)^2 points stand for 9 m^2 products (doi:10.1109/CVPR.2016.435).
m = 2 makes rounding errors like the direct sum's, m = 4 about six times as large ones, so that only
``precision="fast"`` takes it.  NaN, infinity and overflow at the points are noticed, and tiles that hold them summed directly.

The kernel (`WINOGRAD_FIELDS` of the contract) makes all products of some rows of tiles while they are in the second cache.
Weights that are not prepared are packed at the points for each call, or where units are few each takes them there by itself,
some channels at a time, so that they never leave the second cache.  Where both take longer than they save, the matrix product
of `fastconv.algorithms.conv` does the work.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.conv import Conv
from fastconv.algorithms.conv import is_ready as conv_is_ready
from fastconv.algorithms.executor import Bound, ConvExecutor, run
from fastconv.algorithms.geometry import geometry, spatial_axes
from fastconv.algorithms.weights import aligned
from fastconv.algorithms.winograd_division import (
    TILES,
    TURNED_VECTORS,
    Division,
    Way,
    best_way,
    division_of,
    pieces_of,
    products_of,
    tiles_of,
)
from fastconv.engines.contract import (
    ACTIVATIONS,
    WINOGRAD_FIELDS,
    WINOGRAD_PIECES_FIELDS,
    WINOGRAD_WEIGHTS_FIELDS,
    record,
    slope_bits,
)
from fastconv.problem import ConvProblem
from fastconv.replay import constant, contiguous, copy_into, kept_weights, zeros

__all__ = ["Winograd", "is_ready", "larger_kernels", "refuse"]

KERNELS = [(taps, taps) for taps in range(3, 16, 2)]
# Results of so many bytes are written past the caches.
STREAM_BEYOND = 8 * 2**20


def refuse(problem: ConvProblem) -> str | None:
    """Why minimal filtering cannot do a problem, or None."""
    if not isinstance(problem, ConvProblem):
        return "is for convolutions"
    if problem.precision not in TILES:
        return "is for layers of nn, in default or fast precision"
    if problem.kernel_shape not in KERNELS or {*problem.stride, *problem.dilation} != {1}:
        return "is for 3x3, 5x5, 7x7 ... 15x15 taps next to each other, and stride 1"
    if problem.acc not in ("float32", "float64") or problem.exact or problem.saturate:
        return "is for floating-point sums in any order"
    if best_way(problem, prepared=True) is None:
        return "needs more channels, filters or pixels to be faster"
    return None


def larger_kernels(problem: ConvProblem) -> str | None:
    """Why a kernel for 3x3 taps alone cannot do a problem, or None."""
    return "is for 3x3 taps" if problem.kernel_shape != (3, 3) else None


def is_ready(problem: ConvProblem, engine: Any) -> bool:
    """Whether the engine's kernels are compiled."""
    kernels = all(engine.is_ready(name, problem.acc) for name in ("winograd", "winograd_weights"))
    return kernels and conv_is_ready(problem, engine)


class Winograd:
    """Executes a `ConvProblem` by minimal filtering, or where weights are not prepared and that takes too long, directly."""

    def __init__(self, problem: ConvProblem, engine: Any, adjoint: bool = False):
        prepared = best_way(problem, prepared=True)
        packing = best_way(problem, prepared=False)
        assert prepared is not None, "refused"
        self.prepared = Tiles(problem, engine, prepared, adjoint)
        self.packing: ConvExecutor = self.prepared
        if packing != prepared:
            self.packing = Conv(problem, engine) if packing is None else Tiles(problem, engine, packing, adjoint)

    @property
    def packs_directly(self) -> bool:
        """Whether weights that are not prepared go to the direct sum, which cannot read an adjoint's."""
        return isinstance(self.packing, Conv)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        (self.packing if kept_weights.get() is None else self.prepared)(x, w, out, bias, fill, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        return max(self.prepared.workspace(threads), self.packing.workspace(threads))

    def describe(self, threads: int) -> str:
        """How the sums are made, in words."""
        if self.packing is self.prepared:
            return str(self.prepared)
        unprepared = self.packing if isinstance(self.packing, Tiles) else "a matrix product"
        return f"{self.prepared} with prepared weights, else {unprepared}"


class Tiles(ConvExecutor):
    """Executes a `ConvProblem` by tiles of m x m outputs."""

    operation = "winograd"

    def __init__(self, problem: ConvProblem, engine: Any, way: Way, adjoint: bool = False):
        """`adjoint`: weights are those of the convolution whose adjoint this is, [channel][filter][the last tap first]."""
        super().__init__(problem, engine)
        self.way, self.tile, self.adjoint = way, way.tile, adjoint
        self.lanes = engine.GEMM[1] // 2 // self.itemsize
        self.weights_kernel = engine.kernel(
            "winograd_pieces" if pieces_of(problem) > 1 else "winograd_weights", problem.acc
        )
        self.blocks = problem.groups * -(-problem.filters // problem.groups // (2 * self.lanes))

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        threads = costs.threads_worth_using(self.problem.flops, self.problem.nbytes, threads)
        bound, kept = self._bind(x.strides, out.strides, threads), kept_weights.get()

        def packed() -> np.ndarray:
            return self._packed(contiguous(w, self.part), threads)

        if self.way.fresh:
            weights = contiguous(w, self.part)
        else:
            weights = packed() if kept is None else kept.get((self.problem, self.tile, self.adjoint), w, packed)
        run(self.kernel, bound, x, weights, out, self._biases(bias), self._constants(fill), threads)

    def __str__(self) -> str:
        m, taps = self.tile, self.problem.kernel_shape[0]
        own = ", weights taken to the points by each unit" if self.way.fresh else ""
        products = products_of(self.problem, m)
        return f"minimal filtering F({m}x{m}, {taps}x{taps}), {products} products for {(taps * m) ** 2}{own}"

    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list]:
        raise NotImplementedError("weights are packed by a kernel")

    def _packed(self, w: np.ndarray, threads: int) -> np.ndarray:
        """Weights at the points, of dense ones of the kernel's type."""
        bound, size = self._packing
        packed = aligned(size, self.part)
        run(self.weights_kernel, bound, w, None, packed, None, None, threads)
        return packed

    @cached_property
    def _packing(self) -> tuple[Bound, int]:
        """The record of the packing kernel, and how many elements it makes."""
        p, wide = self.problem, 2 * self.lanes
        pitch = -(-p.channels // p.groups // self.lanes) * self.lanes
        if pieces_of(p) > 1:
            return self._packing_of_pieces(pitch)
        scratch_bytes = wide * self.lanes * (TURNED_VECTORS + (self.tile + 2) ** 2) * self.itemsize
        values = {
            "scratch_bytes": scratch_bytes, "groups": p.groups, "filters": p.filters // p.groups,
            "channels": p.channels // p.groups, **self._places(), "pitch": pitch, "tile": self.tile,
        }  # fmt: skip
        matrices = self.blocks * ((self.tile + 2) ** 2 + 9)
        size = matrices * pitch * wide + -(-self.blocks // wide) * wide
        return Bound(record(WINOGRAD_WEIGHTS_FIELDS, values), self.blocks, scratch_bytes, (), ()), size

    def _packing_of_pieces(self, pitch: int) -> tuple[Bound, int]:
        p, wide, taps = self.problem, 2 * self.lanes, self.problem.kernel_shape[0]
        scratch_bytes = 2 * wide * self.lanes * taps**2 * self.itemsize
        values = {
            "scratch_bytes": scratch_bytes, "groups": p.groups, "filters": p.filters // p.groups,
            "channels": p.channels // p.groups, "pitch": pitch, "taps": taps,
        }  # fmt: skip
        size = self.blocks * (16 * pieces_of(p) ** 2 + taps**2) * pitch * wide
        return Bound(record(WINOGRAD_PIECES_FIELDS, values), self.blocks, scratch_bytes, (), ()), size

    def _places(self) -> dict[str, int]:
        """Where dense weights lie, in elements."""
        filters, channels = self.problem.filters // self.problem.groups, self.problem.channels // self.problem.groups
        steps = (9, filters * 9) if self.adjoint else (channels * 9, 9)
        return {"w_filter": steps[0], "w_channel": steps[1], "flipped": int(self.adjoint)}

    def _biases(self, bias: np.ndarray | None) -> np.ndarray:
        """One for each filter, as lanes; 0 if there are none."""
        groups, values = self.problem.groups, self._constants(bias)
        shape = groups, self.blocks // groups * 2 * self.lanes
        if values is None:
            return constant(np.zeros(shape, self.part))
        packed = zeros(shape, self.part)
        copy_into(packed[:, : self.problem.filters // groups], values.reshape(groups, -1))
        return packed

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p, size = self.problem, self.itemsize
        y, x = spatial_axes(p, x_strides, out_strides)
        maps = [axis.edges() for axis in (y, x)]
        division, (tile_rows, tile_cols) = self._division(threads)
        direct = p.out_dtype == self.part and (out_strides[1] == size or p.filters == 1)
        values = {
            **geometry(p, y, x, *maps),
            "scratch_bytes": division.scratch_bytes,
            "batch": p.batch, "x_image": x_strides[0], "out_image": out_strides[0],
            "groups": p.groups, "channels": p.channels // p.groups, "filters": p.filters // p.groups,
            "x_channel": x_strides[1], "out_filter": out_strides[1],
            "tile": self.tile, "tile_rows": tile_rows, "tile_cols": tile_cols,
            "n_strips": division.strips, "n_chunks": division.chunks,
            "planes": not p.channels_last, "store_direct": direct,
            "stream": p.batch * p.filters * y.out_size * x.out_size * size >= STREAM_BEYOND,
            "pitch": division.pitch, "step": division.step,
            **dict(zip(("values", "products", "sums", "lines", "weights", "tables"), division.places, strict=True)),
            "w_filter": 0, "w_channel": 0, "flipped": 0, **(self._places() if self.way.fresh else {}),
            "some_channels": division.some[0], "some_step": division.some[1],
            "activation": ACTIVATIONS[p.activation], "slope": slope_bits(p.slope),
        }  # fmt: skip
        units = p.groups * division.strips * division.chunks
        scratch_bytes = division.scratch_bytes
        return Bound(record(WINOGRAD_FIELDS, values), units, scratch_bytes, (), tuple(maps))

    def _division(self, threads: int) -> tuple[Division, tuple[int, int]]:
        """Units, and rows and columns of tiles of an image."""
        return division_of(self.problem, self.way, threads, self.lanes), tiles_of(self.problem, self.tile)
