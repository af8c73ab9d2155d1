#include "packed.cuh"

PACKED_KERNELS(3, 2)
