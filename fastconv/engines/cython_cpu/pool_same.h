/* 3x3 windows by steps of one of planes as wide as up to two vectors, padded by one: as many outputs as elements.
 *
 * Strips of a vector of columns go down some rows that the first cache holds.  A row is folded with what is next to its
 * elements, which is read again: units that load have time, those that turn vectors have none.  Of two rows of maxima, what
 * both have is folded once.  Maxima ask only whether any element is not a number, averages whether any result is none: such
 * rows are folded again with care.  The second strip overlaps the first.  Planes of 28x28 take 0.6 to 0.8 of the time of row by row in the
 * caches; wider ones beyond the second cache, in more strips, a fifth longer.  Included by pool_plane.h.
 */
#define NEXT(acc, value) (DIVIDED || careful ? OP(acc, value) : PASTE(most_, SUFFIX)(acc, value))
#define NUMBERS(a, b) numbers = PASTE(both_numbers_, SUFFIX)(numbers, a, b)

/* A vector of elements, each folded with those next to it; lanes of `left` have one before, of `right` one after. */
HERE V NAME(across)(const char *src, V *read, const int begins, SOME left, const int ends, SOME right, const int careful) {
    const V here = *read = *(const V *)src;
    const V before = begins ? LOAD(src - sizeof(T), left) : *(const V *)(src - sizeof(T));
    const V after = ends ? LOAD(src + sizeof(T), right) : *(const V *)(src + sizeof(T));
    __builtin_prefetch(src + AHEAD);
    const V acc = NEXT(here, before);
    return NEXT(acc, after);
}

/* Rows first to last of a strip, whose place in row `first` is `dst`; whether a fold without care met anything but numbers.
 * Rows are paired as they lie in the plane, however it is divided. */
HERE int NAME(strip)(const PlaneRows *p, char *dst, const char *plane, int64_t first, int64_t last, V all, V inverse,
                     const int begins, SOME left, const int ends, SOME right, const int careful) {
    const int64_t even = first & ~(int64_t)1, x_row = p->x_row, out_row = p->out_row, height = p->height;
    const char *src = plane + even * x_row;
    PASTE(numbers_, SUFFIX) numbers = PASTE(all_numbers_, SUFFIX)();
    const V none = IDENTITY;
    V read = {0}, more = {0};
#define ROW(at, y, read) ((y) < height ? NAME(across)(at, read, begins, left, ends, right, careful) : none)
    V before = none;
    if (even > 0) before = NAME(across)(src - x_row, &more, begins, left, ends, right, careful);
    V here = ROW(src, even, &read);
    if (!DIVIDED && !careful) NUMBERS(read, more);
    dst += (even - first) * out_row;
    for (int64_t y = even; y < last; y += 2, src += 2 * x_row, dst += 2 * out_row) {
        read = more = (V){0};
        const V next = ROW(src + x_row, y + 1, &read);
        const V after = y + 1 < last ? ROW(src + 2 * x_row, y + 2, &more) : none;
        V upper, lower;
        if (DIVIDED) {
            const V both = before + here, two = here + next;
            upper = both + next, lower = two + after;
            upper = careful ? PASTE(quotients_, SUFFIX)(upper, all, inverse) : PASTE(finite_quotients_, SUFFIX)(upper, all, inverse);
            lower = careful ? PASTE(quotients_, SUFFIX)(lower, all, inverse) : PASTE(finite_quotients_, SUFFIX)(lower, all, inverse);
            if (!careful) NUMBERS(upper, lower);
        } else {
            const V both = NEXT(here, next);
            upper = NEXT(before, both), lower = NEXT(both, after);
            if (!careful) NUMBERS(read, more);
        }
        if (y >= first) *(V *)dst = upper;
        if (y + 1 < last) *(V *)(dst + out_row) = lower;
        before = next, here = after;
    }
#undef ROW
    return PASTE(any_nan_, SUFFIX)(numbers);
}

static void NAME(same)(const PlaneRows *given, char *dst, const char *end, const char *plane, int64_t nz, int64_t tall,
                       int64_t first, int64_t last) {
    const PlaneRows copy = *given, *p = &copy; /* stores might change the original */
    const V all = (V){0} + (T)tall, inverse = (V){0} + 1 / (T)tall;
    const SOME right = PASTE(first_lanes_, SUFFIX)(LANES - 1), left = PASTE(but_first_lane_, SUFFIX)();
    const int64_t room = SAME_BYTES / (p->width * (int64_t)sizeof(T)), rows = room < 8 ? 8 : room & ~(int64_t)1;
    for (int64_t y = first; y < last;) {
        const int64_t until = (y & ~(int64_t)1) + rows < last ? (y & ~(int64_t)1) + rows : last;
        const int64_t second = (p->width - LANES) * (int64_t)sizeof(T);
#define STRIP(at, begins, ends, careful) \
    NAME(strip)(p, dst + (at), plane + (at), y, until, all, inverse, begins, left, ends, right, careful)
        const int begin = STRIP(0, 1, 0, 0), end_of_rows = STRIP(second, 0, 1, 0);
        if (begin || end_of_rows) STRIP(0, 1, 0, 1), STRIP(second, 0, 1, 1); /* a strip reads what only the other asks for */
#undef STRIP
        dst += (until - y) * p->out_row, y = until;
    }
}
#undef NUMBERS
#undef NEXT
