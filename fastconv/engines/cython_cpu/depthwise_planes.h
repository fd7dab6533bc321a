/* Depthwise convolutions of planes, and their gradients: lanes are outputs of a row.
 *
 * Outputs are made a column of vectors at a time.  What a row of them reads, less than two vectors of a source row, is loaded
 * once (most such loads cross a cache line and take two cycles), and shuffled for each tap: which lanes, the host has put in
 * tables.  Sources behind the end of a row are not loaded; lanes beyond either end take a lane that holds the fill value.
 *
 * Included by tiles.h once for each element type, behind depthwise.h. */

#define PLANE_ROWS 7 /* of outputs: 7 of 32 registers accumulate, 9 hold weights */
#define IN_ROWS (IS_FLOAT && VECTOR_BYTES / ELEMENT_BYTES >= 8) /* narrower vectors are not shuffled by one instruction */
#if IN_ROWS
#if ELEMENT_BYTES == 4
typedef int32_t NAME(lane) __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int64_t NAME(lane) __attribute__((vector_size(VECTOR_BYTES)));
#endif
#define LANE_OF NAME(lane)
#define SHUFFLE(a, b, lanes) __builtin_shuffle(a, b, lanes)

/* The first n of the LANES elements at p, and lanes of `other` behind them. */
#if VECTOR_BYTES == 64
#if ELEMENT_BYTES == 4
typedef __mmask16 NAME(part);
#define LOAD_PART(p, n, other) ((V)_mm512_mask_loadu_ps((__m512)(other), n, p))
#define STORE_PART(p, n, v) _mm512_mask_storeu_ps(p, n, (__m512)(v))
#else
typedef __mmask8 NAME(part);
#define LOAD_PART(p, n, other) ((V)_mm512_mask_loadu_pd((__m512d)(other), n, p))
#define STORE_PART(p, n, v) _mm512_mask_storeu_pd(p, n, (__m512d)(v))
#endif
static inline NAME(part) NAME(part_of)(int64_t n) { return (NAME(part))((1u << n) - 1); }
#elif VECTOR_BYTES == 32
typedef LANE_OF NAME(part);
#define LOAD_PART(p, n, other) \
    ((V)_mm256_blendv_ps((__m256)(other), _mm256_maskload_ps(p, (__m256i)(n)), (__m256)(n)))
#define STORE_PART(p, n, v) _mm256_maskstore_ps(p, (__m256i)(n), (__m256)(v))
static inline LANE_OF NAME(part_of)(int64_t n) { return (LANE_OF){0, 1, 2, 3, 4, 5, 6, 7} < (int32_t)n; }
#endif

/* Columns of outputs that are made together, and how: the host's six numbers. */
typedef struct {
    int64_t first, source;         /* the first output, the first source column */
    NAME(part) outputs, head, tail; /* of a vector: outputs, sources, those in a second vector */
    const LANE_OF *lanes;                /* of the two vectors, for each tap */
} NAME(columns);

INLINE NAME(columns) NAME(columns_of)(const int64_t *entry, const void *lanes, int64_t taps) {
    return (NAME(columns)){entry[0], entry[2], NAME(part_of)(entry[1]), NAME(part_of)(entry[3]), NAME(part_of)(entry[4]),
                           (const LANE_OF *)lanes + entry[5] * taps};
}

/* Both vectors of a source row. */
#define HALVES(row, two)                                     \
    V a = LOAD_PART(row, c.head, fill);                      \
    V b = two ? LOAD_PART(row + LANES, c.tail, fill) : fill; \
    HOLD(a);                                                 \
    HOLD(b);
/* Where a source row lies; those beyond the border are `beyond`. */
#define ROW(j) ((rows[j] == BEYOND ? beyond : x + rows[j]) + c.source)

/* `height` rows of outputs of 3x3. */
INLINE void NAME(plane_tile)(const T *x, const int64_t *rows, const T *beyond, const NAME(columns) c, const V taps[9], V bias,
                             V fill, T *dst, int64_t dst_row, const struct finish *finish, const int height, const int stride,
                             const int two) {
    V acc[PLANE_ROWS];
    UNROLLED for (int r = 0; r < height; r++) acc[r] = bias;
    UNROLLED for (int j = 0; j < (height - 1) * stride + 3; j++) {
        HALVES(ROW(j), two)
        UNROLLED for (int k = 0; k < 3; k++) {
            V v = SHUFFLE(a, b, c.lanes[k]);
            HOLD(v);
            UNROLLED for (int r = 0; r < height; r++)
                if (j >= r * stride && j < r * stride + 3) acc[r] += v * taps[(j - r * stride) * 3 + k];
        }
    }
    RECTIFY(finish, UNROLLED for (int r = 0; r < height; r++), acc[r])
    UNROLLED for (int r = 0; r < height; r++) STORE_PART(dst + r * dst_row + c.first, c.outputs, acc[r]);
}

/* The same for gradients of weights: sums[9]. */
INLINE void NAME(plane_gradient_tile)(V sums[9], const T *x, const int64_t *rows, const T *beyond, const NAME(columns) c, V fill,
                                      const T *grad, int64_t grad_row, const int height, const int stride, const int two) {
    V g[PLANE_ROWS];
    UNROLLED for (int r = 0; r < height; r++) g[r] = LOAD_PART(grad + r * grad_row + c.first, c.outputs, (V){0});
    UNROLLED for (int j = 0; j < (height - 1) * stride + 3; j++) {
        HALVES(ROW(j), two)
        UNROLLED for (int k = 0; k < 3; k++) {
            V v = SHUFFLE(a, b, c.lanes[k]);
            HOLD(v);
            UNROLLED for (int r = 0; r < height; r++)
                if (j >= r * stride && j < r * stride + 3) sums[(j - r * stride) * 3 + k] += v * g[r];
        }
    }
}

/* Memory behind what m rows of outputs read and write; rows that the outputs above have read are left out. */
INLINE void NAME(call_ahead)(const T *x, const int64_t *rows, const T *outputs, int64_t step, const int m, const int stride) {
    for (int j = 1; j <= m * stride; j++)
        if (rows[j] != BEYOND)
            for (int k = 0; k < stride; k++) __builtin_prefetch(x + rows[j] + k * LANES);
    for (int r = 0; r < m; r++) __builtin_prefetch(outputs + r * step, 1);
}

/* EACH(m, tile): all columns of vectors of m rows of outputs, as often as there are so many. */
#define EACH(m, outputs, step, tile)                                                       \
    for (; n >= m; n -= m, rows += m * stride, outputs += m * step)                        \
        for (int64_t i = 0; i < n_columns; i++) {                                          \
            const NAME(columns) c = NAME(columns_of)(table + 6 * i, lanes, 3);             \
            if (ahead) NAME(call_ahead)(x + c.source + ahead, rows, outputs + c.first + ahead, step, m, stride); \
            if (table[6 * i + 4]) tile(m, 1);                                              \
            else tile(m, 0);                                                               \
        }

INLINE void NAME(plane_outputs)(const T *w, const T *x, const int64_t *rows, const T *beyond, const int64_t *table,
                                int64_t n_columns, const void *lanes, V bias, V fill, T *dst, int64_t dst_row, int64_t n,
                                int64_t ahead, const struct finish *finish, const int stride) {
    V taps[9];
    UNROLLED for (int t = 0; t < 9; t++) taps[t] = SPLAT(w[t]);
#define TILE(m, two) NAME(plane_tile)(x, rows, beyond, c, taps, bias, fill, dst, dst_row, finish, m, stride, two)
    EACH(PLANE_ROWS, dst, dst_row, TILE) EACH(4, dst, dst_row, TILE) EACH(2, dst, dst_row, TILE) EACH(1, dst, dst_row, TILE)
#undef TILE
}

INLINE void NAME(plane_gradient)(V *memory, const T *x, const int64_t *rows, const T *beyond, const int64_t *table,
                                 int64_t n_columns, const void *lanes, V fill, const T *grad, int64_t grad_row, int64_t n,
                                 int64_t ahead, const int stride) {
    V sums[9];
    UNROLLED for (int t = 0; t < 9; t++) sums[t] = memory[t];
#define TILE(m, two) NAME(plane_gradient_tile)(sums, x, rows, beyond, c, fill, grad, grad_row, m, stride, two)
    EACH(PLANE_ROWS, grad, grad_row, TILE) EACH(4, grad, grad_row, TILE) EACH(2, grad, grad_row, TILE) EACH(1, grad, grad_row, TILE)
#undef TILE
    UNROLLED for (int t = 0; t < 9; t++) memory[t] = sums[t];
}
#undef EACH
#undef ROW
#endif

/* n rows of outputs of 3x3, `stride` 1 or 2 both ways, of some planes `x_plane` and `dst_plane` elements apart.  Source row j
 * lies rows[j] elements behind the beginning of a plane, or is `beyond` if that is BEYOND. */
static void NAME(depthwise_planes)(const T *w, const T *bias, const T *x, int64_t x_plane, const int64_t *rows, const T *beyond,
                                   int64_t stride, const int64_t *table, int64_t n_columns, const void *lanes, T fill, T *dst,
                                   int64_t dst_plane, int64_t dst_row, int64_t n, int64_t planes, int64_t ahead,
                                   const struct finish *finish) {
#if IN_ROWS
    for (int64_t i = 0; i < planes; i++, w += 9, x += x_plane, dst += dst_plane) {
        const T first = bias ? bias[i] : 0;
#define PLANE(stride) \
    NAME(plane_outputs)(w, x, rows, beyond, table, n_columns, lanes, SPLAT(first), SPLAT(fill), dst, dst_row, n, ahead, finish, stride)
        if (stride == 1) PLANE(1);
        else PLANE(2);
#undef PLANE
    }
#endif
}

/* The gradient of the weights: nine vectors of sums of n rows of outputs. */
static void NAME(depthwise_plane_gradient)(T *sums, const T *x, const int64_t *rows, const T *beyond, int64_t stride,
                                           const int64_t *table, int64_t n_columns, const void *lanes, T fill, const T *grad,
                                           int64_t grad_row, int64_t n, int64_t ahead) {
#if IN_ROWS
#define PLANE(stride) \
    NAME(plane_gradient)((V *)sums, x, rows, beyond, table, n_columns, lanes, SPLAT(fill), grad, grad_row, n, ahead, stride)
    if (stride == 1) PLANE(1);
    else PLANE(2);
#undef PLANE
#endif
}

/* The sums of the lanes of nine vectors; memory behind these is read. */
static void NAME(depthwise_lane_sums)(const T *sums, T *out) {
#if IN_ROWS
    T buffer[LANES * LANES] __attribute__((aligned(VECTOR_BYTES)));
    for (int t = 0; t < 9; t += LANES) {
        NAME(transpose)(sums + t * LANES, LANES, buffer, LANES);
        V total = LOAD(buffer);
        UNROLLED for (int l = 1; l < LANES; l++) total += LOAD(buffer + l * LANES);
        STORE(buffer, total);
        for (int l = 0; l < LANES && t + l < 9; l++) out[t + l] = buffer[l];
    }
#endif
}
