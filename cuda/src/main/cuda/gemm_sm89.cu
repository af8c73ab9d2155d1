#include "gemm_mma.cuh"

GEMM_MMA(gemm_mma_e4m3, MmaE4m3)
