/* Values between the elements of images, for convolutions whose taps are moved. */
#ifndef FASTCONV_DEFORM_H
#define FASTCONV_DEFORM_H
#include <stdint.h>
#include <math.h>

/* Four elements around a place, NULL beyond the borders, and their weights. */
#define CORNERS(T, s)                                                                                                  \
    static inline void corners_##s(T y, T x, int64_t height, int64_t width, const char *plane, int64_t row, int64_t col, \
                                   T scale, const char **at, T *weight) {                                              \
        const int inside = y > -1 && y < (T)height && x > -1 && x < (T)width;                                          \
        const int64_t low_y = inside ? (int64_t)floor((double)y) : 0, low_x = inside ? (int64_t)floor((double)x) : 0;  \
        const T part_y = y - (T)low_y, part_x = x - (T)low_x, none = y == y && x == x ? 0 : (T)NAN;                    \
        for (int k = 0; k < 4; k++) {                                                                                  \
            const int64_t a = low_y + (k >> 1), b = low_x + (k & 1);                                                   \
            const T of_row = k >> 1 ? part_y : 1 - part_y, of_col = k & 1 ? part_x : 1 - part_x;                       \
            at[k] = inside && a >= 0 && a < height && b >= 0 && b < width ? plane + a * row + b * col : NULL;          \
            weight[k] = inside ? of_row * of_col * scale : none;                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    /* d[i] = sum over k of weight[k] * at[k][i] */                                                                    \
    static inline void blend_##s(T *restrict d, const T *restrict p, const T *restrict q, const T *restrict r,         \
                                 const T *restrict t, const T *weight, int64_t n) {                                    \
        const T a = weight[0], b = weight[1], c = weight[2], e = weight[3];                                            \
        for (int64_t i = 0; i < n; i++) d[i] = a * p[i] + b * q[i] + c * r[i] + e * t[i];                              \
    }                                                                                                                  \
    /* The same elements, also where both weights of a row or column are 0, for slopes from above; *down and *along are \
     * how far the place is from the first. */                                                                         \
    static inline void edges_##s(T y, T x, int64_t height, int64_t width, const char *plane, int64_t row, int64_t col, \
                                 const char **at, T *down, T *along) {                                                 \
        const int inside = y >= -1 && y < (T)height && x >= -1 && x < (T)width;                                        \
        const int64_t low_y = inside ? (int64_t)floor((double)y) : 0, low_x = inside ? (int64_t)floor((double)x) : 0;  \
        const T none = y == y && x == x ? 0 : (T)NAN;                                                                  \
        for (int k = 0; k < 4; k++) {                                                                                  \
            const int64_t a = low_y + (k >> 1), b = low_x + (k & 1);                                                   \
            at[k] = inside && a >= 0 && a < height && b >= 0 && b < width ? plane + a * row + b * col : NULL;          \
        }                                                                                                              \
        *down = inside ? y - (T)low_y : none;                                                                          \
        *along = inside ? x - (T)low_x : none;                                                                         \
    }                                                                                                                  \
    /* *d += sum over i of a[i] * b[i] */                                                                              \
    static inline void add_dot_##s(T *d, const T *a, const T *b, int64_t n) {                                          \
        typedef T vec __attribute__((vector_size(64), aligned(sizeof(T)), may_alias));                                 \
        enum { lanes = 64 / sizeof(T) };                                                                               \
        vec sums = {0};                                                                                                \
        T total = 0;                                                                                                   \
        int64_t i = 0;                                                                                                 \
        for (; i + lanes <= n; i += lanes) sums += *(const vec *)(a + i) * *(const vec *)(b + i);                      \
        for (int k = 0; k < lanes; k++) total += sums[k];                                                              \
        for (; i < n; i++) total += a[i] * b[i];                                                                       \
        *d += total;                                                                                                   \
    }                                                                                                                  \
    /* d[i] += weight * a[i] */                                                                                        \
    static inline void add_times_##s(T *restrict d, const T *restrict a, T weight, int64_t n) {                        \
        for (int64_t i = 0; i < n; i++) d[i] += weight * a[i];                                                         \
    }
CORNERS(float, f32)
CORNERS(double, f64)
#undef CORNERS
#define corners(y, ...) _Generic((y), float: corners_f32, double: corners_f64)(y, __VA_ARGS__)
#define blend(d, ...) _Generic((d), float *: blend_f32, double *: blend_f64)(d, __VA_ARGS__)
#define edges(y, ...) _Generic((y), float: edges_f32, double: edges_f64)(y, __VA_ARGS__)
#define add_dot(d, ...) _Generic((d), float *: add_dot_f32, double *: add_dot_f64)(d, __VA_ARGS__)
#define add_times(d, ...) _Generic((d), float *: add_times_f32, double *: add_times_f64)(d, __VA_ARGS__)
#endif
