// What kernels in C++ share: their last parameters, index maps, vectors, copies to shared memory.
#pragma once

struct Geometry { long long GEOMETRY; };  // in the order of the kernel's named tuple

#if WEIGHTS
struct Weights { float v[WEIGHTS]; };  // in the constant bank, from where instructions take them as operands
#endif

// Input index at a position of an axis, as elements.mapped; -1 means the fill value.
__device__ inline int mapped(int position, int size, int rule) {
  if (0 <= position && position < size) return position;
  if (rule == RULE_NEAREST) return min(max(position, 0), size - 1);
  if (rule == RULE_WRAP) {
    int place = position % size;
    return place < 0 ? place + size : place;
  }
  if (rule == RULE_REFLECT || rule == RULE_MIRROR) {
    int period = rule == RULE_REFLECT ? 2 * size : max(2 * (size - 1), 1);
    int place = position % period;
    place = place < 0 ? place + period : place;
    return rule == RULE_REFLECT ? min(place, period - 1 - place) : size > 1 ? min(place, period - place) : 0;
  }
  return -1;
}

// Four neighbours, aligned, of memory that nobody writes meanwhile.
__device__ inline float4 four(const float* place) { return __ldg(reinterpret_cast<const float4*>(place)); }

__device__ inline unsigned shared_address(const void* place) { return (unsigned)__cvta_generic_to_shared(place); }

// Start to copy one element, or an aligned vector of four, to shared memory.
__device__ inline void copy_async(unsigned staged, const float* source) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(staged), "l"(source) : "memory");
}

__device__ inline void copy_vector(unsigned staged, const float* source) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(staged), "l"(source) : "memory");
}

__device__ inline void store_shared(unsigned staged, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(staged), "f"(value) : "memory");
}

__device__ inline int load_shared(unsigned staged) {
  int value;
  asm volatile("ld.shared.s32 %0, [%1];" : "=r"(value) : "r"(staged) : "memory");
  return value;
}

// The copies begun since the last one are a group; all groups but the last `COUNT` are waited for.
__device__ inline void commit_async() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int COUNT>
__device__ inline void wait_but() { asm volatile("cp.async.wait_group %0;" ::"n"(COUNT) : "memory"); }

// A warp writes down where `count` columns of a plane from `left` on lie, -1 for the fill value; to be waited for.
__device__ inline void map_columns(int* columns, int left, int count, const Geometry& g) {
#pragma unroll 1
  for (int i = threadIdx.x & 31; i < count; i += 32) columns[i] = mapped(left + i, (int)g.width, (int)g.rule_x);
}

// Whether rows of results may be stored by vectors: the first `columns` of them count.
__device__ inline bool by_vectors(const float* place, long long step_y, long long step_x, int columns) {
  return step_x == 1 && columns >= 4 && (((long long)place | step_y * 4) & 15) == 0;
}

__device__ inline void store_four(float* place, long long step_x, int columns, bool vectors, const float* sums) {
  if (vectors) {
    // First to leave the second cache: rows of the image that others still need stay (separable 11x11 from 0.88 to 0.95 of a copy).
    __stcs(reinterpret_cast<float4*>(place), make_float4(sums[0], sums[1], sums[2], sums[3]));
    return;
  }
#pragma unroll
  for (int c = 0; c < 4; c++)
    if (c < columns) place[c * step_x] = sums[c];
}
