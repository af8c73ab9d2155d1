// Cholesky factor and inverse of triangular matrices, by blocks of 128: a block on the diagonal is done
// by one block of threads in f64, the rest, which is nearly all the work, as products in f32. Products
// are plain multiply-adds: Hessians are so badly conditioned that bfloat16 pieces would not do.

#include "ptx.cuh"

constexpr uint32_t kBlock = 128;

// --- the diagonal

constexpr uint32_t kLines = 32, kLanes = 16;                             // threads of a block, as a rectangle
constexpr uint32_t kTall = kBlock / kLines, kWide = kBlock / kLanes;     // elements of a thread

/// A lower triangle [128, 128] in the registers of 512 threads: element (i, j) is in line i % 32 and lane
/// j % 16. What lies above the diagonal means nothing.
struct Triangle {
  double a[kTall][kWide];
  uint32_t line, lane;

  /// Filled up with the identity.
  DEVICE_MEMBER Triangle(const float* from, uint64_t ld, uint32_t width)
      : line(threadIdx.x / kLanes), lane(threadIdx.x % kLanes) {
#pragma unroll
    for (uint32_t y = 0; y < kTall; y++) {
#pragma unroll
      for (uint32_t x = 0; x < kWide; x++) {
        const uint32_t i = line + y * kLines, j = lane + x * kLanes;
        a[y][x] = i < width && j <= i ? from[i * ld + j] : i == j ? 1.0 : 0.0;
      }
    }
  }

  /// With zeros above the diagonal.
  DEVICE_MEMBER void store(float* to, uint64_t ld, uint32_t width) const {
#pragma unroll
    for (uint32_t y = 0; y < kTall; y++) {
#pragma unroll
      for (uint32_t x = 0; x < kWide; x++) {
        const uint32_t i = line + y * kLines, j = lane + x * kLanes;
        if (i < width && j < width) to[i * ld + j] = j <= i ? static_cast<float>(a[y][x]) : 0.0f;
      }
    }
  }
};

/// What the threads tell each other at step k: for j < k row k of the inverse, for i > k column k of the
/// factor, at k the inverse of the pivot's root.
struct Step {
  double line[kBlock];
  double inverse;  // of the next diagonal element; not positive if that is bad
};

/// 1 / sqrt(x) or 1 / x to the last digits: all threads wait for it, so it begins with the fast
/// approximation of f32, where that has the range, and doubles its digits twice.
template <bool Root>
DEVICE double inverseOf(double x) {
  if (!(fabs(x) > 1e-30 && fabs(x) < 1e30)) return Root ? rsqrt(x) : 1.0 / x;
  double y = Root ? rsqrtf(static_cast<float>(x)) : __frcp_rn(static_cast<float>(x));
#pragma unroll
  for (int i = 0; i < 2; i++) y = Root ? fma(y, fma(-0.5 * x * y, y, 0.5), y) : fma(y, fma(-x, y, 1.0), y);
  return y;
}

/// Publishes the inverse of a diagonal element of the factor; zero if there is none.
template <bool Factor>
DEVICE void announce(Step& step, double pivot) {
  step.inverse = Factor && !(pivot > 0.0) ? 0.0 : inverseOf<Factor>(pivot);
}

/// Step k = 16 * X + lane of `sweep`; the caller has synchronized.
template <bool Factor, uint32_t X, class Keep>
DEVICE void sweepStep(Triangle& t, Step& step, uint32_t kk, Keep keep) {
  constexpr uint32_t y = X * kLanes / kLines;
  const uint32_t k = X * kLanes + kk, own = k % kLines;
  const double inverse = step.inverse;
  if (t.lane == kk) {
#pragma unroll
    for (uint32_t yy = y; yy < kTall; yy++) {
      const uint32_t i = t.line + yy * kLines;
      const double c = Factor ? t.a[yy][X] * inverse : t.a[yy][X];
      if (i > k) step.line[i] = c;
      if (i >= k) keep(i, k, c);
      if (i > k) t.a[yy][X] = 0.0;
    }
  }
  if (t.line == own) {
#pragma unroll
    for (uint32_t x = 0; x <= X; x++) {
      const uint32_t j = t.lane + x * kLanes;
      if (j > k) continue;
      t.a[y][x] = j == k ? inverse : t.a[y][x] * inverse;
      step.line[j] = t.a[y][x];
    }
  }
  __syncthreads();
  // Rows up to k take nothing: zero times anything that is finite.
  double c[kTall];
#pragma unroll
  for (uint32_t yy = y; yy < kTall; yy++) c[yy] = t.line + yy * kLines > k ? -step.line[t.line + yy * kLines] : 0.0;
#pragma unroll
  for (uint32_t x = 0; x < (Factor ? kWide : X + 1); x++) {
    const uint32_t j = t.lane + x * kLanes;
    const double v = Factor || x + 1 <= X || j <= k ? step.line[j] : 0.0;
#pragma unroll
    for (uint32_t yy = y; yy < kTall; yy++) t.a[yy][x] = fma(c[yy], v, t.a[yy][x]);
  }
  constexpr uint32_t next = X + 1 < kWide ? X + 1 : X;
  if (kk + 1 < kLanes) {
    if (t.lane == kk + 1 && t.line == own + 1) announce<Factor>(step, t.a[y][X]);
  } else if (t.lane == 0 && t.line == (own + 1) % kLines) {
    announce<Factor>(step, t.a[next * kLanes / kLines][next]);
  }
  __syncthreads();
}

/// One sweep over the columns of a lower triangle turns it into its inverse, row k being final after step
/// k; with `Factor` it is first factored, column k of the factor being final at step k. At that step
///
///   c[i] = a[i][k] / l      for i > k, column k of the factor
///   r[j] = a[k][j] / l      for j < k, row k of the inverse;  r[k] = 1 / l
///   a[i][j] -= c[i] * (j > k ? c[j] : r[j])   for i > k, where a[i][k] counts as 0
///
/// with l = sqrt(a[k][k]) or, without Factor, a[k][k] (and c[i] = a[i][k], nothing taken from j > k).
/// `keep(i, k, value)` is told the factor. Returns the pivot that is not positive, or 128.
template <bool Factor, class Keep, uint32_t X = 0>
DEVICE uint32_t sweep(Triangle& t, Step& step, Keep keep) {
  if constexpr (X < kWide) {
    for (uint32_t kk = 0; kk < kLanes; kk++) {
      if (Factor && !(step.inverse > 0.0)) return X * kLanes + kk;
      sweepStep<Factor, X>(t, step, kk, keep);
    }
    return sweep<Factor, Keep, X + 1>(t, step, keep);
  }
  return kBlock;
}

/// Factors the block at `from` on the diagonal of a and leaves the inverse of the factor, [128, 128], for
/// the columns below. `failed` holds the first bad pivot, or a negative number; then nothing is done.
extern "C" __global__ void __launch_bounds__(kLines * kLanes) cholesky_diagonal(
    float* a, uint64_t ld, uint64_t from, uint64_t size, float* inverse, long long* failed) {
  __shared__ Step step;
  if (*failed >= 0) return;
  const uint32_t width = static_cast<uint32_t>(min(static_cast<uint64_t>(kBlock), size - from));
  float* corner = a + from * ld + from;
  Triangle t(corner, ld, width);
  if (threadIdx.x == 0) announce<true>(step, t.a[0][0]);
  __syncthreads();
  const uint32_t bad = sweep<true>(t, step, [&](uint32_t i, uint32_t k, double value) {
    if (i < width) corner[i * ld + k] = static_cast<float>(value);
  });
  if (bad < kBlock) {
    if (threadIdx.x == 0) *failed = static_cast<long long>(from + bad);
    return;
  }
  t.store(inverse, kBlock, width);
}

/// Inverts all blocks on the diagonal of l into out.
extern "C" __global__ void __launch_bounds__(kLines * kLanes) invert_diagonal(
    const float* l, float* out, uint64_t ldL, uint64_t ldOut, uint64_t size) {
  __shared__ Step step;
  const uint64_t from = static_cast<uint64_t>(blockIdx.x) * kBlock;
  const uint32_t width = static_cast<uint32_t>(min(static_cast<uint64_t>(kBlock), size - from));
  Triangle t(l + from * ldL + from, ldL, width);
  if (threadIdx.x == 0) announce<false>(step, t.a[0][0]);
  __syncthreads();
  sweep<false>(t, step, [](uint32_t, uint32_t, double) {});
  t.store(out + from * ldOut + from, ldOut, width);
}

/// Clears what lies above the diagonal; a thread an element.
extern "C" __global__ void __launch_bounds__(256) clear_above(float* a, uint64_t ld, uint64_t size) {
  const uint64_t row = blockIdx.y, column = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (uint64_t i = row; i < size; i += gridDim.y) {
    if (column > i && column < size) a[i * ld + column] = 0.0f;
  }
}

/// Copies what is below the diagonal to above it, 32 x 32 elements a block.
extern "C" __global__ void __launch_bounds__(256) mirror_lower(float* a, uint64_t ld, uint64_t size) {
  __shared__ float tile[32][33];
  if (blockIdx.x > blockIdx.y) return;
  const uint64_t row = blockIdx.y * 32ull, column = blockIdx.x * 32ull, x = threadIdx.x % 32;
  for (uint64_t y = threadIdx.x / 32; y < 32; y += 8) {
    if (row + y < size && column + x < size) tile[y][x] = a[(row + y) * ld + column + x];
  }
  __syncthreads();
  for (uint64_t y = threadIdx.x / 32; y < 32; y += 8) {
    if (row + x < size && row + x > column + y) a[(column + y) * ld + row + x] = tile[x][y];
  }
}

// --- products: 128 x 128 results a block of 256 threads, 8 x 8 a thread, 16 terms a stage

constexpr uint32_t kDepth = 16;
constexpr uint32_t kStride = kBlock + 4;

struct Stage {
  float a[kDepth][kStride];
  float b[kDepth][kStride];
};

/// One operand of a product, [outer, inner]: with `inner` neighbours in memory, or with `outer`, and
/// `step` elements from one to the next of the other.
struct Operand {
  const float* at;
  uint32_t outer;
  uint64_t step;
  bool vector;  // whether four neighbours can be loaded at once
  DEVICE_MEMBER Operand(const float* at, uint64_t outer, uint64_t step)
      : at(at), outer(static_cast<uint32_t>(outer)), step(step),
        vector((reinterpret_cast<uint64_t>(at) & 15) == 0 && step % 4 == 0) {}
};

DEVICE float4 load4(const float* p, bool vector, uint32_t count) {
  if (vector && count >= 4) return *reinterpret_cast<const float4*>(p);
  return make_float4(count > 0 ? p[0] : 0.0f, count > 1 ? p[1] : 0.0f, count > 2 ? p[2] : 0.0f, count > 3 ? p[3] : 0.0f);
}

/// This thread's share of 128 x 16 elements, stage after stage; zeros from `end` on. Rows that do not exist
/// are copies of others: nobody stores what comes of them.
template <bool InnerFirst>
struct Feed {
  const float* next[2];
  uint64_t advance;
  uint32_t there;  // neighbours in memory that exist, where they do not run along the sum
  bool vector;
  DEVICE_MEMBER Feed(const Operand& x, uint32_t outer0, uint32_t begin)
      : advance(InnerFirst ? kDepth : kDepth * x.step), there(4), vector(x.vector) {
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
      const uint32_t index = i * 256 + threadIdx.x;
      if (InnerFirst) {
        next[i] = x.at + min(outer0 + index / 4, x.outer - 1) * x.step + begin + index % 4 * 4;
      } else {
        const uint32_t o = outer0 + index % 32 * 4;
        there = o < x.outer ? x.outer - o : 0;
        next[i] = x.at + (begin + index / 32) * x.step + o;
      }
    }
  }
  /// `left` terms of the sum are still to come.
  DEVICE_MEMBER void load(float4 (&v)[2], uint32_t left) {
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
      const uint32_t index = i * 256 + threadIdx.x, k = InnerFirst ? index % 4 * 4 : index / 32;
      const uint32_t count = k >= left ? 0 : InnerFirst ? left - k : there;
      v[i] = load4(next[i], vector, count);
      next[i] += advance;
    }
  }
};

template <bool InnerFirst>
DEVICE void place(float (&to)[kDepth][kStride], const float4 (&v)[2]) {
#pragma unroll
  for (uint32_t i = 0; i < 2; i++) {
    const uint32_t index = i * 256 + threadIdx.x;
    if (InnerFirst) {
      const uint32_t o = index / 4, k = index % 4 * 4;
      to[k][o] = v[i].x, to[k + 1][o] = v[i].y, to[k + 2][o] = v[i].z, to[k + 3][o] = v[i].w;
    } else {
      *reinterpret_cast<float4*>(&to[index / 32][index % 32 * 4]) = v[i];
    }
  }
}

/// Rows and columns of the tile that a thread has: four from 4 * q on, and four 64 further.
DEVICE uint32_t spot(uint32_t q, uint32_t i) { return i / 4 * 64 + q * 4 + i % 4; }

/// sum[8][8] of the tile at (m0, n0): terms from `begin` to `end`. In a, the inner elements are neighbours.
template <bool InnerFirstB>
DEVICE void multiply(
    float (&sum)[8][8], Stage (&stages)[2], const Operand& a, const Operand& b, uint32_t m0, uint32_t n0, uint32_t begin,
    uint32_t end) {
  const uint32_t row = threadIdx.x / 16, column = threadIdx.x % 16;
  float4 nextA[2], nextB[2];
  Feed<true> feedA(a, m0, begin);
  Feed<InnerFirstB> feedB(b, n0, begin);
  feedA.load(nextA, end - begin);
  feedB.load(nextB, end - begin);
  uint32_t turn = 0;
#pragma unroll 1
  for (uint32_t left = end - begin;; turn ^= 1) {
    place<true>(stages[turn].a, nextA);
    place<InnerFirstB>(stages[turn].b, nextB);
    __syncthreads();
    const bool last = left <= kDepth;
    if (!last) {
      left -= kDepth;
      feedA.load(nextA, left);
      feedB.load(nextB, left);
    }
#pragma unroll 2  // more would spill: 64 sums leave few of 128 registers
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
    if (last) return;
  }
}

/// Calls `store(m, n, sum)` for each result of the tile that this thread has.
template <class Store>
DEVICE void eachResult(const float (&sum)[8][8], uint32_t m0, uint32_t n0, uint32_t rows, uint32_t columns, Store store) {
#pragma unroll
  for (uint32_t i = 0; i < 8; i++) {
    const uint32_t m = m0 + spot(threadIdx.x / 16, i);
#pragma unroll
    for (uint32_t j = 0; j < 8; j++) {
      const uint32_t n = n0 + spot(threadIdx.x % 16, j);
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
extern "C" __global__ void __launch_bounds__(256, 2) cholesky_panel(
    float* panel, uint64_t ld, uint32_t rows, const float* inverse, const long long* failed) {
  __shared__ Stage stages[2];
  if (*failed >= 0) return;
  const uint32_t m0 = blockIdx.x * kBlock;
  float sum[8][8] = {};
  multiply<true>(sum, stages, {panel, rows, ld}, {inverse, kBlock, kBlock}, m0, 0, 0, kBlock);
  eachResult(sum, m0, 0, rows, kBlock, [&](uint32_t m, uint32_t n, float s) { panel[m * ld + n] = s; });
}

/// What the panel takes away from the rest: lower triangle of rest -= panel panelᵀ, a tile a block.
extern "C" __global__ void __launch_bounds__(256, 2) cholesky_rest(
    float* rest, const float* panel, uint64_t ld, uint32_t rows, const long long* failed) {
  __shared__ Stage stages[2];
  if (*failed >= 0) return;
  uint32_t row, column;
  locate(blockIdx.x, row, column);
  const uint32_t m0 = row * kBlock, n0 = column * kBlock;
  float sum[8][8] = {};
  multiply<true>(sum, stages, {panel, rows, ld}, {panel, rows, ld}, m0, n0, 0, kBlock);
  eachResult(sum, m0, n0, rows, rows, [&](uint32_t m, uint32_t n, float s) { rest[m * ld + n] -= s; });
}

/// Pairs of neighbouring blocks of `width` on the diagonal, whose inverses are known, become blocks of
/// twice the width: with l = [a 0; b c] the inverse is [a⁻¹ 0; −c⁻¹ b a⁻¹ c⁻¹]. First b a⁻¹, into
/// `between`, [width, width] a pair; then −c⁻¹ times that.
struct Pair {
  uint64_t top, middle;  // where a and c begin
  uint32_t rows;         // of c
  DEVICE_MEMBER Pair(uint32_t index, uint32_t width, uint64_t size)
      : top(static_cast<uint64_t>(index) * 2 * width), middle(top + width),
        rows(middle < size ? static_cast<uint32_t>(min(static_cast<uint64_t>(width), size - middle)) : 0) {}
};

extern "C" __global__ void __launch_bounds__(256, 2) invert_first(
    const float* l, const float* out, float* between, uint64_t ldL, uint64_t ldOut, uint32_t width, uint64_t size) {
  __shared__ Stage stages[2];
  const Pair p(blockIdx.y, width, size);
  const uint32_t tiles = width / kBlock, m0 = blockIdx.x / tiles * kBlock, n0 = blockIdx.x % tiles * kBlock;
  if (m0 >= p.rows) return;
  float sum[8][8] = {};
  // a⁻¹ is zero above its diagonal: column n0 begins in row n0.
  multiply<false>(
      sum, stages, {l + p.middle * ldL + p.top, p.rows, ldL}, {out + p.top * ldOut + p.top, width, ldOut}, m0, n0, n0, width);
  float* to = between + static_cast<uint64_t>(blockIdx.y) * width * width;
  eachResult(sum, m0, n0, p.rows, width, [&](uint32_t m, uint32_t n, float s) { to[static_cast<uint64_t>(m) * width + n] = s; });
}

extern "C" __global__ void __launch_bounds__(256, 2) invert_second(
    float* out, const float* between, uint64_t ldOut, uint32_t width, uint64_t size) {
  __shared__ Stage stages[2];
  const Pair p(blockIdx.y, width, size);
  const uint32_t tiles = width / kBlock, m0 = blockIdx.x / tiles * kBlock, n0 = blockIdx.x % tiles * kBlock;
  if (m0 >= p.rows) return;
  float sum[8][8] = {};
  // c⁻¹ is zero above its diagonal: row m0 + 127 ends there.
  multiply<false>(
      sum, stages, {out + p.middle * ldOut + p.middle, p.rows, ldOut},
      {between + static_cast<uint64_t>(blockIdx.y) * width * width, width, width}, m0, n0, 0, min(p.rows, m0 + kBlock));
  float* to = out + p.middle * ldOut + p.top;
  eachResult(sum, m0, n0, p.rows, width, [&](uint32_t m, uint32_t n, float s) { to[m * ldOut + n] = -s; });
}
