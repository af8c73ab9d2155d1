#include "gemm_large.cuh"

GEMM_LARGE(gemm_large_e4m3_192, E4m3, 192, FAST, 5)
GEMM_LARGE(gemm_large_e4m3_144, E4m3, 144, FAST, 6)
GEMM_LARGE(gemm_large_e4m3_128, E4m3, 128, FAST, 6)
GEMM_LARGE(gemm_large_e4m3_112, E4m3, 112, FAST, 6)
