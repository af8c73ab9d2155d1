// What the matrix-multiply kernels share: arguments, scaling and the way results leave registers.
//
//   out[m][n] = (sum_k a[m][k] * b[n][k]) * scaleB[n] * scaleA[m] + bias[n]
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "ptx.cuh"

/// Types of the result; BIAS_NONE and the same numbers say what the bias is.
enum : uint32_t { OUT_BF16 = 0, OUT_F16 = 1, OUT_F32 = 2, OUT_I32 = 3, BIAS_NONE = 4 };

/// Arguments of every matrix multiply; the host writes the same 88 bytes (MatmulArguments.java).
struct GemmArgs {
  void* out;             // [m, n], rows `ldOut` elements apart
  const float* scaleA;   // null for 1; one, or one a row of A, `strideA` apart
  const float* scaleB;   // null for 1; one, or one a row of B, `strideB` apart
  const void* bias;      // one a row of B, of type `biasType`
  uint64_t ldOut;
  uint32_t m, n;
  uint32_t blocks;       // of 128 bytes along K, the last one filled up with zeros
  uint32_t outType;
  uint32_t biasType;
  uint32_t strideA, strideB;
  uint32_t blockStrideA, blockStrideB;  // blockwise scales: from one block of K to the next
  uint32_t raster;       // tiles along M that run together
  uint32_t vector;       // whether rows of `out` allow 16-byte stores
  uint32_t settled;      // whether B may be read while the kernel before this one still runs
};
static_assert(sizeof(GemmArgs) == 88, "the host writes 88 bytes");

DEVICE float scaleAt(const float* scale, uint64_t index, uint32_t stride) {
  return scale == nullptr ? 1.0f : __ldg(scale + index * stride);
}

DEVICE float biasAt(const GemmArgs& g, uint32_t n) {
  switch (g.biasType) {
    case OUT_F32: return __ldg(static_cast<const float*>(g.bias) + n);
    case OUT_BF16: return __bfloat162float(static_cast<const __nv_bfloat16*>(g.bias)[n]);
    case OUT_F16: return __half2float(static_cast<const __half*>(g.bias)[n]);
    default: return 0.0f;
  }
}

DEVICE uint32_t pack2(float low, float high, bool half) {
  uint32_t word;
  if (half) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  }
  return word;
}

DEVICE float asFloat(float x) { return x; }
DEVICE float asFloat(int x) { return __int2float_rn(x); }
DEVICE uint32_t bitsOf(float x) { return __float_as_uint(x); }
DEVICE uint32_t bitsOf(int x) { return static_cast<uint32_t>(x); }

/// One result, scaled; every kernel computes it in this order, so all agree to the last bit.
DEVICE float scaled(float sum, float scaleA, float scaleB, float bias) {
  return __fmaf_rn(__fmul_rn(sum, scaleB), scaleA, bias);
}

/// Stores one result in the type that the caller asked for.
template <class Acc>
DEVICE void storeOne(const GemmArgs& g, uint32_t m, uint32_t n, Acc sum, float scaleA, float scaleB, float bias) {
  uint64_t at = m * g.ldOut + n;
  if (g.outType == OUT_I32) {
    static_cast<uint32_t*>(g.out)[at] = bitsOf(sum);
    return;
  }
  float value = scaled(asFloat(sum), scaleA, scaleB, bias);
  if (g.outType == OUT_F32) {
    static_cast<float*>(g.out)[at] = value;
  } else {
    static_cast<uint16_t*>(g.out)[at] = static_cast<uint16_t>(pack2(value, 0.0f, g.outType == OUT_F16));
  }
}
