#include "gemm_large.cuh"

GEMM_LARGE(gemm_large_s8_192, S8, 192, FAST, 5, false)
GEMM_LARGE(gemm_large_s8_144, S8, 144, FAST, 6, false)
GEMM_LARGE(gemm_large_s8_128, S8, 128, FAST, 6, false)
GEMM_LARGE(gemm_large_s8_112, S8, 112, FAST, 6, false)
GEMM_LARGE(gemm_large_s8_shared_128, S8, 128, FAST, 6, true)
GEMM_LARGE(gemm_large_s8_together_144, S8, 144, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_s8_together_128, S8, 128, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_s8_together_112, S8, 112, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_s8_together_shared_112, S8, 112, TOGETHER, 6, true)
