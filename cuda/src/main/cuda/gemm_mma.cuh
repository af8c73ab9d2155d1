// Matrix multiply for GPUs before and after Hopper: mma.sync on tiles of 128 x 128, fed by cp.async.
// The same arguments and results as the Hopper kernels; pointers instead of tensor maps.
#pragma once

#include "gemm.cuh"

constexpr int kTile = 128, kStep = 64, kRing = 4;  // rows of A and of B, bytes of K, stages
constexpr uint32_t kOperandBytes = kTile * kStep;
constexpr uint32_t kMmaShared = kRing * 2 * kOperandBytes;

struct MmaOperands {
  const uint8_t* a;
  const uint8_t* b;
  uint64_t ldA, ldB;  // bytes, multiples of 16
  uint64_t bytesK;    // bytes of K that a row has
};

struct MmaS8 {
  using Acc = int;
  DEVICE_MEMBER static void multiply(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};
struct MmaBf16 {
  using Acc = float;
  DEVICE_MEMBER static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};
struct MmaE4m3 {
  using Acc = float;
  DEVICE_MEMBER static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

/// Where a 16-byte chunk of a 64-byte row lies: chunks are exchanged among pairs of rows, so that the
/// eight rows of a ldmatrix touch all banks once.
DEVICE uint32_t chunkOffset(uint32_t row, uint32_t chunk) { return row * kStep + ((chunk ^ (row / 2 & 3)) * 16); }

/// The last bytes of a row, filled up with zeros; what lies behind them in memory is not read.
DEVICE void storeTail(uint32_t target, const uint8_t* from, uint32_t count) {
  uint32_t words[4] = {};
#pragma unroll
  for (uint32_t i = 0; i < 16; i++) {
    if (i < count) words[i / 4] |= static_cast<uint32_t>(from[i]) << (i % 4 * 8);
  }
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(target), "r"(words[0]), "r"(words[1]), "r"(words[2]),
               "r"(words[3])
               : "memory");
}

DEVICE void copyTile(
    uint32_t target, const uint8_t* source, uint64_t ld, uint32_t row0, uint32_t rows, uint64_t k, uint64_t bytesK) {
#pragma unroll
  for (int i = 0; i < kTile * 4 / 256; i++) {
    const uint32_t index = i * 256 + threadIdx.x, row = index / 4, chunk = index % 4;
    const uint64_t at = k + chunk * 16;
    const uint32_t to = target + chunkOffset(row, chunk);
    const uint8_t* from = source + static_cast<uint64_t>(row0 + row) * ld + at;
    if (row0 + row < rows && at + 16 <= bytesK) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
    } else {
      storeTail(to, from, row0 + row < rows && at < bytesK ? static_cast<uint32_t>(bytesK - at) : 0);
    }
  }
}

DEVICE void loadMatrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

/// Eight warps, two by four; each owns 64 x 32 of the tile.
template <class T>
DEVICE void gemmMma(const MmaOperands& o, const GemmArgs& g) {
  using Acc = typename T::Acc;
  extern __shared__ __align__(1024) uint8_t base[];
  const uint32_t memory = sharedAddress(base), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t m0 = blockIdx.y * kTile, n0 = blockIdx.x * kTile;
  const uint32_t steps = static_cast<uint32_t>((o.bytesK + kStep - 1) / kStep);
  const auto fetch = [&](uint32_t step) {
    if (step < steps) {
      const uint32_t stage = memory + step % kRing * 2 * kOperandBytes;
      copyTile(stage, o.a, o.ldA, m0, g.m, static_cast<uint64_t>(step) * kStep, o.bytesK);
      copyTile(stage + kOperandBytes, o.b, o.ldB, n0, g.n, static_cast<uint64_t>(step) * kStep, o.bytesK);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  Acc acc[4][4][4] = {};
  for (uint32_t i = 0; i + 1 < kRing; i++) fetch(i);
  for (uint32_t step = 0; step < steps; step++) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kRing - 2) : "memory");
    __syncthreads();
    fetch(step + kRing - 1);
    const uint32_t stage = memory + step % kRing * 2 * kOperandBytes;
    const uint32_t rowA = warp / 4 * 64 + lane % 16, rowB = warp % 4 * 32 + lane / 16 * 8 + lane % 8;
#pragma unroll
    for (int k = 0; k < 2; k++) {
      uint32_t a[4][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++) loadMatrices(a[i], stage + chunkOffset(rowA + i * 16, k * 2 + lane / 16));
#pragma unroll
      for (int j = 0; j < 2; j++) {
        loadMatrices(b[j], stage + kOperandBytes + chunkOffset(rowB + j * 16, k * 2 + lane / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const uint32_t half[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
          T::multiply(acc[i][j], a[i], half);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const uint32_t m = m0 + warp / 4 * 64 + i * 16 + lane / 4 + h * 8;
      if (m >= g.m) continue;
      const float scaleA = scaleAt(g.scaleA, m, g.strideA);
#pragma unroll
      for (int j = 0; j < 4; j++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const uint32_t n = n0 + warp % 4 * 32 + j * 8 + lane % 4 * 2 + e;
          if (n < g.n) {
            storeOne(g, m, n, acc[i][j][h * 2 + e], scaleA, scaleAt(g.scaleB, n, g.strideB), biasAt(g, n));
          }
        }
      }
    }
  }
}

#define GEMM_MMA(NAME, TYPE)                                                                   \
  extern "C" __global__ void __launch_bounds__(256) NAME(                                      \
      const __grid_constant__ MmaOperands operands, const __grid_constant__ GemmArgs args) {   \
    gemmMma<TYPE>(operands, args);                                                             \
  }
