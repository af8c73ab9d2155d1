#include "gemm_large.cuh"

GEMM_LARGE(gemm_large_e4m3_192, E4m3, 192, FAST, 5, false)
GEMM_LARGE(gemm_large_e4m3_144, E4m3, 144, FAST, 6, false)
GEMM_LARGE(gemm_large_e4m3_128, E4m3, 128, FAST, 6, false)
GEMM_LARGE(gemm_large_e4m3_112, E4m3, 112, FAST, 6, false)
GEMM_LARGE(gemm_large_e4m3_shared_128, E4m3, 128, FAST, 6, true)
GEMM_LARGE(gemm_large_e4m3_together_144, E4m3, 144, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_e4m3_together_128, E4m3, 128, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_e4m3_together_112, E4m3, 112, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_e4m3_together_shared_112, E4m3, 112, TOGETHER, 6, true)
