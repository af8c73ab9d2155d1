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

  /// Eight elements that lie at a multiple of 16 bytes, or zeros.
  DEVICE_MEMBER void load(const uint8_t* x, bool exist) {
    const uint4* p = reinterpret_cast<const uint4*>(x);
#pragma unroll
    for (int k = 0; k < Words; k++) w[k] = exist ? p[k] : make_uint4(0, 0, 0, 0);
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

/// The largest code.
template <bool Float8>
constexpr float kLimit = Float8 ? 448.0f : 127.0f;

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

/// Element i of a row or of the norm's weight.
template <uint32_t Type>
DEVICE float elementAt(const void* x, uint64_t i) {
  if (Type == OUT_F32) return static_cast<const float*>(x)[i];
  const uint16_t bits = static_cast<const uint16_t*>(x)[i];
  return Type == OUT_BF16 ? __uint_as_float(static_cast<uint32_t>(bits) << 16) : __half2float(__ushort_as_half(bits));
}

/// The larger of two magnitudes; NaN if one is.
DEVICE float larger(float a, float b) {
  float c;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(fabsf(b)));
  return c;
}

/// 1 / x to the last bit or one beside it, for x far from the ends of float's range.
DEVICE float reciprocal(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return __fmaf_rn(__fmaf_rn(-x, r, 1.0f), r, r);
}

/// The scale of a row whose largest magnitude is known: normal, or infinite, or NaN.
template <bool Float8>
DEVICE float scaleOf(float largest) {
  const float scale = __fdiv_rn(largest, kLimit<Float8>);
  return scale < 0x1p-126f ? 0x1p-126f : scale;
}

/// How a row becomes codes. A norm's factor is in every element and in the largest, so it is not in
/// their quotient: where nothing is near the ends of float's range, codes are x * weight times the
/// limit over max |x * weight|, and the factor is in the scale alone.
template <bool Float8, Mode How>
struct RowScale {
  float given;       // TENSOR: the scale
  float multiplier;  // of ordinary rows
  Found found;
  bool ordinary;     // finite, and no step of the quick way is denormal

  DEVICE_MEMBER RowScale(Found f, float given) : given(given), found(f) {
    const float largest = __uint_as_float(f.largest), squares = __uint_as_float(f.squares);
    if (How == NORM) {
      ordinary = largest == 0.0f || (largest > 0x1p-40f && largest < 0x1p40f && squares > 0x1p-100f && squares < 0x1p100f);
      multiplier = largest == 0.0f ? 0.0f : kLimit<Float8> * reciprocal(largest);
    } else {
      if (How == TOKEN) this->given = scaleOf<Float8>(largest);
      ordinary = (this->given > 0x1p-80f && this->given < 0x1p80f && f.largest < 0x7F800000u) ||
                 (How == TOKEN && f.largest == 0);
      multiplier = __frcp_rn(this->given);
    }
  }

  DEVICE_MEMBER float factor(const QuantizeArgs& g) const {
    return How == NORM ? __frsqrt_rn(__uint_as_float(found.squares) / g.columns + g.epsilon) : 1.0f;
  }
  DEVICE_MEMBER float scale(const QuantizeArgs& g) const {
    return How == NORM ? scaleOf<Float8>(__uint_as_float(found.largest) * factor(g)) : given;
  }

  /// The quotient of an element of an ordinary row. By a scale it is the product with the reciprocal and one
  /// correction with the exact remainder (Markstein 1990), correctly rounded up to 448 in magnitude. By the
  /// row's own scale nothing is larger; by a given one larger quotients come out large.
  DEVICE_MEMBER float quotient(float x) const {
    float q = x * multiplier;
    if (How == NORM) return q;
    if (How == TENSOR) q = fminf(fmaxf(q, -1024.0f), 1024.0f);
    return __fmaf_rn(__fmaf_rn(-q, given, x), multiplier, q);
  }

  /// Codes of four elements of an ordinary row: quotients rounded half to even, saturated.
  DEVICE_MEMBER uint32_t encode(const float* v) const {
    float q[4];
    if constexpr (Float8) {
#pragma unroll
      for (int j = 0; j < 4; j++) q[j] = quotient(v[j]);
      return pairE4m3(q[0], q[1]) | static_cast<uint32_t>(pairE4m3(q[2], q[3])) << 16;
    } else {
      constexpr float lastBits = 12582912.0f;  // 1.5 * 2^23, so that a sum's last bits are the integer
#pragma unroll
      for (int j = 0; j < 4; j++) {
        if (How == NORM) {
          q[j] = __fmaf_rn(v[j], multiplier, lastBits);
        } else {
          q[j] = quotient(v[j]);
          q[j] = (How == TENSOR ? fminf(fmaxf(q[j], -128.0f), 127.0f) : q[j]) + lastBits;
        }
      }
      return lastBytes(q);
    }
  }

  /// The code of an element of any row: NaN becomes 0 in int8, where the row's scale is NaN too, and stays
  /// NaN in e4m3.
  DEVICE_MEMBER uint8_t encodeAny(float x, float factor, float scale) const {
    if (ordinary && How == NORM) {
      const float same[4] = {x, x, x, x};
      return static_cast<uint8_t>(encode(same));
    }
    const float q = __fdiv_rn(x * factor, scale);
    if constexpr (Float8) return static_cast<uint8_t>(pairE4m3(q, 0.0f));
    return q == q ? static_cast<uint8_t>(__float2int_rn(fminf(fmaxf(q, -128.0f), 127.0f))) : 0;
  }
};

/// The first element of this thread. Its kVectors vectors of eight lie between those of its warp, so that they
/// are a constant apart.
DEVICE uint32_t firstElement() { return threadIdx.x / 32 * (kVectors * 256) + threadIdx.x % 32 * 8; }

/// This thread's part of a row element by element: rows that do not lie at multiples of 16 bytes, and codes of
/// rows that are not ordinary.
template <bool Float8, Mode How, uint32_t Type>
struct Elements {
  const QuantizeArgs& g;
  uint64_t row;

  DEVICE_MEMBER float x(uint32_t i) const { return elementAt<Type>(g.x, row * g.ldX + i); }
  DEVICE_MEMBER float y(uint32_t i) const { return How == NORM ? x(i) * elementAt<Type>(g.weight, i) : x(i); }

  template <class Body>
  DEVICE_MEMBER void each(Body body) const {
#pragma unroll 1
    for (uint32_t n = 0; n < kVectors * 8; n++) {
      const uint32_t i = firstElement() + n / 8 * 256 + n % 8;
      if (i < g.columns) body(i);
    }
  }

  /// What they come to.
  DEVICE_MEMBER Found find() const {
    float squares = 0.0f, largest = 0.0f;
    each([&](uint32_t i) {
      if (How == NORM) squares = __fmaf_rn(x(i), x(i), squares);
      largest = larger(largest, y(i));
    });
    return {__float_as_uint(squares), __float_as_uint(largest)};
  }

  DEVICE_MEMBER void encode(const RowScale<Float8, How>& s) const {
    const float factor = s.factor(g), scale = s.scale(g);
    each([&](uint32_t i) { g.codes[row * g.ldCodes + i] = s.encodeAny(y(i), factor, scale); });
  }
};

/// A thread's vectors of a row.
template <uint32_t Type>
struct Row {
  static constexpr uint32_t Bytes = Type == OUT_F32 ? 4 : 2;
  Eight<Type> v[kVectors];

  /// From the address of this thread's first element; zeros from `left` elements on.
  DEVICE_MEMBER void load(const uint8_t* x, int left) {
#pragma unroll
    for (int k = 0; k < kVectors; k++) v[k].load(x + k * (256 * Bytes), k * 256 < left);
  }

  DEVICE_MEMBER Found find() const {
    uint32_t largest = 0;
#pragma unroll
    for (int k = 0; k < kVectors; k++) largest = v[k].largest(largest);
    return {0, Eight<Type>::magnitude(largest)};
  }
};

/// Keeps the compiler from computing a value again where it is used.
DEVICE void keep(float& value) { asm volatile("" : "+f"(value)); }

/// x * weight of a thread's elements; the squares of x and the largest magnitude are found on the way.
template <uint32_t Type>
DEVICE Found weigh(float (&y)[kVectors][8], const Row<Type>& x, const Row<Type>& weight) {
  float squares[4] = {}, largest[4] = {};
#pragma unroll
  for (int k = 0; k < kVectors; k++) {
    float w[8];
    weight.v[k].unpack(w);
    x.v[k].unpack(y[k]);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      squares[j % 4] = __fmaf_rn(y[k][j], y[k][j], squares[j % 4]);
      y[k][j] *= w[j];
      largest[j % 4] = larger(largest[j % 4], y[k][j]);
    }
  }
#pragma unroll
  for (int k = 0; k < kVectors; k++) {
#pragma unroll
    for (int j = 0; j < 8; j++) keep(y[k][j]);
  }
  return {__float_as_uint((squares[0] + squares[1]) + (squares[2] + squares[3])),
          __float_as_uint(larger(larger(largest[0], largest[1]), larger(largest[2], largest[3])))};
}

/// Rows of vectors.
template <bool Float8, Mode How, uint32_t Type>
DEVICE void quantizeVectors(const QuantizeArgs& g, Found (*shared)[32]) {
  constexpr uint32_t bytes = Row<Type>::Bytes;
  constexpr bool ahead = bytes == 2;  // where there are registers for a second row
  const uint32_t first = firstElement();
  const int left = static_cast<int>(g.columns - first);
  const uint8_t* x = static_cast<const uint8_t*>(g.x) + (blockIdx.x * g.ldX + first) * bytes;
  const uint8_t* w = static_cast<const uint8_t*>(g.weight) + first * bytes;
  uint8_t* codes = g.codes + blockIdx.x * g.ldCodes + first;
  const uint64_t stepX = gridDim.x * g.ldX * bytes, stepCodes = gridDim.x * g.ldCodes;
  const float given = How == TENSOR ? *g.scales : 0.0f;
  const uint32_t rows = static_cast<uint32_t>(g.rows);
  Row<Type> row, next, weight;
  if (ahead) {
    next.load(x, left);
    x += stepX;
  }
  for (uint32_t r = blockIdx.x, turn = 0; r < rows; r += gridDim.x, turn ^= 1) {
    float y[kVectors][8];
    if (How == NORM) weight.load(w, left);
    if (ahead) {
      row = next;
      next.load(x, r + gridDim.x < rows ? left : 0);
    } else {
      row.load(x, left);
    }
    x += stepX;
    if (How == TENSOR) __syncthreads();  // warps far apart in memory are slower, by 4 to 6 % measured
    Found found = How == NORM ? weigh(y, row, weight) : row.find();
    if (How != TENSOR) found = acrossBlock<How == NORM>(found, shared[turn]);
    const RowScale<Float8, How> scale(found, given);
    if (How != TENSOR && threadIdx.x == 0) g.scales[r] = scale.scale(g);
    if (scale.ordinary) {
#pragma unroll
      for (int k = 0; k < kVectors; k++) {
        if (How != NORM) row.v[k].unpack(y[k]);
        if (k * 256 < left) {
          *reinterpret_cast<uint2*>(codes + k * 256) = make_uint2(scale.encode(y[k]), scale.encode(y[k] + 4));
        }
      }
    } else {
      Elements<Float8, How, Type>{g, r}.encode(scale);
    }
    codes += stepCodes;
  }
}

template <bool Float8, Mode How, uint32_t Type>
DEVICE void quantizeRows(const QuantizeArgs& g) {
  __shared__ Found shared[2][32];
  awaitPrecedingKernels();
  releaseFollowingKernels();
  const uint64_t addresses =
      reinterpret_cast<uint64_t>(g.x) | reinterpret_cast<uint64_t>(g.weight) | g.ldX * Row<Type>::Bytes;
  if ((addresses & 15) == 0 && ((reinterpret_cast<uint64_t>(g.codes) | g.ldCodes | g.columns) & 7) == 0) {
    quantizeVectors<Float8, How, Type>(g, shared);
    return;
  }
  const float given = How == TENSOR ? *g.scales : 0.0f;
#pragma unroll 1
  for (uint32_t r = blockIdx.x, turn = 0; r < g.rows; r += gridDim.x, turn ^= 1) {
    const Elements<Float8, How, Type> elements{g, r};
    Found found = elements.find();
    if (How != TENSOR) found = acrossBlock<How == NORM>(found, shared[turn]);
    const RowScale<Float8, How> scale(found, given);
    if (How != TENSOR && threadIdx.x == 0) g.scales[r] = scale.scale(g);
    elements.encode(scale);
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
