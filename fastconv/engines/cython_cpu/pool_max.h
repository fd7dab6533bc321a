/* Maxima of elements of type T: the fold, and the scan that also finds where the maximum is.
 *
 * Scanning a row of taps, with the best so far:
 *
 *     for each tap t: where src[at[t] + i] is greater than best[i], or NaN,
 *                     best[i] = src[at[t] + i], place[i] = offset + t * step
 *
 * `at` counts elements.  Scanning an element twice changes nothing, so the last vector may
 * overlap its neighbour.  Included by pooling.h with T, PLACE (an integer), LOWEST (bits) and
 * NAME(x) defined.
 */
#define S T
#define D T
#define OP MAX
#define OP1 MAX1
#define FOLD NAME(max)
#include "pool_fold.h"
#undef S
#undef D

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(PLACE)))

typedef T NAME(value) LOOSE;
typedef PLACE NAME(place) LOOSE;
typedef T NAME(values) __attribute__((vector_size(VECTOR_BYTES / sizeof(PLACE) * sizeof(T)), aligned(1), may_alias));
typedef PLACE NAME(places) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

static inline __attribute__((always_inline)) void NAME(scan_block)(
    NAME(value) *best, NAME(place) *place, const NAME(value) *src, const int64_t *at, int64_t taps, PLACE offset,
    PLACE step, const int vectors) {
    NAME(values) b[2];
    NAME(places) p[2];
    for (int v = 0; v < vectors; v++) b[v] = ((NAME(values) *)best)[v], p[v] = ((NAME(places) *)place)[v];
    for (int64_t t = 0; t < taps; t++, offset += step)
        for (int v = 0; v < vectors; v++) {
            const NAME(values) value = ((const NAME(values) *)(src + at[t]))[v];
            const __typeof__(value > b[v]) greater = GREATER(value, b[v]);
            const NAME(places) chosen = __builtin_convertvector(greater, NAME(places));
            b[v] = BLEND(greater, value, b[v]);
            p[v] = BLEND(chosen, (NAME(places)){0} + offset, p[v]);
        }
    for (int v = 0; v < vectors; v++) ((NAME(values) *)best)[v] = b[v], ((NAME(places) *)place)[v] = p[v];
}

static void NAME(scan)(char *best_bytes, char *place_bytes, const char *src_bytes, const int64_t *at, int64_t taps,
                       int64_t offset, int64_t step, int64_t n) {
    NAME(value) *best = (NAME(value) *)best_bytes;
    NAME(place) *place = (NAME(place) *)place_bytes;
    const NAME(value) *src = (const NAME(value) *)src_bytes;
    int64_t i = 0;
#define BLOCK(i, vectors) NAME(scan_block)(best + (i), place + (i), src + (i), at, taps, offset, step, vectors)
    for (; i + 2 * LANES <= n; i += 2 * LANES) BLOCK(i, 2);
    for (; i + LANES <= n; i += LANES) BLOCK(i, 1);
    if (i < n && n >= LANES) {
        BLOCK(n - LANES, 1);
        return;
    }
#undef BLOCK
    for (; i < n; i++)
        for (int64_t t = 0; t < taps; t++) {
            const T value = src[at[t] + i];
            if (!GREATER(value, best[i])) continue;
            best[i] = value;
            place[i] = (PLACE)(offset + t * step);
        }
}

static const PoolOps NAME(max_pool) = {
    .size = sizeof(T), .acc_size = sizeof(T), .place_size = sizeof(PLACE), .identity = (int64_t)(LOWEST),
    .fold_rows = NAME(max), .fold_taps = NAME(max), .scan = NAME(scan),
};

#undef LANES
#undef T
#undef PLACE
#undef LOWEST
#undef NAME
