/* Winograd's minimal filtering (doi:10.1109/CVPR.2016.435): m x m outputs of 3x3 taps from (m + 2) x (m + 2) products.
 *
 * A line of m outputs is a product of polynomials: the line's elements and the three weights are taken at m + 2 points,
 * multiplied there, and sums of the products are the outputs.  Points 0, 1, -1 (m = 4: 2 and -2, too) and infinity.
 * Both ways along, so 16 products stand for 4 outputs of 9 taps, or 36 for 16.
 *
 * Lanes are channels, then filters.  One thread, AVX-512: a tile of 16 channels takes 15 ns at 16 points, 45 ns at 36; the
 * sums of 16 filters 15 and 40 ns.  The products at each point, matrix products of all channels, are what it comes to.
 *
 * Included by tiles.h for floating-point T. */

#define POINTS 6 /* at most */
#define WIDTH (GEMM_COLS * LANES)
#define EACH(i, n) _Pragma("GCC unroll 9") for (int i = 0; i < (n); i++)
#define INLINED static inline __attribute__((always_inline))

/* A line of m + 2 elements at the points. */
INLINED void NAME(line_at_points)(V *d, const int m) {
    if (m == 2) {
        const V first = d[0] - d[2], last = d[1] - d[3], even = d[2], odd = d[1];
        d[0] = first, d[1] = even + odd, d[2] = even - odd, d[3] = last;
    } else {
        const V even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1], even_2 = d[4] - d[2], odd_2 = 2 * (d[3] - d[1]);
        const V first = 4 * d[0] - 5 * d[2] + d[4], last = 4 * d[1] - 5 * d[3] + d[5];
        d[0] = first, d[1] = even + odd, d[2] = even - odd, d[3] = even_2 + odd_2, d[4] = even_2 - odd_2, d[5] = last;
    }
}

/* m sums of products at the points. */
INLINED void NAME(line_of_sums)(V *d, const int m) {
    const V even = d[1] + d[2], odd = d[1] - d[2];
    if (m == 2) {
        d[0] = d[0] + even, d[1] = odd - d[3];
    } else {
        const V even_2 = d[3] + d[4], odd_2 = d[3] - d[4], last = d[5];
        d[0] = d[0] + even + even_2, d[1] = odd + 2 * odd_2, d[2] = even + 4 * even_2, d[3] = odd + 8 * odd_2 + last;
    }
}

/* Three weights at the points. */
INLINED void NAME(weights_at_points)(V *g, const int m) {
    const V ends = g[0] + g[2], middle = g[1], last = g[2];
    if (m == 2) {
        g[1] = (ends + middle) * (T)0.5, g[2] = (ends - middle) * (T)0.5, g[3] = last;
    } else {
        const V ends_2 = g[0] * (T)(1 / 24.) + last * (T)(1 / 6.), middle_2 = middle * (T)(1 / 12.);
        g[0] *= (T)0.25, g[1] = (ends + middle) * (T)(-1 / 6.), g[2] = (ends - middle) * (T)(-1 / 6.);
        g[3] = ends_2 + middle_2, g[4] = ends_2 - middle_2, g[5] = last;
    }
}

/* ... and back. */
INLINED void NAME(weights_from_points)(V *g, const int m) {
    if (m == 2) g[1] = g[1] - g[2], g[2] = g[3];
    else g[0] *= 4, g[1] = 3 * (g[2] - g[1]), g[2] = g[5];
}

INLINED void NAME(window_points_of)(const T *from, int64_t row, int64_t col, T *to, int64_t step, int64_t channels, const int m) {
    const int n = m + 2;
    for (int64_t c = 0; c < channels; c += LANES) {
        V d[POINTS][POINTS];
        EACH(j, n) {
            V line[POINTS];
            EACH(i, n) line[i] = LOAD(from + i * row + j * col + c);
            NAME(line_at_points)(line, m);
            EACH(i, n) d[i][j] = line[i];
        }
        T *at = to + c;
        EACH(i, n) {
            NAME(line_at_points)(d[i], m);
            EACH(j, n) { STORE(at, d[i][j]); at += step; }
        }
    }
}

/* The window of a tile, [row][column][channel], at all points, `step` elements apart. */
static void NAME(window_points)(const T *from, int64_t row, int64_t col, T *to, int64_t step, int64_t channels, int64_t m) {
    if (m == 2) NAME(window_points_of)(from, row, col, to, step, channels, 2);
    else NAME(window_points_of)(from, row, col, to, step, channels, 4);
}

INLINED int NAME(point_sums_of)(const T *from, int64_t step, const T *bias, char *to, int64_t row, int64_t col, const int stream,
                                const struct finish *finish, const int m) {
    const int n = m + 2;
    V lost = {0};
    for (int64_t f = 0; f < WIDTH; f += LANES) {
        V d[POINTS][POINTS];
        EACH(j, n) {
            V line[POINTS];
            EACH(i, n) line[i] = LOAD(from + (i * n + j) * step + f);
            NAME(line_of_sums)(line, m);
            EACH(i, m) d[i][j] = line[i];
        }
        const V start = LOAD(bias + f);
        EACH(i, m) {
            NAME(line_of_sums)(d[i], m);
            EACH(j, m) {
                lost += d[i][j] * 0; /* NaN of what is not finite */
                d[i][j] += start;
            }
            RECTIFY(finish, EACH(j, m), d[i][j])
            EACH(j, m) {
                NAME(lone) *at = (NAME(lone) *)(to + i * row + j * col) + f;
#ifdef STREAM
                if (stream) STREAM(at, d[i][j]);
                else
#endif
                    STORE(at, d[i][j]);
            }
        }
    }
    int any = 0;
    for (int l = 0; l < LANES; l++) any |= lost[l] != 0;
    return any;
}

/* The sums of a tile, pixels of WIDTH filters `row` and `col` bytes apart, from the products at all points; `stream`: whole
 * cache lines, past the caches.  `finish` is applied.  Whether one of them is not finite. */
static int NAME(point_sums)(const T *from, int64_t step, const T *bias, char *to, int64_t row, int64_t col, int64_t stream,
                            const struct finish *finish, int64_t m) {
    if (stream && ((uintptr_t)to | row | col) % 64 == 0)
        return m == 2 ? NAME(point_sums_of)(from, step, bias, to, row, col, 1, finish, 2)
                      : NAME(point_sums_of)(from, step, bias, to, row, col, 1, finish, 4);
    return m == 2 ? NAME(point_sums_of)(from, step, bias, to, row, col, 0, finish, 2)
                  : NAME(point_sums_of)(from, step, bias, to, row, col, 0, finish, 4);
}

/* 3x3 weights of a channel: `taps`, or if there are none, from those at the points. */
INLINED void NAME(weights_of)(V g[POINTS][POINTS], const T *points, const T *taps, int64_t step, const int m) {
    if (taps) {
        EACH(i, 3) EACH(j, 3) g[i][j] = LOAD(taps + (i * 3 + j) * step);
        return;
    }
    const int n = m + 2;
    EACH(j, n) {
        V line[POINTS];
        EACH(i, n) line[i] = LOAD(points + (i * n + j) * step);
        NAME(weights_from_points)(line, m);
        EACH(i, 3) g[i][j] = line[i];
    }
    EACH(i, 3) NAME(weights_from_points)(g[i], m);
}

INLINED void NAME(window_sums_of)(const T *from, int64_t row, int64_t col, const T *points, int64_t step, const T *taps,
                                  int64_t channels, const T *bias, char *to, int64_t to_row, int64_t to_col, const int m) {
    for (int64_t f = 0; f < WIDTH; f += LANES) {
        V sums[POINTS - 2][POINTS - 2];
        EACH(i, m) EACH(j, m) sums[i][j] = LOAD(bias + f);
        for (int64_t c = 0; c < channels; c++) {
            V g[POINTS][POINTS];
            NAME(weights_of)(g, points + c * WIDTH + f, taps ? taps + c * WIDTH + f : NULL, step, m);
            EACH(i, m) EACH(j, m) {
                const T *corner = from + i * row + j * col + c;
                EACH(y, 3) EACH(x, 3) sums[i][j] += g[y][x] * corner[y * row + x * col];
            }
        }
        EACH(i, m) EACH(j, m) STORE((NAME(lone) *)(to + i * to_row + j * to_col) + f, sums[i][j]);
    }
}

/* Whether the window of each output of a tile holds a NaN: so do all sums, whatever the weights. */
static int NAME(windows_hold_nan)(const T *from, int64_t row, int64_t col, int64_t channels, int64_t m) {
    for (int64_t i = 0; i < m * m; i++) {
        const T *corner = from + i / m * row + i % m * col;
        int found = 0;
        for (int64_t k = 0; k < 9; k++) {
            const T *pixel = corner + k / 3 * row + k % 3 * col;
            for (int64_t c = 0; c < channels; c++) found |= pixel[c] != pixel[c];
        }
        if (!found) return 0;
    }
    return 1;
}

/* The sums of a tile directly, as the formula has it: NaN and infinity stay in their windows.  Weights are those at the
 * points, or `taps`, where these are not the same to infinite pixels. */
static void NAME(window_sums)(const T *from, int64_t row, int64_t col, const T *points, int64_t step, const T *taps,
                              int64_t channels, const T *bias, char *to, int64_t to_row, int64_t to_col, int64_t m) {
    if (NAME(windows_hold_nan)(from, row, col, channels, m)) {
        for (int64_t i = 0; i < m * m; i++)
            for (int64_t f = 0; f < WIDTH; f += LANES)
                STORE((NAME(lone) *)(to + i / m * to_row + i % m * to_col) + f, SPLAT((T)NAN));
    } else if (m == 2) NAME(window_sums_of)(from, row, col, points, step, taps, channels, bias, to, to_row, to_col, 2);
    else NAME(window_sums_of)(from, row, col, points, step, taps, channels, bias, to, to_row, to_col, 4);
}

/* The same for `taps` x `taps` weights, [tap][channel][filter], and tiles of 2x2. */
static void NAME(wide_window_sums)(const T *from, int64_t row, int64_t col, const T *weights, int64_t step, int64_t taps,
                                   int64_t channels, const T *bias, char *to, int64_t to_row, int64_t to_col) {
    for (int64_t i = 0; i < 4; i++)
        for (int64_t f = 0; f < WIDTH; f += LANES) {
            const T *corner = from + i / 2 * row + i % 2 * col;
            V sum = LOAD(bias + f);
            for (int64_t k = 0; k < taps * taps; k++)
                for (int64_t c = 0; c < channels; c++)
                    sum += LOAD(weights + k * step + c * WIDTH + f) * corner[k / taps * row + k % taps * col + c];
            STORE((NAME(lone) *)(to + i / 2 * to_row + i % 2 * to_col) + f, sum);
        }
}

/* Weights of LANES channels and WIDTH filters, [channel][tap][filter], of larger kernels: a piece of up to 3x3 taps at the
 * points of tiles of 2x2, `step` elements apart; those of the last column of points go `turned` elements further. */
static void NAME(piece_points)(const T *from, int64_t taps, int64_t y, int64_t x, T *to, int64_t step, int64_t turned) {
    const int64_t height = y + 3 == taps ? 3 : 2, width = x + 3 == taps ? 3 : 2;
    for (int64_t at = 0; at < LANES * WIDTH; at += LANES) {
        const T *weights = from + at / WIDTH * taps * taps * WIDTH + at % WIDTH;
        V g[POINTS][POINTS];
        EACH(i, 3) {
            EACH(j, 3) g[i][j] = i < height && j < width ? LOAD(weights + ((y + i) * taps + x + j) * WIDTH) : (V){0};
            NAME(weights_at_points)(g[i], 2);
        }
        EACH(j, 4) {
            V line[POINTS];
            EACH(i, 3) line[i] = g[i][j];
            NAME(weights_at_points)(line, 2);
            EACH(i, 4) STORE(to + (i * 4 + j) * step + (j == 3 ? turned : 0) + at, line[i]);
        }
    }
}

#if ELEMENT_BYTES == 4
typedef int32_t NAME(signs) __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int64_t NAME(signs) __attribute__((vector_size(VECTOR_BYTES)));
#endif

/* A vector's 3x3 weights, `tap` elements apart, at all points, `step` elements apart; `lost` becomes NaN where one is not finite. */
INLINED void NAME(taps_at_points)(const T *weights, int64_t tap, T *to, int64_t step, V *lost, const int m) {
    const int n = m + 2;
    V g[POINTS][POINTS];
    EACH(i, 3) {
        EACH(j, 3) g[i][j] = LOAD(weights + (i * 3 + j) * tap);
        NAME(weights_at_points)(g[i], m);
    }
    EACH(j, n) {
        V line[POINTS];
        EACH(i, 3) line[i] = g[i][j];
        NAME(weights_at_points)(line, m);
        EACH(i, n) {
            STORE(to + (i * n + j) * step, line[i]);
            if (lost) *lost += line[i] * 0;
        }
    }
}

/* Weights of some channels and WIDTH filters, [channel][tap][filter], at all points, `step` elements apart: those of one unit. */
static void NAME(unit_points)(const T *from, int64_t tap, T *to, int64_t step, int64_t channels, int64_t m) {
    for (int64_t c = 0; c < channels; c++, from += 9 * WIDTH, to += WIDTH)
        for (int64_t f = 0; f < WIDTH; f += LANES)
            if (m == 2) NAME(taps_at_points)(from + f, tap, to + f, step, NULL, 2);
            else NAME(taps_at_points)(from + f, tap, to + f, step, NULL, 4);
}

/* Nine taps of each of LANES filters, that lie next to each other, as vectors, `step` elements apart. */
static void NAME(turn_nine)(const T *from, T *to, int64_t step) {
#if VECTOR_BYTES == 64 && ELEMENT_BYTES == 4
    /* Of the nine vectors number 4 u modulo 9 lane l holds tap u + l modulo 9: blends turn the nine by each lane's l, the last
     * place (8) is turned back by one, and lanes are put in order.  27 blends and 9 permutations for 64 shuffles. */
#define FROM(k, l) ((9 * l + k) % 16 == 8 ? 24 : (9 * l + k) % 16)
#define ORDER(k)                                                                                                            \
    _mm512_setr_epi32(FROM(k, 0), FROM(k, 1), FROM(k, 2), FROM(k, 3), FROM(k, 4), FROM(k, 5), FROM(k, 6), FROM(k, 7), FROM(k, 8), \
                      FROM(k, 9), FROM(k, 10), FROM(k, 11), FROM(k, 12), FROM(k, 13), FROM(k, 14), FROM(k, 15))
#define TURNED(a, b, by, lanes) EACH(k, 9) a[k] = _mm512_mask_blend_ps(lanes, b[k], b[(k + 9 - by) % 9]);
    __m512 a[9], b[9];
    EACH(u, 9) a[u] = _mm512_loadu_ps(from + 4 * u % 9 * LANES);
    TURNED(b, a, 1, 0x54aa)
    TURNED(a, b, 2, 0x98cc)
    TURNED(b, a, 4, 0xe0f0)
#define STORED(k) _mm512_storeu_ps(to + k * step, _mm512_permutex2var_ps(b[k], ORDER(k), b[(k + 1) % 9]));
    STORED(0) STORED(1) STORED(2) STORED(3) STORED(4) STORED(5) STORED(6) STORED(7) STORED(8)
#undef STORED
#undef TURNED
#undef ORDER
#undef FROM
#else
    for (int64_t k = 0; k < 9; k += LANES) {
        const int64_t first = k < 9 - LANES ? k : 9 - LANES; /* the last block overlaps its neighbour */
        NAME(turn_block)(from + first, 9, to + first * step, step);
    }
#endif
}

INLINED int NAME(kernel_points_of)(const T *from, int64_t tap, T *block, T *to, int64_t step, const int m) {
    const int n = m + 2, size = LANES / 2 * WIDTH;
    V lost = {0};
    NAME(signs) others = {0};
    for (int64_t at = 0; at < size; at += LANES) {
        const T *weights = from + at / WIDTH * 9 * WIDTH + at % WIDTH;
        V g[POINTS][POINTS];
        NAME(taps_at_points)(weights, tap, block + at, size, &lost, m);
        NAME(weights_of)(g, block + at, NULL, size, m);
        EACH(i, 3) EACH(j, 3) {
            const V weight = LOAD(weights + (i * 3 + j) * tap);
            others |= (NAME(signs))((weight > 0) ^ (g[i][j] > 0)) | (NAME(signs))((weight < 0) ^ (g[i][j] < 0));
        }
    }
#ifdef STREAM
    const int lines = (uintptr_t)to % VECTOR_BYTES == 0 && step * sizeof(T) % VECTOR_BYTES == 0;
#endif
    for (int i = 0; i < n * n; i++, to += step)
        for (int64_t at = 0; at < size; at += LANES) {
            const V v = LOAD(block + i * size + at);
#ifdef STREAM
            if (lines) STREAM(to + at, v);
            else
#endif
                STORE(to + at, v);
        }
    int any = 0;
    for (int l = 0; l < LANES; l++) any |= lost[l] != 0 || others[l] != 0;
    return any;
}

/* Weights of LANES channels and WIDTH filters, [channel][tap][filter], taps `tap` elements apart, at all points, `step`
 * elements apart; whether one of these is not finite, or weights made of them have other signs, which infinite pixels show (0
 * is one).  They are put together in a `block` first, which fits into the first cache: the matrices of the points share sets
 * of the caches. */
static int NAME(kernel_points)(const T *from, int64_t tap, T *block, T *to, int64_t step, int64_t m) {
    int any = 0;
    for (int half = 0; half < 2; half++, from += LANES / 2 * 9 * WIDTH, to += LANES / 2 * WIDTH)
        any |= m == 2 ? NAME(kernel_points_of)(from, tap, block, to, step, 2) : NAME(kernel_points_of)(from, tap, block, to, step, 4);
    return any;
}

/* `rows` x `cols` pixels of a tile whose filters lie next to each other in the output. */
static void NAME(store_pixels)(const T *from, int64_t from_row, char *out, int64_t out_row, int64_t out_col, int64_t rows,
                               int64_t cols, int64_t filters) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const T *pixel = from + i * from_row + j * WIDTH;
            NAME(lone) *to = (NAME(lone) *)(out + i * out_row + j * out_col);
            for (int64_t f = 0; f < filters; f += LANES) NAME(store_some)(to + f, LOAD(pixel + f), filters - f);
        }
}
#undef POINTS
#undef WIDTH
#undef EACH
#undef INLINED
