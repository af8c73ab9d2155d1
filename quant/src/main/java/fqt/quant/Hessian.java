package fqt.quant;

import fqt.quant.flow.ChunkSum;
import fqt.tensor.BinaryOp;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.stream.IntStream;

/**
 * The second moment of a linear's inputs, {@code H = 2/T · Σ xᵀx} over T tokens: the Hessian of the
 * squared output error, which all linears with the same inputs share.
 */
final class Hessian {
  /** Rows that are moved at a time: whole copies of a large matrix take its memory. */
  private static final long PIECE = 1024;

  private final Tensor matrix;
  private final long tokens;

  /** Memory of the same size for the factor, which then takes the matrix's too; or null. */
  private final Tensor spare;

  private boolean spent;

  /** One that may be factored any number of times. */
  Hessian(Tensor matrix, long tokens) {
    this.matrix = matrix;
    this.tokens = tokens;
    spare = null;
  }

  /** The Hessian of a sum that {@link #add} made; it takes the sum's memory. */
  Hessian(ChunkSum sum) {
    matrix = sum.total();
    tokens = sum.rows();
    spare = sum.spare();
    Ops.completeSyrk(matrix);
    try (Scope scope = Scope.open()) {
      Tensor mean = Ops.full(matrix.device(), DType.F32, 2f / tokens, matrix.dim(1));
      Ops.binaryInto(BinaryOp.MULTIPLY, matrix, mean, matrix);
    }
  }

  /** Adds the tokens x [..., inputs] of a chunk of the samples to a sum [inputs, inputs]. */
  static void add(ChunkSum sum, Tensor x, int chunk) {
    Tensor rows = Host.rows(x);
    if (rows.dim(0) > 0) {
      Ops.lowerSyrkInto(1, rows, 1, sum.place(chunk, rows.dim(0)));
    }
  }

  /** Tokens seen. */
  long tokens() {
    return tokens;
  }

  /** F32 [inputs, inputs]. */
  Tensor matrix() {
    if (spent) {
      throw new IllegalStateException("the Hessian gave its memory to its factor");
    }
    return matrix;
  }

  /**
   * The upper triangular U with {@code UᵀU = H⁻¹} that GPTQ's column loop needs, for H with rows
   * and columns in a given order and something added to its diagonal.
   *
   * <p>With J the reversal of order and {@code J H J = L Lᵀ} (Cholesky), {@code H = R Rᵀ} for the
   * upper triangular {@code R = J L J}, hence {@code H⁻¹ = R⁻ᵀ R⁻¹} and {@code U = R⁻¹ = J L⁻¹ J}:
   * one factorisation and one triangular inverse, where the textbook way through H⁻¹ takes two
   * factorisations and an inverse, and loses digits on the way.
   *
   * @param order place in H of each row and column of the result
   * @param diagonal what stands on H's diagonal before damping
   * @param damping added to it
   * @return U, or null if H is not positive definite; U takes the memory of the sum, if H was made
   *     of one
   */
  Tensor inverseFactor(int[] order, float[] diagonal, double damping) {
    int n = order.length;
    try (Scope scope = Scope.open()) {
      int[] reversed = IntStream.range(0, n).map(i -> order[n - 1 - i]).toArray();
      float[] damped = new float[n];
      for (int i = 0; i < n; i++) {
        damped[i] = (float) (diagonal[reversed[i]] + damping);
      }
      boolean own = spare != null;
      Tensor factor = own ? spare : Ops.empty(matrix.device(), DType.F32, matrix.shape());
      permute(matrix(), reversed, factor);
      Ops.copyInto(Host.tensor(factor.device(), damped, n), factor.diagonal());
      if (Ops.choleskyInPlace(factor) >= 0) {
        return null;
      }
      int[] back = IntStream.range(0, n).map(i -> n - 1 - i).toArray();
      spent = own;
      Tensor inverse = own ? matrix : Ops.empty(matrix.device(), DType.F32, matrix.shape());
      Ops.invertLowerInto(factor, inverse);
      permute(inverse, back, factor);
      return scope.keep(factor);
    }
  }

  /** Rows and columns of a square matrix in another order, some rows at a time. */
  private static void permute(Tensor x, int[] order, Tensor out) {
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
