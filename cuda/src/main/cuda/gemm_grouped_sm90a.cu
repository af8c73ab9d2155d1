// Matrix multiply of groups of rows, each with a matrix of its own, in one launch: the tokens of a
// mixture's experts, sorted by expert. As in gemm_large.cuh two warpgroups take tiles in turn; a tile
// ends where its group does. Each group's matrix has a description for the copy engine in global memory.

#include "gemm_large.cuh"

/// Rows of A that belong to one group, at most 128; the host writes the same 16 bytes (GroupedLinear.java).
struct GroupTile {
  uint32_t group, row, end, unused;
};

struct GroupArgs {
  const TensorMap* maps;  // of each group's B
  const GroupTile* tiles;
  uint64_t count;         // of tiles
};

constexpr int kWidth = 192, kDepth = 5;
using GroupLayout = LargeLayout<kWidth, kDepth>;

DEVICE void produceGroups(
    const TensorMap* mapA, const GemmArgs& g, const GroupArgs& groups, uint32_t columns, uint32_t memory, uint32_t full,
    uint32_t empty) {
  using L = GroupLayout;
  Ring ring(0, kDepth);
  for (uint32_t index = blockIdx.x; index < groups.count * columns; index += gridDim.x) {
    const GroupTile tile = groups.tiles[index / columns];
    const uint32_t n0 = index % columns * kWidth;
    for (uint32_t k = 0; k < g.blocks; k++) {
      const uint32_t stage = memory + ring.slot * L::stage, ready = full + ring.slot * 8;
      barrierWait(empty + ring.slot * 8, ring.phase ^ 1);
      barrierExpect(ready, L::stage);
      copyBox(stage, mapA, ready, k * kRowBytes, tile.row, kEvictNormal);
      copyBox(stage + kBytesA, groups.maps + tile.group, ready, k * kRowBytes, n0, kEvictNormal);
      ring.advance(kDepth);
    }
  }
}

DEVICE void consumeGroups(
    const GemmArgs& g, const GroupArgs& groups, uint32_t columns, uint8_t* base, uint32_t memory, uint32_t full,
    uint32_t empty) {
  using L = GroupLayout;
  const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128 - 1, 0), thread = threadIdx.x % 128, lane = thread % 32;
  const uint32_t warp = __shfl_sync(~0u, thread / 32, 0);
  float* scaleB = reinterpret_cast<float*>(base + L::scales) + group * 2 * kWidth;
  float* bias = scaleB + kWidth;
  uint8_t* staging = base + L::staging + (group * 4 + warp) * kStagingBytes;
  for (uint32_t n = thread; n < kWidth; n += 128) scaleB[n] = 1.0f, bias[n] = 0.0f;
  namedBarrier(1 + group, 128);
  uint32_t i = group;
  for (uint32_t index = blockIdx.x + group * gridDim.x; index < groups.count * columns; i += 2, index += 2 * gridDim.x) {
    const GroupTile tile = groups.tiles[index / columns];
    const uint32_t n0 = index % columns * kWidth, m0 = tile.row + warp * 16;
    GemmArgs part = g;
    part.m = tile.end;
    const float scaleA[2] = {1.0f, 1.0f};
    float acc[2][kWidth / 2];
#pragma unroll
    for (int s = 0; s < 2; s++) {
#pragma unroll
      for (int j = 0; j < kWidth / 2; j++) acc[s][j] = 0;
    }
    const uint32_t order = empty + kDepth * 8;
    barrierWait(order + group * 8, (i / 2 + group + 1) & 1);
    sumFast<Bf16, kWidth, FAST, kDepth>(
        acc, g.blocks, Ring(i * g.blocks, kDepth), memory, full, empty, order + (group ^ 1) * 8, 1, 0);
#pragma unroll
    for (int s = 0; s < 2; s++) {
      storeTile<kWidth>(part, acc[s], staging, scaleA, scaleB, bias, m0 + s * 64, n0, lane);
    }
  }
}

extern "C" __global__ void __launch_bounds__(384, 1) gemm_grouped_bf16(
    const __grid_constant__ TensorMap mapA, const __grid_constant__ GemmArgs g, const __grid_constant__ GroupArgs groups) {
  using L = GroupLayout;
  static_assert(L::total <= kMostShared, "more shared memory than a block can have");
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base), full = memory + L::barriers, empty = full + kDepth * 8;
  if (threadIdx.x == 0) {
    prefetchMap(&mapA);
    for (int i = 0; i < kDepth; i++) {
      barrierInit(full + i * 8, 1);
      barrierInit(empty + i * 8, 1);
    }
    barrierInit(empty + kDepth * 8, 1);
    barrierInit(empty + kDepth * 8 + 8, 1);
    barrierInitFence();
  }
  __syncthreads();
  const uint32_t columns = (g.n + kWidth - 1) / kWidth;
  if (threadIdx.x < 128) {
    giveRegistersBack<40>();
    if (threadIdx.x == 0) produceGroups(&mapA, g, groups, columns, memory, full, empty);
  } else {
    takeRegisters<232>();
    consumeGroups(g, groups, columns, base, memory, full, empty);
  }
}
