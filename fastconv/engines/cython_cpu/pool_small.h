/* Pooling of planes that fit into a few registers, whatever their windows: taps are looked up.
 *
 *     dst[i] = OP over t < taps of plane[table[t][i]]      for 0 <= i < out
 *
 * A plane's elements are the lanes of up to four vectors, those behind them hold the fold's identity, which taps beyond the
 * plane read.  `table` has for each vector of outputs what they are divided by (averages), then the taps' lanes, those
 * inside in C order first: where a tap lies is its position, too.  Before all are the factors of elements (gradients).
 * Included with T, T_PLACE, SUFFIX and NAME(x) defined.
 */
#define V PASTE(lanes_, SUFFIX)
#define P PASTE(marks_, SUFFIX)
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))

HERE V NAME(tap)(const V *v, P at, const int pairs) {
    const V low = (V)__builtin_shuffle(v[0], v[1], at);
    if (pairs == 1) return low;
    const V high = (V)__builtin_shuffle(v[2], v[3], at);
    return BLEND((at & (T_PLACE)(2 * LANES)) != 0, high, low);
}

/* Whether all divisors are powers of two, which are multiplied by exactly: 2x2 windows of 7x7 take two thirds of the time. */
HERE int NAME(inverse)(V *inverse, const T *divisor) {
    int exact = 1;
    for (int i = 0; i < LANES; i++) {
        const int64_t n = (int64_t)divisor[i];
        exact &= (n & (n - 1)) == 0;
        (*inverse)[i] = 1 / divisor[i];
    }
    return exact;
}

HERE void NAME(planes)(const PlaneLanes *given, char *out, const char *end, char *idx, int64_t count, const char *src,
                       const int kind, const int pairs, const int64_t taps) {
    const PlaneLanes copy = *given, *p = &copy; /* stores might change the original */
    const V none = (V){0} - (kind == LANES_MAX || kind == LANES_PLACES ? INFINITY : 0);
    V inverse = none;
    const int exact = kind == LANES_AVERAGE && p->out <= LANES && NAME(inverse)(&inverse, (const T *)p->table);
    for (; count; count--, src += p->x_step, out += p->out_step, idx += p->idx_step) {
        const char *table = p->table;
        V v[4];
        for (int i = 0; i < 2 * pairs; i++) {
            const int64_t left = p->in - i * LANES;
            v[i] = PASTE(load_some_, SUFFIX)(src + i * VECTOR_BYTES, left < 0 ? 0 : left > LANES ? LANES : left, none);
            __builtin_prefetch(src + i * VECTOR_BYTES + AHEAD);
        }
        if (kind == LANES_GRADIENT) {
            for (int i = 0; i < 2 * pairs; i++) v[i] *= ((const V *)table)[i];
            table += 2 * pairs * VECTOR_BYTES;
        }
        for (int64_t i = 0; i < p->out; i += LANES) {
            const V *divisor = (const V *)table;
            if (kind == LANES_AVERAGE) table += VECTOR_BYTES;
            P place = *(const P *)table;
            V acc = NAME(tap)(v, place, pairs);
            for (int64_t t = 1; t < taps; t++) {
                const P at = ((const P *)table)[t];
                const V value = NAME(tap)(v, at, pairs);
                if (kind == LANES_PLACES) PASTE(pick_, SUFFIX)(&acc, &place, value, at);
                else if (kind == LANES_MAX) acc = PASTE(top_, SUFFIX)(acc, value);
                else acc += value;
            }
            table += taps * VECTOR_BYTES;
            if (kind == LANES_AVERAGE) acc = exact ? acc * inverse : acc / *divisor;
            char *to = out + i * (int64_t)sizeof(T);
            if (to + VECTOR_BYTES <= end) {
                *(V *)to = acc;
                if (kind == LANES_PLACES) save_positions(idx + i * 8, &place, sizeof(T), 0);
            } else {
                const int64_t n = p->out - i < LANES ? p->out - i : LANES;
                PASTE(save_some_, SUFFIX)(to, acc, n);
                if (kind == LANES_PLACES) save_some_positions(idx + i * 8, &place, sizeof(T), 0, n);
            }
        }
        if (!p->flat) end += p->out_step;
    }
}

#define SHAPE(shape, kind, pairs, taps)                                                                                    \
    static void NAME(shape)(const PlaneLanes *p, char *out, const char *end, char *idx, int64_t count, const char *src) {  \
        NAME(planes)(p, out, end, idx, count, src, kind, pairs, taps);                                                     \
    }
#define KIND(name, kind)               \
    SHAPE(name##_1, kind, 1, p->taps)  \
    SHAPE(name##_2, kind, 2, p->taps)  \
    SHAPE(name##_2_4, kind, 2, 4)      \
    SHAPE(name##_2_9, kind, 2, 9)
KIND(max, LANES_MAX)
KIND(average, LANES_AVERAGE)
KIND(gradient, LANES_GRADIENT)
KIND(places, LANES_PLACES)
#undef KIND
#undef SHAPE

static PoolLanes *NAME(of)(const PlaneLanes *p, int kind) {
#define OF(name) (p->in <= 2 * LANES - 1 ? NAME(name##_1) : p->taps == 4 ? NAME(name##_2_4) : p->taps == 9 ? NAME(name##_2_9) : NAME(name##_2))
    return kind == LANES_MAX ? OF(max) : kind == LANES_AVERAGE ? OF(average) : kind == LANES_GRADIENT ? OF(gradient) : OF(places);
#undef OF
}
#include "pool_lines.h"
#undef V
#undef P
#undef LANES
#undef T
#undef T_PLACE
#undef SUFFIX
#undef NAME
