/* Small windows of planes whose rows are narrower than a vector; two planes side by side, if these are narrower than its half.
 *
 *     dst[y][x] = OP over taps t of OP over rows of the window of src[row][table[t][x]]
 *
 * A row of each plane is followed by nothing (0), where taps of sums beyond the plane are; those of maxima repeat another.  Rows of outputs that fit into as much together are looked up, and stored, together.  Rows that the
 * next window has, too, stay in registers.
 *
 * Maxima ask only whether any element is not a number: planes with one are folded again by the comparisons that keep it.
 * 3x3 windows of 4096 planes of 7x7 take a fifth of the time that looking up each tap does (pool_small.h), those of
 * networks less (pool_sevens.h).
 */
#if defined(__AVX2__)
#if defined(__AVX512F__)
enum { MOST_NARROW_PLANES = 2 };
/* `some` lanes of a row of each plane; all its lanes may be read where it is not one of the last. */
HERE lanes_f32 narrow_load(const char *a, const char *b, int64_t inner, __mmask16 some, const int planes) {
    if (planes == 1) return _mm512_maskz_loadu_ps(some, a);
    if (inner) {
        const lanes_f32 low = _mm512_castps256_ps512(_mm256_maskz_loadu_ps(some, a));
        return _mm512_mask_broadcast_f32x8(low, some << 8, _mm256_loadu_ps((const float *)b));
    }
    return _mm512_mask_loadu_ps(_mm512_maskz_loadu_ps(some, a), some << 8, b - 32);
}
HERE void narrow_save(char *a, char *b, lanes_f32 v, __mmask16 some, const int planes) {
    if (planes == 1) {
        _mm512_mask_storeu_ps(a, some, v);
        return;
    }
    _mm256_mask_storeu_ps(a, some, _mm512_castps512_ps256(v));
    __m256 high = _mm512_extractf32x8_ps(v, 1);
    __asm__("" : "+v"(high)); /* or GCC makes one instruction of both, which faults for lanes that it does not store, too */
    _mm256_mask_storeu_ps(b, some, high);
}
HERE lanes_f32 narrow_pick(lanes_f32 low, lanes_f32 high, lanes_f32 at) {
    return _mm512_permutex2var_ps(low, _mm512_castps_si512(at), high);
}
#else
enum { MOST_NARROW_PLANES = 1 };
HERE lanes_f32 narrow_load(const char *a, const char *b, int64_t inner, __m256i some, const int planes) {
    return _mm256_maskload_ps((const float *)a, some);
}
HERE void narrow_save(char *a, char *b, lanes_f32 v, __m256i some, const int planes) {
    _mm256_maskstore_ps((float *)a, some, v);
}
HERE lanes_f32 narrow_pick(lanes_f32 low, lanes_f32 high, lanes_f32 at) {
    const __m256i lanes = _mm256_castps_si256(at);
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, lanes), _mm256_permutevar8x32_ps(high, lanes),
                            _mm256_castsi256_ps(_mm256_slli_epi32(lanes, 28)));
}
#endif

/* AHEAD, but of outputs: as far as they come from the second cache. */
#define OUT_AHEAD 512
enum { NARROW_MAX, NARROW_MAX_OF_NUMBERS, NARROW_AVERAGE };

HERE lanes_f32 narrow_op(lanes_f32 acc, lanes_f32 value, const int kind) {
    if (kind == NARROW_AVERAGE) return acc + value;
    return kind == NARROW_MAX ? top_f32(acc, value) : most_f32(acc, value);
}

/* Planes at `a` and `b`, two windows of which have `shared` rows; whether maxima of numbers met anything else. */
HERE int narrow_pair(const NarrowPlanes *p, char *to_a, char *to_b, const char *a, const char *b, const int kind,
                     const int planes, const int64_t kernel, const int64_t stride, const int64_t shared, const int64_t taps,
                     const int64_t group) {
    const int64_t row = 4 * p->width, inner = p->height - (8 + p->width - 1) / p->width;
    const some_f32 some = first_lanes_f32(p->width), whole = first_lanes_f32(group * p->n), odd = first_lanes_f32(p->n);
    const lanes_f32 all = (lanes_f32){0} + p->divisor, inverse = 1 / all, none = (lanes_f32){0} - (kind == NARROW_AVERAGE ? 0 : INFINITY);
    const lanes_f32 *divisors = p->table + taps;
    numbers_f32 numbers = all_numbers_f32();
#define ROW(y)                                                                                     \
    ({                                                                                             \
        lanes_f32 of = none;                                                                       \
        if ((uint64_t)(y) < (uint64_t)p->height) {                                                 \
            of = narrow_load(a + (y) * row, b + (y) * row, (y) <= inner, some, planes);                    \
            if (kind == NARROW_MAX_OF_NUMBERS) numbers = both_numbers_f32(numbers, of, of);          \
        }                                                                                          \
        of;                                                                                        \
    })
#define NEXT(acc, value) acc = narrow_op(acc, value, kind)
    int64_t y = -p->pad;
    lanes_f32 before = none, last = none, folded[2] = {none, none};
    if (shared == 2) before = ROW(y);
    if (shared) last = ROW(y + shared - 1);
    for (int64_t i = 0; i < p->rows; i += group) {
        _Pragma("GCC unroll 2") for (int64_t g = 0; g < group; g++, y += stride) {
            if (g && i + g == p->rows) break; /* an odd last one */
            lanes_f32 acc;
            if (shared == 2) {
                acc = before, before = last;
                NEXT(acc, last);
                last = ROW(y + 2);
                NEXT(acc, last);
            } else if (shared == 1) {
                acc = last;
                if (kernel == 3) {
                    const lanes_f32 middle = ROW(y + 1);
                    NEXT(acc, middle);
                }
                last = ROW(y + kernel - 1);
                NEXT(acc, last);
            } else {
                acc = ROW(y);
                for (int64_t r = 1; r < kernel; r++) {
                    const lanes_f32 value = ROW(y + r);
                    NEXT(acc, value);
                }
            }
            folded[g] = acc;
        }
        lanes_f32 acc = narrow_pick(folded[0], folded[group - 1], p->table[0]);
        for (int64_t t = 1; t < taps; t++) NEXT(acc, narrow_pick(folded[0], folded[group - 1], p->table[t]));
        if (kind == NARROW_AVERAGE && p->divisor > 0) acc = quotients_f32(acc, all, inverse);
        else if (kind == NARROW_AVERAGE) acc /= *divisors++;
        narrow_save(to_a, to_b, acc, i + group > p->rows ? odd : whole, planes);
        to_a += 4 * group * p->n, to_b += 4 * group * p->n;
    }
#undef NEXT
#undef ROW
    return kind == NARROW_MAX_OF_NUMBERS && any_nan_f32(numbers);
}

HERE void narrow_planes(const NarrowPlanes *given, char *out, const char *src, int64_t count, const int average, const int planes,
                        const int64_t kernel, const int64_t stride, const int64_t shared, const int64_t taps, const int64_t group) {
    const NarrowPlanes copy = *given, *p = &copy; /* stores might change the original */
    const int64_t lines = 4 * p->rows * p->n * planes, in = 4 * p->height * p->width * planes;
    for (; count > 0; count -= planes, src += planes * p->x_step, out += planes * p->out_step) {
        const char *b = count > 1 ? src + p->x_step : src;
        char *to_b = count > 1 ? out + p->out_step : out;
        if (p->fetch) {
            for (int64_t i = 0; i < lines; i += 64) __builtin_prefetch(out + OUT_AHEAD + i, 1);
            for (int64_t i = 0; i < in; i += 64) __builtin_prefetch(src + AHEAD + i);
        }
        if (average) narrow_pair(p, out, to_b, src, b, NARROW_AVERAGE, planes, kernel, stride, shared, taps, group);
        else if (narrow_pair(p, out, to_b, src, b, NARROW_MAX_OF_NUMBERS, planes, kernel, stride, shared, taps, group))
            narrow_pair(p, out, to_b, src, b, NARROW_MAX, planes, kernel, stride, shared, taps, group);
    }
}

#define SHAPE(shape, average, planes, kernel, stride, shared, taps, group)                                    \
    static void narrow_##shape(const NarrowPlanes *p, char *out, const char *src, int64_t count) {            \
        narrow_planes(p, out, src, count, average, planes, kernel, stride, shared, taps, group);              \
    }
#define KINDS(shape, planes, kernel, stride, shared, taps, group)         \
    SHAPE(max_##shape, 0, planes, kernel, stride, shared, taps, group)    \
    SHAPE(average_##shape, 1, planes, kernel, stride, shared, taps, group)
#define SHAPES(pair, planes)                                           \
    KINDS(pair##31, planes, 3, 1, 2, 3, 1)                             \
    KINDS(pair##32, planes, 3, 2, 1, 3, 2)                             \
    KINDS(pair##22, planes, 2, 2, 0, 2, 2)                             \
    KINDS(pair##any, planes, p->kernel, p->stride, 0, p->taps, p->group)
SHAPES(one_, 1)
SHAPES(two_, MOST_NARROW_PLANES)
#undef SHAPES
#undef KINDS
#undef SHAPE

#define SHAPES(pair)                                                                               \
    static PoolNarrow *narrow_##pair##of(const NarrowPlanes *p, int average) {                     \
        IF(pair, 3, 1, 1);                                                                         \
        IF(pair, 3, 2, 2);                                                                         \
        IF(pair, 2, 2, 2);                                                                         \
        return average ? narrow_average_##pair##any : narrow_max_##pair##any;                      \
    }
#define IF(pair, k, s, g)                                                                \
    if (p->kernel == k && p->taps == k && p->stride == s && p->group == g)               \
        return average ? narrow_average_##pair##k##s : narrow_max_##pair##k##s
SHAPES(one_)
SHAPES(two_)
#undef IF
#undef SHAPES

#if defined(__AVX512F__)
#include "pool_sevens.h"
#endif
static PoolNarrow *pool_narrow(const NarrowPlanes *p, int average) {
#if defined(__AVX512F__)
    PoolNarrow *sevens = sevens_of(p, average);
    if (sevens != NULL) return sevens;
#endif
    return p->planes == 1 ? narrow_one_of(p, average) : narrow_two_of(p, average);
}
#else
static PoolNarrow *pool_narrow(const NarrowPlanes *p, int average) { return NULL; } /* none is that narrow */
#endif
