package fqt.cuda;

import fqt.tensor.DType;
import java.util.ArrayList;
import java.util.List;

/** Every plan that could be made for a matrix multiply, for checks that must reach all kernels. */
final class GemmPlanSet {
  private GemmPlanSet() {}

  static List<GemmPlan> of(
      DType operand, GemmPlan.Sum sum, long m, long n, long blocks, int processors) {
    List<GemmPlan> plans = new ArrayList<>();
    GemmPlan.Tile[] large =
        switch (sum) {
          case FAST -> GemmPlan.LARGE_FAST;
          case PRECISE -> GemmPlan.LARGE_PRECISE;
          case BLOCKWISE -> GemmPlan.LARGE_BLOCKWISE;
        };
    for (GemmPlan.Tile tile : large) {
      plans.add(GemmPlan.large(operand, sum, tile, 1, m, n, blocks, processors));
      plans.add(GemmPlan.large(operand, sum, tile, 2, m, n, blocks, processors));
    }
    for (GemmPlan.SmallTile tile : GemmPlan.SMALL) {
      if (sum == GemmPlan.Sum.FAST || sum == GemmPlan.Sum.PRECISE && tile.width() <= 128) {
        for (int split : new int[] {1, 2, 3, 5, 8}) {
          plans.add(GemmPlan.small(operand, sum, tile, split, m, n, blocks, processors));
        }
      }
    }
    for (GemmPlan.Tile tile : GemmPlan.STREAM) {
      if (sum != GemmPlan.Sum.BLOCKWISE && m <= tile.width()) {
        plans.add(GemmPlan.stream(operand, sum, tile, m, n, blocks, processors));
        plans.add(GemmPlan.stream(operand, sum, tile, m, n, blocks, 3));
      }
    }
    return plans;
  }
}
