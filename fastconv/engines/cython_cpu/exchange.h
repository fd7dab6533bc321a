/* Transposing LANES vectors in registers; included by tiles.h once for each element type. */

#define LOW(l, s) ((l) & (s) ? LANES + (l) - (s) : (l))
#define HIGH(l, s) ((l) & (s) ? LANES + (l) : (l) + (s))
#define OF2(F, l, s) F(l, s), F(l + 1, s)
#define OF4(F, l, s) OF2(F, l, s), OF2(F, l + 2, s)
#define OF8(F, l, s) OF4(F, l, s), OF4(F, l + 4, s)
#define OF16(F, l, s) OF8(F, l, s), OF8(F, l + 8, s)
#define STEP(OF, s)                                                                \
    _Pragma("GCC unroll 16") for (int k = 0; k < LANES; k++) if (!(k & s)) {       \
        const V a = v[k], b = v[k + s];                                            \
        v[k] = __builtin_shufflevector(a, b, OF(LOW, 0, s));                       \
        v[k + s] = __builtin_shufflevector(a, b, OF(HIGH, 0, s));                  \
    }

/* Element l of vector k becomes element k of vector l: LANES / 2 * log2(LANES) exchanges of halves of two vectors. */
static inline __attribute__((always_inline)) void NAME(exchange)(V v[LANES]) {
#if VECTOR_BYTES / ELEMENT_BYTES == 16
    STEP(OF16, 8) STEP(OF16, 4) STEP(OF16, 2) STEP(OF16, 1)
#elif VECTOR_BYTES / ELEMENT_BYTES == 8
    STEP(OF8, 4) STEP(OF8, 2) STEP(OF8, 1)
#elif VECTOR_BYTES / ELEMENT_BYTES == 4
    STEP(OF4, 2) STEP(OF4, 1)
#else
    STEP(OF2, 1)
#endif
}
#undef LOW
#undef HIGH
#undef OF2
#undef OF4
#undef OF8
#undef OF16
#undef STEP
