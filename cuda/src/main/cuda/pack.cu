// Codes of 2 to 8 bits, one a byte, to rows of 32-bit words and back: a row is one stream of bits,
// least significant first, so eight codes are as many whole bytes as a code has bits.

#include "elements.cuh"

/// Four codes, one a byte, close together.
DEVICE uint32_t together(uint32_t bytes, uint32_t bits) {
  const uint32_t code = (1u << bits) - 1;
  return (bytes & code) | (bytes >> 8 & code) << bits | (bytes >> 16 & code) << 2 * bits | (bytes >> 24 & code) << 3 * bits;
}

/// One word a thread: the codes that begin in it, and the end of one that began in the word before.
DEVICE uint32_t wordOf(const uint8_t* line, uint32_t index, uint32_t columns, uint32_t bits) {
  const uint32_t codes = 32 / bits, first = index * codes;
  uint32_t word = 0;
  if (32 % bits == 0 && (reinterpret_cast<uint64_t>(line) & 3) == 0 && first + codes <= columns) {
    for (uint32_t i = 0; i < codes; i += 4) {
      word |= together(*reinterpret_cast<const uint32_t*>(line + first + i), bits) << i * bits;
    }
    return word;
  }
  const uint64_t begin = static_cast<uint64_t>(index) * 32;
  for (uint64_t k = begin / bits; k < columns && k * bits < begin + 32; k++) {
    const uint32_t code = line[k] & ((1u << bits) - 1);
    const int shift = static_cast<int>(k * bits - begin);
    word |= shift >= 0 ? code << shift : code >> -shift;
  }
  return word;
}

extern "C" __global__ void __launch_bounds__(256) pack_words(
    const uint8_t* codes, uint32_t* words, uint64_t rows, uint32_t columns, uint32_t wordsPerRow, uint32_t bits) {
  const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= wordsPerRow) return;
  for (uint64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    words[row * wordsPerRow + index] = wordOf(codes + row * columns, index, columns, bits);
  }
}

/// Eight codes a thread.
extern "C" __global__ void __launch_bounds__(256) unpack_words(
    const uint32_t* words, uint8_t* codes, uint64_t rows, uint32_t columns, uint32_t wordsPerRow, uint32_t bits) {
  const uint32_t first = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (first >= columns) return;
  const uint64_t bit = static_cast<uint64_t>(first) * bits, mask = (1u << bits) - 1;
  const uint32_t at = static_cast<uint32_t>(bit / 32), shift = static_cast<uint32_t>(bit % 32), last = wordsPerRow - 1;
  for (uint64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const uint32_t* line = words + row * wordsPerRow;
    // Eight codes take at most 64 bits, which lie in up to three words.
    uint64_t window = (line[at] | static_cast<uint64_t>(line[min(at + 1, last)]) << 32) >> shift;
    if (shift + 8 * bits > 64) window |= static_cast<uint64_t>(line[min(at + 2, last)]) << (64 - shift);
    uint64_t bytes = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) bytes |= (window >> (i * bits) & mask) << (8 * i);
    uint8_t* target = codes + row * columns + first;
    if (first + 8 <= columns && (reinterpret_cast<uint64_t>(target) & 7) == 0) {
      *reinterpret_cast<uint64_t*>(target) = bytes;
    } else {
      for (uint32_t i = 0; i < 8 && first + i < columns; i++) target[i] = static_cast<uint8_t>(bytes >> (8 * i));
    }
  }
}

// --- x for products with packed weights (packed.cuh)

/// Eight inputs of one token a thread: cut into halves, which go where the lanes look for them. `out` is
/// [token tiles][chunks] of 8 columns of 128 elements; columns 2q and 2q + 1 are the halves of token q of
/// a tile. Units of eight elements lie in a column at
///
///   narrow   j * 4 + q    for unit 4j + q of the chunk
///   wide     j * 4 + q    for unit 4q + j
///
/// where odd tokens have j exchanged among pairs (j ^ 1), against bank conflicts.
extern "C" __global__ void __launch_bounds__(256) pack_tokens(
    const void* x, uint8_t* out, uint64_t tokens, uint64_t inputs, uint64_t ldX, uint32_t type, uint32_t narrow) {
  const uint64_t chunks = (inputs + 127) / 128, units = chunks * 16, tiles = (tokens + 3) / 4;
  const uint64_t index = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= tiles * 4 * units) return;
  const uint64_t token = index / units, unit = index % units, first = unit * 8;
  uint32_t high[4], low[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float v[2];
#pragma unroll
    for (int e = 0; e < 2; e++) {
      const uint64_t k = first + i + e * 4;
      v[e] = token < tokens && k < inputs ? loadFloat(x, type, token * ldX + k) : 0.0f;
    }
    const uint32_t h0 = floatToBf16(v[0]), h1 = floatToBf16(v[1]);
    high[i] = h0 | h1 << 16;
    low[i] = floatToBf16(v[0] - bf16ToFloat(static_cast<uint16_t>(h0))) |
             static_cast<uint32_t>(floatToBf16(v[1] - bf16ToFloat(static_cast<uint16_t>(h1)))) << 16;
  }
  const uint32_t place = static_cast<uint32_t>(unit % 16), q = narrow ? place % 4 : place / 4, j = narrow ? place / 4 : place % 4;
  uint8_t* tile = out + (token / 4 * chunks + unit / 16) * 2048;
#pragma unroll
  for (uint32_t half = 0; half < 2; half++) {
    const uint32_t column = static_cast<uint32_t>(token % 4) * 2 + half;
    *reinterpret_cast<uint4*>(tile + column * 256 + ((j ^ (column & 1)) * 4 + q) * 16) =
        half == 0 ? make_uint4(high[0], high[1], high[2], high[3]) : make_uint4(low[0], low[1], low[2], low[3]);
  }
}

/// Adds what the shares of the inputs came to, in order, and the bias.
extern "C" __global__ void __launch_bounds__(256) pack_join(
    const float* parts, const void* bias, float* out, uint64_t tokens, uint64_t outputs, uint64_t splits,
    uint32_t biasType) {
  const uint64_t count = tokens * outputs, index = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= count) return;
  float sum = 0.0f;
  for (uint64_t s = 0; s < splits; s++) sum += parts[s * count + index];
  out[index] = sum + (bias == nullptr ? 0.0f : loadFloat(bias, biasType, index % outputs));
}

/// The weights themselves, in any float type: for widths, group sizes and orders of columns that the
/// products do not know, and for so many tokens that an ordinary product is faster. A thread does eight
/// neighbours of a row; `groupIndex` is null where groups are runs of columns.
extern "C" __global__ void __launch_bounds__(256) pack_weights(
    const uint32_t* words, const void* scales, const uint8_t* zeros, const int* groupIndex, void* out, uint32_t outType,
    uint64_t outputs, uint32_t inputs, uint64_t wordsPerRow, uint64_t groups, uint32_t groupSize, uint32_t bits,
    uint32_t scaleType) {
  const uint32_t first = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (first >= inputs) return;
  const uint32_t mask = (1u << bits) - 1, end = min(first + 8, inputs);
  for (uint64_t row = blockIdx.y; row < outputs; row += gridDim.y) {
    const uint32_t* line = words + row * wordsPerRow;
    uint32_t known = ~0u;
    float scale = 0.0f, zero = static_cast<float>(1u << (bits - 1));
    float weights[8];
#pragma unroll
    for (uint32_t j = 0; j < 8; j++) {
      const uint32_t k = min(first + j, end - 1);
      const uint64_t bit = static_cast<uint64_t>(k) * bits;
      const uint32_t word = static_cast<uint32_t>(bit / 32), offset = static_cast<uint32_t>(bit % 32);
      uint32_t code = line[word] >> offset;
      if (offset + bits > 32) code |= line[word + 1] << (32 - offset);
      const uint32_t group = groupIndex == nullptr ? k / groupSize : static_cast<uint32_t>(groupIndex[k]);
      if (group != known) {
        known = group;
        scale = loadFloat(scales, scaleType, row * groups + group);
        if (zeros != nullptr) zero = static_cast<float>(zeros[row * groups + group]);
      }
      weights[j] = __fmul_rn(scale, __fsub_rn(static_cast<float>(code & mask), zero));
    }
    const uint64_t at = row * inputs + first;
    if (outType == BF16 && inputs % 8 == 0) {
      uint32_t pairs[4];
#pragma unroll
      for (int j = 0; j < 4; j++) {
        pairs[j] = floatToBf16(weights[2 * j]) | static_cast<uint32_t>(floatToBf16(weights[2 * j + 1])) << 16;
      }
      *reinterpret_cast<uint4*>(static_cast<uint16_t*>(out) + at) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    } else {
#pragma unroll
      for (uint32_t j = 0; j < 8; j++) {
        if (first + j < end) storeFloat(out, outType, at + j, weights[j]);
      }
    }
  }
}
