/* Folds of runs of neighbouring elements, each into one: the columns of windows that vary, or that do not overlap.
 *
 *     dst[i] = src[first] OP ... OP src[first + taps - 1]   with first, taps = windows[4 * i], windows[4 * i + 1]
 *
 * Included with D (element), OP (on vectors), OP1 (on numbers), NOTHING (the fold of no elements), RUNS (the function's
 * name) and, of floats, SUFFIX defined.
 */
#define SEVENS 49
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(D)))
typedef D PASTE(RUNS, _any) LOOSE;
typedef D PASTE(RUNS, _vec) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

static inline D PASTE(RUNS, _one)(const PASTE(RUNS, _any) *src, int64_t n) {
    typedef PASTE(RUNS, _vec) vec;
    D acc = NOTHING;
    int64_t i = 0;
    if (n >= 2 * LANES) {
        vec v[4] = {(vec){0} + acc, (vec){0} + acc, (vec){0} + acc, (vec){0} + acc};
        for (; i + 4 * LANES <= n; i += 4 * LANES)
            for (int k = 0; k < 4; k++) {
                const vec value = *(const vec *)(src + i + k * LANES);
                __builtin_prefetch((const char *)(src + i + k * LANES) + AHEAD);
                v[k] = OP(v[k], value);
            }
        for (; i + LANES <= n; i += LANES) {
            const vec value = *(const vec *)(src + i);
            v[0] = OP(v[0], value);
        }
        v[0] = OP(v[0], v[1]), v[2] = OP(v[2], v[3]), v[0] = OP(v[0], v[2]);
        D lane[VECTOR_BYTES / sizeof(D)];
        memcpy(lane, v, VECTOR_BYTES);
        for (int64_t half = LANES / 2; half; half /= 2)
            for (int64_t k = 0; k < half; k++) lane[k] = OP1(lane[k], lane[k + half]);
        acc = lane[0];
    }
    for (; i < n; i++) acc = OP1(acc, src[i]);
    return acc;
}

#ifdef SUFFIX
/* Whether as many runs as a vector has lanes are as long as each other, and evenly apart. */
HERE int PASTE(RUNS, _even)(const int64_t *windows) {
    typedef int64_t window __attribute__((vector_size(32), aligned(1), may_alias));
    window expected = {windows[0], windows[1]}, other = {0};
    const window step = {windows[4] - windows[0]};
    _Pragma("GCC unroll 16") for (int64_t i = 0; i < LANES; i++, expected += step)
        other |= *(const window *)(windows + 4 * i) ^ expected;
    return (other[0] | other[1]) == 0;
}

/* These, each folded into a vector; then neighbours are folded, of two vectors at a time, until each lane is a run's.
 * Maxima of planes of 7x7 take half the time. */
HERE void PASTE(RUNS, _fold)(char *dst, const char *src, const int64_t step, const int64_t taps) {
    typedef PASTE(lanes_, SUFFIX) vec;
    const vec none = (vec){0} + NOTHING;
    vec v[VECTOR_BYTES / sizeof(D)];
#define EACH(DO) _Pragma("GCC unroll 16") for (int64_t i = 0; i < LANES; i++) DO
#define AT(t) (src + (i * step + (t)) * (int64_t)sizeof(D))
    EACH(v[i] = PASTE(load_part_, SUFFIX)(AT(0), taps, none));
    int64_t t = LANES;
    for (; t + LANES <= taps; t += LANES) EACH({
        const vec value = *(const vec *)AT(t);
        v[i] = OP(v[i], value);
    })
    if (t < taps) EACH({
        const vec value = PASTE(load_some_, SUFFIX)(AT(t), taps - t, none);
        v[i] = OP(v[i], value);
    })
#undef AT
#undef EACH
    _Pragma("GCC unroll 4") for (int64_t half = LANES / 2; half; half /= 2)
        _Pragma("GCC unroll 8") for (int64_t i = 0; i < half; i++) {
            const vec even = PASTE(lanes_of_, SUFFIX)(v[2 * i], v[2 * i + 1], 0, 2);
            const vec odd = PASTE(lanes_of_, SUFFIX)(v[2 * i], v[2 * i + 1], 1, 2);
            v[i] = OP(even, odd);
        }
    *(vec *)dst = v[0];
}
static void PASTE(RUNS, _together)(char *dst, const char *src, int64_t step, int64_t taps) {
    PASTE(RUNS, _fold)(dst, src, step, taps);
}

/* Planes of 7x7 one after the other, which many networks end with: where they lie is known to the compiler. */
static void PASTE(RUNS, _sevens)(char *dst, const char *src) {
    PASTE(RUNS, _fold)(dst, src, SEVENS, SEVENS);
}

#endif
static void RUNS(char *dst, const char *src, const int64_t *windows, int64_t n) {
#ifdef SUFFIX
    for (; n >= LANES && windows[1] <= 16 * LANES && PASTE(RUNS, _even)(windows); n -= LANES, windows += 4 * LANES) {
        const char *from = src + windows[0] * (int64_t)sizeof(D);
        const int64_t step = windows[4] - windows[0];
        if (step == SEVENS && windows[1] == SEVENS) PASTE(RUNS, _sevens)(dst, from);
        else PASTE(RUNS, _together)(dst, from, step, windows[1]);
        dst += VECTOR_BYTES;
    }
#endif
    for (int64_t i = 0; i < n; i++, windows += 4) {
        const PASTE(RUNS, _any) *from = (const PASTE(RUNS, _any) *)src + windows[0];
        const int64_t taps = windows[1];
        D acc = NOTHING;
        if (taps >= 2 * LANES) acc = PASTE(RUNS, _one)(from, taps);
        else for (int64_t t = 0; t < taps; t++) acc = OP1(acc, from[t]);
        ((PASTE(RUNS, _any) *)dst)[i] = acc;
    }
}

#undef LANES
#undef D
#undef OP
#undef OP1
#undef NOTHING
#undef RUNS
#undef SEVENS
