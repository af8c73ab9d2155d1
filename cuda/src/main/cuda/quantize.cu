// Activations to 8 bits, at the speed of memory: a block of threads takes rows, keeps one in registers
// between finding its scale and writing its codes, and has the next one on its way meanwhile.
// Optionally the row is first normalized by its root mean square (Zhang and Sennrich 2019). Also copies
// rows whose length the copy engine cannot address.
//
// At 4 TB/s there are about 20 instructions for an element of 16 bits, so quotients are products with
// the reciprocal and one exact correction, and integers are read from the last bits of a sum.

#include "gemm.cuh"

constexpr int kVectors = 4;  // of eight elements, that a thread keeps

/// Arguments of the quantize kernels; the host writes the same 64 bytes (CudaQuantize.java).
struct QuantizeArgs {
  const void* x;        // [rows, columns], rows `ldX` elements apart
  const void* weight;   // of the norm, of the same type
  uint8_t* codes;       // [rows, columns], rows `ldCodes` bytes apart
  float* scales;        // one a row, written; or a given one, read
  uint64_t ldX, ldCodes;
  uint32_t columns;
  float epsilon;
  uint64_t rows;
};
static_assert(sizeof(QuantizeArgs) == 64, "the host writes 64 bytes");

/// Eight elements as they lie in memory, of a type as in OUT_*: 16 bytes, or 32 of float32. The type is
/// known to the compiler: what costs an instruction an element counts.
template <uint32_t Type>
struct Eight {
  static constexpr int Words = Type == OUT_F32 ? 2 : 1;
  uint4 w[Words];

  /// Zeros beyond `end`; 16 bytes at a time where `aligned`.
  DEVICE_MEMBER void load(const void* x, uint64_t base, uint32_t i, uint32_t end, bool aligned) {
    if (aligned && i + 8 <= end) {
      const uint4* p = reinterpret_cast<const uint4*>(static_cast<const uint8_t*>(x) + (base + i) * (2 * Words));
#pragma unroll
      for (int k = 0; k < Words; k++) w[k] = p[k];
      return;
    }
#pragma unroll
    for (int k = 0; k < Words; k++) w[k] = make_uint4(0, 0, 0, 0);
    if (i < end) loadPart(x, base + i, min(8u, end - i));
  }

  DEVICE_MEMBER void loadPart(const void* x, uint64_t at, uint32_t count) {
    uint32_t words[4 * Words] = {};
#pragma unroll
    for (uint32_t j = 0; j < 8; j++) {
      if (j >= count) continue;
      if (Words == 2) {
        words[j % (4 * Words)] = static_cast<const uint32_t*>(x)[at + j];
      } else {
        words[j / 2] |= static_cast<uint32_t>(static_cast<const uint16_t*>(x)[at + j]) << (j % 2 * 16);
      }
    }
#pragma unroll
    for (int k = 0; k < Words; k++) w[k] = make_uint4(words[4 * k], words[4 * k + 1], words[4 * k + 2], words[4 * k + 3]);
  }

  DEVICE_MEMBER void unpack(float (&v)[8]) const {
#pragma unroll
    for (int k = 0; k < Words; k++) {
      const uint32_t words[4] = {w[k].x, w[k].y, w[k].z, w[k].w};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        if (Words == 2) {
          v[k * 4 + j] = __uint_as_float(words[j]);
        } else if (Type == OUT_BF16) {
          v[2 * j] = __uint_as_float(words[j] << 16);
          v[2 * j + 1] = __uint_as_float(words[j] & 0xFFFF0000u);
        } else {
          v[2 * j] = __half2float(__ushort_as_half(static_cast<uint16_t>(words[j])));
          v[2 * j + 1] = __half2float(__ushort_as_half(static_cast<uint16_t>(words[j] >> 16)));
        }
      }
    }
  }

  /// The larger of two magnitudes, both halves of a word at once for 16-bit types; a NaN is larger than
  /// everything.
  DEVICE_MEMBER static uint32_t larger(uint32_t largest, uint32_t word) {
    return Words == 2 ? max(largest, word & 0x7FFFFFFFu) : __vmaxu2(largest, word & 0x7FFF7FFFu);
  }
  DEVICE_MEMBER uint32_t largest(uint32_t so) const {
#pragma unroll
    for (int k = 0; k < Words; k++) so = larger(larger(larger(larger(so, w[k].x), w[k].y), w[k].z), w[k].w);
    return so;
  }

  /// What `largest` came to, as the bits of a float.
  DEVICE_MEMBER static uint32_t magnitude(uint32_t largest) {
    if (Words == 2) return largest;
    const uint32_t half = max(largest & 0xFFFFu, largest >> 16);
    return Type == OUT_BF16 ? half << 16 : __float_as_uint(__half2float(__ushort_as_half(static_cast<uint16_t>(half))));
  }
};

/// The same value in all threads of the warp: the largest, or the sum in a fixed order.
template <bool Max>
DEVICE uint32_t acrossWarp(uint32_t value) {
  if constexpr (Max) {
    return __reduce_max_sync(~0u, value);
  } else {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      value = __float_as_uint(__uint_as_float(value) + __uint_as_float(__shfl_xor_sync(~0u, value, offset)));
    }
    return value;
  }
}

/// What the threads of a block found: the sum of squares, where it is needed, and the largest magnitude.
struct Found {
  uint32_t squares, largest;  // the bits of floats
};

/// The same in all threads of the block. `shared` may be used again after the next call with other memory.
template <bool Squares>
DEVICE Found acrossBlock(Found f, Found* shared) {
  const auto acrossWarpOf = [](Found g) -> Found {
    return {Squares ? acrossWarp<false>(g.squares) : 0, acrossWarp<true>(g.largest)};
  };
  f = acrossWarpOf(f);
  const uint32_t warps = blockDim.x / 32, lane = threadIdx.x % 32;
  if (warps == 1) return f;
  if (lane == 0) shared[threadIdx.x / 32] = f;
  __syncthreads();
  // Zero is neutral for both.
  return acrossWarpOf(lane < warps ? shared[lane] : Found{0, 0});
}

/// What is done to a row: quantized by its own largest magnitude, by a given scale, or by its own after it
/// was normalized.
enum Mode { TOKEN, TENSOR, NORM };

/// Division of finite numbers by a normal scale: the product with the reciprocal and one correction with
/// the exact remainder (Markstein 1990), correctly rounded up to 448 in magnitude. By the row's own scale
/// nothing is larger; by a given one larger quotients come out large.
template <Mode How>
struct Divisor {
  float scale, reciprocal;
  DEVICE_MEMBER explicit Divisor(float scale) : scale(scale), reciprocal(__frcp_rn(scale)) {}
  DEVICE_MEMBER static bool fits(float scale, uint32_t largest) {
    return scale > 0x1p-80f && scale < 0x1p80f && largest < 0x7F800000u;
  }
  DEVICE_MEMBER float operator()(float x) const {
    float q = x * reciprocal;
    if (How == TENSOR) q = fminf(fmaxf(q, -1024.0f), 1024.0f);
    return __fmaf_rn(__fmaf_rn(-q, scale, x), reciprocal, q);
  }
};

DEVICE uint16_t pairE4m3(float low, float high) {
  uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
}

/// Four bytes of the last bits of four numbers near 1.5 * 2^23.
DEVICE uint32_t lastBytes(const float (&q)[4]) {
  const uint32_t low = __byte_perm(__float_as_uint(q[0]), __float_as_uint(q[1]), 0x0040);
  const uint32_t high = __byte_perm(__float_as_uint(q[2]), __float_as_uint(q[3]), 0x0040);
  return __byte_perm(low, high, 0x5410);
}

/// Codes of four finite values: x / scale rounded half to even, saturated.
template <bool Float8, Mode How>
DEVICE uint32_t encode4(const float* v, const Divisor<How>& divided) {
  float q[4];
#pragma unroll
  for (int j = 0; j < 4; j++) q[j] = divided(v[j]);
  if constexpr (Float8) {
    return pairE4m3(q[0], q[1]) | static_cast<uint32_t>(pairE4m3(q[2], q[3])) << 16;
  } else {
#pragma unroll
    for (int j = 0; j < 4; j++) q[j] = (How == TENSOR ? fminf(fmaxf(q[j], -128.0f), 127.0f) : q[j]) + 12582912.0f;
    return lastBytes(q);
  }
}

/// Any value by any scale: NaN becomes 0 in int8, where the row's scale is NaN too, and stays NaN in e4m3.
template <bool Float8>
DEVICE uint8_t encodeAny(float x, float scale) {
  const float q = __fdiv_rn(x, scale);
  if constexpr (Float8) return static_cast<uint8_t>(pairE4m3(q, 0.0f));
  return q == q ? static_cast<uint8_t>(__float2int_rn(fminf(fmaxf(q, -128.0f), 127.0f))) : 0;
}

DEVICE void storeCodes(uint8_t* codes, uint32_t i, uint32_t end, bool whole, uint2 word) {
  if (whole && i + 8 <= end) {
    *reinterpret_cast<uint2*>(codes + i) = word;
    return;
  }
#pragma unroll 1
  for (uint32_t j = 0; j < 8 && i + j < end; j++) {
    codes[i + j] = static_cast<uint8_t>((j < 4 ? word.x : word.y) >> (j % 4 * 8));
  }
}

/// Element i of a row or of the norm's weight.
template <uint32_t Type>
DEVICE float elementAt(const void* x, uint64_t i) {
  if (Type == OUT_F32) return static_cast<const float*>(x)[i];
  const uint16_t bits = static_cast<const uint16_t*>(x)[i];
  return Type == OUT_BF16 ? __uint_as_float(static_cast<uint32_t>(bits) << 16) : __half2float(__ushort_as_half(bits));
}

DEVICE float normalized(float x, float weight, float factor) { return x * weight * factor; }

/// This thread's elements of a row that is not ordinary, one by one.
template <bool Float8, Mode How, uint32_t Type>
DEVICE void quantizeStrange(const QuantizeArgs& g, uint64_t row, float factor, float scale) {
#pragma unroll 1
  for (uint32_t i = threadIdx.x * 8; i < g.columns; i += blockDim.x * 8) {
#pragma unroll 1
    for (uint32_t j = i; j < min(i + 8, g.columns); j++) {
      const float x = elementAt<Type>(g.x, row * g.ldX + j);
      const float y = How == NORM ? normalized(x, elementAt<Type>(g.weight, j), factor) : x;
      g.codes[row * g.ldCodes + j] = encodeAny<Float8>(y, scale);
    }
  }
}

/// The larger of two magnitudes; NaN if one is.
DEVICE float larger(float a, float b) {
  float c;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(fabsf(b)));
  return c;
}

/// Multiplies what a thread keeps by the norm's weight, into `y`, and finds the squares of x and the
/// largest magnitude of y on the way. The factor of the row is not known yet.
template <uint32_t Type>
DEVICE Found weigh(float (&y)[kVectors][8], const Eight<Type> (&row)[kVectors], const QuantizeArgs& g) {
  const bool aligned = (reinterpret_cast<uint64_t>(g.weight) & 15) == 0;
  float squares[4] = {}, largest[4] = {};
#pragma unroll
  for (int k = 0; k < kVectors; k++) {
    Eight<Type> weights;
    float w[8];
    weights.load(g.weight, 0, (k * blockDim.x + threadIdx.x) * 8, g.columns, aligned);
    weights.unpack(w);
    row[k].unpack(y[k]);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      squares[j % 4] = __fmaf_rn(y[k][j], y[k][j], squares[j % 4]);
      y[k][j] *= w[j];
      largest[j % 4] = larger(largest[j % 4], y[k][j]);
    }
  }
  return {__float_as_uint((squares[0] + squares[1]) + (squares[2] + squares[3])),
          __float_as_uint(larger(larger(largest[0], largest[1]), larger(largest[2], largest[3])))};
}

/// The scale of a row whose largest magnitude is known.
template <bool Float8>
DEVICE float scaleOf(float limit) {
  const float scale = limit == 0.0f ? 1.0f : __fdiv_rn(limit, Float8 ? 448.0f : 127.0f);
  return scale == 0.0f ? 1.17549435e-38f : scale;  // the row's values are denormal
}

template <bool Float8, Mode How, uint32_t Type>
DEVICE void quantizeRows(const QuantizeArgs& g) {
  constexpr int bytes = Type == OUT_F32 ? 4 : 2;
  constexpr bool ahead = bytes == 2;  // where there are registers for a second row
  __shared__ Found shared[2][32];
  awaitPrecedingKernels();
  releaseFollowingKernels();
  const bool aligned = ((reinterpret_cast<uint64_t>(g.x) | g.ldX * bytes) & 15) == 0;
  const bool whole = ((reinterpret_cast<uint64_t>(g.codes) | g.ldCodes) & 7) == 0;
  Eight<Type> row[kVectors], next[kVectors];
  const auto fetch = [&](Eight<Type> (&to)[kVectors], uint32_t r) {
#pragma unroll
    for (int k = 0; k < kVectors; k++) {
      const uint32_t i = (k * blockDim.x + threadIdx.x) * 8;
      to[k].load(g.x, static_cast<uint64_t>(r) * g.ldX, i, r < g.rows ? g.columns : 0, aligned);
    }
  };
  if (ahead) fetch(next, blockIdx.x);
  for (uint32_t r = blockIdx.x, turn = 0; r < g.rows; r += gridDim.x, turn ^= 1) {
    if (ahead) {
#pragma unroll
      for (int k = 0; k < kVectors; k++) row[k] = next[k];
      fetch(next, r + gridDim.x);
    } else {
      fetch(row, r);
    }
    float y[kVectors][8], factor = 1.0f, scale;
    Found found{0, 0};
    if (How == NORM) {
      found = acrossBlock<true>(weigh(y, row, g), shared[turn]);
      factor = __frsqrt_rn(__uint_as_float(found.squares) / g.columns + g.epsilon);
      found.largest = __float_as_uint(__uint_as_float(found.largest) * factor);
    } else {
#pragma unroll
      for (int k = 0; k < kVectors; k++) found.largest = row[k].largest(found.largest);
      found.largest = Eight<Type>::magnitude(found.largest);
      if (How == TOKEN) found = acrossBlock<false>(found, shared[turn]);
    }
    if (How == TENSOR) {
      scale = *g.scales;
    } else {
      scale = scaleOf<Float8>(__uint_as_float(found.largest));
      if (threadIdx.x == 0) g.scales[r] = scale;
    }
    if (!Divisor<How>::fits(scale, found.largest)) {
      quantizeStrange<Float8, How, Type>(g, r, factor, scale);
      continue;
    }
    const Divisor<How> divided(scale);
    uint8_t* codes = g.codes + static_cast<uint64_t>(r) * g.ldCodes;
#pragma unroll
    for (int k = 0; k < kVectors; k++) {
      const uint32_t i = (k * blockDim.x + threadIdx.x) * 8;
      if (i >= g.columns) continue;
      if (How == NORM) {
#pragma unroll
        for (int j = 0; j < 8; j++) y[k][j] *= factor;
      } else {
        row[k].unpack(y[k]);
      }
      storeCodes(codes, i, g.columns, whole, make_uint2(encode4<Float8>(y[k], divided), encode4<Float8>(y[k] + 4, divided)));
    }
  }
}

// The norm takes more registers than 1024 threads have.
#define QUANTIZE(NAME, FLOAT8, MODE, TYPE)                                \
  extern "C" __global__ void __launch_bounds__(MODE == NORM ? 768 : 1024) \
  NAME(const __grid_constant__ QuantizeArgs args) {                       \
    quantizeRows<FLOAT8, MODE, TYPE>(args);                               \
  }
#define QUANTIZE_TYPES(NAME, FLOAT8, MODE)      \
  QUANTIZE(NAME##_bf16, FLOAT8, MODE, OUT_BF16) \
  QUANTIZE(NAME##_f16, FLOAT8, MODE, OUT_F16)   \
  QUANTIZE(NAME##_f32, FLOAT8, MODE, OUT_F32)
#define QUANTIZE_ALL(NAME, FLOAT8)              \
  QUANTIZE_TYPES(NAME##_token, FLOAT8, TOKEN)   \
  QUANTIZE_TYPES(NAME##_tensor, FLOAT8, TENSOR) \
  QUANTIZE_TYPES(NAME##_norm, FLOAT8, NORM)

QUANTIZE_ALL(quantize_s8, false)
#if __CUDA_ARCH__ >= 890
QUANTIZE_ALL(quantize_e4m3, true)
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
