/* Gradients of depthwise convolutions' inputs: each element sums the outputs whose windows hold it.
 *
 * Included by tiles.h once for each element type, behind depthwise_planes.h. */

/* A pixel: bias plus n products of pixels and weights [tap][pitch], of `channels` (LANES or more). */
INLINE void NAME(input_taps)(const T *w, int64_t pitch, const T *bias, const T *const *x, const int64_t *taps, int64_t n, T *dst,
                             int64_t channels, int64_t ahead) {
    for (int64_t i = 0; i < channels; i += LANES) {
        const int64_t c = i + LANES > channels ? channels - LANES : i;
        V acc = LOAD(bias + c);
        if (ahead) {
            __builtin_prefetch(dst + c + ahead, 1);
            if (n) __builtin_prefetch(x[0] + c + ahead / 4);
        }
        UNROLLED for (int64_t t = 0; t < n; t++) acc += LOAD(x[t] + c) * LOAD(w + taps[t] * pitch + c);
        STORE(dst + c, acc);
    }
}

static void NAME(depthwise_input_pixel)(const T *w, int64_t pitch, const T *bias, const T *const *x, const int64_t *taps,
                                        int64_t n, T *dst, int64_t channels, int64_t ahead) {
#if IS_FLOAT
#define TAPS(n) case n: NAME(input_taps)(w, pitch, bias, x, taps, n, dst, channels, ahead); break
    switch (n) {
        TAPS(1); TAPS(2); TAPS(4);
        default: NAME(input_taps)(w, pitch, bias, x, taps, n, dst, channels, ahead);
    }
#undef TAPS
#endif
}

/* n blocks of 2x2 pixels beside each other, of 3x3 weights and stride 2: each sums four pixels, the last of which is at x, the others
 * before and above it. */
static void NAME(depthwise_input_blocks)(const T *w, int64_t pitch, const T *bias, const T *x, int64_t x_row, int64_t x_col, T *dst,
                                         int64_t dst_row, int64_t dst_col, int64_t n, int64_t channels, int64_t ahead) {
#if IS_FLOAT
    for (int64_t i = 0; i < channels; i += LANES) {
        const int64_t c = i + LANES > channels ? channels - LANES : i;
        const T *from = x + c, *above = x + c - x_row;
        T *to = dst + c, *below = dst + c + dst_row;
        V taps[9], left = LOAD(from - x_col), corner = LOAD(above - x_col);
        UNROLLED for (int t = 0; t < 9; t++) taps[t] = LOAD(w + t * pitch + c);
        const V first = LOAD(bias + c);
        for (int64_t b = 0; b < n; b++) {
            if (ahead) {
                UNROLLED for (int p = 0; p < 2; p++) {
                    __builtin_prefetch(to + p * dst_col + ahead, 1);
                    __builtin_prefetch(below + p * dst_col + ahead, 1);
                }
                __builtin_prefetch(from + ahead / 2);
            }
            const V v = LOAD(from), up = LOAD(above);
            STORE(to, first + v * taps[0] + left * taps[2] + up * taps[6] + corner * taps[8]);
            STORE(to + dst_col, first + v * taps[1] + up * taps[7]);
            STORE(below, first + v * taps[3] + left * taps[5]);
            STORE(below + dst_col, first + v * taps[4]);
            left = v, corner = up;
            from += x_col, above += x_col, to += 2 * dst_col, below += 2 * dst_col;
        }
    }
#endif
}

#define MOST_KERNEL 8
#define INPUT_ROWS 16 /* of a tile: weights are shuffled for each column of vectors again */
#if IN_ROWS
/* Rows y to end of a column of vectors, from `weights` of three rows of two taps, for stride 2: row q of the n sources reaches rows
 * 2q - pad to 2q - pad + 2, the last of which waits for the next source. */
INLINE void NAME(input_pairs)(const V *weights, const T *x, int64_t x_row, int64_t n, const NAME(columns) c, V first, T *dst,
                              int64_t dst_row, int64_t y, int64_t end, int64_t pad, const int two) {
    const V fill = (V){0};
    const LANE_OF left = c.lanes[0], right = c.lanes[2];
    V waiting = first;
    for (int64_t row = y - 2 + ((y + pad) & 1); row < end; row += 2) {
        const int64_t q = (row + pad) / 2;
        V even = waiting, odd = first;
        waiting = first;
        if (q >= 0 && q < n && row + pad >= 0) {
            HALVES(x + q * x_row + c.source, two)
            const V s = SHUFFLE(a, b, left), t = SHUFFLE(a, b, right);
            even = even + s * weights[0] + t * weights[1];
            odd = odd + s * weights[2] + t * weights[3];
            waiting = waiting + s * weights[4] + t * weights[5];
        }
        if (row >= y) STORE_PART(dst + (row - y) * dst_row + c.first, c.outputs, even);
        if (row + 1 >= y && row + 1 < end) STORE_PART(dst + (row + 1 - y) * dst_row + c.first, c.outputs, odd);
    }
}

/* n rows of a column of vectors.  `taps` has for each row how many outputs' rows reach it, and of each the row of the kernel and
 * its own; `lanes` the sources and weights of each of `most` taps of a lane. */
INLINE void NAME(input_column)(const T *w, const T *x, int64_t x_row, const int64_t *taps, int64_t taps_step,
                               const NAME(columns) c, V first, T *dst, int64_t dst_row, int64_t y, int64_t n, int64_t sources,
                               int64_t pad, int64_t kernel_y, NAME(part) kernel_x, int64_t w_row, const int64_t most,
                               const int two) {
    const V fill = (V){0};
    V weights[MOST_KERNEL * MOST_KERNEL];
    for (int64_t k = 0; k < kernel_y; k++) {
        const V row = LOAD_PART(w + k * w_row, kernel_x, fill);
        UNROLLED for (int64_t u = 0; u < most; u++) weights[k * most + u] = SHUFFLE(row, fill, c.lanes[2 * u + 1]);
    }
    if (most == 2 && pad >= 0) {
        NAME(input_pairs)(weights, x, x_row, sources, c, first, dst, dst_row, y, y + n, pad, two);
        return;
    }
    taps += y * taps_step;
    for (int64_t i = 0; i < n; i++, taps += taps_step) {
        V acc = first;
        for (int64_t t = 0; t < taps[0]; t++) {
            const V *tap = weights + taps[2 * t + 1] * most;
            HALVES(x + taps[2 * t + 2] * x_row + c.source, two)
            UNROLLED for (int64_t u = 0; u < most; u++) acc += SHUFFLE(a, b, c.lanes[2 * u]) * tap[u];
        }
        STORE_PART(dst + i * dst_row + c.first, c.outputs, acc);
    }
}
#undef HALVES
#endif

/* n rows of a plane from row y on; `tables` and `pad` as the record has them, `sources` rows of x. */
static void NAME(depthwise_input_rows)(const T *w, const T *x, int64_t x_row, const int64_t *taps, int64_t taps_step,
                                       const int64_t *tables, T first, T *dst, int64_t dst_row, int64_t y, int64_t n,
                                       int64_t sources, int64_t pad, int64_t kernel_y, int64_t kernel_x, int64_t ahead) {
#if IN_ROWS
    const int64_t most = tables[2];
    for (; n > 0; n -= INPUT_ROWS, y += INPUT_ROWS, dst += INPUT_ROWS * dst_row) {
        const int64_t some = n < INPUT_ROWS ? n : INPUT_ROWS;
        for (int64_t i = 0; i < tables[0]; i++) {
            const int64_t *entry = tables + 3 + 6 * i;
            const NAME(columns) c = NAME(columns_of)(entry, (const void *)tables[1], 2 * most);
            if (ahead)
                for (int64_t j = 0; j < some; j++) {
                    __builtin_prefetch(dst + j * dst_row + c.first + ahead, 1);
                    __builtin_prefetch(x + taps[(y + j) * taps_step + 2] * x_row + c.source + ahead / 4);
                }
#define COLUMN(most, two)                                                                                             \
    NAME(input_column)(w, x, x_row, taps, taps_step, c, SPLAT(first), dst, dst_row, y, some, sources, pad, kernel_y,    \
                       NAME(part_of)(kernel_x), kernel_x, most, two)
            if (most == 2 && !entry[4]) COLUMN(2, 0);
            else if (most == 2) COLUMN(2, 1);
            else COLUMN(most, 1);
#undef COLUMN
        }
    }
#endif
}
#undef INPUT_ROWS
#undef MOST_KERNEL
