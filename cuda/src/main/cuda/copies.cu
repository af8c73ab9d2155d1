// Copies between tensors of any strides and types, and fills. A thread does one element; neighbouring
// threads do neighbours of the innermost dimension of the target.

#include "elements.cuh"

constexpr int kRank = 5;

/// Sizes and steps in elements, innermost dimension last; unused outer dimensions have size 1.
struct Layout {
  uint64_t size[kRank];
  uint64_t source[kRank];
  uint64_t target[kRank];
};

struct Place {
  uint64_t source, target;
};

/// Divisions in 64 bits cost some hundred instructions, so small tensors are indexed with 32.
template <class Index>
DEVICE Place place(Index i, const Layout& layout) {
  Place at = {0, 0};
#pragma unroll
  for (int d = kRank - 1; d > 0; d--) {
    const Index size = static_cast<Index>(layout.size[d]);
    if (size == 1) continue;
    const Index rest = i / size, index = i - rest * size;
    at.source += index * layout.source[d];
    at.target += index * layout.target[d];
    i = rest;
  }
  at.source += i * layout.source[0];
  at.target += i * layout.target[0];
  return at;
}

DEVICE Place placeOf(uint64_t i, uint64_t count, const Layout& layout) {
  return count <= 0xFFFFFFFFull ? place(static_cast<uint32_t>(i), layout) : place(i, layout);
}

DEVICE uint64_t threadIndex() { return static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

/// Converts from one type to another.
extern "C" __global__ void __launch_bounds__(256) copy_convert(
    const void* source, uint32_t sourceType, void* target, uint32_t targetType, uint64_t count,
    const __grid_constant__ Layout layout) {
  const uint64_t i = threadIndex();
  if (i >= count) return;
  const Place at = placeOf(i, count, layout);
  if (isFloat(sourceType)) {
    storeFloat(target, targetType, at.target, loadFloat(source, sourceType, at.source));
  } else if (isFloat(targetType)) {
    storeFloat(target, targetType, at.target, loadFloat(source, sourceType, at.source));
  } else {
    storeInteger(target, targetType, at.target, loadInteger(source, sourceType, at.source));
  }
}

template <class T>
DEVICE void copySame(const T* source, T* target, uint64_t count, const Layout& layout) {
  const uint64_t i = threadIndex();
  if (i >= count) return;
  const Place at = placeOf(i, count, layout);
  target[at.target] = source[at.source];
}

// Elements of one type, by their size, bit for bit.
#define COPY_SAME(NAME, TYPE)                                                                     \
  extern "C" __global__ void __launch_bounds__(256)                                               \
      NAME(const TYPE* source, TYPE* target, uint64_t count, const __grid_constant__ Layout layout) { \
    copySame(source, target, count, layout);                                                      \
  }

COPY_SAME(copy_1, uint8_t)
COPY_SAME(copy_2, uint16_t)
COPY_SAME(copy_4, uint32_t)
COPY_SAME(copy_8, uint64_t)

/// Transposes a matrix of four-byte elements: the source's columns, `ldSource` apart, become rows,
/// `ldTarget` apart. Tiles of 32 x 32 go through shared memory, so that both sides see whole lines;
/// the odd row length keeps the columns of a tile in different banks.
extern "C" __global__ void __launch_bounds__(256) transpose_4(
    const uint32_t* source, uint32_t* target, uint64_t rows, uint64_t columns, uint64_t ldSource, uint64_t ldTarget) {
  __shared__ uint32_t tile[32][33];
  const uint64_t row0 = static_cast<uint64_t>(blockIdx.x) * 32;
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (uint64_t column0 = static_cast<uint64_t>(blockIdx.y) * 32; column0 < columns; column0 += gridDim.y * 32ull) {
    for (uint32_t i = warp; i < 32; i += 8) {
      if (column0 + i < columns && row0 + lane < rows) {
        tile[i][lane] = source[(column0 + i) * ldSource + row0 + lane];
      }
    }
    __syncthreads();
    for (uint32_t i = warp; i < 32; i += 8) {
      if (row0 + i < rows && column0 + lane < columns) {
        target[(row0 + i) * ldTarget + column0 + lane] = tile[lane][i];
      }
    }
    __syncthreads();
  }
}

/// Sets elements of any type: floats to `value`, integers to `integer`.
extern "C" __global__ void __launch_bounds__(256) fill(
    void* target, uint32_t type, float value, Int64 integer, uint64_t count, const __grid_constant__ Layout layout) {
  const uint64_t i = threadIndex();
  if (i >= count) return;
  const uint64_t at = placeOf(i, count, layout).target;
  if (isFloat(type)) {
    storeFloat(target, type, at, value);
  } else {
    storeInteger(target, type, at, integer);
  }
}
