/* Maxima of elements of type T: the fold, and the scan that also finds where the maximum is.
 *
 * Scanning a row of taps, with the best so far:
 *
 *     for each tap t: where src[at[t] + i] is greater than best[i], or NaN,
 *                     best[i] = src[at[t] + i], place[i] = offset + t * step
 *
 * `at` is in units of `scale` bytes.  n is rounded up to whole vectors of at most 16 elements.
 * Included by pooling.h with T, PLACE (an integer), LOWEST (bits), NAME(x) and, of floats, SUFFIX defined.
 */
#ifdef SUFFIX
#define TOP PASTE(top_, SUFFIX)
#else
#define TOP MAX
#endif
#define S T
#define D T
#define M T
#define OP MAX
#define LONG_OP TOP
#define OP1 MAX1
#define FOLD NAME(max)
#include "pool_fold.h"

/* The maximum of no elements. */
static inline T NAME(floor)(void) {
    const int64_t bits = (int64_t)(LOWEST);
    T value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
#define D T
#define OP TOP
#define OP1 MAX1
#define NOTHING NAME(floor)()
#define RUNS NAME(max_runs)
#include "pool_runs.h"

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(PLACE)))

typedef T NAME(values) __attribute__((vector_size(VECTOR_BYTES / sizeof(PLACE) * sizeof(T)), aligned(1), may_alias));
typedef PLACE NAME(places) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

static inline __attribute__((always_inline)) void NAME(scan_tap)(
    NAME(values) *b, NAME(places) *p, const char *src, PLACE place, const int vectors) {
    for (int v = 0; v < vectors; v++) {
        const NAME(values) value = ((const NAME(values) *)src)[v];
        const __typeof__(value > b[v]) greater = GREATER(value, b[v]);
        const NAME(places) chosen = __builtin_convertvector(greater, NAME(places));
        b[v] = BLEND(greater, value, b[v]);
        p[v] = BLEND(chosen, (NAME(places)){0} + place, p[v]);
    }
}

static inline __attribute__((always_inline)) void NAME(scan_block)(
    char *best, char *place, const char *src, const int64_t *at, int64_t scale, int64_t taps, PLACE offset, PLACE step,
    const int vectors) {
    NAME(values) b[4];
    NAME(places) p[4];
    for (int v = 0; v < vectors; v++) b[v] = ((NAME(values) *)best)[v], p[v] = ((NAME(places) *)place)[v];
    for (int64_t t = 0; t < taps; t++, offset += step)
        NAME(scan_tap)(b, p, src + at[t] * scale, offset, vectors);
    for (int v = 0; v < vectors; v++) ((NAME(values) *)best)[v] = b[v], ((NAME(places) *)place)[v] = p[v];
}

static void NAME(scan)(char *best, char *place, const char *src, const int64_t *at, int64_t scale, int64_t taps,
                       int64_t offset, int64_t step, int64_t n) {
    int64_t i = 0;
#define BLOCK(vectors)                                                                                        \
    NAME(scan_block)(best + i * sizeof(T), place + i * sizeof(PLACE), src + i * sizeof(T), at, scale, taps, \
                     (PLACE)offset, (PLACE)step, vectors)
    for (; i + 4 * LANES <= n; i += 4 * LANES) BLOCK(4);
    for (; i < n; i += LANES) BLOCK(1);
#undef BLOCK
}

/* All taps of a window in registers, its maximum and their positions written once: 2x2 windows of 8x28x28x256 took 3.6
 * times as long row by row. */
static inline __attribute__((always_inline)) void NAME(scan_pixel)(
    char *out, char *idx, const char *src, const ScannedWindows *w, int64_t corner, const int vectors) {
    NAME(values) b[4];
    NAME(places) p[4];
    for (int v = 0; v < vectors; v++) {
        b[v] = ((const NAME(values) *)(src + w->at[0]))[v];
        p[v] = (NAME(places)){0} + (PLACE)w->place[0];
    }
    for (int64_t t = 1; t < w->taps; t++) NAME(scan_tap)(b, p, src + w->at[t], (PLACE)w->place[t], vectors);
    for (int v = 0; v < vectors; v++) ((NAME(values) *)out)[v] = b[v];
    for (int v = 0; v < vectors; v++) save_positions(idx + v * LANES * 8, p + v, sizeof(PLACE), corner);
}

static void NAME(scan_windows)(char *out, char *idx, const char *src, const ScannedWindows *given) {
    const ScannedWindows copy = *given, *w = &copy; /* stores might change the original */
    for (int64_t pixel = 0; pixel < w->pixels; pixel++, src += w->src_step) {
        const int64_t corner = w->corner + pixel * w->corner_step;
        int64_t i = 0;
#define PIXEL(vectors) NAME(scan_pixel)(out + i * sizeof(T), idx + i * 8, src + i * sizeof(T), w, corner, vectors)
        for (; i + 4 * LANES <= w->lanes; i += 4 * LANES) PIXEL(4);
        for (; i < w->lanes; i += LANES) PIXEL(1);
#undef PIXEL
        out += w->lanes * sizeof(T), idx += w->lanes * 8;
    }
}

/* Scanning a row of windows[4 * i + 1] neighbouring taps for each i: long ones are folded before they are searched. */
static void NAME(scan_runs)(char *best, char *place, const char *src, const int64_t *windows, int64_t offset, int64_t n) {
    typedef T any LOOSE;
    typedef PLACE at_any LOOSE;
    for (int64_t i = 0; i < n; i++, windows += 4) {
        const any *from = (const any *)src + windows[0];
        const int64_t taps = windows[1];
        T top = ((any *)best)[i];
        int64_t at = -1;
        if (taps < 4 * LANES) {
            for (int64_t t = 0; t < taps; t++)
                if (GREATER(from[t], top)) top = from[t], at = t;
        } else {
            const T found = PASTE(NAME(max_runs), _one)(from, taps);
            if (found != found)
                for (at = taps - 1; from[at] == from[at]; at--) {}
            else if (found > top)
                for (at = 0; from[at] != found; at++) {}
            if (at >= 0) top = found;
        }
        if (at >= 0) ((any *)best)[i] = top, ((at_any *)place)[i] = (PLACE)(offset + windows[0] + at);
    }
}

static const PoolOps NAME(max_pool) = {
    .size = sizeof(T), .acc_size = sizeof(T), .place_size = sizeof(PLACE), .identity = (int64_t)(LOWEST),
    .fold_rows = NAME(max), .fold_taps = NAME(max), .scan = NAME(scan), .scan_windows = NAME(scan_windows),
    .fold_runs = NAME(max_runs), .scan_runs = NAME(scan_runs),
};

#undef LANES
#undef T
#undef PLACE
#undef LOWEST
#undef TOP
#ifdef SUFFIX
#undef SUFFIX
#endif
#undef NAME
