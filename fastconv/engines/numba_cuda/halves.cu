// The filter of float32 planes in strips, on the matrix units: a number is the sum of two of float16 [Ootomo]_.
//
// A warp goes down a strip of WIDTH columns, whose rows are staged in shared memory ahead of it, where the boundary rule is applied.
// A row is a matrix A[m, k] = x[NEAR m + k]; times B[k, n] = w[k - n], a band for each row of the kernel, it is what the row adds
// to outputs NEAR m + n.  A product with all bands is one instruction of four warps.  Rows are scaled by a power of two that
// their largest element tells, weights by another, and split, so that 22 bits of large numbers are kept and small ones are off by
// 2^-40 of the largest; A B = A' B' + A' B'' + A'' B'.  The units truncate their sums, so those of each row begin at zero and
// are added to the window's by ordinary instructions.  The sums are as exact as direct ones, and more exact where windows are large.
//
// Zeros beside the bands are multiplied, too, so NaN and infinity reach outputs whose windows hold none: what is not finite is
// summed once more, directly, when the strip is done.
//
// .. [Ootomo] H. Ootomo, R. Yokota, "Recovering single precision accuracy from Tensor Cores while surpassing the FP32
//    theoretical peak performance", Int. J. High Perform. Comput. Appl. 36.4 (2022), 475-491, doi:10.1177/10943420221090256.
//
// Windows start PHASE elements behind an aligned vector.  Weights lie on the device, or are arguments.
#include "staging.cuh"

constexpr int BANDS = (NEAR * KERNEL_Y + 7) / 8;
#include "matrix_units.cuh"

constexpr int ODD = PHASE % 2, EVEN = PHASE - ODD;
constexpr int TILES = WIDTH / 16 / NEAR, RESULTS = WIDTH / 32;  // 16 rows of A each; a thread's of a row
constexpr int STEPS = (ODD + KERNEL_X + NEAR - 1 + 15) / 16;  // of sixteen elements: what the outputs of a row of A need
constexpr int PITCH = (EVEN + WIDTH - NEAR + 16 * STEPS + 3) / 4 * 4;  // elements of a row
constexpr int BEHIND = 128 * BANDS;  // see `described`
constexpr int HALF = 2 * STEPS * BEHIND;  // bytes of all bands
constexpr unsigned INFINITE = 0x7f800000;

struct Split { unsigned high, low; };  // of two numbers

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

// A lane's elements of a row, and what takes products of them back.
struct Row {
  Split a[TILES][STEPS][4];
  float inverse;

  __device__ __forceinline__ void read(const float* row) {
    const int lane = threadIdx.x & 31;
    float2 v[TILES][STEPS][4];
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
      for (int s = 0; s < STEPS; s++)
#pragma unroll
        for (int j = 0; j < 4; j++)
          v[m][s][j] = *reinterpret_cast<const float2*>(row + EVEN + NEAR * (lane / 4 + j % 2 * 8 + m * 16) + 2 * (lane % 4) + 16 * s + j / 2 * 8);
    const auto largest = [&](auto magnitude) {
      float most = 0.f;
      const auto add = [&](float2 two) { most = fmaxf(most, fmaxf(magnitude(two.x), magnitude(two.y))); };
#pragma unroll
      for (int m = 0; m < TILES; m++) add(v[m][0][0]), add(v[m][0][1]);  // the first eight of all rows
#pragma unroll
      for (int j = 3; j < 4 * STEPS; j += 2) add(v[TILES - 1][j / 4][j % 4]);  // the others of the last
      return largest_of_warp(most);
    };
    unsigned most = largest([](float a) { return fabsf(a); });
    if (most >= INFINITE) most = largest([](float a) { return fabsf(or_zero(a)); });
    inverse = inverse_of(most);
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
      for (int s = 0; s < STEPS; s++)
#pragma unroll
        for (int j = 0; j < 4; j++) a[m][s][j] = split(v[m][s][j].x, v[m][s][j].y, scale_of(most));
  }
};

// Begin the products of 16 rows of A with all bands, three of four of the halves', the smallest first.
__device__ __forceinline__ void multiply(float (&d)[4 * BANDS], const Split (&a)[STEPS][4], const char* bands) {
  const auto add = [&](auto half, const char* bands, bool first) {
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      const unsigned parts[] = {a[s][0].*half, a[s][1].*half, a[s][2].*half, a[s][3].*half};
      multiply_bands(d, parts, described(bands + 2 * s * BEHIND, BEHIND), !first || s > 0);
    }
  };
  add(&Split::low, bands, true);
  add(&Split::high, bands + HALF, false);
  add(&Split::high, bands, false);
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
    const int element = i % 4 * 2 + i / (32 * BANDS) * 8, column = i / 4 % (8 * BANDS);
    // So that a lane has all products of its outputs: columns 2 l and 2 l + 1 of eight are outputs side by side, or rows of the kernel.
    const int k = NEAR == 8 ? column / 8 : column / 8 * 2 + column % 2, t = element - (NEAR == 8 ? column % 8 : column % 8 / 2) - ODD;
    const auto at = [&](int t) { return k < KERNEL_Y && 0 <= t && t < KERNEL_X ? weight(k, t) : 0.f; };
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
  float4* const own = memory + 2 * HALF / 16 + warp * ((1 + STAGES * ROWS) * PITCH / 4) + PITCH / 4;
  const Strip<ROWS, PITCH> strip(plane, g, y, x0, rows, PITCH, beyond, own - PITCH / 4);
#pragma unroll 1
  for (int i = 0; i < STAGES - 1; i++) strip.stage(i * ROWS, i);

  // Where a thread's outputs are: rows of A are eight apart, columns of eight bands are outputs side by side.
  const auto column_of = [](int c) { return NEAR == 8 ? c / 2 * 64 + c % 2 : c * 32; };
  const int first = left + (NEAR == 8 ? 2 : 1) * lane, beside = (int)g.out_width - first;
  const int below = min((int)g.strip, (int)g.out_height - top);
  float* place = out + n * g.out_n + c * g.out_c + (top - KERNEL_Y + 1) * g.out_y + first * g.out_x;
  const bool whole = beside > column_of(RESULTS - 1) && g.out_x == 1 && (NEAR != 8 || (((long long)place | g.out_y * 4) & 7) == 0);
  float doubt = 0.f;  // NaN behind a result that is not finite
  const auto store = [&](float (&result)[RESULTS]) {
#pragma unroll
    for (int c = 0; c < RESULTS; c++) {
      result[c] = fmaf(result[c], unscaled, start);
      doubt = fmaf(result[c], 0.f, doubt);
    }
#pragma unroll
    for (int c = 0; c < RESULTS; c++) {
      if (!whole) {
        if (column_of(c) < beside) place[column_of(c) * g.out_x] = result[c];
      } else if (NEAR != 8) {
        __stcs(place + column_of(c), result[c]);
      } else if (c % 2 == 0) {
        __stcs(reinterpret_cast<float2*>(place + column_of(c)), make_float2(result[c], result[c + 1]));
      }
    }
  };
  float sums[KERNEL_Y > 1 ? KERNEL_Y - 1 : 1][RESULTS];  // of windows that end a row behind each other
#pragma unroll
  for (int j = 0; j < KERNEL_Y - 1; j++)
#pragma unroll
    for (int c = 0; c < RESULTS; c++) sums[j][c] = 0.f;
  int slot = 0;
#pragma unroll 1
  for (int i = 0; i < rows; i += ROWS) {
    wait_but<STAGES - 2>();
    __syncwarp();
    strip.stage(i + (STAGES - 1) * ROWS, slot ? slot - 1 : STAGES - 1);
#pragma unroll (ROWS > 2 ? 1 : ROWS)
    for (int r = 0; r < ROWS; r++) {
      Row row;
      row.read(reinterpret_cast<const float*>(own + (slot * ROWS + r) * (PITCH / 4)));
      float d[TILES][4 * BANDS];
#pragma unroll
      for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int j = 0; j < 4 * BANDS; j++) d[m][j] = 0.f;
      begin_products();
#pragma unroll
      for (int m = 0; m < TILES; m++) multiply(d[m], row.a[m], bands);
      end_products();
      await_products();
#pragma unroll
      for (int m = 0; m < TILES; m++) settle(d[m]);
      float result[RESULTS];
#pragma unroll
      for (int k = KERNEL_Y - 1; k >= 0; k--)
#pragma unroll
        for (int c = 0; c < RESULTS; c++) {
          const float product = NEAR == 8 ? d[c / 4][4 * k + c % 4] : d[c / 2][k / 2 * 4 + c % 2 * 2 + k % 2];
          const float sum = fmaf(product, row.inverse, k > 0 ? sums[KERNEL_Y - 1 - k][c] : 0.f);
          (k < KERNEL_Y - 1 ? sums[KERNEL_Y - 2 - k][c] : result[c]) = sum;
        }
      const int done = i + r - KERNEL_Y + 1;  // row of the results
      if (0 <= done && done < below) store(result);
      place += g.out_y;
    }
    slot = slot == STAGES - 1 ? 0 : slot + 1;
  }
  if (doubt == 0.f) return;
#pragma unroll 1
  for (int i = 0; i < RESULTS * below; i++) {
    const int row = i / RESULTS, column = column_of(i % RESULTS);
    float* to = out + n * g.out_n + c * g.out_c + (top + row) * g.out_y + (first + column) * g.out_x;
    if (column >= beside || is_finite(*to)) continue;
    float sum = start;
#pragma unroll 1
    for (int k = 0; k < KERNEL_Y; k++) {
      const int iy = mapped(y + row + k, (int)g.height, (int)g.rule_y);
#pragma unroll 1
      for (int t = 0; t < KERNEL_X; t++) {
        const int ix = mapped(first + column - (int)g.pad_x + t, (int)g.width, (int)g.rule_x);
        sum = fmaf((iy | ix) < 0 ? beyond : plane[iy * g.x_y + ix * g.x_x], weight(k, t), sum);
      }
    }
    *to = sum;
  }
}
