/* SciPy's own order of summation, for integer outputs.
 *
 * ndimage adds w * x tap by tap, each product and each sum rounded to double, in C order;
 * correlate1d adds the last tap first, or for mirrored kernels the centre first and then
 * pairs of taps.  Integer outputs truncate that sum, so the last bit can decide: these tiles
 * keep SciPy's order, and a barrier keeps products from being fused into sums.
 *
 * Sources of 8 bits are summed in float first, which is three to five times as fast.  A sum
 * within the rounding error of an integer is summed again in SciPy's order, unless all samples
 * of its window are equal (flat parts of a picture): see `store_guarded`.  Sources of 16 and 32
 * bits are summed in double in any order first, which is twice as fast: see `store_doubles`.
 */
typedef double vec_exact __attribute__((vector_size(VECTOR_BYTES)));
typedef double vecu_exact __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef float vecu_half __attribute__((vector_size(VECTOR_BYTES / 2), aligned(1), may_alias));

enum { ORDER_C = 1, ORDER_LINE = 2, ORDER_SYMMETRIC = 3, ORDER_ANTISYMMETRIC = 4 };

#define EXACT_LANES ((int64_t)(VECTOR_BYTES / sizeof(double)))
#define EXACT_WIDTH (TILE_COLS * EXACT_LANES)
#define FROM_DOUBLE(p) (*(const vecu_exact *)(p))
#define FROM_FLOAT(p) __builtin_convertvector(*(const vecu_half *)(p), vec_exact)

#define EACH_VECTOR \
    _Pragma("GCC unroll 8") for (int r = 0; r < TILE_ROWS; r++) _Pragma("GCC unroll 8") for (int c = 0; c < TILE_COLS; c++)
#define EXACT_AT(offset) FROM(at[r] + (offset) + c * EXACT_LANES)
#define EXACT_ADD(value, tap)                \
    EACH_VECTOR {                            \
        vec_exact product = (value) * (tap); \
        HOLD(product);                       \
        acc[r][c] += product;                \
    }

/* A tile whose rows begin anywhere, of elements of type S read by FROM. */
#define DEFINE_EXACT(NAME, S)                                                                                   \
    static inline __attribute__((always_inline)) void NAME(                                                     \
        const S *const at[TILE_ROWS], int64_t tap_step, const int64_t *col_of, const double *w,                 \
        int64_t kernel_y, int64_t kernel_x, double *dst, int64_t dst_step, int resume, double init,             \
        int64_t order) {                                                                                        \
        vec_exact acc[TILE_ROWS][TILE_COLS];                                                                    \
        EACH_VECTOR {                                                                                           \
            if (resume) acc[r][c] = FROM_DOUBLE(dst + r * dst_step + c * EXACT_LANES);                          \
            else acc[r][c] = (vec_exact){0} + init;                                                             \
        }                                                                                                       \
        const int64_t taps = kernel_y * kernel_x, centre = taps / 2;                                            \
        if (order == ORDER_C) {                                                                                 \
            for (int64_t ky = 0; ky < kernel_y; ky++)                                                           \
                for (int64_t kx = 0; kx < kernel_x; kx++) {                                                     \
                    const int64_t offset = ky * tap_step + col_of[kx];                                          \
                    EXACT_ADD(EXACT_AT(offset), w[ky * kernel_x + kx])                                          \
                }                                                                                               \
        } else if (order == ORDER_LINE) {                                                                       \
            const int64_t last = TAP(taps - 1);                                                                 \
            EXACT_ADD(EXACT_AT(last), w[taps - 1])                                                              \
            for (int64_t t = 0; t < taps - 1; t++) {                                                            \
                const int64_t offset = TAP(t);                                                                  \
                EXACT_ADD(EXACT_AT(offset), w[t])                                                               \
            }                                                                                                   \
        } else {                                                                                                \
            const int64_t middle = TAP(centre);                                                                 \
            EXACT_ADD(EXACT_AT(middle), w[centre])                                                              \
            for (int64_t t = 0; t < centre; t++) {                                                              \
                const int64_t p = TAP(t), q = TAP(taps - 1 - t);                                                \
                if (order == ORDER_SYMMETRIC) EXACT_ADD(EXACT_AT(p) + EXACT_AT(q), w[t])                        \
                else EXACT_ADD(EXACT_AT(p) - EXACT_AT(q), w[t])                                                 \
            }                                                                                                   \
        }                                                                                                       \
        EACH_VECTOR *(vecu_exact *)(dst + r * dst_step + c * EXACT_LANES) = acc[r][c];                          \
    }
#define TAP(t) (kernel_x == 1 ? (t) * tap_step : col_of[t]) /* one-dimensional kernels */

#define FROM FROM_DOUBLE
DEFINE_EXACT(exact_from_double, double)
#undef FROM
#define FROM FROM_FLOAT
DEFINE_EXACT(exact_from_float, float)
#undef FROM

static void tile_exact(const double *src, int64_t row_step, int64_t tap_step, const int64_t *col_of, const double *w,
                       int64_t kernel_y, int64_t kernel_x, double *dst, int64_t dst_step, int resume, double init,
                       int64_t order) {
    const double *at[TILE_ROWS];
    for (int r = 0; r < TILE_ROWS; r++) at[r] = src + r * row_step;
    exact_from_double(at, tap_step, col_of, w, kernel_y, kernel_x, dst, dst_step, resume, init, order);
}

/* The largest magnitude of source elements; infinite for those that double may not hold. */
static double largest_of(int64_t code) {
    return code <= UINT8 ? 255 : code <= UINT16 ? 0x1p16 : code <= UINT32 ? 0x1p32 : __builtin_inf();
}

/* The largest rounding error of a float of at most `size`: half a unit in its last place. */
static double half_ulp(double size) {
    int exponent;
    frexp(size, &exponent); /* size < 2^exponent */
    return ldexp(0x1p-25, exponent);
}

/* How far sums in float may be from SciPy's, for sources of at most `largest`; 0 if they are the same
 * numbers, negative if float is of no use.  The errors are those of the weights, and half a unit in the last
 * place of each partial sum, in the order in which `tiles` adds: blocks of kernel rows, columns, rows.  The guard
 * itself is added in float, which rounds once more.
 * Sums of small multiples of a power of two are exact, if the value beyond the border, `fill`, is whole as bytes are. */
static float rounding_guard(const double *w, int64_t kernel_y, int64_t kernel_x, double fill, double largest) {
    double total = 0, error = 0, unit = fill == __builtin_trunc(fill) ? 1 : 0;
    const int64_t n = kernel_y * kernel_x, blocks = n_blocks(kernel_y, 1);
    for (int64_t i = 0; i < n; i++) {
        total += __builtin_fabs(w[i]) * largest;
        error += __builtin_fabs(w[i] - (double)(float)w[i]) * largest;
        while (unit >= 0x1p-24 && w[i] / unit != __builtin_trunc(w[i] / unit)) unit /= 2;
    }
    if (!(total < 0x1p24)) return -1; /* or not a number */
    if (unit >= 0x1p-24 && total < 0x1p24 * unit) return 0;
#if !defined(__FMA__) && !defined(__ARM_FEATURE_FMA)
    error += total * 0x1p-24; /* of the products */
#endif
    total = 0;
    for (int64_t b = 0, y = 0; b < blocks; b++) {
        const int64_t height = kernel_y / blocks + (b < kernel_y % blocks);
        for (int64_t x = 0; x < kernel_x; x++)
            for (int64_t i = y; i < y + height; i++) {
                total += __builtin_fabs(w[i * kernel_x + x]) * largest;
                error += half_ulp(total);
            }
        y += height;
    }
    error = 1.001 * (error + half_ulp(total)) + n * 0x1p-51 * total + 1e-30; /* errors of errors, and SciPy's */
    return error < 0.0625 ? (float)error : -1;
}

/* EXACT_WIDTH sums in float are a vector. */
typedef float vec_sums __attribute__((vector_size(VECTOR_BYTES)));
typedef float vecu_sums __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef int32_t vec_ints __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vecu_ints __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

static inline int any_lane(vec_ints v) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)v, (__m512i)v) != 0;
#else
    int32_t any = 0;
    for (int i = 0; i < EXACT_WIDTH; i++) any |= v[i];
    return any != 0;
#endif
}

/* The lanes in which truncation depends on the rounding error, as numbers other than 0. */
static inline vec_ints uncertain_lanes(vec_sums sums, float guard, vec_ints *low) {
    *low = __builtin_convertvector(sums - guard, vec_ints);
    return *low ^ __builtin_convertvector(sums + guard, vec_ints);
}

#define IS_DENSE ((out_code == UINT8 || out_code == INT8) && out_col == 1)

static inline void store_bytes(vec_ints low, char *out) {
#if defined(__AVX512F__)
    _mm_storeu_si128((__m128i *)out, _mm512_cvtepi32_epi8((__m512i)low));
#else
    for (int i = 0; i < EXACT_WIDTH; i++) out[i] = (char)low[i];
#endif
}

/* Store a row of sums, truncated, and list where vectors with uncertain lanes begin; how many.  No branch depends on the
 * sums: one in five vectors of a picture has such a lane. */
static int64_t store_certain(const float *sums, int64_t cols, float guard, char *out, int64_t out_col, int64_t out_code,
                             int64_t *where) {
    const int64_t whole = IS_DENSE ? cols / EXACT_WIDTH * EXACT_WIDTH : 0;
    int64_t x = 0, n = 0;
    vec_ints low;
    for (; x < whole; x += EXACT_WIDTH) {
        where[n] = x;
        n += any_lane(uncertain_lanes(*(const vecu_sums *)(sums + x), guard, &low));
        store_bytes(low, out + x);
    }
    if (x < cols) store_run_f32(sums + x, out + x * out_col, out_col, cols - x, out_code);
    for (; x < cols; x += EXACT_WIDTH) {
        where[n] = x;
        n += any_lane(uncertain_lanes(*(const vecu_sums *)(sums + x), guard, &low));
    }
    return n;
}

/* Where sums were found to be near an integer: vectors of a patch, made again in SciPy's order. */
struct near_integer {
    int64_t offset[TILE_ROWS]; /* in the patch */
    char *out[TILE_ROWS];
    int64_t cols[TILE_ROWS];
    int64_t n;
};

/* A staged patch in float, the same in double once it is `widened`, and its kernel.  `flat` has in element v modulo FLAT_SUMS
 * what a window of one value v sums to, truncated, once that was needed; before that NaN. */
enum { FLAT_SUMS = 512, FEW = 2 };

struct exact_patch {
    const float *narrow;
    double *wide;
    int64_t size, row_step, tap_step;
    const int64_t *col_of;
    const double *w;
    int64_t kernel_y, kernel_x, order;
    float *flat;
    int dense;    /* taps of a row lie side by side */
    double error; /* of sums in double, whatever their order, against SciPy's */
    int widened;
};

static void sum_again(struct exact_patch *p, struct near_integer *near, int64_t out_col, int64_t out_code) {
    double sums[TILE_ROWS * TILE_COLS * VECTOR_BYTES / sizeof(double)];
    const double *wide[TILE_ROWS];
    const float *narrow[TILE_ROWS];
    if (near->n == TILE_ROWS && !p->widened) { /* reading float costs twice as much: one conversion pays at once */
        for (int64_t i = 0; i < p->size; i++) p->wide[i] = p->narrow[i];
        p->widened = 1;
    }
    for (int r = 0; r < TILE_ROWS; r++) {
        const int64_t offset = near->offset[r < near->n ? r : 0];
        wide[r] = p->wide + offset;
        narrow[r] = p->narrow + offset;
    }
    if (p->widened)
        exact_from_double(wide, p->tap_step, p->col_of, p->w, p->kernel_y, p->kernel_x, sums, EXACT_WIDTH, 0, 0, p->order);
    else
        exact_from_float(narrow, p->tap_step, p->col_of, p->w, p->kernel_y, p->kernel_x, sums, EXACT_WIDTH, 0, 0, p->order);
    for (int64_t r = 0; r < near->n; r++) store_run_f64(sums + r * EXACT_WIDTH, near->out[r], out_col, near->cols[r], out_code);
    near->n = 0;
}

/* A window of one value, summed in SciPy's order and truncated. */
static float flat_sum(const struct exact_patch *p, double value) {
    const int64_t taps = p->kernel_y * p->kernel_x, first = p->order == ORDER_C ? 0 : p->order == ORDER_LINE ? taps - 1 : taps / 2;
    const double x = p->order == ORDER_SYMMETRIC ? value + value : p->order == ORDER_ANTISYMMETRIC ? value - value : value;
    double sum = 0, product = p->w[first] * value;
    HOLD(product);
    sum += product;
    for (int64_t t = p->order == ORDER_C; t < (p->order == ORDER_C ? taps : first); t++) {
        product = p->w[t] * x;
        HOLD(product);
        sum += product;
    }
    return (float)__builtin_trunc(sum);
}

/* What is known of the sums of flat windows. */
static inline vec_sums flat_sums(const struct exact_patch *p, vec_ints value) {
    value &= FLAT_SUMS - 1;
#if defined(__AVX512F__)
    return (vec_sums)_mm512_i32gather_ps((__m512i)value, p->flat, 4);
#else
    vec_sums known;
    for (int i = 0; i < EXACT_WIDTH; i++) known[i] = p->flat[value[i]];
    return known;
#endif
}

/* The sum of one window in double, in any order, taps of a row at once. */
static double window_sum(const struct exact_patch *p, const float *window) {
    vec_exact sums = {0};
    double sum = 0;
    for (int64_t ky = 0; ky < p->kernel_y; ky++) {
        const float *row = window + ky * p->tap_step + p->col_of[0];
        const double *w = p->w + ky * p->kernel_x;
        int64_t kx = 0;
        for (; kx + EXACT_LANES <= p->kernel_x; kx += EXACT_LANES) sums += FROM_FLOAT(row + kx) * FROM_DOUBLE(w + kx);
#if defined(__AVX512F__)
        const __mmask8 rest = (__mmask8)((1u << (p->kernel_x - kx)) - 1);
        sums += (vec_exact)_mm512_maskz_loadu_pd(rest, w + kx) * (vec_exact)_mm512_cvtps_pd(_mm256_maskz_loadu_ps(rest, row + kx));
#else
        for (; kx < p->kernel_x; kx++) sum += row[kx] * w[kx];
#endif
    }
    for (int i = 0; i < EXACT_LANES; i++) sum += sums[i];
    return sum;
}

/* Settle the few uncertain sums of a vector in double, where they are not as near to an integer as that is inexact;
 * whether others remain. */
static int settle_few(const struct exact_patch *p, const float *window, vec_ints uncertain, vec_sums *sums) {
    int lanes[FEW], n = 0;
    for (int i = 0; i < EXACT_WIDTH; i++)
        if (uncertain[i]) {
            if (n == FEW) return 1;
            lanes[n++] = i;
        }
    for (int i = 0; i < n; i++) {
        const double sum = window_sum(p, window + lanes[i]), low = __builtin_trunc(sum - p->error);
        if (low != __builtin_trunc(sum + p->error)) return 1;
        (*sums)[lanes[i]] = (float)low;
    }
    return 0;
}

/* Settle a vector's uncertain sums if all samples of their windows are equal (the flat parts of a picture: their sums are
 * near integers where the weights' sum is), or if they are few; whether others remain. */
static inline int settle(const struct exact_patch *p, const float *window, float guard, vec_sums *sums) {
    const vec_sums first = *(const vecu_sums *)(window + p->col_of[0]);
    vec_ints low, varied = (vec_ints){0};
    const vec_ints uncertain = uncertain_lanes(*sums, guard, &low) != 0;
    for (int64_t ky = 0; ky < p->kernel_y; ky++) {
        for (int64_t kx = 0; kx < p->kernel_x; kx++)
            varied |= (vec_ints)first ^ *(const vecu_ints *)(window + ky * p->tap_step + p->col_of[kx]);
        if (any_lane(uncertain & (varied != 0))) return p->dense ? settle_few(p, window, uncertain, sums) : 1;
    }
    const vec_ints value = __builtin_convertvector(first, vec_ints);
    const vec_ints strange = (__builtin_convertvector(value, vec_sums) != first) | (value < -128) | (value > 255);
    if (any_lane(uncertain & strange)) return 1; /* the value beyond the border */
    vec_sums known = flat_sums(p, value);
    if (any_lane(uncertain & (known != known))) {
        for (int i = 0; i < EXACT_WIDTH; i++)
            if (uncertain[i]) p->flat[value[i] & (FLAT_SUMS - 1)] = flat_sum(p, value[i]);
        known = flat_sums(p, value);
    }
    *sums = (vec_sums)((uncertain & (vec_ints)known) | (~uncertain & (vec_ints)*sums));
    return 0;
}

/* Store `rows` x `cols` sums made in double, in any order, from a patch staged in double; those that are nearer to an
 * integer than their error are made again in SciPy's. */
static void store_doubles(struct exact_patch *p, const double *sums, int64_t sums_step, int64_t rows, int64_t cols, char *out,
                          int64_t out_row, int64_t out_col, int64_t out_code) {
    struct near_integer near = {.n = 0};
    for (int64_t r = 0; r < rows; r++, sums += sums_step, out += out_row) {
        store_run_f64(sums, out, out_col, cols, out_code);
        for (int64_t x = 0; x < cols; x += EXACT_WIDTH) {
            int any = 0;
            for (int i = 0; i < EXACT_WIDTH; i++) {
                const double whole = (sums[x + i] + 0x1.8p52) - 0x1.8p52; /* the nearest integer */
                any |= __builtin_fabs(sums[x + i] - whole) <= p->error;
            }
            if (!any) continue;
            near.offset[near.n] = r * p->row_step + x;
            near.out[near.n] = out + x * out_col;
            near.cols[near.n++] = cols - x < EXACT_WIDTH ? cols - x : EXACT_WIDTH;
            if (near.n == TILE_ROWS) sum_again(p, &near, out_col, out_code);
        }
    }
    if (near.n) sum_again(p, &near, out_col, out_code);
}

/* Store `rows` x `cols` sums made in float from a staged patch; vectors with one near an integer are made again, and
 * their number is returned. */
static int64_t store_guarded(struct exact_patch *p, const float *sums, int64_t sums_step, float guard, int64_t rows,
                             int64_t cols, char *out, int64_t out_row, int64_t out_col, int64_t out_code) {
    enum { MOST = 64 };
    struct near_integer near = {.n = 0};
    int64_t total = 0, where[MOST];
    for (int64_t r = 0; r < rows; r++, sums += sums_step, out += out_row)
        for (int64_t from = 0; from < cols; from += MOST * EXACT_WIDTH) {
            const int64_t some = cols - from < MOST * EXACT_WIDTH ? cols - from : MOST * EXACT_WIDTH;
            const int64_t n = store_certain(sums + from, some, guard, out + from * out_col, out_col, out_code, where);
            for (int64_t i = 0; i < n; i++) {
                const int64_t x = from + where[i], width = cols - x < EXACT_WIDTH ? cols - x : EXACT_WIDTH;
                vec_sums v = *(const vecu_sums *)(sums + x);
                if (!settle(p, p->narrow + r * p->row_step + x, guard, &v)) {
                    if (IS_DENSE && width == EXACT_WIDTH) store_bytes(__builtin_convertvector(v, vec_ints), out + x);
                    else store_run_f32((const float *)&v, out + x * out_col, out_col, width, out_code);
                    continue;
                }
                total++;
                near.offset[near.n] = r * p->row_step + x;
                near.out[near.n] = out + x * out_col;
                near.cols[near.n++] = width;
                if (near.n == TILE_ROWS) sum_again(p, &near, out_col, out_code);
            }
        }
    if (near.n) sum_again(p, &near, out_col, out_code);
    return total;
}
