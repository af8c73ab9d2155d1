package fqt.tensor.cpu;

/** The error function in double precision, the reference for the vector kernels. */
final class Erf {
  private Erf() {}

  /**
   * 2/√π ∫₀ˣ e^(−t²) dt, to a few units in the last place of a double: the Maclaurin series up to
   * 2.5 (Abramowitz and Stegun 7.1.6, whose terms are all positive) and the continued fraction of
   * erfc beyond (7.1.14).
   */
  static double erf(double x) {
    double magnitude = Math.abs(x);
    if (Double.isNaN(x)) {
      return x;
    }
    if (magnitude > 6) {
      return Math.copySign(1, x);
    }
    return Math.copySign(magnitude < 2.5 ? series(magnitude) : 1 - erfc(magnitude), x);
  }

  private static double series(double x) {
    double term = x;
    double sum = x;
    for (int n = 1; term > sum * 1e-17; n++) {
      term *= 2 * x * x / (2 * n + 1);
      sum += term;
    }
    return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
  }

  private static double erfc(double x) {
    double fraction = x;
    for (int n = 60; n > 0; n--) {
      fraction = x + n * 0.5 / fraction;
    }
    return Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
  }
}
