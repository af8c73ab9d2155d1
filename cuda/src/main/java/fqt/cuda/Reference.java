package fqt.cuda;

import fqt.tensor.AttentionMask;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.IntStream;

/**
 * What float64 gives for each element of a result, and how far the roundings that a kernel is
 * entitled to can lead from it. The allowances are derived, worst case, from the operands of each
 * element, so that a term too many or too few stands out where rounding alone cannot.
 *
 * @param expected element by element
 * @param allowed distance from it
 */
record Reference(double[] expected, double[] allowed) {
  /** Largest relative error of rounding to bfloat16, which has eight significant bits. */
  static final double BFLOAT16 = 0x1p-8;

  // Tensor cores add bfloat16 products in float32 and cut off what does not fit.
  private static final double SUM_STEP = 0x1p-22;
  private static final int TERMS_OF_STEP = 16;

  // A handful of roundings to float32 one after the other.
  private static final double FLOAT_STEPS = 0x1p-20;

  /** The largest error of a result as a share of what is allowed; NaN if there is one. */
  double error(Tensor result) {
    double[] got = values(result);
    if (got.length != expected.length) {
      return Double.POSITIVE_INFINITY;
    }
    double worst = 0;
    for (int i = 0; i < got.length; i++) {
      double distance = Math.abs(got[i] - expected[i]);
      double share = distance == 0 ? 0 : distance / allowed[i];
      worst = Double.isNaN(share) ? Double.NaN : Math.max(worst, share);
    }
    return worst;
  }

  /**
   * {@code alpha xᵀ x + beta old}. F32 elements may be cut into two bfloat16 numbers, x = h + l + r
   * with |l| <= 2^-8 |x| and |r| <= 2^-16 |x|, of whose products l l and all with r are dropped: 3
   * * 2^-16 of |x_i| |x_j|. Three products of sixteen tokens are added at a time.
   *
   * @param x F32 or BF16 [tokens, columns]
   * @param old F32 [columns, columns]
   */
  static Reference syrk(double alpha, Tensor x, double beta, Tensor old) {
    int tokens = Math.toIntExact(x.dim(0));
    int columns = Math.toIntExact(x.dim(1));
    double[] turned = values(x.transpose(0, 1));
    double[] before = values(old);
    double halves = x.dtype() == DType.F32 ? 3 * BFLOAT16 * BFLOAT16 : 0;
    double sums = (3.0 * Math.ceilDiv(tokens, TERMS_OF_STEP) + 1) * SUM_STEP;
    double[] expected = new double[columns * columns];
    double[] allowed = new double[columns * columns];
    IntStream.range(0, columns)
        .parallel()
        .forEach(
            i -> {
              for (int j = 0; j < columns; j++) {
                double sum = 0;
                double magnitude = 0;
                for (int t = 0; t < tokens; t++) {
                  double product = turned[i * tokens + t] * turned[j * tokens + t];
                  sum += product;
                  magnitude += Math.abs(product);
                }
                int at = i * columns + j;
                double kept = beta == 0 ? 0 : beta * before[at];
                expected[at] = alpha * sum + kept;
                allowed[at] =
                    Math.abs(alpha) * magnitude * (halves + sums)
                        + SUM_STEP * (Math.abs(alpha) * magnitude + Math.abs(kept));
              }
            });
    return new Reference(expected, allowed);
  }

  /**
   * Scaled dot-product attention. With weights p_j = e^{s_j} / sum, a score that is off by at most
   * e_j moves the result o by at most {@code e^E sum_j p_j (e^{e_j} - 1) |v_j - o|}, E the largest
   * e_j; values and weights that are off by a share move it by that share of {@code sum_j p_j
   * |v_j|}.
   *
   * @param q [M, H, D]
   * @param k [S, G, D]
   * @param v [S, G, D]
   * @param operands largest relative error of q, k and v as the kernel reads them: 0 if it keeps
   *     them, or if they are what they are rounded to
   * @param weights the same for e^{s_j}
   */
  static Reference attention(
      Tensor q,
      Tensor k,
      Tensor v,
      double scale,
      AttentionMask mask,
      double operands,
      double weights) {
    int heads = Math.toIntExact(q.dim(1));
    AttentionRows rows =
        new AttentionRows(
            values(q),
            values(k),
            values(v),
            heads,
            Math.toIntExact(k.dim(1)),
            Math.toIntExact(q.dim(2)),
            scale,
            operands,
            weights,
            new double[Math.toIntExact(q.count())],
            new double[Math.toIntExact(q.count())]);
    for (int s = 0; s + 1 < mask.queryBounds().length; s++) {
      int firstQuery = (int) mask.queryBounds()[s];
      int queries = (int) mask.queryBounds()[s + 1] - firstQuery;
      int firstKey = (int) mask.keyBounds()[s];
      int keys = (int) mask.keyBounds()[s + 1] - firstKey;
      IntStream.range(0, queries * heads)
          .parallel()
          .forEach(
              i -> {
                int place = i / heads + keys - queries;
                long from = mask.window() == 0 ? 0 : Math.max(0, place - mask.window() + 1);
                int to = mask.causal() ? Math.min(place + 1, keys) : keys;
                if (from < to) {
                  rows.compute(
                      firstQuery + i / heads, i % heads, firstKey + (int) from, firstKey + to);
                }
              });
    }
    return new Reference(rows.expected, rows.allowed);
  }

  /** Attention of one query and head at a time. */
  private record AttentionRows(
      double[] q,
      double[] k,
      double[] v,
      int heads,
      int groups,
      int size,
      double scale,
      double operands,
      double weights,
      double[] expected,
      double[] allowed) {
    // Exponents are computed in float32, their powers to two units in the last place.
    private static final double POWER = 0x1p-20;

    void compute(int query, int head, int from, int to) {
      int group = head / (heads / groups);
      double sums = ((to - from + size) / (double) TERMS_OF_STEP + 4) * SUM_STEP;
      double[] p = new double[to - from];
      double[] off = new double[to - from];
      double largest = Double.NEGATIVE_INFINITY;
      for (int j = from; j < to; j++) {
        double score = 0;
        double magnitude = 0;
        for (int d = 0; d < size; d++) {
          double product =
              q[(query * heads + head) * size + d] * k[(j * groups + group) * size + d];
          score += product;
          magnitude += Math.abs(product);
        }
        p[j - from] = score * scale;
        off[j - from] =
            Math.abs(scale) * magnitude * (operands * (2 + operands) + sums + POWER) + POWER;
        largest = Math.max(largest, p[j - from]);
      }
      double total = 0;
      double worst = 0;
      for (int j = 0; j < p.length; j++) {
        p[j] = Math.exp(p[j] - largest);
        total += p[j];
        worst = Math.max(worst, off[j]);
      }
      double[] sum = new double[size];
      double[] magnitude = new double[size];
      double[] moved = new double[size];
      for (int j = 0; j < p.length; j++) {
        p[j] /= total;
        int row = ((from + j) * groups + group) * size;
        for (int d = 0; d < size; d++) {
          sum[d] += p[j] * v[row + d];
          magnitude[d] += p[j] * Math.abs(v[row + d]);
        }
      }
      for (int j = 0; j < p.length; j++) {
        double change = p[j] * Math.expm1(off[j]);
        int row = ((from + j) * groups + group) * size;
        for (int d = 0; d < size; d++) {
          moved[d] += change * Math.abs(v[row + d] - sum[d]);
        }
      }
      double share = operands + weights + operands * weights + sums;
      for (int d = 0; d < size; d++) {
        int at = (query * heads + head) * size + d;
        expected[at] = sum[d];
        allowed[at] =
            Math.exp(2 * worst) * (moved[d] + share * magnitude[d]) + sums * Math.abs(sum[d]);
      }
    }
  }

  /**
   * {@code (x - mean) / sqrt(variance + epsilon) * weight + bias} along rows. The mean is off by a
   * few roundings of the largest |x|, and that much the difference, which close elements make
   * large.
   *
   * @param x F32 [rows, columns]
   */
  static Reference layerNorm(Tensor x, Tensor weight, Tensor bias, double epsilon) {
    int columns = Math.toIntExact(x.dim(1));
    double[] in = values(x);
    double[] by = values(weight);
    double[] plus = values(bias);
    double[] expected = new double[in.length];
    double[] allowed = new double[in.length];
    for (int row = 0; row < in.length; row += columns) {
      double mean = 0;
      double largest = 0;
      for (int i = row; i < row + columns; i++) {
        mean += in[i] / columns;
        largest = Math.max(largest, Math.abs(in[i]));
      }
      double variance = 0;
      for (int i = row; i < row + columns; i++) {
        variance += (in[i] - mean) * (in[i] - mean) / columns;
      }
      double factor = 1 / Math.sqrt(variance + epsilon);
      double off = largest * factor * FLOAT_STEPS;
      for (int i = row; i < row + columns; i++) {
        double whole = (in[i] - mean) * factor;
        double scaled = whole * by[i - row];
        expected[i] = scaled + plus[i - row];
        allowed[i] =
            Math.abs(by[i - row]) * off * (1 + Math.abs(whole))
                + FLOAT_STEPS * (Math.abs(scaled) + Math.abs(plus[i - row]));
      }
    }
    return new Reference(expected, allowed);
  }

  private static double[] values(Tensor x) {
    MemorySegment floats = Ops.contiguous(Ops.to(Ops.to(x, Device.CPU), DType.F32)).segment();
    double[] values = new double[Math.toIntExact(x.count())];
    for (int i = 0; i < values.length; i++) {
      values[i] = floats.getAtIndex(ValueLayout.JAVA_FLOAT, i);
    }
    return values;
  }
}
