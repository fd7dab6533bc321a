/* Gradients of depthwise convolutions' kernels: lanes are filters, or pixels of a row of a plane.
 *
 * Included by tiles.h once for each element type, behind depthwise.h. */

#define MOST_TAPS 5
#if defined(__AVX512F__) /* 9 of 32 registers accumulate, 16 hold the gradient */
#define GRADIENT_ROWS 4
#else
#define GRADIENT_ROWS 1
#endif

/* Gradients of weights: sums[k * pitch] += the sum over n pixels of `grad` times the pixel that tap k reads. */
INLINE void NAME(gradient_taps)(T *sums, int64_t pitch, const T *x, int64_t tap_step, int64_t step, const T *grad,
                                int64_t grad_step, int64_t n, const int taps) {
    V acc[MOST_TAPS], more[MOST_TAPS];
    UNROLLED for (int k = 0; k < taps; k++) acc[k] = more[k] = (V){0};
    int64_t i = 0;
    for (; i + 2 <= n; i += 2, x += 2 * step, grad += 2 * grad_step) {
        const V a = LOAD(grad), b = LOAD(grad + grad_step);
        UNROLLED for (int k = 0; k < taps; k++) {
            acc[k] += LOAD(x + k * tap_step) * a;
            more[k] += LOAD(x + step + k * tap_step) * b;
        }
    }
    if (i < n) {
        const V a = LOAD(grad);
        UNROLLED for (int k = 0; k < taps; k++) acc[k] += LOAD(x + k * tap_step) * a;
    }
    UNROLLED for (int k = 0; k < taps; k++) STORE(sums + k * pitch, LOAD(sums + k * pitch) + (acc[k] + more[k]));
}

static void NAME(depthwise_gradient_row)(T *sums, int64_t pitch, const T *x, int64_t tap_step, int64_t step, int64_t taps,
                                         const T *grad, int64_t grad_step, int64_t n) {
    for (int64_t c = 0; c < pitch; c += LANES)
        for (int64_t k = 0; k < taps; k += MOST_TAPS) {
#define TAPS(m) \
    case m: NAME(gradient_taps)(sums + k * pitch + c, pitch, x + k * tap_step + c, tap_step, step, grad + c, grad_step, n, m); break
            switch (taps - k < MOST_TAPS ? taps - k : MOST_TAPS) {
                TAPS(1); TAPS(2); TAPS(3); TAPS(4); TAPS(5);
            }
#undef TAPS
        }
}

/* Gradients of 3x3 weights, [tap][pitch], the sums of a block of outputs: each pixel, and each element of the gradient, is
 * loaded once.  `x` as that of `depthwise_block`.  What is left of the channels is a vector that begins earlier; its sums have
 * a place of their own. */
INLINE void NAME(gradient_block)(T *sums, int64_t pitch, const T *const *x, const int64_t col, const T *grad, int64_t grad_row,
                                 int64_t grad_col, int64_t channels, const int height, const int pixels, const int stride,
                                 const int ahead) {
    const int across = (pixels - 1) * stride + 3;
    for (int64_t i = 0; i < channels; i += LANES) {
        const int64_t c = i + LANES > channels ? channels - LANES : i;
        V acc[9], g[GRADIENT_ROWS][BLOCK_PIXELS];
        if (ahead) {
            CALL(x, 3 - stride, (height - 1) * stride + 3, pixels * stride, across)
            UNROLLED for (int r = 0; r < height; r++)
                UNROLLED for (int p = 0; p < pixels; p++) __builtin_prefetch(grad + r * grad_row + (p + pixels) * grad_col + c);
        }
        UNROLLED for (int t = 0; t < 9; t++) acc[t] = LOAD(sums + t * pitch + i);
        UNROLLED for (int r = 0; r < height; r++)
            UNROLLED for (int p = 0; p < pixels; p++) g[r][p] = LOAD(grad + r * grad_row + p * grad_col + c);
        UNROLLED for (int j = 0; j < (height - 1) * stride + 3; j++) {
            UNROLLED for (int k = 0; k < across; k++) {
                V v = LOAD((col ? x[j] + k * col : x[j * across + k]) + c);
                HOLD(v);
                UNROLLED for (int r = 0; r < height; r++)
                    UNROLLED for (int p = 0; p < pixels; p++)
                        if (j >= r * stride && j < r * stride + 3 && k >= p * stride && k < p * stride + 3)
                            acc[(j - r * stride) * 3 + k - p * stride] += v * g[r][p];
            }
        }
        UNROLLED for (int t = 0; t < 9; t++) STORE(sums + t * pitch + i, acc[t]);
    }
}

/* Up to GRADIENT_ROWS x BLOCK_PIXELS outputs, `stride` 1 or 2 both ways; those that are fewer have a table of their pixels. */
static void NAME(depthwise_gradients)(T *sums, int64_t pitch, const T *const *x, int64_t col, int64_t stride, const T *grad,
                                      int64_t grad_row, int64_t grad_col, int64_t height, int64_t pixels, int64_t channels,
                                      int64_t ahead) {
#if IS_FLOAT
#define BLOCK(h, n, s)                                                                                \
    case ((s) * 8 + (h)) * 8 + (n):                                                                    \
        NAME(gradient_block)(sums, pitch, x, 0, grad, grad_row, grad_col, channels, h, n, s, 0);       \
        break;
#define BLOCKS(h, s) BLOCK(h, 1, s) BLOCK(h, 2, s) BLOCK(h, 3, s) BLOCK(h, 4, s)
#define WHOLE(s, ahead) \
    NAME(gradient_block)(sums, pitch, x, col, grad, grad_row, grad_col, channels, GRADIENT_ROWS, BLOCK_PIXELS, s, ahead)
    if (col && stride == 2) WHOLE(2, 0);
    else if (col && ahead) WHOLE(1, 1);
    else if (col) WHOLE(1, 0);
    else
        switch ((stride * 8 + height) * 8 + pixels) {
            BLOCKS(1, 1) BLOCKS(1, 2)
#if GRADIENT_ROWS > 1
            BLOCKS(2, 1) BLOCKS(2, 2) BLOCKS(3, 1) BLOCKS(3, 2) BLOCKS(4, 1) BLOCKS(4, 2)
#endif
        }
#undef WHOLE
#undef BLOCKS
#undef BLOCK
#endif
}
#undef CALL
#undef MOST_TAPS
