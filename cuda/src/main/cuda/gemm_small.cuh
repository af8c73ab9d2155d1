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

DEVICE float plus(float a, float b, float) { return a + b; }
DEVICE float plus(float a, float b, int) { return __int_as_float(__float_as_int(a) + __float_as_int(b)); }
DEVICE float sumOf(float x, float) { return x; }
DEVICE int sumOf(float x, int) { return __float_as_int(x); }

/// What a thread scales its results by: four neighbouring rows of B, the same for all its tokens; and lane i
/// has the scale of its warp's i-th token. Read before the main loop, used after it.
struct SmallScales {
  float b[4], bias[4], a;
  DEVICE_MEMBER SmallScales(const GemmArgs& g, uint32_t m0, uint32_t n, uint32_t token, uint32_t step) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      b[e] = n + e < g.n ? scaleAt(g.scaleB, n + e, g.strideB) : 0.0f;
      bias[e] = n + e < g.n ? biasAt(g, n + e) : 0.0f;
    }
    const uint32_t m = m0 + token + threadIdx.x % 32 * step;
    a = m < g.m ? scaleAt(g.scaleA, m, g.strideA) : 0.0f;
    pin(b);
    pin(bias);
  }
};

/// Adds up the parts of up to `Parts` blocks of the cluster, in the order of K, and stores this block's share:
/// a warp takes every `step`-th token from `token` on. All parts of `Batch` tokens are on their way at once.
template <class T, int Parts, int Batch>
DEVICE void reduceAndStore(
    const GemmArgs& g, const SmallScales& scales, uint32_t memory, uint32_t m0, uint32_t n, uint32_t tokens,
    uint32_t token, uint32_t step, uint32_t cluster) {
  using Acc = typename T::Acc;
  const uint32_t column = threadIdx.x % 32 * 4;
  const bool whole = g.vector && g.outType <= OUT_F16 && n + 4 <= g.n, half = g.outType == OUT_F16;
  for (uint32_t i = 0; token < tokens; i += Batch, token += Batch * step) {
    float4 part[Batch][Parts];
#pragma unroll
    for (int t = 0; t < Batch; t++) {
#pragma unroll
      for (int c = 0; c < Parts; c++) {
        if (c < cluster && token + t * step < tokens) {
          part[t][c] = loadShared4(memory + ((token + t * step) * kSumStride + column) * 4, c);
        }
      }
    }
#pragma unroll
    for (int t = 0; t < Batch; t++) {
      const float scaleA = __shfl_sync(~0u, scales.a, i + t);
      const uint32_t m = m0 + token + t * step;
      if (token + t * step >= tokens || n >= g.n) continue;
      float sum[4] = {part[t][0].x, part[t][0].y, part[t][0].z, part[t][0].w};
#pragma unroll
      for (int c = 1; c < Parts; c++) {
        if (c < cluster) {
          sum[0] = plus(sum[0], part[t][c].x, Acc{});
          sum[1] = plus(sum[1], part[t][c].y, Acc{});
          sum[2] = plus(sum[2], part[t][c].z, Acc{});
          sum[3] = plus(sum[3], part[t][c].w, Acc{});
        }
      }
      if (whole) {
        float v[4];
#pragma unroll
        for (int e = 0; e < 4; e++) v[e] = scaled(asFloat(sumOf(sum[e], Acc{})), scaleA, scales.b[e], scales.bias[e]);
        *reinterpret_cast<uint2*>(static_cast<uint16_t*>(g.out) + m * g.ldOut + n) =
            make_uint2(pack2(v[0], v[1], half), pack2(v[2], v[3], half));
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          if (n + e < g.n) storeOne(g, m, n + e, sumOf(sum[e], Acc{}), scaleA, scales.b[e], scales.bias[e]);
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
    // Nothing can be multiplied before that kernel has ended, whose results may be the tokens.
    awaitPrecedingKernels();
    const uint32_t n = n0 + threadIdx.x % 32 * 4, token = rank * 8 + threadIdx.x / 32, step = cluster * 8;
    const uint32_t tokens = min(static_cast<uint32_t>(BC), g.m - m0);
    const SmallScales scales(g, m0, n, token, step);
    multiplyPart<T, BC, Precise, Stages>(base, memory, full, empty, count);
    clusterSync();
    if (cluster <= 2) {
      reduceAndStore<T, 2, 4>(g, scales, memory, m0, n, tokens, token, step, cluster);
    } else if (cluster <= 4) {
      reduceAndStore<T, 4, 2>(g, scales, memory, m0, n, tokens, token, step, cluster);
    } else {
      reduceAndStore<T, 8, 1>(g, scales, memory, m0, n, tokens, token, step, cluster);
    }
  } else {
    if (threadIdx.x == 256) stream<BC, Stages>(mapA, mapB, memory, full, empty, m0, n0, k0, count);
    __syncwarp();
    clusterSync();
  }
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
