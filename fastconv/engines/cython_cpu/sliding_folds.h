/* Folds of rows of one type and kind; included by sliding_kind.h with V (a vector), VU (the same in memory), OP (of two
 * vectors), NAME(x), RESULT(v) (what an output is made of a fold v) and DIVISION (what that needs of q).
 *
 * Folds are of n bytes, rounded up to whole vectors.
 */
#define AT(p) (*(const VU *)((p) + i))
#define BY_COUNT(DO)                                                 \
    switch (count) {                                                 \
        case 1: DO(AT(a)); break;                                    \
        case 2: DO(OP(AT(a), AT(b))); break;                         \
        case 3: DO(OP(OP(AT(a), AT(b)), AT(c))); break;              \
        case 4: DO(OP(OP(AT(a), AT(b)), OP(AT(c), AT(d))));          \
    }
#define SOURCES const char *a = src[0], *b = src[1], *c = src[2], *d = src[3];

/* dst = src[0] OP src[1] OP ..., of 1 to 4 sources; dst may be src[0], if the others lie behind it. */
static void NAME(fold)(char *dst, const char *const *src, int64_t count, int64_t n) {
    SOURCES
#define FOLD(value) for (int64_t i = 0; i < n; i += VECTOR_BYTES) *(VU *)(dst + i) = (value)
    BY_COUNT(FOLD)
#undef FOLD
}

/* The same as results: of `rows` rows of n bytes (not less than a vector), from memory to other memory. */
static void NAME(last)(char *dst, int64_t dst_step, const char *const *src, int64_t src_step, int64_t count, int64_t rows,
                       int64_t n, const Quotient *q, const Ahead *ahead) {
    DIVISION
    SOURCES
    for (int64_t row = 0; row < rows; row++, dst += dst_step) {
        const char *next_row = ahead->row == NULL ? NULL : ahead->row[row] + ahead->by;
#define FOLD(value)                                             \
    EVERY_VECTOR(LINE_OF(dst)) {                                \
        const V made = (value);                                 \
        if (next_row != NULL) __builtin_prefetch(next_row + i); \
        *(VU *)(dst + i) = RESULT(made);                        \
    }
        BY_COUNT(FOLD)
#undef FOLD
        a += src_step, b += src_step, c += src_step, d += src_step;
    }
}
#undef BY_COUNT
#undef SOURCES
#undef AT
