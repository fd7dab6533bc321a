/* Windows down the columns, eight or four of them at a time; included by sliding_kind.h and sliding_bytes.h.
 *
 * The includer defines NAME(x), V (a vector, or two), OP (of two V), READ(p) (the V of the row at p), READ_CORE(p) and
 * WRITE_CORE(p, v) (a V on its way), WRITE(p, v) (of a window), KEEP(v) (v is in registers here), PREPARE (what WRITE
 * needs of q) and LINE_OF(p) (how far into its line of memory p is).  Rows are runs of n bytes, not less than a vector.  Explicit vectors, since GCC loads a row again
 * in each operation that it takes part in, which takes three times as long.
 */

#define CALL_FOR_OUTPUT(rows) \
    if (ahead->row != NULL)   \
        for (int j = 0; j < rows; j++) __builtin_prefetch(ahead->out + j * ahead->out_step + i, 1);

/* Windows of `taps` (2, 3 or 5) rows that begin in each of eight rows, from sums that several of them share. */
static inline __attribute__((always_inline)) void NAME(few)(char *dst, int64_t step, const char *const *row, int64_t n,
                                                            const Quotient *q, const Ahead *ahead, const int taps) {
    PREPARE
    EVERY_VECTOR(LINE_OF(row[0])) {
        V x[12];
        CALL_FOR_OUTPUT(8)
        _Pragma("GCC unroll 12") for (int j = 0; j < taps + 7; j++) {
            x[j] = READ(row[j]);
            KEEP(x[j]);
        }
        char *to = dst + i;
        if (taps == 2)
            _Pragma("GCC unroll 8") for (int j = 0; j < 8; j++) WRITE(to + j * step, OP(x[j], x[j + 1]));
        else if (taps == 3)
            _Pragma("GCC unroll 4") for (int j = 0; j < 8; j += 2, to += 2 * step) {
                const V shared = OP(x[j + 1], x[j + 2]);
                WRITE(to, OP(x[j], shared));
                WRITE(to + step, OP(shared, x[j + 3]));
            }
        else
            _Pragma("GCC unroll 2") for (int j = 0; j < 8; j += 4, to += 4 * step) {
                const V shared = OP(x[j + 3], x[j + 4]), early = OP(x[j + 2], shared), late = OP(x[j + 5], x[j + 6]);
                WRITE(to, OP(OP(x[j], x[j + 1]), early));
                WRITE(to + step, OP(OP(x[j + 1], early), x[j + 5]));
                WRITE(to + 2 * step, OP(early, late));
                WRITE(to + 3 * step, OP(OP(shared, late), x[j + 7]));
            }
    }
}
#define FEW(name, taps)                                                                                        \
    static void NAME(name)(char *dst, int64_t step, const char *const *row, int64_t n, const Quotient *q, \
                           const Ahead *ahead) {                                                       \
        NAME(few)(dst, step, row, n, q, ahead, taps);                                                              \
    }
FEW(twos, 2)
FEW(threes, 3)
FEW(fives, 5)
#undef FEW

/* Windows that begin in each of `group` rows: a core that all of them share, the rows before it, those after it. */
static inline __attribute__((always_inline)) void NAME(around)(char *dst, int64_t step, const char *const *before,
                                                               const char *core, const char *const *after, int64_t n,
                                                               const Quotient *q, const Ahead *ahead, const int group) {
    PREPARE
    EVERY_VECTOR(LINE_OF(before[0])) {
        CALL_FOR_OUTPUT(group)
        V from[8], until = READ(after[0]);
        from[group - 1] = READ_CORE(core);
        _Pragma("GCC unroll 8") for (int j = group - 2; j >= 0; j--) from[j] = OP(READ(before[j]), from[j + 1]);
        char *to = dst + i;
        WRITE(to, from[0]);
        _Pragma("GCC unroll 8") for (int j = 1; j < group; j++) {
            KEEP(until);
            to += step;
            WRITE(to, OP(from[j], until));
            if (j + 1 < group) until = OP(until, READ(after[j]));
        }
    }
}
static void NAME(fours)(char *dst, int64_t step, const char *const *before, const char *core, const char *const *after,
                        int64_t n, const Quotient *q, const Ahead *ahead) {
    NAME(around)(dst, step, before, core, after, n, q, ahead, 4);
}
static void NAME(eights)(char *dst, int64_t step, const char *const *before, const char *core, const char *const *after,
                         int64_t n, const Quotient *q, const Ahead *ahead) {
    NAME(around)(dst, step, before, core, after, n, q, ahead, 8);
}

/* The core that all `cores` and `rows` make. */
static void NAME(gather)(char *dst, const char *const *core, int64_t cores, const char *const *row, int64_t rows,
                         const char *like, int64_t n) {
    EVERY_VECTOR(LINE_OF(like)) {
        V some, others;
        int64_t j = 0, k = 0;
        some = cores > 0 ? READ_CORE(core[j++]) : READ(row[k++]);
        if (cores + rows > 1) {
            others = j < cores ? READ_CORE(core[j++]) : READ(row[k++]);
            for (; j + 1 < cores; j += 2) some = OP(some, READ_CORE(core[j])), others = OP(others, READ_CORE(core[j + 1]));
            if (j < cores) some = OP(some, READ_CORE(core[j]));
            for (; k + 1 < rows; k += 2) some = OP(some, READ(row[k])), others = OP(others, READ(row[k + 1]));
            if (k < rows) some = OP(some, READ(row[k]));
            some = OP(some, others);
        }
        WRITE_CORE(dst, some);
    }
}
#undef CALL_FOR_OUTPUT
