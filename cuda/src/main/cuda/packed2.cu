#include "packed.cuh"

PACKED_KERNELS(2, 2)
