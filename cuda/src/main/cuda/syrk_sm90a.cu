// xᵀ x for tall x [tokens, columns] on Hopper: wgmma with both operands straight from the rows of x, which
// run along the columns of the result. Blocks of three warpgroups, one that copies and two that multiply,
// each half of a tile of 256 x 128; only tiles that reach the lower triangle are computed; the upper one
// is written if it is asked for. Numbers of 32 bits come as two bfloat16 halves, x = h + l (syrk_halves), and
//
//   xᵀ x ~ hᵀ h + hᵀ l + lᵀ h      (what is dropped, lᵀ l, is 2^-18 of it)

#include "gemm.cuh"
#include "wgmma.cuh"

constexpr uint32_t kRows = 256, kColumns = 128;    // of a tile
constexpr uint32_t kTokens = 32;                   // of a stage
constexpr uint32_t kBox = kTokens * 128;           // 64 columns of them
constexpr uint32_t kPlaneA = kRows / 64 * kBox, kPlaneB = kColumns / 64 * kBox;

/// Arguments, each in eight bytes (CudaSyrk.java).
struct SyrkArgs {
  float* out;  // [columns, columns]
  uint64_t tokens, columns, ldOut;
  alignas(8) float alpha;
  alignas(8) float beta;
  alignas(8) uint32_t both;  // whether the upper triangle is written too
};

/// A stage: h of 256 columns, h of 128, then their l.
template <bool Halves>
struct Layout {
  static constexpr uint32_t half = kPlaneA + kPlaneB;
  static constexpr uint32_t stage = Halves ? 2 * half : half;
  static constexpr uint32_t stages = Halves ? 4 : 8;
  static constexpr uint32_t barriers = stages * stage;
  static constexpr uint32_t total = barriers + 2 * stages * 8;
};

/// The tile that a block computes: bands of four rows of tiles, column by column within a band, so that
/// tiles that run at the same time share what they read through the L2 cache.
struct Tile {
  uint32_t m0, n0;
  DEVICE_MEMBER Tile(uint32_t index, uint32_t columns) {
    constexpr uint32_t band = 4, ratio = kRows / kColumns;
    const uint32_t rows = (columns + kRows - 1) / kRows, across = (columns + kColumns - 1) / kColumns;
    for (uint32_t top = 0;; top += band) {
      const uint32_t height = min(band, rows - top), square = top * ratio * height;
      if (index < square) {
        m0 = (top + index % height) * kRows;
        n0 = index / height * kColumns;
        return;
      }
      index -= square;
      // What is left of the band is a staircase: row r reaches `ratio` columns further than row r - 1.
      for (uint32_t r = 0; r < height; r++) {
        const uint32_t width = min((r + 1) * ratio, across - top * ratio);
        if (index < width) {
          m0 = (top + r) * kRows;
          n0 = (top * ratio + index) * kColumns;
          return;
        }
        index -= width;
      }
    }
  }
};

template <bool Halves>
DEVICE void produce(
    const TensorMap* high, const TensorMap* low, uint32_t memory, uint32_t full, uint32_t empty, Tile tile, uint32_t steps) {
  using L = Layout<Halves>;
  uint32_t slot = 0, phase = 1;
  for (uint32_t step = 0; step < steps; step++) {
    const uint32_t stage = memory + slot * L::stage, ready = full + slot * 8;
    barrierWait(empty + slot * 8, phase);
    barrierExpect(ready, L::stage);
#pragma unroll
    for (uint32_t h = 0; h < (Halves ? 2 : 1); h++) {
      const TensorMap* map = h == 0 ? high : low;
      const uint32_t plane = stage + h * L::half;
#pragma unroll
      for (uint32_t i = 0; i < kRows / 64; i++) {
        copyBox(plane + i * kBox, map, ready, (tile.m0 + i * 64) * 2, step * kTokens, kEvictNormal);
      }
#pragma unroll
      for (uint32_t i = 0; i < kColumns / 64; i++) {
        copyBox(plane + kPlaneA + i * kBox, map, ready, (tile.n0 + i * 64) * 2, step * kTokens, kEvictNormal);
      }
    }
    if (++slot == L::stages) {
      slot = 0;
      phase ^= 1;
    }
  }
}

/// Starts the products of two slices of 64 rows with 128 columns over the tokens of a stage.
DEVICE void multiplyPlanes(float (&sum)[2][64], uint32_t a, uint32_t b) {
#pragma unroll
  for (uint32_t k = 0; k < kTokens; k += 16) {
#pragma unroll
    for (uint32_t s = 0; s < 2; s++) {
      wgmma<true>(Bf16Turned{}, sum[s], turnedDescriptor<kBox>(a + s * kBox + k * 128), turnedDescriptor<kBox>(b + k * 128));
    }
  }
}

/// Adds half of a thread's sums of a slice to the result: `m` and `n` are the place of its first one. Below the
/// diagonal what is there is read first, all of it, since no read could pass a write that the compiler cannot tell
/// from it.
DEVICE void store(const SyrkArgs& g, const float (&sum)[64], uint32_t from, uint32_t m, uint32_t n) {
  const uint32_t columns = static_cast<uint32_t>(g.columns), last = n + (from / 4 + 7) * 8 + 1;
  const bool pairs = (g.ldOut & 1) == 0 && (reinterpret_cast<uint64_t>(g.out) & 7) == 0;
  if (pairs && last <= m && m + 8 < columns) {
    float2 old[16] = {};
    if (g.beta != 0.0f) {
#pragma unroll
      for (uint32_t i = 0; i < 16; i++) {
        old[i] = *reinterpret_cast<const float2*>(g.out + (m + i % 2 * 8) * g.ldOut + n + (from / 4 + i / 2) * 8);
      }
    }
#pragma unroll
    for (uint32_t i = 0; i < 16; i++) {
      const uint32_t row = m + i % 2 * 8, column = n + (from / 4 + i / 2) * 8;
      const float x = __fmaf_rn(g.alpha, sum[from + i * 2], g.beta == 0.0f ? 0.0f : g.beta * old[i].x);
      const float y = __fmaf_rn(g.alpha, sum[from + i * 2 + 1], g.beta == 0.0f ? 0.0f : g.beta * old[i].y);
      *reinterpret_cast<float2*>(g.out + row * g.ldOut + column) = make_float2(x, y);
      if (g.both) {
        g.out[column * g.ldOut + row] = x;
        g.out[(column + 1) * g.ldOut + row] = y;
      }
    }
    return;
  }
#pragma unroll
  for (uint32_t i = 0; i < 32; i++) {
    const uint32_t row = m + i / 2 % 2 * 8, column = n + (from / 4 + i / 4) * 8 + i % 2;
    if (row >= columns || column > row) continue;
    float* target = g.out + row * g.ldOut + column;
    const float value = __fmaf_rn(g.alpha, sum[from + i], g.beta == 0.0f ? 0.0f : g.beta * *target);
    *target = value;
    if (g.both) g.out[column * g.ldOut + row] = value;
  }
}

template <bool Halves>
DEVICE void consume(const SyrkArgs& g, uint32_t memory, uint32_t full, uint32_t empty, Tile tile, uint32_t steps) {
  using L = Layout<Halves>;
  const uint32_t group = __shfl_sync(~0u, threadIdx.x / 128 - 1, 0), thread = threadIdx.x % 128;
  const uint32_t warp = thread / 32, lane = thread % 32;
  float sum[2][64];
#pragma unroll
  for (int s = 0; s < 2; s++) {
#pragma unroll
    for (int i = 0; i < 64; i++) sum[s][i] = 0.0f;
  }
  uint32_t slot = 0, phase = 0, previous = 0;
#pragma unroll 1
  for (uint32_t step = 0; step < steps; step++) {
    const uint32_t highA = memory + slot * L::stage + group * 2 * kBox, highB = memory + slot * L::stage + kPlaneA;
    barrierWait(full + slot * 8, phase);
    wgmmaFence();
    multiplyPlanes(sum, highA, highB);
    if (Halves) {
      multiplyPlanes(sum, highA, highB + L::half);
      multiplyPlanes(sum, highA + L::half, highB);
    }
    wgmmaCommit();
    wgmmaWait<1>();
    if (step > 0 && thread == 0) barrierArrive(empty + previous * 8);
    previous = slot;
    if (++slot == L::stages) {
      slot = 0;
      phase ^= 1;
    }
  }
  wgmmaWait<0>();
#pragma unroll
  for (int s = 0; s < 2; s++) pin(sum[s]);
#pragma unroll
  for (uint32_t s = 0; s < 2; s++) {
#pragma unroll
    for (uint32_t from = 0; from < 64; from += 32) {
      store(g, sum[s], from, tile.m0 + group * 128 + s * 64 + warp * 16 + lane / 4, tile.n0 + lane % 4 * 2);
    }
  }
}

template <bool Halves>
DEVICE void syrk(const TensorMap* high, const TensorMap* low, const SyrkArgs& g) {
  using L = Layout<Halves>;
  static_assert(L::total <= 232448, "more shared memory than a block can have");
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base), full = memory + L::barriers, empty = full + L::stages * 8;
  if (threadIdx.x == 0) {
    prefetchMap(high);
    prefetchMap(low);
    for (uint32_t i = 0; i < L::stages; i++) {
      barrierInit(full + i * 8, 1);
      barrierInit(empty + i * 8, 2);
    }
    barrierInitFence();
  }
  __syncthreads();
  const Tile tile(blockIdx.x, static_cast<uint32_t>(g.columns));
  const uint32_t steps = static_cast<uint32_t>((g.tokens + kTokens - 1) / kTokens);
  if (threadIdx.x < 128) {
    giveRegistersBack<40>();
    if (threadIdx.x == 0) produce<Halves>(high, low, memory, full, empty, tile, steps);
  } else {
    takeRegisters<232>();
    consume<Halves>(g, memory, full, empty, tile, steps);
  }
}

extern "C" __global__ void __launch_bounds__(384, 1) syrk_f32_hopper(
    const __grid_constant__ TensorMap high, const __grid_constant__ TensorMap low, const __grid_constant__ SyrkArgs args) {
  syrk<true>(&high, &low, args);
}
extern "C" __global__ void __launch_bounds__(384, 1) syrk_bf16_hopper(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap same, const __grid_constant__ SyrkArgs args) {
  syrk<false>(&x, &same, args);
}

/// Cuts x [rows, columns] into halves, [2][rows] of `ld` elements, the last ones 0.
extern "C" __global__ void __launch_bounds__(256) syrk_halves(
    const float* x, uint16_t* out, uint64_t rows, uint64_t columns, uint64_t ld) {
  const uint64_t c = (static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
  if (c >= ld) return;
  const bool whole = columns % 4 == 0 && (reinterpret_cast<uint64_t>(x) & 15) == 0;
  for (uint64_t r = blockIdx.y; r < rows; r += gridDim.y) {
    float v[4] = {};
    if (whole && c < columns) {
      const float4 w = *reinterpret_cast<const float4*>(x + r * columns + c);
      v[0] = w.x, v[1] = w.y, v[2] = w.z, v[3] = w.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) v[i] = c + i < columns ? x[r * columns + c + i] : 0.0f;
    }
    const uint2 h = make_uint2(pack2(v[0], v[1], false), pack2(v[2], v[3], false));
    const float d[4] = {
        v[0] - __uint_as_float(h.x << 16), v[1] - __uint_as_float(h.x & 0xFFFF0000u),
        v[2] - __uint_as_float(h.y << 16), v[3] - __uint_as_float(h.y & 0xFFFF0000u)};
    *reinterpret_cast<uint2*>(out + r * ld + c) = h;
    *reinterpret_cast<uint2*>(out + (rows + r) * ld + c) = make_uint2(pack2(d[0], d[1], false), pack2(d[2], d[3], false));
  }
}
