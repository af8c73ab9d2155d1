#include "gemm_large.cuh"

GEMM_LARGE(gemm_large_bf16_192, Bf16, 192, FAST, 5)
GEMM_LARGE(gemm_large_bf16_144, Bf16, 144, FAST, 6)
GEMM_LARGE(gemm_large_bf16_128, Bf16, 128, FAST, 6)
GEMM_LARGE(gemm_large_bf16_112, Bf16, 112, FAST, 6)
