/* Sums of outer products, and transposed blocks, in GCC/Clang vector extensions.
 *
 * The limit is the FMA rate: with 14 rows by 2 vectors a pixel takes 28 FMAs (14 cycles), 2 loads and 14 broadcasts.
 * Included by tiles.h for each type, with T, V, LANES, LOAD, STORE and NAME(x) defined.
 */

#define IN_REGISTERS _Pragma("GCC unroll 16")

/* c[r][lane] (+)= sum over pixels of a[r] * b[lane].  Pixels follow each other in b, `b_step` elements apart; in a they lie in
 * `rows` rows, which begin at a_rows[], of `run` pixels `a_step` apart.  The first `n` of `height` rows of c are written. */
static inline __attribute__((always_inline)) void NAME(outer_block)(
    const T *a, int64_t a_step, const int64_t *a_rows, int64_t rows, int64_t run, const T *b, int64_t b_step, T *c,
    int64_t c_step, int64_t n, int add, const int height, const int cols) {
    V acc[GEMM_ROWS][GEMM_COLS];
    IN_REGISTERS for (int r = 0; r < height; r++)
        IN_REGISTERS for (int j = 0; j < cols; j++) acc[r][j] = (V){0};
    for (int64_t y = 0; y < rows; y++) {
        const T *at = a + a_rows[y];
        for (int64_t i = 0; i < run; i++, at += a_step, b += b_step) {
            V lanes[GEMM_COLS];
            IN_REGISTERS for (int j = 0; j < cols; j++) lanes[j] = LOAD(b + j * LANES);
            IN_REGISTERS for (int r = 0; r < height; r++) {
                const T scalar = at[r];
                IN_REGISTERS for (int j = 0; j < cols; j++) acc[r][j] += lanes[j] * scalar;
            }
        }
    }
    IN_REGISTERS for (int r = 0; r < height; r++) {
        if (r < n) IN_REGISTERS for (int j = 0; j < cols; j++) {
            T *const to = c + r * c_step + j * LANES;
            STORE(to, add ? LOAD(to) + acc[r][j] : acc[r][j]);
        }
    }
}

/* The same for up to GEMM_ROWS rows: heights are even, a surplus row is read and not written. */
static void NAME(outer)(const T *a, int64_t a_step, const int64_t *a_rows, int64_t rows, int64_t run, const T *b,
                        int64_t b_step, T *c, int64_t c_step, int64_t n, int64_t cols, int add) {
#define OUTER(height)                                                                                         \
    case height / 2:                                                                                          \
        if (cols == 1) NAME(outer_block)(a, a_step, a_rows, rows, run, b, b_step, c, c_step, n, add, height, 1); \
        else NAME(outer_block)(a, a_step, a_rows, rows, run, b, b_step, c, c_step, n, add, height, GEMM_COLS);   \
        break;
    switch ((n + 1) / 2) {
        OUTER(2)
        OUTER(4)
        OUTER(6)
#if GEMM_ROWS > 6
        OUTER(8)
        OUTER(10)
        OUTER(12)
        OUTER(14)
#endif
    }
#undef OUTER
}

/* LANES rows of LANES elements, `from_step` apart, become rows `to_step` apart of the transposed, in that order. */
static void NAME(turn_block)(const T *from, int64_t from_step, T *to, int64_t to_step) {
    NAME(transpose)(from, from_step, to, to_step);
}

/* to[place][channel] of planes, `step` elements apart, whose places follow each other; LANES channels and places or more:
 * the last blocks overlap their neighbours. */
static void NAME(turn_planes)(const T *from, int64_t step, T *to, int64_t pitch, int64_t channels, int64_t places) {
    for (int64_t c = 0; c < channels; c += LANES) {
        const int64_t first = c < channels - LANES ? c : channels - LANES;
        for (int64_t p = 0; p < places; p += LANES) {
            const int64_t place = p < places - LANES ? p : places - LANES;
            NAME(transpose)(from + first * step + place, step, to + place * pitch + first, pitch);
        }
    }
}

/* to[place][channel] of channels that follow each other, places `step` elements apart; LANES channels or more. */
static void NAME(copy_places)(const T *from, int64_t step, T *to, int64_t pitch, int64_t channels, int64_t places) {
    for (int64_t p = 0; p < places; p++, from += step, to += pitch) {
        for (int64_t c = 0; c < channels - LANES; c += LANES) STORE(to + c, LOAD(from + c));
        STORE(to + channels - LANES, LOAD(from + channels - LANES));
    }
}
#if !IS_FLOAT
/* to[f][j] = from[f][taken[j]]: some of the `taps` elements of rows `step` elements apart.  `readable`, `writable`: elements
 * of memory, of which more may be read than are taken, and written, in order, before what follows. */
static void NAME(take_taps)(const T *from, int64_t step, int64_t readable, T *to, const int64_t *taken, int64_t n,
                            int64_t taps, int64_t rows, int64_t writable) {
    V lanes = {0};
    int64_t f = 0;
    for (int64_t j = 0; j < n && j < LANES; j++) lanes[j] = (T)taken[j];
    if (taps <= LANES)
        for (; f < rows && f * n + LANES <= writable && f * step + LANES <= readable; f++) {
            __builtin_prefetch(from + f * step + 4 * LANES); /* a third sooner */
            STORE(to + f * n, __builtin_shuffle(LOAD(from + f * step), lanes));
        }
    for (; f < rows; f++)
        for (int64_t j = 0; j < n; j++) to[f * n + j] = from[f * step + taken[j]];
}
#endif
#undef IN_REGISTERS
