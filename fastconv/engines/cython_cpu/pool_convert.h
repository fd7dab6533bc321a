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
#undef EACH
#undef POWERS
#undef ROOTS
