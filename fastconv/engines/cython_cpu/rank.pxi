# Rank filters.
#
# A unit is a tile of one output plane.  What its windows read is staged as keys, signed integers
# that stand in the order of the elements.  Small windows run programs of minima and maxima on
# vectors of pixels.  For large ones the staged keys are sorted; a set of places in that order then
# follows the window along each row, some members leaving and some entering at every step.

from libc.string cimport memset

cdef extern from "rank.h" nogil:
    enum: BOOL
    ctypedef struct RankSet:
        uint64_t *bits
        int64_t word, below
    void rank_load(...)
    void rank_store(...)
    void rank_execute(...)
    uint64_t *rank_sort(uint64_t *pairs, uint64_t *spare, uint32_t *counts, int64_t n, int64_t bytes)
    uint64_t *rank_sort_wide(uint64_t *pairs, uint64_t *spare, uint32_t *counts, int64_t n, const int64_t *keys)
    void rank_enter(RankSet *set, uint32_t place)
    void rank_leave(RankSet *set, uint32_t place)
    int64_t rank_member(RankSet *set, int64_t rank)

ctypedef fused key_t:
    int8_t
    int16_t
    int32_t
    int64_t

cdef struct RankArgs:
    Geometry g
    const int64_t *src_planes
    const int64_t *out_planes
    int64_t n_planes
    int64_t acc_code
    int64_t tile_rows, tile_cols, n_down, n_across
    int64_t staged, converted, result
    int64_t pitch
    int64_t slots, block
    int64_t sorted
    const int64_t *columns
    int64_t n_columns
    const int64_t *window
    int64_t n_window
    int64_t rank
    int64_t pairs, counts, places, members
    const int64_t *taps
    int64_t n_taps
    const int64_t *leaving
    const int64_t *entering
    int64_t n_moving

# A part of an output plane, and the part of the staged planes that its windows read.
cdef struct RankTile:
    int64_t plane, y, x, rows, cols
    int64_t staged_rows, staged_cols
    char *scratch


cdef void load_keys(const RankArgs *a, key_t *dst, const char *row, int64_t column, int64_t n, double *converted) noexcept nogil:
    # Keys of the elements from a column of a row on.
    cdef const char *memory = row + column * a.g.x_col
    if a.g.src_code != a.acc_code:
        stage_run(converted, memory, a.g.x_col, n, a.g.src_code)
        rank_load(dst, <const char *>converted, <int64_t>8, n, a.acc_code)
    else:
        rank_load(dst, memory, a.g.x_col, n, a.acc_code)


cdef void stage_keys(const RankArgs *a, key_t *dst, const char *row, key_t fill, int64_t left, int64_t n,
                     double *converted) noexcept nogil:
    # dst[i] = the key of the element at position left + i of a row (NULL: the fill value).
    cdef const Geometry *g = &a.g
    cdef int64_t i = 0, column, run
    while i < n:
        column = -1 if row == NULL else mapped(g.map_x, left + i, g.width, g.pad_x)
        run = min(n - i, g.width - left - i) if 0 <= left + i < g.width else 1
        if row == NULL or column < 0:
            dst[i] = fill
            run = 1
        else:
            load_keys(a, dst + i, row, column, run, converted)
        i += run


cdef void stage_rank_tile(const RankArgs *a, const RankTile *t, key_t *staged) noexcept nogil:
    cdef const int64_t *planes = a.src_planes + t.plane * a.n_planes
    cdef int64_t p, j, rows = a.tile_rows + a.g.kernel_y - 1
    cdef const char *row
    cdef key_t fill
    rank_load(&fill, <const char *>a.g.fill, <int64_t>0, <int64_t>1, a.acc_code)
    for p in range(a.n_planes):
        for j in range(t.staged_rows):
            row = NULL if planes[p] == BEYOND else source_row(&a.g, a.g.x + planes[p], t.y - a.g.pad_y + j)
            stage_keys(a, staged + (p * rows + j) * a.pitch, row, fill, t.x - a.g.pad_x, t.staged_cols,
                       <double *>(t.scratch + a.converted))


cdef void store_rank_row(const RankArgs *a, const RankTile *t, const key_t *result, int64_t y) noexcept nogil:
    # A row of keys as elements of the output.
    cdef const Geometry *g = &a.g
    cdef char *out = g.out + a.out_planes[t.plane] + (t.y + y) * g.out_row + t.x * g.out_col
    cdef char *elements = t.scratch + a.converted
    cdef double *doubles = <double *>elements + a.tile_cols
    if g.out_code == a.acc_code:
        rank_store(<key_t *>result, out, g.out_col, t.cols, a.acc_code)
    else:
        rank_store(<key_t *>result, elements, <int64_t>sizeof(key_t), t.cols, a.acc_code)
        stage_run(doubles, elements, <int64_t>sizeof(key_t), t.cols, a.acc_code)
        store_run(<const double *>doubles, out, g.out_col, t.cols, g.out_code)


cdef void select_rank_rows(const RankArgs *a, const RankTile *t, key_t *staged) noexcept nogil:
    # Programs on the windows of a block of columns.
    cdef key_t *slots = <key_t *>(t.scratch + a.slots)
    cdef key_t *sorted = <key_t *>(t.scratch + a.sorted)
    cdef key_t *result = <key_t *>(t.scratch + a.result)
    cdef key_t *row
    cdef int64_t y, i, x
    for y in range(t.rows):
        row = staged + y * a.pitch
        for i in range((t.staged_cols + a.block - 1) // a.block if a.n_columns else 0):
            x = i * a.block
            rank_execute(row + x, slots, sorted + x, result, a.columns, a.n_columns, min(a.block, t.staged_cols - x))
        for i in range((t.cols + a.block - 1) // a.block):
            x = i * a.block
            rank_execute(row + x, slots, sorted + x, result + x, a.window, a.n_window, min(a.block, t.cols - x))
        store_rank_row(a, t, result, y)


cdef uint64_t *sorted_rank_pairs(const RankArgs *a, const RankTile *t, const key_t *staged, int64_t n) noexcept nogil:
    # The staged keys in order: their places in the lower halves.
    cdef uint64_t *pairs = <uint64_t *>(t.scratch + a.pairs)
    cdef uint32_t *counts = <uint32_t *>(t.scratch + a.counts)
    cdef int64_t i, p, j, rows = a.tile_rows + a.g.kernel_y - 1, at
    cdef uint32_t top = <uint32_t>1 << (8 * sizeof(key_t) - 1 if sizeof(key_t) < 8 else 31)
    cdef uint64_t *pair = pairs
    for p in range(a.n_planes):
        for j in range(t.staged_rows):
            at = (p * rows + j) * a.pitch
            for i in range(t.staged_cols):
                pair[i] = <uint64_t>(<uint32_t>staged[at + i] ^ top) << 32 | <uint64_t>(at + i)
            pair += t.staged_cols
    if key_t is int64_t:
        return rank_sort_wide(pairs, pairs + n, counts, n, staged)
    return rank_sort(pairs, pairs + n, counts, n, sizeof(key_t))


cdef void follow_rank_rows(const RankArgs *a, const RankTile *t, key_t *staged) noexcept nogil:
    # A set of places follows the window along each row.
    cdef int64_t n = a.n_planes * t.staged_rows * t.staged_cols, i, x, y
    cdef uint64_t *pairs = sorted_rank_pairs(a, t, <const key_t *>staged, n)
    cdef uint32_t *places = <uint32_t *>(t.scratch + a.places)
    cdef key_t *result = <key_t *>(t.scratch + a.result)
    cdef const uint32_t *row
    cdef RankSet members
    members.bits = <uint64_t *>(t.scratch + a.members)
    for i in range(n):
        places[<uint32_t>pairs[i]] = <uint32_t>i
    for y in range(t.rows):
        memset(members.bits, 0, (n + 63) // 64 * 8)
        members.word = members.below = 0
        row = places + y * a.pitch
        for i in range(a.n_taps):
            rank_enter(&members, row[a.taps[i]])
        result[0] = staged[<uint32_t>pairs[rank_member(&members, a.rank)]]
        for x in range(1, t.cols):
            for i in range(a.n_moving):
                rank_leave(&members, row[a.leaving[i]])
                rank_enter(&members, row[a.entering[i]])
            row += 1
            result[x] = staged[<uint32_t>pairs[rank_member(&members, a.rank)]]
        store_rank_row(a, t, <const key_t *>result, y)


cdef void count_rank_rows(const RankArgs *a, const RankTile *t, key_t *staged) noexcept nogil:
    # Of two values alone, the count of the larger one follows the window along each row.
    cdef key_t *result = <key_t *>(t.scratch + a.result)
    cdef key_t *row
    cdef key_t smaller = <key_t>(<uint64_t>1 << (8 * sizeof(key_t) - 1))
    cdef int64_t larger, i, x, y
    for y in range(t.rows):
        row = staged + y * a.pitch
        larger = 0
        for i in range(a.n_taps):
            larger += row[a.taps[i]] - smaller
        result[0] = smaller + (larger >= a.n_taps - a.rank)
        for x in range(1, t.cols):
            for i in range(a.n_moving):
                larger += row[a.entering[i]] - row[a.leaving[i]]
            row += 1
            result[x] = smaller + (larger >= a.n_taps - a.rank)
        store_rank_row(a, t, <const key_t *>result, y)


cdef inline void rank_unit(const RankArgs *a, int64_t unit, int64_t worker, key_t *any) noexcept nogil:
    cdef RankTile t
    cdef int64_t across = unit % a.n_across, down = unit // a.n_across % a.n_down
    t.plane = unit // a.n_across // a.n_down
    t.y, t.x = down * a.tile_rows, across * a.tile_cols
    t.rows, t.cols = min(a.tile_rows, a.g.out_height - t.y), min(a.tile_cols, a.g.out_width - t.x)
    t.staged_rows = t.rows + a.g.kernel_y - 1
    t.staged_cols = t.cols + (a.g.kernel_x - 1) * a.g.dilation_x
    t.scratch = a.g.scratch + worker * a.g.scratch_bytes
    cdef key_t *staged = <key_t *>(t.scratch + a.staged)
    stage_rank_tile(a, &t, staged)
    if a.n_window:
        select_rank_rows(a, &t, staged)
    elif a.acc_code == BOOL:
        count_rank_rows(a, &t, staged)
    else:
        follow_rank_rows(a, &t, staged)


cdef void rank_k8(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    rank_unit(<const RankArgs *>args, unit, worker, <int8_t *>NULL)


cdef void rank_k16(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    rank_unit(<const RankArgs *>args, unit, worker, <int16_t *>NULL)


cdef void rank_k32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    rank_unit(<const RankArgs *>args, unit, worker, <int32_t *>NULL)


cdef void rank_k64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    rank_unit(<const RankArgs *>args, unit, worker, <int64_t *>NULL)
