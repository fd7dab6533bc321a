/* Small windows of planes of 7x7, which many networks end with: what a plane takes is known to the compiler.
 *
 * A plane is three vectors and an element.  3x3 windows by steps of one take it as one run: of a vector of elements, those a
 * row before and after are folded, then what is next to it is turned into place; what lies beyond the plane is masked.  By
 * steps of two, rows are folded, then columns picked from all of them.  8x512 planes, 3x3 by one: 22 us, by
 * rows of two side by side (pool_narrow.h) 39; 2x2 13 and 21.  Included by pool_narrow.h.
 */
enum { SEVENS_MAX, SEVENS_MAX_OF_NUMBERS, SEVENS_AVERAGE, SEVENS_AVERAGE_OF_NUMBERS };
#define SUMS (kind >= SEVENS_AVERAGE)

HERE lanes_f32 sevens_op(lanes_f32 acc, lanes_f32 value, const int kind) {
    if (SUMS) return acc + value;
    return kind == SEVENS_MAX ? top_f32(acc, value) : most_f32(acc, value);
}
HERE lanes_f32 sevens_some(lanes_f32 acc, __mmask16 some, lanes_f32 value, const int kind) {
    if (SUMS) return _mm512_mask_add_ps(acc, some, acc, value);
    if (kind == SEVENS_MAX_OF_NUMBERS) return _mm512_mask_max_ps(acc, some, value, acc);
    return _mm512_mask_mov_ps(acc, some, top_f32(acc, value));
}
HERE lanes_f32 sevens_quotients(lanes_f32 sum, lanes_f32 all, lanes_f32 inverse, const int kind) {
    return kind == SEVENS_AVERAGE ? quotients_f32(sum, all, inverse) : finite_quotients_f32(sum, all, inverse);
}
#define NUMBERS(a, b) numbers = both_numbers_f32(numbers, a, b)

/* Whether a fold of numbers met anything else: so the others. */
HERE int sevens_31(char *out, const char *src, const int kind, const lanes_f32 divisor, const lanes_f32 inverse) {
    const uint64_t all = ((uint64_t)1 << 49) - 1, column = 0x40810204081; /* the first */
    const uint64_t down = all & ~0x7f, up = all >> 7, right = all & ~column, left = right >> 1;
    lanes_f32 here[4], folded[4], made[4];
    numbers_f32 numbers = all_numbers_f32();
#define EACH _Pragma("GCC unroll 4") for (int v = 0; v < 4; v++)
#define OF(mask) ((__mmask16)((mask) >> 16 * v))
#define TURNED(high, low, by) (lanes_f32)_mm512_alignr_epi32((__m512i)(high), (__m512i)(low), by)
    EACH {
        const char *at = src + 64 * v;
        here[v] = _mm512_maskz_loadu_ps(OF(all), at);
        folded[v] = sevens_some(here[v], OF(down), _mm512_maskz_loadu_ps(OF(down), at - 28), kind);
        folded[v] = sevens_some(folded[v], OF(up), _mm512_maskz_loadu_ps(OF(up), at + 28), kind);
    }
    EACH {
        const lanes_f32 before = folded[v ? v - 1 : 0], after = folded[v < 3 ? v + 1 : 3];
        lanes_f32 acc = sevens_some(folded[v], OF(right), TURNED(folded[v], before, 15), kind);
        acc = sevens_some(acc, OF(left), TURNED(after, folded[v], 1), kind);
        made[v] = SUMS ? sevens_quotients(acc, divisor, inverse, kind) : acc;
        _mm512_mask_storeu_ps(out + 64 * v, OF(all), made[v]);
    }
    if (kind == SEVENS_MAX_OF_NUMBERS) NUMBERS(here[0], here[1]), NUMBERS(here[2], here[3]);
    if (kind == SEVENS_AVERAGE_OF_NUMBERS) NUMBERS(made[0], made[1]), NUMBERS(made[2], made[3]);
#undef TURNED
#undef OF
#undef EACH
    return any_nan_f32(numbers);
}

/* Lanes of two vectors. */
#define PICKED(low, high, ...) narrow_pick(low, high, (lanes_f32)(marks_f32){__VA_ARGS__})

HERE int sevens_32(char *out, const char *src, const int kind, const lanes_f32 divisor, const lanes_f32 inverse) {
    numbers_f32 numbers = all_numbers_f32();
#define ROW(y) _mm512_castps256_ps512(_mm256_maskz_loadu_ps(0x7f, src + 28 * (y)))
#define NEXT(acc, value) sevens_op(acc, value, kind)
#define BOTH(low, high) _mm512_insertf32x8(low, _mm512_castps512_ps256(high), 1)
    lanes_f32 row[7];
    _Pragma("GCC unroll 7") for (int y = 0; y < 7; y++) row[y] = ROW(y);
    const lanes_f32 first = NEXT(row[0], row[1]), second = NEXT(NEXT(row[1], row[2]), row[3]);
    const lanes_f32 third = NEXT(NEXT(row[3], row[4]), row[5]), fourth = NEXT(row[5], row[6]);
    const lanes_f32 low = BOTH(first, second), high = BOTH(third, fourth);
    lanes_f32 acc = PICKED(low, high, 0, 1, 3, 5, 8, 9, 11, 13, 16, 17, 19, 21, 24, 25, 27, 29);
    if (SUMS) acc = _mm512_maskz_mov_ps(0xeeee, acc);
    acc = NEXT(acc, PICKED(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
    const lanes_f32 last = PICKED(low, high, 1, 3, 5, 6, 9, 11, 13, 14, 17, 19, 21, 22, 25, 27, 29, 30);
    acc = sevens_some(acc, 0x7777, last, kind);
    if (SUMS) acc = sevens_quotients(acc, divisor, inverse, kind);
    _mm512_storeu_ps(out, acc);
    if (kind == SEVENS_MAX_OF_NUMBERS) {
        const lanes_f32 a = *(const lanes_f32 *)src, b = *(const lanes_f32 *)(src + 64), c = *(const lanes_f32 *)(src + 128);
        NUMBERS(a, b), NUMBERS(c, row[6]);
    }
    if (kind == SEVENS_AVERAGE_OF_NUMBERS) NUMBERS(acc, acc);
#undef BOTH
#undef ROW
    return any_nan_f32(numbers);
}

HERE int sevens_22(char *out, const char *src, const int kind, const lanes_f32 divisor, const lanes_f32 inverse) {
    numbers_f32 numbers = all_numbers_f32();
#define ROWS(y) *(const lanes_f32 *)(src + 28 * (y))
    const lanes_f32 row[6] = {ROWS(0), ROWS(1), ROWS(2), ROWS(3), ROWS(4), _mm512_maskz_loadu_ps(0x3fff, src + 28 * 5)};
    const lanes_f32 first = NEXT(row[0], row[1]), second = NEXT(row[2], row[3]), third = NEXT(row[4], row[5]);
    const lanes_f32 two = PICKED(first, second, 0, 1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21);
    lanes_f32 acc = PICKED(two, third, 0, 2, 4, 6, 8, 10, 16, 18, 20);
    acc = NEXT(acc, PICKED(two, third, 1, 3, 5, 7, 9, 11, 17, 19, 21));
    if (SUMS) acc = sevens_quotients(acc, divisor, inverse, kind);
    _mm512_mask_storeu_ps(out, 0x1ff, acc);
    if (kind == SEVENS_MAX_OF_NUMBERS) NUMBERS(row[0], row[1]), NUMBERS(row[2], row[3]), NUMBERS(row[4], row[5]);
    if (kind == SEVENS_AVERAGE_OF_NUMBERS) NUMBERS(acc, acc);
#undef ROWS
#undef NEXT
    return any_nan_f32(numbers);
}
#undef PICKED
#undef NUMBERS
#undef SUMS

#define SHAPE(shape, of, kind, outputs)                                                                                     \
    static void sevens_##of##_##shape(const NarrowPlanes *p, char *out, const char *src, int64_t count) {                   \
        const int64_t x_step = p->x_step, out_step = p->out_step, fetch = p->fetch;                                         \
        const lanes_f32 divisor = (lanes_f32){0} + p->divisor, inverse = 1 / divisor;                                       \
        for (; count > 0; count--, src += x_step, out += out_step) {                                                        \
            if (fetch) {                                                                                                    \
                for (int i = 0; i < 4 * outputs; i += 64) __builtin_prefetch(out + OUT_AHEAD + i, 1);                       \
                for (int i = 0; i < 4 * 49; i += 64) __builtin_prefetch(src + AHEAD + i);                                   \
            }                                                                                                               \
            if (sevens_##shape(out, src, kind##_OF_NUMBERS, divisor, inverse)) sevens_##shape(out, src, kind, divisor, inverse); \
        }                                                                                                                   \
    }
#define SHAPES(shape, outputs)                           \
    SHAPE(shape, max, SEVENS_MAX, outputs)               \
    SHAPE(shape, average, SEVENS_AVERAGE, outputs)
SHAPES(31, 49)
SHAPES(32, 16)
SHAPES(22, 9)
#undef SHAPES
#undef SHAPE

/* The function of planes of 7x7 whose windows are such, or NULL. */
static PoolNarrow *sevens_of(const NarrowPlanes *p, int average) {
    if (p->height != 7 || p->width != 7 || p->kernel != p->taps || p->rows != p->n || p->pad != p->pad_x) return NULL;
    if (average && p->divisor <= 0) return NULL;
#define IF(shape, k, s, on_pad, outputs) \
    if (p->kernel == k && p->stride == s && p->pad == on_pad && p->n == outputs) return average ? sevens_average_##shape : sevens_max_##shape
    IF(31, 3, 1, 1, 7);
    IF(32, 3, 2, 1, 4);
    IF(22, 2, 2, 0, 3);
#undef IF
    return NULL;
}
