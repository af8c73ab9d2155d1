#include "gemm_large.cuh"

GEMM_LARGE(gemm_large_e4m3_precise_192, E4m3, 192, PRECISE, 4, false)
GEMM_LARGE(gemm_large_e4m3_precise_144, E4m3, 144, PRECISE, 5, false)
GEMM_LARGE(gemm_large_e4m3_precise_128, E4m3, 128, PRECISE, 6, false)
GEMM_LARGE(gemm_large_e4m3_precise_112, E4m3, 112, PRECISE, 6, false)
GEMM_LARGE(gemm_large_e4m3_precise_shared_192, E4m3, 192, PRECISE, 4, true)
GEMM_LARGE(gemm_large_e4m3_precise_shared_112, E4m3, 112, PRECISE, 6, true)
GEMM_LARGE(gemm_large_e4m3_blockwise_192, E4m3, 192, BLOCKWISE, 4, false)
GEMM_LARGE(gemm_large_e4m3_blockwise_128, E4m3, 128, BLOCKWISE, 6, false)
GEMM_LARGE(gemm_large_e4m3_blockwise_shared_192, E4m3, 192, BLOCKWISE, 4, true)
GEMM_LARGE(gemm_large_e4m3_blockwise_shared_128, E4m3, 128, BLOCKWISE, 6, true)
