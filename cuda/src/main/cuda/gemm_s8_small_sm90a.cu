#include "gemm_small.cuh"

GEMM_SMALL(gemm_small_s8_8, S8, 8, false, 6, 2)
GEMM_SMALL(gemm_small_s8_16, S8, 16, false, 6, 2)
GEMM_SMALL(gemm_small_s8_32, S8, 32, false, 5, 2)
GEMM_SMALL(gemm_small_s8_64, S8, 64, false, 4, 2)
GEMM_SMALL(gemm_small_s8_128, S8, 128, false, 6, 1)
GEMM_SMALL(gemm_small_s8_256, S8, 256, false, 4, 1)
