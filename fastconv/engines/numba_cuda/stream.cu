// The direct filter of float32 planes for small kernels, which take as long as copying the image.
//
// A thread sums ROWS rows by COLUMNS columns of outputs in registers, from vectors of the image that it reads where they lie,
// through the first cache; weights are operands from the constant bank.  Only a warp whose windows cross the border, or that
// reads rows not aligned to 16 bytes, stages them in shared memory, of which
// a block has little, since the cache needs it.  Windows start PHASE elements behind an
// aligned vector.  BESIDE warps of a block are side by side, the others below.
#include "elements.cuh"

constexpr int WIDTH = 32 * COLUMNS;
constexpr int NEIGHBOURS = (PHASE + KERNEL_X + COLUMNS - 1 + 3) / 4 * 4;  // that a thread meets in a row
constexpr int PITCH = WIDTH - COLUMNS + NEIGHBOURS;
constexpr int LINES = ROWS + KERNEL_Y - 1;
constexpr int RING = 3;

#if !WEIGHTS
struct Weights { float v[KERNEL_Y * KERNEL_X]; };
#endif

struct FromImage {
  const float* start;
  int step;
  __device__ float4 operator()(int row, int i) const { return four(start + (long long)step * row + i); }
};

struct ByRule {  // where windows cross the border, or rows are not aligned: rows are staged, RING - 1 ahead
  const float* plane;
  int columns[(PITCH + 31) / 32], lines;  // where a lane's columns lie, and the row with its number
  float beyond;
  const float* staged;
  const Geometry& g;

  __device__ void stage(int row) const {
    if (row < LINES) {
      const int iy = __shfl_sync(~0u, lines, row);
#pragma unroll
      for (int i = threadIdx.x & 31, q = 0; q < (PITCH + 31) / 32; i += 32, q++) {
        const unsigned target = shared_address(staged + row % RING * PITCH + i);
        if (i >= PITCH) continue;
        if ((iy | columns[q]) < 0) store_shared(target, beyond);
        else copy_async(target, plane + iy * g.x_y + columns[q] * g.x_x);
      }
    }
    commit_async();
  }

  __device__ float4 operator()(int row, int i) const {
    if (i == 0) {
      for (int first = 0; row == 0 && first < RING - 1; first++) stage(first);
      __syncwarp();
      stage(row + RING - 1);
      wait_but<RING - 1>();
      __syncwarp();
    }
    return *reinterpret_cast<const float4*>(staged + row % RING * PITCH + (threadIdx.x & 31) * COLUMNS + i);
  }
};

template <class Load>
__device__ __forceinline__ void add(float (&sums)[ROWS][COLUMNS], const Load& load, const Weights& weights) {
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
    ByRule load = {plane, {}, mapped(y + min(lane, LINES - 1), (int)g.height, (int)g.rule_y), (float)fill,
                   reinterpret_cast<float*>(memory) + warp * (RING * PITCH), g};
#pragma unroll
    for (int q = 0; q < (PITCH + 31) / 32; q++) load.columns[q] = mapped(x0 + lane + 32 * q, (int)g.width, (int)g.rule_x);
    add(sums, load, weights);
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
