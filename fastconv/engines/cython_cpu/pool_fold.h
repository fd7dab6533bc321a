/* A fold over taps in registers: pooling's one inner loop, along rows and columns alike.
 *
 *     dst[i] = src[at[0] + i] OP src[at[1] + i] OP ...   for 0 <= i < n
 *
 * `at` is in units of `scale` bytes.  With `resume` the fold goes on from what dst holds.
 * Included with S (element read), D (element accumulated), M (element on the way from S to
 * D), OP (on vectors), LONG_OP (on the longest), OP1 (on numbers) and FOLD (the function's name) defined.
 */
typedef D PASTE(FOLD, _acc) LOOSE;
typedef S PASTE(FOLD, _src) LOOSE;

static void PASTE(FOLD, _one)(char *dst, const char *src, const int64_t *at, int64_t scale, int64_t taps, int64_t n,
                              int resume) {
    for (int64_t i = 0; i < n; i++) {
        D acc = resume ? ((PASTE(FOLD, _acc) *)dst)[i] : (D)((const PASTE(FOLD, _src) *)(src + at[0] * scale))[i];
        for (int64_t t = !resume; t < taps; t++) {
            const D value = (D)((const PASTE(FOLD, _src) *)(src + at[t] * scale))[i];
            acc = OP1(acc, value);
        }
        ((PASTE(FOLD, _acc) *)dst)[i] = acc;
    }
}

/* Rows shorter than the longest vectors are common. */
#define WIDTH 16
#define WIDE_OP OP
#define THIS PASTE(FOLD, _short)
#define NARROWER PASTE(FOLD, _one)
#include "pool_wide.h"

#define WIDTH VECTOR_BYTES
#define WIDE_OP LONG_OP
#define THIS FOLD
#define NARROWER PASTE(FOLD, _short)
#include "pool_wide.h"

#undef S
#undef D
#undef M
#undef OP
#undef LONG_OP
#undef OP1
#undef FOLD
