"""Records of pooling, unpooling and folding."""

from __future__ import annotations

from fastconv.engines.contract.elements import HEADER

__all__ = ["FOLD_FIELDS", "POOL_FIELDS", "POOL_STAGING", "UNPOOL_FIELDS", "UNPOOL_KINDS"]

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
    "stride_y", "pad_y",  # of maxima with indices whose windows are folded in registers, and of narrow planes
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
    "stream",  # planes, pixels: the output is written past the caches; rows without gaps, pixels in whole lines
)  # fmt: skip

# Elements (``x``) moved to and from the positions ``w`` in planes (``out``): see `fastconv.problem.UnpoolProblem`.  A unit is
# `chunk` channels of an image.  16-bit floats are added in scratch memory, as many positions of a plane at a time as fit there.
UNPOOL_FIELDS = HEADER + (
    "scratch_bytes",  # per worker
    "kind", "dtype", "size",  # UNPOOL_KINDS; DTYPE_CODES and bytes of an element
    "channels", "chunk", "apart",  # whether the channels of a unit are moved one after the other, or pixel by pixel
    "depth", "height", "width",  # elements of a channel
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

# flat: rows of pixels without gaps are folded where they lie; gather: rows are copied element by element first;
# windows: nothing is staged, each window of pixels with many lanes is folded where it lies; staged: rows are converted,
# raised to powers or weighed first; planes: rows and columns of small windows are folded in registers;
# small: whole planes are held in registers, and `col_of` is the table of taps there (pool_small.h), `phase` of each output's,
# `block` the elements of a plane; lines: the same of rows, which are folded before;
# pixels: small windows of pixels with many channels are folded in registers;
# narrow: planes whose rows fit into a vector are folded there (pool_narrow.h): `col_of` is the table, `block` how many lie
# side by side, `phase` how many of their rows of outputs are stored together, `divisor` 0 where the table has divisors.
STAGINGS = ("flat", "gather", "windows", "staged", "planes", "small", "lines", "pixels", "narrow")
POOL_STAGING = {name: code for code, name in enumerate(STAGINGS)}
