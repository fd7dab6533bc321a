"""Convolution of planes as a matrix product of packed panels: lanes are pixels, of all images of a batch.

The kernel (`PANELS_FIELDS` of the contract) packs what the windows of some tiles of 32 pixels read, and multiplies it with
weights that are packed in panels of up to 14 filters.  So loads are aligned and follow each other, pixels of several images fill
tiles together (7x7 pixels would leave a quarter of the lanes empty), and it is known well before what will be read and
written: that is called for.  Weights are packed for each call if there are many pixels, else the call is left to
`fastconv.algorithms.conv`, unless they are prepared; so are arrays whose planes have gaps.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.conv import Conv
from fastconv.algorithms.executor import Bound, ConvExecutor, run
from fastconv.algorithms.weights import aligned
from fastconv.engines.contract import ACTIVATIONS, PANEL_WEIGHTS_FIELDS, PANELS_FIELDS, record, slope_bits
from fastconv.engines.level import SIMD
from fastconv.problem import ConvProblem
from fastconv.replay import constant, contiguous, kept_weights

__all__ = ["Panels", "refuse", "refuse_kernel"]

# PANEL_ROWS, PANEL_LANES and PANEL_TILES of panels.h.
ROWS, LANES, TILES = 14, 32, 4
# Fewer filters do not repay packing pixels; fewer channels, what is found out anew for each tap.
MIN_FILTERS, MIN_CHANNELS, ONE_IMAGE_FILTERS = 16, 16, 64
# Elements of depth that are packed at once, for the tiles of a block: 256 KiB.  Bytes of sums that are kept between blocks of
# channels.
MOST_DEPTH, SUMS_BYTES = 576, 512 * 1024
# Blocks of a unit, within which the next one's pixels are called for.
BLOCKS, UNITS_PER_THREAD = 8, 8
# Packing a tile's pixels takes as long as so many filters; reading the weights of a filter, as so many tiles.
PACKING, READING = 6, 0.05
# So few tiles: planes that two threads write parts of take longer, as if they were of so many pixels more; weights are read again
# for each block, as so many tiles; and threads with few units take longer, as one is slower than another.  14x14 pixels, two
# threads of an Intel Xeon, four tiles and four chunks: 64 to 384 channels 48 rather than 61 us, 256 to 1024 360 rather than 418.
FEW_TILES, SHARED, AGAIN, UNEVEN = 32, 128, 0.5, 0.3
# Fewer pixels fill tiles badly, those of several taps fewer than so many; nor do fewer repay packing weights at each call.
LEAST_PIXELS, LEAST_WINDOWS, PACKED_PIXELS = 128, 1024, 300
LINE = 64


def refuse_kernel(problem: ConvProblem) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    p = problem
    if not isinstance(p, ConvProblem):
        return "is for convolutions"
    if SIMD != "v4":
        return "is for processors with AVX-512"
    if {p.in_dtype, p.out_dtype, p.acc} != {"float32"} or p.exact or p.saturate:
        return "is for float32"
    if p.channels_last or p.ndim != 2 or p.groups > 1 or set(p.boundary) != {"fill"} or p.stride[1] > 2:
        return "is for images of planes, one group, constant borders and steps of up to two"
    if p.filters < MIN_FILTERS or p.channels < MIN_CHANNELS:
        return f"is for at least {MIN_CHANNELS} channels and {MIN_FILTERS} filters"
    return None


def refuse(problem: ConvProblem) -> str | None:
    """Why panels should not do a problem, or None."""
    p, why = problem, refuse_kernel(problem)
    if why is not None:
        return why
    if p.batch == 1 and p.filters < ONE_IMAGE_FILTERS:
        return "is for more filters of a single image, which the caches hold"
    least = LEAST_PIXELS if prod(p.kernel_shape) == 1 else LEAST_WINDOWS
    if p.batch * prod(p.out_shape) < least:
        return f"is for at least {least} pixels"
    return None


class Panels(ConvExecutor):
    """Executes a `ConvProblem` by panels of filters and pixels."""

    operation = "panels"

    def __init__(self, problem: ConvProblem, engine: Any, rows: bool = False):
        """`rows`: weights of one tap lie as [channel][filter], and are read there."""
        super().__init__(problem, engine)
        p, self.rows = problem, rows
        self.taps = prod(p.kernel_shape)
        self.pixels = p.batch * prod(p.out_shape)
        self.panels = -(-p.filters // ROWS)
        passes = -(-p.channels * self.taps // MOST_DEPTH)
        self.block_channels = -(-p.channels // passes)
        self.conv = Conv(problem, engine)
        self.weights_kernel = engine.kernel("panel_weights", "float32")
        values = {
            "channels": p.channels,
            "filters": p.filters,
            "taps": self.taps,
            "block_channels": self.block_channels,
        }
        slots = record(PANEL_WEIGHTS_FIELDS, values | {"scratch_bytes": 0, "n_panels": self.panels})
        self._packing = Bound(slots, self.panels, 0, (), ())

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        kept = kept_weights.get()
        if (kept is None and self.pixels < PACKED_PIXELS) or not self.is_dense(x.strides, out.strides):
            return self.conv(x, w, out, bias, fill, threads)
        p = self.problem

        def packed() -> np.ndarray:
            weights = aligned(p.filters * p.channels * self.taps, "float32")
            run(self.weights_kernel, self._packing, contiguous(w, self.part), None, weights, None, None, threads)
            return weights

        weights = packed() if kept is None else kept.get((p, "panels"), w, packed)
        self.compute(x, weights, out, bias, fill, threads)
        return None

    def compute(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        """The convolution with weights as the kernel reads them."""
        p = self.problem
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bound = self._bind(x.strides, out.strides, threads)
        biases = constant(np.zeros(p.filters, self.part)) if bias is None else self._constants(bias)
        run(self.kernel, bound, x, w, out, biases, self._constants(0.0 if fill is None else fill), threads)

    def is_dense(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> bool:
        """Whether pixels of a row are neighbours, and those of an output plane."""
        size = self.itemsize
        return x_strides[3] == out_strides[3] == size and out_strides[2] == size * self.problem.out_shape[1]

    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list[Any]]:
        raise NotImplementedError

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        return max(super().workspace(threads), self.conv.workspace(threads))

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p, size = self.problem, self.itemsize
        (height, width), (out_height, out_width), row = p.in_shape, p.out_shape, x_strides[2]
        in_place = self.taps == 1 and max(p.stride) == 1 and not any(p.pad) and row == width * size
        if in_place:
            height, width, out_height, out_width, row = 1, height * width, 1, out_height * out_width, 0
        tiles, chunks, blocks = self._division(threads)
        depth = self.block_channels * self.taps
        sums = tiles * depth * LANES * size
        tile = sums + (tiles * p.filters * LANES * size if self.block_channels < p.channels else 0)
        values = {
            "scratch_bytes": tile + ROWS * LANES * size + LINE,
            "x_image": x_strides[0], "x_channel": x_strides[1], "x_row": row, "height": height, "width": width,
            "out_height": out_height, "out_width": out_width, "kernel_y": p.kernel_shape[0], "kernel_x": p.kernel_shape[1],
            "stride_y": p.stride[0], "stride_x": p.stride[1], "dilation_y": p.dilation[0], "dilation_x": p.dilation[1],
            "pad_y": p.pad[0], "pad_x": p.pad[1], "out_image": out_strides[0], "out_channel": out_strides[1],
            "channels": p.channels, "filters": p.filters, "block_channels": self.block_channels,
            "w_step": p.filters * self.rows, "pixels": self.pixels, "n_panels": self.panels, "n_chunks": chunks,
            "tiles": tiles, "blocks": blocks, "in_place": in_place, "sums": sums, "tile": tile,
            "activation": ACTIVATIONS[p.activation], "slope": slope_bits(p.slope),
        }  # fmt: skip
        units = -(-self.pixels // (LANES * tiles * blocks)) * chunks
        return Bound(record(PANELS_FIELDS, values), units, values["scratch_bytes"], (), ())

    def _division(self, threads: int) -> tuple[int, int, int]:
        """Tiles of a block, chunks of the filters, blocks of a unit."""
        all_tiles, most = -(-self.pixels // LANES), TILES
        if self.block_channels < self.problem.channels:
            most = max(1, min(most, SUMS_BYTES // (self.problem.filters * LANES * self.itemsize)))
        most_chunks = 1 if threads == 1 else min(self.panels, 2 * threads)
        ways = [(tiles, chunks) for tiles in range(min(most, all_tiles), 0, -1) for chunks in range(1, most_chunks + 1)]
        tiles, chunks = min(ways, key=lambda way: self._took(all_tiles, way[0], way[1], threads))
        units = -(-all_tiles // tiles) * chunks
        return tiles, chunks, max(1, min(BLOCKS, units // (UNITS_PER_THREAD * threads)))

    def _took(self, all_tiles: int, tiles: int, chunks: int, threads: int) -> float:
        """About how long the thread with the most units takes."""
        rows, blocks = -(-self.panels // chunks) * ROWS, -(-all_tiles // tiles)
        if all_tiles > FEW_TILES or threads == 1:
            return -(-blocks * chunks // threads) * (tiles * (rows + PACKING) + READING * rows)
        if chunks % threads:
            return -(-blocks * chunks // threads) * tiles * rows * (1 + SHARED / self.pixels)
        return chunks // threads * rows * (all_tiles + AGAIN * blocks) * (1 + UNEVEN * threads / (chunks * blocks))
