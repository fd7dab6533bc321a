/* The 16-bit floating-point types in memory: conversions from and to float.  Bits are moved by integer arithmetic
 * that compilers vectorise, where there are no instructions for it. */
#ifndef FASTCONV_HALF_H
#define FASTCONV_HALF_H
#include <stdint.h>
#if defined(__F16C__)
#include <immintrin.h>
#endif

typedef union { uint32_t bits; float number; } fastconv_float;

/* a where the condition holds, else b, without a branch that would keep loops from being vectorised */
#define SELECT(condition, a, b) ((b) ^ (((a) ^ (b)) & (uint32_t)-(int32_t)(condition)))

static inline float from_bfloat16(uint16_t stored) {
    const fastconv_float v = {.bits = (uint32_t)stored << 16};
    return v.number;
}

/* Rounded to nearest, halves to even; NaN stays NaN whichever of its bits are lost. */
static inline uint16_t to_bfloat16(float number) {
    const fastconv_float v = {.number = number};
    const uint32_t rounded = v.bits + 0x7fff + (v.bits >> 16 & 1);
    return (uint16_t)((number == number ? rounded : v.bits | 0x400000) >> 16);
}

/* Exponents are rebased by adding to them, those of infinity and NaN twice; subnormal numbers are made normal by
 * subtracting the leading one that they lack. */
static inline float from_float16(uint16_t stored) {
#if defined(__F16C__)
    return _cvtsh_ss(stored);
#else
    const uint32_t magnitude = (uint32_t)(stored & 0x7fff) << 13, sign = (uint32_t)(stored & 0x8000) << 16;
    const uint32_t rebase = 112u << 23;
    const fastconv_float lacking = {.bits = 113u << 23};
    fastconv_float subnormal = {.bits = magnitude + (113u << 23)}, v;
    subnormal.number -= lacking.number;
    v.bits = magnitude + rebase + SELECT(magnitude >= 31u << 23, rebase, 0u);
    v.bits = SELECT(magnitude < 1u << 23, subnormal.bits, v.bits) | sign;
    return v.number;
#endif
}

/* Rounded to nearest, halves to even.  What becomes subnormal is rounded by adding a number whose last place is the
 * smallest subnormal one. */
static inline uint16_t to_float16(float number) {
#if defined(__F16C__)
    return _cvtss_sh(number, _MM_FROUND_TO_NEAREST_INT);
#else
    fastconv_float v = {.number = number}, small;
    const fastconv_float place = {.bits = 126u << 23}; /* 0.5 */
    const uint32_t sign = v.bits & 0x80000000u;
    uint32_t normal, result;
    v.bits ^= sign;
    normal = (v.bits - (112u << 23) + 0xfff + (v.bits >> 13 & 1)) >> 13;
    small.number = v.number + place.number;
    result = SELECT(v.bits < 113u << 23, small.bits - place.bits, normal);
    result = SELECT(v.bits >= 143u << 23, 0x7c00u | (v.bits > 255u << 23) << 9, result);
    return (uint16_t)(result | sign >> 16);
#endif
}

/* A double as a float whose further rounding, to fewer places, is that of the double: truncated, and odd if inexact. */
static inline float to_odd(double number) {
    fastconv_float v = {.number = (float)number};
    const double back = (double)v.number;
    const uint32_t beyond = (back < 0 ? -back : back) > (number < 0 ? -number : number);
    v.bits = SELECT(back < number || back > number, (v.bits - beyond) | 1, v.bits);
    return v.number;
}

#undef SELECT
#endif
