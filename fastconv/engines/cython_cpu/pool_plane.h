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
/* A vector of columns, folded over ny rows of each of nz planes; `left` of them are inside. */
HERE V NAME(column)(const PlaneRows *p, const char *src, const int64_t nz, const int64_t ny, int64_t left) {
    V acc = IDENTITY, value;
    if (left <= 0) return acc;
    for (int64_t y = 0; y < ny; y++) __builtin_prefetch(src + y * p->row_step + AHEAD);
    for (int64_t z = 0; z < nz; z++, src += p->z_step) {
        if (z == 0) acc = PASTE(load_part_, SUFFIX)(src, left, IDENTITY);
        for (int64_t y = z == 0; y < ny; y++) {
            value = PASTE(load_part_, SUFFIX)(src + y * p->row_step, left, IDENTITY);
            acc = OP(acc, value);
        }
    }
    return acc;
}

/* Vectors of columns from `from` on by stride phase, even and odd. */
HERE void NAME(phases)(const PlaneRows *p, const char *src, int64_t nz, int64_t ny, int64_t from, const int whole,
                       const int stride, V *even, V *odd) {
    src += from * (int64_t)sizeof(T);
    *even = NAME(column)(p, src, nz, ny, whole ? LANES : p->width - from);
    if (stride == 1) return;
    const V low = *even, high = NAME(column)(p, src + VECTOR_BYTES, nz, ny, whole ? LANES : p->width - from - LANES);
    *even = PASTE(lanes_of_, SUFFIX)(low, high, 0, 2);
    *odd = PASTE(lanes_of_, SUFFIX)(low, high, 1, 2);
}

/* Lanes that are `by` further, of three vectors that follow each other. */
HERE V NAME(moved)(V before, V here, V after, int64_t by) {
    if (by == 0) return here;
    return by < 0 ? PASTE(lanes_of_, SUFFIX)(before, here, LANES + by, 1) : PASTE(lanes_of_, SUFFIX)(here, after, by, 1);
}

HERE void NAME(row)(const PlaneRows *p, char *dst, const char *end, const char *src, const int64_t nz, const int64_t ny,
                    T tall, const int64_t taps, const int64_t pad, const int stride, const int narrow) {
    const int64_t ahead = taps - pad > stride ? LANES : 0;
    V even0 = IDENTITY, odd0 = even0, even1 = even0, odd1 = even0, even2 = even0, odd2 = even0; /* before, here, after */
    if (ahead) NAME(phases)(p, src, nz, ny, 0, 0, stride, &even1, &odd1);
    int64_t i = 0;
#define STEP(whole)                                                                                                        \
    {                                                                                                                      \
        if (ahead) NAME(phases)(p, src, nz, ny, (i + ahead) * stride, whole, stride, &even2, &odd2);                       \
        else NAME(phases)(p, src, nz, ny, i * stride, whole, stride, &even1, &odd1);                                       \
        V acc = IDENTITY;                                                                                                  \
        for (int64_t t = 0; t < taps; t++) {                                                                               \
            const int64_t by = t - pad, odd = stride == 2 ? by & 1 : 0, steps = (by - odd) / stride;                       \
            const V value = odd ? NAME(moved)(odd0, odd1, odd2, steps) : NAME(moved)(even0, even1, even2, steps);          \
            if (t) acc = OP(acc, value); else acc = value;                                                                 \
        }                                                                                                                  \
        if (DIVIDED) acc /= p->counts == NULL ? (V){0} + tall : ((const V *)p->counts)[i / LANES] * tall;                  \
        char *to = dst + i * (int64_t)sizeof(T);                                                                           \
        if (to + VECTOR_BYTES <= end) *(V *)to = acc;                                                                      \
        else PASTE(save_some_, SUFFIX)(to, acc, p->n - i);                                                                 \
        even0 = even1, odd0 = odd1;                                                                                        \
        if (ahead) even1 = even2, odd1 = odd2;                                                                             \
    }
    if (narrow) { STEP(0) return; }
    for (; (i + LANES + ahead) * stride <= p->width; i += LANES) STEP(1)
    for (; i < p->n; i += LANES) STEP(0)
#undef STEP
}

HERE void NAME(all_rows)(const PlaneRows *given, char *dst, const char *end, const char *plane, int64_t nz, int64_t tall,
                      int64_t first, int64_t last, const int64_t taps, const int64_t pad, const int stride, const int narrow) {
    const PlaneRows p = *given; /* stores might change the original */
    const int64_t *window = p.windows_y + first * 4;
    for (int64_t y = first; y < last; y++, window += 4, dst += p.out_row) {
        const char *src = plane + window[0] * p.x_row, *limit = p.flat ? end : dst + p.n * (int64_t)sizeof(T);
        const int64_t ny = window[1];
        const T counted = (T)(p.counts == NULL ? tall : tall * window[2]);
        if (nz == 1 && ny == taps) NAME(row)(&p, dst, limit, src, 1, taps, counted, taps, pad, stride, narrow);
        else NAME(row)(&p, dst, limit, src, nz, ny, counted, taps, pad, stride, narrow);
    }
}

/* Functions of their own: all in one, their values would be kept in memory. */
#define SHAPE(shape, taps, pad, stride, narrow)                                                                          \
    static void NAME(shape)(const PlaneRows *p, char *dst, const char *end, const char *plane, int64_t nz, int64_t tall, \
                            int64_t first, int64_t last) {                                                               \
        NAME(all_rows)(p, dst, end, plane, nz, tall, first, last, taps, pad, stride, narrow);                               \
    }
SHAPE(wide_202, 2, 0, 2, 0)
SHAPE(wide_302, 3, 0, 2, 0)
SHAPE(wide_312, 3, 1, 2, 0)
SHAPE(wide_311, 3, 1, 1, 0)
SHAPE(narrow_202, 2, 0, 2, 1)
SHAPE(narrow_302, 3, 0, 2, 1)
SHAPE(narrow_312, 3, 1, 2, 1)
SHAPE(narrow_311, 3, 1, 1, 1)
SHAPE(any_1, p->taps, p->pad, 1, 0)
SHAPE(any_2, p->taps, p->pad, 2, 0)
#undef SHAPE

/* Rows of outputs of one plane.  Vectors that reach beyond a row are overwritten by the next, before `end`. */
static PoolRows *NAME(rows)(const PlaneRows *p) {
    const int narrow = p->width <= LANES * p->stride && p->n <= LANES;
#define IF(t, pd, s) if (p->taps == t && p->pad == pd && p->stride == s) return narrow ? NAME(narrow_##t##pd##s) : NAME(wide_##t##pd##s)
    IF(2, 0, 2);
    IF(3, 0, 2);
    IF(3, 1, 2);
    IF(3, 1, 1);
#undef IF
    return p->stride == 1 ? NAME(any_1) : NAME(any_2);
}
#undef V
#undef LANES
#undef OP
#undef IDENTITY
#undef DIVIDED
#undef NAME
