/* Depthwise convolution: lanes are filters, each of which reads one channel.
 *
 * A tile is up to MOST_PIXELS outputs of a row, a vector of filters at a time; all of a window's rows are read where they
 * lie, or where they were staged.  In general each multiplication reads its own pixel (folded into it) and each tap's
 * weights serve a whole tile: 9 loads for 8 multiplications.  But pixels of a user's array begin anywhere in a cache line,
 * so that every load takes two cycles: for the usual kernels each is loaded once for all outputs of a row, 30 loads for 72
 * multiplications.
 *
 * Planes (channels first) are staged and stored by transposing LANES of them at a time, LANES pixels each.
 *
 * Included by tiles.h once for each element type. */

#define MOST_PIXELS 8
#define MOST_WIDTH 5
#define UNROLLED _Pragma("GCC unroll 32")
#define INLINE static inline __attribute__((always_inline))

/* With constants for the width of the kernel and the stride (taps next to each other), each pixel is loaded once a row. */
INLINE void NAME(depthwise_tile)(
    const T *w, int64_t pitch, const T *bias, const T *const *rows, int64_t n_rows, int64_t at, int64_t kernel_x,
    int64_t tap_step, int64_t step, T *dst, int64_t dst_step, int64_t channels, const int pixels, const int width,
    const int stride) {
    for (int64_t i = 0; i < channels; i += LANES) {
        const int64_t c = i + LANES > channels ? channels - LANES : i;
        const T *weights = w + c;
        V acc[MOST_PIXELS], taps[MOST_WIDTH];
        UNROLLED for (int p = 0; p < pixels; p++) acc[p] = LOAD(bias + c);
        for (int64_t r = 0; r < n_rows; r++) {
            const T *from = rows[r] + at + c;
            if (width) {
                UNROLLED for (int kx = 0; kx < width; kx++, weights += pitch) taps[kx] = LOAD(weights);
                UNROLLED for (int j = 0; j < (pixels - 1) * stride + width; j++, from += tap_step) {
                    V x = LOAD(from);
                    HOLD(x);
                    UNROLLED for (int p = 0; p < pixels; p++)
                        if (j >= p * stride && j < p * stride + width) acc[p] += x * taps[j - p * stride];
                }
            } else {
                for (int64_t kx = 0; kx < kernel_x; kx++, from += tap_step, weights += pitch) {
                    const V tap = LOAD(weights);
                    UNROLLED for (int p = 0; p < pixels; p++) acc[p] += LOAD(from + p * step) * tap;
                }
            }
        }
        UNROLLED for (int p = 0; p < pixels; p++) STORE(dst + p * dst_step + c, acc[p]);
    }
}

INLINE void NAME(depthwise_tiles)(
    const T *w, int64_t pitch, const T *bias, const T *const *rows, int64_t n_rows, int64_t kernel_x, int64_t tap_step,
    int64_t step, T *dst, int64_t dst_step, int64_t pixels, int64_t channels, const int width, const int stride) {
    const int64_t tiles = (pixels + MOST_PIXELS - 1) / MOST_PIXELS;
    for (int64_t done = 0, i = tiles; i > 0; i--) { /* of about the same size */
        const int64_t n = (pixels - done + i - 1) / i;
#define TILE(n)                                                                                                    \
    case n:                                                                                                        \
        NAME(depthwise_tile)(w, pitch, bias, rows, n_rows, done * step, kernel_x, tap_step, step, dst + done * dst_step, \
                             dst_step, channels, n, width, stride);                                                \
        break
        switch (n) {
            TILE(1); TILE(2); TILE(3); TILE(4); TILE(5); TILE(6); TILE(7); TILE(8);
        }
#undef TILE
        done += n;
    }
}

/* `pixels` outputs of a row, `channels` (LANES or more) of each, at dst: the first one's window begins at the addresses
 * `rows`, its taps lie `tap_step` elements apart, those of the next output `step` further.  `w` is [tap][pitch]. */
static void NAME(depthwise_row)(const T *w, int64_t pitch, const T *bias, const T *const *rows, int64_t n_rows,
                                int64_t kernel_x, int64_t tap_step, int64_t step, T *dst, int64_t dst_step, int64_t pixels,
                                int64_t channels) {
#define ROW(width, stride)                                                                                         \
    NAME(depthwise_tiles)(w, pitch, bias, rows, n_rows, kernel_x, tap_step, step, dst, dst_step, pixels, channels, width, stride)
#if IS_FLOAT
    if (kernel_x == 3 && step == tap_step) ROW(3, 1);
    else if (kernel_x == 3 && step == 2 * tap_step) ROW(3, 2);
    else if (kernel_x == 5 && step == tap_step) ROW(5, 1);
    else if (kernel_x == 5 && step == 2 * tap_step) ROW(5, 2);
    else
#endif
        ROW(0, 0);
#undef ROW
}

/* One output, its taps anywhere. */
static void NAME(depthwise_pixel)(const T *w, int64_t pitch, const T *bias, const T *const *taps, int64_t n_taps, T *dst,
                                  int64_t channels) {
    int64_t i = 0;
    for (; i + 4 * LANES <= channels; i += 4 * LANES) {
        V acc[4];
        UNROLLED for (int v = 0; v < 4; v++) acc[v] = LOAD(bias + i + v * LANES);
        for (int64_t t = 0; t < n_taps; t++)
            UNROLLED for (int v = 0; v < 4; v++)
                acc[v] += LOAD(taps[t] + i + v * LANES) * LOAD(w + t * pitch + i + v * LANES);
        UNROLLED for (int v = 0; v < 4; v++) STORE(dst + i + v * LANES, acc[v]);
    }
    for (; i < channels; i += LANES) {
        const int64_t c = i + LANES > channels ? channels - LANES : i;
        V acc = LOAD(bias + c);
        for (int64_t t = 0; t < n_taps; t++) acc += LOAD(taps[t] + c) * LOAD(w + t * pitch + c);
        STORE(dst + c, acc);
    }
}

/* Lines of LANES planes become pixels: dst[i * pitch + l] = the element at lines[l] + i * step.  After every `width` of the
 * n pixels there is a gap of `gap` elements at dst.  Memory before `end` may be read beyond a line. */
static void NAME(gather_lanes)(T *dst, int64_t pitch, const char *const *lines, int64_t step, int64_t code, const char *end,
                               int64_t n, int64_t width, int64_t gap) {
    const int alike = code == NAME(code_of) && step == (int64_t)sizeof(T);
    int64_t column = 0;
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t some = n - i < LANES ? n - i : LANES;
        V v[LANES];
        UNROLLED for (int l = 0; l < LANES; l++) {
            const char *at = lines[l] + i * step;
            if (alike && (some == LANES || end - at >= VECTOR_BYTES)) {
                v[l] = LOAD(at);
            } else {
                T buffer[LANES] __attribute__((aligned(VECTOR_BYTES))) = {0};
                NAME(stage_run)(buffer, at, step, some, code);
                v[l] = LOAD(buffer);
            }
        }
        NAME(exchange)(v);
        if (some == LANES && gap == 0) {
            UNROLLED for (int l = 0; l < LANES; l++) STORE(dst + l * pitch, v[l]);
            dst += LANES * pitch;
            continue;
        }
        UNROLLED for (int l = 0; l < LANES; l++) {
            if (l == some) break;
            STORE(dst, v[l]);
            dst += pitch;
            if (++column == width) column = 0, dst += gap;
        }
    }
}

/* Pixels become lines of `count` planes: the element at lines[l] + i * step = src[i * LANES + l].  Behind the last pixel
 * there is room for LANES more. */
static void NAME(scatter_lanes)(const T *src, int64_t n, char *const *lines, int64_t count, int64_t step, int64_t code) {
    const int alike = code == NAME(code_of) && step == (int64_t)sizeof(T) && n >= LANES;
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t first = n >= LANES && n - i < LANES ? n - LANES : i, some = n - first < LANES ? n - first : LANES;
        V v[LANES];
        UNROLLED for (int l = 0; l < LANES; l++) v[l] = LOAD(src + (first + l) * LANES);
        NAME(exchange)(v);
        if (alike) {
            UNROLLED for (int l = 0; l < LANES; l++) {
                if (l == count) break;
                STORE(lines[l] + first * step, v[l]);
            }
            continue;
        }
        T buffer[LANES * LANES] __attribute__((aligned(VECTOR_BYTES)));
        UNROLLED for (int l = 0; l < LANES; l++) STORE(buffer + l * LANES, v[l]);
        for (int64_t l = 0; l < count; l++) NAME(store_run)(buffer + l * LANES, lines[l] + first * step, step, some, code);
    }
}

/* A pixel, n times. */
static inline void NAME(repeat_pixel)(T *dst, const T *pixel, int64_t pitch, int64_t n) {
    for (int64_t i = 0; i < n; i++, dst += pitch)
        for (int64_t c = 0; c < pitch; c += LANES) STORE(dst + c, LOAD(pixel + c));
}
#undef MOST_PIXELS
#undef MOST_WIDTH
#undef UNROLLED
#undef INLINE
