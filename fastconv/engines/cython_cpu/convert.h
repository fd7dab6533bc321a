/* Moving runs of elements between memory of any type and accumulators of type T.
 * Included by tiles_all.h once per T, with IS_FLOAT telling floating T. */

#define RUN(S, EXPRESSION)                                                                          \
    {                                                                                               \
        typedef S element __attribute__((aligned(1), may_alias));                                   \
        if (step == (int64_t)sizeof(S))                                                             \
            for (int64_t i = 0; i < n; i++) { element *at = (element *)(memory + i * (int64_t)sizeof(S)); EXPRESSION; } \
        else                                                                                        \
            for (int64_t i = 0; i < n; i++) { element *at = (element *)(memory + i * step); EXPRESSION; } \
    }                                                                                               \
    break

/* dst[i] = the element at memory + i * step, by loops that are vectorised for the steps of reversed rows, every other
 * column and channels of colour pictures: 0.01 to 0.1 ns an element rather than 0.27. */
#define READ(k) for (int64_t i = 0; i < n; i++) dst[i] = (T)((const element *)memory)[i * (k)]
#define RUN_IN(S)                                                                                   \
    {                                                                                               \
        typedef S element __attribute__((aligned(1), may_alias));                                   \
        if (step == (int64_t)sizeof(S)) READ(1);                                                 \
        else if (step == -(int64_t)sizeof(S)) READ(-1);                                          \
        else if (step == 2 * (int64_t)sizeof(S)) READ(2);                                        \
        else if (step == 3 * (int64_t)sizeof(S)) READ(3);                                        \
        else if (step == 4 * (int64_t)sizeof(S)) READ(4);                                        \
        else for (int64_t i = 0; i < n; i++) dst[i] = (T)*(const element *)(memory + i * step);     \
    }                                                                                               \
    break

/* `n` elements, COUNT or more, in whole vectors from i on, the last of which overlaps its neighbour. */
#define COUNT ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define EACH_CHUNK(i, STATEMENT)                             \
    {                                                        \
        int64_t i = 0;                                       \
        for (; i + COUNT <= n; i += COUNT) STATEMENT;        \
        if (i < n) { i = n - COUNT; STATEMENT; }             \
    }

/* Wider integers of vectors of small ones; loops over bytes take three times as long. */
#if defined(__AVX512F__) && IS_FLOAT
#define DENSE(S, WIDENED, LOADED)                                                                   \
    if (sizeof(T) == 4 && step == (int64_t)sizeof(S) && n >= COUNT) {                               \
        EACH_CHUNK(i, _mm512_storeu_ps((float *)dst + i, _mm512_cvtepi32_ps(                        \
            WIDENED(LOADED((const void *)(memory + i * (int64_t)sizeof(S)))))))                     \
        break;                                                                                      \
    }
#else
#define DENSE(S, WIDENED, LOADED)
#endif

#if IS_FLOAT
/* 16-bit numbers in whole vectors, where there are instructions for it. */
#if defined(__AVX512F__) && defined(__F16C__)
#define WIDEN_HALVES(to, from) _mm512_storeu_ps((float *)(to), _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(from))))
#define NARROW_HALVES(to, from) \
    _mm256_storeu_si256((void *)(to), _mm512_cvtps_ph(_mm512_loadu_ps((const float *)(from)), _MM_FROUND_TO_NEAREST_INT))
#elif defined(__F16C__)
#define WIDEN_HALVES(to, from) _mm256_storeu_ps((float *)(to), _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from))))
#define NARROW_HALVES(to, from) \
    _mm_storeu_si128((void *)(to), _mm256_cvtps_ph(_mm256_loadu_ps((const float *)(from)), _MM_FROUND_TO_NEAREST_INT))
#endif
#ifdef WIDEN_HALVES
#define DENSE_HALVES(CONVERT, to, from)                              \
    if (sizeof(T) == 4 && step == 2 && n >= COUNT) {                 \
        EACH_CHUNK(i, CONVERT(to, from))                             \
        break;                                                       \
    }
#else
#define DENSE_HALVES(CONVERT, to, from)
#endif
#define NARROWED(v) (sizeof(T) == 4 ? (float)(v) : to_odd((double)(v)))
#endif

/* dst[i] = the element at memory + i * step bytes */
static void NAME(stage_run)(T *restrict dst, const char *restrict memory, int64_t step, int64_t n, int64_t code) {
    typedef T chunk __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
    const int64_t own = sizeof(T) == 4 ? (IS_FLOAT ? FLOAT32 : UINT32) : sizeof(T) == 8 ? (IS_FLOAT ? FLOAT64 : UINT64) : -1;
    if (code == own && step == (int64_t)sizeof(T) && n >= COUNT) { /* a loop would become a slower `rep movs` */
        EACH_CHUNK(i, *(chunk *)(dst + i) = *(const chunk *)(memory + i * (int64_t)sizeof(T)))
        return;
    }
    switch (code) {
        case BOOL:
        case UINT8: DENSE(uint8_t, _mm512_cvtepu8_epi32, _mm_loadu_si128) RUN_IN(uint8_t);
        case INT8: DENSE(int8_t, _mm512_cvtepi8_epi32, _mm_loadu_si128) RUN_IN(int8_t);
        case INT16: DENSE(int16_t, _mm512_cvtepi16_epi32, _mm256_loadu_si256) RUN_IN(int16_t);
        case UINT16: DENSE(uint16_t, _mm512_cvtepu16_epi32, _mm256_loadu_si256) RUN_IN(uint16_t);
        case INT32: RUN_IN(int32_t);
        case UINT32: RUN_IN(uint32_t);
        case INT64: RUN_IN(int64_t);
        case UINT64: RUN_IN(uint64_t);
#if IS_FLOAT
        case FLOAT32: RUN_IN(float);
        case FLOAT64: RUN_IN(double);
        case FLOAT16: DENSE_HALVES(WIDEN_HALVES, dst + i, memory + 2 * i) RUN(const uint16_t, dst[i] = (T)from_float16(*at));
        case BFLOAT16: RUN(const uint16_t, dst[i] = (T)from_bfloat16(*at));
#endif
    }
}

/* v as the nearest number from lo to hi: of floats the integer, halves to even, and 0 for NaN. */
#if IS_FLOAT
static inline T NAME(rounded)(T v) { return sizeof(T) == 4 ? (T)__builtin_rintf((float)v) : (T)__builtin_rint((double)v); }
static inline int32_t NAME(clamped)(T v, T lo, T hi) {
    const T r = NAME(rounded)(v == v ? v : 0), above = r > lo ? r : lo;
    return (int32_t)(above < hi ? above : hi);
}
/* For a type S that T may not hold the largest of: `beyond` is one more. */
#define WIDE(S, r, lo, hi, beyond) ((r) >= (T)(beyond) ? (S)(hi) : (r) >= (T)(lo) ? (S)(r) : (r) < 0 ? (S)(lo) : (S)0)
#else
static inline int64_t NAME(clamped)(T v, int64_t lo, int64_t hi) {
    const int64_t sum = sizeof(T) == 4 ? (int32_t)v : (int64_t)v;
    return sum < lo ? lo : sum > hi ? hi : sum;
}
#endif

/* the element at memory + i * step bytes = src[i], converted as C does or (code + SATURATE) clamped */
static void NAME(store_run)(const T *restrict src, char *restrict memory, int64_t step, int64_t n, int64_t code) {
    switch (code) {
        case SATURATE + BOOL: RUN(uint8_t, *at = (uint8_t)NAME(clamped)(src[i], 0, 1));
        case SATURATE + UINT8: RUN(uint8_t, *at = (uint8_t)NAME(clamped)(src[i], 0, UINT8_MAX));
        case SATURATE + INT8: RUN(int8_t, *at = (int8_t)NAME(clamped)(src[i], INT8_MIN, INT8_MAX));
        case SATURATE + INT16: RUN(int16_t, *at = (int16_t)NAME(clamped)(src[i], INT16_MIN, INT16_MAX));
        case SATURATE + UINT16: RUN(uint16_t, *at = (uint16_t)NAME(clamped)(src[i], 0, UINT16_MAX));
#if IS_FLOAT
        case BOOL: RUN(uint8_t, *at = (uint8_t)(int32_t)src[i] != 0);
        case UINT8: RUN(uint8_t, *at = (uint8_t)(int32_t)src[i]);
        case INT8: RUN(int8_t, *at = (int8_t)(int32_t)src[i]);
        case INT16: RUN(int16_t, *at = (int16_t)(int32_t)src[i]);
        case UINT16: RUN(uint16_t, *at = (uint16_t)(int32_t)src[i]);
        case INT32: RUN(int32_t, *at = (int32_t)src[i]);
        case UINT32: RUN(uint32_t, *at = TO_U32(src[i]));
        case INT64: RUN(int64_t, *at = (int64_t)src[i]);
        case UINT64: RUN(uint64_t, *at = TO_U64(src[i]));
        case FLOAT32: RUN(float, *at = (float)src[i]);
        case FLOAT64: RUN(double, *at = (double)src[i]);
        case FLOAT16: DENSE_HALVES(NARROW_HALVES, memory + 2 * i, src + i) RUN(uint16_t, *at = to_float16(NARROWED(src[i])));
        case BFLOAT16: RUN(uint16_t, *at = to_bfloat16(NARROWED(src[i])));
        case SATURATE + INT32: RUN(int32_t, *at = WIDE(int32_t, NAME(rounded)(src[i]), INT32_MIN, INT32_MAX, 0x1p31));
        case SATURATE + UINT32: RUN(uint32_t, *at = WIDE(uint32_t, NAME(rounded)(src[i]), 0, UINT32_MAX, 0x1p32));
        case SATURATE + INT64: RUN(int64_t, *at = WIDE(int64_t, NAME(rounded)(src[i]), INT64_MIN, INT64_MAX, 0x1p63));
        case SATURATE + UINT64: RUN(uint64_t, *at = WIDE(uint64_t, NAME(rounded)(src[i]), 0, UINT64_MAX, 0x1p64));
#else
        case BOOL: RUN(uint8_t, *at = src[i] != 0);
        case UINT8:
        case INT8: RUN(uint8_t, *at = (uint8_t)src[i]);
        case INT16:
        case UINT16: RUN(uint16_t, *at = (uint16_t)src[i]);
        case INT32:
        case UINT32: RUN(uint32_t, *at = (uint32_t)src[i]);
        case INT64:
        case UINT64: RUN(uint64_t, *at = (uint64_t)src[i]);
        case SATURATE + INT32: RUN(int32_t, *at = (int32_t)NAME(clamped)(src[i], INT32_MIN, INT32_MAX));
        case SATURATE + UINT32: RUN(uint32_t, *at = (uint32_t)NAME(clamped)(src[i], 0, UINT32_MAX));
        case SATURATE + INT64: RUN(int64_t, *at = NAME(clamped)(src[i], INT64_MIN, INT64_MAX));
        case SATURATE + UINT64: RUN(uint64_t, *at = (uint64_t)NAME(clamped)(src[i], 0, INT64_MAX));
#endif
    }
}

/* `n` elements of a window's row: `before` positions beyond the row's left end, `inside` elements from `low` on, and
 * positions beyond its right end.  `left` and `right` are edge maps, -1 the fill value. */
static inline void NAME(copy_row)(T *restrict dst, const T *restrict row, int64_t low, int64_t before, int64_t inside,
                                  int64_t size, T fill, const int64_t *left, const int64_t *right) {
    typedef T chunk __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
    const int64_t n = inside;
    if (n < COUNT) for (int64_t i = 0; i < n; i++) dst[before + i] = row[low + i];
    else EACH_CHUNK(i, { /* held, or it becomes a memmove */
        chunk v = *(const chunk *)(row + low + i);
        HOLD(v);
        *(chunk *)(dst + before + i) = v;
    })
    for (int64_t i = 0; i < before; i++) dst[i] = left[i] < 0 ? fill : row[left[i]];
    for (int64_t i = before + n; i < size; i++, right++) dst[i] = *right < 0 ? fill : row[*right];
}
#undef RUN
#undef RUN_IN
#undef READ
#undef COUNT
#undef EACH_CHUNK
#undef DENSE
#undef DENSE_HALVES
#undef WIDEN_HALVES
#undef NARROW_HALVES
#undef NARROWED
#undef WIDE
