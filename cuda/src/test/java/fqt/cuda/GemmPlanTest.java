package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Launch planning: what a launch needs always holds, and the choice follows the shape. */
class GemmPlanTest {
  private static final int SHARED_LIMIT = 232_448;
  private static final int[] SIZES = {1, 3, 7, 16, 17, 63, 65, 127, 129, 300, 1000, 4096};

  static List<GemmPlan> allPlans(long m, long n, long blocks) {
    List<GemmPlan> plans = new ArrayList<>();
    for (DType operand : List.of(DType.I8, DType.F8_E4M3, DType.BF16)) {
      for (GemmPlan.Sum sum : GemmPlan.Sum.values()) {
        if (sum == GemmPlan.Sum.FAST || operand == DType.F8_E4M3) {
          plans.addAll(GemmPlanSet.of(operand, sum, m, n, blocks, 132));
        }
      }
    }
    return plans;
  }

  @Test
  void everyPlanCanBeLaunched() {
    for (int m : SIZES) {
      for (int n : SIZES) {
        for (int processors : new int[] {1, 16, 78, 132}) {
          for (DType operand : List.of(DType.I8, DType.F8_E4M3, DType.BF16)) {
            check(GemmPlan.of(operand, GemmPlan.Sum.FAST, m, n, 28, processors));
          }
          check(GemmPlan.of(DType.F8_E4M3, GemmPlan.Sum.PRECISE, m, n, 3, processors));
          check(GemmPlan.of(DType.F8_E4M3, GemmPlan.Sum.BLOCKWISE, m, n, 1, processors));
        }
      }
    }
    allPlans(300, 700, 40).forEach(GemmPlanTest::check);
  }

  private static void check(GemmPlan plan) {
    assertTrue(plan.sharedBytes() <= SHARED_LIMIT, plan.toString());
    assertTrue(plan.gridX() > 0 && plan.gridY() > 0, plan.toString());
    assertEquals(0, plan.gridX() % plan.cluster(), plan.toString());
    assertTrue(plan.cluster() >= 1 && plan.cluster() <= 8, plan.toString());
    TileShares shares = plan.shares();
    assertTrue(
        shares.groups() * shares.members() * plan.cluster() <= plan.gridX(), plan.toString());
    assertTrue(plan.boxA() <= 256 && plan.boxB() <= 256, plan.toString());
  }

  @Test
  void tilesThatFillNoRoundAreShared() {
    // 8192 x 3584 in tiles of 256 x 192 by 66 clusters: nine rounds and 14 tiles.
    GemmPlan.Tile tile = new GemmPlan.Tile(192, 4);
    for (int sharing : new int[] {1, 2}) {
      TileShares shares =
          GemmPlan.shared(
                  DType.F8_E4M3, GemmPlan.Sum.PRECISE, tile, 2, 8192, 3584, 148, 132, sharing)
              .shares();
      assertEquals(sharing == 1 ? 14 : 80, shares.tiles());
      assertEquals(sharing - 0.75, shares.rounds(), 1e-9);
      assertEquals(sharing == 1 ? 3 : 1, shares.added());
    }
    GemmPlan.Tile narrow = new GemmPlan.Tile(128, 6);
    GemmPlan whole =
        GemmPlan.shared(DType.BF16, GemmPlan.Sum.FAST, narrow, 2, 256 * 66, 128, 56, 132, 1);
    assertEquals(TileShares.NONE, whole.shares());
  }

  @Test
  void tilesOfSmallPlansCoverTheResult() {
    GemmPlan plan =
        GemmPlan.small(DType.I8, GemmPlan.Sum.FAST, GemmPlan.SMALL[3], 4, 130, 3584, 28, 132);
    assertEquals(56 * 4, plan.gridX());
    assertEquals(3, plan.gridY());
  }

  @Test
  void fewTokensSplitTheSumAndManyDoNot() {
    GemmPlan one = GemmPlan.of(DType.I8, GemmPlan.Sum.FAST, 1, 3584, 28, 132);
    assertTrue(one.kernel().startsWith("gemm_small_s8_8x64"), one.toString());
    assertTrue(one.cluster() > 1, one.toString());
    GemmPlan wide = GemmPlan.of(DType.I8, GemmPlan.Sum.FAST, 16, 37888, 28, 132);
    assertEquals(GemmPlan.Kind.STREAM, wide.kind());
    GemmPlan some = GemmPlan.of(DType.I8, GemmPlan.Sum.FAST, 128, 3584, 148, 132);
    assertEquals("gemm_small_s8_128x64 2", some.kernel() + " " + some.cluster());
    GemmPlan precise = GemmPlan.of(DType.F8_E4M3, GemmPlan.Sum.PRECISE, 128, 4608, 28, 132);
    assertEquals("gemm_small_e4m3_precise_128x64", precise.kernel());
    GemmPlan odd = GemmPlan.of(DType.F8_E4M3, GemmPlan.Sum.PRECISE, 300, 3584, 148, 132);
    assertTrue(odd.shares().any() && odd.cluster() == 1, odd.toString());
    GemmPlan rounds = GemmPlan.of(DType.BF16, GemmPlan.Sum.FAST, 300, 28672, 64, 132);
    assertFalse(rounds.shares().any(), rounds.toString());
    GemmPlan many = GemmPlan.of(DType.I8, GemmPlan.Sum.FAST, 4096, 3584, 28, 132);
    assertTrue(many.kernel().startsWith("gemm_large_s8"), many.toString());
    assertEquals(132, many.gridX());
  }
}
