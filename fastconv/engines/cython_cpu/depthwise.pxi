# Depthwise convolution: each filter reads one channel.
#
# A unit is a box of outputs of one image, and a chunk of filters, which are the lanes.  Weights are packed [tap][filter].
# Where pixels hold their channels side by side, windows inside the image are read where they lie; outputs at the border
# look up each of their taps.  Planes, and elements to be converted, are staged: the windows of the whole box, with what
# lies beyond the border, become pixels in scratch memory.

cdef extern from "tiles_all.h" nogil:
    void depthwise_row(...)
    void depthwise_pixel(...)
    void gather_lanes(...)
    void scatter_lanes(...)
    void copy_pixels(...)
    void repeat_pixel(...)


cdef struct DepthwiseBoxes:
    Geometry g
    int64_t depth, out_depth, x_plane, out_plane
    int64_t kernel_z, stride_z, dilation_z, pad_z
    const int64_t *map_z
    int64_t x_image, out_image, x_channel, out_channel, x_end
    int64_t filters, multiplier, together
    int64_t reading, store_direct
    int64_t chunk, n_chunks
    int64_t strip, n_strips, span, n_spans
    int64_t batch
    int64_t pitch, band_pixels
    int64_t weights, biases, fills, turned, sums, band
    int64_t ahead
    const int64_t *tables


cdef struct DepthwiseArgs:
    DepthwiseBoxes boxes
    int64_t activation, slope


# DEPTHWISE_READING
cdef enum:
    PLANES, PIXELS, IN_PLACE, ROWS


cdef struct DepthwiseBox:  # outputs, and filters
    int64_t n, z, y, end_row, x, end_col, first, count


cdef void depthwise_lines(const DepthwiseBoxes *a, const DepthwiseBox *b, const char *base, int64_t lanes,
                          const char **lines) noexcept nogil:
    # Where the planes of `lanes` filters lie; behind the last filter it is repeated.
    cdef int64_t l
    for l in range(lanes):
        lines[l] = base + (b.first + min(l, b.count - 1)) // a.multiplier * a.x_channel


cdef void depthwise_stage(const DepthwiseBoxes *a, const DepthwiseBox *b, const char *row, acc_t *dst, int64_t n, int64_t width,
                       int64_t gap) noexcept nogil:
    # The filters' elements of n neighbouring pixels; after every `width` of them `gap` elements are left out.
    cdef const Geometry *g = &a.g
    cdef const char *lines[VECTOR_BYTES]
    cdef const char *end
    cdef int64_t lanes = VECTOR_BYTES // <int64_t>sizeof(acc_t), i, f, run
    if a.reading == PLANES:
        depthwise_lines(a, b, row, lanes, lines)
        end = g.x + b.n * a.x_image + a.x_end
        gather_lanes(dst, a.pitch, lines, a.x_channel if a.multiplier == 1 and b.count == lanes else 0, g.x_col, g.src_code, end, n,
                     width, gap, a.ahead)
        return
    if a.multiplier == 1 and g.src_code == code_of(dst) and a.x_channel == <int64_t>sizeof(acc_t):
        copy_pixels(dst, a.pitch, row + b.first * a.x_channel, g.x_col, b.count, n, width, gap)
        return
    for i in range(n):
        if a.multiplier == 1:
            stage_run(dst, row + b.first * a.x_channel, a.x_channel, b.count, g.src_code)
        else:
            f = 0
            while f < b.count:  # the filters of one channel
                stage_run(dst + f, row + (b.first + f) // a.multiplier * a.x_channel, a.x_channel, <int64_t>1, g.src_code)
                run = min(b.count, f + a.multiplier - (b.first + f) % a.multiplier)
                for f in range(f + 1, run):
                    dst[f] = dst[f - 1]
                f = run
        dst += a.pitch
        row += g.x_col
        if (i + 1) % width == 0:
            dst += gap


cdef void depthwise_beyond(const DepthwiseBoxes *a, const DepthwiseBox *b, const char *row, acc_t *dst, const acc_t *fill,
                       int64_t first, int64_t n, const acc_t *staged, int64_t low, int64_t n_staged) noexcept nogil:
    # Pixels at n neighbouring positions from `first` on, one by one; `staged` has those from `low` on.
    cdef const Geometry *g = &a.g
    cdef int64_t i, column
    for i in range(n):
        column = mapped(g.map_x, first + i, g.width, g.pad_x)
        if column < 0:
            repeat_pixel(dst + i * a.pitch, fill, a.pitch, 1)
        elif low <= column < low + n_staged:
            repeat_pixel(dst + i * a.pitch, staged + (column - low) * a.pitch, a.pitch, 1)
        else:
            depthwise_stage(a, b, row + column * g.x_col, dst + i * a.pitch, 1, 1, 0)


cdef void depthwise_band(const DepthwiseBoxes *a, const DepthwiseBox *b, const char *plane, acc_t *band,
                     const acc_t *fill) noexcept nogil:
    # The windows of the box in one plane of the image (NULL: all fill), [row][column][filter].
    cdef const Geometry *g = &a.g
    cdef int64_t top = b.y * g.stride_y - g.pad_y, left = b.x * g.stride_x - g.pad_x
    cdef int64_t rows = (b.end_row - 1 - b.y) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1
    cdef int64_t cols = (b.end_col - 1 - b.x) * g.stride_x + (g.kernel_x - 1) * g.dilation_x + 1
    cdef int64_t low = max(left, <int64_t>0), n = max(<int64_t>0, min(left + cols, g.width) - low), line = cols * a.pitch
    cdef int64_t begin = max(top, <int64_t>0), end = max(begin, min(top + rows, g.height)), q, before
    cdef const char *row
    cdef acc_t *dst
    cdef acc_t *inside
    if plane != NULL and n == g.width and g.x_row == n * g.x_col and end > begin:
        depthwise_stage(a, b, plane + begin * g.x_row, band + (begin - top) * line + (low - left) * a.pitch, (end - begin) * n, n,
                     line - n * a.pitch)
    elif plane != NULL and n > 0:
        for q in range(begin, end):
            depthwise_stage(a, b, plane + q * g.x_row + low * g.x_col, band + (q - top) * line + (low - left) * a.pitch, n, n, 0)
    before = low - left if n else cols
    for q in range(top, top + rows):
        dst = band + (q - top) * line
        row = NULL if plane == NULL else source_row(g, plane, q)
        if row == NULL:
            repeat_pixel(dst, fill, a.pitch, cols)
        elif n and begin <= q < end:
            inside = dst + before * a.pitch
            depthwise_beyond(a, b, row, dst, fill, left, before, <const acc_t *>inside, low, n)
            depthwise_beyond(a, b, row, inside + n * a.pitch, fill, low + n, cols - before - n, <const acc_t *>inside, low, n)
        else:
            depthwise_beyond(a, b, row, dst, fill, left, cols, <const acc_t *>dst, 0, 0)


cdef inline bint depthwise_in_blocks(const DepthwiseBoxes *a, const acc_t *any) noexcept nogil:
    # Whether rows of outputs are made together: 3x3 taps next to each other.
    cdef const Geometry *g = &a.g
    return ((acc_t is float or acc_t is double) and a.kernel_z == 1 and g.kernel_y == 3 and g.kernel_x == 3
            and g.dilation_y == 1 and g.dilation_x == 1 and g.stride_y == g.stride_x and g.stride_x <= 2)


cdef void staged_rows(const DepthwiseBoxes *a, const DepthwiseBox *b, const acc_t *band, const acc_t *w, const acc_t *bias,
                      const Finish *finish, const acc_t **rows, int64_t y, int64_t n, acc_t *dst, int64_t dst_row,
                      int64_t dst_col) noexcept nogil:
    # n rows of outputs from row y on, from the staged windows.
    cdef const Geometry *g = &a.g
    cdef int64_t line = ((b.end_col - 1 - b.x) * g.stride_x + (g.kernel_x - 1) * g.dilation_x + 1) * a.pitch
    cdef int64_t i = 0, m, kz, ky, channels = max(VECTOR_BYTES // <int64_t>sizeof(acc_t), b.count)
    band += (y - b.y) * g.stride_y * line
    if depthwise_in_blocks(a, w):
        while i < n:
            m = min(<int64_t>DEPTHWISE_ROWS, n - i)
            for ky in range((m - 1) * g.stride_y + 3):
                rows[ky] = band + (i * g.stride_y + ky) * line
            depthwise_blocks(a, w, bias, <const acc_t *>NULL, rows, <int64_t>0, line // a.pitch, a.pitch, dst + i * dst_row,
                             dst_row, dst_col, m, b.end_col - b.x, channels, finish)
            i += m
        return
    for i in range(n):
        for kz in range(a.kernel_z):
            for ky in range(g.kernel_y):
                rows[kz * g.kernel_y + ky] = (band + kz * a.band_pixels * a.pitch
                                              + (i * g.stride_y + ky * g.dilation_y) * line)
        depthwise_row(w, a.pitch, bias, rows, a.kernel_z * g.kernel_y, <int64_t>0, g.kernel_x, g.dilation_x * a.pitch,
                      g.stride_x * a.pitch, dst + i * dst_row, dst_col, b.end_col - b.x, channels, finish)


cdef void pixels_beyond(const DepthwiseBoxes *a, const DepthwiseBox *b, const acc_t *fill, const acc_t *w, const acc_t *bias,
                        const Finish *finish, const acc_t **rows, const acc_t **taps, int64_t x, int64_t end, acc_t *dst,
                        int64_t dst_col) noexcept nogil:
    # Outputs x.. of a row one by one, tap by tap: the border.  The window's rows are NULL if they are the fill value.
    cdef const Geometry *g = &a.g
    cdef int64_t n_rows = a.kernel_z * g.kernel_y, kx, r, column
    for x in range(x, end):
        for kx in range(g.kernel_x):
            column = mapped(g.map_x, x * g.stride_x - g.pad_x + kx * g.dilation_x, g.width, g.pad_x)
            for r in range(n_rows):
                taps[r * g.kernel_x + kx] = (fill if rows[r] == NULL or column < 0 else
                                             <const acc_t *>(<const char *>rows[r] + column * g.x_col))
        depthwise_pixel(w, a.pitch, bias, taps, n_rows * g.kernel_x, dst + (x - b.x) * dst_col, b.count, finish)


cdef void row_in_place(const DepthwiseBoxes *a, const DepthwiseBox *b, const char **planes, const acc_t *fill, const acc_t *w,
                       const acc_t *bias, const Finish *finish, const acc_t **rows, const acc_t **taps, int64_t y, int64_t first,
                       int64_t end, acc_t *dst, int64_t dst_col) noexcept nogil:
    # Row y of the outputs; the windows of columns first.. lie inside.
    cdef const Geometry *g = &a.g
    cdef int64_t n_rows = a.kernel_z * g.kernel_y, r, size = sizeof(acc_t), col = g.x_col // size
    cdef const char *plane
    for r in range(n_rows):
        plane = planes[r // g.kernel_y]
        rows[r] = NULL if plane == NULL else <const acc_t *>source_row(
            g, plane, y * g.stride_y - g.pad_y + r % g.kernel_y * g.dilation_y)
        if rows[r] == NULL:
            end = first
    if end > first:
        depthwise_row(w, a.pitch, bias, rows, n_rows, (first * g.stride_x - g.pad_x) * col, g.kernel_x, g.dilation_x * col,
                      g.stride_x * col, dst + (first - b.x) * dst_col, dst_col, end - first, b.count, finish)
    pixels_beyond(a, b, fill, w, bias, finish, rows, taps, b.x, first, dst, dst_col)
    pixels_beyond(a, b, fill, w, bias, finish, rows, taps, end, b.end_col, dst, dst_col)


cdef void rows_in_place(const DepthwiseBoxes *a, const DepthwiseBox *b, const char **planes, const acc_t *fill, const acc_t *w,
                        const acc_t *bias, const Finish *finish, const acc_t **rows, int64_t y, int64_t n, acc_t *dst,
                        int64_t dst_row, int64_t dst_col) noexcept nogil:
    # n rows of outputs from row y on, from pixels where they lie.
    cdef const Geometry *g = &a.g
    cdef int64_t size = sizeof(acc_t), n_rows = a.kernel_z * g.kernel_y, reach = (g.kernel_x - 1) * g.dilation_x, i = 0, q, m
    cdef int64_t first = min(b.end_col, max(b.x, (g.pad_x + g.stride_x - 1) // g.stride_x)), end = 0
    cdef int64_t top = y * g.stride_y - g.pad_y
    cdef const acc_t **taps = rows + a.batch * g.stride_y + n_rows
    if depthwise_in_blocks(a, w):
        while i < n:
            m = min(<int64_t>DEPTHWISE_ROWS, n - i)
            for q in range((m - 1) * g.stride_y + 3):
                rows[q] = (NULL if planes[0] == NULL else
                           <const acc_t *>source_row(g, planes[0], top + i * g.stride_y + q))
            depthwise_blocks(a, w, bias, fill, rows, b.x * g.stride_x - g.pad_x, g.width, g.x_col // size, dst + i * dst_row,
                             dst_row, dst_col, m, b.end_col - b.x, b.count, finish)
            i += m
        return
    if g.width + g.pad_x > reach:
        end = min(b.end_col, (g.width - 1 - reach + g.pad_x + g.stride_x) // g.stride_x)
    end = max(first, end)
    for i in range(n):
        row_in_place(a, b, planes, fill, w, bias, finish, rows, taps, y + i, first, end, dst + i * dst_row, dst_col)


cdef void depthwise_store(const DepthwiseBoxes *a, const DepthwiseBox *b, const acc_t *sums, int64_t y, int64_t end_row) noexcept nogil:
    # The sums of rows y.. to memory.
    cdef const Geometry *g = &a.g
    cdef char *out = g.out + b.n * a.out_image + b.z * a.out_plane + b.first * a.out_channel + b.x * g.out_col
    cdef char *lines[VECTOR_BYTES]
    cdef int64_t cols = b.end_col - b.x, rows = end_row - y, l, i, x
    if cols == g.out_width and g.out_row == cols * g.out_col:
        cols, rows = cols * rows, 1
    for i in range(rows):
        if a.reading == PLANES:
            for l in range(b.count):
                lines[l] = out + (y + i) * g.out_row + l * a.out_channel
            scatter_lanes(sums + i * cols * a.pitch, cols, lines, b.count, g.out_col, g.out_code)
            continue
        for x in range(cols):
            store_run(sums + (i * cols + x) * a.pitch, out + (y + i) * g.out_row + x * g.out_col, a.out_channel, b.count,
                      g.out_code)


cdef void depthwise_activate(const DepthwiseArgs *a, acc_t *dst, int64_t dst_col, int64_t pixels, int64_t count) noexcept nogil:
    cdef acc_t slope = <acc_t>slope_of(a.slope)
    cdef int64_t i
    if count == dst_col:
        activate_run(dst, pixels * count, a.activation, slope)
        return
    for i in range(pixels):
        activate_run(dst + i * dst_col, count, a.activation, slope)


cdef void depthwise_box(const DepthwiseArgs *args, const DepthwiseBox *b, char *scratch, acc_t *any) noexcept nogil:
    # All outputs of a box; of planes, LANES filters.
    cdef const DepthwiseBoxes *a = &args.boxes
    cdef const Geometry *g = &a.g
    cdef acc_t *w = <acc_t *>(scratch + a.weights)
    cdef acc_t *bias = <acc_t *>(scratch + a.biases)
    cdef acc_t *fill = <acc_t *>(scratch + a.fills)
    cdef acc_t *sums = <acc_t *>(scratch + a.sums)
    cdef acc_t *band = <acc_t *>(scratch + a.band)
    cdef acc_t *dst
    cdef const char **planes = <const char **>scratch
    cdef const acc_t **rows = <const acc_t **>(planes + a.kernel_z)
    cdef int64_t size = sizeof(acc_t), y = b.y, end, i, dst_row, dst_col, kz, plane
    cdef const char *image = g.x + b.n * a.x_image
    cdef Finish finish = finish_of(args.activation, args.slope)
    depthwise_constants(a, b, w, bias, fill)
    for kz in range(a.kernel_z):
        plane = mapped(a.map_z, b.z * a.stride_z - a.pad_z + kz * a.dilation_z, a.depth, a.pad_z)
        planes[kz] = NULL if plane < 0 else image + plane * a.x_plane
        if a.reading == IN_PLACE and plane >= 0:
            planes[kz] += b.first * a.x_channel
        elif a.reading != IN_PLACE:
            depthwise_band(a, b, planes[kz], band + kz * a.band_pixels * a.pitch, <const acc_t *>fill)
    while y < b.end_row:
        end = min(b.end_row, y + a.batch)
        dst, dst_row, dst_col = sums, (b.end_col - b.x) * a.pitch, a.pitch
        if a.store_direct:
            dst = <acc_t *>(g.out + b.n * a.out_image + b.z * a.out_plane + y * g.out_row + b.x * g.out_col
                            + b.first * a.out_channel)
            dst_row, dst_col = g.out_row // size, g.out_col // size
        if a.reading == IN_PLACE:
            rows_in_place(a, b, planes, <const acc_t *>fill, <const acc_t *>w, <const acc_t *>bias, &finish, rows, y, end - y,
                          dst, dst_row, dst_col)
        else:
            staged_rows(a, b, <const acc_t *>band, <const acc_t *>w, <const acc_t *>bias, &finish, rows, y, end - y, dst,
                        dst_row, dst_col)
        for i in range(end - y if finish.code > LEAKY_RELU else 0):
            depthwise_activate(args, dst + i * dst_row, dst_col, b.end_col - b.x, b.count if a.store_direct else a.pitch)
        if not a.store_direct:
            depthwise_store(a, b, <const acc_t *>sums, y, end)
        y = end


cdef void pack_depthwise(const acc_t *weights, int64_t filters, int64_t taps, int64_t first, int64_t count, int64_t pitch,
                         acc_t *w) noexcept nogil:
    # The weights of `count` filters as [tap][filter]; the last one is repeated.
    cdef const char *lines[VECTOR_BYTES]
    cdef int64_t lanes = VECTOR_BYTES // <int64_t>sizeof(acc_t), f = 0, l
    while f < pitch:
        for l in range(lanes):
            lines[l] = <const char *>(weights + (first + min(f + l, count - 1)) * taps)
        gather_lanes(w + f, pitch, lines, lines[1] - lines[0] if f + lanes <= count else 0, <int64_t>sizeof(acc_t),
                     code_of(weights), <const char *>(weights + filters * taps), taps, taps, <int64_t>0, <int64_t>0)
        f += lanes


cdef void depthwise_constants(const DepthwiseBoxes *a, const DepthwiseBox *b, acc_t *w, acc_t *bias, acc_t *fill) noexcept nogil:
    # The weights as [tap][filter], bias, and a pixel of the fill value.
    cdef const Geometry *g = &a.g
    cdef int64_t f
    pack_depthwise(<const acc_t *>g.w, a.filters, a.kernel_z * g.kernel_y * g.kernel_x * a.together, b.first, b.count, a.pitch, w)
    for f in range(a.pitch):
        bias[f] = <acc_t>0 if g.bias == NULL else (<const acc_t *>g.bias)[b.first + min(f, b.count - 1)]
        fill[f] = (<const acc_t *>g.fill)[0]


cdef void number_box(const DepthwiseBoxes *a, int64_t number, DepthwiseBox *b) noexcept nogil:
    # Boxes run over (image, plane, strip of rows, span of columns).
    b.x = number % a.n_spans * a.span
    b.end_col = min(a.g.out_width, b.x + a.span)
    number = number // a.n_spans
    b.y = number % a.n_strips * a.strip
    b.end_row = min(a.g.out_height, b.y + a.strip)
    number = number // a.n_strips
    b.z, b.n = number % a.out_depth, number // a.out_depth


cdef void depthwise_unit(const DepthwiseArgs *args, int64_t unit, char *scratch, acc_t *any) noexcept nogil:
    # Units run over (box, chunk of filters).
    cdef const DepthwiseBoxes *a = &args.boxes
    cdef DepthwiseBox b
    cdef int64_t chunk = unit % a.n_chunks, end
    number_box(a, unit // a.n_chunks, &b)
    b.first = chunk * a.chunk
    end = a.filters if chunk == a.n_chunks - 1 else b.first + a.chunk
    if a.reading == ROWS:
        b.count = end - b.first
        depthwise_rows(args, &b, scratch, any)
        return
    while b.first < end:  # of planes, a vector of filters at a time
        b.count = min(a.pitch, end - b.first)
        depthwise_box(args, &b, scratch, any)
        b.first += b.count


cdef void depthwise_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DepthwiseArgs *a = <const DepthwiseArgs *>args
    depthwise_unit(a, unit, own_scratch(&a.boxes.g, worker), <float *>NULL)


cdef void depthwise_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DepthwiseArgs *a = <const DepthwiseArgs *>args
    depthwise_unit(a, unit, own_scratch(&a.boxes.g, worker), <double *>NULL)


cdef void depthwise_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DepthwiseArgs *a = <const DepthwiseArgs *>args
    depthwise_unit(a, unit, own_scratch(&a.boxes.g, worker), <uint32_t *>NULL)


cdef void depthwise_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DepthwiseArgs *a = <const DepthwiseArgs *>args
    depthwise_unit(a, unit, own_scratch(&a.boxes.g, worker), <uint64_t *>NULL)
