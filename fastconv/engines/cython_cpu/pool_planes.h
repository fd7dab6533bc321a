/* Planes pooled in registers: what their functions are told, and which there are. Included by pooling.h. */
/* Small windows of planes: see pool_plane.h. */
typedef struct {
    const int64_t *windows_y;              /* the contract's table */
    int64_t z_step, row_step;              /* bytes from a window's plane to its next, from its row to the next */
    int64_t x_row, out_row, width, n;      /* bytes between rows of input and output; columns of both */
    int64_t taps, pad, stride;             /* of columns */
    const void *counts;                    /* taps of each output's columns that count, or NULL: the divisor is `tall` */
    int64_t flat;                          /* rows of all outputs follow each other without gaps */
    int64_t height, same;                  /* rows of the input; whether windows are 3x3, one for each element */
} PlaneRows;
/* Rows first to last of a plane from dst on; windows have `nz` planes, of which `tall` count.  Nothing is written from `end` on. */
typedef void PoolRows(const PlaneRows *p, char *dst, const char *end, const char *plane, int64_t nz, int64_t tall,
                      int64_t first, int64_t last);
/* The same with positions: see pool_scan.h. */
typedef struct {
    int64_t x_row, out_row, idx_row;    /* bytes between rows */
    int64_t height, width, n;           /* rows and columns of the input, columns of outputs */
    int64_t rows, taps;                 /* of a window */
    int64_t stride_y, stride_x, pad_y, pad_x;
    int64_t ahead;                      /* bytes to what is called for */
} PlaneScan;
/* Rows begin to end of a plane whose first element has the position `base`. */
typedef void PoolScan(const PlaneScan *p, char *out, char *idx, const char *plane, int64_t base, int64_t begin, int64_t end);
/* Planes that fit into registers: see pool_small.h. */
enum { LANES_MAX, LANES_AVERAGE, LANES_GRADIENT, LANES_PLACES };
typedef struct {
    const char *table;
    int64_t in, out, taps;              /* elements of a plane, outputs, taps of each */
    int64_t x_step, out_step, idx_step; /* bytes between planes */
    int64_t flat;                       /* those of outputs follow each other without gaps */
} PlaneLanes;
/* `count` planes; nothing is written from `end` on, that of the first plane's outputs unless all are flat. */
typedef void PoolLanes(const PlaneLanes *p, char *out, const char *end, char *idx, int64_t count, const char *src);
/* Planes whose rows do: see pool_lines.h. */
typedef struct {
    const int64_t *windows_y; /* the contract's table */
    const char *table;
    const double *weights;    /* of rows */
    int64_t width, n, taps;   /* columns of input and output, taps of each */
    int64_t x_row, out_row;   /* bytes between rows */
    int64_t flat, divided;    /* as above; whether all windows are divided by the same number */
} PlaneLines;
/* Rows first to last of a plane; `tall` is how many of its planes count, or what else all are multiplied by. */
typedef void PoolLines(const PlaneLines *p, char *out, const char *end, const char *plane, double tall, int64_t first,
                       int64_t last);

/* Narrow planes: see pool_narrow.h. */
typedef struct {
    int64_t height, width, rows, n;  /* of planes, and of their outputs */
    int64_t kernel, stride, pad;     /* of rows of windows */
    int64_t taps, group, planes;     /* columns of windows; rows of outputs that are stored together; planes side by side */
    int64_t x_step, out_step;        /* bytes between planes */
    const lanes_f32 *table;          /* lanes of each tap; then the divisors of each group, unless all are `divisor` */
    float divisor;
    int64_t pad_x, fetch;            /* of columns of windows; whether lines of memory are called for */
} NarrowPlanes;
/* `count` planes. */
typedef void PoolNarrow(const NarrowPlanes *p, char *out, const char *src, int64_t count);

/* Pixels with many channels: see pool_pixels.h. */
typedef struct {
    const int64_t *windows_x;     /* the contract's table */
    int64_t x_row, x_col, lanes;  /* bytes between rows, and pixels; channels */
    int64_t n, taps, stride, stride_y;
    int64_t whole, n_whole;       /* the first output whose window is whole, and how many with as many taps that count are */
    int64_t divisor;              /* 0: as many as the taps that count */
    int64_t fetch;                /* bytes from a row to the first that is called for */
    int64_t stream;               /* vectors of outputs are lines of memory, and written past the caches */
} PixelRows;
/* A row of outputs, whose windows have ny rows, `counted` of them and of their planes. */
typedef void PoolPixels(const PixelRows *p, char *dst, const char *src, int64_t ny, int64_t counted);

enum { SAME_BYTES = 8192 }; /* of rows of a plane that strips go down: see pool_same.h */
#define T float
#define SUFFIX f32
#define IDENTITY ((lanes_f32){0} - INFINITY)
#define OP top_f32
#define DIVIDED 0
#define NAME(x) plane_max_f32_##x
#include "pool_plane.h"
#define IDENTITY ((lanes_f32){0})
#define OP add_f32
#define DIVIDED 1
#define NAME(x) plane_avg_f32_##x
#include "pool_plane.h"
#define IDENTITY ((lanes_f32){0} - INFINITY)
#define OP top_f32
#define DIVIDED 0
#define NAME(x) pixel_max_f32_##x
#include "pool_pixels.h"
#define IDENTITY ((lanes_f32){0})
#define OP add_f32
#define DIVIDED 1
#define NAME(x) pixel_avg_f32_##x
#include "pool_pixels.h"
#undef T
#undef SUFFIX
#define T double
#define SUFFIX f64
#define IDENTITY ((lanes_f64){0} - INFINITY)
#define OP top_f64
#define DIVIDED 0
#define NAME(x) plane_max_f64_##x
#include "pool_plane.h"
#define IDENTITY ((lanes_f64){0})
#define OP add_f64
#define DIVIDED 1
#define NAME(x) plane_avg_f64_##x
#include "pool_plane.h"
#define IDENTITY ((lanes_f64){0} - INFINITY)
#define OP top_f64
#define DIVIDED 0
#define NAME(x) pixel_max_f64_##x
#include "pool_pixels.h"
#define IDENTITY ((lanes_f64){0})
#define OP add_f64
#define DIVIDED 1
#define NAME(x) pixel_avg_f64_##x
#include "pool_pixels.h"
#undef T
#undef SUFFIX

#define T float
#define T_PLACE int32_t
#define SUFFIX f32
#define NAME(x) scan_f32_##x
#include "pool_scan.h"
#define T double
#define T_PLACE int64_t
#define SUFFIX f64
#define NAME(x) scan_f64_##x
#include "pool_scan.h"

#define T float
#define T_PLACE int32_t
#define SUFFIX f32
#define NAME(x) small_f32_##x
#include "pool_small.h"
#define T double
#define T_PLACE int64_t
#define SUFFIX f64
#define NAME(x) small_f64_##x
#include "pool_small.h"

#include "pool_narrow.h"
#include "pool_past.h"

static PoolLanes *pool_lanes(const PlaneLanes *p, int kind, int64_t size) {
    return size == 4 ? small_f32_of(p, kind) : small_f64_of(p, kind);
}
static PoolLines *pool_lines(const PlaneLines *p, int kind, int64_t size) {
    return size == 4 ? small_f32_lines_of(p, kind) : small_f64_lines_of(p, kind);
}
static PoolScan *pool_scan(const PlaneScan *p, int64_t size) { return size == 4 ? scan_f32_of(p) : scan_f64_of(p); }

/* By whether averages are made, and of elements of `size` bytes. */
static PoolPixels *pool_pixels(const PixelRows *p, int average, int64_t size) {
    if (average) return size == 4 ? pixel_avg_f32_of(p) : pixel_avg_f64_of(p);
    return size == 4 ? pixel_max_f32_of(p) : pixel_max_f64_of(p);
}
static PoolRows *pool_rows(const PlaneRows *p, int average, int64_t size, int64_t divisor) {
    const int exact = p->counts == NULL && EXACT_QUOTIENTS(divisor);
    if (average) return size == 4 ? plane_avg_f32_rows(p, exact) : plane_avg_f64_rows(p, exact);
    return size == 4 ? plane_max_f32_rows(p, 0) : plane_max_f64_rows(p, 0);
}
