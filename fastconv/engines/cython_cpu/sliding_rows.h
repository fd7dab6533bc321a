/* Windows down the columns, eight or four of them at a time; included by sliding_kind.h and sliding_bytes.h.
 *
 * The includer defines NAME(x), V (a vector, or two), OP (of two V), READ(p) (the V of the row at p), READ_CORE(p) and
 * WRITE_CORE(p, v) (a V on its way), WRITE(p, v) (of a window), KEEP(v) (v is in registers here), PREPARE (what WRITE
 * needs of q), WATCHED, WATCH(a, b) and ALL_NUMBERS (what looks for NaN), and LINE_OF(p) (how far into its line of memory p is).  Rows are runs of n bytes, not less than a vector.  Explicit vectors, since GCC loads a row again
 * in each operation that it takes part in, which takes three times as long.
 */

#define CALL_FOR_OUTPUT(rows) \
    if (ahead->row != NULL)   \
        for (int j = 0; j < rows; j++) __builtin_prefetch(ahead->out + j * ahead->out_step + i, 1);

/* Windows of `taps` (2, 3 or 5) rows that begin in each of eight rows, from sums that several of them share.
 * Whether the rows hold nothing but numbers, where somebody wants to know (WATCH). */
static inline __attribute__((always_inline)) int NAME(few)(char *dst, int64_t step, const char *const *row, int64_t n,
                                                           const Quotient *q, const Ahead *ahead, const int taps) {
    PREPARE
    WATCHED
    EVERY_VECTOR(LINE_OF(row[0])) {
        V x[12];
        CALL_FOR_OUTPUT(8)
        _Pragma("GCC unroll 12") for (int j = 0; j < taps + 7; j++) {
            x[j] = READ(row[j]);
            KEEP(x[j]);
            if (j % 2 || j == taps + 6) WATCH(x[j], x[j > 0 ? j - 1 : 0]);
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
    return ALL_NUMBERS;
}
#define FEW(name, taps)                                                                                    \
    static int NAME(name)(char *dst, int64_t step, const char *const *row, int64_t n, const Quotient *q, \
                          const Ahead *ahead) {                                                            \
        return NAME(few)(dst, step, row, n, q, ahead, taps);                                               \
    }
FEW(twos, 2)
FEW(threes, 3)
FEW(fives, 5)
#undef FEW

/* Windows that begin in each of four rows: a core that all of them share, the rows before it, those after it. */
static void NAME(fours)(char *dst, int64_t step, const char *const *before, const char *core, const char *const *after,
                        int64_t n, const Quotient *q, const Ahead *ahead) {
    PREPARE
    EVERY_VECTOR(LINE_OF(before[0])) {
        CALL_FOR_OUTPUT(4)
        V from[4], until = READ(after[0]);
        from[3] = READ_CORE(core);
        _Pragma("GCC unroll 4") for (int j = 2; j >= 0; j--) from[j] = OP(READ(before[j]), from[j + 1]);
        char *to = dst + i;
        WRITE(to, from[0]);
        _Pragma("GCC unroll 4") for (int j = 1; j < 4; j++) {
            KEEP(until);
            to += step;
            WRITE(to, OP(from[j], until));
            if (j + 1 < 4) until = OP(until, READ(after[j]));
        }
    }
}

/* Windows of `taps` rows, 9 or more, that begin in each of eight rows.  The eight rows from the last one of the first window
 * on are new: their fold goes to `block`, if that is not NULL.  Of the rows before them the last `cores` times eight are
 * folded already.  Whether the new rows hold nothing but numbers, where somebody wants to know (WATCH).
 */
static int NAME(eights)(char *dst, int64_t step, const char *const *row, int64_t taps, const char *const *core, int64_t cores,
                        char *block, int64_t n, const Quotient *q, const Ahead *ahead) {
    PREPARE
    WATCHED
    const char *const *after = row + taps - 1;
    const int64_t single = taps - 1 - 8 * cores;
    EVERY_VECTOR(LINE_OF(row[0])) {
        CALL_FOR_OUTPUT(8)
        int64_t k = cores > 0 ? 7 : 8;
        V from[8], shared = cores > 0 ? READ_CORE(core[0]) : READ(row[7]);
        for (int64_t j = 1; j < cores; j++) shared = OP(shared, READ_CORE(core[j]));
        for (; k < single; k++) shared = OP(shared, READ(row[k]));
        from[7] = shared;
        _Pragma("GCC unroll 8") for (int j = 6; j >= 0; j--) from[j] = OP(READ(row[j]), from[j + 1]);
        char *to = dst + i;
        V last = READ(after[0]), until = last;
        WRITE(to, OP(from[0], until));
        _Pragma("GCC unroll 8") for (int j = 1; j < 8; j++) {
            const V new = READ(after[j]);
            if (j % 2) WATCH(last, new);
            until = OP(until, new), last = new;
            KEEP(until);
            to += step;
            WRITE(to, OP(from[j], until));
        }
        if (block != NULL) WRITE_CORE(block, until);
    }
    return ALL_NUMBERS;
}

/* The core that rows make, in their order. */
static void NAME(gather)(char *dst, const char *const *row, int64_t rows, const char *like, int64_t n) {
    EVERY_VECTOR(LINE_OF(like)) {
        V made = READ(row[0]);
        for (int64_t k = 1; k < rows; k++) made = OP(made, READ(row[k]));
        WRITE_CORE(dst, made);
    }
}
#undef CALL_FOR_OUTPUT
