/* Products at one of Winograd's points: tiles of `rows` x GEMM_COLS vectors of sums, whose rows' values lie equally far apart.
 *
 * Addresses are a few pointers and a step, and a loop's round takes several elements of depth: 42 to 46 instructions for 28
 * multiplications, not 59 (conv_tiles.h, whose rows lie anywhere).  Xeon, one thread, of the FMA peak, 16 tiles of 256 channels
 * 0.88 rather than 0.72, and where another machine's thread shares the core's decoder 0.62 rather than 0.52.
 *
 * Included by tiles.h for floating-point T. */

#define WIDTH (GEMM_COLS * LANES)
#define SUMS _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) _Pragma("GCC unroll 4") for (int j = 0; j < GEMM_COLS; j++)
enum { NAME(depth_at_once) = LANES < 4 ? 2 : 4 }; /* divides the depth, and how many products are summed apart */
/* Rows of values `step` elements apart; weights are [depth][WIDTH], and so are the results.  Sums begin at rows of `start`,
 * `start_step` elements apart; of `depth` products, `most` are summed in a row.  `ahead`: bytes from a weight to what is called for. */
#define PRODUCTS_ARGUMENTS                                                                                            \
    const T *w, const T *values, int64_t step, int64_t depth, const T *start, int64_t start_step, T *out, int64_t most, \
        int64_t ahead
static inline __attribute__((always_inline)) void NAME(products_body)(PRODUCTS_ARGUMENTS, const int rows, const int calls) {
    V acc[GEMM_ROWS][GEMM_COLS], parted[GEMM_ROWS][GEMM_COLS], (*sums)[GEMM_COLS] = parted;
    __asm__("" : "+r"(sums)); /* in memory: see conv_tiles.h */
    const char *row[(GEMM_ROWS + 2) / 3]; /* every third */
    const int64_t bytes = step * sizeof(T);
    int64_t parts = 0;
    SUMS acc[r][j] = LOAD(start + r * start_step + j * LANES);
    _Pragma("GCC unroll 5") for (int r = 0; r < rows; r += 3) row[r / 3] = (const char *)(values + r * step);
    for (;;) {
        const int64_t some = depth < most ? depth : most;
        const T *end = w + some * WIDTH;
        do {
            _Pragma("GCC unroll 5") for (int r = 0; r < rows; r += 3) __asm__("" : "+r"(row[r / 3]));
            _Pragma("GCC unroll 4") for (int k = 0; k < NAME(depth_at_once); k++) {
                V taps[GEMM_COLS];
                _Pragma("GCC unroll 4") for (int j = 0; j < GEMM_COLS; j++) {
                    taps[j] = LOAD(w + k * WIDTH + j * LANES);
                    if (calls) __builtin_prefetch((const char *)(w + k * WIDTH + j * LANES) + ahead);
                }
                _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
                    const T x = *(const T *)(row[r / 3] + r % 3 * bytes + k * sizeof(T));
                    _Pragma("GCC unroll 4") for (int j = 0; j < GEMM_COLS; j++) acc[r][j] += taps[j] * x;
                }
            }
            w += NAME(depth_at_once) * WIDTH;
            _Pragma("GCC unroll 5") for (int r = 0; r < rows; r += 3) row[r / 3] += NAME(depth_at_once) * sizeof(T);
        } while (w < end);
        depth -= some;
        if (depth == 0) break;
        SUMS {
            sums[r][j] = parts ? sums[r][j] + acc[r][j] : acc[r][j];
            acc[r][j] = (V){0};
        }
        parts++;
    }
    if (parts) SUMS acc[r][j] += sums[r][j];
    SUMS STORE(out + r * WIDTH + j * LANES, acc[r][j]);
}

#if GEMM_ROWS == 14
#define EACH_HEIGHT(DO) DO(14) DO(12) DO(10) DO(8) DO(7) DO(6) DO(4) DO(2) DO(1)
#else
#define EACH_HEIGHT(DO) DO(6) DO(4) DO(3) DO(2) DO(1)
#endif
#define SHAPES(h)                                                                                                     \
    static __attribute__((noinline)) void NAME(products_##h)(PRODUCTS_ARGUMENTS) {                                    \
        NAME(products_body)(w, values, step, depth, start, start_step, out, most, ahead, h, 0);                       \
    }                                                                                                                 \
    static __attribute__((noinline)) void NAME(products_calling_##h)(PRODUCTS_ARGUMENTS) {                            \
        NAME(products_body)(w, values, step, depth, start, start_step, out, most, ahead, h, 1);                       \
    }
EACH_HEIGHT(SHAPES)
#undef SHAPES

/* `rows`: a height of `product_height`. */
static inline void NAME(point_products)(PRODUCTS_ARGUMENTS, int64_t rows) {
#define CALL(h)                                                                                                       \
    case h:                                                                                                           \
        (ahead ? NAME(products_calling_##h) : NAME(products_##h))(w, values, step, depth, start, start_step, out, most, ahead); \
        break;
    switch (rows) { EACH_HEIGHT(CALL) }
#undef CALL
}
#undef EACH_HEIGHT
#undef PRODUCTS_ARGUMENTS
#undef SUMS
#undef WIDTH
