#include "gemm_large.cuh"

GEMM_LARGE(gemm_large_e4m3_precise_192, E4m3, 192, PRECISE, 4)
GEMM_LARGE(gemm_large_e4m3_precise_144, E4m3, 144, PRECISE, 5)
GEMM_LARGE(gemm_large_e4m3_precise_128, E4m3, 128, PRECISE, 6)
GEMM_LARGE(gemm_large_e4m3_precise_112, E4m3, 112, PRECISE, 6)
GEMM_LARGE(gemm_large_e4m3_blockwise_128, E4m3, 128, BLOCKWISE, 6)
