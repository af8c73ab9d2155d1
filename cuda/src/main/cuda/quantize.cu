// Activations to 8 bits, at the speed of memory: one block a row, the row kept in registers between
// finding its scale and writing its codes. Optionally the row is first normalized by its root mean
// square (Zhang and Sennrich 2019). Also copies rows whose length the copy engine cannot address.

#include "gemm.cuh"

constexpr int kVectors = 4;  // of eight elements, that a thread keeps

/// Arguments of the quantize kernels; the host writes the same 64 bytes.
struct QuantizeArgs {
  const void* x;        // [rows, columns], rows `ldX` elements apart, of type `type` as in OUT_*
  const void* weight;   // of the norm, of the same type; null for no norm
  uint8_t* codes;       // [rows, columns], rows `ldCodes` bytes apart
  float* scales;        // one a row, written; or a single one, read, if `fixed`
  uint64_t ldX, ldCodes;
  uint32_t columns;
  uint32_t type;
  float epsilon;
  uint32_t fixed;
};
static_assert(sizeof(QuantizeArgs) == 64, "the host writes 64 bytes");

DEVICE float element(const void* x, uint64_t i, uint32_t type) {
  if (type == OUT_F32) return static_cast<const float*>(x)[i];
  const uint16_t bits = static_cast<const uint16_t*>(x)[i];
  return type == OUT_BF16 ? __uint_as_float(static_cast<uint32_t>(bits) << 16) : __half2float(__ushort_as_half(bits));
}

/// Eight elements from `i`, zeros beyond `end`; one or two 16-byte loads if `aligned`.
DEVICE void load8(float (&v)[8], const void* x, uint64_t base, uint32_t i, uint32_t end, uint32_t type, bool aligned) {
  if (aligned && i + 8 <= end) {
    if (type == OUT_F32) {
      const float4* p = reinterpret_cast<const float4*>(static_cast<const float*>(x) + base + i);
      const float4 a = p[0], b = p[1];
      v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
    } else {
      const uint4 w = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(x) + base + i);
      const uint32_t words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        if (type == OUT_BF16) {
          v[2 * j] = __uint_as_float(words[j] << 16);
          v[2 * j + 1] = __uint_as_float(words[j] & 0xFFFF0000u);
        } else {
          v[2 * j] = __half2float(__ushort_as_half(static_cast<uint16_t>(words[j])));
          v[2 * j + 1] = __half2float(__ushort_as_half(static_cast<uint16_t>(words[j] >> 16)));
        }
      }
    }
  } else {
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = i + j < end ? element(x, base + i + j, type) : 0.0f;
  }
}

/// The larger magnitude; a NaN is larger than everything and stays.
DEVICE uint32_t magnitude(float x) { return __float_as_uint(x) & 0x7FFFFFFFu; }

/// The same value in all threads of the block: the largest, or the sum in a fixed order.
template <bool Max>
DEVICE uint32_t acrossBlock(uint32_t value, uint32_t* shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const uint32_t other = __shfl_xor_sync(~0u, value, offset);
    value = Max ? max(value, other) : __float_as_uint(__uint_as_float(value) + __uint_as_float(other));
  }
  const uint32_t warps = blockDim.x / 32;
  if (warps == 1) return value;
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  uint32_t all = shared[0];
  for (uint32_t w = 1; w < warps; w++) {
    all = Max ? max(all, shared[w]) : __float_as_uint(__uint_as_float(all) + __uint_as_float(shared[w]));
  }
  __syncthreads();
  return all;
}

/// x / scale, correctly rounded: a quotient by the reciprocal and one correction with the exact
/// remainder (Markstein 1990), which needs neither to leave the normal range. Quotients too large for
/// that saturate anyway.
DEVICE float divide(float x, float scale, float reciprocal, bool normal) {
  if (!normal) return __fdiv_rn(x, scale);
  const float q = x * reciprocal;
  return fabsf(q) < 1e6f ? __fmaf_rn(__fmaf_rn(-q, scale, x), reciprocal, q) : q;
}

/// Codes of eight values: x / scale rounded half to even, saturated; NaN becomes 0 in int8, where the
/// row's scale is NaN too, and stays NaN in e4m3.
template <bool Float8>
DEVICE uint2 encode8(const float (&v)[8], float scale) {
  uint32_t words[2];
  const float reciprocal = __frcp_rn(scale);
  const bool normal = scale > 0x1p-80f && scale < 0x1p80f;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float q[4];
#pragma unroll
    for (int j = 0; j < 4; j++) q[j] = divide(v[h * 4 + j], scale, reciprocal, normal);
    if constexpr (Float8) {
      uint16_t low, high;
      asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(q[1]), "f"(q[0]));
      asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(q[3]), "f"(q[2]));
      words[h] = low | static_cast<uint32_t>(high) << 16;
    } else {
      words[h] = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int code;
        asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(code) : "f"(q[j]));
        code = q[j] == q[j] ? code : 0;
        words[h] |= static_cast<uint32_t>(code & 0xFF) << (8 * j);
      }
    }
  }
  return make_uint2(words[0], words[1]);
}

DEVICE void normalize(float (&v)[8], float factor, const void* weight, uint32_t i, const QuantizeArgs& g) {
  float w[8];
  load8(w, weight, 0, i, g.columns, g.type, (reinterpret_cast<uint64_t>(weight) & 15) == 0);
#pragma unroll
  for (int j = 0; j < 8; j++) v[j] = v[j] * factor * w[j];
}

template <bool Float8>
DEVICE void quantizeRow(const QuantizeArgs& g) {
  __shared__ uint32_t shared[32];
  awaitPrecedingKernels();
  releaseFollowingKernels();
  const uint64_t row = static_cast<uint64_t>(blockIdx.x) * g.ldX;
  const uint32_t bytes = g.type == OUT_F32 ? 4 : 2;
  const bool aligned = ((reinterpret_cast<uint64_t>(g.x) | g.ldX * bytes) & 15) == 0;
  const uint32_t step = blockDim.x * 8;
  float kept[kVectors][8];
  uint32_t largest = 0;
  float squares = 0.0f;
#pragma unroll
  for (int k = 0; k < kVectors; k++) {
    load8(kept[k], g.x, row, k * step + threadIdx.x * 8, g.columns, g.type, aligned);
  }
#pragma unroll
  for (int k = 0; k < kVectors; k++) {
#pragma unroll
    for (int j = 0; j < 8; j++) {
      largest = max(largest, magnitude(kept[k][j]));
      squares = __fmaf_rn(kept[k][j], kept[k][j], squares);
    }
  }
  float factor = 1.0f;
  if (g.weight != nullptr) {
    squares = __uint_as_float(acrossBlock<false>(__float_as_uint(squares), shared));
    factor = __frsqrt_rn(squares / g.columns + g.epsilon);
    largest = 0;
#pragma unroll
    for (int k = 0; k < kVectors; k++) {
      const uint32_t i = k * step + threadIdx.x * 8;
      if (i < g.columns) normalize(kept[k], factor, g.weight, i, g);
#pragma unroll
      for (int j = 0; j < 8; j++) largest = max(largest, magnitude(kept[k][j]));
    }
  }
  float scale;
  if (g.fixed) {
    scale = *g.scales;
  } else {
    const float limit = __uint_as_float(acrossBlock<true>(largest, shared));
    scale = limit == 0.0f ? 1.0f : __fdiv_rn(limit, Float8 ? 448.0f : 127.0f);
    if (scale == 0.0f) scale = 1.17549435e-38f;  // the row's values are denormal
    if (threadIdx.x == 0) g.scales[blockIdx.x] = scale;
  }
  uint8_t* codes = g.codes + blockIdx.x * g.ldCodes;
  const bool whole = ((reinterpret_cast<uint64_t>(g.codes) | g.ldCodes) & 7) == 0;
#pragma unroll
  for (int k = 0; k < kVectors; k++) {
    const uint32_t i = k * step + threadIdx.x * 8;
    if (i < g.columns) {
      const uint2 word = encode8<Float8>(kept[k], scale);
      if (whole && i + 8 <= g.columns) {
        *reinterpret_cast<uint2*>(codes + i) = word;
      } else {
#pragma unroll 1
        for (uint32_t j = 0; j < 8 && i + j < g.columns; j++) {
          codes[i + j] = static_cast<uint8_t>((j < 4 ? word.x : word.y) >> (j % 4 * 8));
        }
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(1024) quantize_s8(const __grid_constant__ QuantizeArgs args) {
  quantizeRow<false>(args);
}
#if __CUDA_ARCH__ >= 890
extern "C" __global__ void __launch_bounds__(1024) quantize_e4m3(const __grid_constant__ QuantizeArgs args) {
  quantizeRow<true>(args);
}
#endif

/// Copies rows of `bytes` bytes to rows that are `ldTarget` bytes apart.
extern "C" __global__ void __launch_bounds__(256) copy_rows(
    const uint8_t* source, uint8_t* target, uint64_t ldSource, uint64_t ldTarget, uint64_t bytes) {
  awaitPrecedingKernels();
  const uint64_t row = blockIdx.x;
  for (uint64_t i = threadIdx.x; i < bytes; i += blockDim.x) {
    target[row * ldTarget + i] = source[row * ldSource + i];
  }
}
