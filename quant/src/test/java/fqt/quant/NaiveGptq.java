package fqt.quant;

/**
 * GPTQ straight from the paper, column by column in F64, with the inverse of H computed by
 * elimination anew for each column: slow and obvious.
 */
final class NaiveGptq {
  private NaiveGptq() {}

  /**
   * Codes of a weight under symmetric full-range scales.
   *
   * @param w [n][k], columns in the order in which they are quantized; overwritten
   * @param h [k][k], damped, in that order
   * @param groupOf group of each column
   * @param scales [n][groups], filled when the first column of a group is reached, unless given
   * @param fixed whether scales are given
   */
  static int[][] quantize(
      double[][] w, double[][] h, int bits, int[] groupOf, double[][] scales, boolean fixed) {
    int k = h.length;
    int[][] codes = new int[w.length][k];
    double[][] inverse = invert(h);
    for (int i = 0; i < k; i++) {
      if (!fixed && (i == 0 || groupOf[i] != groupOf[i - 1])) {
        fit(w, groupOf, i, bits, scales);
      }
      for (int n = 0; n < w.length; n++) {
        double scale = scales[n][groupOf[i]];
        int middle = 1 << (bits - 1);
        double code = Math.rint(w[n][i] / scale) + middle;
        codes[n][i] = (int) Math.clamp(code, 0, (1 << bits) - 1);
        double error = (w[n][i] - scale * (codes[n][i] - middle)) / inverse[i][i];
        for (int j = i; j < k; j++) {
          w[n][j] -= error * inverse[i][j];
        }
      }
      eliminate(inverse, i);
    }
    return codes;
  }

  private static void fit(double[][] w, int[] groupOf, int first, int bits, double[][] scales) {
    for (int n = 0; n < w.length; n++) {
      double largest = 0;
      for (int j = first; j < groupOf.length && groupOf[j] == groupOf[first]; j++) {
        largest = Math.max(largest, Math.abs(w[n][j]));
      }
      scales[n][groupOf[first]] = (float) (2 * largest) / ((1 << bits) - 1);
    }
  }

  /** Takes variable i out of an inverse: what remains is the inverse without its row and column. */
  private static void eliminate(double[][] inverse, int i) {
    for (int a = i + 1; a < inverse.length; a++) {
      double factor = inverse[a][i] / inverse[i][i];
      for (int b = i + 1; b < inverse.length; b++) {
        inverse[a][b] -= factor * inverse[i][b];
      }
    }
  }

  static double[][] invert(double[][] h) {
    int k = h.length;
    double[][] a = new double[k][2 * k];
    for (int i = 0; i < k; i++) {
      System.arraycopy(h[i], 0, a[i], 0, k);
      a[i][k + i] = 1;
    }
    for (int i = 0; i < k; i++) {
      double pivot = a[i][i];
      for (int j = 0; j < 2 * k; j++) {
        a[i][j] /= pivot;
      }
      for (int r = 0; r < k; r++) {
        if (r != i) {
          double factor = a[r][i];
          for (int j = 0; j < 2 * k; j++) {
            a[r][j] -= factor * a[i][j];
          }
        }
      }
    }
    double[][] inverse = new double[k][k];
    for (int i = 0; i < k; i++) {
      System.arraycopy(a[i], k, inverse[i], 0, k);
    }
    return inverse;
  }
}
