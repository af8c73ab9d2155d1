// How the sums of gemm_large.cuh leave registers: through shared memory, from there by the copy engine or by the
// warp itself.
#pragma once

#include "gemm.cuh"

/// Bytes in which a warp lays out 16 rows of results, 128 bytes each, for the copy engine to take.
constexpr uint32_t kStagingBytes = 16 * 128;

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
