// Separable filters of float32 planes in strips.
//
// A warp goes down a strip, 128 columns wide.  Each row is staged in shared memory STAGES - 1 rows ahead, where the boundary rule
// is applied; a thread sums it along x for 4 columns and adds it to the sums along y of all windows that meet the row, in
// registers.  The finished one is stored.  So each number is multiplied once for each tap of each axis, nothing waits for
// other warps, and weights are operands from the constant bank.  Windows start PHASE elements behind an aligned vector.
#include "elements.cuh"

constexpr int WIDTH = 128;
constexpr int NEIGHBOURS = (PHASE + KERNEL_X + 3 + 3) / 4 * 4;  // that a thread meets for four columns
constexpr int PITCH = WIDTH - 4 + NEIGHBOURS;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
lines(const float* x, float* out, double fill, const __grid_constant__ Weights weights, const __grid_constant__ Geometry g) {
  extern __shared__ float4 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int beside = g.beside;
  const int left = (blockIdx.x * beside + warp % beside) * WIDTH;
  const int top = (blockIdx.y * (THREADS / 32 / beside) + warp / beside) * (int)g.strip;
  const int rows = min((int)g.strip, (int)g.out_height - top) + KERNEL_Y - 1;
  if (left >= g.out_width || rows < KERNEL_Y) return;
  const int y = top - (int)g.pad_y, x0 = left - (int)g.pad_x - PHASE;
  const float* plane = x + blockIdx.z * g.x_n;
  const bool inside = g.aligned && x0 >= 0 && x0 + PITCH <= g.width;  // its columns, which then are whole vectors
  int* columns = reinterpret_cast<int*>(memory) + warp * (PITCH + STAGES * PITCH);
  const float4* own = reinterpret_cast<float4*>(columns + PITCH);
  const unsigned staged = shared_address(own);
  // Of a row, `count` elements are needed; those from `low` to `high` are whole vectors of the image.
  const int count = min(PITCH, (int)g.out_width - left + PHASE + KERNEL_X - 1);
  const int low = g.aligned ? min(max(-x0, 0), count) : 0;
  const int high = g.aligned ? max(min(((int)g.width - x0) / 4 * 4, count / 4 * 4), low) : 0;
  if (!inside) map_columns(columns, x0, count, g);
  __syncwarp();
  const auto stage = [&](int row, int slot) {
    const unsigned target = staged + slot * (4 * PITCH);
    if (row < rows) {
      if (inside && y + row >= 0 && y + row < g.height) {
        const float* source = plane + (y + row) * g.x_y + x0;
#pragma unroll
        for (int i = 4 * lane; i < PITCH; i += 128) copy_vector(target + 4 * i, source + i);
      } else {
        const int iy = mapped(y + row, (int)g.height, (int)g.rule_y);
        const float* source = plane + iy * g.x_y;
#pragma unroll 1
        for (int i = 4 * lane + (iy < 0 ? PITCH : low); i < high; i += 128) copy_vector(target + 4 * i, source + x0 + i);
#pragma unroll 1
        for (int j = lane; j < (iy < 0 ? count : low + count - high); j += 32) {
          const int i = iy < 0 || j < low ? j : j - low + high, ix = iy < 0 ? -1 : inside ? x0 + i : columns[i];
          if (ix < 0) store_shared(target + 4 * i, (float)fill);
          else copy_async(target + 4 * i, source + ix * g.x_x);
        }
      }
    }
    commit_async();
  };
#pragma unroll 1
  for (int i = 0; i < STAGES - 1; i++) stage(i, i);
  float* place = out + blockIdx.z * g.out_n + (top - KERNEL_Y + 1) * g.out_y + (left + 4 * lane) * g.out_x;
  const int wide = (int)g.out_width - left - 4 * lane;
  const bool vectors = by_vectors(place, g.out_y, g.out_x, wide);
  float sums[KERNEL_Y][4];  // of the windows that meet a row; the last ends with it
#pragma unroll
  for (int k = 0; k < KERNEL_Y; k++)
#pragma unroll
    for (int c = 0; c < 4; c++) sums[k][c] = 0;
#pragma unroll 1
  for (int i = 0; i < rows; i++) {
    wait_but<STAGES - 2>();
    __syncwarp();
#ifdef SYNC
    __syncthreads();
#endif
    stage(i + STAGES - 1, (i + STAGES - 1) % STAGES);
    float v[NEIGHBOURS], along[4];
#pragma unroll
    for (int q = 0; q < NEIGHBOURS / 4; q++)
      *reinterpret_cast<float4*>(v + 4 * q) = own[i % STAGES * (PITCH / 4) + lane + q];
#pragma unroll
    for (int t = 0; t < KERNEL_X; t++)
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const float value = v[PHASE + t + c];
        along[c] = t ? fmaf(value, weights.v[t], along[c]) : value * weights.v[t];
      }
#pragma unroll
    for (int k = KERNEL_Y - 1; k >= 0; k--)
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const float weight = weights.v[KERNEL_X + k];
        sums[k][c] = k ? fmaf(along[c], weight, sums[k - 1][c]) : along[c] * weight;
      }
    if (i >= KERNEL_Y - 1) store_four(place, g.out_x, wide, vectors, sums[KERNEL_Y - 1]);
    place += g.out_y;
  }
}
