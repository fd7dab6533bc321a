/* Vectors of bytes, and of the wider integers that are made of them, at the width this build is compiled for.
 *
 * Unpacking and packing work within parts of 16 bytes, so that packing restores the order that unpacking left.
 * Without these instructions the compiler shuffles and multiplies what vectors there are. */
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
typedef uint16_t uwords_t __attribute__((vector_size(VECTOR_BYTES)));
#define SHUFFLE(T, a, b, ...) ((T)__builtin_shuffle((bytes_t)(a), (bytes_t)(b), (bytes_t){__VA_ARGS__}))
#define MIXED(i) i, 16 + i, i + 1, 17 + i, i + 2, 18 + i, i + 3, 19 + i
#define MIXED_WORDS(i) i, i + 1, 16 + i, 17 + i, i + 2, i + 3, 18 + i, 19 + i
static inline bytes_t low_bytes(bytes_t a, bytes_t b) { return SHUFFLE(bytes_t, a, b, MIXED(0), MIXED(4)); }
static inline bytes_t high_bytes(bytes_t a, bytes_t b) { return SHUFFLE(bytes_t, a, b, MIXED(8), MIXED(12)); }
static inline ints_t low_words(words_t a, words_t b) { return SHUFFLE(ints_t, a, b, MIXED_WORDS(0), MIXED_WORDS(4)); }
static inline ints_t high_words(words_t a, words_t b) { return SHUFFLE(ints_t, a, b, MIXED_WORDS(8), MIXED_WORDS(12)); }
static inline words_t couples(bytes_t a, bytes_t signs) {
    return ((words_t)a & 255) * (((words_t)signs << 8) >> 8) + (words_t)((uwords_t)a >> 8) * ((words_t)signs >> 8);
}
static inline ints_t products(ints_t a, ints_t w) {
    return ((a << 16) >> 16) * ((w << 16) >> 16) + (a >> 16) * (w >> 16);
}
static inline words_t held(words_t v, int16_t least, int16_t most) {
    const words_t above = (words_t)(v > least), below = (words_t)(v < most);
    v = (v & above) | (least & ~above);
    return (v & below) | (most & ~below);
}
#define EVEN(a, b) SHUFFLE(bytes_t, a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
static inline bytes_t pack_words(words_t a, words_t b) { return EVEN(held(a, 0, 255), held(b, 0, 255)); }
static inline bytes_t pack_signed(words_t a, words_t b) { return EVEN(held(a, -128, 127), held(b, -128, 127)); }
static inline bytes_t look_up(bytes_t table, bytes_t at) { return __builtin_shuffle(table, at & 15) & (bytes_t)(at < 128); }
#endif

/* sum + products(a, w).  `fused`: by one instruction, which this file is compiled for processors without, too. */
static inline __attribute__((always_inline)) ints_t add_products(ints_t sum, ints_t a, ints_t w, const int fused) {
#if defined(__AVX512BW__)
    if (fused) {
        __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
        return sum;
    }
#endif
    return sum + products(a, w);
}

/* a | b | c, by one instruction where there is one. */
static inline words_t any_of(words_t a, words_t b, words_t c) {
#if defined(__AVX512BW__)
    return (words_t)_mm512_ternarylogic_epi32(RAW(a), RAW(b), RAW(c), 0xfe);
#else
    return a | b | c;
#endif
}

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
    *low = SHUFFLE(words_t, a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
    *high = SHUFFLE(words_t, a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
#endif
}

/* Whether bytes are true, in the form that this level computes with. */
#if defined(__AVX512BW__)
typedef __mmask64 truth_t;
static inline truth_t none_of(bytes_t v, bytes_t bits) { return _mm512_testn_epi8_mask(RAW(v), RAW(bits)); }
static inline uint64_t both(truth_t a, bytes_t b) { return _mm512_mask_test_epi8_mask(a, RAW(b), RAW(b)); }
static inline bytes_t less_one(bytes_t v, truth_t where, bytes_t a, bytes_t b) {
    const truth_t less = _mm512_mask_test_epi8_mask(where, RAW(a), RAW(b));
    return (bytes_t)_mm512_mask_sub_epi8(RAW(v), less, RAW(v), _mm512_set1_epi8(1));
}
#else
typedef bytes_t truth_t;
static inline truth_t none_of(bytes_t v, bytes_t bits) { return (bytes_t)((v & bits) == 0); }
static inline bytes_t less_one(bytes_t v, truth_t where, bytes_t a, bytes_t b) {
    return v + ((bytes_t)((a & b) != 0) & where);
}
static inline uint64_t both(truth_t a, bytes_t b) { /* a bit for each */
    const bytes_t v = a & (bytes_t)(b != 0);
#if defined(OP)
    return (uint32_t)OP(movemask_epi8)(RAW(v));
#else
    uint64_t parts[2], bits = 0;
    memcpy(parts, &v, sizeof parts);
    if (parts[0] | parts[1]) /* rarely */
        for (int i = 0; i < VECTOR_BYTES; i++) bits |= (uint64_t)(v[i] & 1) << i;
    return bits;
#endif
}
#endif

/* One less where a table of 256 bits has a 1 at `at`: eight rows of 16 bits for bytes below 128, eight for others. */
static inline bytes_t less_where(bytes_t v, const bytes_t table[3], bytes_t at, truth_t where) {
    const bytes_t column = at & 0x8f; /* the highest bit makes it no place at all */
    const bytes_t rows = look_up(table[0], column) | look_up(table[1], column ^ 0x80);
    return less_one(v, where, rows, look_up(table[2], (bytes_t)((words_t)at >> 4) & 7));
}
