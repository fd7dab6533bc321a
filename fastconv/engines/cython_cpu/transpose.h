/* Transposing blocks of elements of 1, 2, 4 or 8 bytes: planes whose columns are contiguous are staged a few columns
 * at a time, so that whole cache lines are read.
 *
 * Vectors of 16 bytes: K x K elements in K log2(K) shuffles.  Row by row instead, maxima of 5x5 bytes in Fortran's order
 * took 30 times as long as in C's. */

#define LOW(S, a, b) __builtin_shufflevector(a, b, LOW_##S)
#define HIGH(S, a, b) __builtin_shufflevector(a, b, HIGH_##S)
#define LOW_uint8_t 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_uint8_t 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define LOW_uint16_t 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_uint16_t 4, 12, 5, 13, 6, 14, 7, 15
#define LOW_uint32_t 0, 4, 1, 5
#define HIGH_uint32_t 2, 6, 3, 7
#define LOW_uint64_t 0, 2
#define HIGH_uint64_t 1, 3

/* `rows` rows of `cols` elements at dst, from as many columns at src. */
#define TRANSPOSE(S)                                                                                        \
    typedef S S##_vector __attribute__((vector_size(16)));                                                  \
    static void transpose_##S(const char *src, int64_t src_step, char *dst, int64_t dst_step,               \
                              int64_t cols, int64_t rows) {                                                 \
        typedef S loose __attribute__((vector_size(16), aligned(1), may_alias));                            \
        enum { K = 16 / sizeof(S) };                                                                        \
        int64_t j = 0;                                                                                      \
        for (; cols == K && j + K <= rows; j += K) {                                                        \
            S##_vector a[K], b[K];                                                                          \
            for (int i = 0; i < K; i++) a[i] = *(const loose *)(src + i * src_step + j * (int64_t)sizeof(S)); \
            for (int done = 1; done < K; done *= 2) {                                                       \
                for (int i = 0; i < K / 2; i++) {                                                           \
                    b[2 * i] = LOW(S, a[i], a[i + K / 2]);                                                  \
                    b[2 * i + 1] = HIGH(S, a[i], a[i + K / 2]);                                             \
                }                                                                                           \
                for (int i = 0; i < K; i++) a[i] = b[i];                                                    \
            }                                                                                               \
            for (int i = 0; i < K; i++) *(loose *)(dst + (j + i) * dst_step) = a[i];                        \
        }                                                                                                   \
        for (; j < rows; j++)                                                                               \
            for (int64_t i = 0; i < cols; i++)                                                              \
                memcpy(dst + j * dst_step + i * (int64_t)sizeof(S), src + i * src_step + j * (int64_t)sizeof(S), sizeof(S)); \
    }

TRANSPOSE(uint8_t)
TRANSPOSE(uint16_t)
TRANSPOSE(uint32_t)
TRANSPOSE(uint64_t)

static void transpose(const char *src, int64_t src_step, char *dst, int64_t dst_step, int64_t cols, int64_t rows,
                      int64_t size) {
    if (size == 1) transpose_uint8_t(src, src_step, dst, dst_step, cols, rows);
    else if (size == 2) transpose_uint16_t(src, src_step, dst, dst_step, cols, rows);
    else if (size == 4) transpose_uint32_t(src, src_step, dst, dst_step, cols, rows);
    else transpose_uint64_t(src, src_step, dst, dst_step, cols, rows);
}
#undef TRANSPOSE
#undef LOW
#undef HIGH
