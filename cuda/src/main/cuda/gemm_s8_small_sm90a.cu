#include "gemm_small.cuh"

GEMM_SMALL(gemm_small_s8_8x64, S8, 8, false, 64, 12, 12, 4, 2)
GEMM_SMALL(gemm_small_s8_16x64, S8, 16, false, 64, 11, 10, 4, 2)
GEMM_SMALL(gemm_small_s8_32x64, S8, 32, false, 64, 9, 9, 2, 2)
GEMM_SMALL(gemm_small_s8_64x64, S8, 64, false, 64, 8, 6, 2, 2)
GEMM_SMALL(gemm_small_s8_128x64, S8, 128, false, 64, 9, 9, 2, 1)
GEMM_SMALL(gemm_small_s8_128x128, S8, 128, false, 128, 6, 6, 0, 1)
GEMM_SMALL(gemm_small_s8_256x128, S8, 256, false, 128, 4, 4, 0, 1)
