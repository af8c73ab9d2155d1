package fqt.tools;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Locale;

/**
 * How far one tensor is from another, summed in F64.
 *
 * @param max largest absolute difference
 * @param mean mean absolute difference
 * @param relative norm of the difference over the norm of what was expected
 * @param cosine cosine of the angle between the two
 * @param sqnr signal to quantization noise, 20 log10 of 1 / relative, in dB; infinite if equal
 */
public record Errors(double max, double mean, double relative, double cosine, double sqnr) {
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /**
   * Compares two tensors of one shape, of any types and devices. A NaN in one of them makes every
   * number NaN; of nothing expected and nothing found, relative is 0 and cosine 1.
   *
   * @param actual what was computed
   * @param expected what should have come out
   * @return how far they are apart
   * @throws IllegalArgumentException if the shapes differ
   */
  public static Errors compare(Tensor actual, Tensor expected) {
    if (!actual.shape().equals(expected.shape())) {
      throw new IllegalArgumentException(
          "cannot compare " + actual + " with " + expected + ": the shapes differ");
    }
    try (Scope scope = Scope.open()) {
      return compare(floats(actual), floats(expected), actual.count());
    }
  }

  private static MemorySegment floats(Tensor x) {
    return Ops.contiguous(Ops.to(Ops.to(x, Device.CPU), DType.F32)).segment();
  }

  private static Errors compare(MemorySegment actual, MemorySegment expected, long count) {
    double max = 0;
    double sum = 0;
    double noise = 0;
    double signal = 0;
    double power = 0;
    double product = 0;
    for (long i = 0; i < count; i++) {
      double a = actual.getAtIndex(FLOAT, i);
      double e = expected.getAtIndex(FLOAT, i);
      double difference = a == e ? 0 : Math.abs(a - e);
      max = Math.max(max, difference);
      sum += difference;
      noise += difference * difference;
      signal += e * e;
      power += a * a;
      product += a * e;
    }
    double relative = noise == 0 ? 0 : Math.sqrt(noise / signal);
    boolean nothing = signal == 0 && power == 0;
    double cosine = nothing ? 1 : product / Math.sqrt(signal * power);
    return new Errors(
        max, count == 0 ? 0 : sum / count, relative, cosine, -20 * Math.log10(relative));
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "max %.4g, mean %.4g, relative %.4g, cosine %.6f, SQNR %.1f dB",
        max,
        mean,
        relative,
        cosine,
        sqnr);
  }
}
