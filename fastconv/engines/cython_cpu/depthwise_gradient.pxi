# Gradients of depthwise convolutions' kernels: each pixel of the output's gradient times its window, summed.
#
# A unit is a chunk of filters, the lanes, and a part of all boxes of outputs.  Windows of 3x3 are read where pixels lie;
# others are staged as those of the convolution; so is the gradient, unless its pixels are whole vectors that lie side by
# side.  The record is that of the
# convolution: what it tells of the output holds for the gradient, to which `w` points; the sums, [part][filter][tap], are
# written to `out`.

cdef extern from "tiles_all.h" nogil:
    void depthwise_gradient_row(...)
    void depthwise_gradients(...)
    void depthwise_plane_gradient(...)
    void depthwise_lane_sums(...)


cdef struct DepthwiseGradientArgs:
    DepthwiseBoxes boxes
    int64_t n_boxes, n_parts


cdef void stage_gradient(const DepthwiseBoxes *a, const DepthwiseBox *b, acc_t *dst) noexcept nogil:
    # The box of the gradient, [pixel][filter].
    cdef const Geometry *g = &a.g
    cdef const char *at = (<const char *>g.w + b.n * a.out_image + b.z * a.out_plane + b.y * g.out_row + b.x * g.out_col
                           + b.first * a.out_channel)
    cdef const char *lines[VECTOR_BYTES]
    cdef int64_t lanes = VECTOR_BYTES // <int64_t>sizeof(acc_t), rows = b.end_row - b.y, cols = b.end_col - b.x, i, j, k
    cdef const char *end = (<const char *>g.w + b.n * a.out_image + max(<int64_t>0, (a.filters - 1) * a.out_channel)
                            + max(<int64_t>0, (a.out_depth - 1) * a.out_plane) + max(<int64_t>0, (g.out_height - 1) * g.out_row)
                            + max(<int64_t>0, (g.out_width - 1) * g.out_col) + <int64_t>sizeof(acc_t))
    if cols == g.out_width and g.out_row == cols * g.out_col:
        cols, rows = cols * rows, 1
    for i in range(rows):
        if a.reading == PLANES:
            for k in range(lanes):
                lines[k] = at + min(k, b.count - 1) * a.out_channel
            gather_lanes(dst, a.pitch, lines, a.out_channel if b.count == lanes else 0, g.out_col, g.out_code, end, cols, cols,
                         <int64_t>0, a.ahead)
            dst += cols * a.pitch
        elif g.out_code == code_of(dst) and a.out_channel == <int64_t>sizeof(acc_t):
            copy_pixels(dst, a.pitch, at, g.out_col, b.count, cols, cols, <int64_t>0)
            dst += cols * a.pitch
        else:
            for j in range(cols):
                stage_run(dst, at + j * g.out_col, a.out_channel, b.count, g.out_code)
                dst += a.pitch
        at += g.out_row


cdef void gradient_blocks(const DepthwiseBoxes *a, const DepthwiseBox *b, const acc_t **rows, int64_t left, int64_t width,
                          int64_t col, const acc_t *fill, const acc_t *grad, int64_t grad_row, int64_t grad_col, int64_t m,
                          int64_t channels, acc_t *sums) noexcept nogil:
    # m rows of outputs of 3x3 whose windows begin at column `left` of the rows.
    cdef const Geometry *g = &a.g
    cdef const acc_t *table[MOST_BLOCK]
    cdef int64_t i = 0, pixels = b.end_col - b.x, n, step
    while i < pixels:
        n = min(<int64_t>DEPTHWISE_PIXELS, pixels - i)
        step = col
        if not block_inside(g, rows, m, DEPTHWISE_GRADIENT_ROWS, n, left, width, col, table):
            block_pixels(g, rows, (m - 1) * g.stride_y + 3, left, (n - 1) * g.stride_x + 3, width, col, fill, table)
            step = 0
        depthwise_gradients(sums, a.pitch, <const acc_t **>table, step, g.stride_x, grad + i * grad_col, grad_row, grad_col, m,
                            n, channels, a.ahead if a.reading == IN_PLACE else 0)
        i += n
        left += n * g.stride_x


cdef void gradient_box(const DepthwiseBoxes *a, const DepthwiseBox *b, char *scratch, acc_t *sums) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef acc_t *fill = <acc_t *>(scratch + a.fills)
    cdef acc_t *staged = <acc_t *>(scratch + a.weights)
    cdef acc_t *band = <acc_t *>(scratch + a.band)
    cdef const acc_t *grad = staged
    cdef const acc_t **rows = <const acc_t **>scratch
    cdef int64_t size = sizeof(acc_t), grad_col = a.pitch, grad_row = (b.end_col - b.x) * a.pitch, i, kz, ky, plane, height
    cdef int64_t line = ((b.end_col - 1 - b.x) * g.stride_x + (g.kernel_x - 1) * g.dilation_x + 1) * a.pitch
    cdef const char *at
    for kz in range(a.kernel_z if a.reading != IN_PLACE else 0):
        plane = mapped(a.map_z, b.z * a.stride_z - a.pad_z + kz * a.dilation_z, a.depth, a.pad_z)
        at = NULL if plane < 0 else g.x + b.n * a.x_image + plane * a.x_plane
        depthwise_band(a, b, at, band + kz * a.band_pixels * a.pitch, <const acc_t *>fill)
    if a.store_direct:
        grad = <const acc_t *>(<const char *>g.w + b.n * a.out_image + b.z * a.out_plane + b.y * g.out_row + b.x * g.out_col
                               + b.first * a.out_channel)
        grad_row, grad_col = g.out_row // size, g.out_col // size
    else:
        stage_gradient(a, b, staged)
    if depthwise_in_blocks(a, grad):
        at = g.x + b.n * a.x_image + b.z * a.x_plane + b.first * a.x_channel  # IN_PLACE: of two axes
        i = b.y
        while i < b.end_row:
            height = min(<int64_t>DEPTHWISE_GRADIENT_ROWS, b.end_row - i)
            for ky in range((height - 1) * g.stride_y + 3):
                if a.reading == IN_PLACE:
                    rows[ky] = <const acc_t *>source_row(g, at, i * g.stride_y - g.pad_y + ky)
                else:
                    rows[ky] = band + ((i - b.y) * g.stride_y + ky) * line
            if a.reading == IN_PLACE:
                gradient_blocks(a, b, rows, b.x * g.stride_x - g.pad_x, g.width, g.x_col // size, <const acc_t *>fill,
                                grad + (i - b.y) * grad_row, grad_row, grad_col, height, b.count, sums)
            else:
                gradient_blocks(a, b, rows, <int64_t>0, line // a.pitch, a.pitch, <const acc_t *>fill,
                                grad + (i - b.y) * grad_row, grad_row, grad_col, height, a.pitch, sums)
            i += height
        return
    for i in range(b.end_row - b.y):
        for kz in range(a.kernel_z):
            for ky in range(g.kernel_y):
                depthwise_gradient_row(
                    sums + (kz * g.kernel_y + ky) * g.kernel_x * a.pitch, a.pitch,
                    <const acc_t *>(band + kz * a.band_pixels * a.pitch
                                    + (i * g.stride_y + ky * g.dilation_y) * line),
                    g.dilation_x * a.pitch, g.stride_x * a.pitch, g.kernel_x, grad + i * grad_row, grad_col, b.end_col - b.x)


cdef void gradient_planes(const DepthwiseGradientArgs *args, int64_t part, int64_t first, int64_t end, char *scratch,
                          acc_t *any) noexcept nogil:
    # The part of the sums of some filters; lanes are outputs of a row.
    cdef const DepthwiseBoxes *a = &args.boxes
    cdef const Geometry *g = &a.g
    cdef DepthwiseBox b
    cdef int64_t *rows = <int64_t *>scratch
    cdef acc_t *fill = <acc_t *>(scratch + a.fills)
    cdef acc_t *sums = <acc_t *>(scratch + a.sums)
    cdef int64_t size = sizeof(acc_t), filter_size = 9 * VECTOR_BYTES // <int64_t>sizeof(acc_t), f, i, y = -1
    memset(sums, 0, (end - first) * filter_size * sizeof(acc_t))
    for i in range(part * args.n_boxes // args.n_parts, (part + 1) * args.n_boxes // args.n_parts):
        number_box(a, i, &b)
        if b.y != y:
            plane_source(a, &b, rows, fill)
            y = b.y
        for f in range(first, end):  # planes that lie next to each other, whatever else is
            depthwise_plane_gradient(sums + (f - first) * filter_size,
                                     <const acc_t *>(g.x + b.n * a.x_image + f // a.multiplier * a.x_channel), rows, fill,
                                     g.stride_x, a.tables + 2, a.tables[0], <const void *>a.tables[1], fill[0],
                                     <const acc_t *>(<const char *>g.w + b.n * a.out_image + f * a.out_channel + y * g.out_row),
                                     g.out_row // size, b.end_row - y, a.ahead // size)
    for f in range(first, end):
        depthwise_lane_sums(sums + (f - first) * filter_size, <acc_t *>g.out + (part * a.filters + f) * 9)


cdef void gradient_unit(const DepthwiseGradientArgs *args, int64_t unit, char *scratch, acc_t *any) noexcept nogil:
    # Units run over (part, chunk of filters).
    cdef const DepthwiseBoxes *a = &args.boxes
    cdef const Geometry *g = &a.g
    cdef DepthwiseBox b
    cdef int64_t chunk = unit % a.n_chunks, part = unit // a.n_chunks, taps = a.kernel_z * g.kernel_y * g.kernel_x
    cdef int64_t lanes = VECTOR_BYTES // <int64_t>sizeof(acc_t), end, first, i, c, t, step = taps * <int64_t>sizeof(acc_t)
    cdef acc_t *sums = <acc_t *>(scratch + a.sums)
    cdef acc_t *turned = <acc_t *>(scratch + a.turned)
    cdef acc_t *fill = <acc_t *>(scratch + a.fills)
    cdef char *lines[VECTOR_BYTES]
    b.first = chunk * a.chunk
    end = a.filters if chunk == a.n_chunks - 1 else b.first + a.chunk
    if a.reading == ROWS:
        gradient_planes(args, part, b.first, end, scratch, any)
        return
    for c in range(a.pitch):
        fill[c] = (<const acc_t *>g.fill)[0]
    while b.first < end:  # of planes, a vector of filters at a time
        b.count = min(a.pitch, end - b.first)
        memset(sums, 0, taps * a.pitch * sizeof(acc_t))
        for i in range(part * args.n_boxes // args.n_parts, (part + 1) * args.n_boxes // args.n_parts):
            number_box(a, i, &b)
            gradient_box(a, &b, scratch, sums)
        c = 0
        while c < b.count:
            first = b.first + (c if a.reading != IN_PLACE else min(c, b.count - lanes))  # the last vector begins earlier
            for i in range(lanes):
                lines[i] = g.out + (part * a.filters + min(first + i, b.first + b.count - 1)) * step
            for t in range(taps):
                repeat_pixel(turned + t * lanes, <const acc_t *>sums + t * a.pitch + c, lanes, <int64_t>1)
            scatter_lanes(turned, taps, lines, min(lanes, b.first + b.count - first), <int64_t>sizeof(acc_t), code_of(turned))
            c += lanes
        b.first += b.count


cdef void depthwise_gradient_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DepthwiseGradientArgs *a = <const DepthwiseGradientArgs *>args
    gradient_unit(a, unit, own_scratch(&a.boxes.g, worker), <float *>NULL)


cdef void depthwise_gradient_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DepthwiseGradientArgs *a = <const DepthwiseGradientArgs *>args
    gradient_unit(a, unit, own_scratch(&a.boxes.g, worker), <double *>NULL)


cdef void depthwise_gradient_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DepthwiseGradientArgs *a = <const DepthwiseGradientArgs *>args
    gradient_unit(a, unit, own_scratch(&a.boxes.g, worker), <uint32_t *>NULL)


cdef void depthwise_gradient_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DepthwiseGradientArgs *a = <const DepthwiseGradientArgs *>args
    gradient_unit(a, unit, own_scratch(&a.boxes.g, worker), <uint64_t *>NULL)
