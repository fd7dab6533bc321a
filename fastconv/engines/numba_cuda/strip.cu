// The direct filter of float32 planes in strips, for kernels that keep the multipliers busy.
//
// A warp goes down a strip, GROUPS times 128 columns wide.  Each row is staged in shared memory STAGES - 1 rows ahead, where the
// boundary rule is applied; a thread multiplies it by all rows of the kernel and adds the products to the sums of all windows
// that meet it, in registers.  The finished one is stored.  So each row is loaded once, by vectors, and weights are operands
// from the constant bank.  Windows start PHASE elements behind an aligned vector.
#include "elements.cuh"

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
  const bool inside = g.aligned && x0 >= 0 && x0 + PITCH <= g.width;  // its columns, which then are whole vectors
  const float beyond = fill, start = g.has_bias ? bias[0] : 0.f;
  const float4* own = memory + warp * (STAGES * ROWS * PITCH / 4);
  const unsigned staged = shared_address(own);
  const auto stage = [&](int row, int slot) {
    const unsigned target = staged + slot * (4 * ROWS * PITCH);
    if (row >= rows) {
    } else if (inside && y + row >= 0 && y + row + ROWS <= g.height) {
      const float* source = plane + (y + row) * g.x_y + x0;
#pragma unroll
      for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int i = 4 * lane; i < PITCH; i += 128)
          copy_vector(target + 4 * (r * PITCH + i), source + (long long)(int)g.x_y * r + i);
    } else {
#pragma unroll 1
      for (int r = 0; r < ROWS; r++) stage_mapped(target + 4 * r * PITCH, plane, y + row + r, x0, PITCH, beyond, g);
    }
    commit_async();
  };
#pragma unroll 1
  for (int i = 0; i < STAGES - 1; i++) stage(i * ROWS, i);
  float* place = out + blockIdx.z * g.out_n + (top - KERNEL_Y + 1) * g.out_y + (left + 4 * lane) * g.out_x;
  const int columns = (int)g.out_width - left - 4 * lane;
  const bool vectors = by_vectors(place, g.out_y, g.out_x, columns);
  float sums[KERNEL_Y + ROWS - 1][4];  // of the windows that end ROWS rows behind each other
#pragma unroll
  for (int j = 0; j < KERNEL_Y + ROWS - 1; j++)
#pragma unroll
    for (int c = 0; c < 4; c++) sums[j][c] = start;
  int slot = 0;
#pragma unroll 1
  for (int i = 0; i < rows; i += ROWS) {
    wait_but<STAGES - 2>();
    __syncwarp();
    stage(i + (STAGES - 1) * ROWS, slot ? slot - 1 : STAGES - 1);
    float v[ROWS][NEIGHBOURS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
      for (int q = 0; q < NEIGHBOURS / 4; q++)
        *reinterpret_cast<float4*>(v[r] + 4 * q) = own[(slot * ROWS + r) * (PITCH / 4) + lane + q];
#pragma unroll
    for (int t = 0; t < KERNEL_X; t++)
#pragma unroll
      for (int k = KERNEL_Y - 1; k >= 0; k--)
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
          for (int c = 0; c < 4; c++) {
            float& sum = sums[KERNEL_Y - 1 - k + r][c];
            sum = fmaf(v[r][PHASE + t + c], weights.v[t * KERNEL_Y + k], sum);
          }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      if (KERNEL_Y - 1 <= i + r && i + r < rows) store_four(place + r * g.out_y, g.out_x, columns, vectors, sums[r]);
#pragma unroll
    for (int j = 0; j < KERNEL_Y + ROWS - 1; j++)
#pragma unroll
      for (int c = 0; c < 4; c++) sums[j][c] = j + ROWS < KERNEL_Y + ROWS - 1 ? sums[j + ROWS][c] : start;
    place += ROWS * g.out_y;
    slot = slot == STAGES - 1 ? 0 : slot + 1;
  }
}
