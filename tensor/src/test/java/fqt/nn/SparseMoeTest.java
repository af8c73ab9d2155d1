package fqt.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Routing against a plain computation, and who sees which tokens. */
class SparseMoeTest {
  private static final int TOKENS = 33;
  private static final int FEATURES = 6;
  private static final int EXPERTS = 5;

  private final Random random = new Random(1);

  private Tensor matrix(int rows, int columns) {
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return Ops.of(values, rows, columns);
  }

  private Linear linear(int inputs, int outputs) {
    return new Linear(matrix(outputs, inputs), null);
  }

  private GatedMlp expert() {
    return new GatedMlp(
        UnaryOp.SILU, 4, linear(FEATURES, 4), linear(FEATURES, 4), linear(4, FEATURES));
  }

  private SparseMoe moe(int topK, boolean renormalize, boolean shared) {
    List<GatedMlp> experts = new ArrayList<>();
    for (int e = 0; e < EXPERTS; e++) {
      experts.add(expert());
    }
    return new SparseMoe(
        new SparseMoe.Routing(topK, renormalize),
        linear(FEATURES, EXPERTS),
        experts,
        shared ? expert() : null,
        shared ? linear(FEATURES, 1) : null);
  }

  /** Every expert on every token, in double precision where it is summed. */
  private static double[] expected(SparseMoe moe, Tensor x, boolean shared) {
    float[] logits = moe.find("gate").apply(x, LayerArgs.NONE).toFloats();
    double[] out = new double[TOKENS * FEATURES];
    for (int t = 0; t < TOKENS; t++) {
      double[] weights = routeWeights(logits, t, moe.routing());
      for (int e = 0; e < EXPERTS; e++) {
        add(out, t, weights[e], moe.find("experts." + e).apply(x, LayerArgs.NONE));
      }
      if (shared) {
        double gate = moe.find("shared_expert_gate").apply(x, LayerArgs.NONE).get(t, 0);
        Tensor all = moe.find("shared_expert").apply(x, LayerArgs.NONE);
        add(out, t, 1 / (1 + Math.exp(-gate)), all);
      }
    }
    return out;
  }

  private static void add(double[] out, int token, double weight, Tensor rows) {
    for (int i = 0; i < FEATURES; i++) {
      out[token * FEATURES + i] += weight * rows.get(token, i);
    }
  }

  private static double[] routeWeights(float[] logits, int token, SparseMoe.Routing routing) {
    double[] softmax = new double[EXPERTS];
    double sum = 0;
    for (int e = 0; e < EXPERTS; e++) {
      softmax[e] = Math.exp(logits[token * EXPERTS + e]);
      sum += softmax[e];
    }
    double kept = 0;
    for (int e = 0; e < EXPERTS; e++) {
      int larger = 0;
      for (int other = 0; other < EXPERTS; other++) {
        larger += logits[token * EXPERTS + other] > logits[token * EXPERTS + e] ? 1 : 0;
      }
      softmax[e] = larger < routing.topK() ? softmax[e] / sum : 0;
      kept += softmax[e];
    }
    for (int e = 0; e < EXPERTS; e++) {
      softmax[e] /= routing.renormalize() ? kept : 1;
    }
    return softmax;
  }

  @Test
  void outputIsTheWeightedSumOfTheChosenExperts() {
    for (boolean shared : new boolean[] {false, true}) {
      for (int topK = 1; topK <= EXPERTS; topK++) {
        try (Scope scope = Scope.open()) {
          SparseMoe moe = moe(topK, topK % 2 == 0, shared);
          Tensor x = matrix(TOKENS, FEATURES);
          double[] expected = expected(moe, x, shared);
          float[] actual = moe.apply(x, LayerArgs.NONE).toFloats();
          for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], actual[i], 1e-4 * Math.max(1, Math.abs(expected[i])));
          }
        }
      }
    }
  }

  @Test
  void onlyRoutedTokensPassAnExpert() {
    try (Scope scope = Scope.open()) {
      SparseMoe moe = moe(2, false, false);
      long[] seen = new long[EXPERTS];
      for (int e = 0; e < EXPERTS; e++) {
        int at = e;
        moe.find("experts." + e + ".up_proj")
            .before((module, input, args) -> seen[at] += input.dim(0));
      }
      moe.apply(matrix(TOKENS, FEATURES), LayerArgs.NONE);
      long sum = 0;
      for (long count : seen) {
        sum += count;
      }
      assertEquals(2L * TOKENS, sum);
    }
  }

  @Test
  void anExpertWithoutTokensDoesNotRun() {
    try (Scope scope = Scope.open()) {
      SparseMoe moe = moe(1, false, false);
      List<Integer> ran = new ArrayList<>();
      for (int e = 0; e < EXPERTS; e++) {
        int at = e;
        moe.find("experts." + e).before((module, input, args) -> ran.add(at));
      }
      moe.apply(matrix(1, FEATURES), LayerArgs.NONE);
      assertEquals(1, ran.size());
    }
  }

  @Test
  void forCalibrationEveryExpertSeesTheSameTensorAndTheOutputStays() {
    try (Scope scope = Scope.open()) {
      SparseMoe moe = moe(2, true, true);
      Tensor x = matrix(TOKENS, FEATURES);
      float[] routed = moe.apply(x, LayerArgs.NONE).toFloats();
      List<Tensor> seen = new ArrayList<>();
      for (int e = 0; e < EXPERTS; e++) {
        moe.find("experts." + e + ".gate_proj").before((module, input, args) -> seen.add(input));
      }
      moe.showAllTokens(true);
      float[] shown = moe.apply(x, LayerArgs.NONE).toFloats();
      assertArrayEquals(routed, shown, 1e-5f);
      assertEquals(EXPERTS, seen.size());
      seen.forEach(tensor -> assertEquals(x, tensor));
    }
  }

  @Test
  void everyReaderOfTheInputIsDeclared() {
    try (Scope scope = Scope.open()) {
      // The router, gate and up of each expert and of the shared one, and the shared gate.
      assertEquals(1 + 2 * EXPERTS + 2 + 1, moe(2, false, true).inputReaders().size());
      assertEquals(EXPERTS + 1, moe(2, false, true).scaleFolds().size());
    }
  }

  @Test
  void moreChoicesThanExpertsAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> moe(EXPERTS + 1, false, false));
  }

  @Test
  void allExpertsAtOnceGiveTheSameBits() {
    SparseMoe moe = moe(2, true, false);
    Tensor x = matrix(TOKENS, FEATURES);
    List<Module.Child> experts = moe.place("experts").get().children();
    ExpertRoutes routes = ExpertRoutes.of(moe.find("gate").apply(x, LayerArgs.NONE), 2, true);
    Tensor out = Ops.zeros(x.device(), x.dtype(), TOKENS, FEATURES);
    ExpertGroups.of(experts).run(x, routes, out);
    assertArrayEquals(moe.apply(x, LayerArgs.NONE).toFloats(), out.toFloats());
  }

  @Test
  void anExpertThatIsWatchedOrUnlikeTheOthersIsNotGrouped() {
    SparseMoe moe = moe(2, true, false);
    List<Module.Child> experts = moe.place("experts").get().children();
    try (Module.Registration seen = moe.find("experts.1.up_proj").before((m, in, args) -> {})) {
      assertNull(ExpertGroups.of(experts));
    }
    assertNotNull(ExpertGroups.of(experts));
    moe.place("experts.2.down_proj")
        .set(new Linear(matrix(FEATURES, 4), matrix(1, FEATURES).reshape(-1)));
    assertNull(ExpertGroups.of(experts));
  }
}
