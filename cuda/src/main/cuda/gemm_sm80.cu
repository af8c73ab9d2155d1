#include "gemm_mma.cuh"

GEMM_MMA(gemm_mma_s8, MmaS8)
GEMM_MMA(gemm_mma_bf16, MmaBf16)
