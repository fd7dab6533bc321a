// The filter of float32 planes in strips, on the matrix units: a number is the sum of two of float16 [Ootomo]_.
//
// A warp goes down a strip of 128 columns, whose rows are staged in shared memory ahead of it, where the boundary rule is applied.
// A row is a matrix A[m, k] = x[8 m + k]; times B[k, n] = w[k - n], a band for each row of the kernel, it is what the row adds to
// outputs 8 m + n; a product by the bands of GROUP rows is one instruction of a block's four warps.  Rows are
// scaled by a power of two that their largest element tells, weights by another, and split, so that 22 bits of large numbers
// are kept and small ones are off by 2^-40 of the largest; A B = A' B' + A' B'' + A'' B'.  The units truncate their sums, so
// those of each row begin at zero and are added to the window's by ordinary instructions.  The sums are as exact as direct ones,
// and more exact where windows are large.
//
// Zeros beside the band are multiplied, too, so NaN and infinity reach outputs whose windows hold none: what is not finite is
// summed once more, directly.
//
// .. [Ootomo] H. Ootomo, R. Yokota, "Recovering single precision accuracy from Tensor Cores while surpassing the FP32
//    theoretical peak performance", Int. J. High Perform. Comput. Appl. 36.4 (2022), 475-491, doi:10.1177/10943420221090256.
//
// Windows start PHASE elements behind an aligned vector.  Weights lie on the device, or are arguments.
#include "staging.cuh"
#include "matrix_units.cuh"

constexpr int WIDTH = 128, ODD = PHASE % 2, EVEN = PHASE - ODD;
constexpr int STEPS = (ODD + KERNEL_X + 7 + 15) / 16;  // of sixteen elements: what eight outputs need
constexpr int PITCH = (EVEN + WIDTH - 8 + 16 * STEPS + 3) / 4 * 4;
constexpr int BANDS = (KERNEL_Y + GROUP - 1) / GROUP * GROUP;
constexpr int BEHIND = 128 * BANDS;  // bytes from blocks of bands to those of the next eight elements
constexpr int HALF = 2 * STEPS * BEHIND;
constexpr unsigned INFINITE = 0x7f800000;

struct Split { unsigned high, low; };  // of two numbers
struct Part { unsigned high[2], low[2]; };  // a lane's of A, eight elements of rows m and m + 8

__device__ inline Split split(float a, float b, float scale) {
  const unsigned high = rounded_to_half(a * scale, b * scale);
  const float2 kept = of_half(high);
  return {high, rounded_to_half(fmaf(a, scale, -kept.x), fmaf(b, scale, -kept.y))};
}

// The power of two that takes the largest of some numbers (its bits) to 2^14 and more, below 2^15; and its inverse.
__device__ inline float scale_of(unsigned largest) { return __uint_as_float((268 - max(largest >> 23, 15u)) << 23); }
__device__ inline float inverse_of(unsigned largest) { return __uint_as_float((max(largest >> 23, 15u) - 14) << 23); }

__device__ inline bool is_finite(float a) { return fabsf(a) < __uint_as_float(INFINITE); }
__device__ inline float or_zero(float a) { return is_finite(a) ? a : 0.f; }

// A lane's part of a row, and what takes its products back.
struct Row {
  Part parts[2 * STEPS];
  float inverse;

  __device__ __forceinline__ void read(const float* row) {
    float2 v[2 * STEPS][2];
#pragma unroll
    for (int s = 0; s < 2 * STEPS; s++)
#pragma unroll
      for (int m = 0; m < 2; m++) v[s][m] = *reinterpret_cast<const float2*>(row + 8 * s + 64 * m);
    const auto largest = [&](auto magnitude) {
      float most = 0.f;
#pragma unroll
      for (int s = 0; s < 2 * STEPS; s += 2 * STEPS - 1)
#pragma unroll
        for (int m = 0; m < 2; m++) most = fmaxf(most, fmaxf(magnitude(v[s][m].x), magnitude(v[s][m].y)));
      return largest_of_warp(most);
    };
    unsigned most = largest([](float a) { return fabsf(a); });
    if (most >= INFINITE) most = largest([](float a) { return fabsf(or_zero(a)); });
    inverse = inverse_of(most);
#pragma unroll
    for (int s = 0; s < 2 * STEPS; s++)
#pragma unroll
      for (int m = 0; m < 2; m++) {
        const Split two = split(v[s][m].x, v[s][m].y, scale_of(most));
        parts[s].high[m] = two.high, parts[s].low[m] = two.low;
      }
  }
};

// Begin the products with a group of bands, three of four of the halves', the smallest first.
__device__ __forceinline__ void multiply(float (&d)[4 * GROUP], const Row& row, const char* bands) {
  begin_products();
#pragma unroll
  for (int s = 0; s < STEPS; s++)
    multiply_group(d, row.parts[2 * s].low, row.parts[2 * s + 1].low, described(bands + 2 * s * BEHIND, BEHIND), s > 0);
#pragma unroll
  for (int s = 0; s < STEPS; s++)
    multiply_group(d, row.parts[2 * s].high, row.parts[2 * s + 1].high, described(bands + HALF + 2 * s * BEHIND, BEHIND), 1);
#pragma unroll
  for (int s = 0; s < STEPS; s++)
    multiply_group(d, row.parts[2 * s].high, row.parts[2 * s + 1].high, described(bands + 2 * s * BEHIND, BEHIND), 1);
  end_products();
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
halves(const float* x, const float* w, float* out, const float* bias, double fill,
#if WEIGHTS
       const __grid_constant__ Weights weights,
#endif
       const __grid_constant__ Geometry g) {
  extern __shared__ float4 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const unsigned n = g.channels == 1 ? blockIdx.z : blockIdx.z / (unsigned)g.channels, c = blockIdx.z - n * (unsigned)g.channels;
  const auto weight = [&](int k, int t) {
#if WEIGHTS
    return weights.v[k * KERNEL_X + t];
#else
    return w[c * g.w_c + k * g.w_y + t * g.w_x];
#endif
  };
  float most = 0.f;
#pragma unroll 1
  for (int i = lane; i < KERNEL_Y * KERNEL_X; i += 32) most = fmaxf(most, fabsf(or_zero(weight(i / KERNEL_X, i % KERNEL_X))));
  const unsigned of_weights = largest_of_warp(most);
  char* const bands = reinterpret_cast<char*>(memory);
#pragma unroll 1
  for (int i = threadIdx.x; i < HALF / 4; i += THREADS) {  // pairs of a column's elements
    const int element = i % 4 * 2 + i / (32 * BANDS) * 8, column = i / 4 % 8, k = i / 32 % BANDS;
    const auto at = [&](int t) { return k < KERNEL_Y && 0 <= t && t < KERNEL_X ? weight(k, t) : 0.f; };
    const int t = element - column - ODD;
    const Split two = split(at(t), at(t + 1), scale_of(of_weights));
    reinterpret_cast<unsigned*>(bands)[i] = two.high, reinterpret_cast<unsigned*>(bands + HALF)[i] = two.low;
  }
  publish();
  __syncthreads();

  // All warps have as many rows, since they multiply together; some have columns or rows beside the result's.
  const int left = (blockIdx.x * BESIDE + warp % BESIDE) * WIDTH;
  const int above = blockIdx.y * (THREADS / 32 / BESIDE) * (int)g.strip, top = above + warp / BESIDE * (int)g.strip;
  const int rows = min((int)g.strip, (int)g.out_height - above) + KERNEL_Y - 1;
  const int y = top - (int)g.pad_y, x0 = left - (int)g.pad_x - PHASE;
  const float* plane = x + n * g.x_n + c * g.x_c;
  const float beyond = fill, start = g.has_bias ? bias[c * g.bias_c] : 0.f, unscaled = inverse_of(of_weights);
  float4* const own = memory + 2 * HALF / 16 + warp * ((1 + STAGES) * PITCH / 4) + PITCH / 4;
  const Strip<1, PITCH> strip(plane, g, y, x0, rows, PITCH, beyond, own - PITCH / 4);
#pragma unroll 1
  for (int i = 0; i < STAGES - 1; i++) strip.stage(i, i);
  // A thread has two columns, and two that are 64 further.
  float* place = out + n * g.out_n + c * g.out_c + (top - KERNEL_Y + 1) * g.out_y + (left + 2 * lane) * g.out_x;
  const int beside = (int)g.out_width - left - 2 * lane, below = min((int)g.strip, (int)g.out_height - top);
  const bool vectors = g.out_x == 1 && (((long long)place | g.out_y * 4) & 7) == 0;
  const auto sum_directly = [&](int row, int column) {
    float sum = start;
#pragma unroll 1
    for (int k = 0; k < KERNEL_Y; k++) {
      const int iy = mapped(y + row + k, (int)g.height, (int)g.rule_y);
#pragma unroll 1
      for (int t = 0; t < KERNEL_X; t++) {
        const int ix = mapped(x0 + PHASE + column + t, (int)g.width, (int)g.rule_x);
        sum = fmaf((iy | ix) < 0 ? beyond : plane[iy * g.x_y + ix * g.x_x], weight(k, t), sum);
      }
    }
    return sum;
  };
  float sums[KERNEL_Y][4];  // of windows that end a row behind each other
#pragma unroll
  for (int j = 0; j < KERNEL_Y; j++)
#pragma unroll
    for (int c = 0; c < 4; c++) sums[j][c] = 0.f;
  int slot = 0;
#pragma unroll 1
  for (int i = 0; i < rows; i++) {
    wait_but<STAGES - 2>();
    __syncwarp();
    strip.stage(i + STAGES - 1, slot ? slot - 1 : STAGES - 1);
    Row row;
    row.read(reinterpret_cast<const float*>(own + slot * (PITCH / 4)) + EVEN + 2 * lane);
#pragma unroll
    for (int from = 0; from < KERNEL_Y; from += GROUP) {
      float d[4 * GROUP];
#pragma unroll
      for (int j = 0; j < 4 * GROUP; j++) d[j] = 0.f;
      multiply(d, row, bands + 128 * from);
      await_products();
#pragma unroll
      for (int k = from; k < min(from + GROUP, KERNEL_Y); k++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[KERNEL_Y - 1 - k][c] = fmaf(d[4 * (k - from) + c], row.inverse, sums[KERNEL_Y - 1 - k][c]);
    }
    const int done = i - KERNEL_Y + 1;  // row of the results
    if (0 <= done && done < below) {
      float result[4];
      bool finite = true;
#pragma unroll
      for (int c = 0; c < 4; c++) {
        result[c] = fmaf(sums[0][c], unscaled, start);
        finite = finite && is_finite(result[c]);
      }
      if (!finite)
#pragma unroll 1
        for (int c = 0; c < 4; c++) {
          const int column = c / 2 * 64 + c % 2;
          const float sum = column < beside ? sum_directly(done, 2 * lane + column) : 0.f;
#pragma unroll
          for (int j = 0; j < 4; j++) result[j] = j == c ? sum : result[j];
        }
#pragma unroll
      for (int m = 0; m < 2; m++) {
        float* to = place + 64 * m * g.out_x;
        const float first = result[2 * m], second = result[2 * m + 1];
        if (vectors && beside >= 64 * m + 2) {
          __stcs(reinterpret_cast<float2*>(to), make_float2(first, second));
          continue;
        }
        if (beside > 64 * m) to[0] = first;
        if (beside > 64 * m + 1) to[g.out_x] = second;
      }
    }
#pragma unroll
    for (int j = 0; j < KERNEL_Y; j++)
#pragma unroll
      for (int c = 0; c < 4; c++) sums[j][c] = j + 1 < KERNEL_Y ? sums[j + 1][c] : 0.f;
    place += g.out_y;
    slot = slot == STAGES - 1 ? 0 : slot + 1;
  }
}
