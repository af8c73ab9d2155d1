#include "packed.cuh"

PACKED_KERNELS(8, 1)
