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

struct Row {  // where rows of the image are staged from
  const float* first;
  int left, low, high;  // from where on, and which elements are whole vectors inside the image
};

__device__ inline void stage(const Row& strip, int y, unsigned staged, float beyond, int lane, const Geometry& g) {
  if ((unsigned)y >= (unsigned)g.height) y = mapped(y, g.height, g.rule_y);
  if (y < 0) {
    for (int i = lane; i < PITCH; i += 32) asm volatile("st.shared.f32 [%0], %1;" ::"r"(staged + 4 * i), "f"(beyond) : "memory");
    return;
  }
  const float* row = strip.first + y * g.x_y;
#pragma unroll
  for (int q = 0; q < (PITCH + 127) / 128; q++) {
    int i = 4 * lane + 128 * q;
    if (strip.low <= i && i < strip.high) copy_vector(staged + 4 * i, row + i);
  }
  if (strip.low == 0 && strip.high == PITCH) return;
  for (int i = lane; i < PITCH; i += 32) {
    if (strip.low <= i && i < strip.high) continue;
    int x = mapped(strip.left + i, g.width, g.rule_x);
    if (x >= 0) copy_async(staged + 4 * i, row + (x - strip.left) * g.x_x);
    else asm volatile("st.shared.f32 [%0], %1;" ::"r"(staged + 4 * i), "f"(beyond) : "memory");
  }
}

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
  Row strip = {x + blockIdx.z * g.x_n + x0 * g.x_x, x0, 0, 0};
  if (g.aligned) {
    strip.low = min(max(-x0, 0), PITCH);
    strip.high = max(min(((int)g.width - x0) / 4 * 4, PITCH), strip.low);
  }
  const float beyond = fill, start = g.has_bias ? bias[0] : 0.f;
  const float4* own = memory + warp * (STAGES * ROWS * PITCH / 4);
  const unsigned staged = shared_address(own);
  const auto stage_rows = [&](int first, int slot) {
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      if (first + r < rows) stage(strip, y + first + r, staged + (slot * ROWS + r) * (4 * PITCH), beyond, lane, g);
    commit_async();
  };
#pragma unroll
  for (int i = 0; i < STAGES - 1; i++) stage_rows(i * ROWS, i);
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
    stage_rows(i + (STAGES - 1) * ROWS, slot ? slot - 1 : STAGES - 1);
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
