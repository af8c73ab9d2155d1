// Attention for many queries on Hopper, after FlashAttention-3 (Shah et al. 2024): a warpgroup copies keys
// and values, two others do 64 queries of a head each, by wgmma. A warpgroup starts the products of the
// next keys before it takes the exponentials of the last ones, and the two take turns in starting, so the
// tensor cores work while either of them takes exponentials.

#include "attention.cuh"
#include "wgmma.cuh"

constexpr uint32_t kKeys = 128;         // of a tile, and as many queries
constexpr uint32_t kPlane = 128 * 128;  // bytes of 64 columns of a tile
constexpr uint32_t kStages = 2;
constexpr uint32_t kConsumers = 2;

/// Queries, then stages of keys and values, each in planes of 64 columns.
template <int D>
struct Layout {
  static constexpr uint32_t planes = (D + 63) / 64;
  static constexpr uint32_t tile = planes * kPlane;
  static constexpr uint32_t barriers = (1 + 2 * kStages) * tile;
  static constexpr uint32_t total = barriers + 4 * kStages * 8;
};

/// The barriers: keys are there, keys are done with, the same for values.
enum Signal : uint32_t { KEYS_FULL, KEYS_EMPTY, VALUES_FULL, VALUES_EMPTY };

struct Ring {
  uint32_t barriers, slot, phase;
  DEVICE_MEMBER explicit Ring(uint32_t barriers) : barriers(barriers), slot(0), phase(0) {}
  DEVICE_MEMBER uint32_t barrier(Signal signal) const { return barriers + (signal * kStages + slot) * 8; }
  DEVICE_MEMBER void advance() {
    if (++slot == kStages) {
      slot = 0;
      phase ^= 1;
    }
  }
};

/// A tile of queries, a head, and the keys that any of the queries sees, from a multiple of a tile on.
struct Work {
  Tile tile;
  uint32_t head;
  int from, to;
  DEVICE_MEMBER Work(const AttentionArgs& g, uint32_t index) : tile(g.tiles[index / static_cast<uint32_t>(g.heads)]) {
    head = index % static_cast<uint32_t>(g.heads);
    from = seen(g, tile, tile.place).from / static_cast<int>(kKeys) * static_cast<int>(kKeys);
    to = seen(g, tile, tile.place + static_cast<int>(tile.count) - 1).to;
  }
};

/// What a block works on in its turn: forwards, then backwards through the tiles, which are sorted by
/// their length, so that all blocks have about as much to do.
DEVICE uint32_t workIndex(uint32_t turn) {
  return turn * gridDim.x + (turn & 1 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
}

template <int D>
DEVICE void produce(
    const TensorMap* keys, const TensorMap* values, const AttentionArgs& g, uint32_t memory, uint32_t works) {
  using L = Layout<D>;
  Ring ring(memory + L::barriers);
  awaitPrecedingKernels();
  for (uint32_t turn = 0; turn * gridDim.x < works; turn++) {
    const uint32_t index = workIndex(turn);
    if (index >= works) continue;
    const Work work(g, index);
    const uint32_t row = work.head / static_cast<uint32_t>(g.shared) * static_cast<uint32_t>(g.keysInAll) + work.tile.key;
    for (int key = work.from; key < work.to; key += kKeys) {
#pragma unroll
      for (uint32_t v = 0; v < 2; v++) {
        const uint32_t full = ring.barrier(v ? VALUES_FULL : KEYS_FULL);
        const uint32_t target = memory + (1 + 2 * ring.slot + v) * L::tile;
        barrierWait(ring.barrier(v ? VALUES_EMPTY : KEYS_EMPTY), ring.phase ^ 1);
        barrierExpect(full, L::tile);
#pragma unroll
        for (uint32_t p = 0; p < L::planes; p++) {
          copyBox(target + p * kPlane, v ? values : keys, full, p * 128, row + key, kEvictNormal);
        }
      }
      ring.advance();
    }
  }
}

/// A warpgroup's 64 queries as bfloat16, rows past the sequence as zeros. Larger scores must mean larger
/// weights, so a negative scale turns the queries around.
template <int D>
DEVICE void loadQueries(const AttentionArgs& g, const Work& work, uint8_t* queries, uint32_t group, uint32_t thread) {
  constexpr uint32_t chunks = D / 8;
  const float sign = g.scale < 0.0 ? -1.0f : 1.0f;
  const uint32_t size = static_cast<uint32_t>(g.size);
  const bool whole = size % 8 == 0 && ((g.qToken | g.qHead) & 3) == 0 && (reinterpret_cast<uint64_t>(g.q) & 15) == 0;
#pragma unroll
  for (uint32_t i = 0; i < 64 * chunks / 128; i++) {
    const uint32_t at = i * 128 + thread, row = group * 64 + at / chunks, d = at % chunks * 8;
    const float* source = g.q + (work.tile.query + row) * g.qToken + work.head * g.qHead + d;
    float x[8] = {};
    if (row < work.tile.count && whole && d < size) {
      const float4 a = reinterpret_cast<const float4*>(source)[0], b = reinterpret_cast<const float4*>(source)[1];
      x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    } else if (row < work.tile.count) {
#pragma unroll
      for (uint32_t e = 0; e < 8; e++) x[e] = d + e < size ? source[e] : 0.0f;
    }
    *reinterpret_cast<uint4*>(queries + d / 64 * kPlane + row * 128 + ((d / 8 % 8) ^ (row & 7)) * 16) = make_uint4(
        packPair(x[0] * sign, x[1] * sign), packPair(x[2] * sign, x[3] * sign), packPair(x[4] * sign, x[5] * sign),
        packPair(x[6] * sign, x[7] * sign));
  }
}

/// Makes what this warpgroup wrote to shared memory visible to the tensor cores.
DEVICE void publish(uint32_t group) {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  namedBarrier(1 + group, 128);
}

/// Starts the products of 64 queries with the keys of a tile.
template <int D>
DEVICE void multiplyKeys(float (&scores)[kKeys / 2], uint32_t queries, uint32_t keys) {
  wgmmaFence();
#pragma unroll
  for (uint32_t c = 0; c < D / 16; c++) {
    const uint32_t at = c / 4 * kPlane + c % 4 * 32;
    if (c == 0) {
      wgmma<false>(Bf16{}, scores, tileDescriptor(queries), tileDescriptor(keys));
    } else {
      wgmma<true>(Bf16{}, scores, tileDescriptor(queries + at), tileDescriptor(keys + at));
    }
  }
  wgmmaCommit();
}

// sums += weights * values, for N columns from the one that d begins with: weights in registers, values
// with the keys running down the columns. R = N / 2; A, B and C name the operands behind the sums.
#define WEIGHTED(N, R, A0, A1, A2, A3, B, P)                                                                      \
  DEVICE void weighted(float (&d)[R], const uint32_t (&a)[4], uint64_t b) {                                       \
    asm volatile(                                                                                                 \
        "{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %" #P ", 0;\n\t"                                                \
        "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" LIST_##R "}, {%" #A0 ", %" #A1 ", %" #A2     \
        ", %" #A3 "}, %" #B ", add, 1, 1, 1;\n\t}"                                                                \
        : BIND_##R(FLOAT_REGISTER)                                                                                \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(1));                                            \
  }
WEIGHTED(16, 8, 8, 9, 10, 11, 12, 13)
WEIGHTED(64, 32, 32, 33, 34, 35, 36, 37)
WEIGHTED(128, 64, 64, 65, 66, 67, 68, 69)

/// Starts the products of the weights of a tile's keys with its values.
template <int D>
DEVICE void multiplyValues(float (&sums)[D / 2], const uint32_t (&weights)[kKeys / 16][4], uint32_t values) {
  wgmmaFence();
#pragma unroll
  for (uint32_t c = 0; c < kKeys / 16; c++) {
    const uint32_t at = values + c * 2048;
    if constexpr (D == 80) {
      weighted(reinterpret_cast<float(&)[32]>(sums[0]), weights[c], turnedDescriptor<kPlane>(at));
      weighted(reinterpret_cast<float(&)[8]>(sums[32]), weights[c], turnedDescriptor<kPlane>(at + kPlane));
    } else {
      weighted(sums, weights[c], turnedDescriptor<kPlane>(at));
    }
  }
  wgmmaCommit();
}

/// Turns scores into weights not yet divided by their sum. A row belongs to four lanes; `rest` is what
/// earlier sums are to be multiplied by.
struct Softmax {
  float scale, largest[2], total[2], rest[2];

  DEVICE_MEMBER explicit Softmax(float scale) : scale(scale), largest{-INFINITY, -INFINITY}, total{}, rest{} {}

  DEVICE_MEMBER void apply(float (&scores)[kKeys / 2]) {
    // Four chains a row, since a warp has nobody else on its part of the multiprocessor to wait with.
    constexpr int chains = 4;
    float shift[2], part[2][chains];
#pragma unroll
    for (int j = 0; j < kKeys / 8; j++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float pair = fmaxf(scores[j * 4 + h * 2], scores[j * 4 + h * 2 + 1]);
        part[h][j % chains] = j < chains ? pair : fmaxf(part[h][j % chains], pair);
      }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float now = fmaxf(fmaxf(part[h][0], part[h][1]), fmaxf(part[h][2], part[h][3]));
      now = fmaxf(now, __shfl_xor_sync(~0u, now, 1));
      now = fmaxf(largest[h], fmaxf(now, __shfl_xor_sync(~0u, now, 2)));
      shift[h] = now == -INFINITY ? 0.0f : now * scale;
      rest[h] = power2(__fmaf_rn(largest[h], scale, -shift[h]));
      largest[h] = now;
    }
#pragma unroll
    for (int j = 0; j < kKeys / 8; j++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          float& score = scores[j * 4 + h * 2 + e];
          score = power2(__fmaf_rn(score, scale, -shift[h]));
          float& sum = part[h][j % 2 * 2 + e];
          sum = j < 2 ? score : sum + score;
        }
      }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      total[h] = __fmaf_rn(total[h], rest[h], (part[h][0] + part[h][1]) + (part[h][2] + part[h][3]));
    }
  }
};

/// The layout of a product's result is that of the next one's left side, two groups of eight columns a step.
DEVICE void packWeights(uint32_t (&weights)[kKeys / 16][4], const float (&scores)[kKeys / 2]) {
#pragma unroll
  for (int c = 0; c < kKeys / 16; c++) {
#pragma unroll
    for (int i = 0; i < 4; i++) weights[c][i] = packPair(scores[c * 8 + i * 2], scores[c * 8 + i * 2 + 1]);
  }
}

/// Leaves out the scores of keys that a query does not see; only tiles at an edge have any.
DEVICE void leaveOut(float (&scores)[kKeys / 2], const AttentionArgs& g, const Work& work, int first, int place, uint32_t lane) {
  if (first >= seen(g, work.tile, place + 15).from && first + static_cast<int>(kKeys) <= seen(g, work.tile, place).to) return;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const Seen range = seen(g, work.tile, place + static_cast<int>(lane / 4) + h * 8);
    const int column = first + static_cast<int>(lane % 4) * 2;
#pragma unroll
    for (int j = 0; j < kKeys / 8; j++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int key = column + j * 8 + e;
        if (key < range.from || key >= range.to) scores[j * 4 + h * 2 + e] = -INFINITY;
      }
    }
  }
}

template <int D>
DEVICE void store(const AttentionArgs& g, const Work& work, Softmax& softmax, const float (&sums)[D / 2], uint32_t first, uint32_t lane) {
  const uint32_t size = static_cast<uint32_t>(g.size);
  const bool pairs = size % 2 == 0 && (reinterpret_cast<uint64_t>(g.out) & 7) == 0;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float total = softmax.total[h];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    const uint32_t row = first + lane / 4 + h * 8;
    if (row >= work.tile.count) continue;
    const float factor = total > 0.0f ? 1.0f / total : total;
    float* out = g.out + ((work.tile.query + row) * g.heads + work.head) * size;
#pragma unroll
    for (int j = 0; j < D / 8; j++) {
      const uint32_t d = j * 8 + lane % 4 * 2;
      const float x = sums[j * 4 + h * 2] * factor, y = sums[j * 4 + h * 2 + 1] * factor;
      if (pairs) {
        if (d < size) *reinterpret_cast<float2*>(out + d) = make_float2(x, y);
      } else {
        if (d < size) out[d] = x;
        if (d + 1 < size) out[d + 1] = y;
      }
    }
  }
}

template <int D>
DEVICE void consume(const AttentionArgs& g, uint8_t* base, uint32_t memory, uint32_t works) {
  using L = Layout<D>;
  const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128 - 1, 0), thread = threadIdx.x % 128, lane = thread % 32;
  const uint32_t warp = __shfl_sync(~0u, thread / 32, 0), row = group * 64 + warp * 16;
  // Weights are powers of two, which are cheaper.
  const float scale = fmaxf(static_cast<float>(fabs(g.scale) * 1.4426950408889634), 1e-30f);
  const uint32_t queries = memory + group * 64 * 128;
  Ring keyRing(memory + L::barriers), valueRing(memory + L::barriers);
  // The turns: a warpgroup waits for its own barrier, on which the other one arrives.
  if (group == 1) asm volatile("bar.arrive 3, 256;" ::: "memory");
#pragma unroll 1
  for (uint32_t turn = 0; turn * gridDim.x < works; turn++) {
    const uint32_t index = workIndex(turn);
    if (index >= works) continue;
    const Work work(g, index);
    const int place = work.tile.place + static_cast<int>(row);
    namedBarrier(1 + group, 128);
    loadQueries<D>(g, work, base, group, thread);
    publish(group);
    float scores[kKeys / 2], sums[D / 2];
    uint32_t weights[kKeys / 16][4];
    Softmax softmax(scale);
#pragma unroll
    for (int i = 0; i < D / 2; i++) sums[i] = 0.0f;
    const auto keysDone = [&] {
      if (thread == 0) barrierArrive(keyRing.barrier(KEYS_EMPTY));
      keyRing.advance();
    };
    const auto valuesDone = [&] {
      if (thread == 0) barrierArrive(valueRing.barrier(VALUES_EMPTY));
      valueRing.advance();
    };
    if (work.from < work.to) {
      barrierWait(keyRing.barrier(KEYS_FULL), keyRing.phase);
      multiplyKeys<D>(scores, queries, memory + (1 + 2 * keyRing.slot) * L::tile);
      wgmmaWait<0>();
      pin(scores);
      keysDone();
      leaveOut(scores, g, work, work.from, place, lane);
      softmax.apply(scores);
      packWeights(weights, scores);
      int first = work.from;
#pragma unroll 1
      for (first += kKeys; first < work.to; first += kKeys) {
        barrierWait(keyRing.barrier(KEYS_FULL), keyRing.phase);
        asm volatile("bar.sync %0, 256;" ::"r"(3 + group) : "memory");
        multiplyKeys<D>(scores, queries, memory + (1 + 2 * keyRing.slot) * L::tile);
        barrierWait(valueRing.barrier(VALUES_FULL), valueRing.phase);
        multiplyValues<D>(sums, weights, memory + (2 + 2 * valueRing.slot) * L::tile);
        wgmmaWait<1>();
        pin(scores);
        asm volatile("bar.arrive %0, 256;" ::"r"(4 - group) : "memory");
        keysDone();
        leaveOut(scores, g, work, first, place, lane);
        softmax.apply(scores);
        wgmmaWait<0>();
        pin(sums);
        valuesDone();
#pragma unroll
        for (int i = 0; i < D / 2; i++) sums[i] *= softmax.rest[i / 2 % 2];
        packWeights(weights, scores);
      }
      const uint32_t values = (2 + 2 * valueRing.slot) * L::tile;
      barrierWait(valueRing.barrier(VALUES_FULL), valueRing.phase);
      // Rows past the sequence belong to others, and 0 times their infinities would be NaN.
      const uint32_t rows = work.tile.keys - (first - kKeys);
      if (rows < kKeys) {
        for (uint32_t i = rows * 8 + thread; i < kKeys * 8; i += 128) {
#pragma unroll
          for (uint32_t p = 0; p < L::planes; p++) {
            *reinterpret_cast<uint4*>(base + values + p * kPlane + i * 16) = make_uint4(0, 0, 0, 0);
          }
        }
        publish(group);
      }
      multiplyValues<D>(sums, weights, memory + values);
      wgmmaWait<0>();
      pin(sums);
      valuesDone();
    }
    store<D>(g, work, softmax, sums, row, lane);
  }
}

template <int D>
DEVICE void attentionMany(const TensorMap* keys, const TensorMap* values, const AttentionArgs& g, uint32_t works) {
  using L = Layout<D>;
  static_assert(L::total <= 232448, "more shared memory than a block can have");
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base);
  if (threadIdx.x == 0) {
    prefetchMap(keys);
    prefetchMap(values);
    for (uint32_t i = 0; i < kStages; i++) {
      Ring ring(memory + L::barriers);
      ring.slot = i;
      barrierInit(ring.barrier(KEYS_FULL), 1);
      barrierInit(ring.barrier(VALUES_FULL), 1);
      barrierInit(ring.barrier(KEYS_EMPTY), kConsumers);
      barrierInit(ring.barrier(VALUES_EMPTY), kConsumers);
    }
    barrierInitFence();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    giveRegistersBack<24>();
    if (threadIdx.x == 0) produce<D>(keys, values, g, memory, works);
  } else {
    takeRegisters<240>();
    consume<D>(g, base, memory, works);
  }
}

#define ATTENTION_MANY(D)                                                                                  \
  extern "C" __global__ void __launch_bounds__(384, 1) attention_hopper_##D(                               \
      const __grid_constant__ TensorMap keys, const __grid_constant__ TensorMap values,                    \
      const __grid_constant__ AttentionArgs args, uint32_t works) {                                        \
    attentionMany<D>(&keys, &values, args, works);                                                         \
  }

ATTENTION_MANY(64)
ATTENTION_MANY(80)
ATTENTION_MANY(128)

/// Keys and values as bfloat16, head by head, heads filled up with zeros: [S, G, D] -> [G, S, padded]. A
/// thread does eight elements; blocks run along S, and over the heads of keys and then of values. Queries
/// were there before this kernel began, so attention may start and load them while it runs.
struct HeadsArgs {
  const float* x[2];  // keys, values
  uint64_t token[2], head[2];
  uint16_t* out[2];
  uint64_t tokens, size, padded;
};

extern "C" __global__ void __launch_bounds__(256) pack_heads_hopper(const __grid_constant__ HeadsArgs g) {
  releaseFollowingKernels();
  const uint32_t heads = gridDim.y / 2, v = blockIdx.y / heads, head = blockIdx.y % heads;
  const uint32_t chunks = static_cast<uint32_t>(g.padded / 8), size = static_cast<uint32_t>(g.size);
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  const uint32_t t = i / chunks, d = i % chunks * 8;
  if (t >= g.tokens) return;
  const float* source = g.x[v] + t * g.token[v] + head * g.head[v] + d;
  float x[8];
  if (size % 8 == 0 && d < size && ((g.token[v] | g.head[v]) & 3) == 0 && (reinterpret_cast<uint64_t>(g.x[v]) & 15) == 0) {
    const float4 a = reinterpret_cast<const float4*>(source)[0], b = reinterpret_cast<const float4*>(source)[1];
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
  } else {
#pragma unroll
    for (uint32_t e = 0; e < 8; e++) x[e] = d + e < size ? source[e] : 0.0f;
  }
  *reinterpret_cast<uint4*>(g.out[v] + (head * g.tokens + t) * g.padded + d) =
      make_uint4(packPair(x[0], x[1]), packPair(x[2], x[3]), packPair(x[4], x[5]), packPair(x[6], x[7]));
}
