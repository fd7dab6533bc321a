// Separable filters of float32 planes in tiles, for filters that take as long as copying the image.
//
// A block stages all rows that a tile of WARPS * ROWS rows by 128 columns needs in shared memory at once, where the boundary rule
// is applied.  A warp sums rows along x and writes the sums where the row was; then it sums ROWS rows of them along y in
// registers.  Weights are operands from the constant bank.  Blocks are short and neighbours run at the same time, so memory is read
// almost in order, and rows that tiles share lie in the second cache.  Windows start PHASE elements behind an aligned vector.
#include "elements.cuh"

constexpr int WIDTH = 128, WARPS = THREADS / 32;
#if PAIRED
// Half a warp sums a row along x, eight columns a lane, four lanes of one and four of the next in turn: so vectors that eight lanes
// read at once lie in different banks.
constexpr int COLUMNS = 8;
#else
constexpr int COLUMNS = 4;
#endif
constexpr int NEIGHBOURS = (PHASE + KERNEL_X + COLUMNS - 1 + 3) / 4 * 4;  // that a thread meets
constexpr int TOGETHER = COLUMNS / 4;                                     // rows that a warp sums along x at once
constexpr int NEEDED = WIDTH - COLUMNS + NEIGHBOURS, PITCH = NEEDED + (PAIRED && NEEDED % 8 == 0 ? 4 : 0);
constexpr int LINES = WARPS * ROWS + KERNEL_Y - 1;
constexpr int TURNS = (LINES + WARPS * TOGETHER - 1) / (WARPS * TOGETHER), EACH = TURNS * TOGETHER;  // rows of a warp

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
lines(const float* x, float* out, double fill, const __grid_constant__ Weights weights,
           const __grid_constant__ Geometry g) {
  extern __shared__ float4 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int left = blockIdx.x * WIDTH, top = blockIdx.y * (WARPS * ROWS);
  const int y = top - (int)g.pad_y, x0 = left - (int)g.pad_x - PHASE;
  const float* plane = x + blockIdx.z * g.x_n;
  const int met = min(LINES, (int)g.out_height - top + KERNEL_Y - 1);
  const unsigned staged = shared_address(memory);
  const auto line_of = [&](int j) { return (warp + j / TOGETHER * WARPS) * TOGETHER + j % TOGETHER; };
  if (g.aligned && x0 >= 0 && x0 + PITCH <= g.width && y >= 0 && y + LINES <= g.height) {
    const float* source = plane + (y + line_of(0)) * g.x_y + x0 + 4 * lane;
    unsigned target = staged + 4 * (line_of(0) * PITCH + 4 * lane);
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
#pragma unroll
      for (int h = 0; h < TOGETHER; h++) {
#pragma unroll
        for (int i = 0; i < NEEDED; i += 128)
          if ((i + 128 <= NEEDED || i + 4 * lane < NEEDED) &&
              ((turn + 1) * WARPS * TOGETHER <= LINES || line_of(turn * TOGETHER + h) < LINES))
            copy_vector(target + 4 * (h * PITCH + i), source + (h ? (int)g.x_y : 0) + i);
        commit_async();
      }
      source += (long long)WARPS * TOGETHER * (int)g.x_y;
      target += 4 * WARPS * TOGETHER * PITCH;
    }
  } else {
    int columns[(PITCH + 31) / 32];  // where a lane's columns lie
#pragma unroll
    for (int q = 0; q < (PITCH + 31) / 32; q++) columns[q] = mapped(x0 + lane + 32 * q, (int)g.width, (int)g.rule_x);
#pragma unroll 1
    for (int j = 0; j < EACH; j++) {
      const int line = line_of(j);
      const int iy = mapped(y + line, (int)g.height, (int)g.rule_y);
#pragma unroll
      for (int q = 0; q < (PITCH + 31) / 32; q++) {
        const int i = lane + 32 * q;
        if (i >= PITCH || line >= met) continue;
        if ((iy | columns[q]) < 0) store_shared(staged + 4 * (line * PITCH + i), (float)fill);
        else copy_async(staged + 4 * (line * PITCH + i), plane + iy * g.x_y + columns[q] * g.x_x);
      }
      commit_async();
    }
  }
#if PAIRED
  const int half = lane / 4 % 2, column = (lane / 8 * 4 + lane % 4) * COLUMNS;
#else
  const int half = 0, column = lane * COLUMNS;
#endif
  const auto along = [&](int turn) {
    const int line = (warp + turn * WARPS) * TOGETHER + half;
    float4* row = memory + (line * PITCH + column) / 4;
    float v[NEIGHBOURS], sums[COLUMNS];
    if (line < met) {
#pragma unroll
      for (int q = 0; q < NEIGHBOURS / 4; q++) *reinterpret_cast<float4*>(v + 4 * q) = row[q];
#pragma unroll
      for (int t = 0; t < KERNEL_X; t++)
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
          const float value = v[PHASE + t + c];
          sums[c] = t ? fmaf(value, weights.v[t], sums[c]) : value * weights.v[t];
        }
    }
    __syncwarp();
    if (line < met)
#pragma unroll
      for (int q = 0; q < COLUMNS / 4; q++) row[q] = *reinterpret_cast<float4*>(sums + 4 * q);
  };
  // The first half of the rows is summed while the second is on its way.
  wait_but<EACH - TURNS / 2 * TOGETHER>();
  __syncwarp();
#pragma unroll 1
  for (int turn = 0; turn < TURNS / 2; turn++) along(turn);
  wait_but<0>();
  __syncwarp();
#pragma unroll 1
  for (int turn = TURNS / 2; turn < TURNS; turn++) along(turn);
  __syncthreads();
  const int first = warp * ROWS;
  const float4* summed = memory + first * (PITCH / 4) + lane;
  float sums[ROWS][4];
#pragma unroll
  for (int i = 0; i < ROWS + KERNEL_Y - 1; i++) {
    const float4 four = summed[i * (PITCH / 4)];
    const float v[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int r = max(i - KERNEL_Y + 1, 0); r < min(i + 1, ROWS); r++)
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const float weight = weights.v[KERNEL_X + i - r];
        sums[r][c] = i > r ? fmaf(v[c], weight, sums[r][c]) : v[c] * weight;
      }
  }
  float* place = out + blockIdx.z * g.out_n + (top + first) * g.out_y + (left + 4 * lane) * g.out_x;
  const int columns = (int)g.out_width - left - 4 * lane;
  const bool vectors = by_vectors(place, g.out_y, g.out_x, columns);
  if (vectors && top + first + ROWS <= g.out_height) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) store_four(place + r * g.out_y, 1, columns, true, sums[r]);
    return;
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++)
    if (top + first + r < g.out_height) store_four(place + r * g.out_y, g.out_x, columns, vectors, sums[r]);
}
