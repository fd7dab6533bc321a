/* Means of bytes, cut to integers after each axis: a vector of bytes is one of sums of its even ones, and one of its odd ones.
 *
 * Nothing has to be widened or packed: the even bytes are the lower halves of 16-bit lanes, the odd ones the upper.
 */
typedef struct {
    lanes_u16 even, odd;
} Halves;

static inline Halves halves_at(const char *p) {
    const lanes_u16 both = *(const loose_u16 *)p;
    return (Halves){both & 255, both >> 8};
}
static inline Halves halves_core(const char *p) {
    return (Halves){*(const loose_u16 *)p, *(const loose_u16 *)(p + VECTOR_BYTES)};
}
static inline void write_core(char *p, Halves v) {
    *(loose_u16 *)p = v.even;
    *(loose_u16 *)(p + VECTOR_BYTES) = v.odd;
}
static inline Halves halves_sum(Halves a, Halves b) { return (Halves){a.even + b.even, a.odd + b.odd}; }
static inline void write_means(char *to, Halves sum, lanes_u16 factor, int shift) {
    const lanes_u16 even = multiply_high(sum.even, factor) >> shift, odd = multiply_high(sum.odd, factor) >> shift;
    *(loose_u16 *)to = even | odd << 8;
}
#define QUOTIENT \
    const lanes_u16 factor = (lanes_u16){0} + (uint16_t)q->factor; \
    const int shift = (int)q->shift;

#define NAME(x) bytes_##x
#define V Halves
#define OP(a, b) halves_sum(a, b)
#define READ(p) halves_at((p) + i)
#define READ_CORE(p) halves_core((p) + 2 * VECTOR_BYTES * at)
#define WRITE(p, v) write_means(p, v, factor, shift)
#define WRITE_CORE(p, v) write_core((p) + 2 * VECTOR_BYTES * at, v)
#define KEEP(v) do { HOLD((v).even); HOLD((v).odd); } while (0)
#define PREPARE QUOTIENT
#define WATCHED
#define WATCH(a, b) (void)0
#define ALL_NUMBERS 1
#define LINE_OF(p) 0 /* cores that stay are read as they were written */
#include "sliding_rows.h"
#undef NAME
#undef V
#undef OP
#undef READ
#undef READ_CORE
#undef WRITE
#undef WRITE_CORE
#undef KEEP
#undef PREPARE
#undef WATCHED
#undef WATCH
#undef ALL_NUMBERS
#undef LINE_OF

static const Downwards bytes_down = {bytes_twos, bytes_threes, bytes_fives, bytes_fours, bytes_eights, bytes_gather};

/* The sums of two bytes each. */
static void bytes_pairs(char *dst, const char *src, int64_t n) {
    for (int64_t i = 0; i < n; i += VECTOR_BYTES) {
        const Halves x = halves_at(src + i);
        *(loose_u16 *)(dst + i) = x.even + x.odd;
    }
}

/* Means along a row.  Of windows of 2h + `odd` bytes the sums of the pairs 1 to h - 1 are at `inner` (NULL: none): those
 * that begin with an even byte lack the pair before and maybe the byte behind, the others one byte before and one or two behind. */
static void bytes_across(char *dst, const char *src, const char *inner, int64_t taps, int64_t n, const Quotient *q,
                         const char *next_row) {
    QUOTIENT
    const char *end = src + (taps & ~(int64_t)1);
#define ACROSS(ADDED, ODD)                                                                        \
    for (int64_t i = 0; i < n; i += VECTOR_BYTES) {                                               \
        const Halves x = halves_at(src + i), y = halves_at(end + i);                              \
        const lanes_u16 both = x.odd + y.even ADDED;                                              \
        const Halves sum = {(ODD ? both : x.odd ADDED) + x.even, ODD ? both + y.odd : both};      \
        write_means(dst + i, sum, factor, shift);                                                 \
        if (next_row != NULL) __builtin_prefetch(next_row + i);                                   \
    }
    if (inner == NULL) {
        if (taps & 1) ACROSS(, 1) else ACROSS(, 0)
    } else {
#define INNER + *(const loose_u16 *)(inner + i)
        if (taps & 1) ACROSS(INNER, 1) else ACROSS(INNER, 0)
#undef INNER
    }
#undef ACROSS
}

/* Means along a row of elements that lie `step` bytes apart (colours): bytes in turn belong to even and odd ones. */
static void bytes_apart(char *dst, const char *src, int64_t taps, int64_t step, int64_t n, const Quotient *q,
                        const char *next_row) {
    QUOTIENT
    for (int64_t i = 0; i < n; i += VECTOR_BYTES) {
        Halves sum = halves_at(src + i);
        for (int64_t k = 1; k < taps; k++) sum = halves_sum(sum, halves_at(src + i + k * step));
        if (next_row != NULL) __builtin_prefetch(next_row + i);
        write_means(dst + i, sum, factor, shift);
    }
}
#undef QUOTIENT
