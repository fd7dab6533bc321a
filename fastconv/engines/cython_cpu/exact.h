/* SciPy's own order of summation, for integer outputs.
 *
 * ndimage adds w * x tap by tap, each product and each sum rounded to double, in C order;
 * correlate1d adds the last tap first, or for mirrored kernels the centre first and then
 * pairs of taps.  Integer outputs truncate that sum, so the last bit can decide: these tiles
 * keep SciPy's order, and a barrier keeps products from being fused into sums.
 *
 * Sources of 8 bits are summed in float first, which is three to five times as fast.  A sum
 * within the rounding error of an integer is summed again in SciPy's order: see `store_guarded`.
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
 * Sums of small multiples of 1 or 1/256 are exact, if the value beyond the border, `fill`, is whole as bytes are. */
static float rounding_guard(const double *w, int64_t kernel_y, int64_t kernel_x, double fill) {
    const double largest = __builtin_fabs(fill) > 255 ? __builtin_fabs(fill) : 255;
    double total = 0, error = 0;
    int whole = fill == __builtin_trunc(fill), parts = whole;
    const int64_t n = kernel_y * kernel_x, blocks = (kernel_y + MAX_BLOCK - 1) / MAX_BLOCK;
    for (int64_t i = 0; i < n; i++) {
        total += __builtin_fabs(w[i]) * largest;
        error += __builtin_fabs(w[i] - (double)(float)w[i]) * largest;
        whole &= w[i] == __builtin_trunc(w[i]);
        parts &= w[i] * 256 == __builtin_trunc(w[i] * 256);
    }
    if (!(total < 0x1p24)) return -1; /* or not a number */
    if (whole || (parts && total < 0x1p16)) return 0;
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

/* Store EXACT_WIDTH sums in float as 8 bits; whether truncation of any of them depends on its rounding error. */
static inline int store_bytes(const float *sums, float guard, char *out) {
#if defined(__AVX512F__)
    const __m512 v = _mm512_loadu_ps(sums), g = _mm512_set1_ps(guard);
    const __m512i low = _mm512_cvttps_epi32(_mm512_sub_ps(v, g)), high = _mm512_cvttps_epi32(_mm512_add_ps(v, g));
    _mm_storeu_si128((__m128i *)out, _mm512_cvtepi32_epi8(low));
    return _mm512_cmpneq_epi32_mask(low, high) != 0;
#else
    int any = 0;
    for (int i = 0; i < EXACT_WIDTH; i++) {
        const int32_t low = (int32_t)(sums[i] - guard), high = (int32_t)(sums[i] + guard);
        out[i] = (char)low;
        any |= low ^ high;
    }
    return any != 0;
#endif
}

/* The same for any output; `cols` elements are stored. */
static inline int store_sums(const float *sums, float guard, char *out, int64_t out_col, int64_t cols, int64_t out_code) {
    char bytes[EXACT_WIDTH];
    if ((out_code == UINT8 || out_code == INT8) && out_col == 1 && cols == EXACT_WIDTH) return store_bytes(sums, guard, out);
    store_run_f32(sums, out, out_col, cols, out_code);
    return store_bytes(sums, guard, bytes);
}

/* Where sums were found to be near an integer: vectors of a patch, made again in SciPy's order. */
struct near_integer {
    int64_t offset[TILE_ROWS]; /* in the patch */
    char *out[TILE_ROWS];
    int64_t cols[TILE_ROWS];
    int64_t n;
};

/* A staged patch in float, the same in double once it is `widened`, and its kernel. */
struct exact_patch {
    const float *narrow;
    double *wide;
    int64_t size, tap_step;
    const int64_t *col_of;
    const double *w;
    int64_t kernel_y, kernel_x, order;
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

/* Store `rows` x `cols` sums made in float from a staged patch; vectors with one near an integer, whose number is
 * returned, are made again. */
static int64_t store_guarded(const float *sums, int64_t sums_step, float guard, const float *patch, double *wide, int64_t size,
                          int64_t row_step, int64_t tap_step, const int64_t *col_of, const double *w, int64_t kernel_y,
                          int64_t kernel_x, int64_t order, int64_t rows, int64_t cols, char *out, int64_t out_row,
                          int64_t out_col, int64_t out_code) {
    struct exact_patch p = {patch, wide, size, tap_step, col_of, w, kernel_y, kernel_x, order, 0};
    struct near_integer near = {.n = 0};
    int64_t total = 0;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t x = 0; x < cols; x += EXACT_WIDTH) {
            const int64_t width = cols - x < EXACT_WIDTH ? cols - x : EXACT_WIDTH;
            char *to = out + r * out_row + x * out_col;
            if (!store_sums(sums + r * sums_step + x, guard, to, out_col, width, out_code)) continue;
            total++;
            near.offset[near.n] = r * row_step + x;
            near.out[near.n] = to;
            near.cols[near.n++] = width;
            if (near.n == TILE_ROWS) sum_again(&p, &near, out_col, out_code);
        }
    }
    if (near.n) sum_again(&p, &near, out_col, out_code);
    return total;
}
