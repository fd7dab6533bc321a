/* SIMD tiles of the direct filter, in GCC/Clang vector extensions.
 *
 * A tile is ROWS x COLS vectors of accumulators kept in registers.  It computes
 *
 *     dst[r][c] (+)= sum over ky, kx of  w[ky][kx] * src[r * row_step + ky * tap_step + col_of[kx] + c]
 *
 * `tap_step == row_step` lets rows be shared: row j of the source serves every (r, ky) with
 * r + ky == j, so taps are taken in blocks of up to MAX_BLOCK rows of the kernel, and each
 * loaded vector feeds up to min(block, ROWS) multiplications.
 *
 * The limit is the FMA rate; what stands in the way is that all loads but every 16th cross a
 * cache line (two cycles each where measured).  So tiles are tall and blocks high, and of equal
 * height (11 = 6 + 5, not 5 + 5 + 1).  Measured on one thread, 512x512, against the FMA peak:
 * 8x2 vectors with blocks of up to 7 rows reach 0.8 at 5x5, 0.9 at 7x7, 0.95 from 11x11 on
 * (AVX2: 5x2 with blocks of 4, 0.95).  4x4 vectors with blocks of 5, 3 and 1 reach 0.4-0.6, wider
 * tiles (8x3, 6x4) spill, and shuffles of aligned loads instead of split ones gain only at 3x3,
 * where memory is the limit anyway.
 *
 * 3x3 needs every vector three times: with AVX-512 it is loaded once, aligned or not, and shifted in registers, in tiles of
 * 4x4, whose rows displace each other less from the first cache.  Cycles a vector, 8x2 by loads and so: 256x256 5.9 and 4.9,
 * 512x512 8.0 and 6.2, 1024x1024 9.4 and 5.8 (the limit is 4.5).
 *
 * This file is included once per element type by tiles_all.h with T (element) and
 * NAME(x) (suffixed name) defined.
 */

typedef T NAME(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef T NAME(vecu) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
#define V NAME(vec)
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define LOAD(p) ((V) * (const NAME(vecu) *)(p))
#define SPLAT(value) ((value) - (V){0}) /* for the compiler no operation; adding 0 would turn -0 into 0 */
#define STORE(p, v) (*(NAME(vecu) *)(p) = (v))

enum { NAME(tile_cols) = TILE_COLS * VECTOR_BYTES / sizeof(T), NAME(line_cols) = LINE_COLS * VECTOR_BYTES / sizeof(T) };
enum { NAME(code_of) = IS_FLOAT ? (sizeof(T) == 4 ? FLOAT32 : FLOAT64) : sizeof(T) == 4 ? UINT32 : UINT64 };

/* One block of `block` kernel rows; a constant `block` unrolls everything but kx.  GCC needs two
 * hints, worth a third of the speed: HOLD(x) loads a vector once (not again in each of its
 * multiplications), and the empty asm keeps the address of a row in one register (not the
 * offsets of all rows, spilled). */
static inline __attribute__((always_inline)) void NAME(block)(
    const T *src, int64_t step, const int64_t *col_of, const T *w, int64_t kernel_x, const int block,
    V acc[TILE_ROWS][MOST_COLS]) {
    for (int64_t kx = 0; kx < kernel_x; kx++) {
        const T *row = src + col_of[kx];
        V tap[MAX_BLOCK];
        _Pragma("GCC unroll 8") for (int ky = 0; ky < block; ky++) tap[ky] = SPLAT(w[ky * kernel_x + kx]);
        _Pragma("GCC unroll 32") for (int j = 0; j < TILE_ROWS + block - 1; j++) {
            _Pragma("GCC unroll 8") for (int c = 0; c < TILE_COLS; c++) {
                V x = LOAD(row + c * LANES);
                HOLD(x);
                _Pragma("GCC unroll 8") for (int r = 0; r < TILE_ROWS; r++)
                    if (j - r >= 0 && j - r < block) acc[r][c] += x * tap[j - r];
            }
            row += step;
            __asm__("" : "+r"(row));
        }
    }
}

#if IS_FLOAT && defined(__AVX512F__)
/* `by` elements of a vector's end and those that follow. */
#define SHIFT(a, b, by) ((V)_mm512_alignr_epi32((__m512i)(b), (__m512i)(a), (by) * (int)sizeof(T) / 4))
/* 3x3 neighbouring taps.  Without `beyond` nothing behind the last of them is read; with it, a vector (streaming takes a
 * tenth less so, without HOLD). */
static inline __attribute__((always_inline)) void NAME(three_rows)(const T *src, int64_t step, const T *w, const int rows,
                                                                   const int cols, const int beyond,
                                                                   V acc[TILE_ROWS][MOST_COLS]) {
    const line_lanes next = sizeof(T) == 4 ? _mm512_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 30)
                                           : _mm512_setr_epi32(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 28, 29);
    _Pragma("GCC unroll 8") for (int j = 0; j < rows + 2; j++) {
        V a[MOST_COLS + 1];
        a[cols] = LOAD(src + (beyond ? cols * LANES : (cols - 1) * LANES + 2));
        if (!beyond) HOLD(a[cols]);
        _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) {
            a[c] = LOAD(src + c * LANES);
            if (!beyond) HOLD(a[c]);
        }
        _Pragma("GCC unroll 8") for (int kx = 0; kx < 3; kx++) {
            V x[MOST_COLS];
            _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) {
                if (kx == 0)
                    x[c] = a[c];
                else if (beyond || c + 1 < cols)
                    x[c] = kx == 1 ? SHIFT(a[c], a[c + 1], 1) : SHIFT(a[c], a[c + 1], 2);
                else
                    x[c] = kx == 1 ? TURN(a[c], a[cols], next) : a[cols];
                if (!beyond) HOLD(x[c]);
            }
            _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)
                if (j - r >= 0 && j - r < 3) {
                    const V tap = SPLAT(w[(j - r) * 3 + kx]);
                    _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) acc[r][c] += x[c] * tap;
                }
        }
        src += step;
        __asm__("" : "+r"(src));
    }
}
#undef SHIFT
#endif

/* Rows of a result that streams past the caches (an ordinary store would read each line first).  Each begins anywhere in
 * a line: vectors wait for the next one of their row, and both are turned to where a line begins. */
#if IS_FLOAT && defined(STREAM)
typedef struct {
    V waiting[TILE_ROWS];
    line_lanes lanes[TILE_ROWS];
    int64_t into[TILE_ROWS]; /* bytes from the beginning of a line to that of a tile's row */
} NAME(flow);

static inline __attribute__((always_inline)) void NAME(put_lines)(V acc[TILE_ROWS][MOST_COLS], T *dst, int64_t dst_step,
                                                                  const int rows, const int cols, NAME(flow) *flow) {
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++) {
        char *line = (char *)(dst + r * dst_step) - flow->into[r];
        V last = flow->waiting[r];
        _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) {
            STREAM(line + c * VECTOR_BYTES, TURN(last, acc[r][c], flow->lanes[r]));
            last = acc[r][c];
        }
        flow->waiting[r] = last;
    }
}

static inline __attribute__((always_inline)) void NAME(put_past)(V acc[TILE_ROWS][MOST_COLS], T *dst, int64_t dst_step,
                                                                 const int rows, const int cols) {
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) STREAM(dst + r * dst_step + c * LANES, acc[r][c]);
}
#endif

static inline __attribute__((always_inline)) void NAME(put)(V acc[TILE_ROWS][MOST_COLS], T *dst, int64_t dst_step,
                                                            const int rows, const int cols) {
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) STORE(dst + r * dst_step + c * LANES, acc[r][c]);
}

/* A tile's sums, in `blocks` of `low` rows of the kernel, the first `taller` of them one row more. */
static inline __attribute__((always_inline)) void NAME(tile)(
    const T *src, int64_t row_step, int64_t tap_step, const int64_t *col_of, const T *w, int64_t blocks, int64_t low,
    int64_t taller, int64_t kernel_x, V acc[TILE_ROWS][MOST_COLS]) {
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t height = low + (b < taller);
#define BLOCK(fixed) \
    case fixed: NAME(block)(src, row_step, col_of, w, kernel_x, fixed, acc); break
        switch (height) {
            BLOCK(1);
            BLOCK(2);
            BLOCK(3);
            BLOCK(4);
#if MAX_BLOCK > 4
            BLOCK(5);
            BLOCK(6);
            BLOCK(7);
#endif
        }
#undef BLOCK
        src += height * tap_step;
        w += height * kernel_x;
    }
}

/* `n` tiles side by side; STATEMENT, before each of them; SUM and PUT, what becomes of `acc`. */
#define EACH_TILE(n, rows, cols, STATEMENT, SUM, PUT)                                                                  \
    for (int64_t i = 0; i < n; i++, src += (cols) * LANES, dst += (cols) * LANES) {                                    \
        STATEMENT;                                                                                                     \
        V acc[TILE_ROWS][MOST_COLS];                                                                                   \
        _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)                                                         \
            _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++)                                                     \
                acc[r][c] = resume ? LOAD(dst + r * dst_step + c * LANES) : SPLAT(init);                               \
        SUM(rows, cols);                                                                                               \
        PUT;                                                                                                           \
    }
#define BLOCKS                                                                              \
    const int64_t blocks = row_step == tap_step ? n_blocks(kernel_y, IS_FLOAT) : kernel_y; \
    const int64_t low = kernel_y / blocks, taller = kernel_y % blocks
#define TILE_SUMS(rows, cols) NAME(tile)(src, row_step, tap_step, col_of, w, blocks, low, taller, kernel_x, acc)
#define THREE_ROWS(rows, cols) NAME(three_rows)(src, row_step, w, rows, cols, 0, acc)
#define THREE_AND_BEYOND(rows, cols) NAME(three_rows)(src, row_step, w, rows, cols, 1, acc)

static void NAME(tiles)(const T *src, int64_t row_step, int64_t tap_step, const int64_t *col_of, const T *w,
                        int64_t kernel_y, int64_t kernel_x, T *dst, int64_t dst_step, int resume, T init, int64_t n) {
#if IS_FLOAT && defined(__AVX512F__)
    if (are_three(row_step, tap_step, col_of, kernel_y, kernel_x)) {
        const T *const left = src;
        T *const into = dst;
        for (int top = 0; top < TILE_ROWS; top += LOW_ROWS) {
            src = left + top * row_step, dst = into + top * dst_step;
            EACH_TILE(n / 2, LOW_ROWS, MOST_COLS, , THREE_ROWS, NAME(put)(acc, dst, dst_step, LOW_ROWS, MOST_COLS))
            EACH_TILE(n % 2, LOW_ROWS, TILE_COLS, , THREE_ROWS, NAME(put)(acc, dst, dst_step, LOW_ROWS, TILE_COLS))
        }
        return;
    }
#endif
    BLOCKS;
    EACH_TILE(n, TILE_ROWS, TILE_COLS, , TILE_SUMS, NAME(put)(acc, dst, dst_step, TILE_ROWS, TILE_COLS))
}

/* Whether results of this type can be written past the caches. */
#if IS_FLOAT && defined(STREAM)
enum { NAME(streams) = 1 };
#else
enum { NAME(streams) = 0 };
#endif

#define FETCH(rows, cols, to)                                                                              \
    for (int64_t r = top * fetch_rows / TILE_ROWS; r < (top + rows) * fetch_rows / TILE_ROWS; r++)         \
        for (int c = 0; c < cols; c++) __builtin_prefetch(fetch + r * fetch_step + (i * cols + c) * LANES, 0, to)

/* Tiles that make TILE_ROWS rows, but for their first `skipped` columns and what is left over. */
#define STREAM_TILES(rows, cols, SUM, to)                                                                              \
    for (int top = 0; top < TILE_ROWS; top += rows) {                                                                  \
        src = left + top * row_step, dst = into + top * dst_step;                                                      \
        if (aligned) {                                                                                                 \
            EACH_TILE(whole, rows, cols, FETCH(rows, cols, to), SUM, NAME(put_past)(acc, dst, dst_step, rows, cols))   \
            continue;                                                                                                  \
        }                                                                                                              \
        NAME(flow) flow;                                                                                               \
        for (int r = 0; r < rows; r++) {                                                                               \
            flow.waiting[r] = LOAD(dst + r * dst_step - LANES);                                                        \
            flow.into[r] = (uintptr_t)(dst + r * dst_step) % VECTOR_BYTES;                                             \
            flow.lanes[r] = line_lanes_from((VECTOR_BYTES - flow.into[r]) / 4);                                        \
        }                                                                                                              \
        EACH_TILE(whole, rows, cols, FETCH(rows, cols, to), SUM,                                                       \
                  NAME(put_lines)(acc, dst, dst_step, rows, cols, &flow))                                              \
        for (int r = 0; r < rows; r++) STORE(dst + r * dst_step - LANES, flow.waiting[r]);                             \
    }

/* A row of tiles, `cols` outputs wide, at least a tile, of a result that streams past the caches.  Rows that begin with a
 * line do so altogether; of others the first tile and the last vectors are stored as usual, and so are last tiles that
 * overlap their neighbours.  Each tile calls for its part of `fetch_rows` rows that will be read next, 3x3 into the
 * first cache, others into the second. */
static void NAME(stream_tiles)(const T *src, int64_t row_step, int64_t tap_step, const int64_t *col_of, const T *w,
                               int64_t kernel_y, int64_t kernel_x, T *dst, int64_t dst_step, T init, int64_t cols,
                               const T *fetch, int64_t fetch_step, int64_t fetch_rows) {
    const int64_t tile = TILE_COLS * LANES;
#define TILES(x, n) NAME(tiles)(src + (x), row_step, tap_step, col_of, w, kernel_y, kernel_x, dst + (x), dst_step, 0, init, n)
#if IS_FLOAT && defined(STREAM)
    const int three = are_three(row_step, tap_step, col_of, kernel_y, kernel_x), resume = 0;
    const int aligned = ((uintptr_t)dst | (uintptr_t)(dst_step * (int64_t)sizeof(T))) % VECTOR_BYTES == 0;
    const int64_t first = aligned ? 0 : tile, width = three ? 2 * tile : tile, rest = cols - first - (three ? LANES : 0);
    const int64_t whole = rest > 0 ? rest / width : 0; /* with 3x3, reading a vector behind them stays in the row */
    for (int64_t x = first + whole * width; x < cols; x += tile) TILES(x + tile < cols ? x : cols - tile, 1);
    TILES(0, first / tile);
    const T *const left = src + first;
    T *const into = dst + first;
    fetch += first;
    if (three) {
        STREAM_TILES(LOW_ROWS, MOST_COLS, THREE_AND_BEYOND, 3)
        return;
    }
    BLOCKS;
    STREAM_TILES(TILE_ROWS, TILE_COLS, TILE_SUMS, 2)
#else
    if (cols % tile) TILES(cols - tile, 1);
    TILES(0, cols / tile);
#endif
#undef TILES
}
#undef STREAM_TILES
#undef FETCH
#undef EACH_TILE
#undef BLOCKS
#undef TILE_SUMS
#undef THREE_ROWS
#undef THREE_AND_BEYOND

/* One row of LINE_COLS vectors: images of a single row, that is, one-dimensional signals. */
static void NAME(line)(const T *src, int64_t tap_step, const int64_t *col_of, const T *w, int64_t kernel_y,
                       int64_t kernel_x, T *dst, int resume, T init) {
    V acc[LINE_COLS];
    _Pragma("GCC unroll 16") for (int c = 0; c < LINE_COLS; c++) acc[c] = resume ? LOAD(dst + c * LANES) : SPLAT(init);
    for (int64_t ky = 0; ky < kernel_y; ky++)
        for (int64_t kx = 0; kx < kernel_x; kx++) {
            const T *p = src + ky * tap_step + col_of[kx];
            const T tap = w[ky * kernel_x + kx];
            _Pragma("GCC unroll 16") for (int c = 0; c < LINE_COLS; c++) acc[c] += LOAD(p + c * LANES) * tap;
        }
    _Pragma("GCC unroll 16") for (int c = 0; c < LINE_COLS; c++) STORE(dst + c * LANES, acc[c]);
}

#include "exchange.h"
#if IS_FLOAT
#include "activation.h"
#include "overlap.h"
#else /* sums of integers have no activation */
static inline V NAME(rectified)(V x, const int code, T slope) { return x; }
#endif
#undef OF2
#undef OF4
#undef OF8
#undef OF16
#undef ALL
#undef SHUFFLED
#include "conv_tiles.h"
#include "conv_few.h"
#include "convert.h"
#include "separable.h"
#include "weight_gradient.h"
#include "depthwise.h"
#include "depthwise_gradient.h"
#include "depthwise_planes.h"
#include "depthwise_input.h"
#undef BLOCK_PIXELS
#undef BLOCK_ROWS
#undef GRADIENT_ROWS
#undef PLANE_ROWS
#undef IN_ROWS
#undef LANE_OF
#undef SHUFFLE
#undef LOAD_PART
#undef STORE_PART
#undef UNROLLED
#undef INLINE
#if IS_FLOAT
#include "bias_gradient.h"
#include "pointwise_gradient.h"
#include "winograd_gradient.h"
#include "winograd_products.h"
#include "winograd.h"
#include "winograd_line.h"
#endif

#undef PIECE
#undef LOAD_REST
#undef V
#undef LANES
#undef LOAD
#undef STORE
#undef SPLAT
#undef T
#undef IS_FLOAT
#undef ELEMENT_BYTES
#undef NAME
