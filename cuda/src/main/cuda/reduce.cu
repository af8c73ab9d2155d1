// Reductions of a float32 matrix to a number a row or a column, accumulated in float64. Both go in two
// steps over pieces of fixed size, so that few long rows or columns still keep the GPU busy and the
// order of the sums depends on the shape alone.

#include "elements.cuh"

// The ordinals of fqt.tensor.ReduceOp.
enum Reduce : uint32_t { SUM, MEAN, MEAN_ABS, SUM_SQUARES, MIN, MAX, MAX_ABS };

DEVICE double start(uint32_t op) { return op == MIN ? INFINITY : op == MAX ? -INFINITY : 0.0; }

/// What an element contributes.
DEVICE double term(uint32_t op, double x) {
  return op == MEAN_ABS || op == MAX_ABS ? fabs(x) : op == SUM_SQUARES ? x * x : x;
}

/// Joins two results; NaN stays.
DEVICE double join(uint32_t op, double a, double b) {
  if (op < MIN) return a + b;
  if (a != a) return a;
  if (b != b) return b;
  return op == MIN ? fmin(a, b) : fmax(a, b);
}

DEVICE double finish(uint32_t op, double x, uint64_t count) { return op == MEAN || op == MEAN_ABS ? x / count : x; }

/// The values of all threads joined, in thread 0.
DEVICE double joinBlock(uint32_t op, double value, double* shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value = join(op, value, __shfl_xor_sync(~0u, value, offset));
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  for (uint32_t w = 1; threadIdx.x == 0 && w < blockDim.x / 32; w++) value = join(op, value, shared[w]);
  return value;
}

/// Block (row, piece) reduces one piece of one row to partial[row][piece].
extern "C" __global__ void __launch_bounds__(256) reduce_rows(
    uint32_t op, const float* x, uint64_t columns, uint64_t piece, double* partial) {
  __shared__ double shared[8];
  const uint64_t from = blockIdx.y * piece, to = min(columns, from + piece);
  double value = start(op);
  for (uint64_t k = from + threadIdx.x; k < to; k += blockDim.x) {
    value = join(op, value, term(op, x[blockIdx.x * columns + k]));
  }
  value = joinBlock(op, value, shared);
  if (threadIdx.x == 0) partial[static_cast<uint64_t>(blockIdx.x) * gridDim.y + blockIdx.y] = value;
}

/// Block (piece, strip) reduces a piece of the rows, for 32 columns, to partial[column][piece]. Eight
/// threads share a column.
extern "C" __global__ void __launch_bounds__(256) reduce_columns(
    uint32_t op, const float* x, uint64_t rows, uint64_t columns, uint64_t piece, double* partial) {
  __shared__ double shared[8][32];
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint64_t from = blockIdx.x * piece, to = min(rows, from + piece);
  for (uint64_t strip = blockIdx.y; strip * 32 < columns; strip += gridDim.y) {
    const uint64_t column = strip * 32 + lane;
    double value = start(op);
    for (uint64_t m = from + warp; column < columns && m < to; m += 8) {
      value = join(op, value, term(op, x[m * columns + column]));
    }
    shared[warp][lane] = value;
    __syncthreads();
    if (warp == 0 && column < columns) {
      for (uint32_t w = 1; w < 8; w++) value = join(op, value, shared[w][lane]);
      partial[column * gridDim.x + blockIdx.x] = value;
    }
    __syncthreads();
  }
}

/// Joins the pieces of each result, in their order.
extern "C" __global__ void __launch_bounds__(256) reduce_pieces(
    uint32_t op, const double* partial, uint64_t results, uint64_t pieces, uint64_t count, float* out) {
  const uint64_t i = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= results) return;
  double value = start(op);
  for (uint64_t p = 0; p < pieces; p++) value = join(op, value, partial[i * pieces + p]);
  out[i] = static_cast<float>(finish(op, value, count));
}
