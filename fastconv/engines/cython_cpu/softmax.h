/* Exponentials that add up to 1, and gradients: passes over a block of rows of vectors.
 *
 * Sums are made lane by lane, down the rows.  `state` has the largest element of each lane, the sum of exponentials, and
 * (gradients) the sum of gradients, times them or not; each `width` vectors.  Steps are of bytes.
 *
 * Included by activation.h, whose functions it uses. */

#define EACH(v) _Pragma("GCC unroll 4") for (int v = 0; v < width; v++)
#define AT(p, v) ((const T *)(p) + (v) * LANES)
#define LARGEST_OF(v) LOAD(state + (v) * LANES)
#define SUM_OF(v) (state + (width + (v)) * LANES)
#define DOT_OF(v) (state + (2 * width + (v)) * LANES)
#define FOR_WIDTH(width, function, ...) (width == 1 ? function(__VA_ARGS__, 1) : function(__VA_ARGS__, 4))

INLINE void NAME(largest_rows)(T *state, const char *x, int64_t x_step, int64_t rows, const int width) {
    V largest[4];
    EACH(v) largest[v] = LARGEST_OF(v);
    for (int64_t r = 0; r < rows; r++, x += x_step)
        EACH(v) { const V value = LOAD(AT(x, v)); largest[v] = LARGER(value, largest[v]); }
    EACH(v) STORE(state + v * LANES, largest[v]);
}
static void NAME(softmax_largest)(T *state, const char *x, int64_t x_step, int64_t rows, int64_t width) {
    FOR_WIDTH(width, NAME(largest_rows), state, x, x_step, rows);
}

/* kept[r] = exp(x[r] - largest), unless it is NULL. */
INLINE void NAME(sum_rows)(T *state, char *kept, int64_t kept_step, const char *x, int64_t x_step, const char *g, int64_t g_step,
                           int64_t rows, const int kind, const int width) {
    V largest[4], sum[4] = {{0}}, dot[4] = {{0}};
    const int keeps = kept != NULL;
    EACH(v) largest[v] = LARGEST_OF(v);
    for (int64_t r = 0; r < rows; r++, x += x_step, g += g_step, kept += kept_step)
        EACH(v) {
            const V e = NAME(exp)(LOAD(AT(x, v)) - largest[v]);
            sum[v] += e;
            if (kind == SOFTMAX_BACKWARD) dot[v] += LOAD(AT(g, v)) * e;
            if (kind == LOG_SOFTMAX_BACKWARD) dot[v] += LOAD(AT(g, v));
            if (keeps) STORE((T *)AT(kept, v), e);
        }
    EACH(v) { STORE(SUM_OF(v), LOAD(SUM_OF(v)) + sum[v]); STORE(DOT_OF(v), LOAD(DOT_OF(v)) + dot[v]); }
}
static void NAME(softmax_sums)(T *state, char *kept, int64_t kept_step, const char *x, int64_t x_step, const char *g,
                               int64_t g_step, int64_t rows, int64_t kind, int64_t width) {
#define SUMS(kind) FOR_WIDTH(width, NAME(sum_rows), state, kept, kept_step, x, x_step, g, g_step, some, kind)
    for (int64_t some; rows > 0; rows -= some) { /* so that errors do not grow with their number */
        some = rows < 128 ? rows : 128;
        if (kind == SOFTMAX_BACKWARD) SUMS(SOFTMAX_BACKWARD);
        else if (kind == LOG_SOFTMAX_BACKWARD) SUMS(LOG_SOFTMAX_BACKWARD);
        else SUMS(SOFTMAX);
        kept = kept ? kept + some * kept_step : kept, x += some * x_step, g += some * g_step;
    }
#undef SUMS
}

/* All lanes hold the largest, or the sum, of all lanes of `width` vectors. */
static void NAME(softmax_across)(T *vectors, int64_t width, int64_t summed) {
    V all = LOAD(vectors), turned;
    for (int64_t v = 1; v < width; v++) {
        const V other = LOAD(vectors + v * LANES);
        all = summed ? all + other : LARGER(other, all);
    }
#define OTHER_LANE(l) ((l) ^ half)
#define FOLD_LANES(half_of)                                          \
    if (LANES > half_of) {                                           \
        enum { half = LANES > half_of ? half_of : 1 };               \
        turned = SHUFFLED(OTHER_LANE, all, all);                     \
        all = summed ? all + turned : LARGER(turned, all);            \
    }
    FOLD_LANES(8) FOLD_LANES(4) FOLD_LANES(2) FOLD_LANES(1)
#undef FOLD_LANES
#undef OTHER_LANE
    for (int64_t v = 0; v < width; v++) STORE(vectors + v * LANES, all);
}

/* log(sum) of numbers from 1 on: the exponent, and log1p of what is left. */
INLINE V NAME(log)(V sum) {
    const M exponent = ((M)sum >> EXPONENT) - (ONE >> EXPONENT);
    const V power = (V)(exponent + (M)C(ROUNDER)) - C(ROUNDER);
    const V rest = NAME(log1p)((V)((M)sum - (exponent << EXPONENT)) - C(1)) + power * C(0.693147180559945309417);
    return rest + (sum - sum); /* NaN and infinity */
}

/* Sums become what the last pass needs. */
static void NAME(softmax_scales)(T *state, int64_t kind, int64_t width) {
    for (int64_t v = 0; v < width; v++) {
        const V sum = LOAD(SUM_OF(v)), dot = LOAD(DOT_OF(v));
        STORE(DOT_OF(v), dot / sum);
        STORE(SUM_OF(v), kind == LOG_SOFTMAX ? NAME(log)(sum) : C(1) / sum);
    }
}

/* The results; x holds the exponentials where these are `kept`. */
INLINE void NAME(write_rows)(const T *state, char *out, int64_t out_step, const char *x, int64_t x_step, int64_t kept,
                             const char *g, int64_t g_step, int64_t rows, const int kind, const int width) {
    V largest[4], scale[4], dot[4];
    EACH(v) { largest[v] = LARGEST_OF(v); scale[v] = LOAD(SUM_OF(v)); dot[v] = LOAD(DOT_OF(v)); }
    for (int64_t r = 0; r < rows; r++, x += x_step, g += g_step, out += out_step)
        EACH(v) {
            V e = LOAD(AT(x, v));
            if (kind == LOG_SOFTMAX) {
                STORE((T *)AT(out, v), (e - largest[v]) - scale[v]);
                continue;
            }
            if (!kept) e = NAME(exp)(e - largest[v]);
            if (kind == SOFTMAX) STORE((T *)AT(out, v), e * scale[v]);
            if (kind == SOFTMAX_BACKWARD) STORE((T *)AT(out, v), e * scale[v] * (LOAD(AT(g, v)) - dot[v]));
            if (kind == LOG_SOFTMAX_BACKWARD) STORE((T *)AT(out, v), LOAD(AT(g, v)) - e * dot[v]);
        }
}
static void NAME(softmax_write)(const T *state, char *out, int64_t out_step, const char *x, int64_t x_step, int64_t kept,
                                const char *g, int64_t g_step, int64_t rows, int64_t kind, int64_t width) {
#define WRITE(kind) FOR_WIDTH(width, NAME(write_rows), state, out, out_step, x, x_step, kept, g, g_step, rows, kind)
    if (kind == SOFTMAX) WRITE(SOFTMAX);
    else if (kind == LOG_SOFTMAX) WRITE(LOG_SOFTMAX);
    else if (kind == SOFTMAX_BACKWARD) WRITE(SOFTMAX_BACKWARD);
    else WRITE(LOG_SOFTMAX_BACKWARD);
#undef WRITE
}

#undef EACH
#undef AT
#undef LARGEST_OF
#undef SUM_OF
#undef DOT_OF
#undef FOR_WIDTH
