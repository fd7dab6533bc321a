/* One-dimensional passes along rows, in GCC/Clang vector extensions.  Included by tiles.h once per element type.
 *
 * Every output vector needs the source shifted by each tap, and all shifted loads but every 16th cross a cache line,
 * which takes a cycle (aligned: half of one).  Shifting registers takes a cycle on one of two ports, which multiplications
 * need, too.  So a row is made eight vectors at a time, five of them from registers and three by loads.  Measured
 * with 3 to 101 taps in the first cache (AVX-512, Zen 5), cycles for a vector and tap: 0.63; from registers
 * alone 0.80; by loads alone, 8x2 vectors or 1x8, 1.06 to 1.10; two rows of four vectors at best 0.65 to 0.85.
 */

/* Sums of `cols` vectors are stored, past the caches if they `stream`: then `dst` is the beginning of a line. */
#ifdef STREAM
#define PUT(cols)                                                                                             \
    if (stream) _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) STREAM(dst + c * LANES, acc[c]);       \
    else _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) STORE(dst + c * LANES, acc[c])
#else
#define PUT(cols) _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) STORE(dst + c * LANES, acc[c])
#endif

/* `SHIFTED_OF` eighths of the vectors are shifted in registers. */
#define SHIFTED_OF 5

#if defined(__AVX512F__)
/* The vector that begins at element `by`, a constant, of `a` and its successor `b`. */
#define SHIFTED(a, b, by)                                                              \
    (sizeof(T) == 4 ? (V)_mm512_alignr_epi32((__m512i)(b), (__m512i)(a), (by) & 15)    \
                    : (V)_mm512_alignr_epi64((__m512i)(b), (__m512i)(a), (by) & 7))
#define TAP(k)                                                                         \
    if ((k) >= LANES || (k) >= taps) break;                                            \
    tap = SPLAT(w[k]);                                                                 \
    _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) {                           \
        V x = c < shifted && (k) ? SHIFTED(a[c], a[c + 1], k) : (k) ? LOAD(src + c * LANES + (k)) : a[c]; \
        HOLD(x);                                                                       \
        acc[c] += x * tap;                                                             \
    }
/* dst[i] = sum over k of w[k] * src[i + k], i < cols * LANES; up to LANES elements more than that are read. */
static inline __attribute__((always_inline)) void NAME(run)(const T *src, const T *w, int64_t taps, T *dst, const int cols, int stream) {
    const int shifted = cols * SHIFTED_OF / 8;
    V acc[8], a[9], tap;
    _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) acc[c] = (V){0};
    for (; taps > 0; taps -= LANES, w += LANES, src += LANES) {
        _Pragma("GCC unroll 9") for (int c = 0; c < cols + 1; c++) {
            a[c] = LOAD(src + c * LANES);
            HOLD(a[c]);
        }
        do {
            TAP(0) TAP(1) TAP(2) TAP(3) TAP(4) TAP(5) TAP(6) TAP(7)
            TAP(8) TAP(9) TAP(10) TAP(11) TAP(12) TAP(13) TAP(14) TAP(15)
        } while (0);
    }
    PUT(cols);
}
#undef TAP
#undef SHIFTED
#endif

/* The same with taps `step` elements apart, by loads. */
static inline __attribute__((always_inline)) void NAME(spread_run)(const T *src, int64_t step, const T *w, int64_t taps,
                                                                   T *dst, const int cols, int stream) {
    V acc[8];
    _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) acc[c] = (V){0};
    for (int64_t k = 0; k < taps; k++, src += step) {
        const V tap = SPLAT(w[k]);
        _Pragma("GCC unroll 8") for (int c = 0; c < cols; c++) acc[c] += LOAD(src + c * LANES) * tap;
    }
    PUT(cols);
}

#if defined(__AVX512F__)
#define RUN(cols) step == 1 ? NAME(run)(src + at, w, taps, dst + at, cols, flows) : NAME(spread_run)(src + at, step, w, taps, dst + at, cols, flows)
#else
#define RUN(cols) NAME(spread_run)(src + at, step, w, taps, dst + at, cols, flows)
#endif

/* dst[i] = sum over k of w[k] * src[i + k * step], i < n, n at least LANES.  Meanwhile memory that will be read and written
 * next is called for, unless NULL.  A row that is to `stream` past the caches does so in whole lines; its ends are made
 * first, since a line that has just been streamed would be read again. */
static void NAME(across)(const T *src, int64_t step, const T *w, int64_t taps, T *dst, int64_t n, const T *next, const T *below,
                         int stream) {
    int64_t i = 0, at = n - LANES, left, flows = 0;
    stream = stream && n >= 8 * LANES && (uintptr_t)dst % sizeof(T) == 0;
    if (stream) {
        RUN(1);
        at = 0;
        RUN(1);
        i = (VECTOR_BYTES - (uintptr_t)dst % VECTOR_BYTES) / sizeof(T);
        n -= (n - i) % LANES;
        flows = 1;
    }
    while (i < n) {
        left = n - i;
/* Vectors that overlap those before them cost less than more runs. */
#define FITS(cols) (left >= (cols) * LANES || (!stream && left > (cols) / 2 * LANES && n >= (cols) * LANES))
        const int cols = FITS(8) ? 8 : FITS(4) ? 4 : FITS(2) ? 2 : 1;
#undef FITS
        at = left < cols * LANES ? n - cols * LANES : i;
        for (int c = 0; next && c < cols; c++) __builtin_prefetch(next + at + c * LANES, 0);
        for (int c = 0; below && c < cols; c++) __builtin_prefetch(below + at + c * LANES, 1);
        switch (cols) {
            case 8: RUN(8); break;
            case 4: RUN(4); break;
            case 2: RUN(2); break;
            default: RUN(1);
        }
        i = at + cols * LANES;
    }
}
#undef RUN
#undef SHIFTED_OF
#undef PUT

/* What becomes of a result so far and a sum (COMBINATIONS of fastconv.engines.contract). */
static void NAME(combine)(T *result, const T *sum, int64_t n, int64_t how) {
    if (how == 1)
        for (int64_t i = 0; i < n; i++) result[i] = sum[i] * sum[i];
    else if (how == 2)
        for (int64_t i = 0; i < n; i++) result[i] = result[i] + sum[i];
    else if (sizeof(T) == 4)
        for (int64_t i = 0; i < n; i++) result[i] = (T)__builtin_sqrtf((float)(result[i] + sum[i] * sum[i]));
    else
        for (int64_t i = 0; i < n; i++) result[i] = (T)__builtin_sqrt((double)(result[i] + sum[i] * sum[i]));
}
