/* The tiles for every accumulator type, at the vector width this build is compiled for. */
#ifndef FASTCONV_TILES_ALL_H
#define FASTCONV_TILES_ALL_H
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { SIMD_LEVEL = 4 };
#define VECTOR_BYTES 64
#define TILE_ROWS 8 /* 16 of 32 registers accumulate, 7 hold weights */
#define MAX_BLOCK 7
#define LINE_COLS 8
#define GEMM_ROWS 14 /* 28 of 32 registers accumulate */
#define GEMM_COLS 2
#elif defined(__AVX2__)
enum { SIMD_LEVEL = 3 };
#define VECTOR_BYTES 32
#define TILE_ROWS 5 /* 10 of 16 registers accumulate, 4 hold weights; 4x2 and 6x2 reach 0.85 and 0.9 of it */
#define MAX_BLOCK 4
#define LINE_COLS 8
#define GEMM_ROWS 6
#define GEMM_COLS 2
#else
enum { SIMD_LEVEL = 2 };
#define VECTOR_BYTES 16
#define TILE_ROWS 4
#define MAX_BLOCK 7
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

/* DTYPE_CODES of fastconv.engines.contract */
enum { BOOL, INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, UINT64, FLOAT32, FLOAT64 };

/* double -> unsigned as C compilers for plain x86-64 convert it, so that SciPy's results are met
 * for negative values too: modulo the range, by way of the signed type. */
#define TO_U32(v) ((uint32_t)(int64_t)(v))
#define TO_U64_UP(v) ((v) >= 0x1p63 ? (uint64_t)(int64_t)((v) - 0x1p63) ^ (uint64_t)1 << 63 : (uint64_t)(int64_t)(v))
#define TO_U64(v) ((v) > -1 ? TO_U64_UP(v) : -TO_U64_UP(-(v))) /* as SciPy's n-dimensional filters write it */

#define T float
#define IS_FLOAT 1
#define NAME(x) x##_f32
#include "tiles.h"
#define T double
#define IS_FLOAT 1
#define NAME(x) x##_f64
#include "tiles.h"
#define T uint32_t
#define IS_FLOAT 0
#define NAME(x) x##_u32
#include "tiles.h"
#define T uint64_t
#define IS_FLOAT 0
#define NAME(x) x##_u64
#include "tiles.h"

/* ---- SciPy's own order of summation ------------------------------------------------
 * ndimage adds w * x tap by tap, each product and each sum rounded to double, in C order;
 * correlate1d adds the last tap first, or for mirrored kernels the centre first and then
 * pairs of taps.  Integer outputs truncate that sum, so the last bit can decide: this tile
 * keeps SciPy's order, and a barrier keeps products from being fused into sums.
 */
typedef double vec_exact __attribute__((vector_size(VECTOR_BYTES)));
typedef double vecu_exact __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

enum { ORDER_C = 1, ORDER_LINE = 2, ORDER_SYMMETRIC = 3, ORDER_ANTISYMMETRIC = 4 };

#define EACH_VECTOR \
    _Pragma("GCC unroll 8") for (int r = 0; r < TILE_ROWS; r++) _Pragma("GCC unroll 8") for (int c = 0; c < TILE_COLS; c++)
#define EXACT_LOAD(at) (*(const vecu_exact *)((at) + r * row_step + c * VECTOR_BYTES / 8))
#define EXACT_ADD(value, tap)             \
    EACH_VECTOR {                         \
        vec_exact product = (value) * (tap); \
        HOLD(product);                   \
        acc[r][c] += product;             \
    }

static void tile_exact(const double *src, int64_t row_step, int64_t tap_step, const int64_t *col_of, const double *w,
                       int64_t kernel_y, int64_t kernel_x, double *dst, int64_t dst_step, int resume, double init,
                       int64_t order) {
    vec_exact acc[TILE_ROWS][TILE_COLS];
    EACH_VECTOR {
        if (resume) acc[r][c] = *(vecu_exact *)(dst + r * dst_step + c * VECTOR_BYTES / 8);
        else acc[r][c] = (vec_exact){0} + init;
    }
    const int64_t taps = kernel_y * kernel_x, centre = taps / 2;
#define AT(t) (src + (kernel_x == 1 ? (t) * tap_step : col_of[t])) /* one-dimensional kernels */
    if (order == ORDER_C) {
        for (int64_t ky = 0; ky < kernel_y; ky++)
            for (int64_t kx = 0; kx < kernel_x; kx++) {
                const double *p = src + ky * tap_step + col_of[kx];
                EXACT_ADD(EXACT_LOAD(p), w[ky * kernel_x + kx])
            }
    } else if (order == ORDER_LINE) {
        EXACT_ADD(EXACT_LOAD(AT(taps - 1)), w[taps - 1])
        for (int64_t t = 0; t < taps - 1; t++) EXACT_ADD(EXACT_LOAD(AT(t)), w[t])
    } else {
        EXACT_ADD(EXACT_LOAD(AT(centre)), w[centre])
        for (int64_t t = 0; t < centre; t++) {
            const double *p = AT(t), *q = AT(taps - 1 - t);
            if (order == ORDER_SYMMETRIC) EXACT_ADD(EXACT_LOAD(p) + EXACT_LOAD(q), w[t])
            else EXACT_ADD(EXACT_LOAD(p) - EXACT_LOAD(q), w[t])
        }
    }
#undef AT
    EACH_VECTOR *(vecu_exact *)(dst + r * dst_step + c * VECTOR_BYTES / 8) = acc[r][c];
}

/* The tiles, line, stage_run and store_run of an accumulator type, chosen by a pointer's type. */
#define PICK(name, p)                                                                                \
    _Generic((p), float *: name##_f32, const float *: name##_f32, double *: name##_f64,              \
             const double *: name##_f64, uint32_t *: name##_u32, const uint32_t *: name##_u32,       \
             uint64_t *: name##_u64, const uint64_t *: name##_u64)
#define tiles(src, ...) PICK(tiles, src)(src, __VA_ARGS__)
#define line(src, ...) PICK(line, src)(src, __VA_ARGS__)
#define gemm(a, ...) PICK(gemm, a)(a, __VA_ARGS__)
#define stage_run(dst, ...) PICK(stage_run, dst)(dst, __VA_ARGS__)
#define store_run(src, ...) PICK(store_run, src)(src, __VA_ARGS__)
#define tile_cols(p) PICK(tile_cols, p)
#define line_cols(p) PICK(line_cols, p)

#endif
