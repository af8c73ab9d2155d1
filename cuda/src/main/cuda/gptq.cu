// The column loop of GPTQ over one block of columns (Frantar et al. 2022, algorithm 1). Rows are
// independent: a block of threads takes 32 of them, each a lane of its warps, with the weights on
// their side in shared memory, [column][row]. Columns go in panels of 16:
//
//   warp 0        rounds the 16 columns one after the other, the weights of a row in registers
//   other warps   fetch what the next panel needs meanwhile: scales, zero points, rows of U
//   all warps     take the errors of the panel out of the columns behind it
//
// Each weight goes through the operations of the CPU backend in the same order (an update is one fused
// multiply-add, columns in ascending order), so codes and errors are equal to the last bit.

#include "ptx.cuh"

constexpr uint32_t kRows = 32, kPanel = 16, kWarps = 8;
constexpr uint32_t kColumns = 128;     // most columns of a block
constexpr uint32_t kLine = kRows + 1;  // a column of the tile, padded against bank conflicts

/// Arguments, each in eight bytes (CudaGptq.java).
struct GptqArgs {
  float* w;            // [rows, columns], overwritten by the dequantized values
  const float* u;      // [columns, columns], upper triangular
  const float* scale;  // [rows, columns]
  const float* zero;
  uint8_t* codes;      // [rows, columns]
  float* error;
  uint64_t rows, columns;
  uint64_t ldW, ldU, ldCodes, ldError;        // elements from row to row
  uint64_t scaleRow, scaleColumn, zeroRow, zeroColumn;
  alignas(8) float high;
};

/// What one panel needs, fetched ahead of it.
struct Panel {
  float scale[kPanel][kLine];
  float zero[kPanel][kLine];
};

DEVICE void copyWord(float* target, const float* source) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(sharedAddress(target)), "l"(source) : "memory");
}
DEVICE void copiesDone() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// Fetches the panel that begins at column `from`, with rows of U from the panel's diagonal on.
DEVICE void fetchPanel(
    const GptqArgs& g, Panel& panel, float (&upper)[kPanel][kColumns], uint64_t row0, uint32_t from, uint32_t thread,
    uint32_t threads) {
  const uint32_t columns = static_cast<uint32_t>(g.columns), width = min(kPanel, columns - from);
  for (uint32_t i = thread; i < kRows * kPanel; i += threads) {
    const uint32_t row = i / kPanel, c = i % kPanel;
    if (row0 + row < g.rows && c < width) {
      copyWord(&panel.scale[c][row], g.scale + (row0 + row) * g.scaleRow + (from + c) * g.scaleColumn);
      copyWord(&panel.zero[c][row], g.zero + (row0 + row) * g.zeroRow + (from + c) * g.zeroColumn);
    }
  }
  const uint32_t rest = columns - from;
  for (uint32_t i = thread; i < width * rest; i += threads) {
    const uint32_t c = i / rest, j = from + i % rest;
    copyWord(&upper[c][j], g.u + static_cast<uint64_t>(from + c) * g.ldU + j);
  }
}

/// Rounds the columns of a panel for one row: `tile` holds its weights, `kLine` apart, and receives its
/// values; `errors` and `codes` likewise.
DEVICE void roundPanel(
    float* tile, const Panel& panel, const float (&upper)[kPanel][kColumns], float* errors, uint8_t* codes,
    uint32_t from, uint32_t width, float high, uint32_t row) {
  float w[kPanel];
#pragma unroll
  for (uint32_t c = 0; c < kPanel; c++) w[c] = c < width ? tile[c * kLine] : 0.0f;
#pragma unroll
  for (uint32_t c = 0; c < kPanel; c++) {
    if (c >= width) break;
    const float scale = panel.scale[c][row], zero = panel.zero[c][row];
    const float* line = upper[c] + from;
    const float ratio = __fdiv_rn(w[c], scale);
    const float whole = ratio == ratio ? rintf(ratio) : 0.0f;
    const float code = fmaxf(fminf(__fadd_rn(whole, zero), high), 0.0f);
    const float value = __fmul_rn(scale, __fsub_rn(code, zero));
    const float e = __fdiv_rn(__fsub_rn(w[c], value), line[c]);
#pragma unroll
    for (uint32_t j = c + 1; j < kPanel; j++) {
      if (j < width) w[j] = __fmaf_rn(-e, line[j], w[j]);
    }
    tile[c * kLine] = value;
    errors[c * kLine] = e;
    codes[c * kLine] = static_cast<uint8_t>(__float2uint_rn(code));
  }
}

extern "C" __global__ void __launch_bounds__(kWarps * 32) gptq_block(const __grid_constant__ GptqArgs g) {
  __shared__ Panel panels[2];
  __shared__ float upper[2][kPanel][kColumns];
  __shared__ float tile[kColumns * kLine];
  __shared__ float errors[kPanel * kLine];
  __shared__ uint8_t codes[kPanel * kLine];
  const uint32_t columns = static_cast<uint32_t>(g.columns), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint64_t row0 = static_cast<uint64_t>(blockIdx.x) * kRows;
  const uint32_t rows = static_cast<uint32_t>(min(static_cast<uint64_t>(kRows), g.rows - row0));
  // Absent rows are rounded too, with numbers that do no harm.
  for (uint32_t i = threadIdx.x; i < kPanel * kLine; i += blockDim.x) {
#pragma unroll
    for (int p = 0; p < 2; p++) {
      panels[p].scale[i / kLine][i % kLine] = 1.0f;
      panels[p].zero[i / kLine][i % kLine] = 0.0f;
    }
  }
  for (uint32_t row = warp; row < kRows; row += kWarps) {
    for (uint32_t j = lane; j < columns; j += 32) tile[j * kLine + row] = row < rows ? g.w[(row0 + row) * g.ldW + j] : 0.0f;
  }
  __syncthreads();
  fetchPanel(g, panels[0], upper[0], row0, 0, threadIdx.x, blockDim.x);
  copiesDone();
  __syncthreads();
  for (uint32_t from = 0, turn = 0; from < columns; from += kPanel, turn ^= 1) {
    const uint32_t width = min(kPanel, columns - from), next = from + kPanel;
    if (warp == 0) {
      roundPanel(tile + from * kLine + lane, panels[turn], upper[turn], errors + lane, codes + lane, from, width, g.high, lane);
    } else if (next < columns) {
      fetchPanel(g, panels[turn ^ 1], upper[turn ^ 1], row0, next, threadIdx.x - 32, blockDim.x - 32);
      copiesDone();
    }
    __syncthreads();
    float e[kPanel];
#pragma unroll
    for (uint32_t c = 0; c < kPanel; c++) e[c] = c < width ? errors[c * kLine + lane] : 0.0f;
    // Only a whole panel has columns behind it.
    for (uint32_t j = next + warp; j < columns; j += kWarps) {
      float w = tile[j * kLine + lane];
#pragma unroll
      for (uint32_t c = 0; c < kPanel; c++) w = __fmaf_rn(-e[c], upper[turn][c][j], w);
      tile[j * kLine + lane] = w;
    }
    for (uint32_t i = threadIdx.x; i < rows * kPanel; i += blockDim.x) {
      const uint32_t row = i / kPanel, c = i % kPanel;
      if (c < width) {
        g.error[(row0 + row) * g.ldError + from + c] = errors[c * kLine + row];
        g.codes[(row0 + row) * g.ldCodes + from + c] = codes[c * kLine + row];
      }
    }
    __syncthreads();
  }
  for (uint32_t row = warp; row < rows; row += kWarps) {
    for (uint32_t j = lane; j < columns; j += 32) g.w[(row0 + row) * g.ldW + j] = tile[j * kLine + row];
  }
}

/// Takes the errors of `columns` columns out of `rest` columns behind them, in the same order: for
/// blocks of more columns than `gptq_block` has room for.
extern "C" __global__ void __launch_bounds__(256) gptq_spread(
    float* w, const float* u, const float* error, uint64_t rows, uint64_t columns, uint64_t rest, uint64_t ldW,
    uint64_t ldU, uint64_t ldError) {
  const uint64_t index = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= rows * rest) return;
  const uint64_t row = index / rest, j = index - row * rest;
  float value = w[row * ldW + j];
  for (uint64_t c = 0; c < columns; c++) value = __fmaf_rn(-error[row * ldError + c], u[c * ldU + j], value);
  w[row * ldW + j] = value;
}
