/* Sums of quantised numbers, scaled and rounded. */
#ifndef FASTCONV_QUANTIZED_H
#define FASTCONV_QUANTIZED_H
#include <stdint.h>

/* Bytes from low to high of rint((sum + offset) * scale) + zero_point; scales and offsets of one filter, or (step 1) of a
 * filter for each sum.  Nothing is fused: the sum is exact, the product rounded.  T, the sums' type, may be wide. */
#define QUANTIZE(T, s)                                                                                                 \
    static inline void quantize_run_##s(uint8_t *restrict to, const T *restrict sums, const double *restrict scale,    \
                                        const double *restrict offset, int64_t step, int64_t n, double zero_point,     \
                                        double low, double high) {                                                     \
        const double a = *scale, b = *offset;                                                                          \
        if (step)                                                                                                      \
            for (int64_t i = 0; i < n; i++)                                                                            \
                to[i] = (uint8_t)BYTE(__builtin_rint(((double)sums[i] + offset[i]) * scale[i]) + zero_point);          \
        else                                                                                                           \
            for (int64_t i = 0; i < n; i++)                                                                            \
                to[i] = (uint8_t)BYTE(__builtin_rint(((double)sums[i] + b) * a) + zero_point);                         \
    }
#define BYTE(v) byte_between(v, low, high)
static inline int32_t byte_between(double v, double low, double high) {
    const double above = v > low ? v : low;
    return (int32_t)(above < high ? above : high);
}
QUANTIZE(float, f32)
QUANTIZE(double, f64)
#undef QUANTIZE
#undef BYTE

/* The same of n sums of a type (FLOAT32, FLOAT64) that lie next to each other, to bytes `to_step` apart. */
static inline void quantize_line(char *to, int64_t to_step, const char *sums, int64_t code, const double *scale,
                                 const double *offset, int64_t step, int64_t n, double zero_point, double low,
                                 double high, char *room) {
    uint8_t *bytes = (uint8_t *)(to_step == 1 ? to : room);
    if (code == FLOAT32) quantize_run_f32(bytes, (const float *)sums, scale, offset, step, n, zero_point, low, high);
    else quantize_run_f64(bytes, (const double *)sums, scale, offset, step, n, zero_point, low, high);
    if (to_step != 1)
        for (int64_t i = 0; i < n; i++) to[i * to_step] = room[i];
}
#endif
