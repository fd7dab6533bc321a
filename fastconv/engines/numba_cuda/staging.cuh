// How a warp stages rows of the image in shared memory, a strip of columns wide.
#pragma once
#include "elements.cuh"

// Rows are staged TOGETHER at a time, each in LENGTH elements, the boundary rule applied.  Of a row `count` elements are needed; those
// from `low` to `high` are whole vectors of the image.  The others are a lane's own where there are few, else looked up in a table.
template <int TOGETHER, int LENGTH>
struct Strip {
  const float* plane;
  const Geometry& g;
  int y, x0, rows;  // where the strip starts in the image, and how many rows it needs
  float beyond;
  bool inside;  // its columns, which then are whole vectors
  int count, low, high, others;
  int own, column;  // a lane's element of the others, and where it lies
  int* columns;
  unsigned staged;

  __device__ Strip(const float* plane, const Geometry& g, int y, int x0, int rows, int needed, float beyond, float4* memory)
      : plane(plane), g(g), y(y), x0(x0), rows(rows), beyond(beyond) {
    const int lane = threadIdx.x & 31;
    inside = g.aligned && x0 >= 0 && x0 + LENGTH <= g.width;
    count = min(LENGTH, needed);
    low = g.aligned ? min(max(-x0, 0), count) : 0;
    high = g.aligned ? max(min(((int)g.width - x0) / 4 * 4, count / 4 * 4), low) : 0;
    others = low + count - high;
    own = lane < low ? lane : lane - low + high;
    column = lane < others ? mapped(x0 + own, (int)g.width, (int)g.rule_x) : -1;
    columns = reinterpret_cast<int*>(memory);
    staged = shared_address(memory) + 4 * LENGTH;
    if (others > 32) map_columns(columns, x0, count, g);
    __syncwarp();
  }

  __device__ __forceinline__ void stage(int row, int slot) const {
    const int lane = threadIdx.x & 31;
    const unsigned target = staged + slot * (4 * TOGETHER * LENGTH);
    if (row < rows) {
      if (inside && y + row >= 0 && y + row + TOGETHER <= g.height) {
        const float* source = plane + (y + row) * g.x_y + x0 + 4 * lane;
#pragma unroll
        for (int r = 0; r < TOGETHER; r++)
#pragma unroll
          for (int i = 0; i < LENGTH; i += 128)
            if (i + 128 <= LENGTH || i + 4 * lane < LENGTH)
              copy_vector(target + 16 * lane + 4 * (r * LENGTH + i), source + (long long)(int)g.x_y * r + i);
      } else {
#pragma unroll 1
        for (int r = 0; r < TOGETHER; r++) stage_by_rule(mapped(y + row + r, (int)g.height, (int)g.rule_y), target + 4 * r * LENGTH);
      }
    }
    commit_async();
  }

  __device__ __forceinline__ void stage_by_rule(int iy, unsigned target) const {
    const int lane = threadIdx.x & 31;
    const float* source = plane + iy * g.x_y;
    if (iy < 0) {
#pragma unroll
      for (int i = lane; i < LENGTH; i += 32) store_shared(target + 4 * i, beyond);
      return;
    }
#pragma unroll
    for (int i = 4 * lane; i < LENGTH; i += 128)
      if (low + i < high) copy_vector(target + 4 * (low + i), source + x0 + low + i);
    if (others <= 32) {
      if (lane < others) put(target + 4 * own, source, column);
      return;
    }
#pragma unroll 1
    for (int j = lane; j < others; j += 32) {
      const int i = j < low ? j : j - low + high;
      put(target + 4 * i, source, columns[i]);
    }
  }

  __device__ void put(unsigned target, const float* source, int column) const {
    if (column < 0) store_shared(target, beyond);
    else copy_async(target, source + column * g.x_x);
  }
};
