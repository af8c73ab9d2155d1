// What the attention kernels share: arguments, and which keys a query sees.
#pragma once

#include "ptx.cuh"

/// Some queries of one packed sequence; the host writes the same 24 bytes (AttentionTiles.java).
struct Tile {
  uint32_t query;  // the first, among all
  uint32_t count;
  uint32_t key;    // the sequence's first, among all
  uint32_t keys;   // how many the sequence has
  int place;       // of the first query among those keys
  uint32_t unused;
};

struct AttentionArgs {
  const float* q;            // [M, H, D], steps in elements, unit step along D
  uint64_t qToken, qHead;
  const void* k;             // few: float32 like q; many: bfloat16 [G, S, padded D]
  const void* v;
  uint64_t kToken, kHead, vToken, vHead;
  float* out;                // [M, H, D] without gaps
  const Tile* tiles;
  uint64_t heads, shared;    // heads of q; how many of them read one of k and v
  uint64_t size;             // D
  uint64_t keysInAll;        // S
  uint64_t causal, window;   // window 0 sees everything
  double scale;
};

/// The keys that a query sees, from the first to before the last, within its sequence.
struct Seen {
  int from, to;
};

DEVICE Seen seen(const AttentionArgs& g, const Tile& tile, int place) {
  const int keys = static_cast<int>(tile.keys);
  const int from = g.window == 0 ? 0 : max(0, place - static_cast<int>(g.window) + 1);
  return {from, g.causal ? min(place + 1, keys) : keys};
}

DEVICE uint32_t packPair(float low, float high) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

/// 2^x to two units in the last place.
DEVICE float power2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
