/* Samples that are missing: taken out of a staged window, and the weight that windows lack by them. */
#ifndef FASTCONV_NORMALIZED_H
#define FASTCONV_NORMALIZED_H
#include "tiles_all.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* Bytes from what is read or written to what is called for: the width of a patch (fastconv.algorithms.normalized). */
enum { AHEAD_BYTES = 1024 };

#define T float
#define INT int32_t
#define NAME(x) x##_f32
#define NAN_BITS512(v) _mm512_cmp_ps_mask((__m512)(v), (__m512)(v), _CMP_UNORD_Q)
#define NAN_BITS256(v) _mm256_movemask_ps((__m256)((v) != (v)))
#define NAN_BITS128(v) _mm_movemask_ps((__m128)((v) != (v)))
#include "normalized_gaps.h"
#define T double
#define INT int64_t
#define NAME(x) x##_f64
#define NAN_BITS512(v) _mm512_cmp_pd_mask((__m512d)(v), (__m512d)(v), _CMP_UNORD_Q)
#define NAN_BITS256(v) _mm256_movemask_pd((__m256d)((v) != (v)))
#define NAN_BITS128(v) _mm_movemask_pd((__m128d)((v) != (v)))
#include "normalized_gaps.h"

#define PICK_REAL(name, p) \
    _Generic((p), float *: name##_f32, const float *: name##_f32, double *: name##_f64, const double *: name##_f64)
#define mark(values, ...) PICK_REAL(mark, values)(values, __VA_ARGS__)
#define take_gaps(dst, ...) PICK_REAL(take_gaps, dst)(dst, __VA_ARGS__)
#define add_missing(missing, ...) PICK_REAL(add_missing, missing)(missing, __VA_ARGS__)
#define scale(sums, ...) PICK_REAL(scale, sums)(sums, __VA_ARGS__)
#endif
