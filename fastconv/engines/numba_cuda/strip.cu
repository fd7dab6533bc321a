// The direct filter of float32 planes in strips, for kernels that keep the multipliers busy.
//
// A warp goes down a strip of 128 columns.  Each row is staged in shared memory STAGES - 1 rows ahead, where the
// boundary rule is applied; a thread multiplies it by all rows of the kernel and adds the products to the sums of all windows
// that meet it, in registers.  The finished one is stored.  So each row is loaded once, by vectors, and weights are operands
// from the constant bank.  Windows start PHASE elements behind an aligned vector.
#include "staging.cuh"

template <int VALUE>
struct Number { static constexpr int value = VALUE; };

constexpr int WIDTH = 128;
constexpr int NEIGHBOURS = (PHASE + KERNEL_X + 3 + 3) / 4 * 4;  // that a thread meets for four columns
constexpr int PITCH = WIDTH - 4 + NEIGHBOURS;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
strip(const float* x, const float* w, float* out, const float* bias, double fill, const __grid_constant__ Weights weights,
      const __grid_constant__ Geometry g) {
  extern __shared__ float4 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int left = (blockIdx.x * BESIDE + warp % BESIDE) * WIDTH;
  const int top = (blockIdx.y * (THREADS / 32 / BESIDE) + warp / BESIDE) * (int)g.strip;
  const int rows = min((int)g.strip, (int)g.out_height - top) + KERNEL_Y - 1;
  if (left >= g.out_width || rows < KERNEL_Y) return;
  const int y = top - (int)g.pad_y, x0 = left - (int)g.pad_x - PHASE;
  const float* plane = x + blockIdx.z * g.x_n;
  const float beyond = fill, start = g.has_bias ? bias[0] : 0.f;
  float4* const own = memory + warp * ((1 + STAGES * ROWS) * PITCH / 4) + PITCH / 4;
  const Strip<ROWS, PITCH> strip(plane, g, y, x0, rows, (int)g.out_width - left + PHASE + KERNEL_X - 1, beyond, own - PITCH / 4);
#pragma unroll 1
  for (int i = 0; i < STAGES - 1; i++) strip.stage(i * ROWS, i);
  float* place = out + blockIdx.z * g.out_n + (top - KERNEL_Y + 1) * g.out_y + (left + 4 * lane) * g.out_x;
  const int beside = (int)g.out_width - left - 4 * lane;
  const bool vectors = by_vectors(place, g.out_y, g.out_x, beside);
  float sums[KERNEL_Y + ROWS - 1][4];  // of the windows that end ROWS rows behind each other
#pragma unroll
  for (int j = 0; j < KERNEL_Y + ROWS - 1; j++)
#pragma unroll
    for (int c = 0; c < 4; c++) sums[j][c] = start;
  int slot = 0, i = 0;
  const auto add = [&](auto all) {
    wait_but<STAGES - 2>();
    __syncwarp();
    strip.stage(i + (STAGES - 1) * ROWS, slot ? slot - 1 : STAGES - 1);
    constexpr int GROUP = all.value ? KERNEL_Y : 4;  // rows of the kernel that are added or left out
#pragma unroll
    for (int from = 0; from < KERNEL_Y; from += GROUP) {
      if (!all.value && (from > i + ROWS - 1 || from + GROUP + rows <= i + KERNEL_Y)) continue;
      if (!all.value) __syncwarp();  // the image is read again, since registers do not hold it meanwhile
      const auto multiply = [&](auto taps, int first) {
        constexpr int MET = (PHASE + taps.value + 3 + 3) / 4 * 4;
        float v[ROWS][MET];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
          for (int q = 0; q < MET / 4; q++)
            *reinterpret_cast<float4*>(v[r] + 4 * q) = own[(slot * ROWS + r) * (PITCH / 4) + first / 4 + lane + q];
#pragma unroll
        for (int t = 0; t < taps.value; t++)
#pragma unroll
          for (int k = min(from + GROUP, KERNEL_Y) - 1; k >= from; k--)
#pragma unroll
            for (int r = 0; r < ROWS; r++)
#pragma unroll
              for (int c = 0; c < 4; c++) {
                float& sum = sums[KERNEL_Y - 1 - k + r][c];
                sum = fmaf(v[r][PHASE + t + c], weights.v[(first + t) * KERNEL_Y + k], sum);
              }
      };
#pragma unroll 1
      for (int first = 0; first <= KERNEL_X - TAPS; first += TAPS) multiply(Number<TAPS>{}, first);
      if constexpr (KERNEL_X % TAPS > 0) multiply(Number<KERNEL_X % TAPS>{}, KERNEL_X / TAPS * TAPS);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      if (all.value || (KERNEL_Y - 1 <= i + r && i + r < rows))
        store_four(place + r * g.out_y, g.out_x, beside, vectors, sums[r]);
#pragma unroll
    for (int j = 0; j < KERNEL_Y + ROWS - 1; j++)
#pragma unroll
      for (int c = 0; c < 4; c++) sums[j][c] = j + ROWS < KERNEL_Y + ROWS - 1 ? sums[j + ROWS][c] : start;
    place += ROWS * g.out_y;
    slot = slot == STAGES - 1 ? 0 : slot + 1;
    i += ROWS;
  };
  // The first and last rows meet some rows of the kernel only; one loop has both, for less code.
#pragma unroll 1
  for (int end = KERNEL_Y - 1;; end = rows) {
#pragma unroll 1
    while (i < end) add(Number<0>{});
    if (end == rows) break;
#pragma unroll 1
    while (i + ROWS + KERNEL_Y - 1 <= rows) add(Number<1>{});
  }
}
