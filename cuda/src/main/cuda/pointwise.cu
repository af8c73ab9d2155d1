// Operations element by element on float32. A thread does four neighbours, with 16-byte accesses where
// everything is aligned for them; these kernels are as fast as memory.

#include "elements.cuh"

// The numbers are the ordinals of fqt.tensor.BinaryOp and UnaryOp.
enum Binary : uint32_t { ADD, SUBTRACT, MULTIPLY, DIVIDE, MIN, MAX };
enum Unary : uint32_t { ABS, EXP, SQRT, SIGMOID, SILU, GELU, GELU_TANH, QUICK_GELU, RELU };

constexpr int kPerThread = 4;

DEVICE float apply(uint32_t op, float a, float b) {
  switch (op) {
    case ADD: return a + b;
    case SUBTRACT: return a - b;
    case MULTIPLY: return a * b;
    case DIVIDE: return __fdiv_rn(a, b);
    case MIN: return a != a ? a : b != b ? b : fminf(a, b);
    default: return a != a ? a : b != b ? b : fmaxf(a, b);
  }
}

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

DEVICE float apply(uint32_t op, float x) {
  switch (op) {
    case ABS: return fabsf(x);
    case EXP: return expf(x);
    case SQRT: return __fsqrt_rn(x);
    case SIGMOID: return sigmoid(x);
    case SILU: return x * sigmoid(x);
    case GELU: return x * 0.5f * erfcf(-x * 0.70710678f);  // erfc keeps its digits where 1 + erf cancels
    case GELU_TANH: return x * sigmoid(1.5957691216f * (x + 0.044715f * x * x * x));
    case QUICK_GELU: return x * sigmoid(1.702f * x);
    default: return x != x ? x : fmaxf(x, 0.0f);
  }
}

DEVICE bool aligned(const void* a, const void* b, const void* c) {
  return ((reinterpret_cast<uint64_t>(a) | reinterpret_cast<uint64_t>(b) | reinterpret_cast<uint64_t>(c)) & 15) == 0;
}

/// Calls `f(values of a, values of b) -> value` for the thread's elements; b may be null.
template <class F>
DEVICE void forEach(const float* a, const float* b, float* out, uint64_t count, F f) {
  const uint64_t i = (static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kPerThread;
  if (i + kPerThread <= count && aligned(a, b, out)) {
    const float4 x = *reinterpret_cast<const float4*>(a + i);
    const float4 y = b == nullptr ? x : *reinterpret_cast<const float4*>(b + i);
    *reinterpret_cast<float4*>(out + i) = make_float4(f(x.x, y.x), f(x.y, y.y), f(x.z, y.z), f(x.w, y.w));
  } else {
    for (uint64_t j = i; j < i + kPerThread && j < count; j++) out[j] = f(a[j], b == nullptr ? 0.0f : b[j]);
  }
}

extern "C" __global__ void __launch_bounds__(256)
    binary(uint32_t op, const float* a, const float* b, float* out, uint64_t count) {
  forEach(a, b, out, count, [=](float x, float y) { return apply(op, x, y); });
}

/// b is repeated: element i of a meets element i modulo `period` of b.
extern "C" __global__ void __launch_bounds__(256)
    binary_repeated(uint32_t op, const float* a, const float* b, float* out, uint64_t count, uint64_t period) {
  const uint64_t i = (static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kPerThread;
  uint64_t place = i % period;
  for (uint64_t j = i; j < i + kPerThread && j < count; j++) {
    out[j] = apply(op, a[j], b[place]);
    place = place + 1 == period ? 0 : place + 1;
  }
}

extern "C" __global__ void __launch_bounds__(256) unary(uint32_t op, const float* x, float* out, uint64_t count) {
  forEach(x, nullptr, out, count, [=](float v, float) { return apply(op, v); });
}

extern "C" __global__ void __launch_bounds__(256)
    affine(const float* x, float scale, float shift, float* out, uint64_t count) {
  forEach(x, nullptr, out, count, [=](float v, float) { return __fmaf_rn(scale, v, shift); });
}

/// Also to bfloat16, as the linear that reads the result will see it, unless `rounded` is null.
extern "C" __global__ void __launch_bounds__(256)
    gated(uint32_t op, const float* gate, const float* up, float* out, uint64_t count, uint16_t* rounded) {
  const auto f = [=](float g, float u) { return apply(op, g) * u; };
  if (rounded == nullptr) {
    forEach(gate, up, out, count, f);
    return;
  }
  const uint64_t i = (static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kPerThread;
  if (i + kPerThread <= count && aligned(gate, up, out)) {
    const float4 x = *reinterpret_cast<const float4*>(gate + i), y = *reinterpret_cast<const float4*>(up + i);
    const float4 v = make_float4(f(x.x, y.x), f(x.y, y.y), f(x.z, y.z), f(x.w, y.w));
    *reinterpret_cast<float4*>(out + i) = v;
    const uint32_t low = floatToBf16(v.x) | static_cast<uint32_t>(floatToBf16(v.y)) << 16;
    const uint32_t high = floatToBf16(v.z) | static_cast<uint32_t>(floatToBf16(v.w)) << 16;
    *reinterpret_cast<uint2*>(rounded + i) = make_uint2(low, high);
  } else {
    for (uint64_t j = i; j < i + kPerThread && j < count; j++) {
      out[j] = f(gate[j], up[j]);
      rounded[j] = floatToBf16(out[j]);
    }
  }
}
