/* Matrix products of packed weights and packed pixels, for convolutions of planes (panels.pxi).
 *
 * Sums of up to 14 filters and 2 vectors of pixels stay in registers; each element of depth takes two aligned loads and as
 * many broadcasts as filters, all next to each other.  What is missing from the caches decides, and it is called for: the
 * lines that the next tile writes, and the pixels of the next block.  Of the FMA peak, one thread, planes of a batch of 32:
 * 256 to 1024 channels, 14x14 pixels, 0.74 without and 0.91 with both; 64 to 64, 56x56, 0.45 and 0.75; 256 to 64, 0.60 and 0.83.
 */
#ifndef FASTCONV_PANELS_H
#define FASTCONV_PANELS_H
enum { PANEL_ROWS = 14, PANEL_LANES = 32, PANEL_TILES = 4, CHANNELS_AHEAD = 8, MOST_PIECES = PANEL_LANES + 2 };

/* Where windows lie: bytes from image to image, channel to channel, row to row. */
struct planes {
    const char *x;
    int64_t x_image, x_channel, x_row, height, width, out_height, out_width;
    int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x;
    float fill;
};

/* What is called for meanwhile: pieces of lines, `step` bytes at a time up to `end`, then `skip` bytes further, where the next piece
 * ends `next` bytes further; the lines of the rows that the next tile writes; and weights. */
struct panel_ahead {
    const char *source, *end;
    int64_t step, skip, next;
    const char *target;
    int64_t target_step;
    const char *weights; /* a part of the next panel */
    int64_t weights_step;
};

/* Where rows of sums go, `step` bytes apart: `lanes` of them begin at `to`, and the `others` would begin at `other`. */
struct panel_out {
    char *to, *other;
    int64_t step;
    uint32_t lanes, others;
};

#if defined(__AVX512F__)
typedef float panel_v __attribute__((vector_size(64)));
typedef panel_v panel_u __attribute__((aligned(4), may_alias));

#define PANEL_SUMS _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) _Pragma("GCC unroll 2") for (int j = 0; j < cols; j++)
static inline __attribute__((always_inline)) void panel_body(const float *w, int64_t w_step, float *x, int64_t depth, const float *start,
                                                             int64_t start_step, int resume, const struct panel_out *out,
                                                             const char *from, int64_t from_step, struct panel_ahead *ahead,
                                                             const struct finish *finish, const int rows, const int cols,
                                                             const int taken) {
    panel_v acc[PANEL_ROWS][2], parted[PANEL_ROWS][2], (*sums)[2] = parted;
    __asm__("" : "+r"(sums)); /* in memory: GCC would take short tiles there, too, 40 cycles each */
    PANEL_SUMS acc[r][j] = resume ? (panel_v) * (const panel_u *)(start + r * start_step + 16 * j) : (panel_v)_mm512_set1_ps(start[r]);
    const char *source = ahead->source, *end = ahead->end, *target = ahead->target;
    const char *const behind = target + rows * ahead->target_step;
    const int64_t step = ahead->step, skip = ahead->skip, next = ahead->next, down = ahead->target_step, back = rows * down - 64;
    const char *weights = ahead->weights;
    const int64_t weights_step = ahead->weights_step;
    int parts = 0;
    char *to = out->to, *other = out->other;
    const int64_t out_step = out->step;
    const uint32_t lanes = out->lanes, others = out->others;
    while (depth > 0) {
        const int64_t some = depth < apart_f32 ? depth : apart_f32;
        for (int64_t k = 0; k < some; k++, x += PANEL_LANES, w += w_step) {
            __builtin_prefetch(source);
            __builtin_prefetch(weights, 0, 2);
            weights += weights_step;
            __builtin_prefetch(target);
            source += step;
            target += down;
            const int64_t over = -(int64_t)(source >= end);
            source += skip & over;
            end += next & over;
            if (target >= behind) target -= back; /* the next lines of the rows */
            panel_v v[2];
            _Pragma("GCC unroll 2") for (int j = 0; j < cols; j++) {
                if (taken) {
                    v[j] = *((const panel_u *)from + j);
                    *(panel_v *)(x + 16 * j) = v[j];
                } else v[j] = *(const panel_v *)(x + 16 * j);
            }
            if (taken) {
                __builtin_prefetch(from + CHANNELS_AHEAD * from_step);
                __builtin_prefetch(from + CHANNELS_AHEAD * from_step + 64);
                from += from_step;
            }
            _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
                const float tap = w[r];
                _Pragma("GCC unroll 2") for (int j = 0; j < cols; j++) acc[r][j] += v[j] * tap;
            }
        }
        if ((depth -= some) == 0 && !parts) break;
        PANEL_SUMS {
            sums[r][j] = parts ? sums[r][j] + acc[r][j] : acc[r][j];
            acc[r][j] = (panel_v){0};
        }
        parts = 1;
    }
    ahead->source = source, ahead->end = end;
    if (parts) PANEL_SUMS acc[r][j] = sums[r][j];
#define T float
#define NAME(x) x##_f32
    RECTIFY(finish, PANEL_SUMS, acc[r][j])
#undef NAME
#undef T
    if (lanes == ~0u)
        _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++, to += out_step)
            _Pragma("GCC unroll 2") for (int j = 0; j < cols; j++) *((panel_u *)to + j) = acc[r][j];
    else
        _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++, to += out_step, other += out_step)
            _Pragma("GCC unroll 2") for (int j = 0; j < cols; j++) {
                _mm512_mask_storeu_ps((float *)to + 16 * j, lanes >> 16 * j, (__m512)acc[r][j]);
                _mm512_mask_storeu_ps((float *)other + 16 * j, others >> 16 * j, (__m512)acc[r][j]);
            }
}

#define PANEL_ARGUMENTS                                                                                                     \
    const float *w, int64_t w_step, float *x, int64_t depth, const float *start, int64_t start_step, int resume, const struct panel_out *out, \
        const char *from, int64_t from_step, struct panel_ahead *ahead, const struct finish *finish
#define EACH_PANEL(DO) DO(14) DO(13) DO(12) DO(11) DO(10) DO(9) DO(8) DO(7) DO(6) DO(5) DO(4) DO(3) DO(2) DO(1)
#define SHAPE(kind, h, cols, taken)                                                                                         \
    static __attribute__((noinline)) void panel_##kind##_##h(PANEL_ARGUMENTS) {                                             \
        panel_body(w, w_step, x, depth, start, start_step, resume, out, from, from_step, ahead, finish, h, cols, taken);            \
    }
#define SHAPES(h) SHAPE(narrow, h, 1, 0) SHAPE(wide, h, 2, 0) SHAPE(taken, h, 2, 1)
EACH_PANEL(SHAPES)
#undef SHAPES
#undef SHAPE

/* The sums of `rows` filters and PANEL_LANES pixels (half of them unless `wide`), which begin at start[r] or (`resume`) at rows
 * of sums: weights [depth][rows], `w_step` elements from row to row, pixels [depth][PANEL_LANES].  Unless `from` is NULL, pixels are read there, in lines
 * `from_step` bytes apart, and left in `x`. */
static void panel_tile(PANEL_ARGUMENTS, int64_t rows, int wide) {
#define CALL(h)                                                                                                             \
    case h:                                                                                                                 \
        (from ? panel_taken_##h : wide ? panel_wide_##h : panel_narrow_##h)(                                                \
            w, w_step, x, depth, start, start_step, resume, out, from, from_step, ahead, finish);                                   \
        break;
    switch (rows) { EACH_PANEL(CALL) }
#undef CALL
}
#undef EACH_PANEL
#undef PANEL_ARGUMENTS
#undef PANEL_SUMS

/* Neighbouring pixels of a vector that lie in a row: lane 0 would be read at `at`. */
struct piece {
    const char *at;
    __mmask16 lanes, low, high; /* lanes; elements of two vectors, of which every other one is taken */
};

static inline __attribute__((always_inline)) __m512 piece_of(__m512 v, const struct piece *p, int64_t offset, const int step) {
    const float *at = (const float *)(p->at + offset);
    if (step == 1) return _mm512_mask_loadu_ps(v, p->lanes, at);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512 a = _mm512_maskz_loadu_ps(p->low, at), b = _mm512_maskz_loadu_ps(p->high, at + 16);
    return _mm512_mask_mov_ps(v, p->lanes, _mm512_permutex2var_ps(a, even, b));
}

/* One vector of pixels of each channel, `to_step` elements apart: made of `n` pieces, the fill value between them. */
static inline __attribute__((always_inline)) void take_vector(const struct piece *pieces, const int64_t n, int64_t x_channel,
                                                              int64_t channels, float fill, float *to, int64_t to_step, const int step) {
    const __m512 outside = _mm512_set1_ps(fill);
    for (int64_t c = 0, at = 0; c < channels; c++, at += x_channel, to += to_step) {
        __m512 v = outside;
        for (int64_t i = 0; i < n; i++) {
            __builtin_prefetch(pieces[i].at + at + CHANNELS_AHEAD * x_channel);
            v = piece_of(v, pieces + i, at, step);
        }
        _mm512_store_ps(to, v);
    }
}

static void take_pieces(const struct piece *pieces, int64_t n, int64_t x_channel, int64_t channels, float fill, float *to,
                        int64_t to_step, int64_t step) {
    if (step == 1 && n == 1) take_vector(pieces, 1, x_channel, channels, fill, to, to_step, 1);
    else if (step == 1 && n == 2) take_vector(pieces, 2, x_channel, channels, fill, to, to_step, 1);
    else if (step == 1) take_vector(pieces, n, x_channel, channels, fill, to, to_step, 1);
    else if (n == 1) take_vector(pieces, 1, x_channel, channels, fill, to, to_step, 2);
    else take_vector(pieces, n, x_channel, channels, fill, to, to_step, 2);
}

/* Neighbouring outputs of a tile that lie in a row: the first of them, and its place among the tile's lanes. */
struct run { int64_t lane, n, y, x; const char *image; };

static inline int64_t tile_runs(const struct planes *s, int64_t pixel, int64_t lanes, struct run *runs) {
    int64_t n = 0, y = pixel / s->out_width, x = pixel % s->out_width;
    const char *image = s->x + y / s->out_height * s->x_image;
    y %= s->out_height;
    for (int64_t lane = 0; lane < lanes; n++) {
        const int64_t most = s->out_width - x < lanes - lane ? s->out_width - x : lanes - lane;
        runs[n] = (struct run){lane, most, y, x, image};
        lane += most;
        x = 0;
        if (++y == s->out_height) y = 0, image += s->x_image;
    }
    return n;
}

/* What lanes 16 j to 16 j + 15 read of a tap. */
static inline int64_t tap_pieces(const struct planes *s, const struct run *runs, int64_t n_runs, int64_t down, int64_t across, int64_t j,
                                 struct piece *pieces) {
    const int64_t step = s->stride_x, inside = s->width - across;
    int64_t n = 0;
    for (const struct run *r = runs; r < runs + n_runs; r++) {
        const int64_t y = r->y * s->stride_y + down;
        int64_t first = r->lane, last = r->lane + r->n;
        /* outputs x of the row whose element x step + across lies inside */
        const int64_t before = across < 0 ? (step - 1 - across) / step : 0, behind = inside > 0 ? (inside + step - 1) / step : 0;
        if (first < r->lane + before - r->x) first = r->lane + before - r->x;
        if (last > r->lane + behind - r->x) last = r->lane + behind - r->x;
        if (first < 16 * j) first = 16 * j;
        if (last > 16 * j + 16) last = 16 * j + 16;
        if (y < 0 || y >= s->height || first >= last) continue;
        const uint32_t lanes = ((1u << (last - first)) - 1) << (first - 16 * j);
        const int64_t x = (r->x + 16 * j - r->lane) * step + across;
        pieces[n++] = (struct piece){r->image + y * s->x_row + x * (int64_t)sizeof(float), lanes, _pdep_u32(lanes, 0x5555),
                                     _pdep_u32(lanes >> 8, 0x5555)};
    }
    return n;
}

/* What the windows of neighbouring outputs read of some channels, [channel][tap][PANEL_LANES]. */
static void take_pixels(const struct planes *s, int64_t pixel, int64_t lanes, int64_t first, int64_t channels, float *to) {
    struct run runs[PANEL_LANES];
    struct piece pieces[MOST_PIECES];
    const int64_t n_runs = tile_runs(s, pixel, lanes, runs), step = PANEL_LANES * s->kernel_y * s->kernel_x;
    for (int64_t ty = 0; ty < s->kernel_y; ty++)
        for (int64_t tx = 0; tx < s->kernel_x; tx++, to += PANEL_LANES)
            for (int64_t j = 0; j < 2; j++) {
                const int64_t down = ty * s->dilation_y - s->pad_y, across = tx * s->dilation_x - s->pad_x;
                const int64_t n = tap_pieces(s, runs, n_runs, down, across, j, pieces);
                for (int64_t i = 0; i < n; i++) pieces[i].at += first * s->x_channel;
                take_pieces(pieces, n, s->x_channel, channels, s->fill, to + 16 * j, step, s->stride_x);
            }
}

/* Rows of `n` weights, `step` apart, as [n][rows]; `before` and `behind`: rows of weights that lie beside them. */
static void take_weights(const float *w, int64_t step, int64_t rows, int64_t n, int64_t before, int64_t behind, float *to) {
    const int64_t shift = rows + behind >= 16 ? 0 : 16 - rows - behind;
    const __mmask16 lanes = ((1u << rows) - 1) << shift;
    int64_t k = 0;
    if (shift <= before)
        for (; k + 4 <= n; k += 4) {
            panel_v v[4];
            turned_f32(w - shift * step + k, step, v);
            for (int r = 0; r < 4; r++) _mm512_mask_storeu_ps(to + (k + r) * rows - shift, lanes, (__m512)v[r]);
        }
    for (; k < n; k++)
        for (int64_t r = 0; r < rows; r++) to[k * rows + r] = w[r * step + k];
}
#else
static void panel_tile(const float *w, int64_t w_step, float *x, int64_t depth, const float *start, int64_t start_step, int resume,
                       const struct panel_out *out, const char *from, int64_t from_step, struct panel_ahead *ahead,
                       const struct finish *finish, int64_t rows, int wide) {}
static void take_pixels(const struct planes *s, int64_t pixel, int64_t lanes, int64_t first, int64_t channels, float *to) {}
static void take_weights(const float *w, int64_t step, int64_t rows, int64_t n, int64_t before, int64_t behind, float *to) {}
#endif
#endif
