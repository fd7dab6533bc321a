// How a warp stages rows of the image in shared memory, a strip of columns wide.
#pragma once
#include "elements.cuh"

// Rows are staged TOGETHER at a time, each in LENGTH elements, the boundary rule applied.  Of a row `count` elements are needed; those
// from `low` to `high` are whole vectors of the image, the others are looked up in a table.
template <int TOGETHER, int LENGTH>
struct Strip {
  const float* plane;
  const Geometry& g;
  int y, x0, rows, count;  // where the strip starts in the image, and how many rows it needs
  float beyond;
  bool inside;  // its columns, which then are whole vectors
  unsigned staged;  // behind the table

  __device__ Strip(const float* plane, const Geometry& g, int y, int x0, int rows, int needed, float beyond, float4* memory)
      : plane(plane), g(g), y(y), x0(x0), rows(rows), count(min(LENGTH, needed)), beyond(beyond) {
    inside = g.aligned && x0 >= 0 && x0 + LENGTH <= g.width;
    staged = shared_address(memory) + 4 * LENGTH;
    if (!inside) map_columns(reinterpret_cast<int*>(memory), x0, count, g);
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
    const int low = g.aligned ? min(max(-x0, 0), count) : 0;
    const int high = g.aligned ? max(min(((int)g.width - x0) / 4 * 4, count / 4 * 4), low) : 0;
#pragma unroll 1
    for (int i = low + 4 * lane; i < high; i += 128) copy_vector(target + 4 * i, source + x0 + i);
#pragma unroll 1
    for (int j = lane; j < low + count - high; j += 32) {
      const int i = j < low ? j : j - low + high, column = load_shared(staged - 4 * LENGTH + 4 * i);
      if (column < 0) store_shared(target + 4 * i, beyond);
      else copy_async(target + 4 * i, source + column * g.x_x);
    }
  }
};
