// Matrix multiply for few rows of A: the weights B are the tensor core's 128 rows, the tokens A its BC
// columns, and the blocks of a cluster share a tile by taking a part of K each. The partial sums meet
// in shared memory, always in the same order, so results do not depend on timing.
#pragma once

#include "gemm.cuh"
#include "wgmma.cuh"

constexpr uint32_t kStepBytes = 128;            // bytes of K in one stage
constexpr uint32_t kTileN = 128;                // rows of B in a tile
constexpr uint32_t kBytesWeights = kTileN * kStepBytes;
constexpr uint32_t kSumStride = kTileN + 4;     // words; keeps the transposing stores free of conflicts

template <int BC, int Stages>
struct SmallLayout {
  static constexpr uint32_t stage = kBytesWeights + BC * kStepBytes;
  static constexpr uint32_t ring = Stages * stage;
  static constexpr uint32_t sums = BC * kSumStride * 4;
  static constexpr uint32_t barriers = ring > sums ? ring : sums;
  static constexpr uint32_t total = barriers + 2 * Stages * 8;
};

/// Weights do not depend on the kernel before this one, so their copies start before it has ended.
template <int BC, int Stages>
DEVICE void stream(
    const TensorMap* mapA, const TensorMap* mapB, uint32_t memory, uint32_t full, uint32_t empty, uint32_t m0,
    uint32_t n0, uint32_t k0, uint32_t count) {
  using L = SmallLayout<BC, Stages>;
  const uint32_t ahead = min(count, static_cast<uint32_t>(Stages));
  for (uint32_t i = 0; i < ahead; i++) {
    barrierExpect(full + i * 8, L::stage);
    copyBox(memory + i * L::stage, mapB, full + i * 8, (k0 + i) * kStepBytes, n0, kEvictFirst);
  }
  awaitPrecedingKernels();
  for (uint32_t i = 0; i < ahead; i++) {
    copyBox(
        memory + i * L::stage + kBytesWeights, mapA, full + i * 8, (k0 + i) * kStepBytes, m0, kEvictLast);
  }
  uint32_t slot = 0, phase = 0;
#pragma unroll 1
  for (uint32_t i = ahead; i < count; i++) {
    const uint32_t stage = memory + slot * L::stage, ready = full + slot * 8;
    barrierWait(empty + slot * 8, phase);
    barrierExpect(ready, L::stage);
    copyBox(stage, mapB, ready, (k0 + i) * kStepBytes, n0, kEvictFirst);
    copyBox(stage + kBytesWeights, mapA, ready, (k0 + i) * kStepBytes, m0, kEvictLast);
    if (++slot == Stages) {
      slot = 0;
      phase ^= 1;
    }
  }
}

/// The part of K of this block, into registers, and from there to `sums[token][row of B]`.
template <class T, int BC, bool Precise, int Stages>
DEVICE void multiplyPart(
    uint8_t* base, uint32_t memory, uint32_t full, uint32_t empty, uint32_t count) {
  using L = SmallLayout<BC, Stages>;
  using Acc = typename T::Acc;
  const uint32_t group = threadIdx.x / 128, thread = threadIdx.x % 128, lane = thread % 32;
  Acc acc[BC / 2];
#pragma unroll
  for (int i = 0; i < BC / 2; i++) acc[i] = 0;
  uint32_t slot = 0, phase = 0, previous = 0;
#pragma unroll 1
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t stage = memory + slot * L::stage;
    barrierWait(full + slot * 8, phase);
    const uint64_t descB = tileDescriptor(stage + group * 8192), descA = tileDescriptor(stage + kBytesWeights);
    if constexpr (Precise) {
      Acc part[BC / 2];
      wgmmaFence();
      wgmma<false>(T{}, part, descB, descA);
      wgmma<true>(T{}, part, descB + 2, descA + 2);
      wgmma<true>(T{}, part, descB + 4, descA + 4);
      wgmma<true>(T{}, part, descB + 6, descA + 6);
      wgmmaCommit();
      wgmmaWait<0>();
      pin(part);
      if (thread == 0) barrierArriveAt(empty + slot * 8, clusterRank());
#pragma unroll
      for (int j = 0; j < BC / 2; j++) acc[j] += part[j];
    } else {
      wgmmaFence();
      wgmma<true>(T{}, acc, descB, descA);
      wgmma<true>(T{}, acc, descB + 2, descA + 2);
      wgmma<true>(T{}, acc, descB + 4, descA + 4);
      wgmma<true>(T{}, acc, descB + 6, descA + 6);
      wgmmaCommit();
      wgmmaWait<1>();
      if (i > 0 && thread == 0) barrierArriveAt(empty + previous * 8, clusterRank());
      previous = slot;
    }
    if (++slot == Stages) {
      slot = 0;
      phase ^= 1;
    }
  }
  wgmmaWait<0>();
  pin(acc);
  // Both warpgroups are done with the stages: their memory takes the sums.
  namedBarrier(1, 256);
  Acc* sums = reinterpret_cast<Acc*>(base);
  const uint32_t row = group * 64 + thread / 32 * 16 + lane / 4, column = lane % 4 * 2;
#pragma unroll
  for (int j = 0; j < BC / 8; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      sums[(j * 8 + column + e % 2) * kSumStride + row + e / 2 * 8] = acc[j * 4 + e];
    }
  }
}

DEVICE float4 add(float4 a, float4 b, float) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
DEVICE float4 add(float4 a, float4 b, int) {
  return make_float4(
      __int_as_float(__float_as_int(a.x) + __float_as_int(b.x)),
      __int_as_float(__float_as_int(a.y) + __float_as_int(b.y)),
      __int_as_float(__float_as_int(a.z) + __float_as_int(b.z)),
      __int_as_float(__float_as_int(a.w) + __float_as_int(b.w)));
}
DEVICE float sumOf(float x, float) { return x; }
DEVICE int sumOf(float x, int) { return __float_as_int(x); }

/// Adds up the parts of all blocks of the cluster, in the order of K, and stores this block's share.
template <class T, int BC>
DEVICE void reduceAndStore(
    const GemmArgs& g, uint32_t memory, uint32_t m0, uint32_t n0, uint32_t rank, uint32_t cluster) {
  using Acc = typename T::Acc;
  const uint32_t tokens = min(static_cast<uint32_t>(BC), g.m - m0);
  constexpr uint32_t quads = kTileN / 4;
#pragma unroll 1
  for (uint32_t i = rank * 256 + threadIdx.x; i < tokens * quads; i += cluster * 256) {
    const uint32_t token = i / quads, n = n0 + i % quads * 4;
    if (n >= g.n) continue;
    const uint32_t at = memory + (token * kSumStride + i % quads * 4) * 4;
    float4 sum = loadShared4(at, 0);
    for (uint32_t c = 1; c < cluster; c++) sum = add(sum, loadShared4(at, c), Acc{});
    const uint32_t m = m0 + token;
    const float sa = scaleAt(g.scaleA, m, g.strideA);
    const float parts[4] = {sum.x, sum.y, sum.z, sum.w};
    if (g.vector && g.outType <= OUT_F16 && n + 4 <= g.n) {
      float v[4];
#pragma unroll
      for (int e = 0; e < 4; e++) {
        v[e] = scaled(asFloat(sumOf(parts[e], Acc{})), sa, scaleAt(g.scaleB, n + e, g.strideB), biasAt(g, n + e));
      }
      const bool half = g.outType == OUT_F16;
      *reinterpret_cast<uint2*>(static_cast<uint16_t*>(g.out) + m * g.ldOut + n) =
          make_uint2(pack2(v[0], v[1], half), pack2(v[2], v[3], half));
    } else {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        if (n + e < g.n) {
          storeOne(
              g, m, n + e, sumOf(parts[e], Acc{}), sa, scaleAt(g.scaleB, n + e, g.strideB), biasAt(g, n + e));
        }
      }
    }
  }
}

template <class T, int BC, bool Precise, int Stages>
DEVICE void gemmSmall(const TensorMap* mapA, const TensorMap* mapB, const GemmArgs& g) {
  using L = SmallLayout<BC, Stages>;
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base);
  const uint32_t full = memory + L::barriers, empty = full + Stages * 8;
  const uint32_t rank = clusterRank(), cluster = clusterSize();
  if (threadIdx.x == 256) {
    prefetchMap(mapB);
    prefetchMap(mapA);
    for (int i = 0; i < Stages; i++) {
      barrierInit(full + i * 8, 1);
      barrierInit(empty + i * 8, 2);
    }
    barrierInitFence();
  }
  __syncthreads();
  releaseFollowingKernels();
  const uint32_t n0 = blockIdx.x / cluster * kTileN, m0 = blockIdx.y * BC;
  const uint32_t k0 = g.blocks * rank / cluster, count = g.blocks * (rank + 1) / cluster - k0;
  if (threadIdx.x < 256) {
    multiplyPart<T, BC, Precise, Stages>(base, memory, full, empty, count);
    awaitPrecedingKernels();
  } else if (threadIdx.x == 256) {
    stream<BC, Stages>(mapA, mapB, memory, full, empty, m0, n0, k0, count);
  }
  __syncwarp();
  clusterSync();
  if (threadIdx.x < 256) reduceAndStore<T, BC>(g, memory, m0, n0, rank, cluster);
  // A block's sums must stay until its neighbours have read them.
  clusterSync();
}

#define GEMM_SMALL(NAME, TYPE, BC, PRECISE, STAGES, PER_SM)                                              \
  extern "C" __global__ void __launch_bounds__(288, PER_SM) NAME(                                        \
      const __grid_constant__ TensorMap mapA, const __grid_constant__ TensorMap mapB,                    \
      const __grid_constant__ GemmArgs args) {                                                           \
    static_assert(SmallLayout<BC, STAGES>::total * PER_SM <= 232448, "more shared memory than there is"); \
    gemmSmall<TYPE, BC, PRECISE, STAGES>(&mapA, &mapB, args);                                            \
  }
