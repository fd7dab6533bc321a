// The direct filter of float32 planes for small kernels, which take as long as copying the image.
//
// A thread sums ROWS rows by COLUMNS columns of outputs in registers, from vectors of the image that it reads where they lie,
// through the first cache; weights are operands from the constant bank.  Only a warp whose windows cross the border, or that
// reads rows not aligned to 16 bytes, stages its part of the image in shared memory.  Windows start PHASE elements behind an
// aligned vector.  BESIDE warps of a block are side by side, the others below.
#include "elements.cuh"

constexpr int WIDTH = 32 * COLUMNS;
constexpr int NEIGHBOURS = (PHASE + KERNEL_X + COLUMNS - 1 + 3) / 4 * 4;  // that a thread meets in a row
constexpr int PITCH = WIDTH - COLUMNS + NEIGHBOURS;
constexpr int LINES = ROWS + KERNEL_Y - 1;

#if !WEIGHTS
struct Weights { float v[KERNEL_Y * KERNEL_X]; };
#endif

struct FromImage {
  const float* start;
  int step;
  __device__ float4 operator()(int row, int i) const { return four(start + (long long)step * row + i); }
};

struct FromShared {
  const float* start;
  __device__ float4 operator()(int row, int i) const { return *reinterpret_cast<const float4*>(start + row * PITCH + i); }
};

template <class Load>
__device__ __forceinline__ void add(float (&sums)[ROWS][COLUMNS], Load load, const Weights& weights) {
#pragma unroll
  for (int row = 0; row < LINES; row++) {
    float v[NEIGHBOURS];
#pragma unroll
    for (int i = 0; i < NEIGHBOURS; i += 4) *reinterpret_cast<float4*>(v + i) = load(row, i);
#pragma unroll
    for (int r = max(row - KERNEL_Y + 1, 0); r < min(row + 1, ROWS); r++)
#pragma unroll
      for (int t = 0; t < KERNEL_X; t++)
#pragma unroll
        for (int c = 0; c < COLUMNS; c++)
          sums[r][c] = fmaf(v[PHASE + t + c], weights.v[(row - r) * KERNEL_X + t], sums[r][c]);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
stream(const float* x, const float* w, float* out, const float* bias, double fill,
#if WEIGHTS
       const __grid_constant__ Weights weights,
#endif
       const __grid_constant__ Geometry g) {
  extern __shared__ float4 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int left = (blockIdx.x * BESIDE + warp % BESIDE) * WIDTH;
  const int top = (blockIdx.y * (THREADS / 32 / BESIDE) + warp / BESIDE) * ROWS;
  if (left >= g.out_width || top >= g.out_height) return;
  const int y = top - (int)g.pad_y, x0 = left - (int)g.pad_x - PHASE;
  const unsigned n = g.channels == 1 ? blockIdx.z : blockIdx.z / (unsigned)g.channels, c = blockIdx.z - n * (unsigned)g.channels;
  const float* plane = x + n * g.x_n + c * g.x_c;
  const float start = g.has_bias ? bias[c * g.bias_c] : 0.f;
#if !WEIGHTS
  Weights weights;
#pragma unroll
  for (int k = 0; k < KERNEL_Y; k++)
#pragma unroll
    for (int t = 0; t < KERNEL_X; t++) weights.v[k * KERNEL_X + t] = __ldg(w + c * g.w_c + k * g.w_y + t * g.w_x);
#endif
  float sums[ROWS][COLUMNS];
#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) sums[r][c] = start;
  if (g.aligned && y >= 0 && x0 >= 0 && y + LINES <= g.height && x0 + PITCH <= g.width) {
    add(sums, FromImage{plane + y * g.x_y + x0 + lane * COLUMNS, (int)g.x_y}, weights);
  } else {
    float* staged = reinterpret_cast<float*>(memory) + warp * (LINES * PITCH);
#pragma unroll 1
    for (int r = 0; r < LINES; r++) stage_mapped(shared_address(staged + r * PITCH), plane, y + r, x0, PITCH, fill, g);
    commit_async();
    wait_but<0>();
    __syncwarp();
    add(sums, FromShared{staged + lane * COLUMNS}, weights);
  }
  float* place = out + n * g.out_n + c * g.out_c + top * g.out_y + (left + lane * COLUMNS) * g.out_x;
  const int columns = (int)g.out_width - left - lane * COLUMNS;
#pragma unroll
  for (int j = 0; j < COLUMNS; j += 4) {
    const bool vectors = by_vectors(place + j * g.out_x, g.out_y, g.out_x, columns - j);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      if (top + r < g.out_height) store_four(place + r * g.out_y + j * g.out_x, g.out_x, columns - j, vectors, sums[r] + j);
  }
}
