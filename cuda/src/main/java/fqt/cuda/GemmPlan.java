package fqt.cuda;

import fqt.tensor.DType;
import java.util.List;

/**
 * Which Hopper kernel multiplies [M, K] by [N, K], and how it is spread over the GPU.
 *
 * @param kind which of the three designs
 * @param module name of the PTX resource
 * @param kernel name of the kernel in it
 * @param gridX blocks along the first dimension, a multiple of {@code cluster}
 * @param gridY blocks along the second
 * @param threads of a block
 * @param sharedBytes dynamic shared memory of a block
 * @param cluster blocks that work together
 * @param boxA rows of A that one copy fetches
 * @param boxB rows of B that one copy fetches
 * @param raster tiles along M that run together; where tokens are few, rows of a box of A
 * @param shares tiles of a large kernel that several clusters multiply together, each a part of K
 * @param cost expected time in microseconds
 */
record GemmPlan(
    Kind kind,
    String module,
    String kernel,
    int gridX,
    int gridY,
    int threads,
    int sharedBytes,
    int cluster,
    int boxA,
    int boxB,
    int raster,
    TileShares shares,
    double cost) {
  /** The designs: gemm_large.cuh, gemm_small.cuh and gemm_stream.cuh. */
  enum Kind {
    /** Many tokens: persistent tiles of 128 tokens. */
    LARGE,
    /** Few tokens: one tile of weights a cluster, whose blocks share K. */
    SMALL,
    /** Few tokens, many weights: equal shares of all weights. */
    STREAM
  }

  /** What is added up where. */
  enum Sum {
    FAST,
    /** The same numbers as FAST, by another way of large kernels; never asked for. */
    TOGETHER,
    PRECISE,
    BLOCKWISE
  }

  /** Width of a tile and how many stages of its operands fit into shared memory. */
  record Tile(int width, int stages) {}

  static final Tile[] LARGE_FAST = {
    new Tile(192, 5), new Tile(144, 6), new Tile(128, 6), new Tile(112, 6)
  };
  static final Tile[] LARGE_TOGETHER = {new Tile(144, 6), new Tile(128, 6), new Tile(112, 6)};
  static final Tile[] LARGE_PRECISE = {
    new Tile(192, 4), new Tile(144, 5), new Tile(128, 6), new Tile(112, 6)
  };
  static final Tile[] LARGE_BLOCKWISE = {new Tile(192, 4), new Tile(128, 6)};

  /**
   * A tile of few tokens.
   *
   * @param width tokens
   * @param rows of B
   * @param weights stages of B
   * @param tokens stages of A
   */
  record SmallTile(int width, int rows, int weights, int tokens) {
    /** Both rings and their barriers; sums come where the rings were. */
    int sharedBytes() {
      return (weights * rows + tokens * width) * STEP_BYTES + (weights + tokens) * 2 * Long.BYTES;
    }
  }

  static final SmallTile[] SMALL = {
    new SmallTile(8, 64, 12, 12),
    new SmallTile(16, 64, 11, 10),
    new SmallTile(32, 64, 9, 9),
    new SmallTile(64, 64, 8, 6),
    new SmallTile(128, 64, 8, 8),
    new SmallTile(128, 128, 6, 6),
    new SmallTile(256, 64, 5, 5)
  };

  static final Tile[] STREAM = {
    new Tile(8, 12), new Tile(16, 11), new Tile(32, 10), new Tile(64, 8)
  };

  /** Bytes of K in one stage. */
  static final int STEP_BYTES = 128;

  /** Rows of results, 128 bytes of each, that a warp of a large kernel hands to the copy engine. */
  static final int OUT_ROWS = 16;

  private static final int MAX_SHARED_BYTES = 232_448;

  private static final int ROWS = 128;
  private static final int RASTER = 8;
  private static final int MAX_SPLIT = 8;

  /** Steps of weights that a block fetches before it needs tokens, about. */
  private static final int STEPS_AHEAD = 16;

  // Measured on an H200 under load: what a step of K costs in cycles, and the rate of the clock
  // that explains the times, power limit included.
  private static final double CYCLES_PER_MICROSECOND = 1450;
  private static final double PRECISE_CYCLES_PER_MICROSECOND = 1300;
  private static final double LAST_STORE_MICROSECONDS = 1;
  private static final double L2_BYTES_PER_CYCLE = 58;
  private static final double SMALL_L2_BYTES_PER_CYCLE = 80;
  private static final double MEMORY_BYTES_PER_MICROSECOND = 4.0e6;
  private static final double TILED_BYTES_PER_MICROSECOND = 3.4e6;
  private static final double FIXED_MICROSECONDS = 2.5;
  private static final double PARTS_BYTES_PER_MICROSECOND = 20_000;
  private static final double PARTS_MICROSECONDS = 3.1;
  private static final double HALF_EMPTY_CLUSTER = 1.25;
  private static final double PRECISE_WAIT = 1.28;

  /**
   * The best plan for a shape: for up to 64 tokens by the number of tiles, beyond by a model of the
   * machine.
   *
   * @param operand I8, F8_E4M3 or BF16
   * @param blocks steps of 128 bytes along K
   * @param processors multiprocessors of the GPU
   */
  static GemmPlan of(DType operand, Sum sum, long m, long n, long blocks, int processors) {
    if (m <= STREAM[STREAM.length - 1].width && sum != Sum.BLOCKWISE) {
      return few(operand, sum, m, n, blocks, processors);
    }
    GemmPlan best = null;
    List<Sum> ways = sum == Sum.FAST ? List.of(Sum.FAST, Sum.TOGETHER) : List.of(sum);
    for (Sum way : ways) {
      for (Tile tile : large(way)) {
        best = cheaper(best, large(operand, way, tile, 2, m, n, blocks, processors));
        best = cheaper(best, large(operand, way, tile, 1, m, n, blocks, processors));
      }
      for (Tile tile : shared(way)) {
        best = cheaper(best, shared(operand, way, tile, 2, m, n, blocks, processors, 1));
        best = cheaper(best, shared(operand, way, tile, 2, m, n, blocks, processors, 2));
        if (Math.ceilDiv(m, ROWS) * Math.ceilDiv(n, tile.width) < processors) {
          // Single blocks: worse where there are more rounds of tiles.
          best = cheaper(best, shared(operand, way, tile, 1, m, n, blocks, processors, 1));
        }
      }
    }
    for (SmallTile tile : SMALL) {
      boolean exists = sum == Sum.FAST || sum == Sum.PRECISE && tile.width <= 128;
      long tiles = Math.ceilDiv(n, tile.rows) * Math.ceilDiv(m, tile.width);
      for (int split = 1; exists && tile.width > 64 && split <= MAX_SPLIT; split++) {
        if (split <= blocks && tiles * split <= processors) {
          best = cheaper(best, small(operand, sum, tile, split, m, n, blocks, processors));
        }
      }
    }
    return best;
  }

  /** Few tokens: all that counts is that every multiprocessor streams weights all the time. */
  private static GemmPlan few(DType operand, Sum sum, long m, long n, long blocks, int processors) {
    int i = 0;
    while (STREAM[i].width < m) {
      i++;
    }
    if (Math.ceilDiv(n, ROWS) > processors / 2) {
      return stream(operand, sum, STREAM[i], m, n, blocks, processors);
    }
    // Two blocks fit on a multiprocessor. Where one has all its weights on their way anyway, the
    // second is left to the next product.
    long tiles = Math.ceilDiv(n, SMALL[i].rows);
    long enough = Math.max(Math.ceilDiv(blocks, STEPS_AHEAD), processors / tiles);
    long split = Math.clamp(Math.min(enough, 2L * processors / tiles), 1, MAX_SPLIT);
    return small(operand, sum, SMALL[i], (int) Math.min(split, blocks), m, n, blocks, processors);
  }

  static Tile[] large(Sum sum) {
    return switch (sum) {
      case FAST -> LARGE_FAST;
      case TOGETHER -> LARGE_TOGETHER;
      case PRECISE -> LARGE_PRECISE;
      case BLOCKWISE -> LARGE_BLOCKWISE;
    };
  }

  /** Tiles for which there are kernels that share some. */
  static Tile[] shared(Sum sum) {
    return switch (sum) {
      case FAST -> new Tile[] {new Tile(128, 6)};
      case TOGETHER -> new Tile[] {new Tile(112, 6)};
      case PRECISE -> new Tile[] {new Tile(192, 4), new Tile(112, 6)};
      case BLOCKWISE -> LARGE_BLOCKWISE;
    };
  }

  private static GemmPlan cheaper(GemmPlan best, GemmPlan other) {
    return best == null || other.cost < best.cost ? other : best;
  }

  /** Persistent blocks of three warpgroups; two of a cluster share B. */
  static GemmPlan large(
      DType operand, Sum sum, Tile tile, int wanted, long m, long n, long blocks, int processors) {
    return shared(operand, sum, tile, wanted, m, n, blocks, processors, 0);
  }

  /**
   * The same, where all clusters multiply the tiles that would fill no round together, each a part
   * of K.
   *
   * @param sharing 0 for none; 1 for those tiles; 2 for one round more, so that only two share a
   *     tile
   */
  static GemmPlan shared(
      DType operand,
      Sum sum,
      Tile tile,
      int wanted,
      long m,
      long n,
      long blocks,
      int processors,
      int sharing) {
    long tilesM = Math.ceilDiv(m, ROWS);
    int cluster = tilesM > 1 && processors > 1 ? wanted : 1;
    long tiles = Math.ceilDiv(tilesM, cluster) * Math.ceilDiv(n, tile.width);
    int most = processors / cluster;
    int rest = (int) (tiles < most ? tiles : tiles % most);
    TileShares shares = TileShares.NONE;
    if (sharing > 0 && rest > 0) {
      int more = sharing == 2 && tiles > most ? most : 0;
      shares = TileShares.of(rest + more, most, blocks, more > 0 ? 2 : 1);
    }
    if (shares.rounds() * blocks < 2) {
      shares = TileShares.NONE;
    }
    int clusters = !shares.any() ? (int) Math.min(tiles, most) : most;
    double rounds =
        !shares.any()
            ? Math.ceilDiv(tiles, clusters)
            : (tiles - shares.tiles()) / (double) most + shares.rounds();
    double traffic = (ROWS + (double) tile.width / cluster) * STEP_BYTES / L2_BYTES_PER_CYCLE;
    double cycles =
        rounds * blocks * Math.max(4.0 * tile.width, traffic) * loss(sum, tile.width, rounds);
    // Nothing follows behind which the stores of the last round could hide; a wide tile has more.
    double stores = LAST_STORE_MICROSECONDS * (tile.width - ROWS) / ROWS;
    double memory = n * blocks * (double) STEP_BYTES / TILED_BYTES_PER_MICROSECOND;
    double waste = tilesM % cluster == 0 ? 1 : HALF_EMPTY_CLUSTER;
    return new GemmPlan(
        Kind.LARGE,
        sum == Sum.FAST || sum == Sum.TOGETHER ? module(operand, "") : "gemm_e4m3_precise_sm90a",
        "gemm_large_"
            + format(operand)
            + suffix(sum)
            + (shares.any() ? "_shared_" : "_")
            + tile.width,
        clusters * cluster,
        1,
        384,
        largeShared(sum, tile),
        cluster,
        ROWS,
        tile.width / 2,
        RASTER,
        shares,
        FIXED_MICROSECONDS
            + stores
            + apart(sum, shares, rounds)
            + together(memory, waste * cycles / rate(sum)));
  }

  /**
   * Microseconds that pass besides multiplication, against FAST without shared tiles: the end of
   * tiles, which only FAST hides behind the next, but both warpgroups finish sooner; leaving sums
   * to another cluster and adding its sums. Measured.
   */
  private static double apart(Sum sum, TileShares shares, double rounds) {
    double end = sum == Sum.TOGETHER ? (rounds > 1 ? 0.5 * rounds : -0.9) : 0;
    if (!shares.any()) {
      return end;
    }
    if (rounds > 1) {
      return end + (sum == Sum.FAST ? 2.3 : 6 + 0.7 * rounds);
    }
    return end + (shares.groups() == shares.tiles() ? 2.4 + shares.added() : 6);
  }

  /** Stages, one or two areas of results for each of eight warps, scales, barriers. */
  private static int largeShared(Sum sum, Tile tile) {
    int ring = tile.stages * (ROWS + tile.width) * STEP_BYTES;
    int blocks = sum == Sum.BLOCKWISE ? tile.stages * (ROWS + 4) * Float.BYTES : 0;
    int rest = 2 * 2 * tile.width * Float.BYTES + blocks + (2 * tile.stages + 2) * Long.BYTES;
    int area = 8 * OUT_ROWS * STEP_BYTES;
    return ring + rest + (ring + rest + 2 * area <= MAX_SHARED_BYTES ? 2 * area : area);
  }

  /** One tile a cluster, whose blocks share K; the rows of B are the tensor core's rows. */
  static GemmPlan small(
      DType operand,
      Sum sum,
      SmallTile tile,
      int split,
      long m,
      long n,
      long blocks,
      int processors) {
    long tilesN = Math.ceilDiv(n, tile.rows);
    long tilesM = Math.ceilDiv(m, tile.width);
    int stage = (tile.rows + tile.width) * STEP_BYTES;
    long rounds = Math.ceilDiv(tilesN * tilesM * split, processors);
    double rate = tile.rows < ROWS ? SMALL_L2_BYTES_PER_CYCLE : L2_BYTES_PER_CYCLE;
    double step = Math.max(tile.rows * tile.width / 32.0, stage / rate);
    // Two warpgroups that make precise sums wait for their own; one that is alone works ahead.
    boolean waits = sum == Sum.PRECISE && tile.rows == ROWS;
    double cycles = rounds * Math.ceilDiv(blocks, split) * step * (waits ? PRECISE_WAIT : 1);
    double memory = n * blocks * (double) STEP_BYTES / MEMORY_BYTES_PER_MICROSECOND;
    // What a block reads of its neighbours' sums; one that is alone still turns its own around.
    double others = tile.width * tile.rows * Float.BYTES * (1 - 1.0 / Math.max(split, 2));
    int box = (int) Math.min(tile.width, m);
    return new GemmPlan(
        Kind.SMALL,
        module(operand, "_small"),
        "gemm_small_%s%s_%dx%d".formatted(format(operand), suffix(sum), tile.width, tile.rows),
        Math.toIntExact(tilesN * split),
        Math.toIntExact(tilesM),
        tile.rows * 2 + 64,
        tile.sharedBytes(),
        split,
        box,
        tile.rows,
        box,
        TileShares.NONE,
        FIXED_MICROSECONDS
            + Math.min(others / PARTS_BYTES_PER_MICROSECOND, PARTS_MICROSECONDS)
            + together(memory, cycles / CYCLES_PER_MICROSECOND));
  }

  /**
   * What a tile loses against the best width for its sums at the same number of cycles, measured.
   */
  private static double loss(Sum sum, int width, double rounds) {
    return switch (sum) {
      case PRECISE -> width == 192 ? 1 : width == 128 ? 1.037 : width == 144 ? 1.1 : 1.12;
      case BLOCKWISE -> width == 192 ? 1 : 1.03;
      case FAST -> width == 192 ? 1 : width == 128 ? 1.01 : width == 144 ? 1.01 : 1.04;
      case TOGETHER -> rounds > 1 ? 1.03 : 1.01;
    };
  }

  private static double rate(Sum sum) {
    return sum == Sum.FAST || sum == Sum.TOGETHER
        ? CYCLES_PER_MICROSECOND
        : PRECISE_CYCLES_PER_MICROSECOND;
  }

  /** Time of two things that overlap: the longer, and a little of the shorter. */
  private static double together(double first, double second) {
    return Math.max(first, second) + 0.05 * Math.min(first, second);
  }

  /** Persistent blocks that share all steps of all tiles equally. */
  static GemmPlan stream(
      DType operand, Sum sum, Tile tile, long m, long n, long blocks, int processors) {
    long steps = Math.ceilDiv(n, ROWS) * blocks;
    int stage = (ROWS + tile.width) * STEP_BYTES;
    int staging = 8 * 8 * 20 * Float.BYTES;
    int box = (int) Math.min(tile.width, m);
    return new GemmPlan(
        Kind.STREAM,
        "gemm_stream_sm90a",
        "gemm_stream_" + format(operand) + suffix(sum) + "_" + tile.width,
        (int) Math.min(processors, steps),
        1,
        288,
        tile.stages * stage + staging + 2 * tile.stages * Long.BYTES,
        1,
        box,
        ROWS,
        box,
        TileShares.NONE,
        FIXED_MICROSECONDS + n * blocks * (double) STEP_BYTES / MEMORY_BYTES_PER_MICROSECOND);
  }

  /** Bytes in which blocks leave sums for each other: for each block its flags, then its sums. */
  static long workspaceBytes(int processors) {
    return processors * (FLAG_BYTES + ROWS * 192L * Float.BYTES);
  }

  /** Bytes from the flags of one block to those of the next. */
  static final int FLAG_BYTES = 64;

  private static String module(DType operand, String size) {
    return "gemm_" + format(operand) + size + "_sm90a";
  }

  static String format(DType operand) {
    return switch (operand) {
      case I8 -> "s8";
      case F8_E4M3 -> "e4m3";
      case BF16 -> "bf16";
      default -> throw new IllegalArgumentException("no kernel multiplies " + operand);
    };
  }

  private static String suffix(Sum sum) {
    return switch (sum) {
      case FAST -> "";
      case TOGETHER -> "_together";
      case PRECISE -> "_precise";
      case BLOCKWISE -> "_blockwise";
    };
  }
}
