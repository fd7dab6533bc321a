/* The loops over missing samples; included by normalized.h once per element type T, INT being the integer of its size. */
#define V NAME(vec)
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define AHEAD ((int64_t)(AHEAD_BYTES / sizeof(T)))
#define LOAD(p) ((V) * (const NAME(vecu) *)(p))
#define STORE(p, v) (*(NAME(vecu) *)(p) = (v))
#define EACH_VECTOR_OF(j, n) _Pragma("GCC unroll 32") for (int64_t j = 0; j < (n); j += LANES)

typedef INT NAME(flags) __attribute__((vector_size(VECTOR_BYTES)));

/* values[i] = NaN where marks[i] is not 0. */
static void NAME(mark)(T *values, const T *marks, int64_t n) {
    for (int64_t i = 0; i < n; i++) values[i] = marks[i] != 0 ? (T)__builtin_nan("") : values[i];
}

/* A vector copied, with 0 for NaN.  Bit i: element i was NaN. */
static inline uint64_t NAME(copy_numbers)(T *dst, const T *src) {
    const V v = LOAD(src);
    STORE(dst, (V)((NAME(flags))v & (NAME(flags))(v == v)));
#if defined(__AVX512F__)
    return NAN_BITS512(v);
#elif defined(__AVX2__)
    return (uint32_t)NAN_BITS256(v);
#elif defined(__SSE2__)
    return (uint32_t)NAN_BITS128(v);
#else
    uint64_t bits = 0;
    for (int i = 0; i < LANES; i++) bits |= (uint64_t)(v[i] != v[i]) << i;
    return bits;
#endif
}

/* The same for up to 64 elements. */
static inline uint64_t NAME(copy_block)(T *dst, const T *src, int64_t n) {
    uint64_t bits = 0;
    if (n >= 64) {
        EACH_VECTOR_OF(j, 64) {
            __builtin_prefetch(src + j + AHEAD);
            bits |= NAME(copy_numbers)(dst + j, src + j) << j;
        }
        return bits;
    }
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) bits |= NAME(copy_numbers)(dst + j, src + j) << j;
    for (; j < n; j++) {
        const T v = src[j];
        bits |= (uint64_t)(v != v) << j;
        dst[j] = v == v ? v : 0;
    }
    return bits;
}

/* dst = src of n elements with 0 for NaN, and where `mask` is set (NULL: nowhere); the places of those, (y, x and on), follow `found` others in `places`
 * (NULL: nobody asks).  How many there are now; -1, and the copy is not complete, if they are more than `most`, or were before. */
static int64_t NAME(take_gaps)(T *dst, const T *src, const uint8_t *mask, int64_t n, int64_t y, int64_t x, int32_t *places,
                               int64_t found, int64_t most) {
    if (found < 0) return found;
    for (int64_t i = 0; i < n; i += 64) {
        if (mask) __builtin_prefetch(mask + i + AHEAD);
        uint64_t bits = NAME(copy_block)(dst + i, src + i, n - i), masked = mask ? mask_bits(mask + i, n - i) : 0;
        for (bits |= masked; masked; masked &= masked - 1) dst[i + __builtin_ctzll(masked)] = 0;
        if (!bits || !places) continue;
        const int64_t end = found + __builtin_popcountll(bits);
        if (end > most) return -1;
        for (; found < end; found++, bits &= bits - 1) {
            places[2 * found] = (int32_t)y;
            places[2 * found + 1] = (int32_t)(x + i + __builtin_ctzll(bits));
        }
    }
    return found;
}

/* to[0 .. vectors] += w, of n rows upwards. */
static inline __attribute__((always_inline)) void NAME(add_rows)(T *to, int64_t pitch, const T *w, int64_t w_pitch,
                                                                 int64_t n, const int64_t vectors) {
    for (int64_t i = 0; i < n; i++, to -= pitch, w += w_pitch)
        EACH_VECTOR_OF(j, vectors * LANES) STORE(to + j, LOAD(to + j) + LOAD(w + j));
}

/* The weights of each of n places onto the windows that it is in, of `rows` rows: w[ky], reversed between zeros,
 * onto the row dilation_y * ky above.  Vectors of `missing` are aligned, so that a load finds what was just stored:
 * where they overlapped in part, each waited for the one before. */
static void NAME(add_missing)(T *missing, int64_t pitch, const T *w, int64_t w_pitch, const int32_t *places, int64_t n,
                              int64_t rows, int64_t kernel_y, int64_t dilation_y) {
    const int64_t vectors = w_pitch / LANES - 1;
    for (int64_t i = 0; i < n; i++) {
        const int64_t y = places[2 * i], x = places[2 * i + 1], part = x % LANES, above = y / dilation_y;
        const int64_t first = y < rows ? 0 : (y - rows) / dilation_y + 1, last = above < kernel_y ? above : kernel_y - 1;
        T *to = missing + (y - first * dilation_y) * pitch + x - part;
        const T *from = w + first * w_pitch + LANES - part;
#define ADD_ROWS(vectors) NAME(add_rows)(to, dilation_y * pitch, from, w_pitch, last - first + 1, vectors)
        if (vectors == 2) ADD_ROWS(2);
        else if (vectors == 3) ADD_ROWS(3);
        else ADD_ROWS(vectors);
#undef ADD_ROWS
    }
}

/* sums *= complete / (complete - missing), n elements of each row in whole vectors; missing becomes 0, `margin` elements
 * further, too.  Whether a window lacks more than half of its weight. */
static int NAME(scale)(T *sums, int64_t step, T *missing, int64_t pitch, T complete, int64_t rows, int64_t n, int64_t margin) {
    const T sign = complete < 0 ? -1 : 1, half = complete * sign / 2;
    NAME(flags) most = {0};
    int found = 0;
    for (int64_t row = 0; row < rows; row++, sums += step, missing += pitch) {
        int64_t i = 0;
        for (; i < n; i += LANES) {
            const V lack = LOAD(missing + i);
            __builtin_prefetch(sums + i + AHEAD, 1);
            STORE(missing + i, (V){0});
            STORE(sums + i, LOAD(sums + i) * (complete / (complete - lack)));
            most |= (NAME(flags))(lack * sign > half);
        }
        for (; i < n + margin; i += LANES) STORE(missing + i, (V){0});
    }
    for (int i = 0; i < LANES; i++) found |= most[i] != 0;
    return found;
}

#undef V
#undef LANES
#undef AHEAD
#undef LOAD
#undef STORE
#undef EACH_VECTOR_OF
#undef T
#undef INT
#undef NAME
#undef NAN_BITS512
#undef NAN_BITS256
#undef NAN_BITS128
