/* A fold over taps in registers: pooling's one inner loop, along rows and columns alike.
 *
 *     dst[i] = src[at[0] + i] OP src[at[1] + i] OP ...   for 0 <= i < n
 *
 * `at` is in units of `scale` bytes.  With `resume` the fold goes on from what dst holds.  TAPS_TOGETHER are folded by
 * themselves first: rounding errors of long sums stay small (float32 means of 112x112 pixels were off by 2e-6, now 1e-7).
 * Included with S (element read), D (element accumulated), M (element on the way from S to
 * D), OP (on vectors), LONG_OP (on the longest), OP1 (on numbers) and FOLD (the function's name) defined.
 */
#define TAPS_TOGETHER 64
typedef D PASTE(FOLD, _acc) LOOSE;
typedef S PASTE(FOLD, _src) LOOSE;

static void PASTE(FOLD, _one)(char *dst, const char *src, const int64_t *at, int64_t scale, int64_t taps, int64_t n,
                              int resume) {
    for (int64_t i = 0; i < n && taps > 0; i++) {
        PASTE(FOLD, _acc) *to = (PASTE(FOLD, _acc) *)dst + i;
        D acc = resume ? *to : 0;
        for (int64_t t = 0; t < taps;) {
            const int begun = resume || t > 0;
            const int64_t end = t + TAPS_TOGETHER < taps ? t + TAPS_TOGETHER : taps;
            D part = (D)((const PASTE(FOLD, _src) *)(src + at[t] * scale))[i];
            for (t++; t < end; t++) {
                const D value = (D)((const PASTE(FOLD, _src) *)(src + at[t] * scale))[i];
                part = OP1(part, value);
            }
            acc = begun ? OP1(acc, part) : part;
        }
        *to = acc;
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

#undef TAPS_TOGETHER
#undef S
#undef D
#undef M
#undef OP
#undef LONG_OP
#undef OP1
#undef FOLD
