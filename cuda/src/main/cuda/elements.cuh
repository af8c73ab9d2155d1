// One element of any data type, and what a conversion means: between float types to the nearest, ties
// to even, the F8 types saturating; to an integer the nearest, ties to even, saturating, NaN is 0;
// between integers saturating; an integer becomes a float type through float32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "ptx.cuh"

using int8_t = signed char;
using Int64 = long long;

/// The types of fqt.tensor.DType, in the order of Launcher.java.
enum Type : uint32_t { F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U8, BOOL };

DEVICE bool isFloat(uint32_t type) { return type <= F8_E5M2; }

//   e4m3  s eeee mmm   bias 7, no infinity, NaN = s 1111 111
//   e5m2  s eeeee mm   the upper half of a float16
DEVICE float e4m3ToFloat(uint8_t code) {
  const uint32_t magnitude = code & 0x7F;
  const float value = magnitude == 0x7F ? __uint_as_float(0x7FC00000u) : __uint_as_float(magnitude << 20) * 0x1p120f;
  return code & 0x80 ? -value : value;
}

DEVICE float e5m2ToFloat(uint8_t code) { return __half2float(__ushort_as_half(static_cast<uint16_t>(code << 8))); }

/// The nearest code of a format with `Fraction` bits of fraction, whose exponent of zero is `Bias`.
template <int Fraction, int Bias>
DEVICE uint8_t floatToF8(float value, float largest, uint8_t largestCode) {
  const uint32_t bits = __float_as_uint(value);
  const uint8_t sign = bits >> 24 & 0x80;
  const float magnitude = fabsf(value);
  if (value != value) return sign | 0x7F;
  if (magnitude >= largest) return sign | largestCode;
  const float smallestNormal = __uint_as_float((127 - Bias + 1) << 23);
  if (magnitude < smallestNormal) {
    // Subnormals are multiples of the smallest one; a carry out of the fraction is the smallest normal.
    return sign | static_cast<uint8_t>(__float2int_rn(magnitude / smallestNormal * (1 << Fraction)));
  }
  constexpr int kDropped = 23 - Fraction;
  const uint32_t whole = bits & 0x7FFFFFFFu;
  const uint32_t rounded = (whole + (1u << (kDropped - 1)) - 1 + (whole >> kDropped & 1)) >> kDropped;
  return sign | static_cast<uint8_t>(rounded - ((127 - Bias) << Fraction));
}

DEVICE uint8_t floatToE4m3(float x) { return floatToF8<3, 7>(x, 448.0f, 0x7E); }
DEVICE uint8_t floatToE5m2(float x) { return floatToF8<2, 15>(x, 57344.0f, 0x7B); }

/// The nearest bfloat16, ties to even; a NaN keeps its sign and stays a quiet NaN.
DEVICE uint16_t floatToBf16(float x) {
  const uint32_t bits = __float_as_uint(x);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

DEVICE float bf16ToFloat(uint16_t bits) { return __uint_as_float(static_cast<uint32_t>(bits) << 16); }

DEVICE Int64 loadInteger(const void* x, uint32_t type, uint64_t i) {
  switch (type) {
    case I64: return static_cast<const Int64*>(x)[i];
    case I32: return static_cast<const int*>(x)[i];
    case I16: return static_cast<const short*>(x)[i];
    case I8: return static_cast<const int8_t*>(x)[i];
    default: return static_cast<const uint8_t*>(x)[i];
  }
}

DEVICE float loadFloat(const void* x, uint32_t type, uint64_t i) {
  switch (type) {
    case F32: return static_cast<const float*>(x)[i];
    case F16: return __half2float(static_cast<const __half*>(x)[i]);
    case BF16: return bf16ToFloat(static_cast<const uint16_t*>(x)[i]);
    case F8_E4M3: return e4m3ToFloat(static_cast<const uint8_t*>(x)[i]);
    case F8_E5M2: return e5m2ToFloat(static_cast<const uint8_t*>(x)[i]);
    default: return __ll2float_rn(loadInteger(x, type, i));
  }
}

DEVICE Int64 clamped(Int64 value, Int64 low, Int64 high) { return min(max(value, low), high); }

/// Stores an integer in an integer type.
DEVICE void storeInteger(void* x, uint32_t type, uint64_t i, Int64 value) {
  switch (type) {
    case I64: static_cast<Int64*>(x)[i] = value; break;
    case I32: static_cast<int*>(x)[i] = static_cast<int>(clamped(value, -2147483648ll, 2147483647ll)); break;
    case I16: static_cast<short*>(x)[i] = static_cast<short>(clamped(value, -32768, 32767)); break;
    case I8: static_cast<int8_t*>(x)[i] = static_cast<int8_t>(clamped(value, -128, 127)); break;
    case U8: static_cast<uint8_t*>(x)[i] = static_cast<uint8_t>(clamped(value, 0, 255)); break;
    default: static_cast<uint8_t*>(x)[i] = value != 0;
  }
}

/// Stores a float in any type.
DEVICE void storeFloat(void* x, uint32_t type, uint64_t i, float value) {
  switch (type) {
    case F32: static_cast<float*>(x)[i] = value; break;
    case F16: static_cast<__half*>(x)[i] = __float2half_rn(value); break;
    case BF16: static_cast<uint16_t*>(x)[i] = floatToBf16(value); break;
    case F8_E4M3: static_cast<uint8_t*>(x)[i] = floatToE4m3(value); break;
    case F8_E5M2: static_cast<uint8_t*>(x)[i] = floatToE5m2(value); break;
    case BOOL: static_cast<uint8_t*>(x)[i] = value != 0.0f; break;
    default: storeInteger(x, type, i, value != value ? 0 : __float2ll_rn(value));
  }
}

// --- sums and largest values over the threads of a block, in a fixed order

struct Sum {
  template <class T>
  DEVICE_MEMBER static T combine(T a, T b) {
    return a + b;
  }
};
struct Largest {
  template <class T>
  DEVICE_MEMBER static T combine(T a, T b) {
    return a > b ? a : b;
  }
};

/// The values of all threads of the block combined, in every thread; blocks are whole warps. `shared`
/// has room for a value a warp, and may be used again at once.
template <class Op, class T>
DEVICE T acrossBlock(T value, T* shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value = Op::combine(value, __shfl_xor_sync(~0u, value, offset));
  const uint32_t warps = blockDim.x / 32;
  if (warps == 1) return value;
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  T all = shared[0];
  for (uint32_t w = 1; w < warps; w++) all = Op::combine(all, shared[w]);
  __syncthreads();
  return all;
}
