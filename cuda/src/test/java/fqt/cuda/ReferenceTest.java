package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.AttentionMask;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What the GPU check allows, tried on the CPU: arithmetic that rounds as the kernels do stays
 * within it, the same arithmetic with a term left out or a tile mixed up does not.
 */
class ReferenceTest {
  private static final int HEADS = 2;
  private static final int TILE = 64;

  /** What may go wrong in attention. */
  private enum Fault {
    NONE,
    KEYS_LEFT_OUT,
    PART_OF_HEAD_LEFT_OUT,
    OTHER_TILE
  }

  private final Random random = new Random(11);

  private float[] normal(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private static float bfloat16(float x) {
    int bits = Float.floatToRawIntBits(x);
    return Float.intBitsToFloat((bits + 0x7FFF + (bits >>> 16 & 1)) & 0xFFFF0000);
  }

  private static float[] rounded(float[] values) {
    float[] rounded = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      rounded[i] = bfloat16(values[i]);
    }
    return rounded;
  }

  /** Attention of [tokens, HEADS, size] to one head of keys, rounded where the kernels round. */
  private static float[] attention(
      float[] q, float[] k, float[] v, int tokens, int keys, int size, Fault fault) {
    float[] queries = rounded(q);
    float[] rows = rounded(k);
    float[] values = rounded(v);
    float scale = (float) (1 / Math.sqrt(size));
    float[] out = new float[q.length];
    for (int row = 0; row < tokens * HEADS; row++) {
      float[] scores = new float[keys];
      float largest = Float.NEGATIVE_INFINITY;
      for (int j = 0; j < keys; j++) {
        int used = fault == Fault.PART_OF_HEAD_LEFT_OUT && j < TILE ? size - 16 : size;
        for (int d = 0; d < used; d++) {
          scores[j] += queries[row * size + d] * rows[j * size + d];
        }
        scores[j] *= scale;
        largest = Math.max(largest, scores[j]);
      }
      float total = 0;
      for (int j = 0; j < keys; j++) {
        float weight = (float) Math.exp(scores[j] - largest);
        total += weight;
        int from = fault == Fault.OTHER_TILE && j >= TILE && j < 2 * TILE ? j - TILE : j;
        for (int d = 0; d < size; d++) {
          if (fault != Fault.KEYS_LEFT_OUT || j < keys - 16) {
            out[row * size + d] += bfloat16(weight) * values[from * size + d];
          }
        }
      }
      for (int d = 0; d < size; d++) {
        out[row * size + d] /= total;
      }
    }
    return out;
  }

  private double attentionError(boolean short16, int keys, int size, Fault fault) {
    int tokens = 19;
    float[] q = normal(tokens * HEADS * size);
    float[] k = normal(keys * size);
    float[] v = normal(keys * size);
    if (short16) {
      q = rounded(q);
      k = rounded(k);
      v = rounded(v);
    }
    AttentionMask mask = new AttentionMask(false, 0, new long[] {0, tokens}, new long[] {0, keys});
    double operands = short16 ? 0 : Reference.BFLOAT16;
    Reference reference =
        Reference.attention(
            Ops.of(q, tokens, HEADS, size),
            Ops.of(k, keys, 1, size),
            Ops.of(v, keys, 1, size),
            (float) (1 / Math.sqrt(size)),
            mask,
            operands,
            Reference.BFLOAT16);
    float[] got = attention(q, k, v, tokens, keys, size, fault);
    return reference.error(Ops.of(got, tokens, HEADS, size));
  }

  @ParameterizedTest
  @CsvSource({"1, 16", "7, 33", "209, 64", "387, 128", "600, 256"})
  void roundingStaysWithinWhatAttentionIsAllowed(int keys, int size) {
    double weights = attentionError(true, keys, size, Fault.NONE);
    assertTrue(weights <= 1 && (weights > 0.02 || keys == 1), "weights alone: " + weights);
    double all = attentionError(false, keys, size, Fault.NONE);
    assertTrue(all > 0.01 && all <= 1, "operands as well: " + all);
  }

  @ParameterizedTest
  @ValueSource(ints = {150, 209, 387})
  void attentionThatLeavesOutKeysOrMixesTilesUpDoesNot(int keys) {
    for (Fault fault : Fault.values()) {
      double error = attentionError(true, keys, 64, fault);
      assertTrue(fault == Fault.NONE || error > 2, fault + ": error " + error);
    }
  }

  @Test
  void attentionAgreesWithTheCpu() {
    AttentionMask mask =
        new AttentionMask(true, 17, new long[] {0, 9, 9, 40}, new long[] {0, 14, 14, 45});
    Tensor q = Ops.of(normal(40 * 6 * 33), 40, 6, 33);
    Tensor k = Ops.of(normal(45 * 2 * 33), 45, 2, 33);
    Tensor v = Ops.of(normal(45 * 2 * 33), 45, 2, 33);
    Reference exact = Reference.attention(q, k, v, 0.2f, mask, 0, 0);
    double error = exact.error(Ops.attention(q, k, v, 0.2f, mask));
    assertTrue(error <= 1, "error " + error);
  }

  /** xᵀ x by halves, one token or one product of halves left out if asked. */
  private static float[] syrk(float[] x, int tokens, int columns, int without, boolean cross) {
    float[] high = rounded(x);
    float[] low = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      low[i] = bfloat16(x[i] - high[i]);
    }
    float[] out = new float[columns * columns];
    for (int t = 0; t < tokens; t++) {
      for (int i = 0; i < columns && t != without; i++) {
        for (int j = 0; j < columns; j++) {
          int a = t * columns + i;
          int b = t * columns + j;
          float sum = out[i * columns + j] + high[a] * high[b];
          out[i * columns + j] = cross ? sum + high[a] * low[b] + low[a] * high[b] : sum;
        }
      }
    }
    return out;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 17, 300, 1285})
  void roundingStaysWithinWhatSyrkIsAllowedAndMissingTermsDoNot(int tokens) {
    int columns = 65;
    float[] x = normal(tokens * columns);
    Tensor zero = Ops.zeros(Device.CPU, DType.F32, columns, columns);
    Reference reference = Reference.syrk(1, Ops.of(x, tokens, columns), 0, zero);
    double rounded = error(reference, syrk(x, tokens, columns, -1, true), columns);
    assertTrue(rounded > 0.01 && rounded <= 1, "rounding: " + rounded);
    double token = error(reference, syrk(x, tokens, columns, tokens / 2, true), columns);
    assertTrue(token > 2, "a token left out: " + token);
    double halves = error(reference, syrk(x, tokens, columns, -1, false), columns);
    assertTrue(halves > 2, "products of halves left out: " + halves);
  }

  private static double error(Reference reference, float[] got, int columns) {
    return reference.error(Ops.of(got, columns, columns));
  }

  @Test
  void notANumberIsNeverWithin() {
    Reference reference = new Reference(new double[] {1, 2}, new double[] {9, 9});
    assertTrue(Double.isNaN(reference.error(Ops.of(new float[] {Float.NaN, 2}, 2))));
    assertEquals(Double.POSITIVE_INFINITY, reference.error(Ops.of(new float[] {1}, 1)));
  }
}
