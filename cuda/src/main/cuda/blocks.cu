// Quantization of a matrix by blocks: codes, values, ranges and errors. Every number goes through the
// operations of the CPU backend in the same order, so codes are equal to the last bit; hence the
// intrinsics, which the compiler never joins into fused operations.

#include "elements.cuh"

/// Arguments of all these kernels, each in eight bytes (CudaBlocks.java). Pointers that a kernel does
/// not need are null.
struct BlockArgs {
  uint64_t rows, columns;     // of the matrix
  uint64_t height, width;     // of a block
  uint64_t across;            // blocks side by side
  const float* x;             // [rows, columns]
  const float* scale;         // one a block
  const float* zero;          // one a block, or null for 0
  alignas(8) float low;       // smallest and largest code
  alignas(8) float high;
  alignas(8) uint32_t code;   // type of the codes
  uint8_t* codes;             // [rows, columns]
  void* out;                  // [rows, columns], or one a block
  alignas(8) uint32_t outType;
  uint64_t slices;            // parts of a tall block that are reduced on their own
  void* partial;              // what they came to, [slices] of each block
  uint64_t team;              // threads that reduce a slice: 8, a warp, or all of a block of threads
};

/// How a block is quantized. A quotient by a normal scale is the product with the reciprocal and one
/// correction with the exact remainder (Markstein 1990): correctly rounded up to 10^6 in magnitude, and
/// beyond that, where every code saturates, large.
struct Rule {
  float scale, zero, reciprocal;
  bool normal;
  DEVICE_MEMBER Rule(const BlockArgs& g, uint64_t block)
      : scale(g.scale[block]), zero(g.zero == nullptr ? 0.0f : g.zero[block]), reciprocal(__frcp_rn(scale)),
        normal(scale > 0x1p-80f && scale < 0x1p80f) {}
  DEVICE_MEMBER float quotient(float x) const {
    if (!normal) return __fdiv_rn(x, scale);
    const float q = fminf(fmaxf(x * reciprocal, -1e6f), 1e6f);
    return __fmaf_rn(__fmaf_rn(-q, scale, x), reciprocal, q);
  }
};

/// Rounds half to even below 2^22; what is larger stays large.
DEVICE float whole(float x) { return __fsub_rn(__fadd_rn(x, 12582912.0f), 12582912.0f); }

/// The code of x as a float: whole and within [low, high], or an 8-bit float.
DEVICE float encode(const BlockArgs& g, float x, const Rule& rule) {
  const float ratio = rule.quotient(x);
  if (isFloat(g.code)) {
    // Comparisons with NaN fail, so it stays.
    const float inside = ratio < g.low ? g.low : ratio > g.high ? g.high : ratio;
    return g.code == F8_E4M3 ? e4m3ToFloat(floatToE4m3(inside)) : e5m2ToFloat(floatToE5m2(inside));
  }
  return fminf(fmaxf(__fadd_rn(ratio == ratio ? whole(ratio) : 0.0f, rule.zero), g.low), g.high);
}

/// The byte that a code is stored in; integers fit, the host has seen to that.
DEVICE uint8_t byteOf(float code, uint32_t type) {
  switch (type) {
    case F8_E4M3: return floatToE4m3(code);
    case F8_E5M2: return floatToE5m2(code);
    default: return static_cast<uint8_t>(__float_as_uint(code + 12582912.0f));
  }
}

DEVICE float decode(float code, const Rule& rule) { return __fmul_rn(rule.scale, __fsub_rn(code, rule.zero)); }

// --- element by element: a thread takes four neighbours in each row that its block comes by

constexpr uint32_t kRun = 4;

template <class T>
struct alignas(sizeof(T) * kRun) Run {
  T v[kRun];
};

/// Four neighbours in one access where all are there and aligned.
template <class T>
DEVICE Run<T> loadRun(const T* p, uint32_t count) {
  if (count == kRun && (reinterpret_cast<uint64_t>(p) & (sizeof(Run<T>) - 1)) == 0) {
    return *reinterpret_cast<const Run<T>*>(p);
  }
  Run<T> run{};
#pragma unroll
  for (uint32_t i = 0; i < kRun; i++) {
    if (i < count) run.v[i] = p[i];
  }
  return run;
}

template <class T>
DEVICE void storeRun(T* p, uint32_t count, const Run<T>& run) {
  if (count == kRun && (reinterpret_cast<uint64_t>(p) & (sizeof(Run<T>) - 1)) == 0) {
    *reinterpret_cast<Run<T>*>(p) = run;
    return;
  }
#pragma unroll
  for (uint32_t i = 0; i < kRun; i++) {
    if (i < count) p[i] = run.v[i];
  }
}

/// Calls `step(index of the first element, count, rule of element i)` for every run.
template <class Step>
DEVICE void forEachRun(const BlockArgs& g, Step step) {
  const uint64_t first = (static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kRun;
  if (first >= g.columns) return;
  const uint32_t count = static_cast<uint32_t>(min(static_cast<uint64_t>(kRun), g.columns - first));
  const uint32_t width = static_cast<uint32_t>(g.width), height = static_cast<uint32_t>(g.height);
  uint32_t place[kRun];
#pragma unroll
  for (uint32_t i = 0; i < kRun; i++) place[i] = static_cast<uint32_t>(min(first + i, g.columns - 1)) / width;
  const bool one = place[0] == place[kRun - 1];
  for (uint32_t row = blockIdx.y; row < g.rows; row += gridDim.y) {
    const uint64_t line = row / height * g.across;
    if (one) {
      const Rule rule(g, line + place[0]);
      step(row * g.columns + first, count, [&](uint32_t) { return rule; });
    } else {
      step(row * g.columns + first, count, [&](uint32_t i) { return Rule(g, line + place[i]); });
    }
  }
}

extern "C" __global__ void __launch_bounds__(256) blocks_quantize(const __grid_constant__ BlockArgs g) {
  forEachRun(g, [&](uint64_t at, uint32_t count, auto rule) {
    const Run<float> x = loadRun(g.x + at, count);
    Run<uint8_t> codes;
#pragma unroll
    for (uint32_t i = 0; i < kRun; i++) codes.v[i] = byteOf(encode(g, x.v[i], rule(i)), g.code);
    storeRun(g.codes + at, count, codes);
  });
}

extern "C" __global__ void __launch_bounds__(256) blocks_dequantize(const __grid_constant__ BlockArgs g) {
  forEachRun(g, [&](uint64_t at, uint32_t count, auto rule) {
    const Run<uint8_t> codes = loadRun(static_cast<const uint8_t*>(g.codes) + at, count);
    Run<float> wide;
    Run<uint16_t> narrow;
#pragma unroll
    for (uint32_t i = 0; i < kRun; i++) {
      wide.v[i] = decode(loadFloat(codes.v, g.code, i), rule(i));
      storeFloat(narrow.v, g.outType == F16 ? F16 : BF16, i, wide.v[i]);
    }
    switch (g.outType) {
      case F32: storeRun(static_cast<float*>(g.out) + at, count, wide); break;
      case F16:
      case BF16: storeRun(static_cast<uint16_t*>(g.out) + at, count, narrow); break;
      default:
        for (uint32_t i = 0; i < count; i++) storeFloat(g.out, g.outType, at + i, wide.v[i]);
    }
  });
}

extern "C" __global__ void __launch_bounds__(256) blocks_fake(const __grid_constant__ BlockArgs g) {
  forEachRun(g, [&](uint64_t at, uint32_t count, auto rule) {
    Run<float> x = loadRun(g.x + at, count);
#pragma unroll
    for (uint32_t i = 0; i < kRun; i++) {
      const Rule r = rule(i);
      x.v[i] = decode(encode(g, x.v[i], r), r);
    }
    storeRun(static_cast<float*>(g.out) + at, count, x);
  });
}

// --- block by block: teams of threads, each on one slice of a block

/// Calls `step(x)` for this thread's share of a slice. Neighbouring threads take neighbouring elements
/// of a row, and of several rows where rows are shorter than the team.
template <class Step>
DEVICE void forSlice(const BlockArgs& g, uint64_t block, uint64_t slice, Step step) {
  const uint64_t top = block / g.across * g.height, left = block % g.across * g.width;
  const uint64_t height = min(g.height, g.rows - top);
  const uint32_t width = static_cast<uint32_t>(min(g.width, g.columns - left));
  const uint64_t tall = (g.height + g.slices - 1) / g.slices;
  const uint64_t from = min(height, slice * tall), to = min(height, from + tall);
  const float* x = g.x + top * g.columns + left;
  const uint32_t team = static_cast<uint32_t>(g.team), thread = threadIdx.x % team;
  if (((g.columns | g.width | left) & 3) == 0 && (reinterpret_cast<uint64_t>(g.x) & 15) == 0 && width >= 4 * team) {
    for (uint64_t row = from; row < to; row++) {
#pragma unroll 4
      for (uint32_t k = thread * 4; k < width; k += team * 4) {
        const float4 v = *reinterpret_cast<const float4*>(x + row * g.columns + k);
        step(v.x), step(v.y), step(v.z), step(v.w);
      }
    }
  } else if (width >= team) {
    for (uint64_t row = from; row < to; row++) {
#pragma unroll 4
      for (uint32_t k = thread; k < width; k += team) step(x[row * g.columns + k]);
    }
  } else {
    const uint32_t lines = team / width, line = thread / width, k = thread % width;
    for (uint64_t row = from + line; line < lines && row < to; row += lines) step(x[row * g.columns + k]);
  }
}

/// The order of floats as unsigned numbers: -inf < ... < -0 < +0 < ... < +inf.
DEVICE uint32_t orderOf(float x) {
  const uint32_t bits = __float_as_uint(x);
  return bits ^ (bits >> 31 ? 0xFFFFFFFFu : 0x80000000u);
}
DEVICE float ofOrder(uint32_t order) {
  return __uint_as_float(order ^ (order >> 31 ? 0x80000000u : 0xFFFFFFFFu));
}

/// Smallest and largest; NaN, if there is one, is both.
struct Range {
  uint32_t smallest, largest;
  DEVICE_MEMBER static Range none() { return {0xFFFFFFFFu, 0}; }
  DEVICE_MEMBER void take(float x) {
    const bool nan = x != x;
    smallest = min(smallest, nan ? 0u : orderOf(x));
    largest = max(largest, nan ? 0xFFFFFFFFu : orderOf(x));
  }
  DEVICE_MEMBER void join(const Range& other) {
    smallest = min(smallest, other.smallest);
    largest = max(largest, other.largest);
  }
  DEVICE_MEMBER Range from(int lane) const {
    Range r;
    r.smallest = __shfl_xor_sync(~0u, smallest, lane);
    r.largest = __shfl_xor_sync(~0u, largest, lane);
    return r;
  }
};

/// A sum in f64, always added in the same order.
struct Total {
  double sum;
  DEVICE_MEMBER static Total none() { return {0.0}; }
  DEVICE_MEMBER void join(const Total& other) { sum += other.sum; }
  DEVICE_MEMBER Total from(int lane) const {
    Total t;
    t.sum = __shfl_xor_sync(~0u, sum, lane);
    return t;
  }
};

/// What all threads of a team found, in its first thread.
template <class T>
DEVICE T acrossTeam(T value, uint32_t team) {
  __shared__ T warps[32];
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    if (lane < team) value.join(value.from(lane));
  }
  if (team > 32) {
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    for (uint32_t w = 1; threadIdx.x == 0 && w < blockDim.x / 32; w++) value.join(warps[w]);
  }
  return value;
}

/// Reduces each slice of each block; `finish(block, result)` gets what has only one slice.
template <class T, class Take, class Finish>
DEVICE void reduceBlocks(const BlockArgs& g, Take take, Finish finish) {
  const uint64_t blocks = (g.rows + g.height - 1) / g.height * g.across;
  const uint64_t index = (static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / g.team;
  const uint64_t block = min(index / g.slices, blocks - 1), slice = index % g.slices;
  T value = T::none();
  forSlice(g, block, slice, take(value, block));
  value = acrossTeam(value, static_cast<uint32_t>(g.team));
  if (threadIdx.x % g.team != 0 || index >= blocks * g.slices) return;
  if (g.slices == 1) {
    finish(block, value);
  } else {
    static_cast<T*>(g.partial)[index] = value;
  }
}

/// Joins the slices of a block, in order; one thread a block.
template <class T, class Finish>
DEVICE void joinSlices(const BlockArgs& g, Finish finish) {
  const uint64_t blocks = (g.rows + g.height - 1) / g.height * g.across;
  const uint64_t block = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (block >= blocks) return;
  T value = T::none();
  for (uint64_t i = 0; i < g.slices; i++) value.join(static_cast<const T*>(g.partial)[block * g.slices + i]);
  finish(block, value);
}

/// The smallest goes where codes would, the largest to `out`.
DEVICE void storeRange(const BlockArgs& g, uint64_t block, const Range& range) {
  reinterpret_cast<float*>(g.codes)[block] = ofOrder(range.smallest);
  static_cast<float*>(g.out)[block] = ofOrder(range.largest);
}

extern "C" __global__ void __launch_bounds__(256, 4) blocks_range(const __grid_constant__ BlockArgs g) {
  reduceBlocks<Range>(g, [](Range& r, uint64_t) { return [&](float x) { r.take(x); }; },
                      [&](uint64_t block, const Range& r) { storeRange(g, block, r); });
}
extern "C" __global__ void __launch_bounds__(256) blocks_range_join(const __grid_constant__ BlockArgs g) {
  joinSlices<Range>(g, [&](uint64_t block, const Range& r) { storeRange(g, block, r); });
}

extern "C" __global__ void __launch_bounds__(256) blocks_error(const __grid_constant__ BlockArgs g) {
  const auto take = [&](Total& total, uint64_t block) {
    const Rule rule(g, block);
    return [&g, &total, rule](float x) {
      const double error = __fsub_rn(decode(encode(g, x, rule), rule), x);
      total.sum = __fma_rn(error, error, total.sum);
    };
  };
  reduceBlocks<Total>(
      g, take, [&](uint64_t block, const Total& t) { static_cast<float*>(g.out)[block] = static_cast<float>(t.sum); });
}
extern "C" __global__ void __launch_bounds__(256) blocks_error_join(const __grid_constant__ BlockArgs g) {
  joinSlices<Total>(
      g, [&](uint64_t block, const Total& t) { static_cast<float*>(g.out)[block] = static_cast<float>(t.sum); });
}
