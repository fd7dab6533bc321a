/* What pooling does to elements on their way: conversion, powers, weights, roots. Included by pooling.h. */

/* n pixels of `lanes` elements of the type of `code` as accumulators without gaps; steps in bytes. */
static void pool_load(char *dst, int64_t dtype, const char *src, int64_t col, int64_t lane, int64_t n, int64_t lanes,
                      int64_t code, int64_t size) {
    if (lanes == 1) lanes = n, n = 1, lane = col;
    if (lane == size && col == lanes * size) lanes *= n, n = 1;
    for (int64_t i = 0; i < n; i++)
        if (dtype == FLOAT32) stage_run_f32((float *)dst + i * lanes, src + i * col, lane, lanes, code);
        else stage_run_f64((double *)dst + i * lanes, src + i * col, lane, lanes, code);
}

/* The way back; a pixel's elements begin `pitch` elements after those of the one before. */
static void pool_store(char *dst, int64_t col, int64_t lane, const char *src, int64_t dtype, int64_t pitch, int64_t n,
                       int64_t lanes, int64_t code, int64_t size) {
    if (lanes == 1) pitch = lanes = n, n = 1, lane = col;
    if (lane == size && col == lanes * size && pitch == lanes) lanes *= n, n = 1;
    for (int64_t i = 0; i < n; i++)
        if (dtype == FLOAT32) store_run_f32((const float *)src + i * pitch, dst + i * col, lane, lanes, code);
        else store_run_f64((const double *)src + i * pitch, dst + i * col, lane, lanes, code);
}

#define EACH(T, EXPRESSION)                                  \
    {                                                        \
        T *restrict v = (T *)run;                            \
        for (int64_t i = 0; i < n; i++) v[i] = (EXPRESSION); \
    }                                                        \
    break
/* A run of n accumulators of type T raised to a power, taken `times` and its root drawn. */
#define POWERS(T, POW, SQRT)                                                      \
    switch (power == (int)power && power > 0 && power < 4 ? (int)power : 0) {     \
        case 1: return;                                                           \
        case 2: EACH(T, v[i] * v[i]);                                             \
        case 3: EACH(T, v[i] * v[i] * v[i]);                                      \
        default: EACH(T, POW(v[i], (T)power));                                    \
    }
#define ROOTS(T, POW, SQRT)                                  \
    switch (power == 1 ? 1 : power == 2 ? 2 : 0) {           \
        case 1: EACH(T, v[i] * (T)times);                    \
        case 2: EACH(T, SQRT(v[i] * (T)times));              \
        default: EACH(T, POW(v[i] * (T)times, (T)(1 / power))); \
    }

static void pool_power(char *run, int64_t dtype, int64_t n, double power) {
    if (dtype == FLOAT32) { POWERS(float, powf, sqrtf) }
    else { POWERS(double, pow, sqrt) }
}

static void pool_root(char *run, int64_t dtype, int64_t n, double power, int64_t times) {
    if (dtype == FLOAT32) { ROOTS(float, powf, sqrtf) }
    else { ROOTS(double, pow, sqrt) }
}

/* Each of n pixels multiplied by a weight of its own and one for all. */
static void pool_weigh(char *run, int64_t dtype, int64_t n, int64_t lanes, const double *weights, double all) {
#define WEIGH(T)                                                                 \
    {                                                                            \
        T *restrict v = (T *)run;                                                \
        if (lanes == 1) for (int64_t i = 0; i < n; i++) v[i] *= (T)(weights[i] * all); \
        else                                                                     \
            for (int64_t i = 0; i < n; i++)                                      \
                for (int64_t c = 0; c < lanes; c++) v[i * lanes + c] *= (T)(weights[i] * all); \
    }
    if (dtype == FLOAT32) WEIGH(float)
    else WEIGH(double)
#undef WEIGH
}
/* Rows of n pixels, each with a weight, added: dst[i] = weights[i] * sum of all[r] * src[at[r] + i]. */
#define ADD_ROWS(T, NAME)                                                                                     \
    static void NAME(char *dst, const char *src, const int64_t *at, const double *all, int64_t rows, int64_t n, \
                     const double *weights) {                                                                 \
        typedef T any LOOSE;                                                                                  \
        any *restrict to = (any *)dst;                                                                        \
        const any *first = (const any *)(src + at[0]), *second = (const any *)(src + at[rows > 1]);           \
        const T w0 = (T)all[0], w1 = rows > 1 ? (T)all[1] : 0;                                                \
        if (rows > 1) for (int64_t i = 0; i < n; i++) to[i] = first[i] * w0 + second[i] * w1;                 \
        else for (int64_t i = 0; i < n; i++) to[i] = first[i] * w0;                                           \
        for (int64_t r = 2; r < rows; r++) {                                                                  \
            const any *row = (const any *)(src + at[r]);                                                      \
            const T w = (T)all[r];                                                                            \
            for (int64_t i = 0; i < n; i++) to[i] += row[i] * w;                                              \
        }                                                                                                     \
        for (int64_t i = 0; i < n; i++) to[i] *= (T)weights[i];                                               \
    }
ADD_ROWS(float, pool_add_rows_f32)
ADD_ROWS(double, pool_add_rows_f64)
#undef ADD_ROWS
/* Sums of a few neighbouring elements each: for every vector of outputs, `table` has where it begins to read (elements),
 * then for each tap which of the elements of two vectors there the outputs take, and a mask. */
#define SPREAD(T, MASK, NAME)                                                                                 \
    static void NAME(char *dst, const char *src, const char *table, int64_t taps, int64_t n) {                \
        typedef T vec __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));                      \
        typedef MASK mask __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));                  \
        for (int64_t i = 0; i < n; i += (int64_t)(VECTOR_BYTES / sizeof(T))) {                                \
            const char *from = src + *(const int64_t *)table * (int64_t)sizeof(T);                            \
            const vec low = *(const vec *)from, high = *(const vec *)(from + VECTOR_BYTES);                   \
            vec sum = {0};                                                                                    \
            table += sizeof(int64_t);                                                                         \
            for (int64_t t = 0; t < taps; t++, table += 2 * VECTOR_BYTES)                                     \
                sum += (vec)((mask)__builtin_shuffle(low, high, *(const mask *)table)                         \
                             & *(const mask *)(table + VECTOR_BYTES));                                        \
            *(vec *)(dst + i * (int64_t)sizeof(T)) = sum;                                                     \
        }                                                                                                     \
    }
SPREAD(float, int32_t, pool_spread_f32)
SPREAD(double, int64_t, pool_spread_f64)
#undef SPREAD
#undef EACH
#undef POWERS
#undef ROOTS
