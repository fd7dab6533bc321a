/* Pooling of planes whose rows fit into a few registers, with windows of any columns.
 *
 * A row of windows is folded over its rows, in up to four vectors; then its columns are looked up there as in pool_small.h,
 * whose table this has for one row.  Rows of a gradient are weighed before.  Included by pool_small.h, after it.
 */
HERE void NAME(rows)(const PlaneLines *p, V *v, const char *src, const double *weights, int64_t ny, T tall, const V none,
                     const int kind, const int vectors) {
    for (int i = 0; i < vectors; i++) v[i] = none;
    for (int64_t y = 0; y < ny; y++, src += p->x_row) {
        const T weight = kind == LANES_GRADIENT ? (T)(weights[y] * tall) : 1;
        for (int i = 0; i < vectors; i++) {
            const int64_t left = p->width - i * LANES;
            V value = PASTE(load_some_, SUFFIX)(src + i * VECTOR_BYTES, left > LANES ? LANES : left < 0 ? 0 : left, none);
            __builtin_prefetch(src + i * VECTOR_BYTES + AHEAD);
            if (kind == LANES_GRADIENT) value *= weight;
            v[i] = y == 0 ? value : kind == LANES_MAX ? PASTE(top_, SUFFIX)(v[i], value) : PASTE(add_, SUFFIX)(v[i], value);
        }
    }
}

HERE void NAME(lines)(const PlaneLines *given, char *out, const char *end, const char *plane, T tall, int64_t first,
                      int64_t last, const int kind, const int vectors, const int64_t taps) {
    const PlaneLines copy = *given, *p = &copy; /* stores might change the original */
    const V none = (V){0} - (kind == LANES_MAX ? INFINITY : 0);
    V v[4] = {none, none, none, none};
    for (int64_t y = first; y < last; y++, out += p->out_row) {
        const int64_t *window = p->windows_y + 4 * y;
        const char *table = p->table, *limit = p->flat ? end : out + p->n * (int64_t)sizeof(T);
        const int pairs = vectors > 2 ? 2 : 1;
        if (y == first || window[0] != window[-4] || window[1] != window[-3]) {
            NAME(rows)(p, v, plane + window[0] * p->x_row, p->weights + window[0], window[1], tall, none, kind, vectors);
            if (kind == LANES_GRADIENT) for (int i = 0; i < vectors; i++) v[i] *= ((const V *)table)[i];
        }
        if (kind == LANES_GRADIENT) table += 2 * pairs * VECTOR_BYTES;
        for (int64_t i = 0; i < p->n; i += LANES) {
            const V *divisor = (const V *)table;
            if (kind == LANES_AVERAGE) table += VECTOR_BYTES;
            V acc = NAME(tap)(v, *(const P *)table, pairs);
            for (int64_t t = 1; t < taps; t++) {
                const V value = NAME(tap)(v, ((const P *)table)[t], pairs);
                acc = kind == LANES_MAX ? PASTE(top_, SUFFIX)(acc, value) : PASTE(add_, SUFFIX)(acc, value);
            }
            table += taps * VECTOR_BYTES;
            if (kind == LANES_AVERAGE) acc /= *divisor * (p->divided ? tall : tall * (T)window[2]);
            char *to = out + i * (int64_t)sizeof(T);
            if (to + VECTOR_BYTES <= limit) *(V *)to = acc;
            else PASTE(save_some_, SUFFIX)(to, acc, p->n - i < LANES ? p->n - i : LANES);
        }
    }
}

#define SHAPE(shape, kind, vectors, taps)                                                                                   \
    static void NAME(shape)(const PlaneLines *p, char *out, const char *end, const char *plane, double tall, int64_t first, \
                            int64_t last) {                                                                                 \
        NAME(lines)(p, out, end, plane, (T)tall, first, last, kind, vectors, taps);                                         \
    }
#define KIND(name, kind)                  \
    SHAPE(name##_1, kind, 1, p->taps)     \
    SHAPE(name##_1_1, kind, 1, 1)         \
    SHAPE(name##_1_2, kind, 1, 2)         \
    SHAPE(name##_2, kind, 2, p->taps)     \
    SHAPE(name##_2_2, kind, 2, 2)         \
    SHAPE(name##_4, kind, 4, p->taps)
KIND(line_max, LANES_MAX)
KIND(line_average, LANES_AVERAGE)
KIND(line_gradient, LANES_GRADIENT)
#undef KIND
#undef SHAPE

static PoolLines *NAME(lines_of)(const PlaneLines *p, int kind) {
    const int vectors = p->width <= LANES ? 1 : p->width < 2 * LANES ? 2 : 4;
#define OF(name)                                                                                              \
    (vectors == 4 ? NAME(name##_4) : vectors == 2 ? p->taps == 2 ? NAME(name##_2_2) : NAME(name##_2)          \
     : p->taps == 1 ? NAME(name##_1_1) : p->taps == 2 ? NAME(name##_1_2) : NAME(name##_1))
    return kind == LANES_MAX ? OF(line_max) : kind == LANES_AVERAGE ? OF(line_average) : OF(line_gradient);
#undef OF
}
