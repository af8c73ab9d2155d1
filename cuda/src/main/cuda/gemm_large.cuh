// Matrix multiply for many rows: persistent blocks of three warpgroups, one that copies and two that
// multiply tiles of 128 x BN. With sums in the tensor core's own accumulators the two take turns, tile
// by tile, so one stores while the other multiplies; otherwise each takes half of every tile, so one
// adds while the other multiplies. Two blocks of a cluster take tiles above each other and copy half
// of B for both.
#pragma once

#include "gemm_store.cuh"
#include "gemm_turns.cuh"
#include "wgmma.cuh"

enum Sum {
  FAST,     // the tensor core's own accumulators for all of K, each warpgroup with tiles of its own
  TOGETHER, // the same, each warpgroup with half of every tile: for results that are few rounds of tiles
  PRECISE,  // fp8: added to float32 every 128 elements, since the tensor core keeps about 14 bits
  BLOCKWISE // like PRECISE, and multiplied by the scales of the block (1 x 128 by 128 x 128)
};

constexpr uint32_t kRowBytes = 128;             // bytes of K in one stage
constexpr uint32_t kBytesA = kTileM * kRowBytes;
constexpr uint32_t kConsumers = 2;

/// Whether the consumers take whole tiles in turn, and how many 64-row slices of a tile each holds.
template <Sum Mode>
constexpr bool kAlternate = Mode == FAST;
template <Sum Mode>
constexpr int kSlices = kAlternate<Mode> ? 2 : 1;

constexpr uint32_t kMostShared = 232448;

/// Scales of a stage where they are blockwise: of the rows of A, then of B's one or two blocks.
constexpr uint32_t kStageScales = kTileM + 4;

template <int BN, int Stages, Sum Mode = FAST>
struct LargeLayout {
  static constexpr uint32_t bytesB = BN * kRowBytes;
  static constexpr uint32_t stage = kBytesA + bytesB;
  static constexpr uint32_t staging = Stages * stage;
  static constexpr uint32_t blockScales = Mode == BLOCKWISE ? Stages * kStageScales * 4 : 0;
  static constexpr uint32_t rest = kConsumers * 2 * BN * 4 + blockScales + (2 * Stages + 2) * 8;
  /// Two staging areas for each warp where there is room, so that one is filled while the other is copied.
  static constexpr uint32_t areas = staging + 16 * kStagingBytes + rest <= kMostShared ? 2 : 1;
  static constexpr uint32_t scales = staging + 8 * areas * kStagingBytes;
  static constexpr uint32_t ofStages = scales + kConsumers * 2 * BN * 4;
  static constexpr uint32_t barriers = ofStages + blockScales;
  static constexpr uint32_t total = staging + 8 * areas * kStagingBytes + rest;
};

struct Ring {
  uint32_t slot, phase;
  DEVICE_MEMBER Ring(uint32_t position, uint32_t slots) : slot(position % slots), phase(position / slots & 1) {}
  DEVICE_MEMBER void advance(uint32_t slots) {
    if (++slot == slots) {
      slot = 0;
      phase ^= 1;
    }
  }
};

DEVICE void copyWord(uint32_t target, const float* source) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(target), "l"(source) : "memory");
}

/// Arrives on a barrier once all words that this thread has copied so far are there.
DEVICE void arriveWhenCopied(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/// B's part of a stage, half of it by each block of a cluster for both.
template <int BN>
DEVICE void copyB(uint32_t target, const TensorMap* map, uint32_t ready, uint32_t k, uint32_t n0, uint32_t rank, uint32_t cluster) {
  constexpr uint32_t half = BN / 2;
  if (cluster == 2) {
    const uint32_t offset = rank * half;
    copyBoxMulticast(target + offset * kRowBytes, map, ready, k * kRowBytes, n0 + offset, 3, kEvictNormal);
  } else {
    copyBox(target, map, ready, k * kRowBytes, n0, kEvictNormal);
    copyBox(target + half * kRowBytes, map, ready, k * kRowBytes, n0 + half, kEvictNormal);
  }
}

template <int BN, Sum Mode, int Stages, bool Shared>
DEVICE void produce(
    const TensorMap* mapA, const TensorMap* mapB, const GemmArgs& g, Schedule schedule, const Turns<Shared>& turns,
    uint32_t memory, uint32_t full, uint32_t empty, uint32_t rank, uint32_t cluster) {
  using L = LargeLayout<BN, Stages, Mode>;
  uint32_t row, column;
  const Turn begin = turns.at(0);
  // Weights at rest need not wait for the kernel before this one.
  const uint32_t ahead = g.settled && begin.tile < schedule.count() ? min(begin.to - begin.from, static_cast<uint32_t>(Stages)) : 0;
  schedule.locate(begin.tile, row, column);
  for (uint32_t k = 0; k < ahead; k++) {
    barrierExpect(full + k * 8, L::stage);
    copyB<BN>(memory + k * L::stage + kBytesA, mapB, full + k * 8, begin.from + k, column * BN, rank, cluster);
  }
  awaitPrecedingKernels();
  Ring ring(0, Stages);
  for (uint32_t i = 0;; i++) {
    const Turn turn = turns.at(i);
    if (turn.tile >= schedule.count()) return;
    schedule.locate(turn.tile, row, column);
    const uint32_t m0 = (row * cluster + rank) * kTileM;
    for (uint32_t k = turn.from; k < turn.to; k++) {
      const uint32_t stage = memory + ring.slot * L::stage, ready = full + ring.slot * 8;
      const bool begun = i == 0 && k < turn.from + ahead;
      if (!begun) {
        barrierWait(empty + ring.slot * 8, ring.phase ^ 1);
        barrierExpect(ready, L::stage);
      }
      copyBox(stage, mapA, ready, k * kRowBytes, m0, kEvictNormal);
      if (!begun) copyB<BN>(stage + kBytesA, mapB, ready, k, column * BN, rank, cluster);
      ring.advance(Stages);
    }
  }
}

/// Starts the multiplication of one stage: four steps of 32 bytes of K.
template <class T, int BN, bool Fresh, int Slices>
DEVICE void multiplyStage(typename T::Acc (&acc)[Slices][BN / 2], uint32_t a, uint32_t b) {
  const uint64_t descA = tileDescriptor(a), descB = tileDescriptor(b);
  wgmmaFence();
#pragma unroll
  for (int k = 0; k < 4; k++) {
#pragma unroll
    for (int s = 0; s < Slices; s++) {
      if (Fresh && k == 0) {
        wgmma<false>(T{}, acc[s], descA + s * 512 + k * 2, descB + k * 2);
      } else {
        wgmma<true>(T{}, acc[s], descA + s * 512 + k * 2, descB + k * 2);
      }
    }
  }
  wgmmaCommit();
}

/// Starts the multiplication of one stage by some of a tile's columns.
template <class T, int Width>
DEVICE void multiplyPart(float (&part)[Width / 2], uint32_t a, uint32_t b) {
  const uint64_t descA = tileDescriptor(a), descB = tileDescriptor(b);
  wgmmaFence();
  wgmma<false>(T{}, part, descA, descB);
#pragma unroll
  for (int k = 1; k < 4; k++) wgmma<true>(T{}, part, descA + k * 2, descB + k * 2);
  wgmmaCommit();
}

/// Sums over all of K in the tensor core's accumulators, releasing each stage one step late; `rows` of the tile
/// come before the warpgroup's.
template <class T, int BN, Sum Mode, int Stages, int Slices>
DEVICE void sumFast(
    typename T::Acc (&acc)[Slices][BN / 2], uint32_t blocks, Ring ring, uint32_t memory, uint32_t full,
    uint32_t empty, uint32_t next, uint32_t cluster, uint32_t rows) {
  using L = LargeLayout<BN, Stages, Mode>;
  const uint32_t thread = threadIdx.x % 128;
  uint32_t previous = 0;
#pragma unroll 1
  for (uint32_t k = 0; k < blocks; k++) {
    const uint32_t stage = memory + ring.slot * L::stage;
    barrierWait(full + ring.slot * 8, ring.phase);
    if (kAlternate<Mode> && k + 1 == blocks && thread == 0) barrierArrive(next);
    multiplyStage<T, BN, false>(acc, stage + rows * kRowBytes, stage + kBytesA);
    wgmmaWait<1>();
    if (k > 0 && thread < cluster) barrierArriveAt(empty + previous * 8, thread);
    previous = ring.slot;
    ring.advance(Stages);
  }
  wgmmaWait<0>();
#pragma unroll
  for (int s = 0; s < Slices; s++) pin(acc[s]);
  if (thread < cluster) barrierArriveAt(empty + previous * 8, thread);
}

/// Blockwise scales of each stage, copied into shared memory by one warp as the stages themselves are by
/// another; a stage is ready when both have arrived.
template <int BN, int Stages, bool Shared>
DEVICE void produceScales(
    const GemmArgs& g, Schedule schedule, const Turns<Shared>& turns, uint32_t memory, uint32_t full, uint32_t empty,
    uint32_t rank, uint32_t cluster) {
  const uint32_t lane = threadIdx.x % 32;
  awaitPrecedingKernels();
  Ring ring(0, Stages);
  Turn turn = turns.at(0);
  for (uint32_t i = 1; turn.tile < schedule.count(); turn = turns.at(i++)) {
    uint32_t row, column;
    schedule.locate(turn.tile, row, column);
    const uint32_t m0 = (row * cluster + rank) * kTileM;
    const uint32_t last = g.m - 1, top = min(m0, last);
    uint32_t below[4];  // elements from the scale of the tile's first row
#pragma unroll
    for (uint32_t r = 0; r < 4; r++) below[r] = (min(m0 + r * 32 + lane, last) - top) * g.strideA;
    const uint32_t block = min(column * BN / 128 + lane % 2, (g.n - 1) / 128);
    const float* a = g.scaleA + static_cast<uint64_t>(top) * g.strideA + static_cast<uint64_t>(turn.from) * g.blockStrideA;
    const float* b = g.scaleB + static_cast<uint64_t>(block) * g.strideB + static_cast<uint64_t>(turn.from) * g.blockStrideB;
#pragma unroll 1
    for (uint32_t k = turn.from; k < turn.to; k++) {
      const uint32_t target = memory + (ring.slot * kStageScales + lane) * 4;
      barrierWait(empty + ring.slot * 8, ring.phase ^ 1);
#pragma unroll
      for (uint32_t r = 0; r < 4; r++) copyWord(target + r * 128, a + below[r]);
      if (lane < 2) copyWord(target + kTileM * 4, b);
      arriveWhenCopied(full + ring.slot * 8);
      a += g.blockStrideA;
      b += g.blockStrideB;
      ring.advance(Stages);
    }
  }
}

/// What the results of a stage are multiplied by: scales of two rows of A, and of B's one or two blocks.
struct StageScales {
  float a[2], left, right;
  DEVICE_MEMBER StageScales() : a{1.0f, 1.0f}, left(1.0f), right(1.0f) {}
  DEVICE_MEMBER StageScales(const float* scales, uint32_t slot, uint32_t row) {
    const float* of = scales + slot * kStageScales;
    a[0] = of[row];
    a[1] = of[row + 8];
    left = of[kTileM];
    right = of[kTileM + 1];
  }
};

/// Arrivals of a warpgroup by which it gives a stage back. Its matrix instructions end for all of it at once, but
/// each warp has read the scales by itself; in wide tiles a barrier follows that.
template <int BN, Sum Mode>
constexpr uint32_t kGivers = Mode == BLOCKWISE && BN <= 128 ? 4 : 1;

/// Sums `Count` stages of a narrow tile: each is multiplied afresh and added in float32 while the next one is
/// multiplied.
template <class T, int BN, Sum Mode, int Stages, int Count>
DEVICE void sumNarrow(
    const float* scales, float (&acc)[1][BN / 2], Ring& ring, uint32_t memory, uint32_t full, uint32_t empty,
    uint32_t cluster) {
  using L = LargeLayout<BN, Stages, Mode>;
  const uint32_t group = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  const uint32_t row = group * 64 + thread / 32 * 16 + thread % 32 / 4;
  float part[2][BN / 2];
  StageScales of[2];
  const auto finish = [&](int k, uint32_t slot) {
    pin(part[k % 2]);
    const uint32_t giver = kGivers<BN, Mode> == 1 ? thread : thread % 32;
    if (kGivers<BN, Mode> > 1) __syncwarp();
    if (giver < cluster) barrierArriveAt(empty + slot * 8, giver);
    const float factor[2] = {of[k % 2].a[0] * of[k % 2].left, of[k % 2].a[1] * of[k % 2].left};
#pragma unroll
    for (int i = 0; i < BN / 2; i++) {
      float& sum = acc[0][i];
      sum = Mode == BLOCKWISE ? __fmaf_rn(part[k % 2][i], factor[i / 2 % 2], sum) : sum + part[k % 2][i];
    }
  };
  uint32_t before = ring.slot;
#pragma unroll
  for (int k = 0; k < Count; k++) {
    const uint32_t stage = memory + ring.slot * L::stage;
    barrierWait(full + ring.slot * 8, ring.phase);
    if (Mode == BLOCKWISE) of[k % 2] = StageScales(scales, ring.slot, row);
    multiplyPart<T, BN>(part[k % 2], stage + group * 8192, stage + kBytesA);
    if (k > 0) {
      wgmmaWait<1>();
      finish(k - 1, before);
    }
    before = ring.slot;
    ring.advance(Stages);
  }
  wgmmaWait<0>();
  finish(Count - 1, before);
}

/// Sums a stage of a wide tile, for which there are not registers enough to do so: a warpgroup starts both
/// halves of its columns and adds the first while the second is multiplied; then the other warpgroup may
/// start, so that one multiplies while the other adds.
template <class T, int BN, Sum Mode, int Stages>
DEVICE void sumWide(
    const float* scales, bool odd, float (&acc)[1][BN / 2], Ring& ring, uint32_t memory, uint32_t full, uint32_t empty, uint32_t cluster) {
  using L = LargeLayout<BN, Stages, Mode>;
  const uint32_t group = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  const uint32_t stage = memory + ring.slot * L::stage;
  const uint32_t row = group * 64 + thread / 32 * 16 + thread % 32 / 4;
  float part[2][BN / 4];
  StageScales of;
  const auto add = [&](int half) {
    float factor[3][2];  // of columns 0 ... 63, 64 ... 127 and 128 ... 191
#pragma unroll
    for (int r = 0; r < 2; r++) {
      factor[0][r] = of.a[r] * of.left;
      factor[2][r] = of.a[r] * of.right;
      factor[1][r] = odd ? factor[2][r] : factor[0][r];
    }
#pragma unroll
    for (int i = 0; i < BN / 4; i++) {
      const int at = half * (BN / 4) + i;
      float& sum = acc[0][at];
      sum = Mode == BLOCKWISE ? __fmaf_rn(part[half][i], factor[at / 32][i / 2 % 2], sum) : sum + part[half][i];
    }
  };
  barrierWait(full + ring.slot * 8, ring.phase);
  if (Mode == BLOCKWISE) of = StageScales(scales, ring.slot, row);
  asm volatile("bar.sync %0, 256;" ::"r"(3 + group) : "memory");
#pragma unroll
  for (uint32_t h = 0; h < 2; h++) {
    multiplyPart<T, BN / 2>(part[h], stage + group * 8192, stage + kBytesA + h * (BN / 2 * kRowBytes));
  }
  wgmmaWait<1>();
  pin(part[0]);
  asm volatile("bar.arrive %0, 256;" ::"r"(4 - group) : "memory");
  add(0);
  wgmmaWait<0>();
  pin(part[1]);
  if (thread < cluster) barrierArriveAt(empty + ring.slot * 8, thread);
  add(1);
  ring.advance(Stages);
}

/// Sums over all of K. Narrow tiles do several stages at a time, since at the end of each run the tensor cores
/// have only the other warpgroup's work.
template <class T, int BN, Sum Mode, int Stages>
DEVICE void sumPrecise(
    const float* scales, float (&acc)[1][BN / 2], Ring ring, uint32_t memory, uint32_t full, uint32_t empty,
    uint32_t cluster, uint32_t n0, uint32_t from, uint32_t to) {
  uint32_t k = from;
  if constexpr (BN > 128) {
    static_assert(Mode != BLOCKWISE || BN == 192, "tiles begin or end in the middle of a block of scales");
#pragma unroll 1
    for (; k < to; k++) {
      sumWide<T, BN, Mode, Stages>(scales, n0 % 128 != 0, acc, ring, memory, full, empty, cluster);
    }
  } else {
    constexpr uint32_t run = BN == 128 && Mode == PRECISE ? 2 : 4;  // measured
#pragma unroll 1
    for (; k + run <= to; k += run) {
      sumNarrow<T, BN, Mode, Stages, run>(scales, acc, ring, memory, full, empty, cluster);
    }
#pragma unroll 1
    for (; k < to; k++) sumNarrow<T, BN, Mode, Stages, 1>(scales, acc, ring, memory, full, empty, cluster);
  }
}

template <class T, int BN, Sum Mode, int Stages, bool Shared>
DEVICE void consume(
    const TensorMap* mapOut, const GemmArgs& g, const Shares& shares, Schedule schedule, const Turns<Shared>& turns,
    uint8_t* base, uint32_t memory, uint32_t full, uint32_t empty, uint32_t rank, uint32_t cluster) {
  using L = LargeLayout<BN, Stages, Mode>;
  using Acc = typename T::Acc;
  constexpr int slices = kSlices<Mode>;
  const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128 - 1, 0), thread = threadIdx.x % 128, lane = thread % 32;
  const uint32_t warp = __shfl_sync(~0u, thread / 32, 0);
  // The turns of wide precise tiles: a warpgroup waits for its own barrier, on which the other one arrives.
  if (Mode >= PRECISE && BN > 128 && group == 1) asm volatile("bar.arrive 3, 256;" ::: "memory");
  float* scaleB = reinterpret_cast<float*>(base + L::scales) + group * 2 * BN;
  float* bias = scaleB + BN;
  uint8_t* staging = base + L::staging + (group * 4 + warp) * L::areas * kStagingBytes;
  uint32_t area = 0;
  const bool copied = g.vector && g.outType <= OUT_F16;
  for (uint32_t i = kAlternate<Mode> ? group : 0;; i += kAlternate<Mode> ? 2 : 1) {
    const Turn turn = turns.at(i);
    if (turn.tile >= schedule.count()) break;
    uint32_t row, column;
    schedule.locate(turn.tile, row, column);
    const uint32_t m0 = (row * cluster + rank) * kTileM + (kAlternate<Mode> ? 0 : group * 64) + warp * 16;
    const uint32_t n0 = column * BN;
    // Read before the long loop, used after it.
    float scales[2] = {0.0f, 0.0f}, biases[2] = {0.0f, 0.0f}, scaleA[slices][2];
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const uint32_t n = thread + j * 128;
      if (n < BN && n0 + n < g.n) {
        scales[j] = Mode == BLOCKWISE ? 1.0f : scaleAt(g.scaleB, n0 + n, g.strideB);
        biases[j] = biasAt(g, n0 + n);
      }
#pragma unroll
      for (int s = 0; s < slices; s++) {
        const uint32_t m = m0 + s * 64 + lane / 4 + j * 8;
        scaleA[s][j] = Mode == BLOCKWISE || m >= g.m ? 1.0f : scaleAt(g.scaleA, m, g.strideA);
      }
    }
    Acc acc[slices][BN / 2];
#pragma unroll
    for (int s = 0; s < slices; s++) {
#pragma unroll
      for (int j = 0; j < BN / 2; j++) acc[s][j] = 0;
    }
    const Ring ring(turn.position, Stages);
    if constexpr (Mode == FAST) {
      // A wait knows only even from odd: nobody may wait for stages more than one round ahead.
      const uint32_t order = empty + Stages * 8;
      barrierWait(order + group * 8, (i / 2 + group + 1) & 1);
      sumFast<T, BN, Mode, Stages>(acc, turn.to - turn.from, ring, memory, full, empty, order + (group ^ 1) * 8, cluster, 0);
    } else if constexpr (Mode == TOGETHER) {
      sumFast<T, BN, Mode, Stages>(acc, turn.to - turn.from, ring, memory, full, empty, 0, cluster, group * 64);
    } else {
      const float* ofStages = reinterpret_cast<const float*>(base + L::ofStages);
      sumPrecise<T, BN, Mode, Stages>(ofStages, acc, ring, memory, full, empty, cluster, n0, turn.from, turn.to);
    }
    if constexpr (Shared) {
      constexpr uint32_t lanes = kAlternate<Mode> ? 128 : 256;
      const uint32_t index = kAlternate<Mode> ? thread : group * 128 + thread;
      if (turn.to < g.blocks) {
        leave(acc, shares, turns.first * cluster + rank, lanes, index);
        continue;
      }
      if (turn.from > 0) {
        // The tile that the share begins in: from the member before this one down to the one that has its beginning.
        uint32_t other = turns.first, bound = turns.begin;
        const uint32_t start = bound / g.blocks * g.blocks;
#pragma unroll 1
        while (bound > start) {
          other -= shares.groups;
          take(acc, shares, other * cluster + rank, lanes, index);
          bound = turns.bound(other, 0);
        }
      }
    }
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const uint32_t n = thread + j * 128;
      if (n < BN) {
        scaleB[n] = scales[j];
        bias[n] = biases[j];
      }
    }
    namedBarrier(1 + group, 128);
#pragma unroll
    for (int s = 0; s < slices; s++) {
      if (copied) {
        storeBehind<BN, L::areas>(mapOut, g, acc[s], staging, area, scaleA[s], scaleB, bias, m0 + s * 64, n0, lane);
      } else {
        storeTile<BN>(g, acc[s], staging, scaleA[s], scaleB, bias, m0 + s * 64, n0, lane);
      }
    }
    namedBarrier(1 + group, 128);
  }
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

template <class T, int BN, Sum Mode, int Stages, bool Shared>
DEVICE void gemmLarge(
    const TensorMap* mapA, const TensorMap* mapB, const TensorMap* mapOut, const GemmArgs& g, const Shares& shares) {
  using L = LargeLayout<BN, Stages, Mode>;
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base);
  const uint32_t full = memory + L::barriers, empty = full + Stages * 8;
  const uint32_t rank = clusterRank(), cluster = clusterSize();
  if (threadIdx.x == 0) {
    prefetchMap(mapA);
    prefetchMap(mapB);
    if (g.vector && g.outType <= OUT_F16) prefetchMap(mapOut);
    for (int i = 0; i < Stages; i++) {
      barrierInit(full + i * 8, Mode == BLOCKWISE ? 33 : 1);
      barrierInit(empty + i * 8, (kAlternate<Mode> ? 1 : kConsumers) * kGivers<BN, Mode> * cluster);
    }
    barrierInit(empty + Stages * 8, 1);
    barrierInit(empty + Stages * 8 + 8, 1);
    barrierInitFence();
  }
  clusterSync();
  releaseFollowingKernels();
  const uint32_t tilesM = (g.m + kTileM - 1) / kTileM;
  const Schedule schedule{(tilesM + cluster - 1) / cluster, (g.n + BN - 1) / BN, g.raster};
  const Turns<Shared> turns(shares, g.blocks, blockIdx.x / cluster, gridDim.x / cluster);
  if (threadIdx.x < 128) {
    giveRegistersBack<40>();
    if (threadIdx.x == 0) {
      produce<BN, Mode, Stages, Shared>(mapA, mapB, g, schedule, turns, memory, full, empty, rank, cluster);
    }
    if (Mode == BLOCKWISE && threadIdx.x / 32 == 1) {
      produceScales<BN, Stages, Shared>(g, schedule, turns, memory + L::ofStages, full, empty, rank, cluster);
    }
  } else {
    takeRegisters<232>();
    awaitPrecedingKernels();
    consume<T, BN, Mode, Stages, Shared>(mapOut, g, shares, schedule, turns, base, memory, full, empty, rank, cluster);
  }
  // A block must outlive its neighbour's copies and arrivals.
  clusterSync();
}

/// `SHARED` kernels know how to share tiles; the others are up to 6 % faster by not knowing.
#define GEMM_LARGE(NAME, TYPE, BN, MODE, STAGES, SHARED)                                                            \
  extern "C" __global__ void __launch_bounds__(384, 1) NAME(                                                        \
      const __grid_constant__ TensorMap mapA, const __grid_constant__ TensorMap mapB,                               \
      const __grid_constant__ TensorMap mapOut, const __grid_constant__ GemmArgs args,                              \
      const __grid_constant__ Shares shares) {                                                                      \
    static_assert(LargeLayout<BN, STAGES, MODE>::total <= kMostShared, "more shared memory than a block can have"); \
    gemmLarge<TYPE, BN, MODE, STAGES, SHARED>(&mapA, &mapB, &mapOut, args, shares);                                 \
  }
