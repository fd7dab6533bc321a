/* Vectors of bytes, and of the wider integers that are made of them, at the width this build is compiled for.
 *
 * Unpacking and packing work within parts of 16 bytes, so that packing restores the order that unpacking left. */
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef uint8_t bytes_t __attribute__((vector_size(VECTOR_BYTES)));
typedef int16_t words_t __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t ints_t __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t bytesu_t __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

#define LOAD_BYTES(p) ((bytes_t) * (const bytesu_t *)(p))
#define STORE_BYTES(p, v) (*(bytesu_t *)(p) = (bytesu_t)(v))

#if defined(__AVX512BW__)
#define RAW(v) ((__m512i)(v))
#define OP(name) _mm512_##name
#elif defined(__AVX2__)
#define RAW(v) ((__m256i)(v))
#define OP(name) _mm256_##name
#elif defined(__SSE4_1__)
#define RAW(v) ((__m128i)(v))
#define OP(name) _mm_##name
#endif

#if defined(OP)
static inline bytes_t low_bytes(bytes_t a, bytes_t b) { return (bytes_t)OP(unpacklo_epi8)(RAW(a), RAW(b)); }
static inline bytes_t high_bytes(bytes_t a, bytes_t b) { return (bytes_t)OP(unpackhi_epi8)(RAW(a), RAW(b)); }
static inline ints_t low_words(words_t a, words_t b) { return (ints_t)OP(unpacklo_epi16)(RAW(a), RAW(b)); }
static inline ints_t high_words(words_t a, words_t b) { return (ints_t)OP(unpackhi_epi16)(RAW(a), RAW(b)); }
/* Neighbours times `signs` (signed bytes), added. */
static inline words_t couples(bytes_t a, bytes_t signs) { return (words_t)OP(maddubs_epi16)(RAW(a), RAW(signs)); }
/* Both words of each element times both of `w`, added. */
static inline ints_t products(ints_t a, ints_t w) { return (ints_t)OP(madd_epi16)(RAW(a), RAW(w)); }
static inline bytes_t pack_words(words_t a, words_t b) { return (bytes_t)OP(packus_epi16)(RAW(a), RAW(b)); }
static inline bytes_t pack_signed(words_t a, words_t b) { return (bytes_t)OP(packs_epi16)(RAW(a), RAW(b)); }
static inline bytes_t look_up(bytes_t table, bytes_t at) { return (bytes_t)OP(shuffle_epi8)(RAW(table), RAW(at)); }
#else
#define EACH(T, n, value) T r; for (int i = 0; i < (n); i++) r[i] = (value); return r
static inline bytes_t low_bytes(bytes_t a, bytes_t b) { EACH(bytes_t, 16, i % 2 ? b[i / 2] : a[i / 2]); }
static inline bytes_t high_bytes(bytes_t a, bytes_t b) { EACH(bytes_t, 16, i % 2 ? b[8 + i / 2] : a[8 + i / 2]); }
static inline ints_t low_words(words_t a, words_t b) { EACH(ints_t, 4, (uint16_t)a[i] | (int32_t)b[i] * 65536); }
static inline ints_t high_words(words_t a, words_t b) { EACH(ints_t, 4, (uint16_t)a[4 + i] | (int32_t)b[4 + i] * 65536); }
static inline words_t couples(bytes_t a, bytes_t signs) {
    EACH(words_t, 8, (int16_t)(a[2 * i] * (int8_t)signs[2 * i] + a[2 * i + 1] * (int8_t)signs[2 * i + 1]));
}
static inline ints_t products(ints_t a, ints_t w) {
    const words_t x = (words_t)a, y = (words_t)w;
    EACH(ints_t, 4, x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1]);
}
static inline uint8_t held(int32_t v, int32_t least, int32_t most) { return (uint8_t)(v < least ? least : v > most ? most : v); }
static inline bytes_t pack_words(words_t a, words_t b) { EACH(bytes_t, 16, held(i < 8 ? a[i & 7] : b[i & 7], 0, 255)); }
static inline bytes_t pack_signed(words_t a, words_t b) { EACH(bytes_t, 16, held(i < 8 ? a[i & 7] : b[i & 7], -128, 127)); }
static inline bytes_t look_up(bytes_t table, bytes_t at) { EACH(bytes_t, 16, at[i] & 128 ? 0 : table[at[i] & 15]); }
#undef EACH
#endif

/* The high and the low words of elements. */
static inline void halves(words_t *high, words_t *low, ints_t a, ints_t b) {
#if defined(__AVX512BW__)
#define PART(i, j) i, i + 2, i + 4, i + 6, j, j + 2, j + 4, j + 6
#define PLACES(at) PART(at, 32 + at), PART(8 + at, 40 + at), PART(16 + at, 48 + at), PART(24 + at, 56 + at)
    *high = __builtin_shufflevector((words_t)a, (words_t)b, PLACES(1));
    *low = __builtin_shufflevector((words_t)a, (words_t)b, PLACES(0));
#elif defined(OP)
    const bytes_t apart = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
#if VECTOR_BYTES == 32
                           0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15
#endif
    };
    const bytes_t x = look_up((bytes_t)a, apart), y = look_up((bytes_t)b, apart);
    *low = (words_t)OP(unpacklo_epi64)(RAW(x), RAW(y));
    *high = (words_t)OP(unpackhi_epi64)(RAW(x), RAW(y));
#else
    for (int i = 0; i < 8; i++) {
        const int32_t v = i < 4 ? a[i & 3] : b[i & 3];
        (*high)[i] = (int16_t)(v >> 16);
        (*low)[i] = (int16_t)v;
    }
#endif
}

/* A bit for each byte: where `a` is 0 and `b` is not. */
static inline uint64_t zero_and_not(bytes_t a, bytes_t b) {
#if defined(__AVX512BW__)
    return _mm512_mask_test_epi8_mask(_mm512_testn_epi8_mask(RAW(a), RAW(a)), RAW(b), RAW(b));
#elif defined(OP)
    return (uint32_t)OP(movemask_epi8)(RAW((a == 0) & (b != 0)));
#else
    const bytes_t both = (bytes_t)((a == 0) & (b != 0));
    uint64_t bits = 0;
    for (int i = 0; i < VECTOR_BYTES; i++) bits |= (uint64_t)(both[i] & 1) << i;
    return bits;
#endif
}

/* One less where a table of 256 bits has a 1 at `at` and `elsewhere` is 0. */
static inline bytes_t less_where(bytes_t v, const bytes_t table[3], bytes_t at, bytes_t elsewhere) {
    const bytes_t place = (bytes_t)((words_t)at >> 3) & 31; /* of 32 bytes, the second half of which is in table[1] */
    const bytes_t row = look_up(table[0], place + 0x70) | look_up(table[1], place - 16);
    const bytes_t bit = look_up(table[2], at & 7);
#if defined(__AVX512BW__)
    const __mmask64 here = _mm512_testn_epi8_mask(RAW(elsewhere), RAW(elsewhere));
    return (bytes_t)_mm512_mask_add_epi8(RAW(v), _mm512_mask_test_epi8_mask(here, RAW(row), RAW(bit)), RAW(v), _mm512_set1_epi8(-1));
#else
    return v + (bytes_t)(((row & bit) != 0) & (elsewhere == 0));
#endif
}
