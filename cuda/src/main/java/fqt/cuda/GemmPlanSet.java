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
    for (int cluster = 1; cluster <= 2; cluster++) {
      for (GemmPlan.Tile tile : GemmPlan.large(sum)) {
        plans.add(GemmPlan.large(operand, sum, tile, cluster, m, n, blocks, processors));
      }
      for (GemmPlan.Tile tile : GemmPlan.shared(sum)) {
        // Also few clusters, so that tiles are left over for them to share.
        for (int few : new int[] {2, 7, 12, processors}) {
          for (int sharing = 1; sharing <= 2; sharing++) {
            GemmPlan plan =
                GemmPlan.shared(operand, sum, tile, cluster, m, n, blocks, few, sharing);
            if (plan.shares().any()) {
              plans.add(plan);
            }
          }
        }
      }
    }
    for (GemmPlan.SmallTile tile : GemmPlan.SMALL) {
      if (sum == GemmPlan.Sum.FAST || sum == GemmPlan.Sum.PRECISE && tile.width() <= 128) {
        for (int split : new int[] {1, 2, 3, 5, 8}) {
          plans.add(GemmPlan.small(operand, sum, tile, split, m, n, blocks, processors));
        }
      }
    }
    for (GemmPlan.Tile tile : GemmPlan.STREAM) {
      boolean exists = sum == GemmPlan.Sum.FAST || sum == GemmPlan.Sum.PRECISE;
      if (exists && m <= tile.width()) {
        plans.add(GemmPlan.stream(operand, sum, tile, m, n, blocks, processors));
        plans.add(GemmPlan.stream(operand, sum, tile, m, n, blocks, 3));
      }
    }
    return plans;
  }
}
