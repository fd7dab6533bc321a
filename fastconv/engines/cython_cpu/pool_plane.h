/* Small windows of planes whose columns lie next to each other, rows and columns folded in registers.
 *
 *     dst[i] = OP over t < taps, r < rows of src[at[r] / sizeof(T) + i * stride + t]      for 0 <= i < n
 *
 * and divided by `divisor` if that is not 0.  `stride` is 1 or 2, `at` in bytes.  Columns are folded over their rows first,
 * as elsewhere.  Of every second column, pairs of taps are loaded together and parted in registers.
 * Included with T, LANES, MASK (an integer as wide as T), EVENS and ODDS (constants), OP, DIVIDED (whether there is a
 * divisor), THIS (the function's name) and NARROWER (the function for fewer than LANES outputs) defined.
 */
#define OWN(x) PASTE(THIS, _##x)
typedef T OWN(vec) __attribute__((vector_size(LANES * sizeof(T)), aligned(1), may_alias));
typedef MASK OWN(mask) __attribute__((vector_size(LANES * sizeof(T))));

static inline __attribute__((always_inline)) OWN(vec) OWN(column)(const char *src, const int64_t *at, int64_t rows) {
    OWN(vec) acc = *(const OWN(vec) *)(src + at[0]);
    for (int64_t r = 1; r < rows; r++) {
        const OWN(vec) value = *(const OWN(vec) *)(src + at[r]);
        acc = OP(acc, value);
    }
    return acc;
}

static inline __attribute__((always_inline)) OWN(vec) OWN(outputs)(const char *src, const int64_t *at, int64_t rows,
                                                                   int64_t taps, const int stride) {
    OWN(vec) acc, value;
    if (stride == 1) {
        acc = OWN(column)(src, at, rows);
        for (int64_t t = 1; t < taps; t++) {
            value = OWN(column)(src + t * sizeof(T), at, rows);
            acc = OP(acc, value);
        }
        return acc;
    }
    const OWN(mask) evens = {EVENS}, odds = {ODDS};
    for (int64_t t = 0; t < taps; t += 2) {
        const int64_t from = t + 1 < taps ? t : t - 1; /* nothing behind the last tap is read */
        const OWN(vec) low = OWN(column)(src + from * sizeof(T), at, rows);
        const OWN(vec) high = OWN(column)(src + (from + LANES) * sizeof(T), at, rows);
        if (from == t) {
            value = __builtin_shuffle(low, high, evens);
            if (t) acc = OP(acc, value); else acc = value;
        }
        value = __builtin_shuffle(low, high, odds);
        acc = OP(acc, value);
    }
    return acc;
}

static inline __attribute__((always_inline)) void OWN(all)(char *dst, const char *src, const int64_t *at, int64_t rows,
                                                           int64_t taps, int64_t n, double divisor, const int stride) {
    for (int64_t i = 0;; i += LANES) {
        if (i + LANES > n) i = n - LANES; /* the last vector overlaps its neighbour */
        OWN(vec) acc = OWN(outputs)(src + i * stride * sizeof(T), at, rows, taps, stride);
        if (DIVIDED) acc /= (T)divisor;
        *(OWN(vec) *)(dst + i * sizeof(T)) = acc;
        if (i + LANES >= n) return;
    }
}

static void THIS(char *dst, const char *src, const int64_t *at, int64_t rows, int64_t taps, int64_t n, double divisor,
                 int64_t stride) {
    if (n < LANES) { NARROWER(dst, src, at, rows, taps, n, divisor, stride); return; }
#define SHAPE(rows, taps, stride) OWN(all)(dst, src, at, rows, taps, n, divisor, stride)
    if (rows == 2 && taps == 2 && stride == 2) SHAPE(2, 2, 2);
    else if (rows == 3 && taps == 3 && stride == 2) SHAPE(3, 3, 2);
    else if (rows == 3 && taps == 3) SHAPE(3, 3, 1);
    else if (stride == 2) SHAPE(rows, taps, 2);
    else SHAPE(rows, taps, 1);
#undef SHAPE
}
#undef OWN
#undef LANES
#undef EVENS
#undef ODDS
#undef THIS
#undef NARROWER
