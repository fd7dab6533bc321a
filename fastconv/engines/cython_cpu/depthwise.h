/* Depthwise convolution: lanes are filters, each of which reads one channel.
 *
 * A tile is up to MOST_PIXELS outputs of a row, a vector of filters at a time; all of a window's rows are read where they
 * lie, or where they were staged.  In general each multiplication reads its own pixel (folded into it) and each tap's
 * weights serve a whole tile: 9 loads for 8 multiplications.  But pixels of a user's array begin anywhere in a cache line,
 * so that every load takes two cycles: for the usual kernels each is loaded once for all outputs of a row (30 loads for 72
 * multiplications), or of a block of 4x4.
 *
 * Planes (channels first) are staged and stored by transposing LANES of them at a time, LANES pixels each.
 *
 * Included by tiles.h once for each element type. */

#define MOST_PIXELS 8
#define MOST_WIDTH 5
#define BLOCK_PIXELS 4
#if defined(__AVX512F__) /* 16 of 32 registers accumulate, 9 hold weights */
#define BLOCK_ROWS 4
#else
#define BLOCK_ROWS 2
#endif
#define UNROLLED _Pragma("GCC unroll 32")
#define INLINE static inline __attribute__((always_inline))

#if ELEMENT_BYTES == 4
typedef int32_t NAME(order) __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int64_t NAME(order) __attribute__((vector_size(VECTOR_BYTES)));
#endif

/* With constants for the width of the kernel and the stride (taps next to each other), each pixel is loaded once a row. */
INLINE void NAME(depthwise_tile)(
    const T *w, int64_t pitch, const T *bias, const T *const *rows, int64_t n_rows, int64_t at, int64_t kernel_x,
    int64_t tap_step, int64_t step, T *dst, int64_t dst_step, int64_t channels, const struct finish *finish,
    const int pixels, const int width, const int stride) {
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
        RECTIFY(finish, UNROLLED for (int p = 0; p < pixels; p++), acc[p])
        UNROLLED for (int p = 0; p < pixels; p++) STORE(dst + p * dst_step + c, acc[p]);
    }
}

INLINE void NAME(depthwise_tiles)(
    const T *w, int64_t pitch, const T *bias, const T *const *rows, int64_t n_rows, int64_t at, int64_t kernel_x, int64_t tap_step,
    int64_t step, T *dst, int64_t dst_step, int64_t pixels, int64_t channels, const struct finish *finish, const int width,
    const int stride) {
    const int64_t tiles = (pixels + MOST_PIXELS - 1) / MOST_PIXELS;
    for (int64_t done = 0, i = tiles; i > 0; i--) { /* of about the same size */
        const int64_t n = (pixels - done + i - 1) / i;
#define TILE(n)                                                                                                    \
    case n:                                                                                                        \
        NAME(depthwise_tile)(w, pitch, bias, rows, n_rows, at + done * step, kernel_x, tap_step, step,             \
                             dst + done * dst_step, dst_step, channels, finish, n, width, stride);                 \
        break
        switch (n) {
            TILE(1); TILE(2); TILE(3); TILE(4); TILE(5); TILE(6); TILE(7); TILE(8);
        }
#undef TILE
        done += n;
    }
}

/* `pixels` outputs of a row, `channels` (LANES or more) of each, at dst: the first one's window begins `at` in the `rows`, its taps lie `tap_step` elements apart, those of the next output `step` further.  `w` is [tap][pitch]. */
static void NAME(depthwise_row)(const T *w, int64_t pitch, const T *bias, const T *const *rows, int64_t n_rows, int64_t at,
                                int64_t kernel_x, int64_t tap_step, int64_t step, T *dst, int64_t dst_step, int64_t pixels,
                                int64_t channels, const struct finish *finish) {
#define ROW(width, stride)                                                                                      \
    NAME(depthwise_tiles)(w, pitch, bias, rows, n_rows, at, kernel_x, tap_step, step, dst, dst_step, pixels, channels,        \
                          finish, width, stride)
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

/* Pixels of the block behind this one, but those of its first rows, which the rows of blocks above have read. */
#define CALL(x, first, rows, pixels, across)                                              \
    UNROLLED for (int j = first; j < rows; j++)                                           \
        UNROLLED for (int k = 0; k < pixels; k++) __builtin_prefetch(x[j] + (k + across) * col + c);

/* A block of outputs of 3x3: each pixel is loaded once for all of them, 36 loads for 144 multiplications.  `x` has where each
 * row of its pixels begins, `col` elements apart, or (col == 0) where each pixel lies.  Of `together` channels of a group each
 * takes its turn: the vector that is loaded has it in all lanes of its group. */
INLINE void NAME(depthwise_block)(const T *w, int64_t pitch, const T *bias, const T *const *x, const int64_t col, T *dst,
                                  int64_t dst_row, int64_t dst_col, int64_t channels, const struct finish *finish,
                                  const int height, const int pixels, const int stride, const int ahead, const int64_t together) {
    const int across = (pixels - 1) * stride + 3;
    for (int64_t i = 0; i < channels; i += LANES) {
        const int64_t c = i + LANES > channels ? channels - LANES : i;
        V acc[BLOCK_ROWS][BLOCK_PIXELS], taps[9];
        NAME(order) order;
        UNROLLED for (int l = 0; l < LANES; l++) order[l] = l & -together;
        if (ahead) {
            CALL(x, 3 - stride, (height - 1) * stride + 3, pixels * stride, across)
            UNROLLED for (int r = 0; r < height; r++)
                UNROLLED for (int p = 0; p < pixels; p++) __builtin_prefetch(dst + r * dst_row + (p + pixels) * dst_col + c, 1);
        }
        UNROLLED for (int r = 0; r < height; r++)
            UNROLLED for (int p = 0; p < pixels; p++) acc[r][p] = LOAD(bias + c);
        for (int64_t turn = 0; turn < together; turn++, order += 1) {
            UNROLLED for (int t = 0; t < 9; t++) taps[t] = LOAD(w + (turn * 9 + t) * pitch + c);
            UNROLLED for (int j = 0; j < (height - 1) * stride + 3; j++) {
                UNROLLED for (int k = 0; k < across; k++) {
                    V v = LOAD((col ? x[j] + k * col : x[j * across + k]) + c);
                    HOLD(v);
                    if (together > 1) v = __builtin_shuffle(v, order);
                    UNROLLED for (int r = 0; r < height; r++)
                        UNROLLED for (int p = 0; p < pixels; p++)
                            if (j >= r * stride && j < r * stride + 3 && k >= p * stride && k < p * stride + 3)
                                acc[r][p] += v * taps[(j - r * stride) * 3 + k - p * stride];
                }
            }
        }
        RECTIFY(finish, UNROLLED for (int r = 0; r < height; r++) UNROLLED for (int p = 0; p < pixels; p++), acc[r][p])
        UNROLLED for (int r = 0; r < height; r++)
            UNROLLED for (int p = 0; p < pixels; p++) STORE(dst + r * dst_row + p * dst_col + c, acc[r][p]);
    }
}

/* Up to BLOCK_ROWS x BLOCK_PIXELS outputs, `stride` 1 or 2 both ways; those that are fewer have a table of their pixels. */
static void NAME(depthwise_outputs)(const T *w, int64_t pitch, const T *bias, const T *const *x, int64_t col, int64_t stride,
                                    T *dst, int64_t dst_row, int64_t dst_col, int64_t height, int64_t pixels,
                                    int64_t channels, int64_t ahead, const struct finish *finish, int64_t together) {
#if IS_FLOAT
#define BLOCK(h, n, s)                                                                                        \
    case ((s) * 8 + (h)) * 8 + (n):                                                                           \
        NAME(depthwise_block)(w, pitch, bias, x, 0, dst, dst_row, dst_col, channels, finish, h, n, s, 0, TOGETHER); \
        break;
#define BLOCKS(h, s) BLOCK(h, 1, s) BLOCK(h, 2, s) BLOCK(h, 3, s) BLOCK(h, 4, s)
#if BLOCK_ROWS > 2
#define EACH_BLOCK                                                                                            \
    switch ((stride * 8 + height) * 8 + pixels) {                                                             \
        BLOCKS(1, 1) BLOCKS(2, 1) BLOCKS(3, 1) BLOCKS(4, 1) BLOCKS(1, 2) BLOCKS(2, 2) BLOCKS(3, 2) BLOCKS(4, 2) \
    }
#else
#define EACH_BLOCK                                                                                            \
    switch ((stride * 8 + height) * 8 + pixels) { BLOCKS(1, 1) BLOCKS(2, 1) BLOCKS(1, 2) BLOCKS(2, 2) }
#endif
#define WHOLE(s, ahead) \
    NAME(depthwise_block)(w, pitch, bias, x, col, dst, dst_row, dst_col, channels, finish, BLOCK_ROWS, BLOCK_PIXELS, s, ahead, 1)
    if (col && stride == 2) WHOLE(2, 0);
    else if (col && ahead) WHOLE(1, 1);
    else if (col) WHOLE(1, 0);
    else if (together > 1) {
#define TOGETHER together
        EACH_BLOCK
#undef TOGETHER
    } else {
#define TOGETHER 1
        EACH_BLOCK
#undef TOGETHER
    }
#undef WHOLE
#undef EACH_BLOCK
#undef BLOCKS
#undef BLOCK
#endif
}

/* One output, its taps anywhere. */
static void NAME(depthwise_pixel)(const T *w, int64_t pitch, const T *bias, const T *const *taps, int64_t n_taps, T *dst,
                                  int64_t channels, const struct finish *finish) {
    int64_t i = 0;
    for (; i + 4 * LANES <= channels; i += 4 * LANES) {
        V acc[4];
        UNROLLED for (int v = 0; v < 4; v++) acc[v] = LOAD(bias + i + v * LANES);
        for (int64_t t = 0; t < n_taps; t++)
            UNROLLED for (int v = 0; v < 4; v++)
                acc[v] += LOAD(taps[t] + i + v * LANES) * LOAD(w + t * pitch + i + v * LANES);
        RECTIFY(finish, UNROLLED for (int v = 0; v < 4; v++), acc[v])
        UNROLLED for (int v = 0; v < 4; v++) STORE(dst + i + v * LANES, acc[v]);
    }
    for (; i < channels; i += LANES) {
        const int64_t c = i + LANES > channels ? channels - LANES : i;
        V acc = LOAD(bias + c);
        for (int64_t t = 0; t < n_taps; t++) acc += LOAD(taps[t] + c) * LOAD(w + t * pitch + c);
        RECTIFY(finish, , acc)
        STORE(dst + c, acc);
    }
}

/* Lines of LANES planes become pixels: dst[i * pitch + l] = the element at lines[l] + i * step; the first `count` lines lie
 * `apart` bytes from each other, unless that is 0.  After every `width` of the n pixels there is a gap of `gap` elements at
 * dst.  Memory before `end` may be read beyond a line, that `ahead` bytes further is called for. */
static void NAME(gather_lanes)(T *dst, int64_t pitch, const char *const *lines, int64_t apart, int64_t step, int64_t code,
                               const char *end, int64_t n, int64_t width, int64_t gap, int64_t ahead) {
    T buffer[LANES * LANES] __attribute__((aligned(VECTOR_BYTES)));
    const int alike = code == NAME(code_of) && step == (int64_t)sizeof(T) && apart;
    int64_t column = 0;
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t some = n - i < LANES ? n - i : LANES;
        const char *from = lines[0] + i * step;
        int64_t between = apart;
        if (!alike || (some < LANES && (end - from < VECTOR_BYTES || end - from - (LANES - 1) * apart < VECTOR_BYTES))) {
            memset(buffer, 0, sizeof buffer);
            for (int l = 0; l < LANES; l++) NAME(stage_run)(buffer + l * LANES, lines[l] + i * step, step, some, code);
            from = (const char *)buffer, between = VECTOR_BYTES;
        }
        UNROLLED for (int q = 0; q < LANES; q += PIECE, from += 16) {
            V v[PIECE];
            UNROLLED for (int r = 0; r < PIECE; r++) {
                const char *at = from + r * between;
                v[r] = NAME(joined)(at, at + PIECE * between, at + 2 * PIECE * between, at + 3 * PIECE * between);
                if (ahead) __builtin_prefetch(at + q * between + ahead);
            }
            NAME(turn_pieces)(v);
            UNROLLED for (int r = 0; r < PIECE; r++) {
                if (q + r >= some) break;
                STORE(dst, v[r]);
                const int last = ++column == width;
                dst += last ? pitch + gap : pitch;
                column = last ? 0 : column;
            }
        }
    }
}

/* n pixels of `count` elements that are copied as they are, `step` bytes apart; after every `width` of them there is a gap of
 * `gap` elements at dst. */
static void NAME(copy_pixels)(T *dst, int64_t pitch, const char *from, int64_t step, int64_t count, int64_t n, int64_t width,
                              int64_t gap) {
    for (int64_t i = 0, column = 0; i < n; i++, from += step, dst += pitch) {
        const T *pixel = (const T *)from;
        if (count < LANES) memcpy(dst, pixel, count * sizeof(T));
        else
            for (int64_t c = 0; c < count; c += LANES) {
                const int64_t at = c + LANES > count ? count - LANES : c;
                STORE(dst + at, LOAD(pixel + at));
            }
        if (++column == width) column = 0, dst += gap;
    }
}

/* Every other element of memory = some of a vector's; what lies between stays.  Whether this build can. */
static inline int NAME(store_alternate)(const T *src, char *memory, int64_t some) {
#if VECTOR_BYTES == 64 && ELEMENT_BYTES == 4
    const __m512i v = _mm512_loadu_si512(src), half = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const uint32_t which = (uint32_t)(0x55555555u & (some == 16 ? ~0u : (1u << 2 * some) - 1));
    _mm512_mask_storeu_epi32(memory, (__mmask16)which, _mm512_permutexvar_epi32(half, v));
    _mm512_mask_storeu_epi32(memory + 64, (__mmask16)(which >> 16),
                             _mm512_permutexvar_epi32(_mm512_add_epi32(half, _mm512_set1_epi32(8)), v));
    return 1;
#else
    return 0;
#endif
}

/* Pixels become lines of `count` planes: the element at lines[l] + i * step = src[i * LANES + l].  Behind the last pixel
 * there is room for LANES more. */
static void NAME(scatter_lanes)(const T *src, int64_t n, char *const *lines, int64_t count, int64_t step, int64_t code) {
    const int alike = code == NAME(code_of) && step == (int64_t)sizeof(T) && n >= LANES;
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t first = n >= LANES && n - i < LANES ? n - LANES : i, some = n - first < LANES ? n - first : LANES;
        const T *from = src + first * LANES;
        if (alike && count == LANES) {
            UNROLLED for (int q = 0; q < LANES; q += PIECE) {
                V v[PIECE];
                UNROLLED for (int r = 0; r < PIECE; r++) {
                    const T *at = from + r * LANES + q;
                    v[r] = NAME(joined)(at, at + PIECE * LANES, at + 2 * PIECE * LANES, at + 3 * PIECE * LANES);
                }
                NAME(turn_pieces)(v);
                UNROLLED for (int r = 0; r < PIECE; r++) STORE(NAME(place)(lines[q + r], first * step), v[r]);
            }
            continue;
        }
        T buffer[LANES * LANES] __attribute__((aligned(VECTOR_BYTES)));
        NAME(transpose)(from, LANES, buffer, LANES);
        const int alternate = code == NAME(code_of) && step == 2 * (int64_t)sizeof(T);
        for (int64_t l = 0; l < count; l++)
            if (!alternate || !NAME(store_alternate)(buffer + l * LANES, lines[l] + first * step, some))
                NAME(store_run)(buffer + l * LANES, lines[l] + first * step, step, some, code);
    }
}

/* A pixel, n times. */
static inline void NAME(repeat_pixel)(T *dst, const T *pixel, int64_t pitch, int64_t n) {
    for (int64_t i = 0; i < n; i++, dst += pitch)
        for (int64_t c = 0; c < pitch; c += LANES) STORE(dst + c, LOAD(pixel + c));
}
#undef MOST_PIXELS
#undef MOST_WIDTH
