package fqt.models;

/**
 * Weights of a one-dimensional cubic convolution over bytes: pixel {@code i} of the result is the
 * sum of the pixels {@code first[i] …} of the source, weighted by {@code weights[i]}. The weights
 * are 16-bit integers over a common power of two, as in the reference image processors, so that the
 * result is theirs to the last bit.
 */
record CubicWeights(int[] first, int[][] weights, int fractionBits) {
  private static final double A = -0.5;
  private static final double SUPPORT = 2;
  private static final int MAX_FRACTION_BITS = 22;

  static CubicWeights of(int from, int to) {
    double scale = (double) from / to;
    double stretch = Math.max(scale, 1);
    double support = SUPPORT * stretch;
    int[] first = new int[to];
    double[][] exact = new double[to][];
    double largest = 0;
    for (int i = 0; i < to; i++) {
      double center = (i + 0.5) * scale;
      first[i] = Math.max(0, (int) (center - support + 0.5));
      int end = Math.min(from, (int) (center + support + 0.5));
      exact[i] = normalized(first[i] + 0.5 - center, end - first[i], stretch);
      for (double weight : exact[i]) {
        largest = Math.max(largest, weight);
      }
    }
    int bits = fractionBits(largest);
    int[][] weights = new int[to][];
    for (int i = 0; i < to; i++) {
      weights[i] = fixedPoint(exact[i], bits);
    }
    return new CubicWeights(first, weights, bits);
  }

  private static double[] normalized(double from, int count, double stretch) {
    double[] weights = new double[count];
    double sum = 0;
    for (int j = 0; j < count; j++) {
      weights[j] = kernel((from + j) / stretch);
      sum += weights[j];
    }
    for (int j = 0; j < count; j++) {
      weights[j] /= sum;
    }
    return weights;
  }

  private static double kernel(double distance) {
    double x = Math.abs(distance);
    if (x < 1) {
      return ((A + 2) * x - (A + 3)) * x * x + 1;
    }
    return x < SUPPORT ? (((x - 5) * x + 8) * x - 4) * A : 0;
  }

  /** As many as leave the largest weight in 16 bits. */
  private static int fractionBits(double largest) {
    int bits = 0;
    while (bits < MAX_FRACTION_BITS
        && (int) (0.5 + largest * (1 << (bits + 1))) <= Short.MAX_VALUE) {
      bits++;
    }
    return bits;
  }

  /** Rounded half away from zero. */
  private static int[] fixedPoint(double[] weights, int bits) {
    int[] fixed = new int[weights.length];
    for (int j = 0; j < fixed.length; j++) {
      fixed[j] = (int) (weights[j] * (1 << bits) + Math.copySign(0.5, weights[j]));
    }
    return fixed;
  }

  /**
   * Convolves lines of bytes.
   *
   * @param stride distance between neighbours of a line in the source
   * @param outStride the same in the result
   * @param lines how many lines lie side by side
   */
  void apply(byte[] in, int at, int stride, byte[] out, int outAt, int outStride, int lines) {
    for (int i = 0; i < first.length; i++) {
      int[] weight = weights[i];
      for (int line = 0; line < lines; line++) {
        int sum = 1 << (fractionBits - 1);
        for (int j = 0; j < weight.length; j++) {
          sum += weight[j] * Byte.toUnsignedInt(in[at + (first[i] + j) * stride + line]);
        }
        out[outAt + i * outStride + line] = (byte) Math.clamp(sum >> fractionBits, 0, 255);
      }
    }
  }
}
