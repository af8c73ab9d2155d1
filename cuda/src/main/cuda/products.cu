// What matrix products need beside the tensor-core kernels: operands split into bfloat16 parts, sums
// combined with what is there already, and products with so few rows that only the weight's bytes count.

#include "elements.cuh"
#include "index.cuh"

/// The part of x that one bfloat16 holds, or what that leaves over, which a second one holds to 2^-16.
DEVICE uint16_t part(float x, bool rest) {
  const uint16_t high = floatToBf16(x);
  if (!rest) return high;
  const float value = bf16ToFloat(high);
  return isfinite(value) ? floatToBf16(x - value) : 0;
}

/// Writes a matrix as bfloat16 parts, one behind the other in each row: part p holds what is left over
/// where bit p of `rests` is set, else the leading part. A row's parts are `padded` long, a multiple of
/// 8, filled up with zeros. With [h|h|r] on one side and [h|r|h] on the other, an ordinary product of
/// rows three times as long is the product of the float32 matrices, but for the two rests' product,
/// 2^-16 of it (the scheme of Henry, Tang and Heinecke 2019).
extern "C" __global__ void __launch_bounds__(256) split(
    const void* source, uint32_t type, uint64_t rows, uint64_t columns, uint64_t rowStep, uint64_t columnStep,
    uint16_t* target, uint64_t padded, uint32_t parts, uint32_t rests) {
  const uint64_t i = threadIndex();
  const uint64_t vectors = padded / 8;
  if (i >= rows * vectors) return;
  // Neighbouring threads go where the source's elements are neighbours.
  const uint64_t inner = columnStep == 1 ? vectors : rows, outer = quotient(i, inner);
  const uint64_t row = columnStep == 1 ? outer : i - outer * inner;
  const uint64_t k = (columnStep == 1 ? i - outer * inner : outer) * 8;
  float values[8];
#pragma unroll
  for (int j = 0; j < 8; j++) {
    values[j] = k + j < columns ? loadFloat(source, type, row * rowStep + (k + j) * columnStep) : 0.0f;
  }
  uint16_t* out = target + row * padded * parts + k;
  for (uint32_t p = 0; p < parts; p++) {
    const bool rest = rests >> p & 1;
    uint32_t words[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      words[j] = part(values[2 * j], rest) | static_cast<uint32_t>(part(values[2 * j + 1], rest)) << 16;
    }
    *reinterpret_cast<uint4*>(out + p * padded) = make_uint4(words[0], words[1], words[2], words[3]);
  }
}

/// out = alpha * sum + beta * out; sum [rows, columns] without gaps, or null for zeros.
extern "C" __global__ void __launch_bounds__(256) combine(
    float alpha, const float* sum, float beta, float* out, uint64_t rows, uint64_t columns, uint64_t ldOut) {
  const uint64_t i = threadIndex();
  if (i >= rows * columns) return;
  const uint64_t row = quotient(i, columns);
  float* to = out + row * ldOut + (i - row * columns);
  const float old = beta == 0.0f ? 0.0f : beta * *to;
  *to = sum == nullptr ? old : __fmaf_rn(alpha, sum[i], old);
}

/// Eight neighbours of a row, by 16-byte loads.
template <uint32_t Type>
DEVICE void load8(float (&v)[8], const void* x, uint64_t i) {
  if constexpr (Type == F32) {
    const float4* p = reinterpret_cast<const float4*>(static_cast<const float*>(x) + i);
    const float4 a = p[0], b = p[1];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
  } else {
    const uint4 bits = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(x) + i);
    const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int j = 0; j < 4; j++) {
      v[2 * j] = __uint_as_float(words[j] << 16);
      v[2 * j + 1] = __uint_as_float(words[j] & 0xFFFF0000u);
    }
  }
}

constexpr uint32_t kFew = 4;

/// Adds the products of whole vectors of a row of the weight, and says where they end.
template <uint32_t Type>
DEVICE uint64_t addVectors(float (&sums)[kFew], const void* x, const void* w, uint32_t m, uint64_t row, uint64_t k) {
  const uint64_t end = k / 256 * 256;
#pragma unroll 2
  for (uint64_t i = threadIdx.x % 32 * 8; i < end; i += 256) {
    float b[8];
    load8<Type>(b, w, row * k + i);
#pragma unroll
    for (uint32_t r = 0; r < kFew; r++) {
      if (r < m) {
        float a[8];
        load8<F32>(a, x, r * k + i);
#pragma unroll
        for (int j = 0; j < 8; j++) sums[r] = __fmaf_rn(a[j], b[j], sums[r]);
      }
    }
  }
  return end;
}

/// out = x wᵀ + bias for at most kFew rows of x, in float32: a warp an output, so that the weight is
/// read once, in order, and nothing else weighs.
extern "C" __global__ void __launch_bounds__(256) linear_few(
    const void* x, uint32_t xType, const void* w, uint32_t wType, const void* bias, uint32_t biasType, float* out,
    uint32_t m, uint64_t n, uint64_t k) {
  const uint64_t row = static_cast<uint64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  if (row >= n) return;
  const uint64_t places = reinterpret_cast<uint64_t>(x) | reinterpret_cast<uint64_t>(w);
  const bool whole = k % 8 == 0 && (places & 15) == 0 && xType == F32;
  float sums[kFew] = {};
  uint64_t done = 0;
  if (whole && wType == BF16) done = addVectors<BF16>(sums, x, w, m, row, k);
  if (whole && wType == F32) done = addVectors<F32>(sums, x, w, m, row, k);
#pragma unroll 1
  for (uint64_t i = done + lane; i < k; i += 32) {
    const float b = loadFloat(w, wType, row * k + i);
#pragma unroll
    for (uint32_t r = 0; r < kFew; r++) {
      if (r < m) sums[r] = __fmaf_rn(loadFloat(x, xType, r * k + i), b, sums[r]);
    }
  }
#pragma unroll
  for (uint32_t r = 0; r < kFew; r++) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) sums[r] += __shfl_xor_sync(~0u, sums[r], offset);
    if (r < m && lane == 0) {
      out[r * n + row] = sums[r] + (bias == nullptr ? 0.0f : loadFloat(bias, biasType, row));
    }
  }
}
