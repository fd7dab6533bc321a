/* A fold over taps in registers: pooling's one inner loop, along rows and columns alike.
 *
 *     dst[i] = src[at[0] + i] OP src[at[1] + i] OP ...   for 0 <= i < n
 *
 * `at` is in units of `scale` bytes.  With `resume` the fold goes on from what dst holds.
 * Included with S (element read), D (element accumulated), OP (on vectors), OP1 (on
 * numbers) and FOLD (the function's name) defined; undefines all but S and D.
 */
#define OWN(x) PASTE(FOLD, _##x)
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(D)))

typedef D OWN(acc) LOOSE;
typedef S OWN(src) LOOSE;
typedef D OWN(accs) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef S OWN(srcs) __attribute__((vector_size(VECTOR_BYTES / sizeof(D) * sizeof(S)), aligned(1), may_alias));

static inline __attribute__((always_inline)) void OWN(block)(
    char *dst, const char *src, const int64_t *at, int64_t scale, int64_t taps, int resume, const int vectors) {
    OWN(accs) acc[4];
#define READ(t) __builtin_convertvector(((const OWN(srcs) *)(src + at[t] * scale))[v], OWN(accs))
    for (int v = 0; v < vectors; v++) acc[v] = resume ? ((const OWN(accs) *)dst)[v] : READ(0);
    for (int64_t t = !resume; t < taps; t++)
        for (int v = 0; v < vectors; v++) {
            const OWN(accs) value = READ(t);
            acc[v] = OP(acc[v], value);
        }
    for (int v = 0; v < vectors; v++) ((OWN(accs) *)dst)[v] = acc[v];
#undef READ
}

static void FOLD(char *dst, const char *src, const int64_t *at, int64_t scale, int64_t taps, int64_t n, int resume) {
    int64_t i = 0;
#define BLOCK(i, vectors) OWN(block)(dst + (i) * sizeof(D), src + (i) * sizeof(S), at, scale, taps, resume, vectors)
    for (; i + 4 * LANES <= n; i += 4 * LANES) BLOCK(i, 4);
    for (; i + LANES <= n; i += LANES) BLOCK(i, 1);
    if (i < n && n >= LANES && !resume) { /* the last vector overlaps its neighbour */
        BLOCK(n - LANES, 1);
        return;
    }
#undef BLOCK
    for (; i < n; i++) {
        D acc = resume ? ((OWN(acc) *)dst)[i] : (D)((const OWN(src) *)(src + at[0] * scale))[i];
        for (int64_t t = !resume; t < taps; t++) {
            const D value = (D)((const OWN(src) *)(src + at[t] * scale))[i];
            acc = OP1(acc, value);
        }
        ((OWN(acc) *)dst)[i] = acc;
    }
}

#undef LANES
#undef OWN
#undef OP
#undef OP1
#undef FOLD
