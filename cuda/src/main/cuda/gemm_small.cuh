// Matrix multiply for few rows of A: the weights B are the tensor core's rows, the tokens A its BC
// columns, and the blocks of a cluster share a tile by taking a part of K each. The partial sums meet
// in shared memory, always in the same order, so results do not depend on timing.
//
// What counts is how soon all weights are on their way. Two blocks fit on a multiprocessor, so those of
// the next product fill their stages while this one ends; the first `Held` steps of weights even go on
// into registers, which makes room for as many more.
#pragma once

#include "gemm.cuh"
#include "wgmma.cuh"

constexpr uint32_t kStepBytes = 128;  // bytes of K in one stage

/// How a kernel is cut: `Rows` of B by BC tokens, rings of `Weights` and `Tokens` stages. Sums come where the rings
/// were, `sums[token][row of B]`.
template <int Bc, int Rows_, int Weights_, int Tokens_, int Held_>
struct SmallShape {
  static constexpr int BC = Bc, Rows = Rows_, Weights = Weights_, Tokens = Tokens_, Held = Held_;
  static constexpr int Groups = Rows / 64;
  static constexpr uint32_t consumers = Rows * 2;
  static constexpr uint32_t weightBytes = Rows * kStepBytes, tokenBytes = BC * kStepBytes;
  static constexpr uint32_t tokens = Weights * weightBytes;
  static constexpr uint32_t barriers = tokens + Tokens * tokenBytes;
  static constexpr uint32_t sumStride = Rows + 4;  // words; keeps the transposing stores free of conflicts
  static_assert(BC * sumStride * 4 <= barriers, "sums lie in the rings");
};

/// wgmma (wgmma.cuh) with a[64 x 32 bytes] in registers, as `loadMatrices` brings it.
#define WGMMA_HELD(TAG, ACC, SHAPE, TYPES, TAIL, R, A0, A1, A2, A3, B, P, REGISTER)                             \
  template <bool Add>                                                                                           \
  DEVICE void wgmmaHeld(TAG, ACC (&d)[R], const uint32_t (&a)[4], uint64_t b) {                                 \
    asm volatile(                                                                                               \
        "{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %" #P ", 0;\n\t"                                              \
        "wgmma.mma_async.sync.aligned." SHAPE "." TYPES " {" LIST_##R "}, {%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 \
        "}, %" #B ", add" TAIL ";\n\t}"                                                                         \
        : BIND_##R(REGISTER)                                                                                    \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(Add ? 1 : 0));                                \
  }
#define WGMMA_HELD_FORMATS(N, R, A0, A1, A2, A3, B, P)                                                                 \
  WGMMA_HELD(S8, int, "m64n" #N "k32", "s32.s8.s8", "", R, A0, A1, A2, A3, B, P, INT_REGISTER)                         \
  WGMMA_HELD(E4m3, float, "m64n" #N "k32", "f32.e4m3.e4m3", ", 1, 1", R, A0, A1, A2, A3, B, P, FLOAT_REGISTER)         \
  WGMMA_HELD(Bf16, float, "m64n" #N "k16", "f32.bf16.bf16", ", 1, 1, 0", R, A0, A1, A2, A3, B, P, FLOAT_REGISTER)

WGMMA_HELD_FORMATS(8, 4, 4, 5, 6, 7, 8, 9)
WGMMA_HELD_FORMATS(16, 8, 8, 9, 10, 11, 12, 13)
WGMMA_HELD_FORMATS(32, 16, 16, 17, 18, 19, 20, 21)
WGMMA_HELD_FORMATS(64, 32, 32, 33, 34, 35, 36, 37)
WGMMA_HELD_FORMATS(128, 64, 64, 65, 66, 67, 68, 69)
WGMMA_HELD_FORMATS(256, 128, 128, 129, 130, 131, 132, 133)
#undef WGMMA_HELD_FORMATS
#undef WGMMA_HELD

/// Four 8 x 16 byte matrices; the row that a lane names is one of their 32.
DEVICE void loadMatrices(uint32_t (&d)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

/// A place in a ring of stages, and which time round it is.
template <int Stages>
struct Place {
  uint32_t slot = 0, phase = 0;
  DEVICE_MEMBER void next() {
    if (++slot == Stages) {
      slot = 0;
      phase ^= 1;
    }
  }
};

/// Addresses of the barriers in shared memory.
template <class S>
struct SmallBarriers {
  uint32_t fullWeights, emptyWeights, fullTokens, emptyTokens;
  DEVICE_MEMBER explicit SmallBarriers(uint32_t memory)
      : fullWeights(memory + S::barriers),
        emptyWeights(fullWeights + S::Weights * 8),
        fullTokens(emptyWeights + S::Weights * 8),
        emptyTokens(fullTokens + S::Tokens * 8) {}
  DEVICE_MEMBER void init() const {
    for (int i = 0; i < S::Weights; i++) {
      barrierInit(fullWeights + i * 8, 1);
      barrierInit(emptyWeights + i * 8, S::Groups);
    }
    for (int i = 0; i < S::Tokens; i++) {
      barrierInit(fullTokens + i * 8, 1);
      barrierInit(emptyTokens + i * 8, S::Groups);
    }
    barrierInitFence();
  }
};

/// Keeps a ring full: one box of `bytes` a step of K.
template <int Stages>
DEVICE void streamBoxes(
    const TensorMap* map, uint32_t ring, uint32_t stride, uint32_t bytes, uint32_t full, uint32_t empty, uint32_t k0,
    uint32_t count, uint32_t row, uint64_t hint) {
  Place<Stages> place;
#pragma unroll 1
  for (uint32_t i = 0; i < count; i++, place.next()) {
    barrierWait(empty + place.slot * 8, place.phase ^ 1);
    barrierExpect(full + place.slot * 8, bytes);
    copyBox(ring + place.slot * stride, map, full + place.slot * 8, (k0 + i) * kStepBytes, row, hint);
  }
}

/// The first steps of weights, in registers as the tensor core wants them.
template <class S>
struct HeldWeights {
  uint32_t step[S::Held > 0 ? S::Held : 1][4][4];
  DEVICE_MEMBER HeldWeights(uint32_t memory, const SmallBarriers<S>& barriers, uint32_t count) {
    const uint32_t group = threadIdx.x / 128, thread = threadIdx.x % 128, row = thread % 16, half = thread % 32 / 16;
#pragma unroll
    for (int h = 0; h < S::Held; h++) {
      if (h >= count) break;
      barrierWait(barriers.fullWeights + h * 8, 0);
      const uint32_t at = memory + h * S::weightBytes + group * 8192 + (thread / 32 * 16 + row) * kStepBytes;
#pragma unroll
      for (int q = 0; q < 4; q++) loadMatrices(step[h][q], at + ((q * 2 + half) ^ (row % 8)) * 16);
      namedBarrier(2 + group, 128);
      if (thread == 0) barrierArrive(barriers.emptyWeights + h * 8);
    }
  }
};

template <class T, bool Held, bool First, int R>
DEVICE void multiplyStep(
    typename T::Acc (&acc)[R], const uint32_t (&held)[4][4], uint64_t weights, uint64_t tokens) {
  wgmmaFence();
  if constexpr (Held) {
    wgmmaHeld<!First>(T{}, acc, held[0], tokens);
    wgmmaHeld<true>(T{}, acc, held[1], tokens + 2);
    wgmmaHeld<true>(T{}, acc, held[2], tokens + 4);
    wgmmaHeld<true>(T{}, acc, held[3], tokens + 6);
  } else {
    wgmma<!First>(T{}, acc, weights, tokens);
    wgmma<true>(T{}, acc, weights + 2, tokens + 2);
    wgmma<true>(T{}, acc, weights + 4, tokens + 4);
    wgmma<true>(T{}, acc, weights + 6, tokens + 6);
  }
  wgmmaCommit();
}

/// Precise sums where one warpgroup is all there is: it multiplies a step while it adds up the one before.
template <class T, class S>
DEVICE void sumByTurns(
    float (&acc)[S::BC / 2], const HeldWeights<S>& held, uint32_t memory, const SmallBarriers<S>& barriers,
    uint32_t count) {
  float part[2][S::BC / 2];
  Place<S::Weights> weights;
  Place<S::Tokens> tokens;
  uint32_t usedWeights[2], usedTokens[2];
  const auto multiply = [&](int turn) {
    barrierWait(barriers.fullWeights + weights.slot * 8, weights.phase);
    barrierWait(barriers.fullTokens + tokens.slot * 8, tokens.phase);
    multiplyStep<T, false, true>(
        part[turn], held.step[0], tileDescriptor(memory + weights.slot * S::weightBytes),
        tileDescriptor(memory + S::tokens + tokens.slot * S::tokenBytes));
    usedWeights[turn] = weights.slot;
    usedTokens[turn] = tokens.slot;
    weights.next();
    tokens.next();
  };
  const auto add = [&](int turn) {
    pin(part[turn]);
    if (threadIdx.x == 0) {
      barrierArrive(barriers.emptyWeights + usedWeights[turn] * 8);
      barrierArrive(barriers.emptyTokens + usedTokens[turn] * 8);
    }
#pragma unroll
    for (int j = 0; j < S::BC / 2; j++) acc[j] += part[turn][j];
  };
#pragma unroll
  for (int h = 0; h < S::Held; h++) {
    if (h >= count) break;
    barrierWait(barriers.fullTokens + tokens.slot * 8, tokens.phase);
    const uint64_t descA = tileDescriptor(memory + S::tokens + tokens.slot * S::tokenBytes);
    multiplyStep<T, true, true>(part[0], held.step[h], 0, descA);
    wgmmaWait<0>();
    pin(part[0]);
    if (threadIdx.x == 0) barrierArrive(barriers.emptyTokens + tokens.slot * 8);
#pragma unroll
    for (int j = 0; j < S::BC / 2; j++) acc[j] += part[0][j];
    weights.next();
    tokens.next();
  }
  if (count <= S::Held) return;
  multiply(0);
  uint32_t i = S::Held + 1;
#pragma unroll 1
  for (; i + 1 < count; i += 2) {
    multiply(1);
    wgmmaWait<1>();
    add(0);
    multiply(0);
    wgmmaWait<1>();
    add(1);
  }
  if (i < count) {
    multiply(1);
    wgmmaWait<1>();
    add(0);
    wgmmaWait<0>();
    add(1);
  } else {
    wgmmaWait<0>();
    add(0);
  }
}

/// Sums of this block's part of K.
template <class T, bool Precise, class S>
DEVICE void sumPart(
    typename T::Acc (&acc)[S::BC / 2], const HeldWeights<S>& held, uint32_t memory, const SmallBarriers<S>& barriers,
    uint32_t count) {
  using Acc = typename T::Acc;
  const uint32_t group = threadIdx.x / 128, thread = threadIdx.x % 128;
  Place<S::Weights> weights;
  Place<S::Tokens> tokens;
#pragma unroll
  for (int h = 0; h < S::Held; h++) {
    if (h >= count) break;
    barrierWait(barriers.fullTokens + tokens.slot * 8, tokens.phase);
    const uint64_t descA = tileDescriptor(memory + S::tokens + tokens.slot * S::tokenBytes);
    if constexpr (Precise) {
      Acc part[S::BC / 2];
      multiplyStep<T, true, true>(part, held.step[h], 0, descA);
      wgmmaWait<0>();
      pin(part);
#pragma unroll
      for (int j = 0; j < S::BC / 2; j++) acc[j] += part[j];
    } else {
      multiplyStep<T, true, false>(acc, held.step[h], 0, descA);
      wgmmaWait<0>();
    }
    if (thread == 0) barrierArrive(barriers.emptyTokens + tokens.slot * 8);
    weights.next();
    tokens.next();
  }
  uint32_t usedWeights = 0, usedTokens = 0;
#pragma unroll 1
  for (uint32_t i = S::Held; i < count; i++, weights.next(), tokens.next()) {
    barrierWait(barriers.fullWeights + weights.slot * 8, weights.phase);
    barrierWait(barriers.fullTokens + tokens.slot * 8, tokens.phase);
    const uint64_t descB = tileDescriptor(memory + weights.slot * S::weightBytes + group * 8192);
    const uint64_t descA = tileDescriptor(memory + S::tokens + tokens.slot * S::tokenBytes);
    if constexpr (Precise) {
      Acc part[S::BC / 2];
      multiplyStep<T, false, true>(part, held.step[0], descB, descA);
      wgmmaWait<0>();
      pin(part);
      if (thread == 0) {
        barrierArrive(barriers.emptyWeights + weights.slot * 8);
        barrierArrive(barriers.emptyTokens + tokens.slot * 8);
      }
#pragma unroll
      for (int j = 0; j < S::BC / 2; j++) acc[j] += part[j];
    } else {
      multiplyStep<T, false, false>(acc, held.step[0], descB, descA);
      wgmmaWait<1>();
      if (i > S::Held && thread == 0) {
        barrierArrive(barriers.emptyWeights + usedWeights * 8);
        barrierArrive(barriers.emptyTokens + usedTokens * 8);
      }
      usedWeights = weights.slot;
      usedTokens = tokens.slot;
    }
  }
  wgmmaWait<0>();
  pin(acc);
}

/// The part of K of this block, into registers, and from there to its sums.
template <class T, bool Precise, class S>
DEVICE void multiplyPart(
    const HeldWeights<S>& held, uint8_t* base, uint32_t memory, const SmallBarriers<S>& barriers, uint32_t count) {
  using Acc = typename T::Acc;
  Acc acc[S::BC / 2];
#pragma unroll
  for (int i = 0; i < S::BC / 2; i++) acc[i] = 0;
  if constexpr (Precise && S::Groups == 1 && S::BC >= 64) {
    sumByTurns<T, S>(acc, held, memory, barriers, count);
  } else {
    sumPart<T, Precise, S>(acc, held, memory, barriers, count);
  }
  // All warpgroups are done with the stages: their memory takes the sums.
  namedBarrier(1, S::consumers);
  Acc* sums = reinterpret_cast<Acc*>(base);
  const uint32_t row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int j = 0; j < S::BC / 8; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      sums[(j * 8 + column + e % 2) * S::sumStride + row + e / 2 * 8] = acc[j * 4 + e];
    }
  }
}

DEVICE float plus(float a, float b, float) { return a + b; }
DEVICE float plus(float a, float b, int) { return __int_as_float(__float_as_int(a) + __float_as_int(b)); }
DEVICE float sumOf(float x, float) { return x; }
DEVICE int sumOf(float x, int) { return __float_as_int(x); }

/// Which results a thread stores: four neighbouring rows of B from `n` on, of every `step`-th token from `token` on.
/// The threads of a token are a warp or half of one.
template <class S>
struct SmallTask {
  static constexpr uint32_t kThreads = S::Rows / 4;
  uint32_t n, m0, token, tokens, step, column;
  DEVICE_MEMBER SmallTask(const GemmArgs& g, uint32_t rank, uint32_t cluster)
      : n(blockIdx.x / cluster * S::Rows + threadIdx.x % kThreads * 4),
        m0(blockIdx.y * S::BC),
        token(rank * 8 + threadIdx.x / kThreads),
        tokens(min(static_cast<uint32_t>(S::BC), g.m - m0)),
        step(cluster * 8),
        column(threadIdx.x % kThreads * 4) {}
};

/// What a thread scales its results by; the i-th thread of a token has the scale of their i-th token, and where there
/// are more of those than threads, of the one as many further on. Read before the main loop, used after it.
template <class S>
struct SmallScales {
  static constexpr uint32_t kScales = (S::BC / 8 + S::Rows / 4 - 1) / (S::Rows / 4);
  static_assert(kScales <= 2, "tokens for more threads");
  float b[4], bias[4], a[kScales];
  DEVICE_MEMBER SmallScales(const GemmArgs& g, const SmallTask<S>& task) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      b[e] = task.n + e < g.n ? scaleAt(g.scaleB, task.n + e, g.strideB) : 0.0f;
      bias[e] = task.n + e < g.n ? biasAt(g, task.n + e) : 0.0f;
    }
#pragma unroll
    for (uint32_t i = 0; i < kScales; i++) {
      const uint32_t m = task.m0 + task.token + (i * task.kThreads + threadIdx.x % task.kThreads) * task.step;
      a[i] = m < g.m ? scaleAt(g.scaleA, m, g.strideA) : 0.0f;
    }
    pin(b);
    pin(bias);
  }
};

/// Adds up the parts of up to `Parts` blocks of the cluster, in the order of K, and stores this block's share. All
/// parts of `Batch` tokens are on their way at once.
template <class T, int Parts, int Batch, class S>
DEVICE void reduceAndStore(
    const GemmArgs& g, const SmallScales<S>& scales, SmallTask<S> task, uint32_t memory, uint32_t cluster) {
  using Acc = typename T::Acc;
  const bool whole = g.vector && g.outType <= OUT_F16 && task.n + 4 <= g.n, half = g.outType == OUT_F16;
  // Both halves of a warp take the same number of turns.
  const uint32_t ahead = threadIdx.x % 32 / task.kThreads;
  for (uint32_t i = 0; task.token - ahead < task.tokens; i += Batch, task.token += Batch * task.step) {
    float4 part[Batch][Parts];
#pragma unroll
    for (int t = 0; t < Batch; t++) {
      const uint32_t token = task.token + t * task.step;
#pragma unroll
      for (int c = 0; c < Parts; c++) {
        if (c < cluster && token < task.tokens) {
          part[t][c] = loadShared4(memory + (token * S::sumStride + task.column) * 4, c);
        }
      }
    }
#pragma unroll
    for (int t = 0; t < Batch; t++) {
      const float scale = i + t < task.kThreads ? scales.a[0] : scales.a[scales.kScales - 1];
      const float scaleA = __shfl_sync(~0u, scale, (i + t) % task.kThreads, task.kThreads);
      const uint32_t token = task.token + t * task.step, m = task.m0 + token;
      if (token >= task.tokens || task.n >= g.n) continue;
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
        *reinterpret_cast<uint2*>(static_cast<uint16_t*>(g.out) + m * g.ldOut + task.n) =
            make_uint2(pack2(v[0], v[1], half), pack2(v[2], v[3], half));
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          if (task.n + e < g.n) storeOne(g, m, task.n + e, sumOf(sum[e], Acc{}), scaleA, scales.b[e], scales.bias[e]);
        }
      }
    }
  }
}

/// Waits until no block of the cluster reads this one's sums any more. Nothing is published, so the stores of
/// results, which came after the reading, are not waited for.
DEVICE void awaitReaders() {
  asm volatile("barrier.cluster.arrive.relaxed;\n\tbarrier.cluster.wait;" ::: "memory");
}

template <class T, bool Precise, class S>
DEVICE void gemmSmall(const TensorMap* mapA, const TensorMap* mapB, const GemmArgs& g) {
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base);
  const SmallBarriers<S> barriers(memory);
  const uint32_t rank = clusterRank(), cluster = clusterSize();
  if (threadIdx.x == S::consumers) {
    prefetchMap(mapB);
    barriers.init();
  } else if (threadIdx.x == S::consumers + 32) {
    prefetchMap(mapA);
  }
  __syncthreads();
  releaseFollowingKernels();
  const uint32_t k0 = g.blocks * rank / cluster, count = g.blocks * (rank + 1) / cluster - k0;
  if (threadIdx.x < S::consumers) {
    const HeldWeights<S> held(memory, barriers, count);
    // Nothing can be multiplied before that kernel has ended, whose results may be the tokens.
    awaitPrecedingKernels();
    const SmallTask<S> task(g, rank, cluster);
    const SmallScales<S> scales(g, task);
    multiplyPart<T, Precise, S>(held, base, memory, barriers, count);
    clusterSync();
    if (cluster <= 2) {
      reduceAndStore<T, 2, 4>(g, scales, task, memory, cluster);
    } else if (cluster <= 4) {
      reduceAndStore<T, 4, 2>(g, scales, task, memory, cluster);
    } else {
      reduceAndStore<T, 8, 1>(g, scales, task, memory, cluster);
    }
  } else {
    if (threadIdx.x == S::consumers) {
      // Weights do not depend on the kernel before this one: their copies start before it has ended.
      streamBoxes<S::Weights>(
          mapB, memory, S::weightBytes, S::weightBytes, barriers.fullWeights, barriers.emptyWeights, k0, count,
          blockIdx.x / cluster * S::Rows, kEvictFirst);
    } else if (threadIdx.x == S::consumers + 32) {
      awaitPrecedingKernels();
      streamBoxes<S::Tokens>(
          mapA, memory + S::tokens, S::tokenBytes, g.raster * kStepBytes, barriers.fullTokens, barriers.emptyTokens,
          k0, count, blockIdx.y * S::BC, kEvictLast);
    }
    __syncwarp();
    clusterSync();
  }
  awaitReaders();
}

#define GEMM_SMALL(NAME, TYPE, BC, PRECISE, ROWS, WEIGHTS, TOKENS, HELD, PER_SM)                           \
  extern "C" __global__ void __launch_bounds__(ROWS * 2 + 64, PER_SM) NAME(                              \
      const __grid_constant__ TensorMap mapA, const __grid_constant__ TensorMap mapB,                    \
      const __grid_constant__ GemmArgs args) {                                                           \
    gemmSmall<TYPE, PRECISE, SmallShape<BC, ROWS, WEIGHTS, TOKENS, HELD>>(&mapA, &mapB, args);           \
  }
