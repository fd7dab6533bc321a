/* The tiles for every accumulator type, at the vector width this build is compiled for. */
#ifndef FASTCONV_TILES_ALL_H
#define FASTCONV_TILES_ALL_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* MAX_BLOCK, USUAL_BLOCK: most rows of a kernel of one block, and of each of several. */
#if defined(__AVX512F__)
enum { SIMD_LEVEL = 4 };
#define VECTOR_BYTES 64
#define TILE_ROWS 8 /* 16 of 32 registers accumulate, 7 hold weights */
#define MAX_BLOCK 7
#define USUAL_BLOCK 5 /* with the tile twelve rows, as many as share a set of the first cache */
#define LINE_COLS 8
#define GEMM_ROWS 14 /* 28 of 32 registers accumulate */
#define GEMM_COLS 2
#elif defined(__AVX2__)
enum { SIMD_LEVEL = 3 };
#define VECTOR_BYTES 32
#define TILE_ROWS 5 /* 10 of 16 registers accumulate, 4 hold weights; 4x2 and 6x2 reach 0.85 and 0.9 of it */
#define MAX_BLOCK 4
#define USUAL_BLOCK 4
#define LINE_COLS 8
#define GEMM_ROWS 6
#define GEMM_COLS 2
#else
enum { SIMD_LEVEL = 2 };
#define VECTOR_BYTES 16
#define TILE_ROWS 4
#define MAX_BLOCK 7
#define USUAL_BLOCK 7
#define LINE_COLS 8
#define GEMM_ROWS 6
#define GEMM_COLS 2
#endif

/* HOLD(v): v is a value in a register here, neither fused into nor reloaded for what follows. */
#if defined(__AVX512F__)
#define HOLD(v) __asm__("" : "+v"(v))
#elif defined(__x86_64__)
#define HOLD(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define HOLD(v) __asm__("" : "+w"(v))
#else
#define HOLD(v) __asm__("" : "+m"(v))
#endif

#define BEYOND INT64_MIN /* of fastconv.engines.contract */
#define TILE_COLS 2
#define LOW_ROWS 4 /* tiles of 3x3: see tiles.h */
#define MOST_COLS 4
/* Outputs of 3x3 with lanes of channels that are made together, rows and pixels of each, and rows of its gradient. */
enum { DEPTHWISE_ROWS = SIMD_LEVEL == 4 ? 4 : 2, DEPTHWISE_PIXELS = 4, DEPTHWISE_GRADIENT_ROWS = SIMD_LEVEL == 4 ? 4 : 1 };

/* Blocks that the rows of a kernel are divided into, all of about equal height.  Those of integers may be as high as they
 * come: 1024x1024 with 11x11 takes a tenth less time in two than in three. */
static inline int64_t n_blocks(int64_t kernel_y, int is_float) {
    const int64_t most = is_float ? USUAL_BLOCK : MAX_BLOCK;
    return kernel_y <= MAX_BLOCK ? 1 : (kernel_y + most - 1) / most;
}

/* Whether a kernel has 3x3 taps that are neighbours. */
static inline int are_three(int64_t row_step, int64_t tap_step, const int64_t *col_of, int64_t kernel_y, int64_t kernel_x) {
    return kernel_y == 3 && kernel_x == 3 && row_step == tap_step && col_of[0] == 0 && col_of[1] == 1 && col_of[2] == 2;
}

/* STREAM(p, v): a line of memory is written without being read before.  TURN(a, b, lanes): of the 32 numbers of a and b. */
#if defined(__AVX512F__)
#define STREAM(p, v) _mm512_stream_si512((__m512i *)(p), (__m512i)(v))
#define TURN(a, b, lanes) ((V)_mm512_permutex2var_epi32((__m512i)(a), lanes, (__m512i)(b)))
typedef __m512i line_lanes;
static inline line_lanes line_lanes_from(int64_t first) {
    return _mm512_add_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(first));
}
#else
typedef char line_lanes;
#endif
/* Calls for `n` runs of some bytes that begin `step` bytes apart, to be read, or written. */
static inline void call_for(const char *at, int64_t step, int64_t n, int64_t bytes, int written) {
    for (; n > 0; n--, at += step)
        for (int64_t i = 0; i < bytes; i += 64)
            if (written) __builtin_prefetch(at + i, 1, 2);
            else __builtin_prefetch(at + i, 0, 2);
}

/* Before others may see what was streamed. */
static inline void end_stream(void) {
#ifdef STREAM
    _mm_sfence();
#endif
}

/* Memory that is called for while a tile is summed, at each element of its depth: to be read, and to be written.  `stream`: the
 * tile's rows are whole lines, and written past the caches.  `row`: elements from row to row of the weights. */
struct coming {
    const char *source;
    int64_t source_step;
    const char *target;
    int64_t target_step, stream, row;
};

/* What becomes of finished sums: an activation, and its parameter.  Those that take an instruction or two are applied in
 * registers; all others, from SIGMOID on, once sums are stored. */
struct finish {
    int64_t code;
    double slope;
};
#define RECTIFY(finish, LOOPS, x)                                                                   \
    switch ((finish)->code) {                                                                       \
        case RELU: LOOPS x = NAME(rectified)(x, RELU, 0); break;                                    \
        case RELU6: LOOPS x = NAME(rectified)(x, RELU6, 0); break;                                  \
        case LEAKY_RELU: LOOPS x = NAME(rectified)(x, LEAKY_RELU, (T)(finish)->slope); break;       \
        default: break;                                                                             \
    }

/* DTYPE_CODES of fastconv.engines.contract */
enum { BOOL, INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, UINT64, FLOAT32, FLOAT64, FLOAT16, BFLOAT16 };
enum { SATURATE = 16 };
/* ACTIVATIONS */
enum { NO_ACTIVATION, RELU, RELU6, LEAKY_RELU, SIGMOID, TANH, SILU, GELU, GELU_TANH, HARDSWISH, ELU, SOFTPLUS, MISH,
       HARDSIGMOID, SOFTSIGN, LOGSIGMOID, HARDTANH, SOFTPLUS_BETA, POWER, POWER_OR_0 };
enum { SOFTMAX, LOG_SOFTMAX, SOFTMAX_BACKWARD, LOG_SOFTMAX_BACKWARD };

/* double -> unsigned as C compilers for plain x86-64 convert it, so that SciPy's results are met
 * for negative values too: modulo the range, by way of the signed type. */
#define TO_U32(v) ((uint32_t)(int64_t)(v))
#define TO_U64_UP(v) ((v) >= 0x1p63 ? (uint64_t)(int64_t)((v) - 0x1p63) ^ (uint64_t)1 << 63 : (uint64_t)(int64_t)(v))
#define TO_U64(v) ((v) > -1 ? TO_U64_UP(v) : -TO_U64_UP(-(v))) /* as SciPy's n-dimensional filters write it */

#include "half.h"

#define T float
#define IS_FLOAT 1
#define ELEMENT_BYTES 4
#define NAME(x) x##_f32
#include "tiles.h"
#define T double
#define IS_FLOAT 1
#define ELEMENT_BYTES 8
#define NAME(x) x##_f64
#include "tiles.h"
#define T uint32_t
#define IS_FLOAT 0
#define ELEMENT_BYTES 4
#define NAME(x) x##_u32
#include "tiles.h"
#define T uint64_t
#define IS_FLOAT 0
#define ELEMENT_BYTES 8
#define NAME(x) x##_u64
#include "tiles.h"

#include "exact.h"
#include "panels.h"

/* Sums of integers have no activation. */
static inline void activate_run_u32(uint32_t *sums, int64_t n, int64_t code, uint32_t slope) {}
static inline void activate_run_u64(uint64_t *sums, int64_t n, int64_t code, uint64_t slope) {}
/* The parameter of an activation, from the bits that records hold. */
static inline double slope_of(int64_t bits) { double slope; memcpy(&slope, &bits, sizeof slope); return slope; }

/* The tiles, line, stage_run and store_run of an accumulator type, chosen by a pointer's type. */
#define PICK(name, p)                                                                                \
    _Generic((p), float *: name##_f32, const float *: name##_f32, double *: name##_f64,              \
             const double *: name##_f64, uint32_t *: name##_u32, const uint32_t *: name##_u32,       \
             uint64_t *: name##_u64, const uint64_t *: name##_u64)
#define PICK_FLOAT(name, p) \
    _Generic((p), float *: name##_f32, const float *: name##_f32, double *: name##_f64, const double *: name##_f64)
#define tiles(src, ...) PICK(tiles, src)(src, __VA_ARGS__)
#define stream_tiles(src, ...) PICK(stream_tiles, src)(src, __VA_ARGS__)
#define line(src, ...) PICK(line, src)(src, __VA_ARGS__)
#define across(src, ...) PICK(across, src)(src, __VA_ARGS__)
#define combine(result, ...) PICK(combine, result)(result, __VA_ARGS__)
#define filters_part(w, ...) PICK(filters_part, w)(w, __VA_ARGS__)
#define filters_tile_while(w, ...) PICK(filters_tile_while, w)(w, __VA_ARGS__)
#define pixels_tile(w, ...) PICK(pixels_tile, w)(w, __VA_ARGS__)
#define few_filters(w, ...) PICK(few_filters, w)(w, __VA_ARGS__)
#define few_pixels(w, ...) PICK(few_pixels, w)(w, __VA_ARGS__)
#define product_height(w, ...) PICK(product_height, w)(__VA_ARGS__)
#define activate_rows(type, ...) PICK(activate_rows, type)(type, __VA_ARGS__)
#define turn_rows(from, ...) PICK(turn_rows, from)(from, __VA_ARGS__)
#define store_pieces(from, ...) PICK(store_pieces, from)(from, __VA_ARGS__)
#define copy_runs(from, ...) PICK(copy_runs, from)(from, __VA_ARGS__)
#define store_turned(tile, ...) PICK(store_turned, tile)(tile, __VA_ARGS__)
#define pack_lanes(w, ...) PICK(pack_lanes, w)(w, __VA_ARGS__)
#define take_taps(from, ...) _Generic((from), const uint32_t *: take_taps_u32, const uint64_t *: take_taps_u64)(from, __VA_ARGS__)
#define turn_planes(from, ...) PICK(turn_planes, from)(from, __VA_ARGS__)
#define copy_places(from, ...) PICK(copy_places, from)(from, __VA_ARGS__)
#define outer(a, ...) PICK(outer, a)(a, __VA_ARGS__)
#define gradient_values(g, ...) PICK_FLOAT(gradient_values, g)(g, __VA_ARGS__)
#define kernel_of_values(u, ...) PICK_FLOAT(kernel_of_values, u)(u, __VA_ARGS__)
#define lanes_tile(a, ...) PICK_FLOAT(lanes_tile, a)(a, __VA_ARGS__)
#define dots_tile(a, ...) PICK_FLOAT(dots_tile, a)(a, __VA_ARGS__)
#define dot_rows(p) PICK_FLOAT(dot_rows, p)
#define dot_cols(p) PICK_FLOAT(dot_cols, p)
#define sum_planes(x, ...) PICK_FLOAT(sum_planes, x)(x, __VA_ARGS__)
#define sum_pixels(x, ...) PICK_FLOAT(sum_pixels, x)(x, __VA_ARGS__)
#define turn_block(from, ...) PICK(turn_block, from)(from, __VA_ARGS__)
#define stage_run(dst, ...) PICK(stage_run, dst)(dst, __VA_ARGS__)
#define store_run(src, ...) PICK(store_run, src)(src, __VA_ARGS__)
#define forwards(re, ...) PICK_FLOAT(forwards, re)(re, __VA_ARGS__)
#define backwards(re, ...) PICK_FLOAT(backwards, re)(re, __VA_ARGS__)
#define multiply_lines(re, ...) PICK_FLOAT(multiply_lines, re)(re, __VA_ARGS__)
#define multiply_line(re, ...) PICK_FLOAT(multiply_line, re)(re, __VA_ARGS__)
#define spectrum_of_lines(re, ...) PICK_FLOAT(spectrum_of_lines, re)(re, __VA_ARGS__)
#define tile_cols(p) PICK(tile_cols, p)
#define streams(p) PICK(streams, p)
#define line_cols(p) PICK(line_cols, p)
#define code_of(p) PICK(code_of, p)
#define window_points(from, ...) PICK_FLOAT(window_points, from)(from, __VA_ARGS__)
#define point_products(w, ...) PICK_FLOAT(point_products, w)(w, __VA_ARGS__)
#define turn_nine(from, ...) PICK_FLOAT(turn_nine, from)(from, __VA_ARGS__)
#define unit_points(from, ...) PICK_FLOAT(unit_points, from)(from, __VA_ARGS__)
#define line_points(from, ...) PICK_FLOAT(line_points, from)(from, __VA_ARGS__)
#define line_point_sums(from, ...) PICK_FLOAT(line_point_sums, from)(from, __VA_ARGS__)
#define line_window_sums(from, ...) PICK_FLOAT(line_window_sums, from)(from, __VA_ARGS__)
#define line_piece_points(from, ...) PICK_FLOAT(line_piece_points, from)(from, __VA_ARGS__)
#define point_sums(from, ...) PICK_FLOAT(point_sums, from)(from, __VA_ARGS__)
#define window_sums(from, ...) PICK_FLOAT(window_sums, from)(from, __VA_ARGS__)
#define wide_window_sums(from, ...) PICK_FLOAT(wide_window_sums, from)(from, __VA_ARGS__)
#define piece_points(from, ...) PICK_FLOAT(piece_points, from)(from, __VA_ARGS__)
#define kernel_points(from, ...) PICK_FLOAT(kernel_points, from)(from, __VA_ARGS__)
#define store_pixels(from, ...) PICK_FLOAT(store_pixels, from)(from, __VA_ARGS__)
#define activate(dst, ...) PICK_FLOAT(activate, dst)(dst, __VA_ARGS__)
#define activate_backward(dst, ...) PICK_FLOAT(activate_backward, dst)(dst, __VA_ARGS__)
#define softmax_largest(state, ...) PICK_FLOAT(softmax_largest, state)(state, __VA_ARGS__)
#define softmax_sums(state, ...) PICK_FLOAT(softmax_sums, state)(state, __VA_ARGS__)
#define softmax_across(vectors, ...) PICK_FLOAT(softmax_across, vectors)(vectors, __VA_ARGS__)
#define softmax_scales(state, ...) PICK_FLOAT(softmax_scales, state)(state, __VA_ARGS__)
#define softmax_write(state, ...) PICK_FLOAT(softmax_write, state)(state, __VA_ARGS__)
#define activate_run(sums, ...) PICK(activate_run, sums)(sums, __VA_ARGS__)
#define copy_row(dst, ...) PICK(copy_row, dst)(dst, __VA_ARGS__)
#define depthwise_row(w, ...) PICK(depthwise_row, w)(w, __VA_ARGS__)
#define depthwise_pixel(w, ...) PICK(depthwise_pixel, w)(w, __VA_ARGS__)
#define depthwise_outputs(w, ...) PICK(depthwise_outputs, w)(w, __VA_ARGS__)
#define depthwise_gradient_row(sums, ...) PICK(depthwise_gradient_row, sums)(sums, __VA_ARGS__)
#define depthwise_gradients(sums, ...) PICK(depthwise_gradients, sums)(sums, __VA_ARGS__)
#define depthwise_planes(w, ...) PICK(depthwise_planes, w)(w, __VA_ARGS__)
#define depthwise_plane_gradient(sums, ...) PICK(depthwise_plane_gradient, sums)(sums, __VA_ARGS__)
#define depthwise_lane_sums(sums, ...) PICK(depthwise_lane_sums, sums)(sums, __VA_ARGS__)
#define depthwise_input_blocks(w, ...) PICK(depthwise_input_blocks, w)(w, __VA_ARGS__)
#define depthwise_input_pixel(w, ...) PICK(depthwise_input_pixel, w)(w, __VA_ARGS__)
#define depthwise_input_rows(w, ...) PICK(depthwise_input_rows, w)(w, __VA_ARGS__)
#define gather_lanes(dst, ...) PICK(gather_lanes, dst)(dst, __VA_ARGS__)
#define scatter_lanes(src, ...) PICK(scatter_lanes, src)(src, __VA_ARGS__)
#define copy_pixels(dst, ...) PICK(copy_pixels, dst)(dst, __VA_ARGS__)
#define repeat_pixel(dst, ...) PICK(repeat_pixel, dst)(dst, __VA_ARGS__)

#endif
