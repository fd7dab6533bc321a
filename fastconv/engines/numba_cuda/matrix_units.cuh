// What kernels in C++ have of sm_90's matrix units: numbers of float16 in pairs, and products of matrices, four warps' together.
#pragma once

// Two numbers, each rounded to float16; the first is the lower half.
__device__ inline unsigned rounded_to_half(float a, float b) {
  unsigned pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(b), "f"(a));
  return pair;
}

__device__ inline float2 of_half(unsigned pair) {
  float2 two;
  asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }" : "=f"(two.x), "=f"(two.y) : "r"(pair));
  return two;
}

// The bits of the largest of a warp's numbers, none of which is negative.
__device__ inline unsigned largest_of_warp(float a) { return __reduce_max_sync(~0u, __float_as_uint(a)); }

// Where a matrix of 16 rows lies in shared memory, by blocks of 8 by 8 elements whose columns are contiguous, 128 bytes each; blocks
// of the same rows follow each other, those of the last eight rows come `behind` bytes later.
__device__ inline unsigned long long described(const void* place, int behind) {
  return (shared_address(place) & 0x3ffff) >> 4 | (unsigned long long)(behind >> 4) << 16 | 8ull << 32;
}

// Instructions see what was written to shared memory; to be followed by a barrier.
__device__ inline void publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// D = A B, or D + A B, of each warp 16 rows by 16 elements, and 8 BANDS columns.  Of A lane l has elements 2 (l % 4) and the next one
// of rows l / 4 and l / 4 + 8, then those 8 behind them; of these rows of D columns 2 (l % 4) and the next of each eight.
// BANDS_PRODUCT, BANDS_ADD and BANDS_RESULTS name as many operands as there are columns (`stream.operands`).
__device__ inline void multiply_bands(float (&d)[4 * BANDS], const unsigned (&a)[4], unsigned long long b, int add) {
  asm volatile("{ .reg .pred p; setp.ne.b32 p, " BANDS_ADD ", 0; " BANDS_PRODUCT " }"
               : BANDS_RESULTS
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

__device__ inline void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

__device__ inline void await_products() { asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }

// To follow the wait: what it was for is not used before.
__device__ inline void settle(float (&d)[4 * BANDS]) { asm volatile("" : BANDS_RESULTS::"memory"); }
