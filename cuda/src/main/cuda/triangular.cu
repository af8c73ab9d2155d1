// Cholesky factor and inverse of triangular matrices, by blocks of 128: a block on the diagonal is done
// by one block of threads in f64, the rest, which is nearly all the work, as products in f32. Products
// are plain multiply-adds: Hessians are so badly conditioned that bfloat16 pieces would not do.

#include "ptx.cuh"

constexpr uint32_t kBlock = 128;

// --- the diagonal

/// Where element (i, j), j <= i, of a packed lower triangle lies.
DEVICE uint32_t packed(uint32_t i, uint32_t j) { return i * (i + 1) / 2 + j; }

/// One sweep over the columns of a lower triangle in shared memory turns it into its inverse, row k being
/// final after step k; with `Factor` it is first factored, column k of the factor being final at step k.
/// At that step
///
///   c[i] = a[i][k] / l      for i > k, column k of the factor
///   r[j] = a[k][j] / l      for j < k, row k of the inverse;  r[k] = 1 / l
///   a[i][j] -= c[i] * (j > k ? c[j] : r[j])   for i > k, where a[i][k] counts as 0
///
/// with l = sqrt(a[k][k]) or, without Factor, a[k][k] (and c[i] = a[i][k], nothing taken from j > k).
/// `keep(i, value)` is told the factor's column. Returns the pivot that is not positive, or `width`.
template <bool Factor, class Keep>
DEVICE uint32_t sweep(double* a, uint32_t width, Keep keep) {
  __shared__ double column[kBlock], row[kBlock];
  for (uint32_t k = 0; k < width; k++) {
    const double pivot = a[packed(k, k)];
    if (Factor && !(pivot > 0.0)) return k;
    const double l = Factor ? sqrt(pivot) : pivot;
    const double inverse = 1.0 / l;
    const uint32_t t = threadIdx.x;
    if (t < width) {
      if (t > k) {
        column[t] = Factor ? a[packed(t, k)] * inverse : a[packed(t, k)];
      } else {
        row[t] = t == k ? inverse : a[packed(k, t)] * inverse;
      }
      if (t >= k) keep(t, k, t == k ? l : column[t]);
    }
    __syncthreads();
    for (uint32_t i = k + t / 32; i < width; i += blockDim.x / 32) {
      double* line = a + packed(i, 0);
      const double c = i == k ? 0.0 : column[i];
      for (uint32_t j = t % 32; j <= (Factor ? i : k); j += 32) {
        if (i == k) {
          if (j <= k) line[j] = row[j];
        } else if (j > k) {
          line[j] -= c * column[j];
        } else {
          line[j] = (j == k ? 0.0 : line[j]) - c * row[j];
        }
      }
    }
    __syncthreads();
  }
  return width;
}

DEVICE void loadTriangle(double* a, const float* from, uint64_t ld, uint32_t width) {
  for (uint32_t i = threadIdx.x / 32; i < width; i += blockDim.x / 32) {
    for (uint32_t j = threadIdx.x % 32; j <= i; j += 32) a[packed(i, j)] = from[i * ld + j];
  }
  __syncthreads();
}

/// Stores a triangle as a square with zeros above.
DEVICE void storeTriangle(const double* a, float* to, uint64_t ld, uint32_t width) {
  for (uint32_t i = threadIdx.x / 32; i < width; i += blockDim.x / 32) {
    for (uint32_t j = threadIdx.x % 32; j < width; j += 32) {
      to[i * ld + j] = j <= i ? static_cast<float>(a[packed(i, j)]) : 0.0f;
    }
  }
}

/// Factors the block at `from` on the diagonal of a and leaves the inverse of the factor, [128, 128], for
/// the columns below. `failed` holds the first bad pivot, or a negative number; then nothing is done.
extern "C" __global__ void __launch_bounds__(512) cholesky_diagonal(
    float* a, uint64_t ld, uint64_t from, uint64_t size, float* inverse, long long* failed) {
  extern __shared__ __align__(16) double triangle[];
  if (*failed >= 0) return;
  const uint32_t width = static_cast<uint32_t>(min(static_cast<uint64_t>(kBlock), size - from));
  float* corner = a + from * ld + from;
  loadTriangle(triangle, corner, ld, width);
  const uint32_t bad = sweep<true>(triangle, width, [&](uint32_t i, uint32_t k, double value) {
    corner[i * ld + k] = static_cast<float>(value);
  });
  __syncthreads();
  if (bad < width) {
    if (threadIdx.x == 0) *failed = static_cast<long long>(from + bad);
    return;
  }
  storeTriangle(triangle, inverse, kBlock, width);
}

/// Inverts all blocks on the diagonal of l into out.
extern "C" __global__ void __launch_bounds__(512) invert_diagonal(
    const float* l, float* out, uint64_t ldL, uint64_t ldOut, uint64_t size) {
  extern __shared__ __align__(16) double triangle[];
  const uint64_t from = static_cast<uint64_t>(blockIdx.x) * kBlock;
  const uint32_t width = static_cast<uint32_t>(min(static_cast<uint64_t>(kBlock), size - from));
  loadTriangle(triangle, l + from * ldL + from, ldL, width);
  sweep<false>(triangle, width, [](uint32_t, uint32_t, double) {});
  storeTriangle(triangle, out + from * ldOut + from, ldOut, width);
}

/// Clears what lies above the diagonal; a thread an element.
extern "C" __global__ void __launch_bounds__(256) clear_above(float* a, uint64_t ld, uint64_t size) {
  const uint64_t row = blockIdx.y, column = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (uint64_t i = row; i < size; i += gridDim.y) {
    if (column > i && column < size) a[i * ld + column] = 0.0f;
  }
}

// --- products: 128 x 128 results a block of 256 threads, 8 x 8 a thread, 16 terms a stage

constexpr uint32_t kDepth = 16;
constexpr uint32_t kStride = kBlock + 4;

struct Stage {
  float a[kDepth][kStride];
  float b[kDepth][kStride];
};

/// One operand of a product: [outer, inner], element (i, k) at i * outerStep + k * innerStep.
struct Operand {
  const float* at;
  uint64_t outer, outerStep, innerStep;
};

/// This thread's share of 128 x 16 elements, zeros outside. Neighbouring threads read neighbours.
DEVICE void fetch(float (&v)[8], const Operand& x, uint64_t outer0, uint64_t inner0, uint64_t innerEnd) {
#pragma unroll
  for (uint32_t i = 0; i < 8; i++) {
    const uint32_t index = i * 256 + threadIdx.x;
    const uint32_t o = x.innerStep == 1 ? index / kDepth : index % kBlock;
    const uint32_t k = x.innerStep == 1 ? index % kDepth : index / kBlock;
    v[i] = outer0 + o < x.outer && inner0 + k < innerEnd
               ? x.at[(outer0 + o) * x.outerStep + (inner0 + k) * x.innerStep]
               : 0.0f;
  }
}

DEVICE void place(float (&to)[kDepth][kStride], const float (&v)[8], bool innerFirst) {
#pragma unroll
  for (uint32_t i = 0; i < 8; i++) {
    const uint32_t index = i * 256 + threadIdx.x;
    if (innerFirst) {
      to[index % kDepth][index / kDepth] = v[i];
    } else {
      to[index / kBlock][index % kBlock] = v[i];
    }
  }
}

/// Rows and columns of the tile that a thread has: four from 4 * q on, and four 64 further.
DEVICE uint32_t spot(uint32_t q, uint32_t i) { return i / 4 * 64 + q * 4 + i % 4; }

/// sum[8][8] of the tile at (m0, n0): terms from `begin` to `end`.
DEVICE void multiply(
    float (&sum)[8][8], Stage (&stages)[2], const Operand& a, const Operand& b, uint64_t m0, uint64_t n0, uint64_t begin,
    uint64_t end) {
  const uint32_t row = threadIdx.x / 16, column = threadIdx.x % 16;
  float nextA[8], nextB[8];
  fetch(nextA, a, m0, begin, end);
  fetch(nextB, b, n0, begin, end);
  uint32_t turn = 0;
  for (uint64_t k = begin; k < end; k += kDepth, turn ^= 1) {
    place(stages[turn].a, nextA, a.innerStep == 1);
    place(stages[turn].b, nextB, b.innerStep == 1);
    __syncthreads();
    if (k + kDepth < end) {
      fetch(nextA, a, m0, k + kDepth, end);
      fetch(nextB, b, n0, k + kDepth, end);
    }
#pragma unroll
    for (uint32_t d = 0; d < kDepth; d++) {
      float x[8], y[8];
#pragma unroll
      for (uint32_t h = 0; h < 2; h++) {
        const float4 p = *reinterpret_cast<const float4*>(&stages[turn].a[d][spot(row, h * 4)]);
        const float4 q = *reinterpret_cast<const float4*>(&stages[turn].b[d][spot(column, h * 4)]);
        x[h * 4] = p.x, x[h * 4 + 1] = p.y, x[h * 4 + 2] = p.z, x[h * 4 + 3] = p.w;
        y[h * 4] = q.x, y[h * 4 + 1] = q.y, y[h * 4 + 2] = q.z, y[h * 4 + 3] = q.w;
      }
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) {
#pragma unroll
        for (uint32_t j = 0; j < 8; j++) sum[i][j] = __fmaf_rn(x[i], y[j], sum[i][j]);
      }
    }
  }
}

/// Calls `store(m, n, sum)` for each result of the tile that this thread has.
template <class Store>
DEVICE void eachResult(const float (&sum)[8][8], uint64_t m0, uint64_t n0, uint64_t rows, uint64_t columns, Store store) {
#pragma unroll
  for (uint32_t i = 0; i < 8; i++) {
    const uint64_t m = m0 + spot(threadIdx.x / 16, i);
#pragma unroll
    for (uint32_t j = 0; j < 8; j++) {
      const uint64_t n = n0 + spot(threadIdx.x % 16, j);
      if (m < rows && n < columns) store(m, n, sum[i][j]);
    }
  }
}

/// Tile `index` of a lower triangle of tiles, row by row.
DEVICE void locate(uint32_t index, uint32_t& row, uint32_t& column) {
  row = static_cast<uint32_t>((sqrtf(8.0f * index + 1.0f) - 1.0f) * 0.5f);
  while ((row + 1) * (row + 2) / 2 <= index) row++;
  while (row * (row + 1) / 2 > index) row--;
  column = index - row * (row + 1) / 2;
}

/// The columns under a diagonal block: panel [rows, 128] times the transpose of `inverse`, in place; a
/// block of threads reads all of its rows before it writes them.
extern "C" __global__ void __launch_bounds__(256) cholesky_panel(
    float* panel, uint64_t ld, uint64_t rows, const float* inverse, const long long* failed) {
  __shared__ Stage stages[2];
  if (*failed >= 0) return;
  const uint64_t m0 = static_cast<uint64_t>(blockIdx.x) * kBlock;
  float sum[8][8] = {};
  multiply(sum, stages, {panel, rows, ld, 1}, {inverse, kBlock, kBlock, 1}, m0, 0, 0, kBlock);
  eachResult(sum, m0, 0, rows, kBlock, [&](uint64_t m, uint64_t n, float s) { panel[m * ld + n] = s; });
}

/// What the panel takes away from the rest: lower triangle of rest -= panel panelᵀ, a tile a block.
extern "C" __global__ void __launch_bounds__(256) cholesky_rest(
    float* rest, const float* panel, uint64_t ld, uint64_t rows, const long long* failed) {
  __shared__ Stage stages[2];
  if (*failed >= 0) return;
  uint32_t row, column;
  locate(blockIdx.x, row, column);
  const uint64_t m0 = static_cast<uint64_t>(row) * kBlock, n0 = static_cast<uint64_t>(column) * kBlock;
  float sum[8][8] = {};
  multiply(sum, stages, {panel, rows, ld, 1}, {panel, rows, ld, 1}, m0, n0, 0, kBlock);
  eachResult(sum, m0, n0, rows, rows, [&](uint64_t m, uint64_t n, float s) { rest[m * ld + n] -= s; });
}

/// Pairs of neighbouring blocks of `width` on the diagonal, whose inverses are known, become blocks of
/// twice the width: with l = [a 0; b c] the inverse is [a⁻¹ 0; −c⁻¹ b a⁻¹ c⁻¹]. First b a⁻¹, into
/// `between`, [width, width] a pair; then −c⁻¹ times that.
struct Pair {
  uint64_t top, middle, rows;  // where a and c begin, rows of c
};
DEVICE Pair pairAt(uint64_t index, uint64_t width, uint64_t size) {
  const uint64_t top = index * 2 * width, middle = top + width;
  return {top, middle, middle < size ? min(width, size - middle) : 0};
}

extern "C" __global__ void __launch_bounds__(256, 2) invert_first(
    const float* l, const float* out, float* between, uint64_t ldL, uint64_t ldOut, uint64_t width, uint64_t size) {
  __shared__ Stage stages[2];
  const Pair p = pairAt(blockIdx.y, width, size);
  const uint64_t tiles = width / kBlock;
  const uint64_t m0 = blockIdx.x / tiles * kBlock, n0 = blockIdx.x % tiles * kBlock;
  if (m0 >= p.rows) return;
  float sum[8][8] = {};
  // a⁻¹ is zero above its diagonal: column n0 begins in row n0.
  multiply(sum, stages, {l + p.middle * ldL + p.top, p.rows, ldL, 1}, {out + p.top * ldOut + p.top, width, 1, ldOut}, m0,
           n0, n0, width);
  float* to = between + blockIdx.y * width * width;
  eachResult(sum, m0, n0, p.rows, width, [&](uint64_t m, uint64_t n, float s) { to[m * width + n] = s; });
}

extern "C" __global__ void __launch_bounds__(256, 2) invert_second(
    float* out, const float* between, uint64_t ldOut, uint64_t width, uint64_t size) {
  __shared__ Stage stages[2];
  const Pair p = pairAt(blockIdx.y, width, size);
  const uint64_t tiles = width / kBlock;
  const uint64_t m0 = blockIdx.x / tiles * kBlock, n0 = blockIdx.x % tiles * kBlock;
  if (m0 >= p.rows) return;
  float sum[8][8] = {};
  // c⁻¹ is zero above its diagonal: row m0 + 127 ends there.
  multiply(sum, stages, {out + p.middle * ldOut + p.middle, p.rows, ldOut, 1},
           {between + blockIdx.y * width * width, width, 1, width}, m0, n0, 0, min(p.rows, m0 + kBlock));
  float* to = out + p.middle * ldOut + p.top;
  eachResult(sum, m0, n0, p.rows, width, [&](uint64_t m, uint64_t n, float s) { to[m * ldOut + n] = -s; });
}
