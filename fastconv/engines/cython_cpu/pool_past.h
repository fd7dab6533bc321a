/* Results written past the caches, by way of some lines of the first one: rows that follow each other without gaps.
 *
 * Outputs larger than the caches would be read before they are written: 3x3 windows of 8x64 planes of 112x112, whose
 * results take other memory at each call, 1.4 ms rather than 1.9.  Lines that others share are stored as usual.
 */
enum { PAST_BYTES = 8192, MOST_PAST_BYTES = 16384 }; /* usually at once; of a row */
typedef struct {
    char lines[MOST_PAST_BYTES + 4 * 64] __attribute__((aligned(64)));
    char *out; /* where the first line lies */
    int64_t begin, fill; /* bytes of it that belong to others, and of all */
} PastLines;

static void past_begin(PastLines *p, char *out) {
    p->begin = p->fill = (uintptr_t)out % 64;
    p->out = out - p->begin;
}

/* Where `n` bytes more go that follow. */
static char *past_room(PastLines *p, int64_t n) {
    p->fill += n;
    return p->lines + p->fill - n;
}

/* Whole lines are written; what is left too, if it is the last. */
static void past_flush(PastLines *p, int last) {
    int64_t at = 0;
    if (p->begin && (last || p->fill >= 64)) {
        const int64_t end = p->fill < 64 ? p->fill : 64;
        memcpy(p->out + p->begin, p->lines + p->begin, end - p->begin);
        at = end, p->begin = 0;
    }
    for (; at + 64 <= p->fill; at += 64) {
#ifdef STREAM
        STREAM(p->out + at, *(const lanes_f32 *)(p->lines + at));
#else
        memcpy(p->out + at, p->lines + at, 64);
#endif
    }
    p->out += at, p->fill -= at;
    if (last) memcpy(p->out, p->lines + at, p->fill);
    else if (at) memcpy(p->lines, p->lines + at, 64);
    if (last) end_stream();
}

