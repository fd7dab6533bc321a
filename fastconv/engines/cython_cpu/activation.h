/* Activations of runs of floating-point numbers, and their derivatives, a vector at a time.
 *
 * Exponentials are of numbers that are not positive (but the sigmoid's), and what is subtracted from 1 is at most 1/2:
 * results are right to a few units in the last place wherever they are normal numbers (tests/test_activation.py has the
 * largest errors found), and 0 below.  The normal distribution's tail is exp(-t * t / 2) times a polynomial in
 * (t - k) / (t + k), so one formula serves all of gelu (doi:10.1090/S0025-5718-1981-0595058-X).  Polynomials are
 * Chebyshev's, the last one in single precision of least relative error.
 *
 * Limits: two instructions a cycle.  AVX-512, float32, ns an element in cache: relu 0.06, sigmoid 0.15 (21 instructions for
 * 16 elements), silu 0.16, elu 0.17, tanh 0.19, mish 0.26, softplus 0.31, gelu 0.24.
 *
 * Included once per floating T by tiles.h, whose V, LOAD, STORE and SPLAT it uses. */
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define M NAME(mask)
typedef __typeof__((V){0} < (V){0}) M;
typedef T NAME(rest)[LANES];
#define C(number) SPLAT((T)(number))
#define WHERE(mask, yes, no) ((V)(((M)(mask) & (M)(yes)) | (~(M)(mask) & (M)(no))))
#define SIGN ((M)C(-0.0))
#define ABS(x) ((V)((M)(x) & ~SIGN))
#define WITH_SIGN_OF(x, magnitude) ((V)(((M)(x) & SIGN) | (M)(magnitude)))

/* The smaller and the larger: NaN stays, and so does -0.  The larger one of two vectors: NaN of the first is left out. */
#if ELEMENT_BYTES == 4
#define FOR_TYPE(width, name) _mm##width##_##name##_ps
#else
#define FOR_TYPE(width, name) _mm##width##_##name##_pd
#endif
#if defined(__AVX512F__)
#define INTRINSIC(name) FOR_TYPE(512, name)
#elif defined(__AVX__)
#define INTRINSIC(name) FOR_TYPE(256, name)
#elif defined(__SSE2__)
#define INTRINSIC(name) FOR_TYPE(, name)
#endif
#ifdef INTRINSIC
#define AT_LEAST(low, x) ((V)INTRINSIC(max)(C(low), x))
#define AT_MOST(high, x) ((V)INTRINSIC(min)(C(high), x))
#define LARGER(x, known) ((V)INTRINSIC(max)(x, known))
#else
#define AT_LEAST(low, x) WHERE((x) < C(low), C(low), x)
#define AT_MOST(high, x) WHERE((x) > C(high), C(high), x)
#define LARGER(x, known) WHERE((x) > (known), x, known)
#endif
#define POLYNOMIAL(x, table)                                                                  \
    ({                                                                                        \
        V sum = C(table[sizeof(table) / sizeof(T) - 1]);                                      \
        _Pragma("GCC unroll 32") for (int i = sizeof(table) / sizeof(T) - 2; i >= 0; i--) sum = sum * (x) + C(table[i]); \
        sum;                                                                                  \
    })

#if ELEMENT_BYTES == 4
#define LEAST -87.9 /* its exponential is 0 here */
#define LARGEST 88.8 /* and infinite */
#define ROUNDER 0x1.8p23 /* added, it leaves a number rounded to an integer in the lowest bits */
#define EXPONENT 23
#define ONE 0x3f800000
#define LN2_HIGH 0x1.62e4p-1
#define LN2_LOW 1.42860682030941723212e-6
#define UPPER_HALF -0x1000 /* bits of a number whose square is exact */
#define FARTHEST 13.26 /* where the tail is 0 */
#define MIDDLE 4.25
/* (exp(r) - 1 - r) / r^2 for |r| up to log(2) / 2 */
static const T NAME(exp_tail)[] = {0x1p-1, 0x1.5554dcp-3, 0x1.5554e8p-5, 0x1.120be8p-7, 0x1.6d43b4p-10};
/* (exp(r / 2) - 1 - r / 2) / r^2 */
static const T NAME(half_tail)[] = {0x1p-3, 0x1.5554dcp-6, 0x1.5554e8p-9, 0x1.120be8p-12, 0x1.6d43b4p-16};
/* (2 atanh(s) - 2 s) / s^3 in s^2, for s up to 1/3 */
static const T NAME(log_tail)[] = {0x1.555556p-1, 0x1.9998d2p-2, 0x1.24c9c2p-2, 0x1.bc7b44p-3, 0x1.dbf2aep-3};
/* (t + MIDDLE) exp(t^2 / 2) (1 - Phi(t)) in (t - MIDDLE) / (t + MIDDLE) */
static const T NAME(mills)[] = {0x1.84e44ep-1, -0x1.40110ap-1, 0x1.ac4222p-2, -0x1.c39a5cp-3,
                                0x1.5d9506p-4, -0x1.3d98fep-6, -0x1.10e8fcp-10, 0x1.13fc98p-9};
#else
#define LEAST -708.8
#define LARGEST 709.8
#define ROUNDER 0x1.8p52
#define EXPONENT 52
#define ONE 0x3ff0000000000000
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define UPPER_HALF -0x8000000
#define FARTHEST 37.66
#define MIDDLE 5
static const T NAME(exp_tail)[] = {0x1.0000000000001p-1, 0x1.5555555555557p-3, 0x1.5555555553d36p-5, 0x1.11111111100bdp-7,
                                   0x1.6c16c1789d53bp-10, 0x1.a01a01abf881cp-13, 0x1.a019b8c9728e5p-16, 0x1.71de01fd535cdp-19,
                                   0x1.2891d5bb21b57p-22, 0x1.af4e560b572dbp-26};
static const T NAME(half_tail)[] = {0x1.0000000000001p-3, 0x1.5555555555557p-6, 0x1.5555555553d36p-9, 0x1.11111111100bdp-12,
                                      0x1.6c16c1789d53bp-16, 0x1.a01a01abf881cp-20, 0x1.a019b8c9728e5p-24, 0x1.71de01fd535cdp-28,
                                      0x1.2891d5bb21b57p-32, 0x1.af4e560b572dbp-37};
static const T NAME(log_tail)[] = {0x1.5555555555555p-1, 0x1.9999999999941p-2, 0x1.2492492499fb9p-2, 0x1.c71c71bebb1d2p-3,
                                   0x1.745d199ba8dccp-3, 0x1.3b13504ae0e1cp-3, 0x1.111ad403aa869p-3, 0x1.e0a09f6d38f12p-4,
                                   0x1.bc48f26e9811cp-4, 0x1.3298669af8b3ap-4, 0x1.405ec1c12ac4bp-3};
static const T NAME(mills)[] = {0x1.89d3abe1f95aep-1, -0x1.54ad03f27ca17p-1, 0x1.fb31653876f92p-2, -0x1.410ed5f875a7cp-2,
                                0x1.51f6329f01709p-3, -0x1.1b1c254c9a2b6p-4, 0x1.54b4d4f4c5d11p-6, -0x1.88590eaadb7f9p-9,
                                -0x1.a25037dd3becp-11, 0x1.1daf1d43337e2p-11, -0x1.f2145fb2b7015p-15, -0x1.a170ced28f539p-15,
                                0x1.17dd0980b4adbp-16, 0x1.0b268a459ebb7p-18, -0x1.73ab329f38dfcp-19, -0x1.694af068ad697p-22,
                                0x1.d0ebee2d5012p-22, 0x1.6942b0e25ecf2p-25, -0x1.1ae066bd144bep-24, -0x1.3970ec073bb6ap-27,
                                0x1.07cfda70acfd1p-27, 0x1.ceaa4629322cfp-30, -0x1.94e866583810bp-33};
#endif

#define INLINE static inline __attribute__((always_inline))

/* exp(x) for x from LEAST to 0 as *scale * (1 + what is returned) */
INLINE V NAME(exponential)(V x, V *scale) {
    const V shifted = x * C(0x1.71547652b82fep+0) + C(ROUNDER), n = shifted - C(ROUNDER);
    const V r = (x - n * C(LN2_HIGH)) - n * C(LN2_LOW);
    *scale = (V)(((M)shifted << EXPONENT) + ONE);
    return r + r * r * POLYNOMIAL(r, NAME(exp_tail));
}
INLINE V NAME(exp)(V x) { V scale, p = NAME(exponential)(AT_LEAST(LEAST, x), &scale); return scale + scale * p; }
INLINE V NAME(expm1)(V x) { V scale, p = NAME(exponential)(AT_LEAST(LEAST, x), &scale); return scale * p + (scale - C(1)); }

/* log(1 + e) for e from 0 to 1 */
INLINE V NAME(log1p)(V e) {
    const V s = e / (e + C(2)), z = s * s;
    return C(2) * s + s * z * POLYNOMIAL(z, NAME(log_tail));
}

/* The scale is infinite before the exponential is, where the result is 0 almost. */
INLINE V NAME(sigmoid)(V x) {
    V scale, p = NAME(exponential)(AT_LEAST(LEAST, AT_MOST(LARGEST, -x)), &scale);
    return C(1) / (C(1) + scale * (C(1) + p));
}
/* The sigmoid's derivative, and the sigmoid. */
INLINE V NAME(sigmoid_slope)(V x, V *value) {
    const V e = NAME(exp)(-ABS(x)), above = C(1) / (C(1) + e), below = e * above;
    *value = WHERE(x < C(0), below, above);
    return below * above;
}
INLINE V NAME(tanh)(V x) {
    const V t = NAME(expm1)(C(-2) * ABS(x));
    return WITH_SIGN_OF(x, ABS(t / (t + C(2)))); 
}
INLINE V NAME(sigmoid_only_slope)(V x) {
    const V e = NAME(exp)((V)((M)x | SIGN)), below = C(1) + e;
    return e / (below * below);
}
INLINE V NAME(tanh_slope)(V x) { return C(4) * NAME(sigmoid_only_slope)(C(2) * x); }

/* The normal distribution's probability beyond t >= 0; *density is exp(-t * t / 2).  What n * log(2) leaves of t * t / 2 is
 * right to the last bit, since n times the upper part of log(2) is exact; so is twice as much, which is r. */
INLINE V NAME(tail)(V t, V *density) {
    const V shifted = t * C(-0.5 * 0x1.71547652b82fep+0) * t + C(ROUNDER), n = shifted - C(ROUNDER);
#ifdef __FMA__
    const V near = (V)INTRINSIC(fnmsub)(t, t, n * C(2 * LN2_HIGH));
#else
    const V high = (V)((M)t & UPPER_HALF), near = -(high * high) - n * C(2 * LN2_HIGH) - (t - high) * (t + high);
#endif
    const V r = near - n * C(2 * LN2_LOW), scale = (V)(((M)shifted << EXPONENT) + ONE);
    const V d = C(1) / (t + C(MIDDLE)), u = C(1) - C(2 * MIDDLE) * d;
    *density = scale + scale * (r * (C(0.5) + r * POLYNOMIAL(r, NAME(half_tail))));
    return *density * (d * POLYNOMIAL(u, NAME(mills)));
}
/* relu(x) - |x| tail(|x|) */
INLINE V NAME(gelu)(V x) {
    V density, t = AT_MOST(FARTHEST, ABS(x));
    return AT_LEAST(0, x) - t * NAME(tail)(t, &density);
}
INLINE V NAME(gelu_slope)(V x) {
    V density, t = AT_MOST(FARTHEST, ABS(x)), tail = NAME(tail)(t, &density) - t * (density * C(0.3989422804014327));
    return WHERE(x > C(0), C(1) - tail, tail);
}

/* (1 + tanh(c (x + 0.044715 x^3))) / 2 = sigmoid(2 c x (1 + 0.044715 x^2)) */
#define CUBIC(x) ((x) * C(1.5957691216057308) * (C(1) + C(0.044715) * (x) * (x)))
INLINE V NAME(gelu_tanh)(V x) { return x * NAME(sigmoid)(CUBIC(x)); }
INLINE V NAME(gelu_tanh_slope)(V x) {
    const V near = AT_MOST(FARTHEST, AT_LEAST(-FARTHEST, x)), v = CUBIC(near);
    V value, slope = NAME(sigmoid_slope)(v, &value);
    return value + near * slope * (C(1.5957691216057308) * (C(1) + C(0.134145) * near * near));
}

INLINE V NAME(silu_slope)(V x) {
    V value, slope = NAME(sigmoid_slope)(x, &value);
    return value + AT_LEAST(LEAST, AT_MOST(-LEAST, x)) * slope;
}
INLINE V NAME(log_of_both)(V x) { return WHERE(x > C(0), x, C(0)) + NAME(log1p)(NAME(exp)(-ABS(x))); }
INLINE V NAME(softplus)(V x) { return WHERE(x > C(20), x, NAME(log_of_both)(x)); }
INLINE V NAME(softplus_beta)(V x, T beta, T threshold) {
    const V scaled = x * C(beta);
    return WHERE(scaled > C(threshold), x, NAME(log_of_both)(scaled) / C(beta));
}
INLINE V NAME(elu)(V x, T slope) { return WHERE(x >= C(0), x, C(slope) * NAME(expm1)(WHERE(x > C(0), C(0), x))); }
INLINE V NAME(elu_slope)(V x, T slope) { return WHERE(x > C(0), C(1), C(slope) * NAME(exp)(WHERE(x > C(0), C(0), x))); }
INLINE V NAME(relu6)(V x) { return AT_MOST(6, AT_LEAST(0, x)); }

/* mish is x tanh(softplus(x)) = x n / (n + 2), where n = w (w + 2) and w = exp(x); both divided by w^2 above 0.
 * *rest is 1 - tanh, *e is exp(-|x|). */
INLINE V NAME(mish_ratio)(V x, V *rest, V *e) {
    *e = NAME(exp)(-ABS(x));
    const V two = WHERE(x > C(0), C(2) * *e * *e, C(2));
    const V n = WHERE(x > C(0), C(1) + C(2) * *e, *e * (*e + C(2))), part = C(1) / (n + two);
    *rest = two * part;
    return n * part;
}
INLINE V NAME(mish)(V x) { V rest, e; return x * NAME(mish_ratio)(x, &rest, &e); }
INLINE V NAME(mish_slope)(V x) {
    V rest, e, t = NAME(mish_ratio)(x, &rest, &e);
    const V near = AT_LEAST(LEAST, AT_MOST(-LEAST, x)), sigmoid = WHERE(x < C(0), e, C(1)) / (C(1) + e);
    return t + near * (rest * (C(1) + t)) * sigmoid;
}

#if ELEMENT_BYTES == 4
#define POWER_OF powf
#else
#define POWER_OF pow
#endif
INLINE V NAME(raised)(V x, T power) {
    const T size = power < 0 ? -power : power;
    V result = size == 2 ? x * x : size == 1 ? x : C(1);
    if (size == 0 || size == 1 || size == 2) return power < 0 ? C(1) / result : result;
    for (int64_t i = 0; i < LANES; i++) result[i] = POWER_OF(x[i], power);
    return result;
}
#undef POWER_OF

/* dst[i] = FUNCTION of src[i], or with MULTIPLY times grad[i]; the last elements by way of a buffer. */
#define CASE(code, FUNCTION)                                                      \
    case code:                                                                    \
        for (int64_t i = 0; i < whole; i += LANES) { const V x = LOAD(src + i); STORE(dst + i, FUNCTION); } \
        break
static __attribute__((noinline)) void NAME(activate)(T *dst, const T *src, int64_t n, int64_t code, T slope, T bound) {
    const int64_t whole = n / LANES * LANES;
    switch (code) {
        CASE(RELU, AT_LEAST(0, x));
        CASE(RELU6, NAME(relu6)(x));
        CASE(LEAKY_RELU, WHERE(x > C(0), x, x * C(slope)));
        CASE(SIGMOID, NAME(sigmoid)(x));
        CASE(TANH, NAME(tanh)(x));
        CASE(SILU, x * NAME(sigmoid)(x));
        CASE(GELU, NAME(gelu)(x));
        CASE(GELU_TANH, NAME(gelu_tanh)(x));
        CASE(HARDSWISH, x * (NAME(relu6)(x + C(3)) * C(1.0 / 6)));
        CASE(ELU, NAME(elu)(x, slope));
        CASE(SOFTPLUS, NAME(softplus)(x));
        CASE(MISH, NAME(mish)(x));
        CASE(HARDSIGMOID, NAME(relu6)(x + C(3)) * C(1.0 / 6));
        CASE(SOFTSIGN, x / (C(1) + ABS(x)));
        CASE(LOGSIGMOID, WHERE(x < C(0), x, C(0)) - NAME(log1p)(NAME(exp)(-ABS(x))));
        CASE(HARDTANH, AT_MOST(bound, AT_LEAST(slope, x)));
        CASE(SOFTPLUS_BETA, NAME(softplus_beta)(x, slope, bound));
        default: return;
    }
    if (whole < n) {
        NAME(rest) rest = {0};
        memcpy(rest, src + whole, (n - whole) * sizeof(T));
        NAME(activate)(rest, rest, LANES, code, slope, bound);
        memcpy(dst + whole, rest, (n - whole) * sizeof(T));
    }
}
#undef CASE

/* dst[i] = grad[i] * the derivative at src[i].  Gradients are loaded whole: GCC makes masked loads of those that are chosen
 * by the sign, say, which wait for it (12.8 MB arrays took 1.3 to 2.4 times as long). */
#define CASE(code, SLOPE)                                                                                     \
    case code:                                                                                                \
        for (int64_t i = 0; i < whole; i += LANES) {                                                              \
            const V x = LOAD(src + i);                                                                        \
            V g = LOAD(grad + i);                                                                             \
            HOLD(g);                                                                                          \
            STORE(dst + i, SLOPE);                                                                            \
        }                                                                                                     \
        break
static __attribute__((noinline)) void NAME(activate_backward)(T *dst, const T *grad, const T *src, int64_t n, int64_t code,
                                                              T slope, T bound) {
    const int64_t whole = n / LANES * LANES;
    switch (code) {
        CASE(RELU, WHERE(x <= C(0), C(0), g));
        CASE(RELU6, WHERE((x > C(0)) & (x < C(6)), g, C(0)));
        CASE(LEAKY_RELU, WHERE(x > C(0), g, g * C(slope)));
        CASE(SIGMOID, g * NAME(sigmoid_only_slope)(x));
        CASE(TANH, g * NAME(tanh_slope)(x));
        CASE(SILU, g * NAME(silu_slope)(x));
        CASE(GELU, g * NAME(gelu_slope)(x));
        CASE(GELU_TANH, g * NAME(gelu_tanh_slope)(x));
        CASE(HARDSWISH, WHERE(x <= C(-3), C(0), WHERE(x >= C(3), g, g * (x * C(1.0 / 3) + C(0.5)))));
        CASE(ELU, g * NAME(elu_slope)(x, slope));
        CASE(SOFTPLUS, WHERE(x > C(20), g, g * NAME(sigmoid)(x)));
        CASE(MISH, g * NAME(mish_slope)(x));
        CASE(HARDSIGMOID, WHERE((x > C(-3)) & (x < C(3)), g * C(1.0 / 6), C(0)));
        CASE(SOFTSIGN, g / ((C(1) + ABS(x)) * (C(1) + ABS(x))));
        CASE(LOGSIGMOID, g * NAME(sigmoid)(-x));
        CASE(HARDTANH, WHERE((x > C(slope)) & (x < C(bound)), g, C(0)));
        CASE(SOFTPLUS_BETA, WHERE(x * C(slope) > C(bound), g, g * NAME(sigmoid)(x * C(slope))));
        CASE(POWER, g * C(bound) * NAME(raised)(x, slope));
        CASE(POWER_OR_0, g * WHERE(x == C(0), C(0), C(bound) * NAME(raised)(x, slope)));
        default: return;
    }
    if (whole < n) {
        NAME(rest) x = {0}, g = {0};
        memcpy(x, src + whole, (n - whole) * sizeof(T));
        memcpy(g, grad + whole, (n - whole) * sizeof(T));
        NAME(activate_backward)(x, g, x, LANES, code, slope, bound);
        memcpy(dst + whole, x, (n - whole) * sizeof(T));
    }
}

/* The sums of a kernel, before they are stored: `code` of fastconv.engines.contract's ACTIVATIONS, 0 for none. */
static inline void NAME(activate_run)(T *sums, int64_t n, int64_t code, T slope) {
    if (code) NAME(activate)(sums, sums, n, code, slope, 0);
}

/* The first few of a vector that stays in registers. */
INLINE V NAME(rectified)(V x, const int code, T slope) {
    return code == RELU ? AT_LEAST(0, x) : code == RELU6 ? NAME(relu6)(x) : WHERE(x > C(0), x, x * C(slope));
}

#include "softmax.h"

#undef CASE
#undef M
#undef C
#undef WHERE
#undef SIGN
#undef ABS
#undef WITH_SIGN_OF
#undef AT_LEAST
#undef LARGER
#undef AT_MOST
#undef FOR_TYPE
#undef INTRINSIC
#undef LARGEST
#undef POLYNOMIAL
#undef LEAST
#undef ROUNDER
#undef EXPONENT
#undef ONE
#undef LN2_HIGH
#undef LN2_LOW
#undef UPPER_HALF
#undef FARTHEST
#undef MIDDLE
#undef INLINE
#undef CUBIC
