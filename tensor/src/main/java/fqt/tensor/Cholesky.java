package fqt.tensor;

import java.util.stream.IntStream;

/** Factors of symmetric positive definite matrices. */
public final class Cholesky {
  /** Rows that are moved at a time: whole copies of a large matrix take its memory. */
  private static final long PIECE = 1024;

  private Cholesky() {}

  /**
   * The upper triangular U with {@code UᵀU = H⁻¹}, for H with its rows and columns in a given order
   * and another diagonal.
   *
   * <p>With J the reversal of order and {@code J H J = L Lᵀ} (Cholesky), {@code H = R Rᵀ} for the
   * upper triangular {@code R = J L J}, hence {@code H⁻¹ = R⁻ᵀ R⁻¹} and {@code U = R⁻¹ = J L⁻¹ J}:
   * one factorisation and one triangular inverse, where the textbook way through H⁻¹ takes two
   * factorisations and an inverse, and loses digits on the way.
   *
   * @param h F32 [n, n], symmetric; overwritten if U exists
   * @param diagonal what takes the place of its diagonal, by row of h
   * @param added to each element of the diagonal
   * @param order row of h for each row of the result
   * @param out F32 [n, n], where U goes
   * @return whether U exists: whether H is positive definite; if not, {@code out} is undefined
   */
  public static boolean inverseRootInto(
      Tensor h, float[] diagonal, double added, int[] order, Tensor out) {
    int n = order.length;
    try (Scope scope = Scope.open()) {
      int[] reversed = IntStream.range(0, n).map(i -> order[n - 1 - i]).toArray();
      float[] ordered = new float[n];
      for (int i = 0; i < n; i++) {
        ordered[i] = (float) (diagonal[reversed[i]] + added);
      }
      reorderInto(h, reversed, out);
      Ops.copyInto(Host.tensor(out.device(), ordered, n), out.diagonal());
      if (Ops.choleskyInPlace(out) >= 0) {
        return false;
      }
      Ops.invertLowerInto(out, h);
      reorderInto(h, IntStream.range(0, n).map(i -> n - 1 - i).toArray(), out);
      return true;
    }
  }

  /** Rows and columns of a square matrix in another order, some rows at a time. */
  private static void reorderInto(Tensor x, int[] order, Tensor out) {
    Tensor index = Host.index(x.device(), order);
    for (long from = 0; from < order.length; from += PIECE) {
      try (Scope scope = Scope.open()) {
        long to = Math.min(order.length, from + PIECE);
        Tensor rows = Ops.gatherRows(x, index.slice(0, from, to));
        Ops.copyInto(Host.columns(rows, index), out.slice(0, from, to));
      }
    }
  }
}
