/* Winograd's minimal filtering along one axis: m outputs of 3 taps from m + 2 products; `winograd.h` has it along two.
 *
 * Lanes are channels, then filters.  Included by tiles.h for floating-point T. */

#define POINTS 6 /* at most */
#define WIDTH (GEMM_COLS * LANES)
#define EACH(i, n) _Pragma("GCC unroll 6") for (int i = 0; i < (n); i++)
#define INLINED static inline __attribute__((always_inline))

INLINED void NAME(line_points_of)(const T *from, int64_t next, T *to, int64_t step, int64_t channels, const int m) {
    for (int64_t c = 0; c < channels; c += LANES) {
        V d[POINTS];
        EACH(i, m + 2) d[i] = LOAD(from + i * next + c);
        NAME(line_at_points)(d, m);
        EACH(i, m + 2) STORE(to + i * step + c, d[i]);
    }
}

/* A line of m + 2 pixels, `next` elements apart, at the points, `step` elements apart. */
static void NAME(line_points)(const T *from, int64_t next, T *to, int64_t step, int64_t channels, int64_t m) {
    if (m == 2) NAME(line_points_of)(from, next, to, step, channels, 2);
    else NAME(line_points_of)(from, next, to, step, channels, 4);
}

INLINED int NAME(line_point_sums_of)(const T *from, int64_t step, const T *bias, char *to, int64_t next, const int stream,
                                     const struct finish *finish, const int m) {
    V lost = {0};
    for (int64_t f = 0; f < WIDTH; f += LANES) {
        V d[POINTS];
        EACH(i, m + 2) d[i] = LOAD(from + i * step + f);
        NAME(line_of_sums)(d, m);
        const V start = LOAD(bias + f);
        EACH(i, m) {
            lost += d[i] * 0; /* NaN of what is not finite */
            d[i] += start;
        }
        RECTIFY(finish, EACH(i, m), d[i])
        EACH(i, m) {
            NAME(lone) *at = (NAME(lone) *)(to + i * next) + f;
#ifdef STREAM
            if (stream) STREAM(at, d[i]);
            else
#endif
                STORE(at, d[i]);
        }
    }
    int any = 0;
    for (int l = 0; l < LANES; l++) any |= lost[l] != 0;
    return any;
}

/* The sums of m outputs, pixels of WIDTH filters `next` bytes apart, from the products at all points; `stream`: whole cache
 * lines, past the caches.  `finish` is applied.  Whether one of them is not finite. */
static int NAME(line_point_sums)(const T *from, int64_t step, const T *bias, char *to, int64_t next, int64_t stream,
                                 const struct finish *finish, int64_t m) {
    if (stream && ((uintptr_t)to | next) % 64 == 0)
        return m == 2 ? NAME(line_point_sums_of)(from, step, bias, to, next, 1, finish, 2)
                      : NAME(line_point_sums_of)(from, step, bias, to, next, 1, finish, 4);
    return m == 2 ? NAME(line_point_sums_of)(from, step, bias, to, next, 0, finish, 2)
                  : NAME(line_point_sums_of)(from, step, bias, to, next, 0, finish, 4);
}

/* The same directly, as the formula has it: `taps` weights, [tap][channel][filter]. */
static void NAME(line_window_sums)(const T *from, int64_t next, const T *weights, int64_t step, int64_t taps, int64_t channels,
                                   const T *bias, char *to, int64_t to_next, int64_t m) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t f = 0; f < WIDTH; f += LANES) {
            V sum = LOAD(bias + f);
            for (int64_t k = 0; k < taps; k++)
                for (int64_t c = 0; c < channels; c++)
                    sum += LOAD(weights + k * step + c * WIDTH + f) * from[(i + k) * next + c];
            STORE((NAME(lone) *)(to + i * to_next) + f, sum);
        }
}

/* Weights of LANES channels and WIDTH filters, [channel][tap][filter]: a piece of up to three taps at the points, `step`
 * elements apart. */
static void NAME(line_piece_points)(const T *from, int64_t taps, int64_t first, T *to, int64_t step, int64_t m) {
    for (int64_t at = 0; at < LANES * WIDTH; at += LANES) {
        const T *weights = from + (at / WIDTH * taps + first) * WIDTH + at % WIDTH;
        V g[POINTS];
        EACH(i, 3) g[i] = i < 2 || first + 3 == taps ? LOAD(weights + i * WIDTH) : (V){0};
        if (m == 2) NAME(weights_at_points)(g, 2);
        else NAME(weights_at_points)(g, 4);
        EACH(i, POINTS) {
            if (i < m + 2) STORE(to + i * step + at, g[i]);
        }
    }
}
#undef POINTS
#undef WIDTH
#undef EACH
#undef INLINED
