// Matrix multiply for few rows of A and many weights: as gemm_small.cuh, but the weights are cut into
// equal shares, one a block, wherever tiles end. A block goes through its share from the back. The
// tile that its share ends in is rarely finished there: that sum goes to the workspace first. The tile
// that its share begins in is completed last, with the sums that blocks before it left there long ago.
// Nobody waits for a block after it, so blocks need not run at the same time; sums are added in a
// fixed order.
#pragma once

#include "gemm.cuh"
#include "wgmma.cuh"

constexpr uint32_t kStepBytes = 128;  // bytes of K in one stage
constexpr uint32_t kTileN = 128;      // rows of B in a tile
constexpr uint32_t kBytesWeights = kTileN * kStepBytes;
constexpr uint32_t kStagingStride = 20;  // words; 16 rows of B and padding against bank conflicts

/// Where shares meet: a flag for every block, 64 bytes apart, then its sum. All flags are 0 between
/// launches.
struct Workspace {
  uint32_t* flags;
  float4* sums;
};
constexpr uint32_t kFlagStride = 16;  // words

template <int BC, int Stages>
struct StreamLayout {
  static constexpr uint32_t stage = kBytesWeights + BC * kStepBytes;
  static constexpr uint32_t staging = Stages * stage;
  static constexpr uint32_t barriers = staging + 8 * 8 * kStagingStride * 4;
  static constexpr uint32_t total = barriers + 2 * Stages * 8;
};

/// A share of all steps of all tiles, tile by tile; `next` walks it from the back.
struct Share {
  uint32_t begin, end, blocks;
  uint32_t tile, from, to;
  DEVICE_MEMBER Share(uint32_t steps, uint32_t blocks, uint32_t index, uint32_t count)
      : begin(cut(steps, index, count)), end(cut(steps, index + 1, count)), blocks(blocks) {}
  DEVICE_MEMBER static uint32_t cut(uint32_t steps, uint32_t index, uint32_t count) {
    return static_cast<uint32_t>(static_cast<uint64_t>(steps) * index / count);
  }
  DEVICE_MEMBER bool next() {
    if (begin == end) return false;
    tile = (end - 1) / blocks;
    to = end - tile * blocks;
    const uint32_t first = tile * blocks;
    from = begin > first ? begin - first : 0;
    end = first + from;
    return true;
  }
};

template <int BC, int Stages>
DEVICE void stream(
    const TensorMap* mapA, const TensorMap* mapB, uint32_t memory, uint32_t full, uint32_t empty, uint32_t box,
    Share share) {
  using L = StreamLayout<BC, Stages>;
  const uint32_t bytes = kBytesWeights + box * kStepBytes;
  uint32_t slot = 0, phase = 1, filled = 0;
  // Weights do not depend on the kernel before this one; tokens do, and come once it has ended.
  Share early = share;
  while (filled < Stages && early.next()) {
    for (uint32_t k = early.from; k < early.to && filled < Stages; k++, filled++) {
      barrierExpect(full + filled * 8, bytes);
      copyBox(memory + filled * L::stage, mapB, full + filled * 8, k * kStepBytes, early.tile * kTileN, kEvictFirst);
    }
  }
  awaitPrecedingKernels();
  uint32_t step = 0;
  while (share.next()) {
#pragma unroll 1
    for (uint32_t k = share.from; k < share.to; k++, step++) {
      const uint32_t stage = memory + slot * L::stage, ready = full + slot * 8;
      if (step >= filled) {
        barrierWait(empty + slot * 8, phase);
        barrierExpect(ready, bytes);
        copyBox(stage, mapB, ready, k * kStepBytes, share.tile * kTileN, kEvictFirst);
      }
      copyBox(stage + kBytesWeights, mapA, ready, k * kStepBytes, 0, kEvictLast);
      if (++slot == Stages) {
        slot = 0;
        phase ^= 1;
      }
    }
  }
}

DEVICE float plus(float a, float b) { return a + b; }
DEVICE int plus(int a, int b) { return a + b; }
DEVICE float fromBits(uint32_t bits, float) { return __uint_as_float(bits); }
DEVICE int fromBits(uint32_t bits, int) { return static_cast<int>(bits); }

/// Leaves this block's sum in the workspace, as it lies in the registers.
template <int BC, class Acc>
DEVICE void publish(Workspace w, const Acc (&acc)[BC / 2], uint32_t index) {
  uint4* target = reinterpret_cast<uint4*>(w.sums) + static_cast<uint64_t>(index) * (BC / 8) * 256 + threadIdx.x;
#pragma unroll
  for (int j = 0; j < BC / 8; j++) {
    target[j * 256] = make_uint4(bitsOf(acc[j * 4]), bitsOf(acc[j * 4 + 1]), bitsOf(acc[j * 4 + 2]), bitsOf(acc[j * 4 + 3]));
  }
  __threadfence();
  namedBarrier(1, 256);
  if (threadIdx.x == 0) {
    asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(w.flags + index * kFlagStride) : "memory");
  }
}

/// Adds what a block before this one has left, and clears its flag for the next launch.
template <int BC, class Acc>
DEVICE void collect(Workspace w, Acc (&acc)[BC / 2], uint32_t index) {
  uint32_t* flag = w.flags + index * kFlagStride;
  uint32_t there;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(there) : "l"(flag) : "memory");
  } while (there == 0);
  const uint4* source = reinterpret_cast<uint4*>(w.sums) + static_cast<uint64_t>(index) * (BC / 8) * 256 + threadIdx.x;
#pragma unroll
  for (int j = 0; j < BC / 8; j++) {
    const uint4 part = __ldcg(source + j * 256);
    acc[j * 4] = plus(acc[j * 4], fromBits(part.x, Acc{}));
    acc[j * 4 + 1] = plus(acc[j * 4 + 1], fromBits(part.y, Acc{}));
    acc[j * 4 + 2] = plus(acc[j * 4 + 2], fromBits(part.z, Acc{}));
    acc[j * 4 + 3] = plus(acc[j * 4 + 3], fromBits(part.w, Acc{}));
  }
  namedBarrier(1, 256);
  if (threadIdx.x == 0) *flag = 0;
}

/// A warp's 16 rows of B by BC tokens, eight tokens at a time through shared memory, so that 16
/// neighbouring results of a token are stored together.
template <int BC, class Acc>
DEVICE void storeTokens(const GemmArgs& g, const Acc (&acc)[BC / 2], float* staging, uint32_t n0, uint32_t lane) {
  const uint32_t n = n0 + lane % 4 * 4;
  float scaleB[4], bias[4];
#pragma unroll
  for (int e = 0; e < 4; e++) {
    scaleB[e] = n + e < g.n ? scaleAt(g.scaleB, n + e, g.strideB) : 0.0f;
    bias[e] = n + e < g.n ? biasAt(g, n + e) : 0.0f;
  }
#pragma unroll
  for (int j = 0; j < BC / 8; j++) {
    if (j * 8 >= g.m) break;
#pragma unroll
    for (int e = 0; e < 4; e++) {
      staging[(lane % 4 * 2 + e % 2) * kStagingStride + lane / 4 + e / 2 * 8] = __uint_as_float(bitsOf(acc[j * 4 + e]));
    }
    __syncwarp();
    const uint32_t m = j * 8 + lane / 4;
    const float4 v = *reinterpret_cast<const float4*>(staging + lane / 4 * kStagingStride + lane % 4 * 4);
    __syncwarp();
    if (m >= g.m || n >= g.n) continue;
    const Acc sums[4] = {
        fromBits(__float_as_uint(v.x), Acc{}), fromBits(__float_as_uint(v.y), Acc{}),
        fromBits(__float_as_uint(v.z), Acc{}), fromBits(__float_as_uint(v.w), Acc{})};
    const float scaleA = scaleAt(g.scaleA, m, g.strideA);
    if (g.vector && g.outType <= OUT_F16 && n + 4 <= g.n) {
      const bool half = g.outType == OUT_F16;
      float y[4];
#pragma unroll
      for (int e = 0; e < 4; e++) y[e] = scaled(asFloat(sums[e]), scaleA, scaleB[e], bias[e]);
      *reinterpret_cast<uint2*>(static_cast<uint16_t*>(g.out) + m * g.ldOut + n) =
          make_uint2(pack2(y[0], y[1], half), pack2(y[2], y[3], half));
    } else {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        if (n + e < g.n) storeOne(g, m, n + e, sums[e], scaleA, scaleB[e], bias[e]);
      }
    }
  }
}

template <class T, int BC, bool Precise, int Stages>
DEVICE void multiplyShare(
    const GemmArgs& g, Workspace w, uint8_t* base, uint32_t memory, uint32_t full, uint32_t empty, uint32_t steps,
    Share share) {
  using L = StreamLayout<BC, Stages>;
  using Acc = typename T::Acc;
  const uint32_t group = threadIdx.x / 128, thread = threadIdx.x % 128, warp = threadIdx.x / 32, lane = thread % 32;
  float* staging = reinterpret_cast<float*>(base + L::staging) + warp * 8 * kStagingStride;
  uint32_t slot = 0, phase = 0;
  while (share.next()) {
    Acc acc[BC / 2], part[BC / 2];
#pragma unroll
    for (int i = 0; i < BC / 2; i++) acc[i] = 0;
    uint32_t previous = 0;
#pragma unroll 1
    for (uint32_t k = share.from; k < share.to; k++) {
      const uint32_t stage = memory + slot * L::stage;
      barrierWait(full + slot * 8, phase);
      const uint64_t descB = tileDescriptor(stage + group * 8192), descA = tileDescriptor(stage + kBytesWeights);
      wgmmaFence();
      if constexpr (Precise) {
        wgmma<false>(T{}, part, descB, descA);
        wgmma<true>(T{}, part, descB + 2, descA + 2);
        wgmma<true>(T{}, part, descB + 4, descA + 4);
        wgmma<true>(T{}, part, descB + 6, descA + 6);
        wgmmaCommit();
        wgmmaWait<0>();
        pin(part);
        if (thread == 0) barrierArrive(empty + slot * 8);
#pragma unroll
        for (int j = 0; j < BC / 2; j++) acc[j] += part[j];
      } else {
        wgmma<true>(T{}, acc, descB, descA);
        wgmma<true>(T{}, acc, descB + 2, descA + 2);
        wgmma<true>(T{}, acc, descB + 4, descA + 4);
        wgmma<true>(T{}, acc, descB + 6, descA + 6);
        wgmmaCommit();
        wgmmaWait<1>();
        if (k > share.from && thread == 0) barrierArrive(empty + previous * 8);
        previous = slot;
      }
      if (++slot == Stages) {
        slot = 0;
        phase ^= 1;
      }
    }
    wgmmaWait<0>();
    pin(acc);
    if (!Precise && thread == 0) barrierArrive(empty + previous * 8);
    awaitPrecedingKernels();
    if (share.to < share.blocks) {
      publish<BC>(w, acc, blockIdx.x);
    } else {
      // Blocks before this one hold the rest of the tile, the nearest its last part.
      const uint32_t first = share.tile * share.blocks;
      for (uint32_t i = blockIdx.x, start = first + share.from; start > first; ) {
        i--;
        collect<BC>(w, acc, i);
        start = Share::cut(steps, i, gridDim.x);
      }
      storeTokens<BC>(g, acc, staging, share.tile * kTileN + warp * 16, lane);
    }
  }
}

template <class T, int BC, bool Precise, int Stages>
DEVICE void gemmStream(const TensorMap* mapA, const TensorMap* mapB, const GemmArgs& g, Workspace w) {
  using L = StreamLayout<BC, Stages>;
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base);
  const uint32_t full = memory + L::barriers, empty = full + Stages * 8;
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
  const uint32_t steps = (g.n + kTileN - 1) / kTileN * g.blocks;
  const Share share(steps, g.blocks, blockIdx.x, gridDim.x);
  if (threadIdx.x < 256) {
    multiplyShare<T, BC, Precise, Stages>(g, w, base, memory, full, empty, steps, share);
  } else if (threadIdx.x == 256) {
    stream<BC, Stages>(mapA, mapB, memory, full, empty, g.raster, share);
  }
}

#define GEMM_STREAM(NAME, TYPE, BC, PRECISE, STAGES)                                                     \
  extern "C" __global__ void __launch_bounds__(288, 1) NAME(                                             \
      const __grid_constant__ TensorMap mapA, const __grid_constant__ TensorMap mapB,                    \
      const __grid_constant__ GemmArgs args, const __grid_constant__ Workspace workspace) {              \
    static_assert(StreamLayout<BC, STAGES>::total <= 232448, "more shared memory than a block can have"); \
    gemmStream<TYPE, BC, PRECISE, STAGES>(&mapA, &mapB, args, workspace);                                \
  }
