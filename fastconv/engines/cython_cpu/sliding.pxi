# Moving windows: maxima, minima and means of full windows, down the columns and then along the rows.
#
# A unit is a tile of the output.  Windows down the columns are made for eight rows at a time: what all eight
# share is folded once, of long windows from folds of eight rows that stay for the windows to come.  These
# eight rows lie in the first cache; there windows along them double.  Rows are read where they lie, if they can
# be; else each is staged once, in a ring of as many rows as windows need.

cdef struct SlidingArgs:
    Tiling t
    int64_t taps_y, taps_x
    const int64_t *direct
    int64_t store_direct
    int64_t n_passes
    const Quotient *down
    const Quotient *across
    int64_t fill_down
    int64_t chunk, ahead
    int64_t n_blocks, core_bytes
    int64_t fill_row, ring, blocks, core, windows, third, stored
    int64_t below, n_below

cdef Ahead NOTHING

cdef enum:
    PASS_SLOTS = 7
    GROUP = 8
    MEAN = 2
    TURNED = 2

# A tile on its way: the rows that the windows of a group read, n bytes from column `low` on, and the group's
# windows down the columns, from there and from the tile's first position on.
cdef struct Strip:
    const SlidingArgs *a
    const WindowOps *ops
    const Downwards *down
    Tile tile
    char *scratch
    const char *plane
    const char **rows
    int64_t direct, filled, step, begin, low, n, careful_until
    char *windows
    char *first
    Ahead ahead


cdef void keep_below(Strip *s) noexcept nogil:
    # Stage what stands beyond the lower border before its rows are overwritten.
    cdef const Tiling *t = &s.a.t
    cdef int64_t i, row
    for i in range(s.a.n_below):
        row = t.map_y[t.pad_y + i]
        if row >= 0:
            stage_columns(t, s.ops, s.scratch + s.a.below + i * s.step, s.plane + row * t.x_row, t.x_col, t.src_code, s.low,
                          s.tile.cols + t.halo_x, t.fill)


cdef const char *source_of(Strip *s, int64_t position) noexcept nogil:
    # A row that windows read, counted from the tile's first: where it lies, or staged.
    cdef const SlidingArgs *a = s.a
    cdef const Tiling *t = &a.t
    cdef int64_t at = s.tile.y - t.pad_y + position, row = mapped(t.map_y, at, t.height, t.pad_y)
    cdef char *dst
    if row < 0:
        dst = s.scratch + a.fill_row
        if not s.filled:
            fill_run(s.ops, dst, t.fill, t.tile_cols + t.halo_x)
            s.filled = 1
        return dst
    if at >= t.height and a.n_below > 0:
        return s.scratch + a.below + (at - t.height) * s.step
    if s.direct:
        return s.plane + row * t.x_row + s.low * t.x_col
    dst = s.scratch + a.ring + position % (a.taps_y + GROUP - 1) * s.step
    stage_columns(t, s.ops, dst, s.plane + row * t.x_row, t.x_col, t.src_code, s.low,
                  s.tile.cols + t.halo_x, t.fill)
    return dst


cdef void next_rows(Strip *s, int64_t y) noexcept nogil:
    # The rows of the windows that begin in rows y to y + 7 of the tile.
    cdef int64_t kept = s.a.taps_y - 1, j = 0, last = s.tile.rows + s.a.t.halo_y - 1
    if y > 0:
        memmove(s.rows, s.rows + GROUP, kept * sizeof(char *))
        j = kept
    while j < kept + GROUP:
        s.rows[j] = source_of(s, y + j) if y + j <= last else s.rows[j - 1]
        j += 1


cdef inline void be_careful(Strip *s, int64_t y) noexcept nogil:
    # Rows of this group of windows hold a NaN, perhaps the last.
    s.careful_until = max(s.careful_until, y + s.a.taps_y - 1 + GROUP)
    s.ops = WINDOW_OPS[s.a.t.kind][s.a.t.acc_code]
    s.down = &s.ops.down


cdef void choose_ops(Strip *s, int64_t y) noexcept nogil:
    # What is quick with numbers, unless rows of these windows hold a NaN.  Most windows look at the new ones
    # themselves.
    cdef const Tiling *t = &s.a.t
    cdef int64_t code = t.acc_code, taps = s.a.taps_y, kept = taps - 1
    cdef int64_t first = kept if y > 0 else 0, rows = kept + GROUP - first
    cdef int64_t n = s.n if s.direct else max((s.tile.cols + t.halo_x) * s.ops.size, <int64_t>VECTOR_BYTES)
    cdef const WindowOps *quick = QUICK_OPS[t.kind][code]
    if quick == NULL or (taps == 1 and s.a.n_passes < 2):
        return
    if y >= s.careful_until and (taps > GROUP or taps == 2 or taps == 3 or taps == 5):
        rows = kept if taps > GROUP and y == 0 else 0
    if rows > 0 and not rows_of_numbers(code, s.rows + first, rows, n):
        be_careful(s, y)
    elif y >= s.careful_until:
        s.ops = quick
        s.down = &quick.down


cdef inline char *block_of(Strip *s, int64_t group) noexcept nogil:
    # The fold of the rows that are new in a group, kept for as many groups as take it, and one more.
    cdef int64_t places = s.a.n_blocks + 1
    return s.scratch + s.a.blocks + (group + places) % places * s.a.core_bytes


cdef bint eights(Strip *s, int64_t y) noexcept nogil:
    # Windows of more than eight rows; of long ones with the folds of eight rows each that other groups have left.
    cdef const SlidingArgs *a = s.a
    cdef const char **blocks = s.rows + a.taps_y + GROUP - 1
    cdef int64_t group = y // GROUP, n = a.n_blocks, j
    if n == 0:
        return s.down.eights(s.windows, s.step, s.rows, a.taps_y, NULL, 0, NULL, s.n, a.down, &s.ahead)
    for j in range(n):
        blocks[j] = block_of(s, group - n + j)  # in the rows' order: sums do not depend on tiles
        if group == 0:
            s.down.gather(<char *>blocks[j], s.rows + a.taps_y - 1 + (j - n) * GROUP, GROUP, s.rows[0], s.n)
    return s.down.eights(s.windows, s.step, s.rows, a.taps_y, blocks, n, block_of(s, group), s.n, a.down, &s.ahead)


cdef bint windows_down(Strip *s, int64_t y, int64_t count) noexcept nogil:
    # The windows that begin in each of eight rows; false if they were made quickly and are not of numbers alone.
    cdef const Downwards *down = s.down
    cdef const Quotient *q = s.a.down
    cdef int64_t taps = s.a.taps_y, i
    cdef char *core = s.scratch + s.a.core
    if taps == 1:
        for i in range(count):
            memcpy(s.windows + i * s.step, s.rows[i], s.n)
    elif taps == 2:
        return down.twos(s.windows, s.step, s.rows, s.n, q, &s.ahead)
    elif taps == 3:
        return down.threes(s.windows, s.step, s.rows, s.n, q, &s.ahead)
    elif taps == 5:
        return down.fives(s.windows, s.step, s.rows, s.n, q, &s.ahead)
    elif taps > GROUP:
        return eights(s, y)
    else:
        for i in range(0, GROUP, 4):
            down.gather(core, s.rows + i + 3, taps - 3, s.rows[0], s.n)
            down.fours(s.windows + i * s.step, s.step, s.rows + i, core, s.rows + i + taps, s.n, q, &s.ahead)
    return True


cdef void fill_edge(Strip *s, int64_t count, int64_t position, int64_t n) noexcept nogil:
    # Windows down at n positions beyond an end of rows are those of other columns.
    cdef const Tiling *t = &s.a.t
    cdef int64_t size = s.ops.size, i, step, run, column
    cdef char *dst = s.first + (position - s.tile.x + t.pad_x) * size
    cdef const char *src
    while n > 0:
        run = edge_run(t, position, n, &step)
        column = mapped(t.map_x, position, t.width, t.pad_x)
        src = s.first + (column - s.tile.x + t.pad_x) * size
        for i in range(count):
            if column < 0:
                fill_run(s.ops, dst + i * s.step, t.fill + s.a.fill_down, run)
            else:
                s.ops.load(dst + i * s.step, src + i * s.step, step * size, run, t.acc_code)
        position += run
        dst += run * size
        n -= run


cdef void fill_edges(Strip *s, int64_t count) noexcept nogil:
    cdef const Tiling *t = &s.a.t
    cdef int64_t first = s.tile.x - t.pad_x, end = first + s.tile.cols + t.halo_x
    if first < 0:
        fill_edge(s, count, first, -first)
    if end > t.width:
        fill_edge(s, count, t.width, end - t.width)


cdef inline char *output_of(Strip *s, int64_t y) noexcept nogil:
    cdef const Tiling *t = &s.a.t
    return t.out + t.out_planes[s.tile.plane] + (s.tile.y + y) * t.out_row + s.tile.x * t.out_col


cdef void save_rows(Strip *s, int64_t y, int64_t count, const char **src, int64_t sources) noexcept nogil:
    # The last fold of rows, into the output.
    cdef const SlidingArgs *a = s.a
    cdef const Tiling *t = &a.t
    cdef char *stored = s.scratch + a.stored
    cdef int64_t n = s.tile.cols * s.ops.size, i, k
    if a.store_direct == 1 and n >= VECTOR_BYTES:
        s.ops.last(output_of(s, y), t.out_row, src, s.step, sources, count, n, a.across, &s.ahead)
        return
    if a.store_direct == TURNED:
        s.ops.last(stored, s.step, src, s.step, sources, count, whole_vectors(n), a.across, &NOTHING)
        save_turned(s, y, count)
        return
    for i in range(count):
        s.ops.last(stored, 0, src, 0, sources, 1, whole_vectors(n), a.across, &NOTHING)
        s.ops.save(stored, output_of(s, y + i), t.out_col, s.tile.cols, t.out_code)
        for k in range(4):
            src[k] += s.step


cdef void save_turned(Strip *s, int64_t y, int64_t count) noexcept nogil:
    # Stored rows into an output whose columns are denser than its rows: whole pieces of columns.
    cdef int64_t size = s.ops.size, at = 0, piece
    while at < count:
        piece = min(16 // size, count - at)
        transpose(s.scratch + s.a.stored + at * s.step, s.step, output_of(s, y + at), s.a.t.out_col, piece, s.tile.cols, size)
        at += piece


cdef inline int64_t sources_of(const Tiling *t, int64_t i, const char *x, const char *made, const char **src) noexcept nogil:
    # The sources of a pass, and how many.
    cdef const int64_t *p = t.passes + i * PASS_SLOTS
    cdef int64_t k
    for k in range(4):
        src[k] = (made if k < p[1] else x) + p[3 + k]
    return p[0]


cdef void windows_in_registers(Strip *s, int64_t y, int64_t count) noexcept nogil:
    # Windows along the rows of windows down, by shifts of vectors.
    cdef const SlidingArgs *a = s.a
    cdef char *stored = s.scratch + a.stored
    cdef int64_t n = s.tile.cols * s.ops.size, i
    if a.store_direct == 1 and n >= VECTOR_BYTES:
        s.ops.overlapping(output_of(s, y), a.t.out_row, s.first, s.step, a.taps_x, count, n, &s.ahead)
        return
    s.ops.overlapping(stored, s.step, s.first, s.step, a.taps_x, count, whole_vectors(n), &NOTHING)
    if a.store_direct == TURNED:
        save_turned(s, y, count)
        return
    for i in range(count):
        s.ops.save(stored + i * s.step, output_of(s, y + i), a.t.out_col, s.tile.cols, a.t.out_code)


cdef void windows_across(Strip *s, int64_t y, int64_t count) noexcept nogil:
    # Windows along the rows of windows down: all folds but the last along all rows at once.
    cdef const Tiling *t = &s.a.t
    cdef const char *src[8]
    cdef char *x = s.first
    cdef char *made = s.first + t.second
    cdef int64_t i, taken, last = s.a.n_passes - 1
    if last > 0 and s.ops.overlapping != NULL and t.halo_x == s.a.taps_x - 1:
        windows_in_registers(s, y, count)
        return
    for i in range(last):
        taken = sources_of(t, i, x, made, src)
        s.ops.fold(made, src, taken, count * s.step - t.passes[i * PASS_SLOTS + 2] * s.ops.size)
    taken = sources_of(t, last, x, made, src)
    save_rows(s, y, count, src, taken)


cdef void take_columns(Strip *s, int64_t x, int64_t cols) noexcept nogil:
    # Turn to these columns of the output: their windows down begin where vectors of the image do, modulo lines of memory.
    cdef const Tiling *t = &s.a.t
    cdef int64_t first = x - t.pad_x, end = first + cols + t.halo_x, before
    s.tile.x, s.tile.cols = x, cols
    s.low = max(first, 0) if s.direct else first
    s.n = ((min(end, t.width) if s.direct else end) - s.low) * s.ops.size
    if not s.direct:
        s.n = whole_vectors(s.n)
    before = (s.low - first) * s.ops.size
    s.windows = s.scratch + s.a.windows + whole_vectors(before)
    if s.direct:
        s.windows += <int64_t>(<uintptr_t>(s.plane + s.low * t.x_col) % VECTOR_BYTES)
    s.first = s.windows - before


cdef void next_columns(Strip *s, int64_t x, int64_t cols) noexcept nogil:
    # The same, and the addresses of rows follow.
    cdef int64_t low = s.low, j
    take_columns(s, x, cols)
    for j in range(s.a.taps_y + GROUP - 1):
        s.rows[j] += (s.low - low) * s.ops.size


cdef void look_ahead(Strip *s, int64_t y, int64_t x, int64_t end) noexcept nogil:
    # What is read next: the columns behind, or in the end the rows below.
    cdef int64_t behind = s.a.chunk * s.ops.size
    s.ahead.out, s.ahead.out_step = output_of(s, y), s.a.t.out_row
    s.ahead.row = s.rows + s.a.taps_y - 1
    s.ahead.by = behind if x + s.a.chunk < end else GROUP * s.a.t.x_row - (x - s.begin) * s.ops.size


cdef Strip strip_of(const SlidingArgs *a, const WindowOps *ops, int64_t unit, int64_t worker) noexcept nogil:
    cdef const Tiling *t = &a.t
    cdef Strip s
    s.a, s.ops, s.down, s.tile = a, ops, &ops.down, tile_at(t, unit)
    s.scratch = <char *>whole_vectors(<int64_t><uintptr_t>(t.scratch + worker * t.scratch_bytes))
    s.rows = <const char **>s.scratch
    s.begin, s.ahead = s.tile.x, NOTHING
    s.plane = t.x + t.src_planes[s.tile.plane]
    s.direct, s.filled, s.step = a.direct[unit % t.col_tiles], 0, t.pitch * ops.size
    s.careful_until = 0
    if QUICK_OPS[t.kind][t.acc_code] != NULL:
        if not (is_number(t.acc_code, t.fill) and is_number(t.acc_code, t.fill + ops.size)):
            s.careful_until = s.tile.rows
    return s


cdef void bytes_across_rows(Strip *s, int64_t y, int64_t count) noexcept nogil:
    # Means of bytes along the rows of means down: of windows of pairs, which double, and single bytes.
    cdef const Tiling *t = &s.a.t
    cdef const WindowOps *sums = WINDOW_OPS[t.kind][UINT16]
    cdef const char *src[8]
    cdef char *pairs = s.first + t.second
    cdef char *made = s.first + s.a.third
    cdef char *stored = s.scratch + s.a.stored
    cdef char *out
    cdef const char *row
    cdef const char *inner
    cdef const char *next_row = NULL
    cdef const Quotient *q = s.a.across
    cdef int64_t i, taps = s.a.taps_x, n = s.tile.cols, whole = n - n % VECTOR_BYTES if s.a.store_direct == 1 else 0
    cdef int64_t apart = t.halo_x // (taps - 1)
    if taps > 3 and apart == 1:
        bytes_pairs(pairs, s.first, count * s.step)
    for i in range(s.a.n_passes):
        sums.fold(made, src, sources_of(t, i, pairs, made, src), count * s.step - t.passes[i * PASS_SLOTS + 2] * 2)
    for i in range(count):
        row = s.first + i * s.step
        inner = NULL if taps < 4 else (pairs if taps < 6 else made) + i * s.step + 2
        out = output_of(s, y + i)
        if s.ahead.row != NULL:
            next_row = s.ahead.row[i] + s.ahead.by
        if whole > 0 and apart > 1:
            bytes_apart(out, row, taps, apart, whole, q, next_row)
        elif whole > 0:
            bytes_across(out, row, inner, taps, whole, q, next_row)
        if whole < n and apart > 1:
            bytes_apart(stored + i * s.step, row + whole, taps, apart, n - whole, q, NULL)
        elif whole < n:
            bytes_across(stored + i * s.step, row + whole, NULL if inner == NULL else inner + whole, taps, n - whole, q, NULL)
        if whole < n and s.a.store_direct == 1:
            memcpy(out + whole, stored + i * s.step, n - whole)
        elif whole < n and s.a.store_direct != TURNED:
            s.ops.save(stored + i * s.step, out, t.out_col, n, t.out_code)
    if s.a.store_direct == TURNED:
        save_turned(s, y, count)


cdef void sliding_window(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const SlidingArgs *a = <const SlidingArgs *>args
    cdef const WindowOps *ops = WINDOW_OPS[a.t.kind][a.t.acc_code]
    cdef Strip s = strip_of(a, ops, unit, worker)
    cdef int64_t group, y, count, bytes = a.t.kind == MEAN and a.t.acc_code == UINT8
    cdef int64_t x = s.tile.x, end = x + s.tile.cols, at
    cdef char *group_rows = s.scratch + a.windows
    cdef const char *rows[4]
    rows[0] = rows[1] = rows[2] = rows[3] = group_rows
    if bytes:
        s.down = &bytes_down
    take_columns(&s, x, min(end - x, a.chunk))
    keep_below(&s)
    for group in range((s.tile.rows + GROUP - 1) // GROUP):
        y = group * GROUP
        count = min(s.tile.rows - y, <int64_t>GROUP)
        take_columns(&s, x, min(end - x, a.chunk))
        next_rows(&s, y)
        at = x
        while True:
            if a.ahead:
                look_ahead(&s, y, at, end)
            if not bytes:
                choose_ops(&s, y)
            if not windows_down(&s, y, count):
                be_careful(&s, y)
                windows_down(&s, y, count)
            if a.down != NULL and not bytes:
                ops.last(group_rows, 0, rows, 0, 1, 1, count * s.step, a.down, &NOTHING)
            if s.direct:
                fill_edges(&s, count)
            if bytes and a.taps_x > 1:
                bytes_across_rows(&s, y, count)
            else:
                windows_across(&s, y, count)
            at += a.chunk
            if at >= end:
                break
            next_columns(&s, at, min(end - at, a.chunk))
        # Rows stay for the next group.
        next_columns(&s, x, min(end - x, a.chunk))


WINDOW_TYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()
