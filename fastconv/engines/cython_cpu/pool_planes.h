/* pool_plane.h at every width of vectors, for maxima and averages of a type. Included with T, MASK, WIDE (lanes of 16 bytes),
 * OP, DIVIDED and NAME(x) defined. */
static void NAME(one)(char *dst, const char *src, const int64_t *at, int64_t rows, int64_t taps, int64_t n, double divisor,
                      int64_t stride) {
    typedef T any LOOSE;
    for (int64_t i = 0; i < n; i++) {
        T acc = 0;
        for (int64_t t = 0; t < taps; t++) {
            const char *column = src + (i * stride + t) * sizeof(T);
            T sum = *(const any *)(column + at[0]);
            for (int64_t r = 1; r < rows; r++) {
                const T value = *(const any *)(column + at[r]);
                sum = OP1(sum, value);
            }
            acc = t ? OP1(acc, sum) : sum;
        }
        ((any *)dst)[i] = DIVIDED ? acc / (T)divisor : acc;
    }
}

#if WIDE == 4
#define LANES 4
#define EVENS 0, 2, 4, 6
#define ODDS 1, 3, 5, 7
#else
#define LANES 2
#define EVENS 0, 2
#define ODDS 1, 3
#endif
#define THIS NAME(v2)
#define NARROWER NAME(one)
#include "pool_plane.h"
#if VECTOR_BYTES >= 32
#if WIDE == 4
#define LANES 8
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15
#else
#define LANES 4
#define EVENS 0, 2, 4, 6
#define ODDS 1, 3, 5, 7
#endif
#define THIS NAME(v3)
#define NARROWER NAME(v2)
#include "pool_plane.h"
#endif
#if VECTOR_BYTES >= 64
#if WIDE == 4
#define LANES 16
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#else
#define LANES 8
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15
#endif
#define THIS NAME(v4)
#define NARROWER NAME(v3)
#include "pool_plane.h"
#endif
#undef OP
#undef OP1
#undef DIVIDED
#undef NAME
