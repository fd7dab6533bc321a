"""Records of moving windows: ranks, extremes and means, a user's function."""

from __future__ import annotations

from fastconv.engines.contract.elements import GEOMETRY, HEADER

__all__ = [
    "FUNCTION_RECORD",
    "PASS_SLOTS",
    "QUOTIENT_SLOTS",
    "RANK_BASES",
    "RANK_FIELDS",
    "RANK_OPERATIONS",
    "SLIDING_FIELDS",
    "TAPS_FIELDS",
    "TILING",
    "WINDOW_KINDS",
]

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
    "below", "n_below",  # where rows begin that stand beyond the lower border, and how many: 0 unless these are overwritten
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
