"""Records of image filters."""

from __future__ import annotations

from fastconv.engines.contract.elements import GEOMETRY

__all__ = [
    "COMBINATIONS",
    "EXACT_CODES",
    "FILTER_FIELDS",
    "LINES_FIELDS",
    "NORMALIZED_FIELDS",
    "OVERLAP_FIELDS",
    "SEPARABLE_FIELDS",
]

# What becomes of a sum v where the output holds y: v, v * v, y + v, sqrt(y + v * v); "cross": sums down and sums across
# of the same source are added.
COMBINATIONS = {"": 0, "square": 1, "add": 2, "root": 3, "cross": 4}

# The order in which an exact filter adds its taps: see `fastconv.problem.ConvProblem`.
EXACT_CODES = {"": 0, "order": 1, "line": 2, "symmetric": 3, "antisymmetric": 4}

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
    "continued",  # whether the fill value stands beyond the ends of what is filtered down, too, not the sum of such a column
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
    "doubts",  # how many; `bias` points to int64[workers][1 + doubts]: how many there were, byte offsets in `out`.
    # Where sums are not rounded, to one int64, which becomes 1 if the first output of a block is not finite.
    "units",  # of a kernel; several filter planes of their own: as many as `multiplier` says the same ones
    "multiplier", "x_kernel", "out_kernel", "w_kernel",  # bytes from one's source, result and spectrum to the next's
    "biases", "activation", "slope",  # where in `fill` the first kernel's bias stands, or 0; ACTIVATIONS; bits of the parameter
)  # fmt: skip

# Lines of bytes, down the columns and then across; `w` has the weights down, if lines run down, then those across.
LINES_FIELDS = GEOMETRY + (
    "src_planes", "out_planes",  # pointers to int64[planes]: byte offset of each source and output plane
    "down", "across",  # whether there are weights for the direction
    "strip", "n_strips", "span", "n_spans",  # rows and columns of an output plane in one unit, and how many of each there are
    "pitch",  # bytes of a row in scratch memory
    "batch",  # rows that are filtered down, and then across, at once
)  # fmt: skip
