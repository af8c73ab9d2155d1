#include "gemm_small.cuh"

GEMM_SMALL(gemm_small_s8_8x64, S8, 8, false, 64, 12, 12, 4, 2)
GEMM_SMALL(gemm_small_s8_16x64, S8, 16, false, 64, 11, 10, 2, 2)
GEMM_SMALL(gemm_small_s8_32x64, S8, 32, false, 64, 9, 9, 4, 2)
GEMM_SMALL(gemm_small_s8_64x64, S8, 64, false, 64, 8, 6, 4, 2)
GEMM_SMALL(gemm_small_s8_128x64, S8, 128, false, 64, 8, 8, 0, 1)
GEMM_SMALL(gemm_small_s8_128x128, S8, 128, false, 128, 6, 6, 0, 1)
GEMM_SMALL(gemm_small_s8_256x64, S8, 256, false, 64, 5, 5, 0, 1)
