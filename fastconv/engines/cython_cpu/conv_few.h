/* Convolutions of few products with many filters (first layers: 1 to 4 channels): all tiles of a unit in one function, whose
 * sums begin with the bias, are rounded as they come (few are summed in a row) and are stored where they belong.
 *
 * Stores count here.  Lanes of filters, cycles a vector of results, multiplications alone in brackets: 9 products 5.4 in the
 * second cache, 6.3 beyond, (4.5); 25 products 12.7 (12.5); 27 products 14.0 (13.5).  From memory on 18 to 25, past the caches
 * 8 and 15.  A tile and a function call at a time, with sums in two steps, took 12.4 and 18.6 in cache.
 *
 * Included by tiles.h once per T. */

#define TILE_WIDTH (GEMM_COLS * LANES)

#if GEMM_ROWS == 14 && IS_FLOAT
#define EACH_FEW(DO) DO(14) DO(13) DO(12) DO(11) DO(10) DO(9) DO(8)
enum { NAME(least_few) = 8 };
#elif GEMM_ROWS == 14
#define EACH_FEW(DO) DO(14)
enum { NAME(least_few) = 14 };
#else
#define EACH_FEW(DO) DO(6)
enum { NAME(least_few) = 6 };
#endif

/* `n` neighbours, whole lines of memory past the caches. */
static inline void NAME(copy_past)(const T *from, char *to, int64_t n) {
    int64_t i = 0;
#ifdef STREAM
    const int64_t before = -(uintptr_t)to % 64 / sizeof(T);
    if ((uintptr_t)to % sizeof(T) == 0 && before < n) {
        NAME(store_some)((NAME(lone) *)to, LOAD((const NAME(lone) *)from), before);
        for (i = before; i + LANES <= n; i += LANES) STREAM(to + i * sizeof(T), LOAD((const NAME(lone) *)from + i));
    }
#endif
    for (; i < n; i += LANES) NAME(store_some)((NAME(lone) *)to + i, LOAD((const NAME(lone) *)from + i), n - i);
}

#define FEW_SUMS(rows, cols)                                 \
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) \
        _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++)

/* A tile of filters_body (conv_tiles.h) of GEMM_ROWS pixels; `put` stores whole vectors. */
#define FEW_FILTERS(name, cols, put)                                                                                             \
    static __attribute__((noinline)) void NAME(name)(const T *w, const char *src, const int64_t *pixel_of,                  \
        const int64_t *segment_of, int64_t segments, int64_t length, const T *bias, char *out, const int64_t *out_of,       \
        int64_t lanes, const struct finish *finish) {                                                                       \
        V acc[GEMM_ROWS][GEMM_COLS];                                                                                        \
        const NAME(lone) *pixel[GEMM_ROWS];                                                                                 \
        _Pragma("GCC unroll 16") for (int r = 0; r < GEMM_ROWS; r++) {                                                      \
            pixel[r] = (const NAME(lone) *)(src + pixel_of[r]);                                                             \
            _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) acc[r][j] = LOAD(bias + j * LANES);                      \
        }                                                                                                                   \
        for (int64_t s = 0; s < segments; s++)                                                                              \
            for (int64_t k = segment_of[s] / (int64_t)sizeof(T), end = k + length; k < end; k++, w += TILE_WIDTH) {         \
                V taps[GEMM_COLS];                                                                                          \
                _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) taps[j] = LOAD(w + j * LANES);                       \
                _Pragma("GCC unroll 16") for (int r = 0; r < GEMM_ROWS; r++) {                                              \
                    const T x = pixel[r][k];                                                                                \
                    _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) acc[r][j] += taps[j] * x;                        \
                }                                                                                                           \
            }                                                                                                               \
        RECTIFY(finish, FEW_SUMS(GEMM_ROWS, cols), acc[r][j])                                                               \
        lanes -= (cols - 1) * LANES;                                                                                        \
        _Pragma("GCC unroll 16") for (int r = 0; r < GEMM_ROWS; r++) {                                                      \
            NAME(lone) *to = (NAME(lone) *)(out + out_of[r]);                                                               \
            _Pragma("GCC unroll 4") for (int j = 0; j < cols - 1; j++) put(to + j * LANES, acc[r][j]);                      \
            if (lanes == LANES) put(to + (cols - 1) * LANES, acc[r][cols - 1]);                                             \
            else NAME(store_some)(to + (cols - 1) * LANES, acc[r][cols - 1], lanes);                                        \
        }                                                                                                                   \
    }
FEW_FILTERS(few_narrow, 1, STORE)
FEW_FILTERS(few_wide, 2, STORE)
#ifdef STREAM
FEW_FILTERS(few_past, 2, STREAM)
#else
FEW_FILTERS(few_past, 2, STORE)
#endif
#undef FEW_FILTERS

/* The finished sums of a unit's `n` pixels, GEMM_ROWS at least, and `filters`: see filters_body.  Weights of a block of filters
 * begin `w_block` elements after those of the last.  With `past`, room for a tile of all filters, whole lines are written past
 * the caches, by way of it if pixels are not lines. */
static void NAME(few_filters)(const T *w, int64_t w_block, const char *src, const int64_t *pixel_of, const int64_t *segment_of,
                              int64_t segments, int64_t length, const T *bias, char *out, const int64_t *out_of, int64_t n,
                              int64_t filters, T *past, const struct finish *finish) {
    int64_t row_of[GEMM_ROWS];
    for (int r = 0; r < GEMM_ROWS; r++) row_of[r] = r * filters * (int64_t)sizeof(T);
    for (int64_t at = 0; at < n; at += GEMM_ROWS) {
        const int64_t p = at + GEMM_ROWS > n ? n - GEMM_ROWS : at;
        const int dense = past && out_of[p + GEMM_ROWS - 1] - out_of[p] == row_of[GEMM_ROWS - 1];
        const int lines = dense && finish->code <= LEAKY_RELU && ((uintptr_t)(out + out_of[p]) | row_of[1]) % 64 == 0 && filters % TILE_WIDTH == 0;
        const int stream = dense && !lines;
        const int64_t *to_of = stream ? row_of : out_of + p;
        char *to = stream ? (char *)past : out;
        for (int64_t f = 0; f < filters; f += TILE_WIDTH)
            (lines ? NAME(few_past) : filters - f > LANES ? NAME(few_wide) : NAME(few_narrow))(
                w + f / TILE_WIDTH * w_block, src, pixel_of + p, segment_of, segments, length, bias + f,
                to + f * sizeof(T), to_of, filters - f < TILE_WIDTH ? filters - f : TILE_WIDTH, finish);
        if (finish->code > LEAKY_RELU) NAME(activate_rows)(w, to, to_of, GEMM_ROWS, filters, finish->code, finish->slope);
        if (stream) NAME(copy_past)(past + (at - p) * filters, out + out_of[at], (p + GEMM_ROWS - at) * filters);
    }
}

/* A tile of pixels_body: `rows` filters. */
static inline __attribute__((always_inline)) void NAME(few_pixels_body)(const T *w, const char *src, const int64_t *k_of, int64_t depth,
    const T *start, char *out, int64_t out_step, const struct finish *finish, const int stream, const int rows) {
    V acc[GEMM_ROWS][GEMM_COLS];
    const T *taps[GEMM_ROWS];
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
        taps[r] = w + r * depth;
        _Pragma("GCC unroll 4") for (int j = 0; j < GEMM_COLS; j++) acc[r][j] = SPLAT(start[r]);
    }
    for (int64_t k = 0; k < depth; k++) {
        V x[GEMM_COLS];
        const NAME(lone) *at = (const NAME(lone) *)(src + k_of[k]);
        _Pragma("GCC unroll 4") for (int j = 0; j < GEMM_COLS; j++) x[j] = LOAD(at + j * LANES);
        _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
            const T tap = taps[r][k];
            _Pragma("GCC unroll 4") for (int j = 0; j < GEMM_COLS; j++) acc[r][j] += x[j] * tap;
        }
    }
    RECTIFY(finish, FEW_SUMS(rows, GEMM_COLS), acc[r][j])
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++, out += out_step)
        _Pragma("GCC unroll 4") for (int j = 0; j < GEMM_COLS; j++) {
#ifdef STREAM
            if (stream) STREAM((NAME(lone) *)out + j * LANES, acc[r][j]);
            else
#endif
                STORE((NAME(lone) *)out + j * LANES, acc[r][j]);
        }
}

#define FEW_PIXELS(h)                                                                                                       \
    static __attribute__((noinline)) void NAME(few_pixels_##h)(const T *w, const char *src, const int64_t *k_of,            \
        int64_t depth, const T *start, char *out, int64_t out_step, const struct finish *finish, int64_t stream) {                                     \
        if (stream) NAME(few_pixels_body)(w, src, k_of, depth, start, out, out_step, finish, 1, h);                               \
        else NAME(few_pixels_body)(w, src, k_of, depth, start, out, out_step, finish, 0, h);                                      \
    }
EACH_FEW(FEW_PIXELS)
#undef FEW_PIXELS

/* The finished sums of `n` positions that follow each other in the output, TILE_WIDTH at least, and `filters`, least_few at
 * least, `out_step` bytes apart: see pixels_body.  `stream`: past the caches where whole lines are written. */
static void NAME(few_pixels)(const T *w, const char *src, const int64_t *k_of, int64_t depth, const T *bias, char *out,
                             int64_t out_step, int64_t n, int64_t filters, int64_t stream, const struct finish *finish) {
    const int64_t groups = (filters + GEMM_ROWS - 1) / GEMM_ROWS, each = (filters + groups - 1) / groups;
    const int64_t height = each < NAME(least_few) ? NAME(least_few) : each;
    int64_t row_of[GEMM_ROWS];
    for (int r = 0; r < GEMM_ROWS; r++) row_of[r] = r * out_step;
    for (int64_t g = 0; g < groups; g++) {
        const int64_t f = (g + 1) * height > filters ? filters - height : g * height;
        for (int64_t at = 0; at < n; at += TILE_WIDTH) {
            const int64_t p = at + TILE_WIDTH > n ? n - TILE_WIDTH : at;
            char *to = out + f * out_step + p * sizeof(T);
            const int64_t whole = stream && finish->code <= LEAKY_RELU && ((uintptr_t)to | out_step) % 64 == 0;
#define CALL(h)                                                                                                             \
    case h:                                                                                                                 \
        NAME(few_pixels_##h)(w + f * depth, src + p * sizeof(T), k_of, depth, bias + f, to, out_step, finish, whole);             \
        break;
            switch (height) { EACH_FEW(CALL) }
#undef CALL
            if (finish->code > LEAKY_RELU)
                NAME(activate_rows)(w, to, row_of, height, TILE_WIDTH, finish->code, finish->slope);
        }
    }
}
#undef EACH_FEW
#undef FEW_SUMS
#undef TILE_WIDTH
