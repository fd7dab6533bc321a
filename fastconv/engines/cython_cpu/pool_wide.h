/* One vector width of a fold: included by pool_fold.h with WIDTH (bytes), WIDE_OP (of two vectors of it), THIS (the
 * function's name) and NARROWER (the function for what is left) defined, besides its own parameters.
 */
#define OWN(x) PASTE(THIS, _##x)
#define LANES ((int64_t)(WIDTH / sizeof(D)))

typedef D OWN(accs) __attribute__((vector_size(WIDTH), aligned(1), may_alias));
typedef S OWN(srcs) __attribute__((vector_size(WIDTH / sizeof(D) * sizeof(S)), aligned(1), may_alias));
typedef M OWN(mids) __attribute__((vector_size(WIDTH / sizeof(D) * sizeof(M))));

static inline __attribute__((always_inline)) void OWN(block)(
    char *dst, const char *src, const int64_t *at, int64_t scale, int64_t taps, int resume, const int vectors) {
    OWN(accs) acc[4], part[4];
    int64_t t = 0;
    if (taps <= 0) return;
/* By way of M: GCC converts to elements of twice the size with one instruction, to others one by one. */
#define LOAD_S(t) (((const OWN(srcs) *)(src + at[t] * scale))[v])
#define READ(t) __builtin_convertvector(__builtin_convertvector(LOAD_S(t), OWN(mids)), OWN(accs))
#define PART(to)                                                                            \
    {                                                                                       \
        const int64_t end = t + TAPS_TOGETHER < taps ? t + TAPS_TOGETHER : taps;            \
        for (int v = 0; v < vectors; v++) to[v] = READ(t);                                  \
        for (t++; t < end; t++)                                                             \
            for (int v = 0; v < vectors; v++) {                                             \
                const OWN(accs) value = READ(t);                                            \
                to[v] = WIDE_OP(to[v], value);                                              \
            }                                                                               \
    }
    if (resume) for (int v = 0; v < vectors; v++) acc[v] = ((const OWN(accs) *)dst)[v];
    else PART(acc)
    while (t < taps) {
        PART(part)
        for (int v = 0; v < vectors; v++) acc[v] = WIDE_OP(acc[v], part[v]);
    }
    for (int v = 0; v < vectors; v++) ((OWN(accs) *)dst)[v] = acc[v];
#undef PART
#undef READ
#undef LOAD_S
}

static void THIS(char *dst, const char *src, const int64_t *at, int64_t scale, int64_t taps, int64_t n, int resume) {
    int64_t i = 0;
#define BLOCK(i, vectors) OWN(block)(dst + (i) * sizeof(D), src + (i) * sizeof(S), at, scale, taps, resume, vectors)
    for (; i + 4 * LANES <= n; i += 4 * LANES) BLOCK(i, 4);
    for (; i + LANES <= n; i += LANES) BLOCK(i, 1);
    /* A last short vector overlaps its neighbour.  A wide one would be slow: in the next pass, loads would
     * wait for two stores. */
    if (i < n && WIDTH == 16 && n >= LANES && !resume) BLOCK(n - LANES, 1);
    else if (i < n) NARROWER(dst + i * sizeof(D), src + i * sizeof(S), at, scale, taps, n - i, resume);
#undef BLOCK
}

#undef LANES
#undef OWN
#undef WIDTH
#undef WIDE_OP
#undef THIS
#undef NARROWER
