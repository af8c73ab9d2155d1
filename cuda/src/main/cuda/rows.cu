// Operations on each row of a float32 matrix: a block a row, its threads striding along it. Sums are
// made in float64, thread by thread and then in a fixed tree, so that the bits do not depend on timing.

#include "elements.cuh"

DEVICE const float* rowOf(const float* x, uint64_t columns) { return x + blockIdx.x * columns; }

/// Σ f(x[k]) over the row.
template <class F>
DEVICE double rowSum(const float* row, uint64_t columns, double* shared, F f) {
  double sum = 0.0;
  for (uint64_t k = threadIdx.x; k < columns; k += blockDim.x) sum += f(row[k]);
  return acrossBlock<Sum>(sum, shared);
}

/// The largest element of the row; a NaN is larger than everything.
DEVICE float rowMax(const float* row, uint64_t columns, float* shared) {
  float largest = -INFINITY;
  bool nan = false;
  for (uint64_t k = threadIdx.x; k < columns; k += blockDim.x) {
    largest = fmaxf(largest, row[k]);
    nan |= row[k] != row[k];
  }
  largest = acrossBlock<Largest>(largest, shared);
  return __syncthreads_or(nan) ? NAN : largest;
}

constexpr int kKept = 8;  // elements of a row that a thread keeps in registers; the rest is read again

/// `share` is 1 / columns, since a division in float64 by every thread would take longer than the row.
extern "C" __global__ void __launch_bounds__(512, 2) rms_norm(
    const float* x, const void* weight, uint32_t type, uint64_t weightStep, float eps, float* out, uint64_t columns,
    double share, uint16_t* rounded) {
  __shared__ double shared[32];
  const float* row = rowOf(x, columns);
  const uint64_t rest = static_cast<uint64_t>(kKept) * blockDim.x;
  float kept[kKept];
  double squares = 0.0;
#pragma unroll
  for (int i = 0; i < kKept; i++) {
    const uint64_t k = threadIdx.x + static_cast<uint64_t>(i) * blockDim.x;
    kept[i] = k < columns ? row[k] : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < kKept; i++) squares += static_cast<double>(kept[i]) * kept[i];
  for (uint64_t k = rest + threadIdx.x; k < columns; k += blockDim.x) squares += static_cast<double>(row[k]) * row[k];
  squares = acrossBlock<Sum>(squares, shared);
  const float factor = 1.0f / __fsqrt_rn(static_cast<float>(squares * share + eps));
  const auto store = [&](uint64_t k, float value) {
    const float result = value * factor * loadFloat(weight, type, k * weightStep);
    out[blockIdx.x * columns + k] = result;
    if (rounded != nullptr) rounded[blockIdx.x * columns + k] = floatToBf16(result);
  };
#pragma unroll
  for (int i = 0; i < kKept; i++) {
    const uint64_t k = threadIdx.x + static_cast<uint64_t>(i) * blockDim.x;
    if (k < columns) store(k, kept[i]);
  }
  for (uint64_t k = rest + threadIdx.x; k < columns; k += blockDim.x) store(k, row[k]);
}

extern "C" __global__ void __launch_bounds__(512) layer_norm(
    const float* x, const void* weight, uint32_t type, uint64_t weightStep, const void* bias, uint32_t biasType,
    uint64_t biasStep, float eps, float* out, uint64_t columns, double share) {
  __shared__ double shared[32];
  const float* row = rowOf(x, columns);
  const double mean = rowSum(row, columns, shared, [](double v) { return v; }) * share;
  const double squares = rowSum(row, columns, shared, [=](double v) { return (v - mean) * (v - mean); });
  const float factor = 1.0f / __fsqrt_rn(static_cast<float>(squares * share + eps));
  for (uint64_t k = threadIdx.x; k < columns; k += blockDim.x) {
    const float value = static_cast<float>(row[k] - mean) * factor;
    out[blockIdx.x * columns + k] =
        __fmaf_rn(value, loadFloat(weight, type, k * weightStep), loadFloat(bias, biasType, k * biasStep));
  }
}

extern "C" __global__ void __launch_bounds__(512) softmax(const float* x, float* out, uint64_t columns) {
  __shared__ float largest[32];
  __shared__ double shared[32];
  const float* row = rowOf(x, columns);
  const float shift = rowMax(row, columns, largest);
  const double sum = rowSum(row, columns, shared, [=](float v) { return static_cast<double>(expf(v - shift)); });
  const float factor = 1.0f / static_cast<float>(sum);
  for (uint64_t k = threadIdx.x; k < columns; k += blockDim.x) {
    out[blockIdx.x * columns + k] = expf(row[k] - shift) * factor;
  }
}

// --- indices: one that is out of range is noted in `fault` (its place and value), for the host to find

struct Fault {
  uint32_t found;
  uint32_t value;
  uint64_t place;
};

DEVICE bool outside(int index, uint64_t limit, uint64_t place, Fault* fault) {
  if (index >= 0 && static_cast<uint64_t>(index) < limit) return false;
  if (threadIdx.x == 0 && atomicCAS(&fault->found, 0u, 1u) == 0u) {
    fault->value = static_cast<uint32_t>(index);
    fault->place = place;
  }
  return true;
}

extern "C" __global__ void __launch_bounds__(512)
    cross_entropy(const float* x, const int* target, float* out, uint64_t columns, Fault* fault) {
  __shared__ float largest[32];
  __shared__ double shared[32];
  const float* row = rowOf(x, columns);
  const int wanted = target[blockIdx.x];
  if (outside(wanted, columns, blockIdx.x, fault)) {
    if (threadIdx.x == 0) out[blockIdx.x] = NAN;
    return;
  }
  const float shift = rowMax(row, columns, largest);
  const double sum = rowSum(row, columns, shared, [=](float v) { return static_cast<double>(expf(v - shift)); });
  if (threadIdx.x == 0) out[blockIdx.x] = static_cast<float>(log(sum) + shift - row[wanted]);
}

/// Block (i, part) copies its part of row index[i] of the table.
extern "C" __global__ void __launch_bounds__(256) gather_rows(
    const void* table, uint32_t type, uint64_t rows, uint64_t columns, const int* index, float* out, Fault* fault) {
  const int from = index[blockIdx.x];
  const bool missing = outside(from, rows, blockIdx.x, fault);
  for (uint64_t k = blockIdx.y * blockDim.x + threadIdx.x; k < columns; k += gridDim.y * blockDim.x) {
    out[blockIdx.x * columns + k] = missing ? NAN : loadFloat(table, type, static_cast<uint64_t>(from) * columns + k);
  }
}

/// Adds rows where their index says. Rows with one index are added in their order, by the block of the
/// first of them; the other blocks have nothing to do.
extern "C" __global__ void __launch_bounds__(256) scatter_add_rows(
    const float* rows, uint64_t count, uint64_t columns, const int* index, const float* weight, float* out,
    uint64_t outRows, Fault* fault) {
  const uint64_t first = blockIdx.x;
  const int to = index[first];
  if (outside(to, outRows, first, fault)) return;
  bool earlier = false;
  for (uint64_t i = threadIdx.x; i < first; i += blockDim.x) earlier |= index[i] == to;
  if (__syncthreads_or(earlier)) return;
  for (uint64_t base = first; base < count; base += blockDim.x) {
    __shared__ uint32_t matches[8];
    const bool match = base + threadIdx.x < count && index[base + threadIdx.x] == to;
    const uint32_t votes = __ballot_sync(~0u, match);
    if (threadIdx.x % 32 == 0) matches[threadIdx.x / 32] = votes;
    if (!__syncthreads_or(match)) continue;
    for (uint32_t w = 0; w < 8; w++) {
      for (uint32_t rest = matches[w]; rest != 0; rest &= rest - 1) {
        const uint64_t i = base + w * 32 + __ffs(rest) - 1;
        const float factor = weight == nullptr ? 1.0f : weight[i];
        for (uint64_t k = threadIdx.x; k < columns; k += blockDim.x) {
          float* sum = out + static_cast<uint64_t>(to) * columns + k;
          *sum = __fmaf_rn(factor, rows[i * columns + k], *sum);
        }
      }
    }
    __syncthreads();
  }
}

/// The k largest of a row, largest first, ties by index. Round r looks for the largest of those that
/// come after round r - 1's in that order, so nothing has to be marked. NaN comes before everything.
extern "C" __global__ void __launch_bounds__(256)
    top_k(const float* x, uint64_t columns, uint32_t k, float* values, int* indices) {
  __shared__ uint64_t shared[32];
  const float* row = rowOf(x, columns);
  uint64_t last = ~0ull;
  for (uint32_t r = 0; r < k; r++) {
    uint64_t best = 0;
    for (uint64_t i = threadIdx.x; i < columns; i += blockDim.x) {
      const float value = row[i];
      const uint32_t bits = __float_as_uint(value);
      // Ordered like the numbers; the complement of the index makes the first of equals the largest.
      const uint32_t order = value != value ? 0xFFFFFFFFu : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
      const uint64_t key = static_cast<uint64_t>(order) << 32 | (0xFFFFFFFEu - static_cast<uint32_t>(i));
      if (key < last && key > best) best = key;
    }
    last = acrossBlock<Largest>(best, shared);
    if (threadIdx.x == 0) {
      const uint32_t at = 0xFFFFFFFEu - static_cast<uint32_t>(last);
      values[static_cast<uint64_t>(blockIdx.x) * k + r] = row[at];
      indices[static_cast<uint64_t>(blockIdx.x) * k + r] = static_cast<int>(at);
    }
  }
}
