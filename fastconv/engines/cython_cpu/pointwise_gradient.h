/* Products of two operands' channels summed over pixels that are read where they lie.
 *
 * Channels side by side: one is broadcast, the other read in vectors.  The limit is the FMA rate, 14 cycles for 14 rows by 2
 * vectors; a pixel's four lines come from the second cache meanwhile: 0.92 to 0.97 of the peak (AVX-512, a thread; 0.8 if
 * they are packed first).  Planes: lanes are pixels, 4 rows of one operand by 6 of the other; 10 loads go beside 24 FMAs, and
 * lanes are added at the end: 0.75 to 0.88.
 * Included by tiles.h for floats alone. */

#if GEMM_ROWS == 14
enum { NAME(dot_rows) = 4, NAME(dot_cols) = 6 };
#define EACH_ROWS(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14)
#else
enum { NAME(dot_rows) = 3, NAME(dot_cols) = 4 };
#define EACH_ROWS(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6)
#endif
#define DOT_ROWS NAME(dot_rows)
#define DOT_COLS NAME(dot_cols)
#define UNROLL _Pragma("GCC unroll 16")

/* Pixels that are called for so far ahead: their lines lie apart, where nothing is by itself.  64 to 256 channels, 56x56 pixels,
 * 0.35 rather than 0.40 ms, 8 images 3.1 and 4.0; 16 pixels ahead 5% less. */
enum { NAME(pixels_ahead) = 8 };

/* sums[row][vector] (+)= a[row] * b[lane] over `n_rows` rows of `run` pixels.  The second vector begins `second` lanes after
 * the first. */
#define LANES_ARGUMENTS                                                                                             \
    const T *a, int64_t a_pixel, int64_t a_row, const T *b, int64_t b_pixel, int64_t b_row, int64_t second,         \
        int64_t n_rows, int64_t run, T *sums, int add
static inline __attribute__((always_inline)) void NAME(lanes_body)(LANES_ARGUMENTS, const int height, const int cols) {
    V acc[GEMM_ROWS][2];
    UNROLL for (int r = 0; r < height; r++) UNROLL for (int j = 0; j < cols; j++) acc[r][j] = (V){0};
    for (int64_t y = 0; y < n_rows; y++) {
        const T *left = a + y * a_row, *right = b + y * b_row;
        for (int64_t i = 0, stop = run - NAME(pixels_ahead); i < run; stop = run) { /* then those of the next row */
            const int same = stop < run;
            const int64_t ahead = NAME(pixels_ahead) - (same ? 0 : run);
            const int64_t a_ahead = ahead * a_pixel + (same ? 0 : a_row) + height - 1, b_ahead = ahead * b_pixel + (same ? 0 : b_row);
            for (; i < stop; i++, left += a_pixel, right += b_pixel) {
                V lanes[2];
                __builtin_prefetch(left + a_ahead);
                __builtin_prefetch(right + b_ahead);
                if (cols > 1) __builtin_prefetch(right + second + b_ahead);
                lanes[0] = LOAD(right);
                if (cols > 1) lanes[1] = LOAD(right + second);
                UNROLL for (int r = 0; r < height; r++) {
                    const T scalar = left[r];
                    UNROLL for (int j = 0; j < cols; j++) acc[r][j] += lanes[j] * scalar;
                }
            }
        }
    }
    UNROLL for (int r = 0; r < height; r++) UNROLL for (int j = 0; j < cols; j++) {
        T *const to = sums + (r * 2 + j) * LANES;
        STORE(to, add ? LOAD(to) + acc[r][j] : acc[r][j]);
    }
}
#define SHAPES(h)                                                                                                   \
    static __attribute__((noinline)) void NAME(lanes_narrow_##h)(LANES_ARGUMENTS) {                                 \
        NAME(lanes_body)(a, a_pixel, a_row, b, b_pixel, b_row, second, n_rows, run, sums, add, h, 1);               \
    }                                                                                                               \
    static __attribute__((noinline)) void NAME(lanes_wide_##h)(LANES_ARGUMENTS) {                                   \
        NAME(lanes_body)(a, a_pixel, a_row, b, b_pixel, b_row, second, n_rows, run, sums, add, h, 2);               \
    }
EACH_ROWS(SHAPES)
#undef SHAPES
static void NAME(lanes_tile)(LANES_ARGUMENTS, int64_t height, int64_t cols) {
#define CALL(h)                                                                                                     \
    case h:                                                                                                         \
        (cols > 1 ? NAME(lanes_wide_##h) : NAME(lanes_narrow_##h))(a, a_pixel, a_row, b, b_pixel, b_row, second,    \
                                                                   n_rows, run, sums, add);                         \
        break;
    switch (height) { EACH_ROWS(CALL) }
#undef CALL
}

/* sums[row][col] (+)= a[row][pixel] * b[col][pixel] over `n` pixels of each image; rows and columns beyond `rows` and `cols`
 * repeat the last one. */
static __attribute__((noinline)) void NAME(dots_tile)(const T *a, int64_t a_channel, int64_t a_image, int64_t rows, const T *b,
                                                      int64_t b_channel, int64_t b_image, int64_t cols, int64_t images,
                                                      int64_t n, T *sums, int add) {
    V acc[DOT_ROWS * DOT_COLS];
    const T *left[DOT_ROWS], *right[DOT_COLS];
    UNROLL for (int r = 0; r < DOT_ROWS; r++) left[r] = a + (r < rows ? r : rows - 1) * a_channel;
    UNROLL for (int s = 0; s < DOT_COLS; s++) right[s] = b + (s < cols ? s : cols - 1) * b_channel;
    _Pragma("GCC unroll 32") for (int i = 0; i < DOT_ROWS * DOT_COLS; i++) acc[i] = (V){0};
    for (int64_t m = 0; m < images; m++) {
        int64_t i = 0;
#define STEP(READ) {                                                                                                \
        V x[DOT_ROWS];                                                                                              \
        UNROLL for (int r = 0; r < DOT_ROWS; r++) { x[r] = READ(left[r] + i); HOLD(x[r]); }                         \
        UNROLL for (int s = 0; s < DOT_COLS; s++) {                                                                 \
            V y = READ(right[s] + i);                                                                               \
            HOLD(y);                                                                                                \
            UNROLL for (int r = 0; r < DOT_ROWS; r++) acc[r * DOT_COLS + s] += x[r] * y;                            \
        }                                                                                                           \
    }
        for (; i + LANES <= n; i += LANES) STEP(LOAD)
        if (i < n) {
            const int64_t rest = n - i;
            STEP(LOAD_REST)
        }
#undef STEP
        UNROLL for (int r = 0; r < DOT_ROWS; r++) left[r] += a_image;
        UNROLL for (int s = 0; s < DOT_COLS; s++) right[s] += b_image;
    }
    for (int first = 0; first < DOT_ROWS * DOT_COLS; first += LANES) {
        V part[LANES];
        UNROLL for (int l = 0; l < LANES; l++) part[l] = first + l < DOT_ROWS * DOT_COLS ? acc[first + l] : (V){0};
        const V total = NAME(lane_sums)(part);
        STORE(sums + first, add ? LOAD(sums + first) + total : total);
    }
}

#undef EACH_ROWS
#undef DOT_ROWS
#undef DOT_COLS
#undef UNROLL
#undef LANES_ARGUMENTS
