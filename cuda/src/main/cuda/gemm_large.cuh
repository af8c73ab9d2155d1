// Matrix multiply for many rows: persistent blocks of three warpgroups, one that copies and two that
// multiply tiles of 128 x BN. With sums in the tensor core's own accumulators the two take turns, tile
// by tile, so one stores while the other multiplies; otherwise each takes half of every tile, so one
// adds while the other multiplies. Two blocks of a cluster take tiles above each other and copy half
// of B for both.
#pragma once

#include "gemm.cuh"
#include "wgmma.cuh"

enum Sum {
  FAST,     // the tensor core's own accumulators for all of K
  PRECISE,  // fp8: added to float32 every 128 elements, since the tensor core keeps about 14 bits
  BLOCKWISE // like PRECISE, and multiplied by the scales of the block (1 x 128 by 128 x 128)
};

constexpr uint32_t kRowBytes = 128;             // bytes of K in one stage
constexpr uint32_t kTileM = 128;
constexpr uint32_t kBytesA = kTileM * kRowBytes;
constexpr uint32_t kConsumers = 2;

/// Whether the consumers take whole tiles in turn, and how many 64-row slices of a tile each holds.
template <Sum Mode>
constexpr bool kAlternate = Mode == FAST;
template <Sum Mode>
constexpr int kSlices = kAlternate<Mode> ? 2 : 1;

/// Bytes in which a warp lays out 16 rows of results, 128 bytes each, for the copy engine to take.
constexpr uint32_t kStagingBytes = 16 * 128;
constexpr uint32_t kMostShared = 232448;

template <int BN, int Stages>
struct LargeLayout {
  static constexpr uint32_t bytesB = BN * kRowBytes;
  static constexpr uint32_t stage = kBytesA + bytesB;
  static constexpr uint32_t staging = Stages * stage;
  static constexpr uint32_t rest = kConsumers * 2 * BN * 4 + (2 * Stages + 2) * 8;
  /// Two staging areas for each warp where there is room, so that one is filled while the other is copied.
  static constexpr uint32_t areas = staging + 16 * kStagingBytes + rest <= kMostShared ? 2 : 1;
  static constexpr uint32_t scales = staging + 8 * areas * kStagingBytes;
  static constexpr uint32_t barriers = scales + kConsumers * 2 * BN * 4;
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

/// Tiles in the order in which clusters take them: `raster` rows of clusters, column by column, so
/// that tiles that run at the same time share what they read through the L2 cache.
struct Schedule {
  uint32_t rows, columns, raster;
  DEVICE_MEMBER uint32_t count() const { return rows * columns; }
  DEVICE_MEMBER void locate(uint32_t index, uint32_t& row, uint32_t& column) const {
    uint32_t band = index / (raster * columns);
    uint32_t within = index - band * raster * columns;
    uint32_t height = min(raster, rows - band * raster);
    column = within / height;
    row = band * raster + within - column * height;
  }
};

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

template <int BN, Sum Mode, int Stages>
DEVICE void produce(
    const TensorMap* mapA, const TensorMap* mapB, const GemmArgs& g, Schedule schedule, uint32_t memory,
    uint32_t full, uint32_t empty, uint32_t first, uint32_t step, uint32_t rank, uint32_t cluster) {
  using L = LargeLayout<BN, Stages>;
  uint32_t row, column;
  // Weights at rest need not wait for the kernel before this one.
  const uint32_t ahead = g.settled && first < schedule.count() ? min(g.blocks, static_cast<uint32_t>(Stages)) : 0;
  schedule.locate(first, row, column);
  for (uint32_t k = 0; k < ahead; k++) {
    barrierExpect(full + k * 8, L::stage);
    copyB<BN>(memory + k * L::stage + kBytesA, mapB, full + k * 8, k, column * BN, rank, cluster);
  }
  awaitPrecedingKernels();
  Ring ring(0, Stages);
  for (uint32_t tile = first; tile < schedule.count(); tile += step) {
    schedule.locate(tile, row, column);
    const uint32_t m0 = (row * cluster + rank) * kTileM;
    for (uint32_t k = 0; k < g.blocks; k++) {
      const uint32_t stage = memory + ring.slot * L::stage, ready = full + ring.slot * 8;
      const bool begun = tile == first && k < ahead;
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

/// Rows of up to 128 bytes, as `storeTile` left them in shared memory, to global memory.
template <int BN>
DEVICE void storeRows(
    const GemmArgs& g, const uint8_t* staging, uint32_t m0, uint32_t n0, uint32_t from, uint32_t size, uint32_t lane) {
  const uint32_t column = from + lane % 8 * (16 / size), n = n0 + column;
  const bool whole = g.vector && n + 16 / size <= g.n;
  if (column >= BN || n >= g.n) return;
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) {
    const uint32_t r = i * 4 + lane / 8, m = m0 + r;
    const uint4 v = *reinterpret_cast<const uint4*>(staging + r * 128 + ((lane % 8) ^ (r & 7)) * 16);
    if (whole && m < g.m) {
      *reinterpret_cast<uint4*>(static_cast<uint8_t*>(g.out) + (m * g.ldOut + n) * size) = v;
    }
  }
  if (whole) return;
#pragma unroll 1
  for (uint32_t i = 0; i < 16; i += 4) {
    const uint32_t r = i + lane / 8, m = m0 + r;
    const uint8_t* chunk = staging + r * 128 + ((lane % 8) ^ (r & 7)) * 16;
    uint8_t* target = static_cast<uint8_t*>(g.out) + (m * g.ldOut + n) * size;
#pragma unroll 1
    for (uint32_t e = 0; m < g.m && e < 16 / size && n + e < g.n; e++) {
      if (size == 4) {
        reinterpret_cast<uint32_t*>(target)[e] = reinterpret_cast<const uint32_t*>(chunk)[e];
      } else {
        reinterpret_cast<uint16_t*>(target)[e] = reinterpret_cast<const uint16_t*>(chunk)[e];
      }
    }
  }
}

/// Four 8 x 8 blocks of 16-bit numbers to shared memory, from registers as the accumulators lie: each lane
/// names the place of one row.
DEVICE void storeBlocks(uint32_t address, const uint32_t (&w)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(w[0]), "r"(w[1]),
               "r"(w[2]), "r"(w[3])
               : "memory");
}

/// Lets the copy engine take a warp's staging area to where the map says; what lies outside of the result is
/// left out.
DEVICE void copyOut(const TensorMap* map, uint32_t staging, uint32_t x, uint32_t y) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];\n\tcp.async.bulk.commit_group;" ::"l"(map),
               "r"(staging), "r"(x), "r"(y)
               : "memory");
}

/// Waits until the copy engine has read all of this thread's areas but the last `Pending`.
template <int Pending>
DEVICE void awaitCopied() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(Pending) : "memory");
}

/// A warp's 16 rows of the tile as 16-bit results, 64 columns at a time: to shared memory, from where the copy
/// engine takes them while the warp goes on. 16-byte chunks are exchanged within a row (chunk ^ row % 8), as the
/// copy engine expects it; neither side has bank conflicts. Columns that fill no 128 bytes the warp stores itself.
template <int BN, int Areas, class Acc>
DEVICE void storeBehind(
    const TensorMap* map, const GemmArgs& g, const Acc (&acc)[BN / 2], uint8_t* staging, uint32_t& area,
    const float (&scaleA)[2], const float* scaleB, const float* bias, uint32_t m0, uint32_t n0, uint32_t lane) {
  const bool half = g.outType == OUT_F16, biased = g.biasType != BIAS_NONE;
#pragma unroll
  for (int from = 0; from < BN; from += 64) {
    uint8_t* place = staging + area * kStagingBytes;
    const uint32_t address = sharedAddress(place);
    if (lane == 0) awaitCopied<Areas - 1>();
    __syncwarp();
#pragma unroll
    for (int j = 0; j < 8 && from + j * 8 < BN; j += 2) {
      uint32_t words[4];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int column = from + (j + i) * 8 + lane % 4 * 2;
        const float2 sb = *reinterpret_cast<const float2*>(scaleB + column);
        const float2 bi = biased ? *reinterpret_cast<const float2*>(bias + column) : make_float2(0.0f, 0.0f);
        const Acc* sum = acc + (from / 8 + j + i) * 4;
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const float x = scaled(asFloat(sum[h * 2]), scaleA[h], sb.x, bi.x);
          const float y = scaled(asFloat(sum[h * 2 + 1]), scaleA[h], sb.y, bi.y);
          words[i * 2 + h] = pack2(x, y, half);
        }
      }
      storeBlocks(address + lane % 16 * 128 + ((j + lane / 16) ^ (lane & 7)) * 16, words);
    }
    if (from + 64 <= BN) {
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
      __syncwarp();
      if (lane == 0) copyOut(map, address, (n0 + from) * 2, m0);
      area = Areas == 2 ? area ^ 1 : 0;
    } else {
      __syncwarp();
      storeRows<BN>(g, place, m0, n0, from, 2, lane);
      __syncwarp();
    }
  }
}

/// A warp's 16 rows of the tile in any type, wherever rows begin, 128 bytes at a time: to shared memory as the
/// accumulators lie, from there to global memory a row segment at a time.
template <int BN, class Acc>
DEVICE void storeTile(
    const GemmArgs& g, Acc (&acc)[BN / 2], uint8_t* staging, const float (&scaleA)[2], const float* scaleB,
    const float* bias, uint32_t m0, uint32_t n0, uint32_t lane) {
  const uint32_t row = lane / 4, quad = lane % 4;
  const bool wide = g.outType >= OUT_F32, raw = g.outType == OUT_I32, half = g.outType == OUT_F16;
#pragma unroll
  for (int j = 0; j < BN / 8; j++) {
    const float2 sb = *reinterpret_cast<const float2*>(scaleB + j * 8 + quad * 2);
    const float2 bi = *reinterpret_cast<const float2*>(bias + j * 8 + quad * 2);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const Acc x = acc[j * 4 + h * 2], y = acc[j * 4 + h * 2 + 1];
      const float fx = scaled(asFloat(x), scaleA[h], sb.x, bi.x), fy = scaled(asFloat(y), scaleA[h], sb.y, bi.y);
      uint8_t* line = staging + (row + h * 8) * 128;  // row + 8 has the same row % 8
      if (wide) {
        const uint32_t chunk = (j % 4 * 2 + quad / 2) ^ row;
        *reinterpret_cast<uint2*>(line + chunk * 16 + (quad & 1) * 8) =
            make_uint2(raw ? bitsOf(x) : __float_as_uint(fx), raw ? bitsOf(y) : __float_as_uint(fy));
      } else {
        *reinterpret_cast<uint32_t*>(line + ((j % 8) ^ row) * 16 + quad * 4) = pack2(fx, fy, half);
      }
    }
    const bool last = j + 1 == BN / 8;
    if (j % 8 == 7 || last || (wide && j % 4 == 3)) {
      __syncwarp();
      storeRows<BN>(g, staging, m0, n0, wide ? j / 4 * 32 : j / 8 * 64, wide ? 4 : 2, lane);
      __syncwarp();
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

/// Sums over all of K in the tensor core's accumulators, releasing each stage one step late.
template <class T, int BN, Sum Mode, int Stages, int Slices>
DEVICE void sumFast(
    typename T::Acc (&acc)[Slices][BN / 2], uint32_t blocks, Ring ring, uint32_t memory, uint32_t full,
    uint32_t empty, uint32_t next, uint32_t cluster) {
  using L = LargeLayout<BN, Stages>;
  const uint32_t thread = threadIdx.x % 128;
  uint32_t previous = 0;
#pragma unroll 1
  for (uint32_t k = 0; k < blocks; k++) {
    const uint32_t stage = memory + ring.slot * L::stage;
    barrierWait(full + ring.slot * 8, ring.phase);
    if (k + 1 == blocks && thread == 0) barrierArrive(next);
    multiplyStage<T, BN, false>(acc, stage, stage + kBytesA);
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

/// What the results of a stage are multiplied by where scales are blockwise.
struct BlockScales {
  const float* a[2];
  const float* b;
  uint32_t stepA, stepB;
  DEVICE_MEMBER BlockScales(const GemmArgs& g, uint32_t m, uint32_t n0)
      : a{g.scaleA + static_cast<uint64_t>(m < g.m ? m : 0) * g.strideA,
          g.scaleA + static_cast<uint64_t>(m + 8 < g.m ? m + 8 : 0) * g.strideA},
        b(g.scaleB + static_cast<uint64_t>(n0 / 128) * g.strideB),
        stepA(g.blockStrideA),
        stepB(g.blockStrideB) {}
  DEVICE_MEMBER float of(uint32_t k, int row) const {
    return __ldg(a[row] + static_cast<uint64_t>(k) * stepA) * __ldg(b + static_cast<uint64_t>(k) * stepB);
  }
};

/// Sums `Count` stages of a narrow tile: each is multiplied afresh and added in float32 while the next one is
/// multiplied.
template <class T, int BN, Sum Mode, int Stages, int Count>
DEVICE void sumNarrow(
    const BlockScales& scales, float (&acc)[1][BN / 2], Ring& ring, uint32_t memory, uint32_t full, uint32_t empty,
    uint32_t cluster, uint32_t first) {
  using L = LargeLayout<BN, Stages>;
  const uint32_t group = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  float part[2][BN / 2], factor[Count][2];
#pragma unroll
  for (int k = 0; k < Count; k++) {
#pragma unroll
    for (int r = 0; r < 2; r++) factor[k][r] = Mode == BLOCKWISE ? scales.of(first + k, r) : 1.0f;
  }
  const auto finish = [&](int k, uint32_t slot) {
    pin(part[k % 2]);
    if (thread < cluster) barrierArriveAt(empty + slot * 8, thread);
#pragma unroll
    for (int i = 0; i < BN / 2; i++) {
      float& sum = acc[0][i];
      sum = Mode == BLOCKWISE ? __fmaf_rn(part[k % 2][i], factor[k][i / 2 % 2], sum) : sum + part[k % 2][i];
    }
  };
  uint32_t before = ring.slot;
#pragma unroll
  for (int k = 0; k < Count; k++) {
    const uint32_t stage = memory + ring.slot * L::stage;
    barrierWait(full + ring.slot * 8, ring.phase);
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
    float (&acc)[1][BN / 2], Ring& ring, uint32_t memory, uint32_t full, uint32_t empty, uint32_t cluster) {
  using L = LargeLayout<BN, Stages>;
  const uint32_t group = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  const uint32_t stage = memory + ring.slot * L::stage;
  float part[2][BN / 4];
  const auto add = [&](int half) {
#pragma unroll
    for (int i = 0; i < BN / 4; i++) acc[0][half * (BN / 4) + i] += part[half][i];
  };
  barrierWait(full + ring.slot * 8, ring.phase);
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
    const GemmArgs& g, float (&acc)[1][BN / 2], Ring ring, uint32_t memory, uint32_t full, uint32_t empty,
    uint32_t cluster, uint32_t m, uint32_t n0) {
  uint32_t k = 0;
  if constexpr (BN > 128) {
#pragma unroll 1
    for (; k < g.blocks; k++) sumWide<T, BN, Mode, Stages>(acc, ring, memory, full, empty, cluster);
  } else {
    constexpr uint32_t run = BN == 128 && Mode == PRECISE ? 2 : 4;  // measured
    const BlockScales scales(g, m, n0);
#pragma unroll 1
    for (; k + run <= g.blocks; k += run) {
      sumNarrow<T, BN, Mode, Stages, run>(scales, acc, ring, memory, full, empty, cluster, k);
    }
#pragma unroll 1
    for (; k < g.blocks; k++) sumNarrow<T, BN, Mode, Stages, 1>(scales, acc, ring, memory, full, empty, cluster, k);
  }
}

template <class T, int BN, Sum Mode, int Stages>
DEVICE void consume(
    const TensorMap* mapOut, const GemmArgs& g, Schedule schedule, uint8_t* base, uint32_t memory, uint32_t full, uint32_t empty,
    uint32_t first, uint32_t step, uint32_t rank, uint32_t cluster) {
  using L = LargeLayout<BN, Stages>;
  using Acc = typename T::Acc;
  constexpr int slices = kSlices<Mode>;
  const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128 - 1, 0), thread = threadIdx.x % 128, lane = thread % 32;
  const uint32_t warp = __shfl_sync(~0u, thread / 32, 0);
  // The turns of wide precise tiles: a warpgroup waits for its own barrier, on which the other one arrives.
  if (Mode != FAST && BN > 128 && group == 1) asm volatile("bar.arrive 3, 256;" ::: "memory");
  float* scaleB = reinterpret_cast<float*>(base + L::scales) + group * 2 * BN;
  float* bias = scaleB + BN;
  uint8_t* staging = base + L::staging + (group * 4 + warp) * L::areas * kStagingBytes;
  uint32_t area = 0;
  const bool copied = g.vector && g.outType <= OUT_F16;
  const uint32_t turns = kAlternate<Mode> ? 2 : 1, turn = kAlternate<Mode> ? group : 0;
  for (uint32_t i = turn, tile = first + turn * step; tile < schedule.count(); i += turns, tile += turns * step) {
    uint32_t row, column;
    schedule.locate(tile, row, column);
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
    const Ring ring(i * g.blocks, Stages);
    if constexpr (Mode == FAST) {
      // A wait knows only even from odd: nobody may wait for stages more than one round ahead.
      const uint32_t order = empty + Stages * 8;
      barrierWait(order + group * 8, (i / 2 + group + 1) & 1);
      sumFast<T, BN, Mode, Stages>(acc, g.blocks, ring, memory, full, empty, order + (group ^ 1) * 8, cluster);
    } else {
      sumPrecise<T, BN, Mode, Stages>(g, acc, ring, memory, full, empty, cluster, m0 + lane / 4, n0);
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

template <class T, int BN, Sum Mode, int Stages>
DEVICE void gemmLarge(const TensorMap* mapA, const TensorMap* mapB, const TensorMap* mapOut, const GemmArgs& g) {
  using L = LargeLayout<BN, Stages>;
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base);
  const uint32_t full = memory + L::barriers, empty = full + Stages * 8;
  const uint32_t rank = clusterRank(), cluster = clusterSize();
  if (threadIdx.x == 0) {
    prefetchMap(mapA);
    prefetchMap(mapB);
    if (g.vector && g.outType <= OUT_F16) prefetchMap(mapOut);
    for (int i = 0; i < Stages; i++) {
      barrierInit(full + i * 8, 1);
      barrierInit(empty + i * 8, (kAlternate<Mode> ? 1 : kConsumers) * cluster);
    }
    barrierInit(empty + Stages * 8, 1);
    barrierInit(empty + Stages * 8 + 8, 1);
    barrierInitFence();
  }
  clusterSync();
  releaseFollowingKernels();
  const uint32_t tilesM = (g.m + kTileM - 1) / kTileM;
  const Schedule schedule{(tilesM + cluster - 1) / cluster, (g.n + BN - 1) / BN, g.raster};
  const uint32_t first = blockIdx.x / cluster, step = gridDim.x / cluster;
  if (threadIdx.x < 128) {
    giveRegistersBack<40>();
    if (threadIdx.x == 0) {
      produce<BN, Mode, Stages>(mapA, mapB, g, schedule, memory, full, empty, first, step, rank, cluster);
    }
  } else {
    takeRegisters<232>();
    awaitPrecedingKernels();
    consume<T, BN, Mode, Stages>(mapOut, g, schedule, base, memory, full, empty, first, step, rank, cluster);
  }
  // A block must outlive its neighbour's copies and arrivals.
  clusterSync();
}

#define GEMM_LARGE(NAME, TYPE, BN, MODE, STAGES)                                                              \
  extern "C" __global__ void __launch_bounds__(384, 1) NAME(                                                  \
      const __grid_constant__ TensorMap mapA, const __grid_constant__ TensorMap mapB,                         \
      const __grid_constant__ TensorMap mapOut, const __grid_constant__ GemmArgs args) {                      \
    static_assert(LargeLayout<BN, STAGES>::total <= kMostShared, "more shared memory than a block can have"); \
    gemmLarge<TYPE, BN, MODE, STAGES>(&mapA, &mapB, &mapOut, args);                                           \
  }
