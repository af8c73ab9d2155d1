#include "gemm_small.cuh"

GEMM_SMALL(gemm_small_bf16_8x64, Bf16, 8, false, 64, 12, 12, 4, 2)
GEMM_SMALL(gemm_small_bf16_16x64, Bf16, 16, false, 64, 11, 10, 2, 2)
GEMM_SMALL(gemm_small_bf16_32x64, Bf16, 32, false, 64, 9, 9, 4, 2)
GEMM_SMALL(gemm_small_bf16_64x64, Bf16, 64, false, 64, 8, 6, 4, 2)
GEMM_SMALL(gemm_small_bf16_128x64, Bf16, 128, false, 64, 8, 8, 0, 1)
GEMM_SMALL(gemm_small_bf16_128x128, Bf16, 128, false, 128, 6, 6, 0, 1)
GEMM_SMALL(gemm_small_bf16_256x64, Bf16, 256, false, 64, 5, 5, 0, 1)
