// x wᵀ with a packed weight: codes go from memory to the tensor cores' registers and are never written
// out. A code minus its zero point is a whole number below 256, exact in bfloat16; x is cut into two
// bfloat16 halves, x = h + l (pack.cu), which are columns of their own:
//
//   mma.sync   16 outputs x 16 inputs   times   16 inputs x 8 columns (h and l of 4 tokens)
//
// so a product is as exact as one with 16 bits of x, and the scale of a group multiplies its f32 sum.
//
// Inputs go in chunks of 128. Which input is which term of a product does not matter as long as both
// sides agree: a lane takes the 32 codes of its row that begin at 32 * (lane % 4), in units of 8, and x
// was put in that order. Groups smaller than a chunk need units in the order of the inputs (`Narrow`).
//
//   block of threads: 8 warps x 16 outputs, 4 * T tokens, a share of the chunks
#pragma once

#include "elements.cuh"

constexpr uint32_t kChunk = 128, kUnits = kChunk / 8;
constexpr uint32_t kWarps = 8, kOutputs = kWarps * 16;
constexpr uint32_t kTileBytes = 8 * kChunk * 2;  // a chunk of 4 tokens: 8 columns

/// Arguments, each in eight bytes (CudaPackedLinear.java).
struct PackedArgs {
  const uint32_t* words;  // [outputs, wordsPerRow]
  const void* scales;     // [outputs, groups] of type `scaleType`
  const uint8_t* zeros;   // [outputs, groups], or null for half of the range
  const uint8_t* x;       // [token tiles][chunks] of kTileBytes
  const void* bias;       // null for none
  float* out;             // [tokens, outputs], or [splits][tokens, outputs] without bias
  alignas(8) uint32_t tokens;
  alignas(8) uint32_t outputs;
  alignas(8) uint32_t inputs;
  alignas(8) uint32_t wordsPerRow;
  alignas(8) uint32_t groups;
  alignas(8) uint32_t groupSize;
  alignas(8) uint32_t splits;
  alignas(8) uint32_t scaleType;
  alignas(8) uint32_t biasType;
  alignas(8) uint32_t vector;  // whether rows allow wide loads
};

/// What of a zero point is taken off the codes; what is above it, which hardly occurs, off the sums.
template <int Bits>
constexpr uint32_t kZero = Bits == 8 ? 255 : 128;

/// Eight codes in the lowest bits as four pairs of bfloat16, (0, 4), (1, 5), (2, 6), (3, 7), each minus
/// the zero point, which is at most kZero. 0x4300 is 128, whose last bit counts 1; 128 + zero is exact up
/// to 256.
template <int Bits>
DEVICE void decode(uint32_t (&pairs)[4], uint2 unit, uint32_t zero) {
  if constexpr (Bits == 8) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      // A byte under the exponent of 2^23 counts 1.
      const float offset = __uint_as_float(0x4B000000u | zero);
      const float low = __uint_as_float(__byte_perm(unit.x, 0x4B000000u, 0x7540 + i)) - offset;
      const float high = __uint_as_float(__byte_perm(unit.y, 0x4B000000u, 0x7540 + i)) - offset;
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pairs[i]) : "f"(high), "f"(low));
    }
  } else {
    constexpr uint32_t mask = (1u << Bits) - 1;
    constexpr uint32_t half = (1u << (4 * Bits)) - 1;  // codes 0 to 3
    const uint32_t spread = (unit.x & half) | (unit.x & half << 4 * Bits) << (16 - 4 * Bits);
    const __nv_bfloat162 offset = __float2bfloat162_rn(-128.0f - zero);
    const uint32_t one = 0x3F803F80u, minus = *reinterpret_cast<const uint32_t*>(&offset);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const uint32_t codes = (spread >> (i * Bits) & (mask | mask << 16)) | 0x43004300u;
      asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(pairs[i]) : "r"(codes), "r"(one), "r"(minus));
    }
  }
}

/// The codes of a lane in one chunk: 4 units of 8.
template <int Bits>
struct Words {
  uint32_t w[Bits];

  /// 32 codes in a row, zeros beyond the end; several words at once, of which all or none are there.
  DEVICE_MEMBER void loadWide(const uint32_t* row, uint32_t at, uint32_t end) {
    constexpr int width = Bits % 4 == 0 ? 4 : Bits % 2 == 0 ? 2 : 1;
#pragma unroll
    for (int i = 0; i < Bits; i += width) {
      const bool inside = at + i < end;
      if constexpr (width == 4) {
        const uint4 v = inside ? __ldcs(reinterpret_cast<const uint4*>(row + at + i)) : make_uint4(0, 0, 0, 0);
        w[i] = v.x, w[i + 1] = v.y, w[i + 2] = v.z, w[i + 3] = v.w;
      } else if constexpr (width == 2) {
        const uint2 v = inside ? __ldcs(reinterpret_cast<const uint2*>(row + at + i)) : make_uint2(0, 0);
        w[i] = v.x, w[i + 1] = v.y;
      } else {
        w[i] = inside ? __ldcs(row + at + i) : 0;
      }
    }
  }
  DEVICE_MEMBER void loadNarrow(const uint32_t* row, uint32_t at, uint32_t end) {
#pragma unroll
    for (int i = 0; i < Bits; i++) w[i] = at + i < end ? __ldcs(row + at + i) : 0;
  }

  DEVICE_MEMBER uint2 unit(int j) const {
    if constexpr (Bits == 8) return make_uint2(w[j * 2], w[j * 2 + 1]);
    const int word = j * Bits / 4, shift = j * Bits * 8 % 32;
    const uint32_t upper = word + 1 < Bits ? w[(word + 1) % Bits] : 0;
    return make_uint2(__funnelshift_r(w[word], upper, shift), 0);
  }
};

/// Eight codes of a row from unit `index` on.
template <int Bits>
DEVICE uint2 unitAt(const uint32_t* row, uint32_t index, uint32_t end) {
  const uint32_t word = index * Bits / 4, shift = index * Bits % 4 * 8;
  const uint32_t first = word < end ? __ldg(row + word) : 0, second = word + 1 < end ? __ldg(row + word + 1) : 0;
  if (Bits == 8) return make_uint2(first, second);
  return make_uint2(__funnelshift_r(first, second, shift), 0);
}

DEVICE void multiplyAdd(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// One lane's two rows: their codes, scales and zero points.
template <int Bits>
struct Rows {
  const PackedArgs& g;
  uint32_t row[2];
  DEVICE_MEMBER Rows(const PackedArgs& g, uint32_t first) : g(g) {
#pragma unroll
    for (int h = 0; h < 2; h++) row[h] = min(first + h * 8, g.outputs - 1);
  }
  DEVICE_MEMBER const uint32_t* words(int h) const { return g.words + static_cast<uint64_t>(row[h]) * g.wordsPerRow; }
  DEVICE_MEMBER uint64_t place(int h, uint32_t group) const { return static_cast<uint64_t>(row[h]) * g.groups + group; }
  /// The bits of a scale, as it is stored.
  DEVICE_MEMBER uint32_t scale(int h, uint32_t group) const {
    const uint64_t at = place(h, group);
    return g.scaleType == F32 ? static_cast<const uint32_t*>(g.scales)[at] : static_cast<const uint16_t*>(g.scales)[at];
  }
  DEVICE_MEMBER float scaleOf(uint32_t bits) const {
    const float half = __half2float(__ushort_as_half(static_cast<uint16_t>(bits)));
    return g.scaleType == F16 ? half : __uint_as_float(g.scaleType == F32 ? bits : bits << 16);
  }
  DEVICE_MEMBER uint32_t zero(int h, uint32_t group) const {
    return g.zeros == nullptr ? 1u << (Bits - 1) : g.zeros[place(h, group)];
  }
};

/// Multiplies one unit of two rows with T tiles of tokens; `x` is where the lane's unit lies in the first.
template <int Bits, int T>
DEVICE void multiplyUnit(float (&part)[T][4], const uint2 (&units)[2], const uint32_t (&zero)[2], const uint8_t* x) {
  uint32_t upper[4], lower[4];
  decode<Bits>(upper, units[0], min(zero[0], kZero<Bits>));
  decode<Bits>(lower, units[1], min(zero[1], kZero<Bits>));
  const uint32_t a[2][4] = {{upper[0], lower[0], upper[1], lower[1]}, {upper[2], lower[2], upper[3], lower[3]}};
#pragma unroll
  for (int t = 0; t < T; t++) {
    const uint4 b = *reinterpret_cast<const uint4*>(x + t * kTileBytes);
    multiplyAdd(part[t], a[0], b.x, b.y);
    multiplyAdd(part[t], a[1], b.z, b.w);
  }
}

/// Sum of `units` units of a lane's token in one tile of x, from unit `first` on, halves together.
DEVICE float tokenSum(const uint8_t* tile, uint32_t quad, uint32_t first, uint32_t units) {
  float sum = 0.0f;
#pragma unroll 1
  for (uint32_t c = quad * 2; c < quad * 2 + 2; c++) {
#pragma unroll 1
    for (uint32_t i = first; i < first + units; i++) {
      const uint16_t* unit = reinterpret_cast<const uint16_t*>(tile + c * kChunk * 2 + (i ^ (c & 1) * 4) * 16);
      for (int e = 0; e < 8; e++) sum += bf16ToFloat(unit[e]);
    }
  }
  return sum;
}

/// Adds the sums of a group, times its scales, and clears them. Columns 2q and 2q + 1 are the halves of
/// token q. `tile` is the group's part of x, its units `first` to `first + units`.
template <int Bits, int T>
DEVICE void closeGroup(
    float (&sum)[T][2], float (&part)[T][4], const Rows<Bits>& rows, const uint32_t (&scale)[2], const uint32_t (&zero)[2],
    const uint8_t* tile, uint32_t quad, uint32_t first, uint32_t units) {
  if (Bits < 8 && max(zero[0], zero[1]) > kZero<Bits>) {
#pragma unroll
    for (int t = 0; t < T; t++) {
      const float x = tokenSum(tile + t * kTileBytes, quad, first, units);
      part[t][0] -= x * (max(zero[0], kZero<Bits>) - kZero<Bits>);
      part[t][2] -= x * (max(zero[1], kZero<Bits>) - kZero<Bits>);
    }
  }
  const float upper = rows.scaleOf(scale[0]), lower = rows.scaleOf(scale[1]);
#pragma unroll
  for (int t = 0; t < T; t++) {
    sum[t][0] = __fmaf_rn(part[t][0] + part[t][1], upper, sum[t][0]);
    sum[t][1] = __fmaf_rn(part[t][2] + part[t][3], lower, sum[t][1]);
#pragma unroll
    for (int e = 0; e < 4; e++) part[t][e] = 0.0f;
  }
}

/// Starts the copy of `Chunks` chunks of T tiles of x into one stage; tiles and chunks that do not exist
/// are copies of the last.
template <int T, int Chunks>
DEVICE void fetchTokens(const PackedArgs& g, uint8_t* stage, uint32_t tile0, uint32_t chunk0, uint32_t chunks) {
  constexpr uint32_t pieces = T * Chunks * kTileBytes / 16;
  const uint32_t last = (g.tokens + 3) / 4 - 1;
#pragma unroll
  for (uint32_t i = 0; i < pieces / (kWarps * 32) + (pieces % (kWarps * 32) != 0); i++) {
    const uint32_t piece = i * kWarps * 32 + threadIdx.x;
    if (piece >= pieces) break;
    const uint32_t c = piece / (T * kTileBytes / 16), t = piece / (kTileBytes / 16) % T, at = piece % (kTileBytes / 16) * 16;
    const uint32_t tile = min(tile0 + t, last), chunk = min(chunk0 + c, chunks - 1);
    if (T == 1 && at / (kChunk * 2) >= g.tokens * 2) continue;  // columns that nobody looks at
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(sharedAddress(stage + (c * T + t) * kTileBytes + at)),
                 "l"(g.x + (static_cast<uint64_t>(tile) * chunks + chunk) * kTileBytes + at)
                 : "memory");
  }
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// What a lane fetches ahead of a stage.
template <int Bits, int Chunks>
struct Ahead {
  Words<Bits> words[Chunks][2];
  uint32_t scale[Chunks][2], zero[Chunks][2];
  DEVICE_MEMBER void load(const Rows<Bits>& rows, uint32_t chunk0, uint32_t chunkEnd, uint32_t quad) {
    const PackedArgs& g = rows.g;
    if (g.vector) {
#pragma unroll
      for (int i = 0; i < 2 * Chunks; i++) {
        const uint32_t chunk = chunk0 + i / 2;
        words[i / 2][i % 2].loadWide(rows.words(i % 2), (chunk * 4 + quad) * Bits, chunk < chunkEnd ? g.wordsPerRow : 0);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 2 * Chunks; i++) {
        const uint32_t chunk = chunk0 + i / 2;
        words[i / 2][i % 2].loadNarrow(rows.words(i % 2), (chunk * 4 + quad) * Bits, chunk < chunkEnd ? g.wordsPerRow : 0);
      }
    }
#pragma unroll
    for (int c = 0; c < Chunks; c++) {
      const uint32_t group = chunk0 + c < chunkEnd ? (chunk0 + c) * kChunk / g.groupSize : 0;
#pragma unroll
      for (int h = 0; h < 2; h++) {
        scale[c][h] = rows.scale(h, group);
        zero[c][h] = rows.zero(h, group);
      }
    }
  }
};

template <int Bits, int T, int Chunks, bool Narrow>
DEVICE void packedLinear(const PackedArgs& g) {
  constexpr uint32_t stages = 3, stageBytes = T * Chunks * kTileBytes;
  extern __shared__ __align__(128) uint8_t memory[];
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, quad = lane % 4, column = lane / 4;
  const uint32_t chunks = (g.inputs + kChunk - 1) / kChunk;
  const uint32_t split = blockIdx.y % g.splits, tile0 = blockIdx.y / g.splits * T;
  const uint32_t steps = (chunks + Chunks - 1) / Chunks;
  const uint32_t begin = steps * split / g.splits * Chunks, end = min(chunks, steps * (split + 1) / g.splits * Chunks);
  const Rows<Bits> rows(g, blockIdx.x * kOutputs + warp * 16 + column);
  float sum[T][2] = {}, part[T][4] = {};
  Ahead<Bits, Chunks> next;
  if (!Narrow) next.load(rows, begin, end, quad);
#pragma unroll
  for (uint32_t s = 0; s + 1 < stages; s++) fetchTokens<T, Chunks>(g, memory + s * stageBytes, tile0, begin + s * Chunks, chunks);
  uint32_t slot = 0;
#pragma unroll 1
  for (uint32_t chunk = begin; chunk < end; chunk += Chunks) {
    asm volatile("cp.async.wait_group %0;" ::"n"(stages - 2) : "memory");
    __syncthreads();
    const uint32_t free = slot == 0 ? stages - 1 : slot - 1;
    fetchTokens<T, Chunks>(g, memory + free * stageBytes, tile0, chunk + (stages - 1) * Chunks, chunks);
    const Ahead<Bits, Chunks> now = next;
    if (!Narrow) next.load(rows, chunk + Chunks, end, quad);
#pragma unroll
    for (int c = 0; c < Chunks; c++) {
      if (chunk + c >= end) break;
      const uint8_t* tile = memory + slot * stageBytes + c * T * kTileBytes;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const uint8_t* x = tile + column * kChunk * 2 + ((j ^ (column & 1)) * 4 + quad) * 16;
        if constexpr (Narrow) {
          const uint32_t input = (chunk + c) * kChunk + j * 32, group = min(input / g.groupSize, g.groups - 1);
          const uint32_t unit = (chunk + c) * kUnits + j * 4 + quad;
          const uint2 units[2] = {unitAt<Bits>(rows.words(0), unit, g.wordsPerRow), unitAt<Bits>(rows.words(1), unit, g.wordsPerRow)};
          const uint32_t zero[2] = {rows.zero(0, group), rows.zero(1, group)};
          const uint32_t scale[2] = {rows.scale(0, group), rows.scale(1, group)};
          multiplyUnit<Bits, T>(part, units, zero, x);
          closeGroup<Bits, T>(sum, part, rows, scale, zero, tile, quad, j * 4, 4);
        } else {
          const uint2 units[2] = {now.words[c][0].unit(j), now.words[c][1].unit(j)};
          multiplyUnit<Bits, T>(part, units, now.zero[c], x);
        }
      }
      if (!Narrow) closeGroup<Bits, T>(sum, part, rows, now.scale[c], now.zero[c], tile, quad, 0, kUnits);
    }
    if (++slot == stages) slot = 0;
  }
#pragma unroll
  for (int t = 0; t < T; t++) {
    const uint32_t token = (tile0 + t) * 4 + quad;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const uint32_t output = blockIdx.x * kOutputs + warp * 16 + column + h * 8;
      if (token >= g.tokens || output >= g.outputs) continue;
      const float bias = g.bias == nullptr ? 0.0f : loadFloat(g.bias, g.biasType, output);
      g.out[(static_cast<uint64_t>(split) * g.tokens + token) * g.outputs + output] = sum[t][h] + bias;
    }
  }
}

#define PACKED_LINEAR(NAME, BITS, T, CHUNKS, NARROW)                                             \
  extern "C" __global__ void __launch_bounds__(kWarps * 32, T > 1 ? 1 : NARROW ? 2 : 3)              \
  NAME(const __grid_constant__ PackedArgs args) {                                                \
    packedLinear<BITS, T, CHUNKS, NARROW>(args);                                                 \
  }

/// The kernels for codes of one width: few, some and many tokens.
#define PACKED_KERNELS(BITS, CHUNKS)                      \
  PACKED_LINEAR(packed##BITS##_4, BITS, 1, CHUNKS, false) \
  PACKED_LINEAR(packed##BITS##_16, BITS, 4, 2, false)     \
  PACKED_LINEAR(packed##BITS##_32, BITS, 8, 1, false)     \
  PACKED_LINEAR(packed##BITS##_narrow_4, BITS, 1, 2, true) \
  PACKED_LINEAR(packed##BITS##_narrow_32, BITS, 8, 1, true)
