/* Rank filters: keys, programs of minima and maxima, sorting.
 *
 * A key is a signed integer of the element's size that stands in the elements' order; NaN is above
 * all numbers.  The loops over tiles, rows and columns are in rank.pxi.
 */
#ifndef FASTCONV_RANK_H
#define FASTCONV_RANK_H
#include "tiles_all.h"
#if defined(__BMI2__)
#include <immintrin.h>
#endif

/* Instructions of fastconv.algorithms.network: five numbers. */
enum { RANK_MINIMUM, RANK_MAXIMUM, RANK_EXCHANGE, RANK_COPY };

#define K int8_t
#define NAME(x) x##_k8
#include "rank_keys.h"
#define K int16_t
#define NAME(x) x##_k16
#include "rank_keys.h"
#define K int32_t
#define F_BITS uint32_t
#define F_INFINITY 0x7f800000
#define F_NAN 0x7fc00000
#define NAME(x) x##_k32
#include "rank_keys.h"
#define K int64_t
#define F_BITS uint64_t
#define F_INFINITY 0x7ff0000000000000
#define F_NAN 0x7ff8000000000000
#define NAME(x) x##_k64
#include "rank_keys.h"

#define PICK_KEY(name, p) \
    _Generic((p), int8_t *: name##_k8, int16_t *: name##_k16, int32_t *: name##_k32, int64_t *: name##_k64)
#define rank_load(dst, ...) PICK_KEY(rank_load, dst)(dst, __VA_ARGS__)
#define rank_store(src, ...) PICK_KEY(rank_store, src)(src, __VA_ARGS__)
#define rank_execute(row, ...) PICK_KEY(rank_execute, row)(row, __VA_ARGS__)

/* ---- places in sorted order ---------------------------------------------------------------- */

/* Stable sort of n pairs by the lowest `bytes` bytes of their upper halves; returns where the result is. `counts` is memory for 256 a byte. */
static uint64_t *rank_sort(uint64_t *pairs, uint64_t *spare, uint32_t *counts, int64_t n, int64_t bytes) {
    memset(counts, 0, bytes * 256 * sizeof *counts);
    for (int64_t i = 0; i < n; i++)
        for (int64_t b = 0; b < bytes; b++) counts[256 * b + (pairs[i] >> (32 + 8 * b) & 255)]++;
    for (int64_t b = 0; b < bytes; b++) {
        const int64_t shift = 32 + 8 * b;
        uint32_t *count = counts + 256 * b, next = 0;
        if (count[pairs[0] >> shift & 255] == n) continue;
        for (int64_t digit = 0; digit < 256; digit++) {
            const uint32_t here = count[digit];
            count[digit] = next, next += here;
        }
        for (int64_t i = 0; i < n; i++) spare[count[pairs[i] >> shift & 255]++] = pairs[i];
        uint64_t *sorted = spare;
        spare = pairs, pairs = sorted;
    }
    return pairs;
}

/* The same by whole 64-bit keys, which the lower halves of the pairs are the places of.
 * 32 bits below the highest one in which keys differ nearly sort them; neighbours finish it, unless
 * too many are out of order: then all 64 bits are sorted by. */
static uint64_t *rank_sort_wide(uint64_t *pairs, uint64_t *spare, uint32_t *counts, int64_t n, const int64_t *keys) {
#define KEY(i) ((uint64_t)keys[(uint32_t)pairs[i]] ^ (uint64_t)1 << 63)
#define SORT_BY(bits)                                                                           \
    {                                                                                           \
        for (int64_t i = 0; i < n; i++) pairs[i] = (uint64_t)(uint32_t)(bits) << 32 | (uint32_t)pairs[i]; \
        uint64_t *sorted = rank_sort(pairs, spare, counts, n, 4);                                       \
        if (sorted != pairs) spare = pairs, pairs = sorted;                                     \
    }
    uint64_t low = ~(uint64_t)0, high = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t key = KEY(i);
        low = key < low ? key : low, high = key > high ? key : high;
    }
    const int shift = high == low ? 0 : __builtin_clzll(high - low);
    SORT_BY((KEY(i) - low) << shift >> 32)
    int64_t moves = 0;
    for (int64_t i = 1; i < n && moves <= 4 * n; i++) {
        const uint64_t pair = pairs[i], key = KEY(i);
        int64_t j = i;
        for (; j > 0 && moves <= 4 * n && KEY(j - 1) > key; j--, moves++) pairs[j] = pairs[j - 1];
        pairs[j] = pair;
    }
    if (moves > 4 * n) {
        SORT_BY(KEY(i))
        SORT_BY(KEY(i) >> 32)
    }
#undef SORT_BY
#undef KEY
    return pairs;
}

/* ---- a set of places ----------------------------------------------------------------------- */

/* Bits, and a word of them with the number of members below it. */
typedef struct {
    uint64_t *bits;
    int64_t word, below;
} RankSet;

static inline void rank_enter(RankSet *set, uint32_t place) {
    set->bits[place >> 6] |= (uint64_t)1 << (place & 63);
    set->below += (int64_t)(place >> 6) < set->word;
}

static inline void rank_leave(RankSet *set, uint32_t place) {
    set->bits[place >> 6] &= ~((uint64_t)1 << (place & 63));
    set->below -= (int64_t)(place >> 6) < set->word;
}

/* The member that `rank` others are below. */
static inline int64_t rank_member(RankSet *set, int64_t rank) {
    while (set->below > rank) set->below -= __builtin_popcountll(set->bits[--set->word]);
    for (int64_t here; set->below + (here = __builtin_popcountll(set->bits[set->word])) <= rank; set->word++)
        set->below += here;
    uint64_t word = set->bits[set->word];
#if defined(__BMI2__)
    return set->word * 64 + __builtin_ctzll(_pdep_u64((uint64_t)1 << (rank - set->below), word));
#else
    for (int64_t i = set->below; i < rank; i++) word &= word - 1;
    return set->word * 64 + __builtin_ctzll(word);
#endif
}

#endif
