"""Records of the convolutions of networks, their gradients, and activations."""

from __future__ import annotations

import numpy as np

from fastconv.engines.contract.elements import GEOMETRY, HEADER

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_FIELDS",
    "BIAS_GRADIENT_FIELDS",
    "CONV_FIELDS",
    "DEFORM_FIELDS",
    "DEFORM_GRADIENT_FIELDS",
    "DEPTHWISE_FIELDS",
    "DEPTHWISE_GRADIENT_FIELDS",
    "DEPTHWISE_INPUT_FIELDS",
    "DEPTHWISE_READING",
    "PANELS_FIELDS",
    "PANEL_WEIGHTS_FIELDS",
    "POINTWISE_GRADIENT_FIELDS",
    "QUANTIZED_FIELDS",
    "SOFTMAX_FIELDS",
    "SOFTMAX_KINDS",
    "TRANSPOSED_WEIGHTS_FIELDS",
    "WEIGHTS_FIELDS",
    "WEIGHT_GRADIENT_FIELDS",
    "WINOGRAD_FIELDS",
    "WINOGRAD_GRADIENT_FIELDS",
    "WINOGRAD_LINE_WEIGHTS_FIELDS",
    "WINOGRAD_PIECES_FIELDS",
    "WINOGRAD_WEIGHTS_FIELDS",
    "slope_bits",
]

# Functions of each element, applied to finished sums, too, but for the last four; records hold a code, and the bits of the
# parameter (`slope_bits`).
ACTIVATIONS = {
    name: code
    for code, name in enumerate(
        ("", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hardswish", "elu", "softplus",
         "mish", "hardsigmoid", "softsign", "logsigmoid", "hardtanh", "softplus_beta", "power", "power_or_0")
    )
}  # fmt: skip

# Convolution with many filters, as a matrix product of weights and windows that are found by offsets.  A unit is a box of
# output pixels of one plane (z) of an image (whole planes of several small ones), with a chunk of the filters of a group.  The
# record begins with the third axis.  Scratch memory: one tile, what is staged, then `sums` and `tables`.
CONV_FIELDS = GEOMETRY + (
    "depth", "x_plane", "out_depth", "out_plane", "kernel_z", "stride_z", "dilation_z", "pad_z", "map_z",
    "groups", "channels", "filters",  # channels and filters of one group, complex parts counted
    "x_image", "out_image",  # byte strides from image to image
    "channel_of",  # pointer to int64[groups][channels]: byte offset of each source channel
    "out_filter_of",  # pointer to int64[groups][filters]: byte offset of each output channel
    "n_fills",  # channel c beyond the border reads fill[c % n_fills]
    # Lanes are filters (weights and bias packed: WEIGHTS_FIELDS): rows of weights from one block of filters to the next; 0: lanes
    # are pixels (weights [filter][k]).
    "w_rows",
    "block_channels",  # channels staged at once
    "in_place",  # windows are read where the image lies
    # A tile's rows lie without gaps in the output.  With lanes of pixels 1: those within a row of pixels; 2: all.  With lanes of
    # filters 2: and the output is larger than the caches, so that it may be written past them.
    "store_direct",
    "few",  # windows have so few elements that they are summed in one go and stored directly: 1; 2, past the caches
    "n_row_units", "n_col_units", "n_chunks",  # units of a plane of the output, units that share the filters of a group
    "images",  # with lanes of filters, images of one unit
    "rows", "pitch",  # what is staged: rows of a plane (of a phase), elements from one row to the next
    "step_y", "step_x",  # ... and positions between neighbours
    # ... phases: with lanes of pixels, positions phase, phase + step, ... are a plane of their own
    "n_phases_y", "n_phases_x", "phases",  # pointer to int64[n_phases_y + n_phases_x]
    "offsets",  # pointer to int64: byte offset of each run of a window, or (lanes of pixels) of each element
    "joined",  # taps along x that are one run with their channels
    "sums", "tables",  # where sums of several blocks of channels, and offsets of pixels, begin
    "activation", "slope",  # ACTIVATIONS; bits of the parameter
    # Lanes are filters, one group, windows of one pixel in place: where in scratch memory each unit packs the weights that it
    # needs, which are [filter][channel] then; 0: weights are packed.
    "packs",
    # ... elements from row to row of weights that are read where they lie, [channel][filter], of whole vectors; 0: weights are
    # packed.
    "w_step",
)  # fmt: skip

# Convolution of planes of float32: a unit is a run of blocks of pixels of all images, with a chunk of the filters.
# Scratch memory: packed pixels, then `sums` and `tile`.
PANELS_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "x_image", "x_channel", "x_row", "height", "width", "out_height", "out_width",  # byte strides, sizes
    "kernel_y", "kernel_x", "stride_y", "stride_x", "dilation_y", "dilation_x", "pad_y", "pad_x",
    "out_image", "out_channel",  # byte strides; output planes have no gaps
    "channels", "filters", "block_channels",  # channels packed at once
    "w_step",  # elements from row to row of weights of one tap that are read where they lie, [channel][filter]; 0: packed
    "pixels",  # of the outputs of all images
    "n_panels", "n_chunks",  # the filters are divided into
    "tiles", "blocks",  # of 32 pixels that a block has; blocks of a unit
    "in_place",  # whether pixels of a tile in one image are neighbours there: then the first panel packs them as it reads them
    "sums", "tile",  # where sums of several blocks of channels, and those of one tile, begin
    "activation", "slope",  # ACTIVATIONS; bits of the parameter
)  # fmt: skip

# Their weights, [block of channels][panel][channel][tap][filter]: a unit is a panel.
PANEL_WEIGHTS_FIELDS = HEADER + ("scratch_bytes", "channels", "filters", "taps", "block_channels", "n_panels")

# Weights as rows of lanes, [group][block of lanes][row][lane], zeros where there is no lane: a unit is a block.  Lanes are the
# filters of a convolution, or (its adjoint) its channels.
WEIGHTS_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "lanes", "lane_step",  # of a group; elements from one to the next
    "runs", "run_step", "length",  # a lane's weights: runs of neighbours, elements from one to the next
    "group_step", "size",  # elements from group to group, and in all
    "rows",  # of a block
    "row_of",  # pointer to int64[runs * length]: the row of each weight of a lane, -1 for those that are left out
)  # fmt: skip

# Winograd's minimal filtering of 3x3 taps, stride 1.  A unit is some rows of tiles, of all images, with a chunk of the filters
# of a group.  Scratch memory: staged windows, then what is named.
WINOGRAD_FIELDS = GEOMETRY + (
    "batch", "x_image", "out_image",  # images, and byte strides from one to the next
    "groups", "channels", "filters",  # channels and filters of one group
    "x_channel", "out_filter",  # byte strides
    "tile",  # rows, and columns, of outputs made at once
    "tile_rows", "tile_cols",  # tiles of an image
    "n_strips", "n_chunks",  # units that share all rows of tiles, and the filters of a group
    "planes",  # rows of channels are staged, and stored, by transposing, else pixels are copied
    "store_direct",  # the filters of a pixel lie next to each other in the output, as they do in registers
    "stream",  # whether the output is larger than the caches, and may be written past them
    "pitch", "step",  # elements of a staged pixel; from one matrix of values to the next
    "values", "products", "sums", "lines", "tables",  # where parts of the scratch memory begin
    # Weights that are no packed ones (0: they are): elements between filters, and channels; whether the last tap is the first;
    # channels taken at the points at once, elements from point to point of these; where they lie in the scratch memory.
    "w_filter", "w_channel", "flipped", "some_channels", "some_step", "weights",
    "activation", "slope",  # ACTIVATIONS; bits of the parameter
)  # fmt: skip

# Its weights [group][filter][channel][tap], or [group][channel][filter][tap], as [group][block of filters][point][channel][lane];
# then, for each block, whether a value is not finite, or a weight made of the values has another sign (up to a multiple of the
# lanes), and the weights of such blocks, [block][tap][channel][lane].  A unit is a block.
WINOGRAD_WEIGHTS_FIELDS = HEADER + (
    "scratch_bytes", "groups", "filters", "channels",
    "w_filter", "w_channel", "flipped",  # elements between filters, and channels; whether the last tap is the first
    "pitch", "tile",
)  # fmt: skip

# ... of 5x5 or 7x7 taps as [group][block of filters][point][piece][channel][lane]; then the weights, [block][tap][channel][lane].
# A unit is a block.
WINOGRAD_PIECES_FIELDS = HEADER + ("scratch_bytes", "groups", "filters", "channels", "pitch", "taps")

# ... of 1xK or Kx1 taps as [group][block of filters][point][piece][channel][lane]; then the weights, [block][tap][channel][lane].
# A unit is a block.
WINOGRAD_LINE_WEIGHTS_FIELDS = HEADER + ("scratch_bytes", "groups", "filters", "channels", "pitch", "taps", "tile")

# Depthwise convolution: each filter reads one channel.  A unit is a box of outputs of one image, and a chunk of filters.
DEPTHWISE_FIELDS = GEOMETRY + (
    "depth", "out_depth", "x_plane", "out_plane",  # a third axis: sizes, byte strides
    "kernel_z", "stride_z", "dilation_z", "pad_z",
    "map_z",  # pointer to int64 edge map
    "x_image", "out_image", "x_channel", "out_channel",  # byte strides
    "x_end",  # bytes from an image's first element to the end of its memory
    "filters", "multiplier",  # filters; those that read the same channel
    # Channels, and filters, of a group: those of several groups are a vector, 3x3 weights are [filter][channel][tap].
    "together",
    "reading",  # DEPTHWISE_READING
    "store_direct",  # sums are written to the output where it lies
    "chunk", "n_chunks",  # filters in one unit (the last has what is left over), units that share the filters
    "strip", "n_strips", "span", "n_spans",  # rows and columns of an output plane in one unit, and how many of each there are
    "batch",  # rows of outputs that are made and then stored
    "pitch",  # filters of a pixel in scratch memory
    "band_pixels",  # of the staged windows of a box, in one plane
    "weights", "biases", "fills", "turned", "sums", "band",  # where parts of the scratch memory begin
    "ahead",  # memory that lies so many bytes beyond what is read is called for; 0: none
    # Pointer to int64[2 + 6 * n], of planes that are read in rows: n columns of vectors; the address of integers of the
    # elements' size, for each column and tap the lanes of two vectors of sources that its outputs read (the last lane holds
    # the fill value); of each column the first output, outputs, the first source, sources in a vector, in a second one, number.
    "tables",
    "activation", "slope",  # ACTIVATIONS; the bits of its parameter
)  # fmt: skip

# The gradient of the kernel: what the record tells of the output holds for its gradient, to which `w` points.  A unit is a
# chunk of filters and a part of all boxes; sums, [part][filter][tap], are written to `out`.
DEPTHWISE_GRADIENT_FIELDS = DEPTHWISE_FIELDS[:-2] + ("n_boxes", "n_parts")

# Planes are transposed to pixels in scratch memory, pixels are copied there, or they are read where they lie, as pixels (lanes
# are filters) or in rows (lanes are outputs).
DEPTHWISE_READING = {"planes": 0, "pixels": 1, "in_place": 2, "rows": 3}

# The adjoint of a depthwise convolution: ``out``, the gradient of the input of height x width, of ``x``, that of the output.
# A unit is a strip of rows of an image, and a chunk of channels.
DEPTHWISE_INPUT_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "channels", "height", "width", "kernel_y", "kernel_x",
    "x_image", "x_channel", "x_row", "x_col", "out_image", "out_channel", "out_row", "out_col",  # byte strides
    # Pointers to int64[height][step_y] and [width][step_x]: how many outputs' windows hold a row or column, and of each the tap
    # and the output.
    "taps_y", "step_y", "taps_x", "step_x",
    "in_rows",  # whether lanes are columns of planes, not channels of pixels
    "x_height", "x_width",  # of the output's gradient
    "pad_y", "pad_x",  # of three taps next to each other with stride 2: the padding, else -1
    # Pointer to int64[3 + 6 * n]: columns of vectors, as those of a depthwise convolution; the address of lanes; the most
    # taps of a lane.  For each column and tap there are the lanes of two vectors of sources, and those of a row of the kernel.
    "tables",
    "chunk", "n_chunks", "strip", "n_strips",  # channels and rows of one unit (the last has what is left over), and such units
    "weights", "biases",  # where parts of the scratch memory begin
    "ahead",  # memory that lies so many bytes beyond what is written is called for; 0: none
    "activation", "slope",  # ACTIVATIONS; the bits of its parameter
)  # fmt: skip

# Weights of an adjoint: `x` as [group][filter][channel][tap], `out` for each phase as [group][channel][filter][taken tap].
TRANSPOSED_WEIGHTS_FIELDS = HEADER + (
    "scratch_bytes",
    "groups", "filters", "channels", "taps",  # of one group; all taps
    "phases", "taken", "n_taken",  # pointers to int64: which taps, of one phase after the other; how many are each phase's
    "begins",  # pointer to int64: where the weights of a phase begin (elements)
    "block",  # channels of one unit
)  # fmt: skip

# Gradients of kernels: sums of outer products of the channels of the input and those of the gradient of the output
# (`w`), over all pixels.  Both are packed a block of pixels at a time, as [place][channel].  One is broadcast (panel a), the
# other read in vectors (panel b).  The input of tap (y, x) of output (row, col) stands at packed row
# ``row * step_y + y * tap_y`` and column ``col * step_x + x * tap_x``.
WEIGHT_GRADIENT_FIELDS = HEADER + (
    "scratch_bytes",  # per worker; it begins with the sums of a unit
    "groups", "channels", "filters",  # channels and filters of one group, complex parts counted
    "kernel_z", "kernel_y", "kernel_x",  # taps of outer axes, all of them, and of rows and columns
    "images", "out_height", "out_width",  # planes of the output (outer axes are taken in), rows, columns
    "step_y", "step_x", "tap_y", "tap_x",
    "x_channels",  # pointer to int64[groups][channels]: byte offset of each
    "x_images",  # pointer to int64[kernel_z][images]: byte offset of the plane that a tap reads, or BEYOND
    "x_rows", "x_cols",  # pointers to int64: source row and column at each packed one, or -1
    "x_row", "x_col",  # byte strides
    # Whether channels lie next to each other, whether they or places of a row do, as elements of the sums' type, or places
    # of the planes; DTYPE_CODES
    "x_together", "x_direct", "x_code",
    "inner", "inner_end", "inner_step",  # packed columns whose sources are evenly spaced, and how far apart these are
    "g_channels", "g_images", "g_rows", "g_cols", "g_row", "g_col", "g_together", "g_direct", "g_code",  # of the gradient
    "block_images", "block_rows", "block_cols",  # outputs packed at once
    "unit_channels", "unit_filters", "n_parts",  # of one unit; units that share the pixels
    "swapped", "joined",  # whether lanes are channels, not filters; whether the taps of a row are broadcast as channels
    "a_panel", "b_panel", "lines", "row_of",  # where parts of the scratch memory begin (elements)
    "a_pitch", "b_pitch", "line_pitch",  # elements from place to place of the panels, from channel to channel of the lines
    "out_part", "out_filter", "out_channel", "out_z", "out_tap", "out_code",  # byte strides of the result, DTYPE_CODES
)  # fmt: skip

# Gradients of kernels of one tap: sums of products of the channels of the input and those of the gradient of the output (`w`),
# read where they lie.  One operand (a) is broadcast, or read in few rows at once, the other (b) in vectors, or in more rows.
POINTWISE_GRADIENT_FIELDS = HEADER + (
    "scratch_bytes",  # per worker: the sums of a unit, or (one block of pixels) of a tile
    "planes",  # neighbours are pixels, not channels
    "swapped",  # whether b is the gradient, not the input
    "a_channels", "b_channels", "images", "rows", "run",  # pixels: rows of an image, runs of a row (planes: of an image)
    "a_image", "a_row", "a_step", "b_image", "b_row", "b_step",  # byte strides; steps of pixels (planes: of channels)
    "block_images", "block_rows", "block_run",  # pixels of a block
    "unit_a", "unit_b",  # channels of a unit
    "out_a", "out_b",  # byte strides of the result
    "n_parts", "out_part",  # units that share the blocks of pixels; bytes from the sums of one part to those of the next
)  # fmt: skip

# Sums of channels: out[part][channel], over the pixels of all images.
BIAS_GRADIENT_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "channels", "images", "pixels",  # pixels of an image
    "x_image", "x_channel", "x_pixel",  # byte strides; neighbours are the pixels of a plane, or ...
    "together",  # ... the channels of a pixel
    "block", "n_parts",  # channels of a unit (the last has those left over, too), units that share the pixels
)  # fmt: skip

# The same of 3x3 taps at stride 1, by way of points.  Blocks have rows and columns of whole tiles; sources of those too many are
# -1.
WINOGRAD_GRADIENT_FIELDS = (
    *WEIGHT_GRADIENT_FIELDS,
    "tile",  # rows, and columns, of outputs whose gradients are taken at once
    "points",  # where values at the points begin in the scratch memory, and sums of their products after them (elements)
)

# Functions of each element (`ACTIVATIONS`) of arrays of one shape, or the gradients `w` times their derivatives.
ACTIVATION_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "activation", "slope", "bound", "backward",  # ACTIVATIONS, bits of the parameters (`slope_bits`)
    "dtype",  # DTYPE_CODES of the elements in memory
    "run", "x_step", "w_step", "out_step",  # elements of a line, bytes from one to the next
    "piece", "n_pieces",  # elements of a line in one unit, and such pieces of a line
    "lines", "strip",  # lines, and those in one unit
    "n_axes", "axes",  # pointer to int64[n_axes][4]: size and strides in x, w and out of the axes that lines lie along
    "direct",  # whether elements are computed where they lie
)  # fmt: skip

# Exponentials that add up to 1 along an axis.  A unit is `strip` of the blocks of lanes of all lines.  A block is rows of
# `width` vectors, a row for each position along the axis, or (``across``) the axis itself, `width` vectors to a row.
# Scratch memory: three rows, then `chunk` rows of elements, and of gradients.
SOFTMAX_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "kind",  # SOFTMAX_KINDS
    "dtype",  # DTYPE_CODES of the elements in memory
    "rows", "x_row", "w_row", "out_row",  # of a block; byte strides
    "lanes", "x_lane", "w_lane", "out_lane",  # of a line, or (``across``) of a row; byte strides
    "width", "across",
    "last",  # lanes of the last row (``across``)
    "blocks", "total", "strip",  # blocks of a line, of all lines, of a unit
    "n_axes", "axes",  # pointer to int64[n_axes][4]: size and strides in x, w and out of the axes that lines lie along
    "direct",  # whether whole vectors are computed where they lie
    "chunk",
)  # fmt: skip
SOFTMAX_KINDS = {"softmax": 0, "log_softmax": 1, "softmax_backward": 2, "log_softmax_backward": 3}

# Columns of a convolution whose taps are moved (``out``) for a block of pixels of an image: `w` has the offsets, `bias` the
# mask, or is NULL; see `fastconv.problem.DeformProblem`.
DEFORM_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "height", "width", "x_c", "x_row", "x_col",  # the image: size, byte strides
    "out_width",
    "offset_c", "offset_row", "offset_col", "mask_c", "mask_row", "mask_col",  # byte strides
    "kernel_y", "kernel_x", "stride_y", "stride_x", "dilation_y", "dilation_x", "pad_y", "pad_x",
    "first", "count",  # pixels of the block
    "offset_groups", "runs", "run",  # runs of channels of each offset group; channels of a run
    "run_of",  # pointer to int64[]: where the first tap of each run begins in the columns of a pixel
    "col_c", "col_tap", "col_p",  # bytes from channel to channel of a run, from tap to tap, from pixel to pixel
)  # fmt: skip

# What the columns' gradient gives: ``deform_places``, the gradients of offsets and mask (``out``, [channel][pixel], those of the
# offsets first) of a block of pixels from the image `x`, the columns' gradient being `fill`; ``deform_image`` adds to the
# image's gradient (``out``, of which x_c, x_row and x_col are the strides) from the columns' (`x`).
DEFORM_GRADIENT_FIELDS = DEFORM_FIELDS + (
    "place_c",  # bytes from channel to channel of the gradients of offsets and mask
    "pieces", "piece",  # pieces of a run of channels and channels of one; deform_image's units are pieces
)  # fmt: skip

# Sums of quantised numbers, scaled and rounded: `w` has the scales, `bias` the offsets, float64, of each filter.
QUANTIZED_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "src_code", "out_code",  # DTYPE_CODES of the sums, and of the output
    "zero_point", "low", "high",  # added to what is rounded; least and greatest of the results
    "run", "x_step", "out_step", "filter_step",  # elements of a line, bytes from one to the next; 1: each is another filter's
    "lines", "strip",  # lines, and those in one unit
    "n_axes", "axes",  # pointer to int64[n_axes][4]: size, strides in x, in out and among the filters of the others
)  # fmt: skip


def slope_bits(slope: float) -> int:
    """The bits of a float64 as the int64 that a slot of a record holds."""
    return int(np.float64(slope).view(np.int64))
