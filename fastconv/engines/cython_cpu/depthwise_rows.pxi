# Depthwise convolutions of planes whose rows are read where they lie: lanes are outputs.

cdef extern from "tiles_all.h" nogil:
    void depthwise_planes(...)


cdef void plane_source(const DepthwiseBoxes *a, const DepthwiseBox *b, int64_t *rows, acc_t *fill) noexcept nogil:
    # Where in a plane the rows lie that outputs of 3x3 read (elements), and a row of the fill value.
    cdef const Geometry *g = &a.g
    cdef int64_t q, row, top = b.y * g.stride_y - g.pad_y
    for q in range((b.end_row - 1 - b.y) * g.stride_y + 3):
        row = mapped(g.map_y, top + q, g.height, g.pad_y)
        rows[q] = BEYOND if row < 0 else row * g.x_row // <int64_t>sizeof(acc_t)
    for q in range(g.width):
        fill[q] = (<const acc_t *>g.fill)[0]


cdef void depthwise_rows(const DepthwiseArgs *args, const DepthwiseBox *b, char *scratch, acc_t *any) noexcept nogil:
    # Some rows of all filters of a unit; lanes are outputs.
    cdef const DepthwiseBoxes *a = &args.boxes
    cdef const Geometry *g = &a.g
    cdef int64_t *rows = <int64_t *>scratch
    cdef acc_t *fill = <acc_t *>(scratch + a.fills)
    cdef acc_t *dst
    cdef int64_t size = sizeof(acc_t), f = b.first, channel, n, i, height = b.end_row - b.y
    cdef Finish finish = finish_of(args.activation, args.slope)
    plane_source(a, b, rows, fill)
    while f < b.first + b.count:
        channel = f // a.multiplier
        n = 1 if args.activation > LEAKY_RELU else b.first + b.count - f if a.multiplier == 1 else min(
            b.first + b.count, (channel + 1) * a.multiplier) - f
        dst = <acc_t *>(g.out + b.n * a.out_image + f * a.out_channel + b.y * g.out_row)
        depthwise_planes(<const acc_t *>g.w + f * 9, NULL if g.bias == NULL else <const acc_t *>g.bias + f,
                         <const acc_t *>(g.x + b.n * a.x_image + channel * a.x_channel),
                         a.x_channel // size if a.multiplier == 1 else 0, rows, fill, g.stride_x, a.tables + 2, a.tables[0],
                         <const void *>a.tables[1], fill[0], dst, a.out_channel // size, g.out_row // size, height, n, a.ahead // size,
                         &finish)
        if args.activation > LEAKY_RELU and g.out_row == g.out_width * size:
            depthwise_activate(args, dst, g.out_width, height, g.out_width)
        elif args.activation > LEAKY_RELU:
            depthwise_activate(args, dst, g.out_row // size, height, g.out_width)
        f += n
