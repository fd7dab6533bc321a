/* Lines of bytes correlated with weights of type double, truncated exactly as SciPy truncates its sums.
 *
 * SciPy (correlate1d) sums in double, in an order of its own (exact.h), and casts to the result's type.
 * Here weights are rounded to fixed point, W = w 2^(shift + 15), and cut in two, W = 2^15 high + low with
 * 16 bits each.  Mirrored taps are added first; two pairs share a lane of 32 bits, where one instruction
 * (vpmaddwd) multiplies and adds both, or (vpdpwssd, asked for at run time) adds both to the sum, too.
 *
 * The bound.  Let S be SciPy's sum times 2^16, A = (sum of W x) / 2^(shift - 1) the same of the rounded weights, and
 * t = floor(A) + 1, which is what is summed here: nothing but the floor rounds.  Let D be at least |A - S| for all x.
 * Then t - 1 - D < S < t + D.  `prepare_line` takes only weights for which D < 1.  D is the sum of the errors
 * |W - w 2^(shift + 15)| times what they are multiplied by (up to 255, or 510 for pairs), in the units of t, and
 * SciPy's own roundings: taps + 2 of them, 2^-53 of the sum of magnitudes each, here taken eight times.
 * If t = m 2^16 + f with 2 <= f < 2^16, then m 2^16 < S < (m + 1) 2^16: S and t are truncated alike, toward minus
 * infinity and toward 0.  If t is 0 or 1, then |S| < 2^16 and truncation toward 0 gives 0.  What is left is f = 0 or 1
 * (without the 1, as sums about the centre are made, f = 0 or 2^16 - 1), sums near an integer:
 *
 * - windows in which each pair of taps adds up to twice the centre, such as flat ones and even slopes: up to 6
 *   of 100 pixels of a photograph with 5 taps.  SciPy's sum depends on the centre alone there, for
 *   (a + b) w = (c + c) w, and a table of 256 bits tells whether it is truncated to one less than t;
 * - others, in 2 of 1000 vectors: summed again in double.
 *
 * If all weights are multiples of 2^-shift, neither sum is rounded: `certain`, and t = A. */

#ifndef FASTCONV_BYTES_LINE_H
#define FASTCONV_BYTES_LINE_H
#include "tiles_all.h"
#include "bytes_vector.h"

enum { MOST_TAPS = 512, MOST_ROWS = 16, LANES = VECTOR_BYTES };

struct bytes_line {
    double w[MOST_TAPS];
    int64_t taps, order, groups; /* groups of two pairs, or in "line" order of two taps */
    double size;                 /* sum of the magnitudes of the weights */
    int32_t shift, seed;         /* seed: the 1 in t */
    int fixed;                   /* whether weights have a fixed point; if not, sums are made in double */
    int about_centre;            /* symmetric weights that add up to 1: see sums_of_pairs */
    int fused;                   /* whether the processor multiplies and adds by one instruction */
    int certain, positive;       /* positive: no result is outside 0..255 */
    int less;                    /* whether a bit of the table is set; negative: it is no use */
    bytes_t table[3];
    int32_t high[MOST_TAPS / 2 + 2], low[MOST_TAPS / 2 + 2]; /* two weights each; the centre and an odd pair last */
};

typedef uint8_t eighth_t __attribute__((vector_size(VECTOR_BYTES / 8), aligned(1), may_alias));
#define TO_DOUBLE(p) __builtin_convertvector(*(const eighth_t *)(p), vec_exact)

/* SciPy's sums of EXACT_LANES neighbours. */
static inline vec_exact sums_in_order(const struct bytes_line *k, const uint8_t *const *tap, int64_t x) {
    const int64_t n = k->taps, first = k->order == ORDER_LINE ? n - 1 : n / 2;
    vec_exact sum = TO_DOUBLE(tap[first] + x) * k->w[first];
    HOLD(sum);
    for (int64_t i = 0; i < first; i++) {
        vec_exact product = TO_DOUBLE(tap[i] + x);
        if (k->order == ORDER_SYMMETRIC) product += TO_DOUBLE(tap[n - 1 - i] + x);
        else if (k->order == ORDER_ANTISYMMETRIC) product -= TO_DOUBLE(tap[n - 1 - i] + x);
        product *= k->w[i];
        HOLD(product);
        sum += product;
    }
    return sum;
}

/* Make again the outputs that have a bit. */
static __attribute__((noinline)) void sum_bytes_again(const struct bytes_line *k, const uint8_t *const *tap, int64_t x,
                                                      uint8_t *out, uint64_t bits) {
    for (int64_t i = 0; bits >> i; i += EXACT_LANES) {
        if (!(bits >> i & ((1 << EXACT_LANES) - 1))) continue;
        const vec_exact sums = sums_in_order(k, tap, x + i);
        for (int64_t j = 0; j < EXACT_LANES; j++) out[i + j] = (uint8_t)(int32_t)sums[j];
        if (i + EXACT_LANES == 64) break;
    }
}

/* Fixed-point sums of LANES neighbours, in the order in which low and high parts of vectors are unpacked. */
struct sums {
    ints_t high[4], low[4];
    words_t base[2];        /* added to the sums */
    bytes_t centre, unlike; /* unlike: 0 where the centre alone decides */
};

#define INLINE static inline __attribute__((always_inline))
static const bytes_t no_bytes;
#define NO_WORDS ((words_t)no_bytes)

/* Add two words for each output, the low and the high parts of vectors, times the weights of group g. */
INLINE void add_group(struct sums *s, const struct bytes_line *k, int64_t g, const words_t p[2], const words_t q[2],
                      const int fused) {
    const ints_t high = (ints_t){0} + k->high[g], low = (ints_t){0} + k->low[g];
    const ints_t of[4] = {low_words(p[0], q[0]), high_words(p[0], q[0]), low_words(p[1], q[1]), high_words(p[1], q[1])};
    for (int i = 0; i < 4; i++) {
        s->high[i] = add_products(s->high[i], of[i], high, fused);
        s->low[i] = add_products(s->low[i], of[i], low, fused);
    }
}

INLINE void widened(words_t words[2], bytes_t v) {
    words[0] = (words_t)low_bytes(v, no_bytes);
    words[1] = (words_t)high_bytes(v, no_bytes);
}

/* a + b or a - b. */
INLINE void add_taps(words_t p[2], const uint8_t *a, const uint8_t *b, int64_t order) {
    const bytes_t x = LOAD_BYTES(a), y = LOAD_BYTES(b);
    const bytes_t signs = (bytes_t)(NO_WORDS + (int16_t)(order == ORDER_ANTISYMMETRIC ? 0xff01 : 0x0101));
    p[0] = couples(low_bytes(x, y), signs);
    p[1] = couples(high_bytes(x, y), signs);
}

/* Of pairs with symmetric weights twice the centre is taken away, so that like windows leave zeros.  If those weights
 * add up to 1, the sum is the centre and a sum of w (a + b - 2 c), without a product for the centre. */
INLINE struct sums sums_of_pairs(const struct bytes_line *k, const uint8_t *const *tap, int64_t x, int64_t order,
                                 int64_t groups, int odd, int about_centre, const int fused) {
    struct sums s = {.centre = LOAD_BYTES(tap[k->taps / 2] + x)};
    const uint8_t *const *mirrored = tap + k->taps - 1;
    words_t twice[2], p[2], q[2], unlike[2] = {NO_WORDS, NO_WORDS};
    widened(s.base, s.centre);
    for (int i = 0; i < 2; i++) twice[i] = order == ORDER_SYMMETRIC ? s.base[i] + s.base[i] : NO_WORDS;
    for (int i = 0; i < 4; i++) s.high[i] = (ints_t)no_bytes, s.low[i] = (ints_t){0} + (about_centre ? 0 : k->seed);
    for (int64_t g = 0; g < groups; g++) {
        add_taps(p, tap[2 * g] + x, mirrored[-2 * g] + x, order);
        add_taps(q, tap[2 * g + 1] + x, mirrored[-2 * g - 1] + x, order);
        for (int i = 0; i < 2; i++) {
            p[i] -= twice[i], q[i] -= twice[i];
            unlike[i] = any_of(unlike[i], p[i], q[i]);
        }
        add_group(&s, k, g, p, q, fused);
    }
    p[0] = p[1] = NO_WORDS;
    if (odd) {
        add_taps(p, tap[2 * groups] + x, mirrored[-2 * groups] + x, order);
        for (int i = 0; i < 2; i++) {
            p[i] -= twice[i];
            unlike[i] |= p[i];
        }
    }
    if (about_centre && odd) add_group(&s, k, groups, p, p, fused);
    if (!about_centre) {
        add_group(&s, k, groups, p, s.base, fused);
        s.base[0] = s.base[1] = NO_WORDS;
    }
    s.unlike = pack_signed(unlike[0], unlike[1]);
    return s;
}

/* Without pairs: two taps share a lane. */
INLINE struct sums sums_of_taps(const struct bytes_line *k, const uint8_t *const *tap, int64_t x, const int fused) {
    struct sums s = {.centre = LOAD_BYTES(tap[0] + x), .unlike = no_bytes, .base = {NO_WORDS, NO_WORDS}};
    words_t p[2], q[2];
    for (int i = 0; i < 4; i++) s.high[i] = (ints_t)no_bytes, s.low[i] = (ints_t){0} + k->seed;
    for (int64_t g = 0; g < k->groups; g++) {
        const bytes_t a = LOAD_BYTES(tap[2 * g] + x), b = LOAD_BYTES(tap[2 * g + 1 < k->taps ? 2 * g + 1 : 0] + x);
        widened(p, a);
        widened(q, b);
        add_group(&s, k, g, p, q, fused);
        s.unlike |= (a ^ s.centre) | (b ^ s.centre);
    }
    return s;
}

/* Truncate and store LANES sums; those that are not certain are summed again. */
INLINE void store_sums_of_bytes(const struct bytes_line *k, const uint8_t *const *tap, int64_t x, const struct sums *s,
                                uint8_t *out, int32_t scale, int positive, int certain, int less, int near) {
    ints_t t[4];
    words_t whole[2], part[2];
    for (int i = 0; i < 4; i++) t[i] = (s->high[i] << scale) + (s->low[i] >> (15 - scale));
    for (int i = 0; i < 2; i++) {
        halves(&whole[i], &part[i], t[2 * i], t[2 * i + 1]);
        whole[i] += s->base[i];
        if (positive) continue;
        const words_t below = (whole[i] < 0) & (part[i] != 0);
        part[i] |= whole[i] == 0; /* 0 is certain: truncation is toward it */
        whole[i] = (whole[i] - below) & 255;
    }
    bytes_t result = pack_words(whole[0], whole[1]);
    if (certain) {
        STORE_BYTES(out, result);
        return;
    }
    const truth_t uncertain = none_of(pack_signed(part[0], part[1]) + (uint8_t)near, no_bytes + (uint8_t)0xfe);
    if (less > 0) result = less_where(result, k->table, s->centre, uncertain);
    STORE_BYTES(out, result);
    const uint64_t again = both(uncertain, less < 0 ? no_bytes + (uint8_t)1 : s->unlike);
    if (__builtin_expect(again != 0, 0)) sum_bytes_again(k, tap, x, out, again);
}

/* Rows of n outputs each.  Tap i of output x of row r is tap[i + r * down][x + r * across]. */
struct bytes_rows {
    const uint8_t *const *tap;
    int64_t down, across, rows, n;
    uint8_t *out;
    int64_t step;
};

/* Lines of at least LANES outputs: the last vector overlaps its neighbour. */
#define BYTES_LINE(NAME, SUMS, ...)                                                                         \
    static void NAME(const struct bytes_line *k, const struct bytes_rows *a) {                             \
        const int64_t n = a->n, down = a->down, across = a->across;                                        \
        for (int64_t r = 0; r < a->rows; r++) {                                                             \
            const uint8_t *const *tap = a->tap + r * down;                                                  \
            uint8_t *out = a->out + r * a->step;                                                            \
            for (int64_t x = 0; x < n; x += LANES) {                                                        \
                const int64_t to = x + LANES > n ? n - LANES : x, at = to + r * across;                     \
                const struct sums s = SUMS;                                                                 \
                store_sums_of_bytes(k, tap, at, &s, out + to, __VA_ARGS__);                                 \
            }                                                                                               \
        }                                                                                                   \
    }
#define CENTRED(GROUPS, ODD, FUSED) sums_of_pairs(k, tap, at, ORDER_SYMMETRIC, GROUPS, ODD, 1, FUSED)
#define ABOUT_CENTRE(TAPS, GROUPS, ODD, FUSED)                                                              \
    BYTES_LINE(about_centre_##TAPS##_##FUSED, CENTRED(GROUPS, ODD, FUSED), 0, 1, 0, 0, 1)                   \
    BYTES_LINE(about_centre_##TAPS##_less_##FUSED, CENTRED(GROUPS, ODD, FUSED), 0, 1, 0, 1, 1)
#define GENERAL 16 - k->shift, k->positive, k->certain, k->less, 0
#define PAIRS(ORDER, FUSED) sums_of_pairs(k, tap, at, ORDER, k->groups, k->taps / 2 % 2, 0, FUSED)
#define ALL_LINES(FUSED)                                                                                    \
    ABOUT_CENTRE(5, 1, 0, FUSED)                                                                            \
    ABOUT_CENTRE(9, 2, 0, FUSED)                                                                            \
    ABOUT_CENTRE(any, k->groups, k->taps / 2 % 2, FUSED)                                                    \
    BYTES_LINE(pairs_added_##FUSED, PAIRS(ORDER_SYMMETRIC, FUSED), GENERAL)                                 \
    BYTES_LINE(pairs_subtracted_##FUSED, PAIRS(ORDER_ANTISYMMETRIC, FUSED), GENERAL)                        \
    BYTES_LINE(taps_added_##FUSED, sums_of_taps(k, tap, at, FUSED), GENERAL)                                \
    static void correlate_bytes_##FUSED(const struct bytes_line *k, const struct bytes_rows *a) {           \
        if (k->order == ORDER_ANTISYMMETRIC) pairs_subtracted_##FUSED(k, a);                                \
        else if (k->order == ORDER_LINE) taps_added_##FUSED(k, a);                                          \
        else if (!k->about_centre) pairs_added_##FUSED(k, a);                                               \
        else if (k->taps == 5) (k->less ? about_centre_5_less_##FUSED : about_centre_5_##FUSED)(k, a);      \
        else if (k->taps == 9) (k->less ? about_centre_9_less_##FUSED : about_centre_9_##FUSED)(k, a);      \
        else (k->less ? about_centre_any_less_##FUSED : about_centre_any_##FUSED)(k, a);                    \
    }
ALL_LINES(0)
#if defined(__AVX512BW__)
ALL_LINES(1)
#define FUSES __builtin_cpu_supports("avx512vnni")
#else
#define FUSES 0
#define correlate_bytes_1 correlate_bytes_0
#endif

static void added_in_double(const struct bytes_line *k, const struct bytes_rows *a) {
    const uint64_t all = ~(uint64_t)0 >> (64 - LANES);
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t x = 0; x < a->n; x += LANES) {
            const int64_t to = x + LANES > a->n ? a->n - LANES : x;
            sum_bytes_again(k, a->tap + r * a->down, to + r * a->across, a->out + r * a->step + to, all);
        }
}

static void correlate_bytes(const struct bytes_line *k, const uint8_t *const *tap, int64_t down, int64_t across,
                            int64_t rows, int64_t n, uint8_t *out, int64_t step) {
    const struct bytes_rows a = {tap, down, across, rows, n, out, step};
    if (!k->fixed) added_in_double(k, &a);
    else (k->fused ? correlate_bytes_1 : correlate_bytes_0)(k, &a);
}

/* -- weights ------------------------------------------------------------------------------------- */

/* The order of summation that correlate1d takes. */
static int64_t order_of_line(const double *w, int64_t taps) {
    int same = taps % 2, opposite = taps % 2;
    for (int64_t i = 0; i < taps / 2; i++) {
        same &= __builtin_fabs(w[i] - w[taps - 1 - i]) <= 0x1p-52;
        opposite &= __builtin_fabs(w[i] + w[taps - 1 - i]) <= 0x1p-52;
    }
    return same ? ORDER_SYMMETRIC : opposite ? ORDER_ANTISYMMETRIC : ORDER_LINE;
}

/* Two weights in fixed point, in the halves of 32-bit integers. */
INLINE int64_t low_part(int64_t fixed) { return ((fixed + 0x4000) & 0x7fff) - 0x4000; }
static void put_weights(struct bytes_line *k, int64_t g, int64_t a, int64_t b) {
    k->low[g] = (int32_t)((uint32_t)(low_part(a) & 0xffff) | (uint32_t)low_part(b) << 16);
    k->high[g] = (int32_t)((uint32_t)((a - low_part(a)) >> 15 & 0xffff) | (uint32_t)((b - low_part(b)) >> 15) << 16);
}

/* For which centres a sum that the centre alone decides is truncated to one less than the fixed-point sum, `whole`
 * times the centre, is. */
static void fill_table(struct bytes_line *k, int64_t whole) {
    const uint8_t *tap[MOST_TAPS];
    uint8_t centres[256], bits[32] = {0};
    for (int i = 0; i < 256; i++) centres[i] = (uint8_t)i;
    for (int64_t i = 0; i < k->taps; i++) tap[i] = centres;
    for (int64_t c = 0; c < 256; c += EXACT_LANES) {
        const vec_exact sums = sums_in_order(k, tap, c);
        for (int64_t i = c; i < c + EXACT_LANES; i++) {
            const int64_t t = (k->seed + i * whole) >> (k->shift - 1);
            if ((t & 0xfffe) || (0 <= t && t < 2)) continue;
            const int64_t less = t / 65536 - (int64_t)sums[i - c];
            if (less == 1) bits[(i >> 7) * 16 + (i & 15)] |= (uint8_t)(1 << (i >> 4 & 7));
            if (less && k->less >= 0) k->less = less == 1 ? 1 : -1;
        }
    }
    for (int i = 0; i < VECTOR_BYTES; i++) {
        k->table[0][i] = bits[i & 15];
        k->table[1][i] = bits[16 + (i & 15)];
        k->table[2][i] = (uint8_t)(1 << (i & 7));
    }
}

/* What pairs, or taps, are multiplied by, and last the centre; their number. */
static int64_t factors_of(const struct bytes_line *k, double factor[MOST_TAPS]) {
    const int64_t n = k->order == ORDER_LINE ? k->taps : k->taps / 2 + 1;
    for (int64_t i = 0; i < n; i++) factor[i] = k->w[i];
    if (k->order == ORDER_SYMMETRIC) /* from pairs twice the centre is subtracted */
        for (int64_t i = 0; i < n - 1; i++) factor[n - 1] += 2 * factor[i];
    return n;
}

/* As many bits beyond the integers as factors of 16 bits and sums of 31 bits allow. */
static void choose_shift(struct bytes_line *k, const double *factor, int64_t n) {
    double largest = 0, size = 0, least = 0;
    k->certain = 1;
    for (int64_t i = 0; i < n - 1; i++) largest = fmax(largest, __builtin_fabs(factor[i]));
    for (int64_t i = 0; i < k->taps; i++) {
        size += __builtin_fabs(k->w[i]);
        least = fmin(least, k->w[i]);
    }
    const double all = fmax(largest, __builtin_fabs(factor[n - 1]));
    k->size = size;
    for (k->shift = 15; k->shift > 0 && ldexp(all, k->shift) > 32766; k->shift--) {}
    for (int64_t i = 0; i < n; i++) k->certain &= ldexp(factor[i], k->shift) == rint(ldexp(factor[i], k->shift));
    k->positive = least == 0 && 255 * size < 255.99;
    k->about_centre = k->order == ORDER_SYMMETRIC && !k->certain && k->positive && largest < 0.499 &&
                      __builtin_fabs(factor[n - 1] - 1) <= (double)k->taps * 0x1p-52;
    if (k->about_centre) k->shift = 16;
}

/* Round weights to fixed point, if what is summed with them is certain to be near SciPy's sums. */
static void prepare_line(struct bytes_line *k, const double *w, int64_t taps) {
    double factor[MOST_TAPS], error = 0;
    int64_t fixed[MOST_TAPS + 1], whole = 0;
    k->taps = taps, k->order = order_of_line(w, taps);
    k->seed = k->fixed = k->less = 0;
    k->fused = FUSES != 0;
    memcpy(k->w, w, (size_t)taps * sizeof *w);
    const int64_t n = factors_of(k, factor), pairs = n - 1;
    choose_shift(k, factor, n);
    if (!(k->size < 127) || k->shift < 1) return; /* or not a number */
    k->seed = k->certain || k->about_centre ? 0 : 1 << (k->shift - 1); /* 1 in t */
    for (int64_t i = 0; i < n; i++) {
        const double exact = ldexp(factor[i], k->shift + 15);
        fixed[i] = llrint(exact);
        error += __builtin_fabs((double)fixed[i] - exact) * (i < n - 1 ? 510 : 255);
    }
    if (ldexp(error, 1 - k->shift) + (double)(taps + 2) * 0x1p-50 * ldexp(255 * k->size, 16) > 0.99) return;
    fixed[n] = 0;
    k->groups = k->order == ORDER_LINE ? (taps + 1) / 2 : pairs / 2;
    for (int64_t g = 0; g < k->groups; g++) put_weights(k, g, fixed[2 * g], fixed[2 * g + 1]);
    if (k->order != ORDER_LINE)
        put_weights(k, k->groups, pairs % 2 ? fixed[pairs - 1] : 0, k->about_centre ? 0 : fixed[pairs]);
    for (int64_t i = k->order == ORDER_LINE ? 0 : pairs; i < n; i++) whole += fixed[i];
    if (!k->certain) fill_table(k, k->about_centre ? (int64_t)1 << 31 : whole);
    k->fixed = 1;
}

/* Prepared lines, which each thread keeps: rounding weights takes up to 2 us, as long as 50 rows of 256 pixels. */
enum { KEPT_LINES = 2 };

static const struct bytes_line *line_of(const double *w, int64_t taps, int slot) {
    static _Thread_local struct bytes_line lines[KEPT_LINES];
    struct bytes_line *k = &lines[slot];
    if (k->taps != taps || memcmp(k->w, w, (size_t)taps * sizeof *w)) prepare_line(k, w, taps);
    return k;
}
#endif
