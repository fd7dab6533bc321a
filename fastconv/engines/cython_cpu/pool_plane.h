/* Small windows of planes whose columns lie next to each other, rows and columns folded in registers.
 *
 *     dst[i] = OP over rows r and columns t < taps of the window of src[r][i * stride - pad + t]      for 0 <= i < n
 *
 * over 0 <= column < width, divided by the taps that count.  Columns are folded over their rows first, as elsewhere; of
 * stride 2, even and odd ones are parted.  A vector's neighbours are turned into place with the vectors before and after it,
 * which beyond the plane hold the fold's identity.  Included with T, OP (of two vectors), IDENTITY (a vector), DIVIDED
 * (whether averages are made) and NAME(x) defined.
 */
#define V PASTE(lanes_, SUFFIX)
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define SOME PASTE(some_, SUFFIX)
#define LOAD(from, some) (DIVIDED ? PASTE(load_or_0_, SUFFIX)(from, some) : PASTE(load_in_, SUFFIX)(from, some, IDENTITY))
/* A vector of columns, folded over ny rows of each of nz planes; `some` of them are inside.  What the next row of outputs
 * reads and this one does not are the last `fresh` rows. */
HERE V NAME(column)(const PlaneRows *p, const char *src, const int64_t nz, const int64_t ny, const int64_t fresh, const int whole,
                    SOME some) {
    V acc = IDENTITY, value;
#define READ(from) (whole ? *(const V *)(from) : LOAD(from, some))
    for (int64_t y = ny > fresh ? ny - fresh : 0; y < ny; y++) __builtin_prefetch(src + y * p->row_step + AHEAD);
    for (int64_t z = 0; z < nz; z++, src += p->z_step) {
        if (z == 0) acc = READ(src);
        for (int64_t y = z == 0; y < ny; y++) {
            value = READ(src + y * p->row_step);
            acc = OP(acc, value);
        }
    }
    return acc;
#undef READ
}

/* Lanes that are `by` further, of three vectors that follow each other. */
HERE V NAME(moved)(V before, V here, V after, int64_t by) {
    if (by == 0) return here;
    return by < 0 ? PASTE(lanes_of_, SUFFIX)(before, here, LANES + by, 1) : PASTE(lanes_of_, SUFFIX)(here, after, by, 1);
}

/* What rows have in common. */
typedef struct {
    int64_t in, out;   /* vectors of columns of a stride phase, and of outputs, with the last */
    SOME some, more;   /* columns in the last, and of stride 2 in the one behind it */
    V all, inverse;    /* the divisor, if it is the same for all and `exact` */
    int exact;
} NAME(line);

/* Of `even` rows there are as many vectors of outputs as of columns, of `narrow` ones one, which
 * of 2 has no second vector of columns.  Without branches that depend on the width rows of 28 take half the time. */
HERE void NAME(row)(const PlaneRows *p, const NAME(line) *l, char *dst, const char *end, const char *src, const int64_t nz,
                    const int64_t ny, T tall, const int64_t fresh, const int64_t taps, const int64_t pad, const int stride,
                    const int even, const int narrow) {
    const int64_t ahead = taps - pad > stride;
    V even0 = IDENTITY, odd0 = even0, even1 = even0, odd1 = even0, even2 = even0, odd2 = even0; /* before, here, after */
    int64_t i = 0;
#define COLUMNS(at, whole, some) NAME(column)(p, src + (at) * VECTOR_BYTES, nz, ny, fresh, whole, some)
/* The vectors of columns at `at` by stride phase, even and odd; beyond the plane they hold the fold's identity. */
#define PHASES(at, whole, even, odd)                                                      \
    {                                                                                     \
        even = COLUMNS((at) * stride, whole, l->some);                                    \
        if (stride == 2) {                                                                \
            const V low = even;                                                           \
            V high = IDENTITY;                                                            \
            if (narrow < 2) high = COLUMNS((at) * stride + 1, whole, l->more);            \
            even = PASTE(lanes_of_, SUFFIX)(low, high, 0, 2);                             \
            odd = PASTE(lanes_of_, SUFFIX)(low, high, 1, 2);                              \
        }                                                                                 \
    }
#define OUTPUT(save)                                                                                                       \
    {                                                                                                                      \
        V acc = IDENTITY;                                                                                                  \
        for (int64_t t = 0; t < taps; t++) {                                                                               \
            const int64_t by = t - pad, odd = stride == 2 ? by & 1 : 0, steps = (by - odd) / stride;                       \
            const V value = odd ? NAME(moved)(odd0, odd1, odd2, steps) : NAME(moved)(even0, even1, even2, steps);          \
            if (t) acc = OP(acc, value); else acc = value;                                                                 \
        }                                                                                                                  \
        if (DIVIDED && l->exact) acc = PASTE(quotients_, SUFFIX)(acc, l->all, l->inverse);                                 \
        else if (DIVIDED) acc /= p->counts == NULL ? (V){0} + tall : ((const V *)p->counts)[i] * tall;                     \
        char *to = dst + i * VECTOR_BYTES;                                                                                 \
        save;                                                                                                              \
        even0 = even1, odd0 = odd1;                                                                                        \
        if (ahead) even1 = even2, odd1 = odd2;                                                                             \
        i++;                                                                                                               \
    }
#define WHOLE OUTPUT(*(V *)to = acc)
#define LAST OUTPUT(if (to + VECTOR_BYTES <= end) *(V *)to = acc; else PASTE(save_some_, SUFFIX)(to, acc, p->n - i * LANES))
    if (even) {
        if (narrow) PHASES(0, 0, even1, odd1)
        else if (ahead) {
            PHASES(0, 1, even1, odd1)
            while (i < l->in - 2) { PHASES(i + 1, 1, even2, odd2) WHOLE }
            PHASES(i + 1, 0, even2, odd2)
            WHOLE
        } else {
            while (i < l->in - 1) { PHASES(i, 1, even1, odd1) WHOLE }
            PHASES(i, 0, even1, odd1)
        }
        even2 = odd2 = IDENTITY;
        LAST
        return;
    }
#define PHASES_AT(at, even, odd)                           \
    {                                                      \
        if ((at) < l->in - 1) PHASES(at, 1, even, odd)     \
        else if ((at) < l->in) PHASES(at, 0, even, odd)    \
        else even = odd = IDENTITY;                        \
    }
    if (ahead) PHASES_AT(0, even1, odd1)
    while (i < l->out) {
        if (ahead) PHASES_AT(i + 1, even2, odd2)
        else PHASES_AT(i, even1, odd1)
        LAST
    }
#undef PHASES_AT
#undef LAST
#undef WHOLE
#undef OUTPUT
#undef PHASES
#undef COLUMNS
}

HERE void NAME(all_rows)(const PlaneRows *given, char *dst, const char *end, const char *plane, int64_t nz, int64_t tall,
                         int64_t first, int64_t last, const int64_t fresh, const int64_t taps, const int64_t pad, const int stride,
                         const int even, const int narrow) {
    const PlaneRows p = *given; /* stores might change the original */
    const int64_t columns = LANES * stride, in = (p.width + columns - 1) / columns, rest = p.width - (in - 1) * columns;
    const NAME(line) l = {
        in, (p.n + LANES - 1) / LANES, PASTE(first_lanes_, SUFFIX)(rest), PASTE(first_lanes_, SUFFIX)(rest - LANES),
        (V){0} + (T)tall, (V){0} + 1 / (T)tall, DIVIDED && p.counts == NULL && EXACT_QUOTIENTS(tall),
    };
    const int64_t *window = p.windows_y + first * 4;
    for (int64_t y = first; y < last; y++, window += 4, dst += p.out_row) {
        const char *src = plane + window[0] * p.x_row, *limit = p.flat ? end : dst + p.n * (int64_t)sizeof(T);
        const int64_t ny = window[1];
        const T counted = (T)(p.counts == NULL ? tall : tall * window[2]);
#define ROW(nz, ny) NAME(row)(&p, &l, dst, limit, src, nz, ny, counted, fresh, taps, pad, stride, even, narrow)
        if (nz == 1 && ny == taps) ROW(1, taps);
        else if (nz == 1 && ny == taps - 1) ROW(1, taps - 1);
        else ROW(nz, ny);
#undef ROW
    }
}

/* Functions of their own: all in one, their values would be kept in memory. */
#define SHAPE(shape, fresh, taps, pad, stride, even, narrow)                                                             \
    static void NAME(shape)(const PlaneRows *p, char *dst, const char *end, const char *plane, int64_t nz, int64_t tall, \
                            int64_t first, int64_t last) {                                                               \
        NAME(all_rows)(p, dst, end, plane, nz, tall, first, last, fresh, taps, pad, stride, even, narrow);               \
    }
#define SHAPES(name, fresh, taps, pad, stride)        \
    SHAPE(wide_##name, fresh, taps, pad, stride, 1, 0) \
    SHAPE(narrow_##name, fresh, taps, pad, stride, 1, 1) \
    SHAPE(short_##name, fresh, taps, pad, stride, 1, 2)
SHAPES(202, 2, 2, 0, 2)
SHAPES(302, 2, 3, 0, 2)
SHAPES(312, 2, 3, 1, 2)
SHAPES(311, 1, 3, 1, 1)
SHAPE(any_1, 2, p->taps, p->pad, 1, 0, 0)
SHAPE(any_2, 2, p->taps, p->pad, 2, 0, 0)
#undef SHAPES
#undef SHAPE

#if defined(__AVX2__)
#include "pool_same.h"
#endif
/* Rows of outputs of one plane; `exact`: whether all sums are divided by a number of which quotients are exact products.
 * Vectors that reach beyond a row are overwritten by the next, before `end`. */
static PoolRows *NAME(rows)(const PlaneRows *p, int exact) {
    const int64_t columns = LANES * p->stride;
#if defined(__AVX2__)
    if (p->same && p->width > LANES && p->width <= 2 * LANES && (exact || !DIVIDED)) return NAME(same);
#endif
#define IF(t, pd, s)                                                                                    \
    if (p->taps == t && p->pad == pd && p->stride == s)                                                 \
        return p->n > LANES ? NAME(wide_##t##pd##s) : p->width > LANES ? NAME(narrow_##t##pd##s) : NAME(short_##t##pd##s)
    if ((p->width + columns - 1) / columns == (p->n + LANES - 1) / LANES) {
        IF(2, 0, 2);
        IF(3, 0, 2);
        IF(3, 1, 2);
        IF(3, 1, 1);
    }
#undef IF
    return p->stride == 1 ? NAME(any_1) : NAME(any_2);
}
#undef V
#undef LANES
#undef SOME
#undef LOAD
#undef OP
#undef IDENTITY
#undef DIVIDED
#undef NAME
