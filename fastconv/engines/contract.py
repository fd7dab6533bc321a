"""The kernel contract: one calling convention for every CPU kernel, whoever made it.

A kernel is a C function

    void kernel(const int64_t *args, int64_t unit, int64_t worker)

that computes one *unit* of work, an independent part of the output, and never
fails, allocates or touches a Python object.  ``args`` is a flat record of 64-bit
slots: pointers, sizes, strides in bytes.  ``worker`` numbers the thread
(0 <= worker < threads) and picks its part of the scratch memory.

The record starts with the HEADER slots, which `launch` fills in at each call; the
rest, the geometry, is made once per plan by the algorithm.  `fastconv.algorithms`
writes the records, the engines only read them; Cython's structs repeat the same
fields in the same order, which a test compares.

Who owns what: the caller owns every array and the scratch.  Kernels own their
edges: they receive the geometry of the whole problem, look up positions outside
the input in the edge maps, and write each output element exactly as often as they
like but only inside their unit.
"""

from __future__ import annotations

__all__ = [
    "ACTIVATIONS", "ACTIVATION_FIELDS", "BEYOND", "COMBINATIONS", "CONV_FIELDS", "DEFORM_FIELDS", "DEPTHWISE_FIELDS",
    "DEPTHWISE_GRADIENT_FIELDS", "DEPTHWISE_READING", "DTYPE_CODES", "EXACT_CODES", "FILTER_FIELDS", "FOLD_FIELDS", "FUNCTION_RECORD", "GEOMETRY",
    "HALVES", "HEADER", "LINES_FIELDS", "MAX_SLOTS", "NORMALIZED_FIELDS", "NUMBERS", "OVERLAP_FIELDS", "PASS_SLOTS",
    "POOL_FIELDS", "POOL_STAGING", "QUANTIZED_FIELDS", "QUOTIENT_SLOTS", "RANK_BASES", "RANK_FIELDS", "RANK_OPERATIONS",
    "SATURATE", "SEPARABLE_FIELDS", "SLIDING_FIELDS", "TAPS_FIELDS", "TILING", "TRANSPOSED_WEIGHTS_FIELDS", "UNPOOL_FIELDS", "UNPOOL_KINDS",
    "WEIGHTS_FIELDS", "WEIGHT_GRADIENT_FIELDS", "WINDOW_KINDS", "record", "slope_bits",
]  # fmt: skip

import numpy as np

MAX_SLOTS = 64

# Pointers, set at launch.  `w` is the packed kernel (the index array in pooling).
HEADER = ("x", "w", "out", "bias", "fill", "scratch")

# Element types that kernels compute with, and those that only lie in memory: they are converted on the way.
NUMBERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
HALVES = ("float16", "bfloat16")

# How kernels name element types.
DTYPE_CODES = {name: code for code, name in enumerate(NUMBERS + HALVES)}

# Added to the code of an output that sums are rounded and clamped to rather than truncated and wrapped:
# to the nearest integer, halves to even, NaN to 0.  Unsigned accumulators then hold signed sums.
SATURATE = 16

# The offset of a source plane that lies beyond the border: all of it is the fill value.
# (Not -1: arrays with negative strides have negative offsets.)
BEYOND = -(2**63)

# What becomes of a sum v where the output holds y: v, v * v, y + v, sqrt(y + v * v); "cross": sums down and sums across
# of the same source are added.
COMBINATIONS = {"": 0, "square": 1, "add": 2, "root": 3, "cross": 4}

# Functions applied to finished sums; records hold a code, and the bits of the parameter (`slope_bits`).
ACTIVATIONS = {
    name: code
    for code, name in enumerate(
        ("", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hardswish", "elu", "softplus",
         "mish", "hardsigmoid", "softsign", "logsigmoid")
    )
}  # fmt: skip

# The order in which an exact filter adds its taps: see `fastconv.problem.ConvProblem`.
EXACT_CODES = {"": 0, "order": 1, "line": 2, "symmetric": 3, "antisymmetric": 4}

# What every kernel that slides a window over planes knows: sizes, byte strides, the window, the edges.
GEOMETRY = HEADER + (
    "scratch_bytes",  # per worker
    "height", "width", "x_row", "x_col",  # source plane: size, byte strides
    "out_height", "out_width", "out_row", "out_col",  # output plane
    "kernel_y", "kernel_x",
    "stride_y", "stride_x", "dilation_y", "dilation_x", "pad_y", "pad_x",
    "map_y", "map_x",  # pointers to int64 edge maps: `pad` positions before, then those after
    "src_code", "out_code",  # DTYPE_CODES of the elements in memory; out_code may have SATURATE added
)  # fmt: skip

# The direct filter: each output plane is a sum over source planes of a 2-D
# correlation.  Three-dimensional kernels, channels and complex parts are all planes.
FILTER_FIELDS = GEOMETRY + (
    "src_planes",  # pointer to int64[out planes][planes]: byte offset of each source plane, or BEYOND
    "out_planes",  # pointer to int64[out planes]: byte offset of each output plane
    "filter_of",  # pointer to int64[out planes]: which kernel (and bias) makes the plane
    "n_planes",  # source planes summed into one output plane
    "n_fills",  # plane p beyond the border reads fill[p % n_fills]
    "in_place", "store_direct",  # tiles may read the source / write the output where it lies
    "patch_rows", "patch_cols",  # the part of a plane staged at once, a multiple of the tile
    "strip", "n_strips",  # rows of an output plane in one unit (of a plane of one row, columns), units of a plane
    "exact",  # EXACT_CODES: the order in which taps are added
    "pitch", "phase_cols",  # staged patch: row length, columns of one stride phase (elements)
    "col_of",  # pointer to int64[kernel_x]: where tap kx begins in a row (elements)
    "stream",  # whether the output is larger than the caches, and may be written past them
    "activation", "slope",  # ACTIVATIONS; bits of the parameter
)  # fmt: skip

# The filter over the samples that are not NaN, nor masked: `bias` is the mask, bytes that lie as the elements of the
# source do.  Every window is staged (`in_place` and `store_direct` are 0).
NORMALIZED_FIELDS = FILTER_FIELDS + (
    "renormalize",  # whether sums are scaled by the weight of all samples over that of the valid ones
    "most_gaps",  # places of NaN that a staged window may have for them to be listed; 0: they never are
    "mask", "element",  # the record that the mask is staged by, 0: there is none; bytes of an element of the source
    "valid", "sums", "valid_sums",  # scratch begins with a window; where its validity, and the sums of both, begin (elements)
    "flipped", "flipped_pitch",  # rows of reversed weights between zeros, a vector before and as much or more after
    "missing", "places",  # what windows lack: patch_rows rows of patch_cols + 2 * flipped_pitch; int32[][2]
)  # fmt: skip

# One-dimensional passes over each plane, down, across, or down and then across (one tap is no pass); `w` has the
# weights down, then those across.
SEPARABLE_FIELDS = GEOMETRY + (
    "src_planes", "out_planes",  # pointers to int64[planes]: byte offset of each source and output plane
    "in_place", "store_direct",  # tiles may read the source / write the output where it lies
    "patch_rows", "patch_cols",  # the part of a plane that is filtered down and then across at once
    "strip", "n_strips",  # rows of an output plane in one unit, and such strips of a plane
    "span", "n_spans",  # columns of an output plane in one unit, and such spans of a plane
    "pitch",  # row length of patches in scratch memory (elements), with room for a tile beyond the last column
    "col_of",  # pointer to int64[kernel_x]: where a tap begins in a row (elements)
    "ahead",  # 1: memory that is read and written next is called for; 2: rows of the output are written past the caches
    "combined",  # COMBINATIONS: what becomes of sums and what the output holds
)  # fmt: skip

# Convolution by Fourier transforms of overlapping blocks.  An entry is a block of a plane of the output; the inputs that it
# is made from, and that are transformed together, have the lengths (z, y, x) of a block.  A unit is two entries, the
# real and the imaginary part of one transform, or one entry of complex numbers.  Lines that are transformed along x alone
# are taken several at a time, `lines` entries for each part.  `w` is the kernel's spectrum.
OVERLAP_FIELDS = GEOMETRY + (
    "src_planes",  # pointer to int64[planes][depth + ...]: byte offset of the source plane at each position, or BEYOND
    "out_planes",  # pointer to int64[planes][out_depth]: byte offset of each output plane
    "positions", "out_depth", "kernel_z",  # entries of a row of `src_planes`, of `out_planes`; taps along z
    "length_z", "length_y", "length_x", "step_z", "step_y", "step_x",  # of a block: inputs, outputs
    "blocks_z", "blocks_y", "blocks_x", "n_entries", "lines",
    "radices_z", "radices_y", "radices_x",  # pointers to int64: of the passes of a transform; NULL: not transformed.
    # If x is not, the spectrum has one number for each line.
    "roots_z", "roots_y", "roots_x",  # pointers to the passes' roots of unity, elements of the sum's type
    "pitch", "slice",  # elements from one line of a block to the next, from one plane to the next
    "imaginary",  # bytes from a number's real part to the other in source and output; 0: real numbers
    "spectrum_step",  # elements from the spectrum of some lines to that of the next ones
    "analysis",  # whether spectra are the result: of one entry, written to `out`
    # 1: sums are rounded to 64-bit integers, which are stored as those of unsigned accumulators; 2: to whole numbers;
    # 3: they are truncated, and outputs as close to an integer as fill[2] are listed
    "rounded",
    "doubts",  # how many; `bias` points to int64[workers][1 + doubts]: how many there were, byte offsets in `out`
)  # fmt: skip

# Lines of bytes, down the columns and then across; `w` has the weights down, if lines run down, then those across.
LINES_FIELDS = GEOMETRY + (
    "src_planes", "out_planes",  # pointers to int64[planes]: byte offset of each source and output plane
    "down", "across",  # whether there are weights for the direction
    "strip", "n_strips", "span", "n_spans",  # rows and columns of an output plane in one unit, and how many of each there are
    "pitch",  # bytes of a row in scratch memory
    "batch",  # rows that are filtered down, and then across, at once
)  # fmt: skip

# Convolution with many filters, as a matrix product of weights and windows that are found by offsets.  A unit is a box of
# output pixels of one plane (z) of an image, with a chunk of the filters of a group.  The record begins with the third axis.
# Scratch memory: one tile, what is staged, then `sums` and `tables`.
CONV_FIELDS = GEOMETRY + (
    "depth", "x_plane", "out_depth", "out_plane", "kernel_z", "stride_z", "dilation_z", "pad_z", "map_z",
    "groups", "channels", "filters",  # channels and filters of one group, complex parts counted
    "x_image", "out_image",  # byte strides from image to image
    "channel_of",  # pointer to int64[groups][channels]: byte offset of each source channel
    "out_filter_of",  # pointer to int64[groups][filters]: byte offset of each output channel
    "n_fills",  # channel c beyond the border reads fill[c % n_fills]
    "filter_lanes",  # lanes are filters (weights and bias packed: WEIGHTS_FIELDS), else pixels (weights [filter][k])
    "block_channels",  # channels staged at once
    "in_place",  # windows are read where the image lies
    "store_direct",  # a tile's rows lie without gaps in the output: 1, those within a row of pixels; 2, all
    "n_row_units", "n_col_units", "n_chunks",  # units of a plane of the output, units that share the filters of a group
    "rows", "pitch",  # what is staged: rows of a plane (of a phase), elements from one row to the next
    "step_y", "step_x",  # ... and positions between neighbours
    # ... phases: with lanes of pixels, positions phase, phase + step, ... are a plane of their own
    "n_phases_y", "n_phases_x", "phases",  # pointer to int64[n_phases_y + n_phases_x]
    "offsets",  # pointer to int64: byte offset of each run of a window, or (lanes of pixels) of each element
    "joined",  # taps along x that are one run with their channels
    "sums", "tables",  # where sums of several blocks of channels, and offsets of pixels, begin
    "activation", "slope",  # ACTIVATIONS; bits of the parameter
)  # fmt: skip

# Weights as rows of lanes, [group][block of filters][k][lane], zeros where there is no filter: a unit is a block.
WEIGHTS_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "filters", "depth",  # of a group; weights of a filter
    "row_of",  # pointer to int64[depth]: the row k of each weight of a filter
)  # fmt: skip

# Depthwise convolution: each filter reads one channel.  A unit is a box of outputs of one image, and a chunk of filters.
DEPTHWISE_FIELDS = GEOMETRY + (
    "depth", "out_depth", "x_plane", "out_plane",  # a third axis: sizes, byte strides
    "kernel_z", "stride_z", "dilation_z", "pad_z",
    "map_z",  # pointer to int64 edge map
    "x_image", "out_image", "x_channel", "out_channel",  # byte strides
    "x_end",  # bytes from an image's first element to the end of its memory
    "filters", "multiplier",  # filters; those that read the same channel
    "reading",  # DEPTHWISE_READING
    "store_direct",  # sums are written to the output where it lies
    "chunk", "n_chunks",  # filters in one unit (the last has what is left over), units that share the filters
    "strip", "n_strips", "span", "n_spans",  # rows and columns of an output plane in one unit, and how many of each there are
    "batch",  # rows of outputs that are made and then stored
    "pitch",  # filters of a pixel in scratch memory
    "band_rows", "band_cols",  # staged windows of a box
    "weights", "biases", "fills", "turned", "sums", "band",  # where parts of the scratch memory begin
    "ahead",  # memory that lies so many bytes beyond what is read is called for; 0: none
    "activation", "slope",  # ACTIVATIONS; the bits of its parameter
)  # fmt: skip

# The gradient of the kernel: what the record tells of the output holds for its gradient, to which `w` points.  A unit is a
# chunk of filters and a part of all boxes; sums, [part][filter][tap], are written to `out`.
DEPTHWISE_GRADIENT_FIELDS = DEPTHWISE_FIELDS[:-2] + ("n_boxes", "n_parts")

# Planes are transposed to pixels in scratch memory, pixels are copied there, or they are read where they lie.
DEPTHWISE_READING = {"planes": 0, "pixels": 1, "in_place": 2}

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
    "g_channels", "g_images", "g_rows", "g_cols", "g_row", "g_col", "g_together", "g_direct", "g_code",  # the same of the gradient
    "block_images", "block_rows", "block_cols",  # outputs packed at once
    "unit_channels", "unit_filters", "n_parts",  # of one unit; units that share the pixels
    "swapped", "joined",  # whether lanes are channels, not filters; whether the taps of a row are broadcast as channels
    "a_panel", "b_panel", "lines", "row_of",  # where parts of the scratch memory begin (elements)
    "a_pitch", "b_pitch", "line_pitch",  # elements from place to place of the panels, from channel to channel of the lines
    "out_part", "out_filter", "out_channel", "out_z", "out_tap", "out_code",  # byte strides of the result, DTYPE_CODES
)  # fmt: skip

# Pooling.  A pixel is `lanes` elements that are pooled alike: the channels of a channels-last image, else one.  Windows
# are folded over their rows (planes z and rows y of the window) first, then over columns.  `bias` holds the tables of
# windows, if each plane has its own.
POOL_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "folded", "phases", "gathered", "result", "places", "stored",  # where each part of it begins
    "dtype", "src_code",  # DTYPE_CODES of what is folded, and of the elements in memory
    "power",  # 0, or the bits of the exponent p (float64): powers are summed, and the p-th root of their average drawn
    "batch", "channels", "lanes", "height", "width", "out_depth", "out_height", "out_width",
    "rows", "kernel_x",  # taps of a whole window: rows, columns
    "stride_x",  # 0: windows are those of the table, else it tells only which of their taps are inside
    "dilation_z", "dilation_y", "dilation_x", "pad_x",
    "x_n", "x_c", "x_z", "x_row", "x_col", "x_lane",  # byte strides of the input
    "out_n", "out_c", "out_z", "out_row", "out_col", "out_lane",  # byte strides of the output
    "idx_n", "idx_c", "idx_z", "idx_row", "idx_col", "idx_lane",  # byte strides of the int64 indices
    "staging",  # POOL_STAGING: how the input is read
    "store_direct",  # rows of the output and of the indices lie without gaps
    "divisor",  # 0: as many as the window's taps that count; -1: sums are not divided
    "block",  # output pixels of a row made at once
    "strip",  # output rows in one unit, counted over all planes
    # Pointers to int64[outputs][4], one for each axis: a window's first position inside the input, its taps inside, its
    # taps that count, the end of the outputs in a row with as many.  Offsets in `bias` if `window_step` is not 0.
    "windows_z", "windows_y", "windows_x",
    "window_step",  # bytes from the tables of a plane to those of the next
    "weights",  # NULL, or pointer to float64: what rows, columns and planes of the input are multiplied by
    "row_of",  # pointer to int64: bytes from a window's first row inside the input to each further one of its plane
    "window_of",  # pointer to int64[rows][kernel_x]: bytes from a window's corner to its taps, if they are read in place
    "col_of", "phase",  # pointer to int64: where a tap begins in the folded row; elements of one stride phase there
)  # fmt: skip

# Functions of each element (`ACTIVATIONS`) of arrays of one shape, or the gradients `w` times their derivatives.
ACTIVATION_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "activation", "slope", "backward",
    "dtype",  # DTYPE_CODES of the elements in memory
    "run", "x_step", "w_step", "out_step",  # elements of a line, bytes from one to the next
    "piece", "n_pieces",  # elements of a line in one unit, and such pieces of a line
    "lines", "strip",  # lines, and those in one unit
    "n_axes", "axes",  # pointer to int64[n_axes][4]: size and strides in x, w and out of the axes that lines lie along
    "direct",  # whether elements are computed where they lie
)  # fmt: skip

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

# Sums of quantised numbers, scaled and rounded: `w` has the scales, `bias` the offsets, float64, of each filter.
QUANTIZED_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "src_code", "out_code",  # DTYPE_CODES of the sums, and of the output
    "zero_point",  # added to what is rounded
    "run", "x_step", "out_step", "filter_step",  # elements of a line, bytes from one to the next; 1: each is another filter's
    "lines", "strip",  # lines, and those in one unit
    "n_axes", "axes",  # pointer to int64[n_axes][4]: size, strides in x, in out and among the filters of the others
)  # fmt: skip

# Elements (``x``) moved to and from the positions ``w`` in planes (``out``): see `fastconv.problem.UnpoolProblem`.  A unit is
# `chunk` channels of an image.
UNPOOL_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "kind", "dtype", "size",  # UNPOOL_KINDS; DTYPE_CODES and bytes of an element
    "channels", "chunk", "depth", "height", "width",  # elements of a channel
    "x_n", "x_c", "x_z", "x_row", "x_col",  # byte strides of the elements
    "idx_n", "idx_c", "idx_z", "idx_row", "idx_col",  # byte strides of the int64 positions
    "plane_depth", "plane_height", "plane_width", "plane_n", "plane_c", "plane_z", "plane_row", "plane_col",
    "flat", "staged",  # positions of a plane are evenly apart; 16-bit floats are added in scratch memory
)  # fmt: skip
UNPOOL_KINDS = {"place": 0, "add": 1, "take": 2}

# Windows of images as columns (``x`` are the images), and columns summed into images (``out``).
FOLD_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "dtype", "size", "acc_size",  # DTYPE_CODES of an element, bytes of it and of what it is summed in
    "channels", "lanes",  # channels that a pixel has next to each other
    "height", "width", "kernel_y", "kernel_x", "out_height", "out_width",
    "stride_y", "stride_x", "dilation_y", "dilation_x", "pad_y", "pad_x",
    "image_n", "image_c", "image_row", "image_col",  # byte strides; `image_c` of a lane, if there are more than one
    "column_n", "column_c", "column_i", "column_j", "column_y", "column_x",  # byte strides of channels, taps, windows
    "strip", "n_strips", "phase",  # rows in a unit of folding, such units of a plane; elements of a phase of sums
)  # fmt: skip

# Rank filters.  A tile of the output is made from the planes, rows and columns that its windows read, which are
# staged as keys: signed integers that stand in the order of the elements.  Then either programs of minima and
# maxima select from all windows of a row at once (`fastconv.algorithms.network`), or a set of the staged keys'
# places in sorted order follows the window along a row.
RANK_FIELDS = GEOMETRY + (
    "src_planes",  # pointer to int64[out planes][planes]: byte offset of each source plane, or BEYOND
    "out_planes",  # pointer to int64[out planes]: byte offset of each output plane
    "n_planes",  # source planes that a window reads
    "acc_code",  # DTYPE_CODES of the elements compared: those in memory, or float64
    "tile_rows", "tile_cols", "n_down", "n_across",  # outputs of a unit, units of a plane
    "staged", "converted", "result",  # where parts of the scratch memory begin: keys, elements on their way, a row of keys
    "pitch",  # elements from one staged row to the next
    "slots", "block",  # where values between instructions are kept, and elements of each that are made at once
    "sorted", "columns", "n_columns",  # sorted columns; pointer to int64[n_columns][5], the program that sorts them
    "window", "n_window",  # pointer to int64[n_window][5]: the program that selects; n_window is 0 if a set follows the window
    "rank",  # the place looked for in the set
    "pairs", "counts", "places", "members",  # keys to sort, uint32[4][256], places of staged keys, bits
    "taps", "n_taps",  # pointer to int64: staged elements of the first window
    "leaving", "entering", "n_moving",  # pointers to int64: those left, and those entered, by a step along a row
)  # fmt: skip

# Operands of programs are ``offset * 4 + base``: elements from the staged row, the slots, the sorted columns or the result.
RANK_BASES = {"staged": 0, "slots": 1, "sorted": 2, "result": 3}

# Instructions: the smaller of two values, the larger, both, or the first alone.
RANK_OPERATIONS = {"minimum": 0, "maximum": 1, "exchange": 2, "copy": 3}

# Moving windows of which every tile of the output is made in scratch memory.  The tile and the
# halo that its windows reach are staged there without gaps, converted to accumulators.  Then passes
# over the whole tile fold it.  A pass is PASS_SLOTS numbers:
#
#     taps, own   sources (1 to 4); the first `own` are in the second buffer, the others in the first
#     reach       elements at the end of the tile that the pass does not make
#     at[4]       where the sources begin (bytes)
#
# It writes the second buffer, which may be the first.
TILING = HEADER + (
    "scratch_bytes",  # per worker
    "kind", "acc_code",  # WINDOW_KINDS; DTYPE_CODES of the accumulators
    "height", "width", "x_row", "x_col", "out_row", "out_col",  # planes of input and output: size, byte strides
    "pad_y", "pad_x", "halo_y", "halo_x",  # positions that windows reach before the tile, and in all
    "map_y", "map_x",  # pointers to int64 edge maps: `pad` positions before, then those after
    "src_code", "out_code",  # DTYPE_CODES of the elements in memory
    "src_planes",  # pointer to int64[out planes][planes]: byte offset of each source plane, or BEYOND
    "out_planes",  # pointer to int64[out planes]: byte offset of each output plane
    "tile_rows", "tile_cols", "row_tiles", "col_tiles",  # outputs of a unit, units of a plane
    "pitch",  # elements from one staged row to the next: tile_cols + halo_x
    "second",  # bytes from the first buffer to the second
    "passes",  # pointer to int64[][PASS_SLOTS]
)  # fmt: skip
PASS_SLOTS = 7

# Full windows: down the columns, for eight rows of the output at a time, then along these rows.  The passes make
# windows along rows, the last of them in the output.  Scratch memory begins with the addresses of taps_y + 7 rows.
SLIDING_FIELDS = TILING + (
    "taps_y", "taps_x",  # positions of a window
    "direct",  # pointer to int64[col_tiles]: whether rows are read where they lie, or staged
    "store_direct",  # 1 if rows of the output are accumulators without gaps, 2 if its columns are
    "n_passes",
    "down", "across",  # pointers to int64[QUOTIENT_SLOTS] of means: of windows down (0: not divided), and at last
    "fill_down",  # bytes from the fill value to that of windows down
    "chunk",  # columns of a tile made at once, of a group of rows
    "ahead",  # whether memory that is read and written next is called for
    "n_blocks", "core_bytes",  # folds of eight rows that stay, bytes from each to the next
    "fill_row", "ring", "blocks", "core", "windows", "third", "stored",  # where parts of the scratch memory begin
)  # fmt: skip

# The divisor of a mean; sums in 16 bits are multiplied by `factor` and divided by 2**(16 + shift); whether
# quotients of floats have to be the nearest ones.
QUOTIENT_SLOTS = 4

# Windows of any taps, over any number of source planes.  `w` is the structure, if there is one: four doubles
# for each pass, added to its sources.
TAPS_FIELDS = TILING + (
    "n_planes",  # source planes that a window reads
    "pass_ends",  # pointer to int64[n_planes]: end of the passes that read each of them
)  # fmt: skip

WINDOW_KINDS = {"max": 0, "min": 1, "mean": 2}

# A user's function of a window.  Windows are staged as float64 and handed to it one by one; only the Numba
# engine makes such kernels.  ``w`` points to int64: whether a window failed, then for each worker whether one of
# its windows did, and that window (float64[n_taps]).
FUNCTION_RECORD = GEOMETRY + (
    "src_planes", "out_planes", "n_planes",  # as in RANK_FIELDS
    "tile_rows", "tile_cols", "n_down", "n_across",
    "staged", "buffer", "result",  # where parts of the scratch memory begin
    "pitch",  # elements from one staged row to the next
    "taps", "n_taps",  # pointer to int64: staged elements of the first window
)  # fmt: skip

# flat: rows of pixels without gaps are folded where they lie; gather: rows are copied element by element first;
# windows: nothing is staged, each window of pixels with many lanes is folded where it lies; staged: rows are converted,
# raised to powers or weighed first; planes: rows and columns of small windows are folded in registers.
POOL_STAGING = {"flat": 0, "gather": 1, "windows": 2, "staged": 3, "planes": 4}


def record(fields: tuple[str, ...], values: dict[str, int]) -> np.ndarray:
    """The slots of `values` in the order of `fields`, header slots zero."""
    missing = set(fields[len(HEADER) :]) - set(values)
    unknown = set(values) - set(fields)
    if missing or unknown:
        raise KeyError(f"record slots missing {sorted(missing)}, unknown {sorted(unknown)}")
    return np.array([values.get(name, 0) for name in fields], dtype=np.int64)


def slope_bits(slope: float) -> int:
    """The bits of a float64 as the int64 that a slot of a record holds."""
    return int(np.float64(slope).view(np.int64))
