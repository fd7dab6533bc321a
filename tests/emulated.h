// CUDA's words for a compiler of the host: a warp is 32 threads, blocks run one after the other.  Reads outside the image end the
// process, copies to shared memory are made at once, and shared memory is full of NaN before each warp.
#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

using std::max;
using std::min;

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__

struct alignas(16) float4 { float x, y, z, w; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline void __stcs(float4* place, float4 value) { *place = value; }

struct Position { unsigned x, y, z; };
static thread_local Position threadIdx, blockIdx;
static std::barrier<> together(32);
static int exchanged[32];
static char* shared_memory;
static const float *image_begin, *image_end;

inline void __syncwarp() { together.arrive_and_wait(); }

inline int __shfl_sync(unsigned, int value, int lane) {
  exchanged[threadIdx.x & 31] = value;
  __syncwarp();
  const int found = exchanged[lane];
  __syncwarp();
  return found;
}

inline void check(const float* place, int count) {
  const bool aligned = count == 1 || (size_t)place % 16 == 0;
  if (aligned && image_begin <= place && place + count <= image_end) return;
  std::fprintf(stderr, "%d elements are read outside the image, or not aligned\n", count);
  std::abort();
}

template <class T>
inline T __ldg(const T* place) { return *place; }

inline unsigned shared_address(const void* place) { return (unsigned)((const char*)place - shared_memory); }

inline void copy_async(unsigned staged, const float* source) {
  check(source, 1);
  std::memcpy(shared_memory + staged, source, 4);
}

inline void copy_vector(unsigned staged, const float* source) {
  check(source, 4);
  std::memcpy(shared_memory + staged, source, 16);
}

inline void store_shared(unsigned staged, float value) { std::memcpy(shared_memory + staged, &value, 4); }
inline void commit_async() {}

template <int COUNT>
inline void wait_but() {}

template <class Warp>
void run_grid(int grid_x, int grid_y, int grid_z, int threads, size_t shared, const float* begin, const float* end, Warp warp) {
  image_begin = begin, image_end = end;
  shared_memory = (char*)std::aligned_alloc(128, (shared + 127) / 128 * 128);
  std::vector<std::thread> lanes;
  for (int lane = 0; lane < 32; lane++)
    lanes.emplace_back([=] {
      for (int i = 0; i < grid_x * grid_y * grid_z * (threads / 32); i++) {
        const int block = i / (threads / 32);
        threadIdx = {unsigned(i % (threads / 32) * 32 + lane), 0, 0};
        blockIdx = {unsigned(block % grid_x), unsigned(block / grid_x % grid_y), unsigned(block / grid_x / grid_y)};
        if (lane == 0) std::fill_n((float*)shared_memory, shared / 4, NAN);
        __syncwarp();
        warp();
        __syncwarp();
      }
    });
  for (auto& thread : lanes) thread.join();
  std::free(shared_memory);
}
