/* Windows along rows of 32-bit elements that overlap, in registers; included by sliding_kind.h with V, VU, OP and NAME(x).
 *
 * From a vector and the next one, those of windows that begin in it: windows of 2, 4, 8 and 16 elements double, the last
 * shift is what is left.  Five maxima and five shifts for 31 elements; passes over the first cache take 7 maxima, 10
 * loads and 3 stores (cycles a vector: 9 elements 4.9, passes 8.0; 31: 7.0 and 10.5; 101: 11 and 24).
 */
#define SHIFTED(v, next, n) ((V)_mm512_alignr_epi32((__m512i)(next), (__m512i)(v), n))

/* The windows of 2^levels elements that begin `levels` vectors before `next`, which follows those seen before. */
static inline __attribute__((always_inline)) V NAME(doubled)(V *seen, V next, const int levels) {
#define DOUBLE(level)                                               \
    if (levels > level) {                                           \
        const V made = OP(seen[level], SHIFTED(seen[level], next, 1 << level)); \
        seen[level] = next;                                         \
        next = made;                                                \
    }
    DOUBLE(0)
    DOUBLE(1)
    DOUBLE(2)
    DOUBLE(3)
#undef DOUBLE
    return next;
}

static inline __attribute__((always_inline)) void NAME(line)(char *dst, const char *src, int64_t taps, int64_t n,
                                                             const char *next_row, const int levels) {
    const int first = (int)((uintptr_t)dst % VECTOR_BYTES / 4);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i shift = _mm512_add_epi32(lane, _mm512_set1_epi32((int)taps - (1 << levels)));
    int64_t i = -4 * (int64_t)first;
    V seen[4], before;
    const char *at = src + i;
    for (int level = 0; level < levels; level++) seen[level] = *(const VU *)at;
    for (int level = 0; level < levels; level++) before = NAME(doubled)(seen, *(const VU *)(at += VECTOR_BYTES), levels);
    for (; i < n; i += VECTOR_BYTES) {
        const V behind = NAME(doubled)(seen, *(const VU *)(at += VECTOR_BYTES), levels);
        const V made = OP(before, (V)_mm512_permutex2var_epi32((__m512i)before, shift, (__m512i)behind));
        before = behind;
        if (next_row != NULL) __builtin_prefetch(next_row + i);
        if (i >= 0 && i + VECTOR_BYTES <= n) *(VU *)(dst + i) = made;
        else {
            const __mmask16 end = n - i < VECTOR_BYTES ? (__mmask16)((1u << (n - i) / 4) - 1) : (__mmask16)-1;
            const __mmask16 begin = i < 0 ? (__mmask16)(0xffffu << first) : (__mmask16)-1;
            _mm512_mask_storeu_epi32(dst + i, begin & end, (__m512i)made);
        }
    }
}

/* Those of 16 elements, or (`far`) 64, that begin in each element of a run of n bytes, where the element was. */
static inline __attribute__((always_inline)) void NAME(grow)(char *src, int64_t n, const int far) {
    V seen[4], made, sixteens, thirties, older;
    const char *at = src;
    for (int level = 0; level < 4; level++) seen[level] = *(const VU *)at;
    sixteens = thirties = older = seen[0];
    for (int64_t i = far ? -7 : -4; i < n / VECTOR_BYTES + 1; i++) {
        if (i >= 0) *(VU *)(src + i * VECTOR_BYTES) = made;
        made = NAME(doubled)(seen, *(const VU *)(at += VECTOR_BYTES), 4);
        if (far) {
            const V newest = OP(sixteens, made);
            sixteens = made;
            made = OP(older, newest);
            older = thirties, thirties = newest;
        }
    }
}

/* Windows of 5 elements and more, of `rows` rows of n bytes; those of src are overwritten. */
static void NAME(overlapping)(char *dst, int64_t dst_step, char *src, int64_t src_step, int64_t taps, int64_t rows, int64_t n,
                              const Ahead *ahead) {
    if (taps <= 32) {
        for (int64_t row = 0; row < rows; row++, dst += dst_step, src += src_step) {
            const char *next_row = ahead->row == NULL ? NULL : ahead->row[row] + ahead->by;
            if (taps <= 8) NAME(line)(dst, src, taps, n, next_row, 2);
            else if (taps <= 16) NAME(line)(dst, src, taps, n, next_row, 3);
            else NAME(line)(dst, src, taps, n, next_row, 4);
        }
        return;
    }
    const char *from[4] = {src, src, src, src};
    const int64_t all = rows * src_step, window = 4 * taps; /* bytes, as what follows */
    int64_t reach = taps <= 64 ? 64 : 256, count = 1;
    if (taps <= 64) NAME(grow)(src, all - 64, 0);
    else NAME(grow)(src, all - 256, 1);
    for (; 4 * reach < window; reach *= 4) {
        for (int k = 1; k < 4; k++) from[k] = src + k * reach;
        NAME(fold)(src, from, 4, all - 4 * reach + 4);
    }
    for (; count * reach < window; count++) {
        const int64_t step = count * reach, most = window - reach;
        from[count] = src + (step < most ? step : most);
    }
    NAME(last)(dst, dst_step, from, src_step, count, rows, n, NULL, ahead);
}
#undef SHIFTED
