// xᵀ x for tall x [tokens, columns] on tensor cores (mma.sync), the lower triangle in tiles of 128 x 128,
// written to both triangles. Numbers of 32 bits are cut into two bfloat16 halves, x = h + l, and
//
//   xᵀ x ~ hᵀ h + hᵀ l + lᵀ h      (what is dropped, lᵀ l, is 2^-18 of it)
//
// A stage of 32 tokens is loaded into registers while the one before is multiplied, cut and stored to
// shared memory as [token][column], from where ldmatrix turns it.

#include "elements.cuh"

constexpr uint32_t kTile = 128, kTokens = 32;
constexpr uint32_t kPlane = kTokens * kTile;          // elements of one half of one operand
constexpr uint32_t kStageBytes = 4 * kPlane * 2;      // h and l of both operands
constexpr uint32_t kLoads = kPlane / 256 / 4;         // runs of four columns that a thread loads

/// Arguments, each in eight bytes (CudaLinalg.java).
struct SyrkArgs {
  const void* x;       // [tokens, columns], rows without gaps
  float* out;          // [columns, columns]
  uint64_t tokens, columns, ldOut;
  alignas(8) float alpha;
  alignas(8) float beta;
};

DEVICE uint32_t pairOf(float low, float high) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
DEVICE float lowOf(uint32_t pair) { return __uint_as_float(pair << 16); }
DEVICE float highOf(uint32_t pair) { return __uint_as_float(pair & 0xFFFF0000u); }

/// Bytes into a plane: chunks of eight columns are exchanged among eight tokens, so that the eight rows
/// of a ldmatrix lie in all banks once.
DEVICE uint32_t planeOffset(uint32_t token, uint32_t column) {
  return token * kTile * 2 + ((column / 8 ^ (token & 7)) * 16) + column % 8 * 2;
}

/// A thread's part of a stage of one operand: four columns of each of four tokens.
template <class T>
struct Part {
  float v[kLoads][4];

  DEVICE_MEMBER void load(const SyrkArgs& g, uint64_t token0, uint64_t column0, bool whole) {
    const uint64_t column = column0 + threadIdx.x % 32 * 4;
    const T* x = static_cast<const T*>(g.x);
#pragma unroll
    for (uint32_t i = 0; i < kLoads; i++) {
      const uint64_t token = token0 + i * 8 + threadIdx.x / 32;
      const T* p = x + token * g.columns + column;
      if (whole && token < g.tokens && column < g.columns) {
        take(p, v[i]);
      } else {
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) v[i][j] = token < g.tokens && column + j < g.columns ? asFloat(p[j]) : 0.0f;
      }
    }
  }

  DEVICE_MEMBER void store(uint8_t* high, uint8_t* low) const {
#pragma unroll
    for (uint32_t i = 0; i < kLoads; i++) {
      const uint32_t at = planeOffset(i * 8 + threadIdx.x / 32, threadIdx.x % 32 * 4);
      const uint2 h = make_uint2(pairOf(v[i][0], v[i][1]), pairOf(v[i][2], v[i][3]));
      *reinterpret_cast<uint2*>(high + at) = h;
      if (sizeof(T) == 4) {
        *reinterpret_cast<uint2*>(low + at) =
            make_uint2(pairOf(v[i][0] - lowOf(h.x), v[i][1] - highOf(h.x)), pairOf(v[i][2] - lowOf(h.y), v[i][3] - highOf(h.y)));
      }
    }
  }

  DEVICE_MEMBER static float asFloat(float x) { return x; }
  DEVICE_MEMBER static float asFloat(uint16_t x) { return bf16ToFloat(x); }
  DEVICE_MEMBER static void take(const float* p, float (&to)[4]) {
    const float4 w = *reinterpret_cast<const float4*>(p);
    to[0] = w.x, to[1] = w.y, to[2] = w.z, to[3] = w.w;
  }
  DEVICE_MEMBER static void take(const uint16_t* p, float (&to)[4]) {
    const uint2 w = *reinterpret_cast<const uint2*>(p);
    to[0] = lowOf(w.x), to[1] = highOf(w.x), to[2] = lowOf(w.y), to[3] = highOf(w.y);
  }
};

DEVICE void loadTurned(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

DEVICE void multiplyAdd(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Adds one stage: eight warps, two by four, each with 64 x 32 of the tile.
template <bool Halves>
DEVICE void addStage(float (&sum)[4][4][4], uint32_t stage) {
  constexpr uint32_t plane = kPlane * 2;
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t rowA = warp / 4 * 64 + lane / 8 % 2 * 8, tokenA = lane / 16 * 8 + lane % 8;
  const uint32_t rowB = warp % 4 * 32 + lane / 16 * 8, tokenB = lane / 8 % 2 * 8 + lane % 8;
#pragma unroll
  for (uint32_t k = 0; k < kTokens; k += 16) {
    uint32_t b[2][2][4];  // half, pair of eight columns, registers
#pragma unroll
    for (uint32_t j = 0; j < 2; j++) {
      const uint32_t at = stage + 2 * plane + planeOffset(k + tokenB, rowB + j * 16);
      loadTurned(b[0][j], at);
      if (Halves) loadTurned(b[1][j], at + plane);
    }
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      uint32_t high[4], low[4];
      const uint32_t at = stage + planeOffset(k + tokenA, rowA + i * 16);
      loadTurned(high, at);
      if (Halves) loadTurned(low, at + plane);
#pragma unroll
      for (uint32_t j = 0; j < 4; j++) {
        multiplyAdd(sum[i][j], high, b[0][j / 2][j % 2 * 2], b[0][j / 2][j % 2 * 2 + 1]);
        if (Halves) {
          multiplyAdd(sum[i][j], high, b[1][j / 2][j % 2 * 2], b[1][j / 2][j % 2 * 2 + 1]);
          multiplyAdd(sum[i][j], low, b[0][j / 2][j % 2 * 2], b[0][j / 2][j % 2 * 2 + 1]);
        }
      }
    }
  }
}

/// Tile `index` of the triangle, in bands of rows, so that tiles that run at the same time share what
/// they read through the L2 cache.
DEVICE void locate(uint32_t index, uint32_t tiles, uint32_t& row, uint32_t& column) {
  constexpr uint32_t band = 8;
  uint32_t top = 0;
  for (;; top += band) {
    const uint32_t height = min(band, tiles - top);
    const uint32_t square = top * height, count = square + height * (height + 1) / 2;
    if (index < count) {
      if (index < square) {
        column = index / height;
        row = top + index % height;
      } else {
        index -= square;
        row = 0;
        while (index > row) index -= ++row;
        column = top + index;
        row += top;
      }
      return;
    }
    index -= count;
  }
}

template <class T>
DEVICE void syrk(const SyrkArgs& g) {
  extern __shared__ __align__(16) uint8_t memory[];
  uint32_t row, column;
  locate(blockIdx.x, static_cast<uint32_t>((g.columns + kTile - 1) / kTile), row, column);
  const uint64_t m0 = static_cast<uint64_t>(row) * kTile, n0 = static_cast<uint64_t>(column) * kTile;
  const bool whole = g.columns % 4 == 0 && (reinterpret_cast<uint64_t>(g.x) & (4 * sizeof(T) - 1)) == 0;
  const uint32_t steps = static_cast<uint32_t>((g.tokens + kTokens - 1) / kTokens);
  Part<T> a, b;
  a.load(g, 0, m0, whole);
  b.load(g, 0, n0, whole);
  float sum[4][4][4] = {};
#pragma unroll 1
  for (uint32_t step = 0; step < steps; step++) {
    uint8_t* stage = memory + step % 2 * kStageBytes;
    a.store(stage, stage + kPlane * 2);
    b.store(stage + kPlane * 4, stage + kPlane * 6);
    __syncthreads();
    if (step + 1 < steps) {
      a.load(g, (step + 1) * static_cast<uint64_t>(kTokens), m0, whole);
      b.load(g, (step + 1) * static_cast<uint64_t>(kTokens), n0, whole);
    }
    addStage<sizeof(T) == 4>(sum, sharedAddress(stage));
  }
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) {
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
#pragma unroll
      for (uint32_t e = 0; e < 4; e++) {
        const uint64_t m = m0 + warp / 4 * 64 + i * 16 + e / 2 * 8 + lane / 4;
        const uint64_t n = n0 + warp % 4 * 32 + j * 8 + lane % 4 * 2 + e % 2;
        if (m >= g.columns || n > m) continue;
        float* target = g.out + m * g.ldOut + n;
        const float value = __fmaf_rn(g.alpha, sum[i][j][e], g.beta == 0.0f ? 0.0f : g.beta * *target);
        *target = value;
        g.out[n * g.ldOut + m] = value;
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(256) syrk_f32(const __grid_constant__ SyrkArgs args) { syrk<float>(args); }
extern "C" __global__ void __launch_bounds__(256) syrk_bf16(const __grid_constant__ SyrkArgs args) { syrk<uint16_t>(args); }
