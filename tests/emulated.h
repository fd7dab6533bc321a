// CUDA's words for a compiler of the host: a block's threads take turns at barriers, blocks run one after the other.  Reads outside the image
// end the process, copies to shared memory are made at once, and shared memory is full of NaN before each block.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include <ucontext.h>

using std::max;
using std::min;

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__

struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

template <class Vector>
inline void __stcs(Vector* place, Vector value) { *place = value; }

struct Position { unsigned x, y, z; };
static Position threadIdx, blockIdx;

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done;
};
static std::vector<Thread> threads;
static ucontext_t scheduler;

struct Barrier {
  int members, arrived, passed;
  void wait() {
    const int before = passed;
    if (++arrived == members) arrived = 0, passed++;
    while (passed == before) swapcontext(&threads[threadIdx.x].context, &scheduler);
  }
};
static std::vector<Barrier> warps;
static Barrier block;
static unsigned exchanged[32][32][4];  // of warps and lanes
static char* shared_memory;
static const float *image_begin, *image_end;

inline unsigned shared_address(const void* place) { return (unsigned)((const char*)place - shared_memory); }

inline void __syncwarp() { warps[threadIdx.x >> 5].wait(); }
inline void __syncthreads() { block.wait(); }

// What all lanes of a warp gave.
template <class Use>
inline void exchange(std::initializer_list<unsigned> words, Use use) {
  auto& all = exchanged[threadIdx.x >> 5];
  std::copy(words.begin(), words.end(), all[threadIdx.x & 31]);
  __syncwarp();
  use(all);
  __syncwarp();
}

inline int __shfl_sync(unsigned, int value, int lane) {
  int found;
  exchange({(unsigned)value}, [&](auto& all) { found = (int)all[lane][0]; });
  return found;
}

inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); }
inline float __uint_as_float(unsigned a) { return std::bit_cast<float>(a); }

inline unsigned largest_of_warp(float a) {
  unsigned most = 0;
  exchange({__float_as_uint(a)}, [&](auto& all) {
    for (auto& words : all) most = max(most, words[0]);
  });
  return most;
}

struct Pair { _Float16 a, b; };
inline unsigned rounded_to_half(float a, float b) { return std::bit_cast<unsigned>(Pair{(_Float16)a, (_Float16)b}); }
inline float2 of_half(unsigned pair) {
  const Pair two = std::bit_cast<Pair>(pair);
  return {(float)two.a, (float)two.b};
}

inline unsigned long long described(const void* place, int behind) { return shared_address(place) | (unsigned long long)behind << 32; }
inline void publish() {}
inline void begin_products() {}
inline void end_products() {}
inline void await_products() {}

template <int COUNT>
inline void settle(float (&)[COUNT]) {}

template <int COUNT>
inline void multiply_bands(float (&d)[COUNT], const unsigned (&a)[4], unsigned long long b, int add) {
  const int lane = threadIdx.x & 31;
  exchange({a[0], a[1], a[2], a[3]}, [&](auto& all) {
    for (int i = 0; i < COUNT; i++) {
      float sum = 0;
      for (int k = 0; k < 16; k += 2) {
        const float2 x = of_half(all[lane / 4 * 4 + k / 2 % 4][i / 2 % 2 + k / 8 * 2]);
        unsigned pair;
        std::memcpy(&pair, shared_memory + (unsigned)b + (b >> 32) * (k / 8) + i / 4 * 128 + (lane % 4 * 2 + i % 2) * 16 + k % 8 * 2, 4);
        sum += x.x * of_half(pair).x + x.y * of_half(pair).y;
      }
      d[i] = add ? d[i] + sum : sum;
    }
  });
}

inline void check(const float* place, int count) {
  const bool aligned = count == 1 || (size_t)place % 16 == 0;
  if (aligned && image_begin <= place && place + count <= image_end) return;
  std::fprintf(stderr, "%d elements are read outside the image, or not aligned\n", count);
  std::abort();
}

template <class T>
inline T __ldg(const T* place) { return *place; }

inline void copy_async(unsigned staged, const float* source) {
  check(source, 1);
  std::memcpy(shared_memory + staged, source, 4);
}

inline void copy_vector(unsigned staged, const float* source) {
  check(source, 4);
  std::memcpy(shared_memory + staged, source, 16);
}

inline void store_shared(unsigned staged, float value) { std::memcpy(shared_memory + staged, &value, 4); }
inline int load_shared(unsigned staged) {
  int value;
  std::memcpy(&value, shared_memory + staged, 4);
  return value;
}
inline void commit_async() {}

template <int COUNT>
inline void wait_but() {}

static std::function<void()> program;

inline void run_thread() {
  program();
  threads[threadIdx.x].done = true;
}

inline void run_grid(int grid_x, int grid_y, int grid_z, int count, size_t shared, const float* begin, const float* end,
                     std::function<void()> run) {
  image_begin = begin, image_end = end, program = run;
  shared_memory = (char*)std::aligned_alloc(128, (shared + 127) / 128 * 128);
  threads.resize(count);
  for (int i = 0; i < grid_x * grid_y * grid_z; i++) {
    blockIdx = {unsigned(i % grid_x), unsigned(i / grid_x % grid_y), unsigned(i / grid_x / grid_y)};
    std::fill_n((float*)shared_memory, shared / 4, NAN);
    warps.assign(count / 32, {32, 0, 0}), block = {count, 0, 0};
    for (Thread& thread : threads) {
      constexpr size_t STACK = 256 << 10;
      if (!thread.stack) thread.stack = std::make_unique<char[]>(STACK);
      getcontext(&thread.context);
      thread.context.uc_stack = {thread.stack.get(), 0, STACK}, thread.context.uc_link = &scheduler, thread.done = false;
      makecontext(&thread.context, run_thread, 0);
    }
    for (int left = count; left > 0;)
      for (int place = 0; place < count; place++) {
        if (threads[place].done) continue;
        threadIdx = {unsigned(place), 0, 0};
        swapcontext(&scheduler, &threads[place].context);
        left -= threads[place].done;
      }
  }
  std::free(shared_memory);
}
