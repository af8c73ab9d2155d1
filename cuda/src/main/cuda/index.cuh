// Which element a thread is for.
#pragma once

#include "ptx.cuh"

DEVICE uint64_t threadIndex() { return static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

/// a / b; a division of 64 bits costs some hundred instructions, and indices rarely need one.
DEVICE uint64_t quotient(uint64_t a, uint64_t b) {
  return (a | b) >> 32 == 0 ? static_cast<uint32_t>(a) / static_cast<uint32_t>(b) : a / b;
}
