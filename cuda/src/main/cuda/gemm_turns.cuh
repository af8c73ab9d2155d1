// Who multiplies what in gemm_large.cuh: the order of tiles, tiles that several clusters share, and the way their
// sums meet.
#pragma once

#include "gemm.cuh"

constexpr uint32_t kTileM = 128;  // rows of A in a tile

/// Tiles in the order in which clusters take them: `raster` rows of clusters, column by column, so
/// that tiles that run at the same time share what they read through the L2 cache.
struct Schedule {
  uint32_t rows, columns, raster;
  DEVICE_MEMBER uint32_t count() const { return rows * columns; }
  DEVICE_MEMBER void locate(uint32_t index, uint32_t& row, uint32_t& column) const {
    uint32_t band = index / (raster * columns);
    uint32_t within = index - band * raster * columns;
    uint32_t height = min(raster, rows - band * raster);
    column = within / height;
    row = band * raster + within - column * height;
  }
};

/// Where clusters leave sums for each other, and who shares which tiles. All flags are 0 between launches. The
/// first `tiles` tiles are dealt out to `groups` groups of `members` clusters, the rest to single clusters.
struct Shares {
  uint32_t* flags;  // one for each warp that sums, 64 bytes a block
  uint4* sums;      // of one tile a block
  uint32_t tiles, groups, members, unused;
};
constexpr uint32_t kFlagStride = 16;

/// A part of K of one tile; `position` counts stages of this cluster before it.
struct Turn {
  uint32_t tile, from, to, position;
};

/// What a cluster does: its share of its group's tiles, the last of them first, then every `step`-th of the tiles
/// that are not shared. Members share the stages of their group's tiles equally, so groups go through K side by
/// side and find each other's operands in the L2 cache. A tile that ends in another member's share is left to
/// that one; its number is higher, so nobody waits for a cluster after it.
template <bool Shared>
struct Turns {
  const Shares& shares;
  uint32_t blocks, first, step, begin, end, parts;  // the share, and how many tiles it touches
  /// Where the share of a cluster begins or, `next` being 1, ends among the stages of its group.
  DEVICE_MEMBER uint32_t bound(uint32_t cluster, uint32_t next) const {
    const uint32_t group = cluster % shares.groups, member = cluster / shares.groups;
    const uint32_t stages = (shares.tiles + shares.groups - 1 - group) / shares.groups * blocks;
    return member < shares.members ? stages * (member + next) / shares.members : 0;
  }
  DEVICE_MEMBER Turns(const Shares& s, uint32_t k, uint32_t cluster, uint32_t clusters)
      : shares(s), blocks(k), first(cluster), step(clusters), begin(0), end(0), parts(0) {
    if (!Shared) return;
    begin = bound(cluster, 0);
    end = bound(cluster, 1);
    parts = end > begin ? (end - 1) / blocks - begin / blocks + 1 : 0;
  }
  DEVICE_MEMBER Turn at(uint32_t i) const {
    if (!Shared) return {first + i * step, 0, blocks, i * blocks};
    if (i >= parts) return {shares.tiles + first + (i - parts) * step, 0, blocks, end - begin + (i - parts) * blocks};
    const uint32_t tile = (end - 1) / blocks - i, start = tile * blocks;
    const uint32_t from = max(begin, start), to = min(end, start + blocks);
    return {tile * shares.groups + first % shares.groups, from - start, to - start, end - to};
  }
};

DEVICE void addBits(float& sum, uint32_t bits) { sum += __uint_as_float(bits); }
DEVICE void addBits(int& sum, uint32_t bits) { sum += static_cast<int>(bits); }

/// Leaves a warp's sums of a part of a tile to the cluster that has the tile's end.
template <class Acc, int Slices, int R>
DEVICE void leave(const Acc (&acc)[Slices][R], const Shares& shares, uint32_t block, uint32_t lanes, uint32_t index) {
  uint4* target = shares.sums + static_cast<uint64_t>(block) * (kTileM * 192 / 4) + index;
#pragma unroll
  for (int s = 0; s < Slices; s++) {
#pragma unroll
    for (int j = 0; j < R; j += 4) {
      __stcg(target + (s * R + j) / 4 * lanes,
             make_uint4(bitsOf(acc[s][j]), bitsOf(acc[s][j + 1]), bitsOf(acc[s][j + 2]), bitsOf(acc[s][j + 3])));
    }
  }
  __threadfence();
  __syncwarp();
  if (index % 32 == 0) {
    asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(shares.flags + block * kFlagStride + index / 32) : "memory");
  }
}

/// Adds what the same warp of another block has left, and clears its flag for the next launch.
template <class Acc, int Slices, int R>
DEVICE void take(Acc (&acc)[Slices][R], const Shares& shares, uint32_t block, uint32_t lanes, uint32_t index) {
  uint32_t* flag = shares.flags + block * kFlagStride + index / 32;
  uint32_t there = 0;
  while (there == 0) {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(there) : "l"(flag) : "memory");
  }
  const uint4* source = shares.sums + static_cast<uint64_t>(block) * (kTileM * 192 / 4) + index;
#pragma unroll
  for (int s = 0; s < Slices; s++) {
#pragma unroll
    for (int j = 0; j < R; j += 4) {
      const uint4 v = __ldcg(source + (s * R + j) / 4 * lanes);
      addBits(acc[s][j], v.x), addBits(acc[s][j + 1], v.y), addBits(acc[s][j + 2], v.z), addBits(acc[s][j + 3], v.w);
    }
  }
  __syncwarp();
  if (index % 32 == 0) *flag = 0;
}
