/* Runs of unpooling and folding: elements moved to and from positions, rows added. */
#ifndef FASTCONV_UNPOOL_H
#define FASTCONV_UNPOOL_H
#include "pooling.h"

enum { PLACE, ADD, TAKE };

typedef int64_t index_any LOOSE;
typedef float float_any LOOSE;
typedef double double_any LOOSE;

/* `count` positions from `first` on, of `all` of a plane that elements are moved to or from: bytes from a flat position to
 * the next, from one lane to the next; or, if its rows and planes are not evenly apart (width > 0), bytes between columns,
 * rows and planes. */
typedef struct {
    int64_t first, all, count, step, lane, width, height, row, depth;
} Positions;

static inline int64_t place_apart(const Positions *p, int64_t at) {
    const int64_t y = at / p->width, z = y / p->height;
    return (at - y * p->width) * p->step + (y - z * p->height) * p->row + z * p->depth;
}

/* n elements at x + i * x_step with the positions at idx + i * idx_step: see UnpoolProblem.  Positions outside the plane
 * take no part; tells whether there was one, but for -1 where elements are added. */
static int unpool_run(char *plane, const Positions *p, char *x, int64_t x_step, const char *idx, int64_t idx_step,
                      int64_t n, int64_t kind, int64_t dtype, int64_t size) {
    const uint64_t count = (uint64_t)p->count, all = (uint64_t)p->all; /* copies: stores might change what p points to */
    const int64_t first = p->first;
    const int64_t step = p->step, lane = p->lane;
    int64_t outside = 0;
#define EACH(PLACE, LANE, X_STEP, IDX_STEP, DO, ELSE)               \
    for (int64_t i = 0; i < n; i++) {                               \
        const int64_t at = *(const index_any *)(idx + i * (IDX_STEP)) - first; \
        char *of = x + i * (X_STEP);                                \
        if ((uint64_t)at < count) {                                 \
            char *to = plane + i * (LANE) + (PLACE);                \
            DO;                                                     \
        } else {                                                    \
            if ((uint64_t)(at + first) >= all) outside |= (at + first + 1) | (kind != ADD); \
            ELSE;                                                   \
        }                                                           \
    }
#define EVERY(E, DO, ELSE)                                                                  \
    {                                                                                       \
        const int64_t own = sizeof(E), dense = x_step == own && idx_step == 8;              \
        if (p->width) EACH(place_apart(p, at), lane, x_step, idx_step, DO, ELSE)            \
        else if (dense && lane == 0 && step == own) EACH(at * own, 0, own, 8, DO, ELSE)     \
        else if (dense && lane == own) EACH(at * step, own, own, 8, DO, ELSE)               \
        else EACH(at * step, lane, x_step, idx_step, DO, ELSE)                              \
    }
#define PLACED(E) EVERY(E, *(E *)to = *(const E *)of, )
#define TAKEN(E) EVERY(E, *(E *)of = *(const E *)to, *(E *)of = 0)
#define ADDED(E) EVERY(E, *(E *)to += *(const E *)of, )
    if (kind == PLACE) { FOR_SIZE(size, PLACED) }
    else if (kind == TAKE) { FOR_SIZE(size, TAKEN) }
    else if (dtype == FLOAT32) { ADDED(float_any) }
    else if (dtype == FLOAT64) { ADDED(double_any) }
    else if (dtype == FLOAT16) EVERY(any16, *(float_any *)to += from_float16(*(const any16 *)of), )
    else EVERY(any16, *(float_any *)to += from_bfloat16(*(const any16 *)of), )
    return outside != 0;
#undef PLACED
#undef TAKEN
#undef ADDED
#undef EVERY
#undef EACH
}

/* Zeros, most often in few cache lines: a call of memset takes as long as ten. */
static inline void clear_run(char *dst, int64_t bytes) {
    for (; bytes >= 64; bytes -= 64, dst += 64) memset(dst, 0, 64);
    if (bytes) memset(dst, 0, (size_t)bytes);
}

/* n elements added to those of `dst`, which are floats for 16-bit ones. */
static void fold_run(char *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t n, int64_t dtype, int64_t size) {
#define ADD_EACH(E)                                                                                     \
    {                                                                                                   \
        if (dst_step == (int64_t)sizeof(E) && src_step == dst_step)                                     \
            for (int64_t i = 0; i < n; i++) ((E *)dst)[i] += ((const E *)src)[i];                       \
        else                                                                                            \
            for (int64_t i = 0; i < n; i++) *(E *)(dst + i * dst_step) += *(const E *)(src + i * src_step); \
    }
    if (dtype == FLOAT32) ADD_EACH(float_any)
    else if (dtype == FLOAT64) ADD_EACH(double_any)
    else if (dtype == FLOAT16)
        for (int64_t i = 0; i < n; i++) *(float_any *)(dst + i * dst_step) += from_float16(*(const any16 *)(src + i * src_step));
    else if (dtype == BFLOAT16)
        for (int64_t i = 0; i < n; i++) *(float_any *)(dst + i * dst_step) += from_bfloat16(*(const any16 *)(src + i * src_step));
    else {
        FOR_SIZE(size, ADD_EACH)
    }
#undef ADD_EACH
}

/* n elements `src_step` bytes apart, between zeros: a row of columns. */
static inline void unfold_row(char *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t before, int64_t n,
                              int64_t after, int64_t size) {
#define COPY(E)                                                                                              \
    {                                                                                                        \
        for (int64_t i = 0; i < before; i++, dst += dst_step) *(E *)dst = 0;                                 \
        if (dst_step == (int64_t)sizeof(E) && src_step == dst_step)                                          \
            for (int64_t i = 0; i < n; i++) ((E *)dst)[i] = ((const E *)src)[i];                             \
        else if (dst_step == (int64_t)sizeof(E) && src_step == 2 * dst_step)                                 \
            for (int64_t i = 0; i < n; i++) ((E *)dst)[i] = ((const E *)src)[2 * i];                         \
        else                                                                                                 \
            for (int64_t i = 0; i < n; i++) *(E *)(dst + i * dst_step) = *(const E *)(src + i * src_step);   \
        dst += n * dst_step;                                                                                 \
        for (int64_t i = 0; i < after; i++, dst += dst_step) *(E *)dst = 0;                                  \
    }
    FOR_SIZE(size, COPY)
#undef COPY
}

/* The reverse of pool_split: n elements of two runs in turn. */
static void fold_merge(char *dst, const char *even_bytes, const char *odd_bytes, int64_t n, int64_t size) {
#define MERGE(E)                                                                            \
    {                                                                                       \
        E *restrict to = (E *)dst;                                                          \
        const E *restrict even = (const E *)even_bytes, *restrict odd = (const E *)odd_bytes; \
        for (int64_t i = 0; i < n / 2; i++) to[2 * i] = even[i], to[2 * i + 1] = odd[i];    \
        if (n % 2) to[n - 1] = even[n / 2];                                                 \
    }
    FOR_SIZE(size, MERGE)
#undef MERGE
}
#endif
