/* Sums of channels: few terms at a time in vectors, what these give in double.
 *
 * The limit is memory: a line of 16 elements is one load and one addition.  Planes of 7x7 are four loads each; the lanes
 * of LANES of them are added together, in three operations a plane.  Included by tiles.h for floats alone. */

enum { NAME(summed_rows) = 64, NAME(summed_pixels) = 4096 }; /* terms of one sum in T, of a lane and of LANES lanes */
typedef double NAME(totals)[8 * VECTOR_BYTES / sizeof(T)];

static inline __attribute__((always_inline)) void NAME(add_total)(double *totals, V sums) {
    T lanes[LANES];
    STORE(lanes, sums);
    for (int l = 0; l < LANES; l++) totals[l] += lanes[l];
}

/* `n` elements that follow each other, as LANES sums. */
static inline __attribute__((always_inline)) V NAME(run_sum)(const T *x, int64_t n) {
    V sums[4] = {{0}, {0}, {0}, {0}};
    for (; n >= 4 * LANES; n -= 4 * LANES, x += 4 * LANES)
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) sums[j] += LOAD(x + j * LANES);
    for (; n >= LANES; n -= LANES, x += LANES) sums[0] += LOAD(x);
    const int64_t rest = n;
    if (rest) sums[1] += LOAD_REST(x);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* out[channel] of up to LANES channels: pixels first to end, `pixels` of each image without gaps between them. */
static void NAME(sum_planes)(const T *x, int64_t image, int64_t channel, int64_t pixels, int64_t channels, int64_t first,
                             int64_t end, T *out) {
    NAME(totals) totals = {0};
    while (first < end) {
        V sums[LANES];
        int64_t left = end - first < NAME(summed_pixels) ? end - first : NAME(summed_pixels), at = first % pixels;
        const T *plane = x + first / pixels * image;
        _Pragma("GCC unroll 16") for (int c = 0; c < LANES; c++) sums[c] = (V){0};
        first += left;
        for (int64_t n; left > 0; left -= n, at = 0, plane += image) {
            n = pixels - at < left ? pixels - at : left;
            for (int64_t c = 0; c < channels; c++) sums[c] += NAME(run_sum)(plane + c * channel + at, n);
        }
        NAME(add_total)(totals, NAME(lane_sums)(sums));
    }
    for (int64_t c = 0; c < channels; c++) out[c] = (T)totals[c];
}

/* out[channel] of `vectors` vectors of channels that follow each other; rows of them `step` elements apart. */
static inline __attribute__((always_inline)) void NAME(sum_vectors)(const T *x, int64_t step, int64_t rows, T *out,
                                                                    const int vectors) {
    const int together = vectors < 8 ? 8 / vectors : 1; /* rows: an addition takes as long as several loads */
    NAME(totals) totals = {0};
    while (rows > 0) {
        int64_t left = rows < together * NAME(summed_rows) ? rows : together * NAME(summed_rows);
        V sums[8];
        _Pragma("GCC unroll 8") for (int j = 0; j < 8; j++) sums[j] = (V){0};
        rows -= left;
        for (; left >= together; left -= together, x += together * step)
            _Pragma("GCC unroll 8") for (int j = 0; j < together * vectors; j++)
                sums[j] += LOAD(x + j / vectors * step + j % vectors * LANES);
        for (; left > 0; left--, x += step)
            _Pragma("GCC unroll 8") for (int j = 0; j < vectors; j++) sums[j] += LOAD(x + j * LANES);
        _Pragma("GCC unroll 8") for (int j = 0; j < together * vectors; j++)
            NAME(add_total)(totals + j % vectors * LANES, sums[j]);
    }
    for (int64_t c = 0; c < vectors * LANES; c++) out[c] = (T)totals[c];
}

/* Fewer channels than lanes, without gaps: LANES rows of them are as many vectors. */
static void NAME(sum_narrow)(const T *x, int64_t channels, int64_t rows, T *out) {
    NAME(totals) totals = {0};
    const int64_t period = channels * LANES, n = rows * channels;
    int64_t i = 0;
    while (n - i >= period) {
        V sums[LANES];
        for (int64_t j = 0; j < channels; j++) sums[j] = LOAD(x + i + j * LANES);
        i += period;
        for (int64_t r = 1; r < NAME(summed_rows) && n - i >= period; r++, i += period)
            for (int64_t j = 0; j < channels; j++) sums[j] += LOAD(x + i + j * LANES);
        for (int64_t e = 0; e < period; e++) totals[e % channels] += sums[e / LANES][e % LANES];
    }
    for (; i < n; i++) totals[i % channels] += x[i];
    for (int64_t c = 0; c < channels; c++) out[c] = (T)totals[c];
}

/* out[channel] of channels that follow each other, in rows `step` elements apart. */
static void NAME(sum_pixels)(const T *x, int64_t step, int64_t channels, int64_t rows, T *out) {
    int64_t c = 0;
    if (channels < LANES) {
        NAME(sum_narrow)(x, channels, rows, out);
        return;
    }
    for (; channels - c >= 8 * LANES; c += 8 * LANES) NAME(sum_vectors)(x + c, step, rows, out + c, 8);
    for (; channels - c >= 4 * LANES; c += 4 * LANES) NAME(sum_vectors)(x + c, step, rows, out + c, 4);
    for (; channels - c >= LANES; c += LANES) NAME(sum_vectors)(x + c, step, rows, out + c, 1);
    if (c < channels) NAME(sum_vectors)(x + channels - LANES, step, rows, out + channels - LANES, 1); /* overlaps */
}
