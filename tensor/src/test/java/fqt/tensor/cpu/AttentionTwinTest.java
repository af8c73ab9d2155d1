package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import fqt.tensor.AttentionMask;
import fqt.tensor.Backend;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class AttentionTwinTest {
  /** No machine code: what other architectures run. */
  private static final Backend VECTOR_API =
      new CpuBackend(new HostMemory(1 << 20), new Threads(2), KernelChoice.vector(""));

  private final Random random = new Random(19);
  private Scope scope;

  @BeforeEach
  void open() {
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  @Test
  void depthsAndHeads() {
    for (int depth : new int[] {1, 5, 16, 24, 64, 80, 128, 130}) {
      for (int[] heads : new int[][] {{1, 1}, {4, 2}, {7, 1}}) {
        check(heads[0], heads[1], depth, AttentionMask.causal(33));
      }
    }
    check(70, 1, 24, AttentionMask.causal(33));
  }

  @Test
  void lengths() {
    for (int tokens : new int[] {1, 2, 15, 59, 60, 61, 127, 128, 129, 260}) {
      check(2, 1, 32, AttentionMask.causal(tokens));
      check(2, 1, 32, AttentionMask.segments(false, 0, tokens));
    }
  }

  @Test
  void fewQueriesAgainstACache() {
    for (int keys : new int[] {1, 7, 64, 65, 190}) {
      check(4, 2, 48, AttentionMask.causal(1, keys));
      check(14, 2, 64, AttentionMask.causal(1, keys));
      check(4, 2, 40, AttentionMask.causal(Math.min(3, keys), keys));
      check(4, 2, 64, AttentionMask.causal(1, keys).withWindow(9));
    }
  }

  @Test
  void slidingWindows() {
    for (int window : new int[] {1, 2, 63, 64, 65, 127, 129, 1000}) {
      check(2, 2, 32, AttentionMask.causal(135).withWindow(window));
      check(2, 2, 32, AttentionMask.segments(false, 0, 135).withWindow(window));
    }
    check(1, 1, 16, AttentionMask.causal(400).withWindow(130));
  }

  @Test
  void packedSequences() {
    long[] bounds = {0, 5, 5, 70, 71, 200};
    for (boolean causal : new boolean[] {false, true}) {
      check(4, 2, 16, AttentionMask.segments(causal, bounds));
      check(4, 2, 16, AttentionMask.segments(causal, bounds).withWindow(20));
      long[] queries = {0, 2, 2, 3, 4, 40};
      check(4, 2, 16, new AttentionMask(causal, 0, queries, bounds));
      check(1, 1, 16, new AttentionMask(causal, 0, new long[] {0, 1, 1, 2, 3, 4}, bounds));
    }
  }

  /** Two queries beside one key: under a causal mask the first sees nothing. */
  @Test
  void aQueryThatSeesNoKeyGivesZeros() {
    AttentionMask mask = new AttentionMask(true, 0, new long[] {0, 2}, new long[] {0, 1});
    check(2, 1, 8, mask);
    AttentionMask packed = new AttentionMask(true, 0, new long[] {0, 40}, new long[] {0, 3});
    check(2, 1, 8, packed);
    Tensor q = Twins.random(random, 1, 2, 1, 4);
    Tensor k = Twins.random(random, 1, 1, 1, 4);
    float[] out = Ops.attention(q, k, k, 1, mask).toFloats();
    float[] key = k.toFloats();
    float[] expected = {0, 0, 0, 0, key[0], key[1], key[2], key[3]};
    Twins.close("zeros, then the only value", 1e-7, expected, out);
  }

  @Test
  void largeScoresAreSafe() {
    AttentionMask mask = AttentionMask.causal(100);
    Tensor q = Twins.random(random, 40, 100, 2, 32);
    Tensor k = Twins.random(random, 40, 100, 2, 32);
    Tensor v = Twins.random(random, 1, 100, 2, 32);
    close("large scores", 2e-3, q, k, v, 1, mask);
  }

  @Test
  void stridedOperands() {
    Tensor cache = Twins.random(random, 1, 2, 130, 2, 32);
    Tensor both = Twins.random(random, 1, 130, 6, 32);
    Tensor q = both.slice(1, 1, 5);
    Tensor k = cache.select(0, 0);
    Tensor v = cache.transpose(1, 2).select(0, 1).transpose(0, 1);
    AttentionMask mask = AttentionMask.causal(130);
    Twins.close(
        "strided",
        1e-6,
        new long[] {130, 4, 32},
        (cpu, out) -> cpu.attention(q, k, v, 0.2f, mask, out));
  }

  @Test
  void bitsDoNotDependOnTheNumberOfThreads() {
    for (AttentionMask mask :
        List.of(AttentionMask.causal(200), AttentionMask.causal(1, 200).withWindow(150))) {
      Tensor q = Twins.random(random, 1, mask.queries(), 4, 64);
      Tensor k = Twins.random(random, 1, 200, 2, 64);
      Tensor v = Twins.random(random, 1, 200, 2, 64);
      Tensor expected = Twins.dirty(DType.F32, q.shape().toArray());
      Twins.vector(1).attention(q, k, v, 0.1f, mask, expected);
      for (int threads = 2; threads <= 3; threads++) {
        Tensor out = Twins.dirty(DType.F32, q.shape().toArray());
        Twins.vector(threads).attention(q, k, v, 0.1f, mask, out);
        assertArrayEquals(Twins.bytes(expected), Twins.bytes(out));
      }
    }
  }

  private void check(long heads, long groups, long depth, AttentionMask mask) {
    Tensor q = Twins.random(random, 1, mask.queries(), heads, depth);
    Tensor k = Twins.random(random, 1, mask.keys(), groups, depth);
    Tensor v = Twins.random(random, 1, mask.keys(), groups, depth);
    float scale = (float) (1 / Math.sqrt(depth));
    close("q " + q + ", k " + k + ", " + mask, 3e-6, q, k, v, scale, mask);
  }

  /** Compares both tiers of kernels with the scalar twin. */
  private static void close(
      String what,
      double tolerance,
      Tensor q,
      Tensor k,
      Tensor v,
      float scale,
      AttentionMask mask) {
    long[] dims = q.shape().toArray();
    Twins.close(what, tolerance, dims, (cpu, out) -> cpu.attention(q, k, v, scale, mask, out));
    Tensor scalar = Twins.dirty(DType.F32, dims);
    Twins.SCALAR.attention(q, k, v, scale, mask, scalar);
    Tensor vector = Twins.dirty(DType.F32, dims);
    VECTOR_API.attention(q, k, v, scale, mask, vector);
    Twins.close(what, tolerance, scalar.toFloats(), vector.toFloats());
  }

  /** Scores far below the largest weigh nothing, and a NaN is not lost. */
  @Test
  void extremeScores() {
    AttentionMask mask = AttentionMask.segments(false, 0, 150);
    Tensor q = Twins.random(random, 1, 150, 1, 8);
    Tensor k = Twins.random(random, 1, 150, 1, 8);
    Tensor v = Twins.random(random, 1, 150, 1, 8);
    Ops.fill(k, 0);
    Ops.fill(k.slice(0, 140, 141), 100);
    Ops.fill(q, 1);
    Ops.fill(q.slice(0, 3, 4), -1);
    Ops.fill(q.slice(0, 7, 8), Double.NaN);
    close("one score stands out", 3e-6, q, k, v, 1, mask);
  }
}
