#include "gemm_large.cuh"

GEMM_LARGE(gemm_large_bf16_192, Bf16, 192, FAST, 5, false)
GEMM_LARGE(gemm_large_bf16_144, Bf16, 144, FAST, 6, false)
GEMM_LARGE(gemm_large_bf16_128, Bf16, 128, FAST, 6, false)
GEMM_LARGE(gemm_large_bf16_112, Bf16, 112, FAST, 6, false)
GEMM_LARGE(gemm_large_bf16_shared_128, Bf16, 128, FAST, 6, true)
GEMM_LARGE(gemm_large_bf16_together_144, Bf16, 144, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_bf16_together_128, Bf16, 128, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_bf16_together_112, Bf16, 112, TOGETHER, 6, false)
GEMM_LARGE(gemm_large_bf16_together_shared_112, Bf16, 112, TOGETHER, 6, true)
