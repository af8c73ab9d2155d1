#include "gemm_small.cuh"

GEMM_SMALL(gemm_small_bf16_8, Bf16, 8, false, 6, 2)
GEMM_SMALL(gemm_small_bf16_16, Bf16, 16, false, 6, 2)
GEMM_SMALL(gemm_small_bf16_32, Bf16, 32, false, 5, 2)
GEMM_SMALL(gemm_small_bf16_64, Bf16, 64, false, 4, 2)
GEMM_SMALL(gemm_small_bf16_128, Bf16, 128, false, 6, 1)
GEMM_SMALL(gemm_small_bf16_256, Bf16, 256, false, 4, 1)
