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

from fastconv.engines.contract.elements import (
    BEYOND,
    DTYPE_CODES,
    GEOMETRY,
    HALVES,
    HEADER,
    MAX_SLOTS,
    NUMBERS,
    SATURATE,
    record,
)
from fastconv.engines.contract.filters import (
    COMBINATIONS,
    EXACT_CODES,
    FILTER_FIELDS,
    LINES_FIELDS,
    NORMALIZED_FIELDS,
    OVERLAP_FIELDS,
    SEPARABLE_FIELDS,
)
from fastconv.engines.contract.networks import (
    ACTIVATION_FIELDS,
    ACTIVATIONS,
    BIAS_GRADIENT_FIELDS,
    CONV_FIELDS,
    DEFORM_FIELDS,
    DEFORM_GRADIENT_FIELDS,
    DEPTHWISE_FIELDS,
    DEPTHWISE_GRADIENT_FIELDS,
    DEPTHWISE_INPUT_FIELDS,
    DEPTHWISE_READING,
    PANEL_WEIGHTS_FIELDS,
    PANELS_FIELDS,
    POINTWISE_GRADIENT_FIELDS,
    QUANTIZED_FIELDS,
    SOFTMAX_FIELDS,
    SOFTMAX_KINDS,
    TRANSPOSED_WEIGHTS_FIELDS,
    WEIGHT_GRADIENT_FIELDS,
    WEIGHTS_FIELDS,
    WINOGRAD_FIELDS,
    WINOGRAD_GRADIENT_FIELDS,
    WINOGRAD_LINE_WEIGHTS_FIELDS,
    WINOGRAD_PIECES_FIELDS,
    WINOGRAD_WEIGHTS_FIELDS,
    slope_bits,
)
from fastconv.engines.contract.pooling import FOLD_FIELDS, POOL_FIELDS, POOL_STAGING, UNPOOL_FIELDS, UNPOOL_KINDS
from fastconv.engines.contract.quantized import (
    CONV8_FIELDS,
    DEPTHWISE8_FIELDS,
    PANEL_WEIGHTS8_FIELDS,
    PANELS8_FIELDS,
    WEIGHTS8_FIELDS,
)
from fastconv.engines.contract.windows import (
    FUNCTION_RECORD,
    PASS_SLOTS,
    QUOTIENT_SLOTS,
    RANK_BASES,
    RANK_FIELDS,
    RANK_OPERATIONS,
    SLIDING_FIELDS,
    TAPS_FIELDS,
    TILING,
    WINDOW_KINDS,
)

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_FIELDS",
    "BEYOND",
    "BIAS_GRADIENT_FIELDS",
    "COMBINATIONS",
    "CONV8_FIELDS",
    "CONV_FIELDS",
    "DEFORM_FIELDS",
    "DEFORM_GRADIENT_FIELDS",
    "DEPTHWISE8_FIELDS",
    "DEPTHWISE_FIELDS",
    "DEPTHWISE_GRADIENT_FIELDS",
    "DEPTHWISE_INPUT_FIELDS",
    "DEPTHWISE_READING",
    "DTYPE_CODES",
    "EXACT_CODES",
    "FILTER_FIELDS",
    "FOLD_FIELDS",
    "FUNCTION_RECORD",
    "GEOMETRY",
    "HALVES",
    "HEADER",
    "LINES_FIELDS",
    "MAX_SLOTS",
    "NORMALIZED_FIELDS",
    "NUMBERS",
    "OVERLAP_FIELDS",
    "PANELS8_FIELDS",
    "PANELS_FIELDS",
    "PANEL_WEIGHTS8_FIELDS",
    "PANEL_WEIGHTS_FIELDS",
    "PASS_SLOTS",
    "POINTWISE_GRADIENT_FIELDS",
    "POOL_FIELDS",
    "POOL_STAGING",
    "QUANTIZED_FIELDS",
    "QUOTIENT_SLOTS",
    "RANK_BASES",
    "RANK_FIELDS",
    "RANK_OPERATIONS",
    "SATURATE",
    "SEPARABLE_FIELDS",
    "SLIDING_FIELDS",
    "SOFTMAX_FIELDS",
    "SOFTMAX_KINDS",
    "TAPS_FIELDS",
    "TILING",
    "TRANSPOSED_WEIGHTS_FIELDS",
    "UNPOOL_FIELDS",
    "UNPOOL_KINDS",
    "WEIGHTS8_FIELDS",
    "WEIGHTS_FIELDS",
    "WEIGHT_GRADIENT_FIELDS",
    "WINDOW_KINDS",
    "WINOGRAD_FIELDS",
    "WINOGRAD_GRADIENT_FIELDS",
    "WINOGRAD_LINE_WEIGHTS_FIELDS",
    "WINOGRAD_PIECES_FIELDS",
    "WINOGRAD_WEIGHTS_FIELDS",
    "record",
    "slope_bits",
]
