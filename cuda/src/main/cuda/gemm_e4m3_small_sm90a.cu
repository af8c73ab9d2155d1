#include "gemm_small.cuh"

GEMM_SMALL(gemm_small_e4m3_8, E4m3, 8, false, 6, 2)
GEMM_SMALL(gemm_small_e4m3_16, E4m3, 16, false, 6, 2)
GEMM_SMALL(gemm_small_e4m3_32, E4m3, 32, false, 5, 2)
GEMM_SMALL(gemm_small_e4m3_64, E4m3, 64, false, 4, 2)
GEMM_SMALL(gemm_small_e4m3_128, E4m3, 128, false, 6, 1)
GEMM_SMALL(gemm_small_e4m3_256, E4m3, 256, false, 4, 1)
GEMM_SMALL(gemm_small_e4m3_precise_8, E4m3, 8, true, 6, 2)
GEMM_SMALL(gemm_small_e4m3_precise_16, E4m3, 16, true, 6, 2)
GEMM_SMALL(gemm_small_e4m3_precise_32, E4m3, 32, true, 5, 2)
GEMM_SMALL(gemm_small_e4m3_precise_64, E4m3, 64, true, 4, 2)
GEMM_SMALL(gemm_small_e4m3_precise_128, E4m3, 128, true, 6, 1)
