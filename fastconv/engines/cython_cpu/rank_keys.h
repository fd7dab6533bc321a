/* Keys of type K: to and from elements in memory, and the programs that run on them.
 * Included by rank.h; F_BITS, F_INFINITY and F_NAN are of the floating-point type of that size, if there is one. */
#define RUN_KEYS(S, EXPRESSION)                                                                     \
    {                                                                                               \
        typedef S element __attribute__((aligned(1), may_alias));                                   \
        if (step == (int64_t)sizeof(S))                                                             \
            for (int64_t i = 0; i < n; i++) { element *at = (element *)(memory + i * (int64_t)sizeof(S)); EXPRESSION; } \
        else                                                                                        \
            for (int64_t i = 0; i < n; i++) { element *at = (element *)(memory + i * step); EXPRESSION; } \
    }
#define TOP ((K)((uint64_t)1 << (8 * sizeof(K) - 1)))
#define IS_UNSIGNED(code) ((code) == BOOL || (code) == UINT8 || (code) == UINT16 || (code) == UINT32 || (code) == UINT64)

/* dst[i] = the key of the element at memory + i * step bytes */
static void NAME(rank_load)(K *dst, const char *memory, int64_t step, int64_t n, int64_t code) {
#ifdef F_BITS
    if (code == FLOAT32 || code == FLOAT64) {
        RUN_KEYS(const K, {
            K bits = *at;
            const F_BITS size = (F_BITS)bits & ~(F_BITS)TOP;
            bits = size > (F_BITS)F_INFINITY ? (K)F_NAN : bits;
            dst[i] = bits ^ (K)((F_BITS)(bits >> (8 * sizeof(K) - 1)) >> 1);
        })
        return;
    }
#endif
    if (IS_UNSIGNED(code)) RUN_KEYS(const K, dst[i] = *at ^ TOP)
    else RUN_KEYS(const K, dst[i] = *at)
}

/* the element at memory + i * step bytes = that of the key src[i] */
static void NAME(rank_store)(const K *src, char *memory, int64_t step, int64_t n, int64_t code) {
#ifdef F_BITS
    if (code == FLOAT32 || code == FLOAT64) {
        RUN_KEYS(K, *at = src[i] ^ (K)((F_BITS)(src[i] >> (8 * sizeof(K) - 1)) >> 1))
        return;
    }
#endif
    if (IS_UNSIGNED(code)) RUN_KEYS(K, *at = src[i] ^ TOP)
    else RUN_KEYS(K, *at = src[i])
}

/* A program on `n` elements of every operand, rounded up to whole vectors: see RANK_BASES. */
static void NAME(rank_execute)(K *row, K *slots, K *sorted, K *result, const int64_t *program, int64_t length,
                               int64_t n) {
    K *const bases[4] = {row, slots, sorted, result};
    const int64_t lanes = VECTOR_BYTES / sizeof(K), whole = (n + lanes - 1) / lanes * lanes;
#define OPERAND(i) (bases[program[i] & 3] + (program[i] >> 2))
/* Operands are the same memory or none of it: what is stored at i is not loaded at another. */
#define EACH(STATEMENT) \
    _Pragma("GCC ivdep") for (int64_t i = 0; i < whole; i++) { const K x = a[i], y = b[i]; STATEMENT; }
    for (; length > 0; length--, program += 5) {
        const K *a = OPERAND(1), *b = OPERAND(2);
        K *low = OPERAND(3), *high = OPERAND(4);
        switch (program[0]) {
            case RANK_MINIMUM: EACH(low[i] = x < y ? x : y) break;
            case RANK_MAXIMUM: EACH(high[i] = x < y ? y : x) break;
            case RANK_EXCHANGE: EACH(low[i] = x < y ? x : y; high[i] = x < y ? y : x) break;
            default: EACH(low[i] = x; (void)y)
        }
    }
#undef EACH
#undef OPERAND
}

#undef RUN_KEYS
#undef TOP
#undef IS_UNSIGNED
#undef K
#undef F_BITS
#undef F_INFINITY
#undef F_NAN
#undef NAME
