# Every kernel of the engine; included by v2.pyx, v3.pyx, v4.pyx and plain.pyx, which are
# compiled for one SIMD level each.
from libc.math cimport INFINITY
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

cdef extern from "tiles_all.h" nogil:
    enum: TILE_ROWS
    enum: TILE_COLS
    enum: MAX_BLOCK
    enum: LINE_COLS
    enum: VECTOR_BYTES
    enum: SIMD_LEVEL
    const int64_t BEYOND
    void tiles(...)
    void stream_tiles(...)
    void end_stream()
    void line(...)
    void across(...)
    void combine(...)
    void prefetch "__builtin_prefetch"(...)
    void tile_exact(...)
    float rounding_guard(const double *w, int64_t kernel_y, int64_t kernel_x, double fill, double largest)
    int64_t store_guarded(...)
    void store_doubles(...)
    double largest_of(int64_t code)
    ctypedef struct ExactPatch "struct exact_patch":
        const float *narrow
        double *wide
        int64_t size, row_step, tap_step
        const int64_t *col_of
        const double *w
        int64_t kernel_y, kernel_x, order
        float *flat
        int dense
        double error
        int widened
    enum: FLAT_SUMS
    enum: EXACT_WIDTH
    enum: INT8
    enum: UINT8
    enum: INT32
    enum: UINT32
    enum: FLOAT32
    enum: FLOAT64
    void stage_run(...)
    void copy_row(...)
    void store_run(...)
    void activate(...)
    void activate_backward(...)
    void activate_run(...)
    enum: SOFTMAX
    enum: LOG_SOFTMAX
    enum: SOFTMAX_BACKWARD
    void softmax_largest(...)
    void softmax_sums(...)
    void softmax_across(...)
    void softmax_scales(...)
    void softmax_write(...)
    double slope_of(int64_t bits)
    void filters_part(...)
    ctypedef struct Coming "struct coming":
        const char *source
        int64_t source_step
        const char *target
        int64_t target_step, stream, row
    ctypedef struct Finish "struct finish":
        int64_t code
        double slope
    enum: LEAKY_RELU
    void filters_tile_while(...)
    void pixels_tile(...)
    void few_filters(...)
    void few_pixels(...)
    int64_t product_height(...)
    void activate_rows(...)
    void turn_rows(...)
    void store_turned(...)
    void store_pieces(...)
    void copy_runs(...)
    void pack_lanes(...)
    void outer(...)
    void turn_block(...)
    void turn_planes(...)
    void take_taps(...)
    void copy_places(...)
    enum: GEMM_ROWS
    enum: GEMM_COLS
    int64_t tile_cols(const void *)
    int64_t streams(const void *)
    int64_t line_cols(const void *)
    int64_t code_of(const void *)
    void forwards(...)
    void backwards(...)
    void multiply_line(...)
    void multiply_lines(...)
    void spectrum_of_lines(...)
    void round_run(double *at, int64_t n, int integers)
    int near_integers(const double *at, int64_t n, double guard)

ctypedef fused acc_t:
    float
    double
    uint32_t
    uint64_t

ctypedef fused real_t:
    float
    double

include "stage.pxi"
include "filter.pxi"
include "exact.pxi"
include "normalized.pxi"
include "conv.pxi"
include "conv_filters.pxi"
include "weights.pxi"
include "panels.pxi"
include "winograd.pxi"
include "winograd_weights.pxi"
include "winograd_pieces.pxi"
include "winograd_line.pxi"
include "depthwise.pxi"
include "depthwise_blocks.pxi"
include "depthwise_rows.pxi"
include "depthwise_gradient.pxi"
include "depthwise_input.pxi"
include "activation.pxi"
include "softmax.pxi"
include "pool.pxi"
include "pool_indices.pxi"
include "pool_planes.pxi"
include "pool_kernels.pxi"
include "unpool.pxi"
include "pool_gradient.pxi"
include "fold.pxi"
include "rank.pxi"
include "separable.pxi"
include "overlap.pxi"
include "tiling.pxi"
include "sliding.pxi"
include "lines.pxi"
include "taps.pxi"
include "quantized.pxi"
include "conv8.pxi"
include "depthwise8.pxi"
include "panels8.pxi"
include "deform.pxi"
include "deform_gradient.pxi"
include "weight_gradient.pxi"
include "bias_gradient.pxi"
include "pointwise_gradient.pxi"
include "winograd_gradient.pxi"
include "transposed_weights.pxi"

# What a caller needs to know: addresses by name, and the shape of a tile in bytes and rows.
KERNELS = {
    "filter:float32": <int64_t><uintptr_t>&filter_f32,
    "filter:float64": <int64_t><uintptr_t>&filter_f64,
    "filter:uint32": <int64_t><uintptr_t>&filter_u32,
    "filter:uint64": <int64_t><uintptr_t>&filter_u64,
    "normalized:float32": <int64_t><uintptr_t>&normalized_f32,
    "normalized:float64": <int64_t><uintptr_t>&normalized_f64,
    "conv:float32": <int64_t><uintptr_t>&conv_f32,
    "conv:float64": <int64_t><uintptr_t>&conv_f64,
    "conv:uint32": <int64_t><uintptr_t>&conv_u32,
    "conv:uint64": <int64_t><uintptr_t>&conv_u64,
    "weights:float32": <int64_t><uintptr_t>&weights_f32,
    "weights:float64": <int64_t><uintptr_t>&weights_f64,
    "weights:uint32": <int64_t><uintptr_t>&weights_u32,
    "weights:uint64": <int64_t><uintptr_t>&weights_u64,
    "panels:float32": <int64_t><uintptr_t>&panels_f32,
    "panel_weights:float32": <int64_t><uintptr_t>&panel_weights_f32,
    "winograd:float32": <int64_t><uintptr_t>&winograd_f32,
    "winograd:float64": <int64_t><uintptr_t>&winograd_f64,
    "winograd_weights:float32": <int64_t><uintptr_t>&winograd_weights_f32,
    "winograd_weights:float64": <int64_t><uintptr_t>&winograd_weights_f64,
    "winograd_pieces:float32": <int64_t><uintptr_t>&winograd_pieces_f32,
    "winograd_pieces:float64": <int64_t><uintptr_t>&winograd_pieces_f64,
    "winograd_line:float32": <int64_t><uintptr_t>&winograd_line_f32,
    "winograd_line:float64": <int64_t><uintptr_t>&winograd_line_f64,
    "winograd_line_weights:float32": <int64_t><uintptr_t>&winograd_line_weights_f32,
    "winograd_line_weights:float64": <int64_t><uintptr_t>&winograd_line_weights_f64,
    "depthwise:float32": <int64_t><uintptr_t>&depthwise_f32,
    "depthwise:float64": <int64_t><uintptr_t>&depthwise_f64,
    "depthwise:uint32": <int64_t><uintptr_t>&depthwise_u32,
    "depthwise:uint64": <int64_t><uintptr_t>&depthwise_u64,
    "depthwise_input:float32": <int64_t><uintptr_t>&depthwise_input_f32,
    "depthwise_input:float64": <int64_t><uintptr_t>&depthwise_input_f64,
    "depthwise_gradient:float32": <int64_t><uintptr_t>&depthwise_gradient_f32,
    "depthwise_gradient:float64": <int64_t><uintptr_t>&depthwise_gradient_f64,
    "depthwise_gradient:uint32": <int64_t><uintptr_t>&depthwise_gradient_u32,
    "depthwise_gradient:uint64": <int64_t><uintptr_t>&depthwise_gradient_u64,
    "activation:float32": <int64_t><uintptr_t>&activation_f32,
    "activation:float64": <int64_t><uintptr_t>&activation_f64,
    "softmax:float32": <int64_t><uintptr_t>&softmax_f32,
    "softmax:float64": <int64_t><uintptr_t>&softmax_f64,
    "quantized:float64": <int64_t><uintptr_t>&quantized_f64,
    "conv8:int32": <int64_t><uintptr_t>&conv8_int32,
    "weights8:int32": <int64_t><uintptr_t>&weights8_int32,
    "depthwise8:int32": <int64_t><uintptr_t>&depthwise8_int32,
    "panels8:int32": <int64_t><uintptr_t>&panels8_int32,
    "panel_weights8:int32": <int64_t><uintptr_t>&panel_weights8_int32,
    "deform:float32": <int64_t><uintptr_t>&deform_f32,
    "deform:float64": <int64_t><uintptr_t>&deform_f64,
    "deform_places:float32": <int64_t><uintptr_t>&deform_places_f32,
    "deform_places:float64": <int64_t><uintptr_t>&deform_places_f64,
    "deform_image:float32": <int64_t><uintptr_t>&deform_image_f32,
    "deform_image:float64": <int64_t><uintptr_t>&deform_image_f64,
    "separable:float32": <int64_t><uintptr_t>&separable_f32,
    "separable:float64": <int64_t><uintptr_t>&separable_f64,
    "transposed_weights:uint32": <int64_t><uintptr_t>&transposed_weights_u32,
    "transposed_weights:uint64": <int64_t><uintptr_t>&transposed_weights_u64,
    "weight_gradient:float32": <int64_t><uintptr_t>&weight_gradient_f32,
    "weight_gradient:float64": <int64_t><uintptr_t>&weight_gradient_f64,
    "weight_gradient:uint32": <int64_t><uintptr_t>&weight_gradient_u32,
    "weight_gradient:uint64": <int64_t><uintptr_t>&weight_gradient_u64,
    "winograd_gradient:float32": <int64_t><uintptr_t>&winograd_gradient_f32,
    "winograd_gradient:float64": <int64_t><uintptr_t>&winograd_gradient_f64,
    "pointwise_gradient:float32": <int64_t><uintptr_t>&pointwise_gradient_f32,
    "pointwise_gradient:float64": <int64_t><uintptr_t>&pointwise_gradient_f64,
    "bias_gradient:float32": <int64_t><uintptr_t>&bias_gradient_f32,
    "bias_gradient:float64": <int64_t><uintptr_t>&bias_gradient_f64,
    "overlap:float32": <int64_t><uintptr_t>&overlap_f32,
    "overlap:float64": <int64_t><uintptr_t>&overlap_f64,
    "rank:int8": <int64_t><uintptr_t>&rank_k8,
    "rank:int16": <int64_t><uintptr_t>&rank_k16,
    "rank:int32": <int64_t><uintptr_t>&rank_k32,
    "rank:int64": <int64_t><uintptr_t>&rank_k64,
}
KERNELS["lines:uint8"] = <int64_t><uintptr_t>&lines_u8
for _type in POOL_TYPES:  # the record names the element type
    KERNELS[f"max_pool:{_type}"] = <int64_t><uintptr_t>&max_pool
    KERNELS[f"max_pool_indices:{_type}"] = <int64_t><uintptr_t>&max_pool_indices
    KERNELS[f"unpool:{_type}"] = <int64_t><uintptr_t>&unpool
    KERNELS[f"unfold:{_type}"] = <int64_t><uintptr_t>&unfold
    KERNELS[f"fold:{_type}"] = <int64_t><uintptr_t>&fold
    if _type != "bool":
        KERNELS[f"avg_pool:{_type}"] = <int64_t><uintptr_t>&avg_pool
for _type in WINDOW_TYPES:  # the record names the kind
    KERNELS[f"sliding:{_type}"] = <int64_t><uintptr_t>&sliding_window
    KERNELS[f"taps:{_type}"] = <int64_t><uintptr_t>&taps_window
TILE = (TILE_ROWS, TILE_COLS * VECTOR_BYTES)
LINE = (1, LINE_COLS * VECTOR_BYTES)
GEMM = (GEMM_ROWS, GEMM_COLS * VECTOR_BYTES)
DOT = (GEMM_ROWS, GEMM_COLS * VECTOR_BYTES, dot_together())
LEVEL = SIMD_LEVEL
