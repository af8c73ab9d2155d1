#include "packed.cuh"

PACKED_KERNELS(4, 2)
