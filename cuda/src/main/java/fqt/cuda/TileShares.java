package fqt.cuda;

/**
 * Tiles of a large kernel that several clusters multiply together (gemm_turns.cuh): the first ones,
 * dealt out to groups of clusters, whose members share the stages of their group's tiles equally.
 *
 * @param tiles how many are shared
 * @param groups of clusters
 * @param members clusters of a group
 */
record TileShares(int tiles, int groups, int members) {
  static final TileShares NONE = new TileShares(0, 1, 1);

  private static final int MOST_TILES_OF_A_GROUP = 12;
  private static final double STAGES_OF_ADDING = 6;
  private static final double ROUNDS_OF_A_TILE = 0.01;

  /** Whether any tile is shared. */
  boolean any() {
    return tiles > 0;
  }

  /** Rounds of whole tiles that the shared ones take. */
  double rounds() {
    return Math.ceilDiv(tiles, groups) / (double) members;
  }

  /** How many sums of others are added to a cluster's own. */
  int added() {
    if (tiles == 0) {
      return 0;
    }
    int each = Math.ceilDiv(tiles, groups);
    return members <= each ? 1 : Math.ceilDiv(members, each) - (members % each == 0 ? 1 : 0);
  }

  /**
   * What they take in rounds, adding included; and the fewer a group has, the more it finds in the
   * cache.
   */
  private double cost(long blocks) {
    int each = Math.ceilDiv(tiles, groups);
    return rounds() + added() * STAGES_OF_ADDING / blocks + each * ROUNDS_OF_A_TILE;
  }

  /**
   * The division of some tiles among clusters by which they are done first.
   *
   * @param limit rounds below which it must stay
   */
  static TileShares of(int tiles, int clusters, long blocks, double limit) {
    TileShares best = NONE;
    for (int each = 1; each <= Math.min(tiles, MOST_TILES_OF_A_GROUP); each++) {
      int groups = Math.ceilDiv(tiles, each);
      for (int members = 2; members <= clusters / groups; members++) {
        TileShares next = new TileShares(tiles, groups, members);
        if (next.rounds() < limit && (!best.any() || next.cost(blocks) < best.cost(blocks))) {
          best = next;
        }
      }
    }
    return best;
  }
}
