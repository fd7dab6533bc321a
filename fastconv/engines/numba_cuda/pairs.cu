// The filter of float32 planes in strips, with about three quarters of the direct sum's multiplications [Mou]_.
//
// A warp goes down a strip of 128 columns, whose rows are staged in shared memory ahead of it, where the boundary rule is applied.
// Rows of the image are taken in pairs a[j], b[j], and so are rows of the kernel, E[s], O[s], and of results.  Of pair i
//
//     the first   is  sum of E[s] a[i+s] + sum of O[s] b[i+s],
//     the second  is  sum of (E[s] + O[s]) (b[i+s] + a[i+1+s]) - sum of E[s] a[i+1+s] - sum of O[s] b[i+s],
//
// where the sums with E and with O are those of the first of pair i + 1 and of pair i: three products for four.  Of an odd number
// of kernel rows the last is added directly.  All terms of a result are of elements of its own window, so NaN goes no further than
// in a direct sum; infinity makes the second NaN (or numbers overflow), so one that is not finite is summed once more, directly.
//
// The sums of such windows are up to twice as far from the exact ones as those of `strip.cu`.
//
// .. [Mou] Z.-J. Mou, P. Duhamel, "Short-length FIR filters and their use in fast nonrecursive filtering", IEEE Trans. Signal
//    Process. 39.6 (1991), 1322-1332.
//
// A weight lies in the order of use: rows E, O, E + O and the last, each from column to column.  Windows start PHASE elements
// behind an aligned vector.
#include "staging.cuh"

constexpr int WIDTH = 128, ROWS = 2;
constexpr int NEIGHBOURS = (PHASE + KERNEL_X + 3 + 3) / 4 * 4;  // that a thread meets for four columns
constexpr int PITCH = WIDTH - 4 + NEIGHBOURS;
constexpr int PAIRS = KERNEL_Y / 2, LAST = KERNEL_Y % 2;
constexpr int OF_A = 0, OF_B = KERNEL_X * PAIRS, OF_C = 2 * OF_B, OF_LAST = 3 * OF_B;  // where weights start

// Of the kernel row `k` the weight at column `t`.
__device__ inline float weight_of(const Weights& weights, int k, int t) {
  if (k == 2 * PAIRS) return weights.v[OF_LAST + t];
  return weights.v[(k % 2 ? OF_B : OF_A) + t * PAIRS + k / 2];
}

__device__ __noinline__ float summed_directly(const float* plane, const Weights& weights, const Geometry& g, int y, int x, float beyond,
                                              float sum) {
#pragma unroll 1
  for (int k = 0; k < KERNEL_Y; k++) {
    const int iy = mapped(y + k, (int)g.height, (int)g.rule_y);
#pragma unroll 1
    for (int t = 0; t < KERNEL_X; t++) {
      const int ix = mapped(x + t, (int)g.width, (int)g.rule_x);
      sum = fmaf((iy | ix) < 0 ? beyond : plane[iy * g.x_y + ix * g.x_x], weight_of(weights, k, t), sum);
    }
  }
  return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
pairs(const float* x, const float* w, float* out, const float* bias, double fill, const __grid_constant__ Weights weights,
      const __grid_constant__ Geometry g) {
  extern __shared__ float4 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int left = (blockIdx.x * BESIDE + warp % BESIDE) * WIDTH;
  const int top = (blockIdx.y * (THREADS / 32 / BESIDE) + warp / BESIDE) * (int)g.strip;
  const int results = min((int)g.strip, (int)g.out_height - top), rows = results + KERNEL_Y - 1;
  if (left >= g.out_width || results <= 0) return;
  const int y = top - (int)g.pad_y, x0 = left - (int)g.pad_x - PHASE;
  const float* plane = x + blockIdx.z * g.x_n;
  const float beyond = fill, start = g.has_bias ? bias[0] : 0.f;
  float4* const own = memory + warp * ((1 + STAGES * ROWS) * PITCH / 4) + PITCH / 4;
  const Strip<ROWS, PITCH> strip(plane, g, y, x0, rows, (int)g.out_width - left + PHASE + KERNEL_X - 1, beyond, own - PITCH / 4);
  // One slot still has the last row of the step before.
#pragma unroll 1
  for (int i = 0; i < STAGES - 2; i++) strip.stage(i * ROWS, i);
  float* place = out + blockIdx.z * g.out_n + (top - 2 * PAIRS) * g.out_y + (left + 4 * lane) * g.out_x;
  const int beside = (int)g.out_width - left - 4 * lane;
  const bool vectors = by_vectors(place, g.out_y, g.out_x, beside);
  // Sums with E, with O and with E + O of the pairs of results under way, of which those of the first are complete.
  float of_a[PAIRS + 1][4], of_b[PAIRS + 1][4], of_c[PAIRS + 1][4];
#pragma unroll
  for (int i = 0; i <= PAIRS; i++)
#pragma unroll
    for (int c = 0; c < 4; c++) of_a[i][c] = of_b[i][c] = of_c[i][c] = 0.f;
  int slot = 0;
  const auto load = [&](float (&v)[NEIGHBOURS], int row) {  // a row of this step, or (-1) the last of the step before
    const float4* from = own + (row < 0 ? (slot ? slot * ROWS : STAGES * ROWS) - 1 : slot * ROWS + row) * (PITCH / 4) + lane;
#pragma unroll
    for (int q = 0; q < NEIGHBOURS / 4; q++) *reinterpret_cast<float4*>(v + 4 * q) = from[q];
  };
  // Add the products of a row of the image and rows of the kernel to the sums of the pairs from `first` on.
  const auto multiply = [&](float (&sums)[PAIRS + 1][4], const float (&v)[NEIGHBOURS], int weight, int first) {
#pragma unroll
    for (int t = 0; t < KERNEL_X; t++)
#pragma unroll
      for (int s = 0; s < PAIRS; s++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
          float& sum = sums[first + PAIRS - s][c];
          sum = fmaf(v[PHASE + t + c], weights.v[weight + t * PAIRS + s], sum);
        }
  };
  const auto multiply_last = [&](float (&sums)[4], const float (&v)[NEIGHBOURS]) {
#pragma unroll
    for (int t = 0; t < KERNEL_X * LAST; t++)
#pragma unroll
      for (int c = 0; c < 4; c++) sums[c] = fmaf(v[PHASE + t + c], weights.v[OF_LAST + t], sums[c]);
  };
#pragma unroll 1
  for (int i = 0; i < results + 2 * PAIRS; i += ROWS) {
    wait_but<STAGES - 3>();
    __syncwarp();
    strip.stage(i + (STAGES - 2) * ROWS, slot >= 2 ? slot - 2 : slot - 2 + STAGES);
    float v[NEIGHBOURS], before[NEIGHBOURS], first[4], second[4];  // results
    load(v, 0);
    multiply(of_a, v, OF_A, 0);
#pragma unroll
    for (int c = 0; c < 4; c++) first[c] = start + of_a[0][c] + of_b[0][c], second[c] = start - of_a[1][c] - of_b[0][c];
    multiply_last(first, v);
    load(before, -1);
#pragma unroll
    for (int j = 0; j < NEIGHBOURS; j++) v[j] += before[j];
    multiply(of_c, v, OF_C, -1);
    load(v, 1);
    multiply(of_b, v, OF_B, 0);
    multiply_last(second, v);
#pragma unroll
    for (int c = 0; c < 4; c++) second[c] += of_c[0][c];
    const int row = i - 2 * PAIRS;  // of the results
    if (0 <= row && row < results) store_four(place, g.out_x, beside, vectors, first);
    if (0 <= row && row + 1 < results) {
      bool finite = true;
#pragma unroll
      for (int c = 0; c < 4; c++) finite = finite && fabsf(second[c]) <= 3.402823466e38f;
      if (!finite)
#pragma unroll 1
        for (int c = 0; c < min(beside, 4); c++) {
          const float sum = summed_directly(plane, weights, g, y + row + 1, x0 + PHASE + 4 * lane + c, beyond, start);
#pragma unroll
          for (int j = 0; j < 4; j++) second[j] = j == c ? sum : second[j];
        }
      store_four(place + g.out_y, g.out_x, beside, vectors, second);
    }
#pragma unroll
    for (int j = 0; j <= PAIRS; j++)
#pragma unroll
      for (int c = 0; c < 4; c++) {
        of_a[j][c] = j < PAIRS ? of_a[j + 1][c] : 0.f;
        of_b[j][c] = j < PAIRS ? of_b[j + 1][c] : 0.f;
        of_c[j][c] = j < PAIRS ? of_c[j + 1][c] : 0.f;
      }
    place += ROWS * g.out_y;
    slot = slot == STAGES - 1 ? 0 : slot + 1;
  }
}
