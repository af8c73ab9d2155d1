#include "gemm_large.cuh"

GEMM_LARGE(gemm_large_s8_192, S8, 192, FAST, 5)
GEMM_LARGE(gemm_large_s8_144, S8, 144, FAST, 6)
GEMM_LARGE(gemm_large_s8_128, S8, 128, FAST, 6)
GEMM_LARGE(gemm_large_s8_112, S8, 112, FAST, 6)
