/* Sums of quantised numbers, scaled and rounded. */
#ifndef FASTCONV_QUANTIZED_H
#define FASTCONV_QUANTIZED_H
#include <stdint.h>

/* v = rint((v + offset) * scale) + zero_point; scales and offsets of one filter, or (step 1) of a filter for each number.
 * Nothing is fused: the sum is exact, the product rounded. */
static inline void quantize_run(double *restrict v, const double *restrict scale, const double *restrict offset,
                                int64_t step, int64_t n, double zero_point) {
    if (step)
        for (int64_t i = 0; i < n; i++) v[i] = __builtin_rint((v[i] + offset[i]) * scale[i]) + zero_point;
    else
        for (int64_t i = 0; i < n; i++) v[i] = __builtin_rint((v[i] + *offset) * *scale) + zero_point;
}
#endif
