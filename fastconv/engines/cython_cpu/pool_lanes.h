/* Vectors of floating point numbers: parts of them, maxima that keep NaN, lanes of two. Included by pooling.h. */
#define HERE static inline __attribute__((always_inline))
typedef float lanes_f32 __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef double lanes_f64 __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef int32_t marks_f32 __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef int64_t marks_f64 __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

/* The first n lanes loaded, the others those of `none`; n lanes stored; lanes loaded where `n` is looked up once for many; the
 * maximum, the first of equals.  A comparison of the value alone is no part of the chain of maxima.  Lanes of a span loaded; a
 * maximum and its place, of which those of a value that is greater take the place. */
#if defined(__AVX512F__)
#define PARTS(S, T, INSTR)                                                                          \
    HERE lanes_##S load_some_##S(const char *src, int64_t n, lanes_##S none) {                      \
        return _mm512_mask_loadu_##INSTR(none, (1u << n) - 1, src);                                 \
    }                                                                                               \
    HERE void save_some_##S(char *dst, lanes_##S v, int64_t n) { _mm512_mask_storeu_##INSTR(dst, (1u << n) - 1, v); } \
    typedef __mmask16 some_##S;                                                                     \
    HERE some_##S first_lanes_##S(int64_t n) {                                                      \
        const int64_t all = VECTOR_BYTES / sizeof(T);                                               \
        return (1u << (n < 0 ? 0 : n > all ? all : n)) - 1;                                         \
    }                                                                                               \
    HERE lanes_##S load_in_##S(const char *src, some_##S some, lanes_##S none) {                    \
        return _mm512_mask_loadu_##INSTR(none, some, src);                                          \
    }                                                                                               \
    HERE lanes_##S load_or_0_##S(const char *src, some_##S some) { return _mm512_maskz_loadu_##INSTR(some, src); } \
    HERE lanes_##S top_##S(lanes_##S acc, lanes_##S value) {                                        \
        return _mm512_mask_max_##INSTR(value, _mm512_cmp_##INSTR##_mask(value, value, _CMP_ORD_Q), value, acc); \
    }                                                                                               \
    HERE some_##S but_first_lane_##S(void) { return (some_##S)((1u << VECTOR_BYTES / sizeof(T)) - 2); } \
    HERE lanes_##S most_##S(lanes_##S acc, lanes_##S value) { return _mm512_max_##INSTR(value, acc); } \
    typedef __typeof__(_mm512_cmp_##INSTR##_mask((lanes_##S){0}, (lanes_##S){0}, _CMP_ORD_Q)) numbers_##S; \
    HERE numbers_##S all_numbers_##S(void) { return (numbers_##S)~0; }                              \
    HERE numbers_##S both_numbers_##S(numbers_##S so_far, lanes_##S a, lanes_##S b) {               \
        return so_far & _mm512_cmp_##INSTR##_mask(a, b, _CMP_ORD_Q);                                \
    }                                                                                               \
    HERE int any_nan_##S(numbers_##S numbers) { return numbers != (numbers_##S)~0; }                \
    HERE lanes_##S load_span_##S(const char *src, int64_t from, int64_t to, lanes_##S none) {       \
        const int64_t n = VECTOR_BYTES / sizeof(T);                                                 \
        const uint32_t low = from > n ? n : from < 0 ? 0 : from, high = to > n ? n : to < 0 ? 0 : to; \
        return _mm512_mask_loadu_##INSTR(none, ((1u << high) - 1) & ~((1u << low) - 1), src);       \
    }                                                                                               \
    HERE void pick_##S(lanes_##S *top, marks_##S *place, lanes_##S value, marks_##S at) {           \
        const __mmask16 number = _mm512_cmp_##INSTR##_mask(value, value, _CMP_ORD_Q);               \
        const __mmask16 stays = _mm512_mask_cmp_##INSTR##_mask(number, value, *top, _CMP_NGT_UQ);   \
        *top = _mm512_mask_mov_##INSTR(value, stays, *top);                                         \
        *place = (marks_##S)_mm512_mask_mov_##INSTR((lanes_##S)at, stays, (lanes_##S)*place);       \
    }
PARTS(f32, float, ps)
PARTS(f64, double, pd)
#elif defined(__AVX2__)
#define PARTS(S, T, INSTR)                                                                       \
    HERE __m256i first_##S(int64_t n) {                                                             \
        static const int64_t marks[8] = {-1, -1, -1, -1};                                           \
        return *(const __m256i_u *)((const char *)(marks + 4) - n * (int64_t)sizeof(T));            \
    }                                                                                               \
    HERE lanes_##S load_some_##S(const char *src, int64_t n, lanes_##S none) {                      \
        const __m256i some = first_##S(n);                                                          \
        return BLEND((marks_##S)some, (lanes_##S)_mm256_maskload_##INSTR((const T *)src, some), none); \
    }                                                                                               \
    HERE void save_some_##S(char *dst, lanes_##S v, int64_t n) {                                    \
        _mm256_maskstore_##INSTR((T *)dst, first_##S(n), v);                                        \
    }                                                                                               \
    typedef __m256i some_##S;                                                                       \
    HERE some_##S first_lanes_##S(int64_t n) {                                                      \
        const int64_t all = VECTOR_BYTES / sizeof(T);                                               \
        return first_##S(n < 0 ? 0 : n > all ? all : n);                                            \
    }                                                                                               \
    HERE lanes_##S load_in_##S(const char *src, some_##S some, lanes_##S none) {                    \
        return BLEND((marks_##S)some, (lanes_##S)_mm256_maskload_##INSTR((const T *)src, some), none); \
    }                                                                                               \
    HERE lanes_##S load_or_0_##S(const char *src, some_##S some) { return _mm256_maskload_##INSTR((const T *)src, some); } \
    HERE lanes_##S top_##S(lanes_##S acc, lanes_##S value) {                                        \
        return _mm256_blendv_##INSTR(_mm256_max_##INSTR(value, acc), value, _mm256_cmp_##INSTR(value, value, _CMP_UNORD_Q)); \
    }                                                                                               \
    HERE some_##S but_first_lane_##S(void) {                                                        \
        return _mm256_andnot_si256(first_##S(1), _mm256_set1_epi32(-1));                            \
    }                                                                                               \
    HERE lanes_##S most_##S(lanes_##S acc, lanes_##S value) { return _mm256_max_##INSTR(value, acc); } \
    typedef lanes_##S numbers_##S;                                                                  \
    HERE numbers_##S all_numbers_##S(void) { return (numbers_##S)_mm256_set1_epi32(-1); }           \
    HERE numbers_##S both_numbers_##S(numbers_##S so_far, lanes_##S a, lanes_##S b) {               \
        return _mm256_and_##INSTR(so_far, _mm256_cmp_##INSTR(a, b, _CMP_ORD_Q));                    \
    }                                                                                               \
    HERE int any_nan_##S(numbers_##S numbers) {                                                     \
        return _mm256_movemask_##INSTR(numbers) != (1 << VECTOR_BYTES / sizeof(T)) - 1;             \
    }                                                                                               \
    HERE lanes_##S load_span_##S(const char *src, int64_t from, int64_t to, lanes_##S none) {       \
        const int64_t n = VECTOR_BYTES / sizeof(T);                                                 \
        const __m256i before = first_##S(from > n ? n : from < 0 ? 0 : from);                       \
        const __m256i some = _mm256_andnot_si256(before, first_##S(to > n ? n : to < 0 ? 0 : to));  \
        return BLEND((marks_##S)some, (lanes_##S)_mm256_maskload_##INSTR((const T *)src, some), none); \
    }                                                                                               \
    HERE void pick_##S(lanes_##S *top, marks_##S *place, lanes_##S value, marks_##S at) {           \
        const lanes_##S taken = _mm256_or_##INSTR(_mm256_cmp_##INSTR(value, *top, _CMP_GT_OQ),      \
                                                  _mm256_cmp_##INSTR(value, value, _CMP_UNORD_Q));  \
        *top = _mm256_blendv_##INSTR(*top, value, taken);                                           \
        *place = (marks_##S)_mm256_blendv_##INSTR((lanes_##S)*place, (lanes_##S)at, taken);         \
    }
PARTS(f32, float, ps)
PARTS(f64, double, pd)
#else
#define PARTS(S, T)                                                                                 \
    HERE lanes_##S load_some_##S(const char *src, int64_t n, lanes_##S none) {                      \
        for (int64_t i = 0; i < (int64_t)(VECTOR_BYTES / sizeof(T)); i++)                           \
            if (i < n) none[i] = ((const T *)src)[i];                                               \
        return none;                                                                                \
    }                                                                                               \
    HERE void save_some_##S(char *dst, lanes_##S v, int64_t n) {                                    \
        for (int64_t i = 0; i < (int64_t)(VECTOR_BYTES / sizeof(T)); i++)                           \
            if (i < n) ((T *)dst)[i] = v[i];                                                        \
    }                                                                                               \
    typedef int64_t some_##S;                                                                       \
    HERE some_##S first_lanes_##S(int64_t n) { return n; }                                          \
    HERE lanes_##S load_in_##S(const char *src, some_##S some, lanes_##S none) { return load_some_##S(src, some, none); } \
    HERE lanes_##S load_or_0_##S(const char *src, some_##S some) { return load_some_##S(src, some, (lanes_##S){0}); } \
    HERE lanes_##S top_##S(lanes_##S acc, lanes_##S value) { return MAX(acc, value); }              \
    HERE lanes_##S load_span_##S(const char *src, int64_t from, int64_t to, lanes_##S none) {       \
        for (int64_t i = 0; i < (int64_t)(VECTOR_BYTES / sizeof(T)); i++)                           \
            if (from <= i && i < to) none[i] = ((const T *)src)[i];                                 \
        return none;                                                                                \
    }                                                                                               \
    HERE void pick_##S(lanes_##S *top, marks_##S *place, lanes_##S value, marks_##S at) {           \
        const marks_##S taken = GREATER(value, *top);                                               \
        *top = BLEND(taken, value, *top), *place = BLEND(taken, at, *place);                        \
    }
typedef float float_some LOOSE;
typedef double double_some LOOSE;
PARTS(f32, float_some)
PARTS(f64, double_some)
#endif
#undef PARTS

/* Lanes first, first + step, ... of two vectors that follow each other; all lanes loaded, if so many are left. */
#define TURNS(S, T)                                                                                 \
    HERE lanes_##S lanes_of_##S(lanes_##S low, lanes_##S high, int64_t first, int step) {             \
        marks_##S at;                                                                               \
        for (int i = 0; i < (int)(VECTOR_BYTES / sizeof(T)); i++) at[i] = first + i * step;         \
        return __builtin_shuffle(low, high, at);                                                    \
    }                                                                                               \
    HERE lanes_##S load_part_##S(const char *src, int64_t n, lanes_##S none) {                      \
        if (n >= (int64_t)(VECTOR_BYTES / sizeof(T))) return *(const lanes_##S *)src;               \
        return load_some_##S(src, n, none);                                                         \
    }                                                                                               \
    HERE lanes_##S add_##S(lanes_##S acc, lanes_##S value) { return acc + value; }
TURNS(f32, float)
TURNS(f64, double)
#undef TURNS

/* Quotients as a division rounds them: with the rest of the product with the inverse, of divisors of less than 20 bits, whose
 * quotients are never as near to the middle between two numbers as its error.  A division takes 16 cycles for 16 floats,
 * longer than they take to come from memory.  Infinite products have no rest. */
#if defined(__FMA__)
#define EXACT_QUOTIENTS(divisor) ((divisor) >= 1 && (divisor) <= 1 << 20) /* as pool_windows.py says */
#if defined(__AVX512F__)
#define QUOTIENTS(S, INSTR)                                                            \
    HERE lanes_##S quotients_##S(lanes_##S sum, lanes_##S all, lanes_##S inverse) {    \
        const lanes_##S near = sum * inverse, rest = _mm512_fnmadd_##INSTR(near, all, sum); \
        return _mm512_mask3_fmadd_##INSTR(rest, inverse, near, _mm512_cmp_##INSTR##_mask(rest, rest, _CMP_ORD_Q)); \
    }
#else
#define QUOTIENTS(S, INSTR)                                                            \
    HERE lanes_##S quotients_##S(lanes_##S sum, lanes_##S all, lanes_##S inverse) {    \
        const lanes_##S near = sum * inverse, rest = _mm256_fnmadd_##INSTR(near, all, sum); \
        return _mm256_blendv_##INSTR(_mm256_fmadd_##INSTR(rest, inverse, near), near, _mm256_cmp_##INSTR(rest, rest, _CMP_UNORD_Q)); \
    }
#endif
QUOTIENTS(f32, ps)
QUOTIENTS(f64, pd)
#undef QUOTIENTS
/* Those of finite sums; infinite ones give no number. */
#if defined(__AVX512F__)
#define FUSED(x) _mm512_##x
#else
#define FUSED(x) _mm256_##x
#endif
#define QUOTIENTS(S, INSTR)                                                                                  \
    HERE lanes_##S finite_quotients_##S(lanes_##S sum, lanes_##S all, lanes_##S inverse) {                      \
        const lanes_##S near = sum * inverse;                                                                   \
        return FUSED(fmadd_##INSTR)(FUSED(fnmadd_##INSTR)(near, all, sum), inverse, near);                       \
    }
QUOTIENTS(f32, ps)
QUOTIENTS(f64, pd)
#undef QUOTIENTS
#undef FUSED
#else
#define EXACT_QUOTIENTS(divisor) 0
HERE lanes_f32 quotients_f32(lanes_f32 sum, lanes_f32 all, lanes_f32 inverse) { return sum / all; }
HERE lanes_f64 quotients_f64(lanes_f64 sum, lanes_f64 all, lanes_f64 inverse) { return sum / all; }
#endif

#define QUOTIENTS(S, T)                                                               \
    HERE lanes_##S lanes_over_##S(lanes_##S sum, T divisor) {                           \
        const lanes_##S all = (lanes_##S){0} + divisor;                               \
        if (EXACT_QUOTIENTS(divisor)) return quotients_##S(sum, all, (lanes_##S){0} + 1 / divisor); \
        return sum / all;                                                             \
    }
QUOTIENTS(f32, float)
QUOTIENTS(f64, double)
#undef QUOTIENTS

/* n bytes, rounded up to whole vectors. */
HERE void copy_lanes(char *dst, const char *src, int64_t n) {
    for (int64_t i = 0; i < n; i += VECTOR_BYTES) *(lanes_f32 *)(dst + i) = *(const lanes_f32 *)(src + i);
}

/* A vector of places as positions. */
typedef int32_t half_places __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef int64_t positions __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
HERE void save_positions(char *dst, const void *places, int64_t size, int64_t corner) {
    half_places half[2];
    memcpy(half, places, sizeof half);
    if (size == 4)
        for (int i = 0; i < 2; i++) ((positions *)dst)[i] = __builtin_convertvector(half[i], positions) + corner;
    else *(positions *)dst = *(const positions *)half + corner;
}

/* The first n of them. */
HERE void save_some_positions(char *dst, const void *places, int64_t size, int64_t corner, int64_t n) {
    char whole[2 * VECTOR_BYTES];
    const int64_t lanes = VECTOR_BYTES / 8;
    save_positions(whole, places, size, corner);
    if (n >= lanes) {
        *(lanes_f64 *)dst = *(const lanes_f64 *)whole;
        if (n > lanes) save_some_f64(dst + VECTOR_BYTES, *(const lanes_f64 *)(whole + VECTOR_BYTES), n - lanes);
    } else save_some_f64(dst, *(const lanes_f64 *)whole, n);
}
