/* Small windows of pixels with many channels, folded in registers: some vectors of channels go along the row.
 *
 *     dst[x][c] = OP over columns t < taps of OP over rows r < ny of src[r][first + t][c]   with first, taps of x's window
 *
 * Columns are folded over their rows first, as elsewhere; those that the next window has, too, stay in registers.  A pixel
 * has a vector of channels at least; its last one overlaps the one before.  Rows that the next outputs read are called for.
 * Included with T, SUFFIX, OP (of two vectors), IDENTITY (a vector), DIVIDED (whether averages are made) and NAME(x) defined.
 */
#define V PASTE(lanes_, SUFFIX)
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define EACH _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++)

HERE void NAME(column)(const PixelRows *p, V *acc, const char *src, const int64_t ny, const int vectors) {
    for (int64_t y = 0; y < p->stride_y; y++)
        EACH __builtin_prefetch(src + p->fetch + y * p->x_row + v * VECTOR_BYTES, 0, 2);
    EACH acc[v] = *(const V *)(src + v * VECTOR_BYTES);
    for (int64_t y = 1; y < ny; y++)
        EACH {
            const V value = *(const V *)(src + y * p->x_row + v * VECTOR_BYTES);
            acc[v] = OP(acc[v], value);
        }
}

HERE void NAME(put)(char *to, const V *acc, T divisor, int64_t stream, const int vectors) {
    EACH {
        const V value = DIVIDED ? PASTE(lanes_over_, SUFFIX)(acc[v], divisor) : acc[v];
#ifdef STREAM
        if (stream) {
            STREAM(to + v * VECTOR_BYTES, value);
            continue;
        }
#endif
        ((V *)to)[v] = value;
    }
}

/* Outputs from x on whose windows are whole and follow each other: how many are made. */
HERE int64_t NAME(whole)(const PixelRows *p, char *dst, const char *src, const int64_t ny, T divisor, const int64_t taps,
                         const int64_t stride, const int64_t n, const int vectors) {
    const int64_t shared = taps > stride ? taps - stride : 0; /* columns of two windows */
    V first[4], second[4], third[4], acc[4];
    if (shared > 0) NAME(column)(p, first, src, ny, vectors);
    if (shared > 1) NAME(column)(p, second, src + p->x_col, ny, vectors);
    for (int64_t x = 0; x < n; x++, src += stride * p->x_col, dst += p->x_col) {
        if (shared < 1) NAME(column)(p, first, src, ny, vectors);
        if (shared < 2) NAME(column)(p, second, src + p->x_col, ny, vectors);
        EACH acc[v] = OP(first[v], second[v]);
        if (taps > 2) {
            NAME(column)(p, third, src + 2 * p->x_col, ny, vectors);
            EACH acc[v] = OP(acc[v], third[v]);
            EACH first[v] = shared > 1 ? second[v] : third[v];
            if (shared > 1) EACH second[v] = third[v];
        }
        NAME(put)(dst, acc, divisor, p->stream, vectors);
    }
    return n;
}

/* Vectors of channels from `src` on, of all outputs of a row. */
HERE void NAME(channels)(const PixelRows *p, char *dst, const char *src, const int64_t ny, int64_t counted, const int64_t taps,
                         const int64_t stride, const int vectors) {
    const int64_t *window = p->windows_x;
    V acc[4], next[4];
    for (int64_t x = 0; x < p->n; x++, window += 4, dst += p->x_col) {
        const T divisor = (T)(p->divisor > 0 ? p->divisor : counted * window[2]);
        const char *from = src + window[0] * p->x_col;
        if (stride && x == p->whole) {
            x += NAME(whole)(p, dst, from, ny, divisor, taps, stride, p->n_whole, vectors) - 1;
            window += 4 * (p->n_whole - 1), dst += (p->n_whole - 1) * p->x_col;
            continue;
        }
        EACH acc[v] = IDENTITY;
        for (int64_t t = 0; t < window[1]; t++, from += p->x_col) {
            NAME(column)(p, next, from, ny, vectors);
            if (t == 0) EACH acc[v] = next[v];
            else EACH acc[v] = OP(acc[v], next[v]);
        }
        NAME(put)(dst, acc, divisor, p->stream, vectors);
    }
}

HERE void NAME(row)(const PixelRows *p, char *dst, const char *src, const int64_t ny, int64_t counted, const int64_t taps,
                    const int64_t stride) {
    int64_t c = 0;
    for (; c + 4 * LANES <= p->lanes; c += 4 * LANES)
        NAME(channels)(p, dst + c * sizeof(T), src + c * sizeof(T), ny, counted, taps, stride, 4);
    for (; c < p->lanes; c += LANES) {
        if (c + LANES > p->lanes) c = p->lanes - LANES;
        NAME(channels)(p, dst + c * sizeof(T), src + c * sizeof(T), ny, counted, taps, stride, 1);
    }
}

/* Functions of their own, so that values are kept in registers. */
#define SHAPE(shape, taps, stride)                                                                                \
    static void NAME(shape)(const PixelRows *p, char *dst, const char *src, int64_t ny, int64_t counted) {        \
        if (stride && ny == taps) NAME(row)(p, dst, src, taps, counted, taps, stride);                            \
        else NAME(row)(p, dst, src, ny, counted, taps, stride);                                                   \
    }
SHAPE(22, 2, 2)
SHAPE(32, 3, 2)
SHAPE(31, 3, 1)
SHAPE(any, 1, 0)
#undef SHAPE

static PoolPixels *NAME(of)(const PixelRows *p) {
    if (p->taps == 2 && p->stride == 2) return NAME(22);
    if (p->taps == 3 && p->stride <= 2) return p->stride == 2 ? NAME(32) : NAME(31);
    return NAME(any);
}
#undef EACH
#undef V
#undef LANES
#undef OP
#undef IDENTITY
#undef DIVIDED
#undef NAME
