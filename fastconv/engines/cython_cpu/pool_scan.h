/* Maxima of small windows of planes and where they are, in registers.
 *
 * A vector of outputs goes down the plane, row by row.  Of a row, its windows' columns are scanned first, then its rows:
 * a window's taps meet in C order, and rows that the next window has, too, are scanned once.  Rows beyond the plane hold
 * nothing that is greater; the place of a window's first tap inside it stands there.
 * Included with T, SUFFIX, PLACES (a vector of integers of that size) and NAME(x) defined.
 */
#define V PASTE(lanes_, SUFFIX)
#define P PASTE(marks_, SUFFIX)
#define KEEP PASTE(pick_, SUFFIX)
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
typedef struct {
    V top;
    P place;
} NAME(tops);

/* Windows of columns of one row, of which the first begins at `src`, column `left`: taps inside 0 <= column < width. */
HERE NAME(tops) NAME(row)(const PlaneScan *p, const char *src, int64_t left, const P first, const P corner, const int64_t taps,
                          const int stride, const int whole) {
    const V none = (V){0} - INFINITY;
    NAME(tops) found = {none, first};
#define AT(t) (whole ? *(const V *)(src + (t) * (int64_t)sizeof(T)) \
                     : PASTE(load_span_, SUFFIX)(src + (t) * (int64_t)sizeof(T), -left - (t), p->width - left - (t), none))
#define OF_TAP(t, value)                                               \
    {                                                               \
        const V read = value;                                       \
        if ((t) == 0) found.top = read;                             \
        else KEEP(&found.top, &found.place, read, corner + (T_PLACE)(t)); \
    }
    if (stride == 1) _Pragma("GCC unroll 3") for (int64_t t = 0; t < taps; t++) OF_TAP(t, AT(t))
    else _Pragma("GCC unroll 2") for (int64_t t = 0; t < taps; t += 2) {
        const V low = AT(t), high = AT(t + LANES);
        OF_TAP(t, PASTE(lanes_of_, SUFFIX)(low, high, 0, 2))
        if (t + 1 < taps) OF_TAP(t + 1, PASTE(lanes_of_, SUFFIX)(low, high, 1, 2))
    }
    return found;
#undef OF_TAP
#undef AT
}

/* The same of a row of the plane, if it is one. */
#define ROW(y)                                                                                                            \
    ({                                                                                                                    \
        NAME(tops) of = {(V){0} - INFINITY, first};                                                                       \
        if ((uint64_t)(y) < (uint64_t)p->height) {                                                                        \
            of = NAME(row)(p, src + (y) * p->x_row, left, first, corner, taps, stride, whole);                            \
            of.place += (T_PLACE)((y) * p->width);                                                                        \
            __builtin_prefetch(src + (y) * p->x_row + p->ahead);                                                          \
        }                                                                                                                 \
        of;                                                                                                               \
    })
#define NEXT(to, from) KEEP(&(to).top, &(to).place, (from).top, (from).place)

/* Rows of outputs of up to a vector of columns. */
HERE void NAME(strip)(const PlaneScan *p, char *out, char *idx, const char *src, int64_t base, int64_t left, int64_t n,
                      int64_t begin, int64_t end, const int64_t rows, const int64_t step, const int64_t taps, const int stride,
                      const int whole) {
    P corner, first;
    for (int i = 0; i < LANES; i++) corner[i] = left + i * stride, first[i] = corner[i] > 0 ? corner[i] : 0;
    const int shared = rows == 3 && (step == 1 || step == 2) ? 3 - step : 0;
    int64_t y = begin * step - p->pad_y;
    NAME(tops) before = {(V){0}, first}, last = before;
    if (shared) last = ROW(y);
    if (shared == 2) before = last, last = ROW(y + 1);
    for (int64_t i = begin; i < end; i++, y += step, out += p->out_row, idx += p->idx_row) {
        NAME(tops) found;
        if (shared == 2) {
            found = before, before = last;
            NEXT(found, last);
            last = ROW(y + 2);
            NEXT(found, last);
        } else if (shared) {
            found = last, before = ROW(y + 1);
            last = ROW(y + 2);
            NEXT(found, before);
            NEXT(found, last);
        } else {
            found = ROW(y);
            for (int64_t r = 1; r < rows; r++) {
                before = ROW(y + r);
                NEXT(found, before);
            }
        }
        if (n >= LANES) {
            *(V *)out = found.top;
            save_positions(idx, &found.place, sizeof(T), base);
        } else {
            PASTE(save_some_, SUFFIX)(out, found.top, n);
            save_some_positions(idx, &found.place, sizeof(T), base, n);
        }
    }
}
#undef NEXT
#undef ROW

HERE void NAME(strips)(const PlaneScan *given, char *out, char *idx, const char *plane, int64_t base, int64_t begin,
                       int64_t end, const int64_t rows, const int64_t step, const int64_t taps, const int stride) {
    const PlaneScan copy = *given, *p = &copy; /* stores might change the original */
    const int64_t reach = (LANES - 1) * stride + (stride == 2 ? (taps + 1) / 2 * 2 : taps);
    for (int64_t x = 0; x < p->n; x += LANES, out += VECTOR_BYTES, idx += 8 * LANES) {
        const int64_t left = x * stride - p->pad_x;
        const char *src = plane + left * (int64_t)sizeof(T);
#define STRIP(whole) NAME(strip)(p, out, idx, src, base, left, p->n - x, begin, end, rows, step, taps, stride, whole)
        if (left >= 0 && left + reach <= p->width) STRIP(1);
        else STRIP(0);
#undef STRIP
    }
}

#define SHAPE(shape, rows, step, taps, stride)                                                                              \
    static void NAME(shape)(const PlaneScan *p, char *out, char *idx, const char *plane, int64_t base, int64_t begin,       \
                            int64_t end) {                                                                                  \
        NAME(strips)(p, out, idx, plane, base, begin, end, rows, step, taps, stride);                                       \
    }
SHAPE(of_22, 2, 2, 2, 2)
SHAPE(of_32, 3, 2, 3, 2)
SHAPE(of_31, 3, 1, 3, 1)
SHAPE(any_1, p->rows, p->stride_y, p->taps, 1)
SHAPE(any_2, p->rows, p->stride_y, p->taps, 2)
#undef SHAPE

/* By the windows' size and steps. */
static PoolScan *NAME(of)(const PlaneScan *p) {
    if (p->rows == p->taps && p->stride_y == p->stride_x) {
        if (p->rows == 2 && p->stride_x == 2) return NAME(of_22);
        if (p->rows == 3) return p->stride_x == 1 ? NAME(of_31) : NAME(of_32);
    }
    return p->stride_x == 1 ? NAME(any_1) : NAME(any_2);
}
#undef V
#undef P
#undef KEEP
#undef LANES
#undef T
#undef T_PLACE
#undef SUFFIX
#undef NAME
