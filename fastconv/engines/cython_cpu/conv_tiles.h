/* Matrix products of convolutions with many filters: tiles of `rows` x `cols` vectors of sums, kept in registers.
 *
 * Two kinds.  Lanes are filters: each of `rows` pixels has its window read element by element, where it lies or staged, and
 * multiplied with vectors of packed weights.  Lanes are pixels: each of `rows` filters has its weights read where they lie,
 * and multiplied with vectors of neighbouring pixels.  Either way `cols` vectors and `rows` broadcasts feed rows * cols
 * multiplications, which are the limit: 0.95 to 1.0 of the FMA peak for every height from 6 on (AVX-512, one thread, from
 * 64 elements of depth to 4608), whether pixels come from the first or the second cache.  Heights that share no divisor
 * are there so that few rows are left over.  What the next tiles read and write is called for meanwhile, a line or two for
 * each element of depth: of the FMA peak, pixels of 256 channels from memory 0.97 rather than 0.75, 96 filters of 16 channels,
 * which are mostly written, 0.86 rather than 0.45.
 *
 * Included by tiles.h once per T. */

#define TILE_WIDTH (GEMM_COLS * LANES)
typedef T NAME(lone) __attribute__((aligned(1), may_alias));

#if GEMM_ROWS == 14 && IS_FLOAT
#define EACH_HEIGHT(DO) DO(14) DO(12) DO(10) DO(8) DO(7) DO(6) DO(4) DO(2) DO(1)
#elif GEMM_ROWS == 14
#define EACH_HEIGHT(DO) DO(14) DO(6) DO(2) DO(1)
#elif IS_FLOAT
#define EACH_HEIGHT(DO) DO(6) DO(4) DO(3) DO(2) DO(1)
#else
#define EACH_HEIGHT(DO) DO(6) DO(2) DO(1)
#endif

/* Rows of the next tile when so many are left: the highest, but as many tiles of equal height rather than a flat last one. */
static inline int64_t NAME(product_height)(int64_t left) {
    const int64_t tiles = (left + GEMM_ROWS - 1) / GEMM_ROWS, over = left % GEMM_ROWS;
    const int64_t wanted = left < GEMM_ROWS ? left : over == 0 || over >= GEMM_ROWS / 2 - 1 ? GEMM_ROWS : (left + tiles - 1) / tiles;
    int64_t height = 1;
#define TRY(h) if (h <= wanted && h > height) height = h;
    EACH_HEIGHT(TRY)
#undef TRY
    return height;
}

static inline void NAME(store_some)(NAME(lone) *to, V v, int64_t n) {
    if (n >= LANES) STORE(to, v);
#if defined(__AVX512F__) && ELEMENT_BYTES == 4
    else _mm512_mask_storeu_epi32((void *)to, (__mmask16)((1 << n) - 1), (__m512i)v);
#elif defined(__AVX512F__)
    else _mm512_mask_storeu_epi64((void *)to, (__mmask8)((1 << n) - 1), (__m512i)v);
#else
    else if (n > 0) memcpy((void *)to, &v, n * sizeof(T));
#endif
}

/* So many products are summed apart: relative errors are 2.2e-7 for any depth, as PyTorch's, not 4e-7 to 1.2e-6.  Of few
 * (FEW_PRODUCTS of the executor) all in one go, as conv_few.h does: the threads decide which of the two a unit is large enough for. */
enum { NAME(apart) = 128, NAME(in_one_go) = 160 };
static inline int64_t NAME(summed_apart)(int64_t depth) { return depth <= NAME(in_one_go) ? NAME(in_one_go) : NAME(apart); }

/* The sums of `rows` pixels, added to a row of `start` or each to its own row: a pixel's window is `segments` runs of
 * `length` elements, which begin segment_of[] bytes from its corner.  Row r of the result goes out_of[r] bytes from `out`,
 * `lanes` elements, with `finish` applied.  Of a run, up to `most` products are summed apart: the rounding error of a sum
 * grows like the root of how many are summed in a row; only then are there sums beside those in registers. */
#define FILTERS_ARGUMENTS                                                                                                   \
    const T *w, const char *src, const int64_t *pixel_of, const int64_t *segment_of, int64_t segments, int64_t length,      \
        const T *start, int64_t start_step, void *out, const int64_t *out_of, int64_t lanes, int64_t most,                  \
        const struct coming *coming, const struct finish *finish
#define TILE_SUMS                                            \
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) \
        _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++)
static inline __attribute__((always_inline)) void NAME(filters_body)(FILTERS_ARGUMENTS, const int rows, const int cols) {
    V acc[GEMM_ROWS][GEMM_COLS], parted[GEMM_ROWS][GEMM_COLS], (*sums)[GEMM_COLS] = parted;
    __asm__("" : "+r"(sums)); /* in memory: GCC would take short tiles there, too, 40 cycles each */
    const NAME(lone) *pixel[GEMM_ROWS];
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
        pixel[r] = (const NAME(lone) *)(src + pixel_of[r]);
        _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) {
            acc[r][j] = LOAD(start + r * start_step + j * LANES);
        }
    }
    const char *source = coming->source, *target = coming->target;
    const int64_t row = coming->row;
    int64_t room = most, parts = 0;
    for (int64_t s = 0; s < segments; s++) {
        int64_t k = segment_of[s] / (int64_t)sizeof(T);
        const int64_t end = k + length;
        while (k < end) {
            const int64_t stop = end - k < room ? end : k + room;
            room -= stop - k;
            for (; k < stop; k++, w += row) {
                V taps[GEMM_COLS];
                __builtin_prefetch(source);
                __builtin_prefetch(target);
                source += coming->source_step;
                target += coming->target_step;
                _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) taps[j] = LOAD(w + j * LANES);
                _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
                    const T x = pixel[r][k];
                    _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) acc[r][j] += taps[j] * x;
                }
            }
            if (room || (k == end && s == segments - 1)) continue;
            room = most;
            _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
                _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) {
                    sums[r][j] = parts ? sums[r][j] + acc[r][j] : acc[r][j];
                    acc[r][j] = (V){0};
                }
            parts++;
        }
    }
    if (parts)
        TILE_SUMS acc[r][j] += sums[r][j];
    RECTIFY(finish, TILE_SUMS, acc[r][j])
#ifdef STREAM
    if (coming->stream) {
        TILE_SUMS STREAM((char *)out + out_of[r] + j * VECTOR_BYTES, acc[r][j]);
        return;
    }
#endif
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
        NAME(lone) *to = (NAME(lone) *)((char *)out + out_of[r]);
        _Pragma("GCC unroll 4") for (int j = 0; j < cols - 1; j++) STORE(to + j * LANES, acc[r][j]);
        NAME(store_some)(to + (cols - 1) * LANES, acc[r][cols - 1], lanes - (cols - 1) * LANES);
    }
}

/* The sums of `rows` filters for neighbouring pixels: element k of their windows lies k_of[k] bytes from `src`.  They
 * begin at start[r], or (`resume`) at rows of sums.  Planes are pages apart, where nothing is called for by itself: doing it
 * makes 64 to 256 channels of 56x56 pixels 1.4 to 1.8 times as fast on 16 threads of a Xeon, and 1.1 on Zen 5. */
enum { NAME(planes_ahead) = 8 };
#define PIXELS_ARGUMENTS                                                                                                    \
    const T *w, const char *src, const int64_t *k_of, int64_t depth, int64_t w_step, const T *start, int64_t start_step,    \
        int resume, void *out, int64_t out_step, const struct finish *finish
static inline __attribute__((always_inline)) void NAME(pixels_body)(PIXELS_ARGUMENTS, const int rows, const int cols) {
    V acc[GEMM_ROWS][GEMM_COLS], parted[GEMM_ROWS][GEMM_COLS], (*sums)[GEMM_COLS] = parted;
    __asm__("" : "+r"(sums)); /* in memory: GCC would take short tiles there, too, 40 cycles each */
    TILE_SUMS acc[r][j] = resume ? LOAD(start + r * start_step + j * LANES) : SPLAT(start[r]);
    int64_t room = NAME(summed_apart)(depth), parts = 0;
    for (int64_t k = 0; k < depth; k++) {
        if (room-- == 0) {
            _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
                _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) {
                    sums[r][j] = parts ? sums[r][j] + acc[r][j] : acc[r][j];
                    acc[r][j] = (V){0};
                }
            parts++;
            room = NAME(apart) - 1;
        }
        V x[GEMM_COLS];
        const NAME(lone) *at = (const NAME(lone) *)(src + k_of[k]);
        const char *next = src + k_of[k + NAME(planes_ahead) < depth ? k + NAME(planes_ahead) : k];
        __builtin_prefetch(next);
        __builtin_prefetch(next + cols * LANES * sizeof(T) - 1);
        _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) x[j] = LOAD(at + j * LANES);
        _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
            const T tap = w[r * w_step + k];
            _Pragma("GCC unroll 4") for (int j = 0; j < cols; j++) acc[r][j] += x[j] * tap;
        }
    }
    if (parts)
        TILE_SUMS acc[r][j] += sums[r][j];
    RECTIFY(finish, TILE_SUMS, acc[r][j])
    TILE_SUMS STORE((NAME(lone) *)((char *)out + r * out_step) + j * LANES, acc[r][j]);
}

/* A function of its own for each shape of tile. */
#define SHAPES(h)                                                                                                           \
    static __attribute__((noinline)) void NAME(filters_narrow_##h)(FILTERS_ARGUMENTS) {                                     \
        NAME(filters_body)(w, src, pixel_of, segment_of, segments, length, start, start_step, out, out_of, lanes, most, coming, \
                           finish, h, 1);                                                                                   \
    }                                                                                                                       \
    static __attribute__((noinline)) void NAME(filters_wide_##h)(FILTERS_ARGUMENTS) {                                       \
        NAME(filters_body)(w, src, pixel_of, segment_of, segments, length, start, start_step, out, out_of, lanes, most, coming, \
                           finish, h, 2);                                                                                   \
    }                                                                                                                       \
    static __attribute__((noinline)) void NAME(pixels_narrow_##h)(PIXELS_ARGUMENTS) {                                       \
        NAME(pixels_body)(w, src, k_of, depth, w_step, start, start_step, resume, out, out_step, finish, h, 1);             \
    }                                                                                                                       \
    static __attribute__((noinline)) void NAME(pixels_wide_##h)(PIXELS_ARGUMENTS) {                                         \
        NAME(pixels_body)(w, src, k_of, depth, w_step, start, start_step, resume, out, out_step, finish, h, 2);             \
    }
EACH_HEIGHT(SHAPES)
#undef SHAPES

static void NAME(filters_call)(FILTERS_ARGUMENTS, int64_t rows) {
#define CALL(h)                                                                                                             \
    case h:                                                                                                                 \
        (lanes > LANES ? NAME(filters_wide_##h) : NAME(filters_narrow_##h))(                                                \
            w, src, pixel_of, segment_of, segments, length, start, start_step, out, out_of, lanes, most, coming, finish);   \
        break;
    switch (rows) { EACH_HEIGHT(CALL) }
#undef CALL
}

static inline void NAME(filters_part)(const T *w, const char *src, const int64_t *pixel_of, const int64_t *segment_of, int64_t segments,
    int64_t length, const T *start, int64_t start_step, void *out, const int64_t *out_of, int64_t lanes, int64_t most, int64_t ahead, int64_t rows) {
    const char *next = (const char *)w + ahead;
    const struct coming weights = {next, TILE_WIDTH * sizeof(T), next + VECTOR_BYTES, TILE_WIDTH * sizeof(T), 0, TILE_WIDTH};
    const struct finish none = {NO_ACTIVATION, 0};
    NAME(filters_call)(w, src, pixel_of, segment_of, segments, length, start, start_step, out, out_of, lanes, most, &weights, &none, rows);
}

/* While other memory is called for, too, and sums are finished. */
static inline void NAME(filters_tile_while)(const T *w, const char *src, const int64_t *pixel_of, const int64_t *segment_of, int64_t segments,
    int64_t length, const T *start, int64_t start_step, void *out, const int64_t *out_of, int64_t lanes, const struct coming *coming,
    const struct finish *finish, int64_t rows) {
    const int64_t most = NAME(summed_apart)(segments * length);
    NAME(filters_call)(w, src, pixel_of, segment_of, segments, length, start, start_step, out, out_of, lanes, most, coming, finish, rows);
}

static void NAME(pixels_tile)(PIXELS_ARGUMENTS, int64_t rows, int64_t cols) {
#define CALL(h)                                                                                                             \
    case h:                                                                                                                 \
        (cols > 1 ? NAME(pixels_wide_##h) : NAME(pixels_narrow_##h))(                                                       \
            w, src, k_of, depth, w_step, start, start_step, resume, out, out_step, finish);                                 \
        break;
    switch (rows) { EACH_HEIGHT(CALL) }
#undef CALL
}

/* Activates rows of finished sums where they were stored; `type` tells their type alone. */
static void NAME(activate_rows)(const T *type, char *out, const int64_t *out_of, int64_t rows, int64_t n, int64_t code, double slope) {
#if IS_FLOAT
    for (int64_t r = 0; r < rows; r++) NAME(activate_run)((T *)(out + out_of[r]), n, code, (T)slope);
#endif
}

/* A few elements of a row of a tile. */
static inline void NAME(store_pieces)(const T *from, char *to, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) NAME(store_some)((NAME(lone) *)to + i, LOAD(from + i), n - i);
}

/* `n` runs of `length` neighbours, `from_step` bytes apart, as runs `to_step` elements apart.  Nothing beyond a run is read or
 * written. */
static void NAME(copy_runs)(const T *from, int64_t from_step, T *to, int64_t to_step, int64_t length, int64_t n) {
    const int64_t whole = length / LANES * LANES, last = length >= LANES ? length - LANES : 0;
    for (; n > 0; n--, from = (const T *)((const char *)from + from_step), to += to_step) {
        const NAME(lone) *source = (const NAME(lone) *)from;
        for (int64_t i = 0; i < whole; i += LANES) STORE(to + i, LOAD(source + i));
        if (length < LANES)
            for (int64_t i = 0; i < length; i++) to[i] = source[i];
        else if (whole < length) STORE(to + last, LOAD(source + last));
    }
}

/* A tile whose rows are pixels that follow each other in planes, `step` bytes apart.  Few planes at a time: they may share
 * sets of the caches. */
static void NAME(store_turned)(const T *tile, char *out, int64_t step, int64_t pixels, int64_t filters) {
    for (int64_t f = 0; f < filters; f += NAME(piece))
        for (int64_t p = 0; p < pixels; p += LANES) {
            V v[NAME(piece)];
            NAME(turned)(tile + p * TILE_WIDTH + f, TILE_WIDTH, v);
            _Pragma("GCC unroll 4") for (int r = 0; r < NAME(piece); r++)
                if (f + r < filters) NAME(store_some)((NAME(lone) *)(out + (f + r) * step) + p, v[r], pixels - p);
        }
}

/* `n` weights of each of LANES lanes, of which there are `lanes`. */
static inline void NAME(pack_line)(const T *w, int64_t lane_step, int64_t n, int64_t readable, const int64_t *row_of, T *to,
                                   int64_t lanes) {
    int64_t i = 0;
    if (lanes >= LANES && lane_step == 1)
        for (; i < n && i + LANES <= readable; i++)
            if (row_of[i] >= 0) STORE(to + row_of[i] * TILE_WIDTH, LOAD(w + i));
    if (lanes >= LANES && lane_step > 1)
        for (; i < n && (LANES - 1) * lane_step + i + NAME(piece) <= readable; i += NAME(piece)) {
            V v[NAME(piece)];
            NAME(turned)(w + i, lane_step, v);
            _Pragma("GCC unroll 4") for (int r = 0; r < NAME(piece); r++)
                if (i + r < n && row_of[i + r] >= 0) STORE(to + row_of[i + r] * TILE_WIDTH, v[r]);
        }
    for (; i < n; i++)
        for (int64_t f = 0; f < LANES && row_of[i] >= 0; f++)
            to[row_of[i] * TILE_WIDTH + f] = f < lanes ? w[f * lane_step + i] : 0;
}

/* Weights as rows of TILE_WIDTH lanes, of which there are `lanes`, lane_step elements apart: of each, `runs` runs of `length`
 * neighbours, run_step apart.  Weight i goes to row row_of[i], nowhere if that is negative.  Blocks are transposed in
 * registers, a cache line of a lane at a time.  `readable`: elements from `w` to the end of memory. */
static void NAME(pack_lanes)(const T *w, int64_t lane_step, int64_t run_step, int64_t runs, int64_t length, int64_t readable,
                             const int64_t *row_of, T *to, int64_t lanes) {
    enum { LINE = 64 / sizeof(T) };
    const int64_t ahead = 4 + 128 / (lanes * lane_step / LINE + 1); /* runs, short ones further */
    for (int64_t r = 0; r < runs; r++, w += run_step, readable -= run_step, row_of += length) {
        if (runs > 1) /* runs are pages apart, where nothing is called for by itself */
            for (int64_t i = 0; i < lanes * lane_step; i += LINE) __builtin_prefetch(w + ahead * run_step + i);
        for (int64_t line = 0; line < length; line += LINE) {
            const int64_t n = length - line < LINE ? length - line : LINE;
            for (int64_t h = 0; h < TILE_WIDTH; h += LANES)
                NAME(pack_line)(w + h * lane_step + line, lane_step, n, readable - h * lane_step - line, row_of + line, to + h, lanes - h);
        }
    }
}

#undef EACH_HEIGHT
#undef FILTERS_ARGUMENTS
#undef PIXELS_ARGUMENTS
#undef TILE_SUMS
#undef TILE_WIDTH
