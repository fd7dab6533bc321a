/* Transposing LANES x LANES elements; included by tiles.h once for each element type.
 *
 * A vector is joined from 16 bytes of several lines, so that 16 bytes of PIECE such vectors, transposed among themselves,
 * are 16 bytes of as many of the transposed lines: loads do half of the work, few registers are taken, and pieces that
 * begin at a multiple of 16 bytes lie in one cache line.  16x16 floats take 15 ns. */

#define OF2(F, l) F(l), F(l + 1)
#define OF4(F, l) OF2(F, l), OF2(F, l + 2)
#define OF8(F, l) OF4(F, l), OF4(F, l + 4)
#define OF16(F, l) OF8(F, l), OF8(F, l + 8)
#if VECTOR_BYTES / ELEMENT_BYTES == 16
#define ALL(F) OF16(F, 0)
#elif VECTOR_BYTES / ELEMENT_BYTES == 8
#define ALL(F) OF8(F, 0)
#elif VECTOR_BYTES / ELEMENT_BYTES == 4
#define ALL(F) OF4(F, 0)
#else
#define ALL(F) OF2(F, 0)
#endif
#define SHUFFLED(F, a, b) __builtin_shufflevector(a, b, ALL(F))
/* Of each 16 bytes: elements of a and b in turn, or pairs of them; the first half, the second. */
#if ELEMENT_BYTES == 4
#define LOW(l) (((l) & ~3) + (((l) & 2) >> 1) + ((l) & 1) * LANES)
#define HIGH(l) (LOW(l) + 2)
#define LOW_PAIR(l) (((l) & ~3) + ((l) & 1) + (((l) & 2) >> 1) * LANES)
#define HIGH_PAIR(l) (LOW_PAIR(l) + 2)
#else
#define LOW(l) (((l) & ~1) + ((l) & 1) * LANES)
#define HIGH(l) (LOW(l) + 1)
#endif

enum { NAME(piece) = 16 / ELEMENT_BYTES }; /* elements */
#define PIECE NAME(piece)

/* An address plus some bytes, of which GCC makes no vectors (to take them apart again). */
static inline __attribute__((always_inline)) void *NAME(place)(const void *at, int64_t bytes) {
    const char *p = at;
    __asm__("" : "+r"(p));
    return (void *)(p + bytes);
}

/* 16 bytes from each address, as many as make a vector. */
static inline __attribute__((always_inline)) V NAME(joined)(const void *a, const void *b, const void *c, const void *d) {
#if VECTOR_BYTES == 64
    __m512 v = _mm512_broadcast_f32x4(_mm_loadu_ps(a)); /* masked loads, no shuffles */
    v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(b));
    v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(c));
    v = _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(d));
    return (V)v;
#elif VECTOR_BYTES == 32
    return (V)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(a)), _mm_loadu_ps(b), 1);
#else
    return LOAD(a);
#endif
}

/* Each 16 bytes of PIECE vectors transposed among themselves. */
static inline __attribute__((always_inline)) void NAME(turn_pieces)(V v[PIECE]) {
    const V a = SHUFFLED(LOW, v[0], v[1]), b = SHUFFLED(HIGH, v[0], v[1]);
#if ELEMENT_BYTES == 4
    const V c = SHUFFLED(LOW, v[2], v[3]), d = SHUFFLED(HIGH, v[2], v[3]);
    v[0] = SHUFFLED(LOW_PAIR, a, c), v[1] = SHUFFLED(HIGH_PAIR, a, c);
    v[2] = SHUFFLED(LOW_PAIR, b, d), v[3] = SHUFFLED(HIGH_PAIR, b, d);
#else
    v[0] = a, v[1] = b;
#endif
}

/* PIECE elements of each of LANES rows, `from_step` apart, as vectors. */
static inline __attribute__((always_inline)) void NAME(turned)(const T *from, int64_t from_step, V v[PIECE]) {
    _Pragma("GCC unroll 4") for (int r = 0; r < PIECE; r++) {
        const T *at = from + r * from_step;
        v[r] = NAME(joined)(at, at + PIECE * from_step, at + 2 * PIECE * from_step, at + 3 * PIECE * from_step);
    }
    NAME(turn_pieces)(v);
}

/* LANES x LANES elements, rows `from_step` apart, become rows `to_step` apart of the transposed. */
static inline __attribute__((always_inline)) void NAME(transpose)(const T *from, int64_t from_step, T *to, int64_t to_step) {
    _Pragma("GCC unroll 4") for (int i = 0; i < LANES; i += PIECE) {
        V v[PIECE];
        NAME(turned)(from + i, from_step, v);
        _Pragma("GCC unroll 4") for (int r = 0; r < PIECE; r++) STORE(to + (i + r) * to_step, v[r]);
    }
}

/* Rows of `cols` elements become columns: of `rows` by `cols` elements, whatever their numbers. */
static void NAME(turn_rows)(const T *from, int64_t from_step, T *to, int64_t to_step, int64_t rows, int64_t cols) {
    if (rows < LANES || cols < PIECE) {
        for (int64_t j = 0; j < cols; j++)
            for (int64_t i = 0; i < rows; i++) to[j * to_step + i] = from[i * from_step + j];
        return;
    }
    for (int64_t row = 0; row < rows; row += LANES) { /* the last blocks overlap their neighbours */
        const int64_t i = row < rows - LANES ? row : rows - LANES;
        for (int64_t col = 0; col < cols; col += PIECE) {
            const int64_t j = col < cols - PIECE ? col : cols - PIECE;
            V v[PIECE];
            NAME(turned)(from + i * from_step + j, from_step, v);
            _Pragma("GCC unroll 4") for (int r = 0; r < PIECE; r++) STORE(to + (j + r) * to_step + i, v[r]);
        }
    }
}
/* Lane l of the result is the sum of the lanes of v[l]. */
#define MINE_1(l) ((l) + ((l) & 1) * LANES)
#define MINE_2(l) ((l) + ((l) >> 1 & 1) * LANES)
#define MINE_4(l) ((l) + ((l) >> 2 & 1) * LANES)
#define MINE_8(l) ((l) + ((l) >> 3 & 1) * LANES)
#define OTHER_1(l) (MINE_1(l) + ((l) & 1 ? -1 : 1))
#define OTHER_2(l) (MINE_2(l) + ((l) & 2 ? -2 : 2))
#define OTHER_4(l) (MINE_4(l) + ((l) & 4 ? -4 : 4))
#define OTHER_8(l) (MINE_8(l) + ((l) & 8 ? -8 : 8))
#define MERGE(d)                                                        \
    _Pragma("GCC unroll 8") for (int i = 0; i < LANES / (2 * d); i++)   \
        v[i] = SHUFFLED(MINE_##d, v[2 * i], v[2 * i + 1]) + SHUFFLED(OTHER_##d, v[2 * i], v[2 * i + 1]);
static inline __attribute__((always_inline)) V NAME(lane_sums)(V v[LANES]) {
    MERGE(1)
#if VECTOR_BYTES / ELEMENT_BYTES > 2
    MERGE(2)
#endif
#if VECTOR_BYTES / ELEMENT_BYTES > 4
    MERGE(4)
#endif
#if VECTOR_BYTES / ELEMENT_BYTES > 8
    MERGE(8)
#endif
    return v[0];
}

/* `rest` elements, fewer than a vector has, and zeros. */
#if VECTOR_BYTES == 64 && ELEMENT_BYTES == 4
#define LOAD_REST(p) ((V)_mm512_maskz_loadu_epi32((__mmask16)((1 << rest) - 1), p))
#elif VECTOR_BYTES == 64
#define LOAD_REST(p) ((V)_mm512_maskz_loadu_epi64((__mmask8)((1 << rest) - 1), p))
#else
static inline V NAME(load_rest)(const T *p, int64_t rest) {
    V v = {0};
    for (int64_t i = 0; i < rest; i++) v[i] = p[i];
    return v;
}
#define LOAD_REST(p) NAME(load_rest)(p, rest)
#endif
#undef MERGE
#undef MINE_1
#undef MINE_2
#undef MINE_4
#undef MINE_8
#undef OTHER_1
#undef OTHER_2
#undef OTHER_4
#undef OTHER_8
#undef LOW
#undef HIGH
#undef LOW_PAIR
#undef HIGH_PAIR
