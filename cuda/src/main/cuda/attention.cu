// Rotary embedding, and attention in two ways: on tensor cores for many queries (FlashAttention, Dao et
// al. 2022), and in float32 for few, as in decoding, where reading the keys and values is all there is.

#include "attention.cuh"
#include "elements.cuh"
#include "index.cuh"

/// Halves of each head are the coordinates of points that are turned; what is behind them passes. A
/// thread does one pair or one passing element.
extern "C" __global__ void __launch_bounds__(256) rotary(
    const float* x, const float* cosines, const float* sines, float* out, uint64_t count, uint32_t heads,
    uint32_t size, uint32_t half) {
  const uint64_t i = threadIndex();
  const uint32_t perHead = size - half;
  if (i >= count) return;
  const uint64_t head = quotient(i, perHead);
  const uint32_t place = static_cast<uint32_t>(i - head * perHead);
  const uint64_t at = head * size + place;
  if (place >= half) {
    out[at + half] = x[at + half];
    return;
  }
  const uint64_t table = quotient(head, heads) * half + place;
  const float c = cosines[table], s = sines[table], a = x[at], b = x[at + half];
  out[at] = __fsub_rn(__fmul_rn(a, c), __fmul_rn(b, s));
  out[at + half] = __fadd_rn(__fmul_rn(b, c), __fmul_rn(a, s));
}

// --- few queries

constexpr int kWarps = 4;
constexpr int kLaneElements = 8;  // of a head, that a lane keeps: heads of up to 256

/// A block a query and head; its warps take turns at the keys and join their results at the end.
extern "C" __global__ void __launch_bounds__(kWarps * 32) attention_few(const __grid_constant__ AttentionArgs g) {
  __shared__ float parts[kWarps][kLaneElements * 32 + 2];
  const Tile tile = g.tiles[blockIdx.y];
  const uint32_t head = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int size = static_cast<int>(g.size);
  const float* q = g.q + tile.query * g.qToken + head * g.qHead;
  const float* k = static_cast<const float*>(g.k) + tile.key * g.kToken + head / g.shared * g.kHead;
  const float* v = static_cast<const float*>(g.v) + tile.key * g.vToken + head / g.shared * g.vHead;
  const Seen range = seen(g, tile, tile.place);
  float query[kLaneElements], sums[kLaneElements] = {};
#pragma unroll
  for (int e = 0; e < kLaneElements; e++) query[e] = e * 32 + lane < size ? q[e * 32 + lane] : 0.0f;
  float largest = -INFINITY, total = 0.0f;
  for (int key = range.from + static_cast<int>(warp); key < range.to; key += kWarps) {
    float score = 0.0f;
#pragma unroll
    for (int e = 0; e < kLaneElements; e++) {
      if (e * 32 + lane < size) score = __fmaf_rn(query[e], k[key * g.kToken + e * 32 + lane], score);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) score += __shfl_xor_sync(~0u, score, offset);
    score *= static_cast<float>(g.scale);
    const float now = fmaxf(largest, score);
    const float kept = expf(largest - now), weight = expf(score - now);
    total = total * kept + weight;
#pragma unroll
    for (int e = 0; e < kLaneElements; e++) {
      if (e * 32 + lane < size) sums[e] = sums[e] * kept + weight * v[key * g.vToken + e * 32 + lane];
    }
    largest = now;
  }
#pragma unroll
  for (int e = 0; e < kLaneElements; e++) parts[warp][e * 32 + lane] = sums[e];
  if (lane == 0) parts[warp][kLaneElements * 32] = largest, parts[warp][kLaneElements * 32 + 1] = total;
  __syncthreads();
  float all = -INFINITY;
  for (int w = 0; w < kWarps; w++) all = fmaxf(all, parts[w][kLaneElements * 32]);
  float divisor = 0.0f;
  float factors[kWarps];
#pragma unroll
  for (int w = 0; w < kWarps; w++) {
    factors[w] = all == -INFINITY ? 0.0f : expf(parts[w][kLaneElements * 32] - all);
    divisor += parts[w][kLaneElements * 32 + 1] * factors[w];
  }
  for (int d = threadIdx.x; d < size; d += kWarps * 32) {
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < kWarps; w++) sum += parts[w][d] * factors[w];
    g.out[(tile.query * g.heads + head) * size + d] = divisor > 0.0f ? sum / divisor : divisor;
  }
}

// --- many queries

/// Keys or values as bfloat16, head by head, heads filled up with zeros: [S, G, D] -> [G, S, padded].
extern "C" __global__ void __launch_bounds__(256) pack_heads(
    const float* x, uint64_t token, uint64_t headStep, uint64_t tokens, uint32_t size, uint32_t padded,
    uint16_t* out) {
  const uint64_t i = threadIndex();
  if (i >= tokens * padded) return;
  const uint64_t t = quotient(i, padded);
  const uint32_t d = static_cast<uint32_t>(i - t * padded);
  const float value = d < size ? x[t * token + blockIdx.y * headStep + d] : 0.0f;
  out[blockIdx.y * tokens * padded + i] = floatToBf16(value);
}

constexpr int kQueries = 64, kKeys = 64, kThreads = 128;

/// Where a 16-byte chunk of a row lies: chunks are exchanged within groups of eight, so that the eight
/// rows of an ldmatrix touch all banks once.
template <int D>
DEVICE uint32_t chunkOffset(uint32_t row, uint32_t chunk) {
  return row * (D * 2) + ((chunk ^ (row & 7)) * 16);
}

DEVICE void loadMatrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

DEVICE void loadTransposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

DEVICE void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Starts to fetch a tile of keys or values; rows past the sequence become zeros.
template <int D>
DEVICE void fetch(uint32_t target, const uint16_t* source, int first, int keys) {
  constexpr int kChunks = D / 8;
#pragma unroll
  for (int i = 0; i < kKeys * kChunks / kThreads; i++) {
    const uint32_t index = i * kThreads + threadIdx.x, row = index / kChunks, chunk = index % kChunks;
    const bool inside = first + static_cast<int>(row) < keys;
    const uint16_t* from = inside ? source + static_cast<uint64_t>(first + row) * D + chunk * 8 : source;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target + chunkOffset<D>(row, chunk)),
                 "l"(from), "r"(inside ? 16 : 0)
                 : "memory");
  }
}

/// A block does 64 queries of a head, 16 a warp, so that two blocks share a multiprocessor and one can
/// multiply while the other takes exponentials. It walks over its keys in
/// tiles of 64 that are fetched one ahead. Scores and sums stay in registers; a row of them belongs to four lanes.
template <int D>
DEVICE void attentionMany(const AttentionArgs& g) {
  extern __shared__ __align__(1024) uint8_t base[];
  constexpr uint32_t kTileBytes = kKeys * D * 2;
  const uint32_t queries = sharedAddress(base), ring = queries + kQueries * D * 2;
  const Tile tile = g.tiles[blockIdx.y];
  const uint32_t head = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint64_t group = (head / g.shared * g.keysInAll + tile.key) * D;
  const uint16_t* k = static_cast<const uint16_t*>(g.k) + group;
  const uint16_t* v = static_cast<const uint16_t*>(g.v) + group;
  const int count = static_cast<int>(tile.count), keys = static_cast<int>(tile.keys);
  const int from = seen(g, tile, tile.place).from / kKeys * kKeys;
  const int to = min(seen(g, tile, tile.place + count - 1).to, keys);
  const auto fetchTile = [&](int key, uint32_t stage) {
    if (key < to) {
      fetch<D>(ring + stage * 2 * kTileBytes, k, key, keys);
      fetch<D>(ring + stage * 2 * kTileBytes + kTileBytes, v, key, keys);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  fetchTile(from, 0);
  for (uint32_t i = threadIdx.x; i < kQueries * D / 2; i += kThreads) {
    const uint32_t row = i / (D / 2), d = i % (D / 2) * 2;
    const float* q = g.q + (tile.query + row) * g.qToken + head * g.qHead + d;
    const float a = row < count && d < g.size ? q[0] : 0.0f, b = row < count && d + 1 < g.size ? q[1] : 0.0f;
    const float sign = g.scale < 0.0 ? -1.0f : 1.0f;
    *reinterpret_cast<uint32_t*>(base + chunkOffset<D>(row, d / 8) + d % 8 * 2) = packPair(a * sign, b * sign);
  }
  // Weights are powers of two, which are cheaper. The largest score is found before scaling, so the
  // scale must not turn their order around.
  const float scale = fmaxf(static_cast<float>(fabs(g.scale) * 1.4426950408889634), 1e-30f);
  float sums[D / 8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {};
  constexpr bool kKeepQueries = D <= 128;  // in registers
  uint32_t kept[kKeepQueries ? D / 16 : 1][4];
  if constexpr (kKeepQueries) {
    __syncthreads();
#pragma unroll
    for (int c = 0; c < D / 16; c++) {
      loadMatrices(kept[c], queries + chunkOffset<D>(warp * 16 + lane % 16, c * 2 + lane / 16));
    }
  }
  uint32_t stage = 0;
  for (int first = from; first < to; first += kKeys, stage ^= 1) {
    fetchTile(first + kKeys, stage ^ 1);
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    const uint32_t keyTile = ring + stage * 2 * kTileBytes, valueTile = keyTile + kTileBytes;
    float scores[kKeys / 8][4] = {};
#pragma unroll
    for (int c = 0; c < D / 16; c++) {
      if constexpr (!kKeepQueries) {
        loadMatrices(kept[0], queries + chunkOffset<D>(warp * 16 + lane % 16, c * 2 + lane / 16));
      }
      const uint32_t(&a)[4] = kept[kKeepQueries ? c : 0];
#pragma unroll
      for (int j = 0; j < kKeys / 16; j++) {
        uint32_t b[4];
        loadMatrices(b, keyTile + chunkOffset<D>(j * 16 + lane / 16 * 8 + lane % 8, c * 2 + lane / 8 % 2));
        multiply(scores[2 * j], a, b[0], b[1]);
        multiply(scores[2 * j + 1], a, b[2], b[3]);
      }
    }
    // Only tiles at an edge of what a warp's queries see have scores to leave out.
    const int place = tile.place + static_cast<int>(warp * 16);
    if (first < seen(g, tile, place + 15).from || first + kKeys > seen(g, tile, place).to) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const Seen range = seen(g, tile, place + static_cast<int>(lane / 4) + h * 8);
#pragma unroll
        for (int j = 0; j < kKeys / 8; j++) {
#pragma unroll
          for (int e = 0; e < 2; e++) {
            const int key = first + j * 8 + static_cast<int>(lane % 4) * 2 + e;
            if (key < range.from || key >= range.to) scores[j][h * 2 + e] = -INFINITY;
          }
        }
      }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float now = largest[h];
#pragma unroll
      for (int j = 0; j < kKeys / 8; j++) now = fmaxf(now, fmaxf(scores[j][h * 2], scores[j][h * 2 + 1]));
      now = fmaxf(now, __shfl_xor_sync(~0u, now, 1));
      now = fmaxf(now, __shfl_xor_sync(~0u, now, 2));
      const float shift = now == -INFINITY ? 0.0f : now * scale;
      const float rest = power2(__fmaf_rn(largest[h], scale, -shift));
      largest[h] = now;
      total[h] *= rest;
#pragma unroll
      for (int j = 0; j < kKeys / 8; j++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          float& score = scores[j][h * 2 + e];
          score = power2(__fmaf_rn(score, scale, -shift));
          total[h] += score;
        }
      }
#pragma unroll
      for (int d = 0; d < D / 8; d++) sums[d][h * 2] *= rest, sums[d][h * 2 + 1] *= rest;
    }
#pragma unroll
    for (int j = 0; j < kKeys / 16; j++) {
      const uint32_t a[4] = {packPair(scores[2 * j][0], scores[2 * j][1]), packPair(scores[2 * j][2], scores[2 * j][3]),
                             packPair(scores[2 * j + 1][0], scores[2 * j + 1][1]),
                             packPair(scores[2 * j + 1][2], scores[2 * j + 1][3])};
#pragma unroll
      for (int d = 0; d < D / 16; d++) {
        uint32_t b[4];
        loadTransposed(b, valueTile + chunkOffset<D>(j * 16 + lane % 16, d * 2 + lane / 16));
        multiply(sums[2 * d], a, b[0], b[1]);
        multiply(sums[2 * d + 1], a, b[2], b[3]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    total[h] += __shfl_xor_sync(~0u, total[h], 1);
    total[h] += __shfl_xor_sync(~0u, total[h], 2);
    const int row = static_cast<int>(warp * 16 + lane / 4) + h * 8;
    if (row >= count) continue;
    const float factor = total[h] > 0.0f ? 1.0f / total[h] : total[h];
    float* out = g.out + ((tile.query + row) * g.heads + head) * g.size;
#pragma unroll
    for (int d = 0; d < D / 8; d++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const uint32_t at = d * 8 + lane % 4 * 2 + e;
        if (at < g.size) out[at] = sums[d][h * 2 + e] * factor;
      }
    }
  }
}

#define ATTENTION_MANY(D)                                                      \
  extern "C" __global__ void __launch_bounds__(kThreads, D > 128 ? 1 : 2)      \
      attention_many_##D(const __grid_constant__ AttentionArgs args) {         \
    attentionMany<D>(args);                                                    \
  }

ATTENTION_MANY(64)
ATTENTION_MANY(128)
ATTENTION_MANY(256)
