"""Records of the convolutions of 8-bit numbers."""

from __future__ import annotations

from fastconv.engines.contract.elements import GEOMETRY, HEADER

__all__ = ["CONV8_FIELDS", "DEPTHWISE8_FIELDS", "PANELS8_FIELDS", "PANEL_WEIGHTS8_FIELDS", "WEIGHTS8_FIELDS"]

# Convolution of 8-bit numbers.  A unit is a box of output pixels of one plane (z) of an image, with a chunk of the filters of a
# group.  The record begins with the third axis.  Scratch memory: a tile of sums, then what `raw` to `tables` tell.
# `bias` has for all lanes of all blocks what sums begin with and zero points of the weights (int32), scales and offsets
# (float64); `fill` the numbers that are the same for all filters (`Conv8Numbers`): the byte beyond the border, what
# staged elements are less by, the zero point that is left of them, whether one is left of the weights, so that windows must be
# summed; zero point, least and greatest of the results, (float32) how near to a half float32 does for rounding, and
# in how many parts of 65536 it may err, or 0.
CONV8_FIELDS = GEOMETRY + (
    "depth", "x_plane", "out_depth", "out_plane", "kernel_z", "stride_z", "dilation_z", "pad_z", "map_z",
    "groups", "channels", "filters",  # channels and filters of one group
    "x_image", "out_image", "x_channel", "out_channel",  # byte strides
    "together",  # elements multiplied and added at once: four bytes, two of 16 bits, or one of 32 bits
    # Lanes are channels, each with a window of its own; runs are single taps, in fours (or what `together` is), 2: those of 3x3
    # column by column.
    "depthwise",
    "merged",  # ... neighbouring pixels whose channels are lanes together (1 if not depthwise)
    "in_place",  # windows are read where the image lies
    "turned",  # results go into a box of pixels first, which is transposed
    "n_row_units", "n_col_units", "n_chunks",  # units of a plane of the output, units that share the filters of a group
    "step_y", "step_x",  # positions between staged neighbours
    "pixel", "row", "plane",  # staged: bytes from one to the next
    "segment_of",  # pointer to int64: byte offset of each run of a window
    "segments", "run", "quads",  # runs of a window, elements of a run, 4 bytes of elements of a run
    "raw", "staged", "box", "tables",  # where parts of the scratch memory begin
)  # fmt: skip

# Weights for it, [group][block of filters][run][4 bytes of elements][lane], then the sum of each lane: a unit is a block.
# `bias` has what is taken from the weights of each filter, int32.
WEIGHTS8_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "filters", "depth",  # of a group; weights of a filter
    "elements", "together",  # packed elements of a filter; of 4 bytes
    "depthwise",  # [block of channels][4 bytes of taps][lane], the sums of each lane, after the last block weights of 1
    "index_of",  # pointer to int32[elements]: which weight, or -1
    "src_code",  # DTYPE_CODES
    "taps",  # if elements are tap after tap, channels in fours or a single tap; else 0
)  # fmt: skip

# Depthwise convolution of planes of 8-bit numbers.  A unit is a strip of rows of a chunk of channels of an image.  `w` has the
# weights as they are, `bias` what `CONV8_FIELDS` tells, of each channel, `fill` the numbers that are the same for all
# (`Depthwise8Numbers`): the staged byte beyond the border, the zero point that staged bytes have, whether weights have one; zero
# point, least and greatest of the results; in how many parts of 65536 float32 may err, or 0.
DEPTHWISE8_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "channels", "height", "width", "out_height", "out_width",
    "x_image", "x_channel", "x_row", "out_image", "out_channel", "out_row",  # byte strides; pixels of a row are neighbours
    "step", "pad_y",  # strides of both axes, 1 or 2; rows beyond the border before the first
    "reach",  # rows of a window
    "pitch", "out_pitch",  # staged: bytes from row to row (of every other one, with steps of 2); outputs likewise
    "odd",  # bytes from even to odd staged rows
    "groups", "columns", "taps",  # fours of taps, of a row of the kernel; taps
    "group_of",  # pointer to int64[groups]: bytes from where an output is staged to the first of four taps
    "inside",  # pointer to int64[vector of outputs][column][4]: bits of the bytes that lie in their row
    "order",  # pointer to int8[2][16]: how the fours of every other output are gathered from 16 bytes
    "tap_of",  # pointer to int8[groups, up to a multiple of 4][4]: which tap, or -1
    "src_code", "weights_code",  # DTYPE_CODES
    "chunk", "n_chunks", "strip", "n_strips",  # channels and rows of one unit (the last has what is left over), and such units
    "staged", "buffer", "results",  # where two staged planes begin, how far apart they are, where results in rows do
)  # fmt: skip

# Convolution of planes of 8-bit numbers, lanes are pixels.  A unit is some tiles of 64 pixels of an image, with a chunk of the
# filters of a group.  `bias` has for all filters what sums begin with (int32), scales and offsets (float64); `fill`
# the numbers that are the same for all (`Panels8Numbers`): the byte beyond the border, what changes sign of a byte of the image,
# the zero point that it has then; least and greatest of the results, and their zero point; in how many parts of 65536 float32 may
# err.  Scratch memory: packed pixels, [tile][4 elements of depth][pixel][element], then what is named.
PANELS8_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "x_image", "x_channel", "x_row", "height", "width", "out_height", "out_width",  # byte strides; pixels of a row are neighbours
    "kernel_y", "kernel_x", "stride_y", "stride_x", "dilation_y", "dilation_x", "pad_y", "pad_x",
    "out_image", "out_channel",  # byte strides; output planes have no gaps
    "groups", "channels", "filters",  # channels and filters of one group
    "n_panels", "n_chunks", "n_blocks", "tiles",  # of filters of a group; units that share them, and pixels; tiles of a unit
    "sums", "pieces",  # where the sums of a tile, and the places of the taps, begin
)  # fmt: skip

# Their weights, [group][panel][4 elements of depth][filter][element], then the sum of each filter's: a unit is a panel.
PANEL_WEIGHTS8_FIELDS = HEADER + ("scratch_bytes", "groups", "filters", "depth", "n_panels", "flip")
