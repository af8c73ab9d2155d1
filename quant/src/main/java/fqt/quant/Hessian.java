package fqt.quant;

import fqt.quant.crew.Crew;
import fqt.tensor.BinaryOp;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The second moment of a linear's inputs, {@code H = 2/T · Σ xᵀx} over T tokens: the Hessian of the
 * squared output error, which all linears with the same inputs share.
 *
 * <p>The sum is made chunk by chunk of the samples, and those are added up in their order: on one
 * device as they come, on several when all have done their part ({@link JointHessians}).
 */
final class Hessian {
  /** Rows that are moved or scaled at a time: whole copies of a large matrix take its memory. */
  private static final long PIECE = 1024;

  /** Sums over chunks; with the first member of a crew, the total so far and the chunk in hand. */
  private final List<Tensor> sums = new ArrayList<>();

  private final boolean adds;
  private int used;
  private int chunk = -1;
  private long tokens;
  private boolean scaled;
  private boolean spent;

  /** Zero, in the current scope. */
  Hessian(Device device, long inputs) {
    this(Crew.alone(device), inputs);
  }

  /** The part of a member of a crew, zero, in the current scope. */
  Hessian(Crew.Member member, long inputs) {
    adds = member.leads();
    for (int i = 0; i < (adds ? 2 : member.chunks()); i++) {
      sums.add(Ops.empty(member.device(), DType.F32, inputs, inputs));
    }
  }

  /** A finished one. */
  Hessian(Tensor matrix, long tokens) {
    this.sums.add(matrix);
    this.adds = true;
    this.used = 1;
    this.tokens = tokens;
    this.scaled = true;
  }

  /**
   * Adds the tokens x [..., inputs].
   *
   * @param from the chunk that they belong to; chunks come in their order
   */
  void add(Tensor x, int from) {
    Tensor rows = Host.rows(x);
    if (rows.dim(0) > 0) {
      if (from != chunk) {
        chunk = from;
        Ops.fill(next(), 0);
      }
      Ops.lowerSyrkInto(1, rows, 1, sums.get(used - 1));
      tokens += rows.dim(0);
    }
  }

  /** Where the next chunk goes. */
  private Tensor next() {
    if (adds) {
      total();
    }
    return sums.get(used++);
  }

  /** Adds up the chunks. */
  private Tensor total() {
    for (; used > 1; used--) {
      Ops.binaryInto(BinaryOp.ADD, sums.get(0), sums.get(1), sums.get(0));
    }
    return sums.get(0);
  }

  /** The sums of a member's chunks, in their order; the first member's in one. */
  List<Tensor> parts() {
    if (adds && used > 0) {
      total();
    }
    return List.copyOf(sums.subList(0, used));
  }

  /** Adds what another member has summed up, whose chunks come next. */
  void join(List<Tensor> parts, long count) {
    for (Tensor part : parts) {
      try (Scope scope = Scope.open()) {
        Ops.copyInto(Ops.to(part, sums.get(0).device()), next());
      }
    }
    tokens += count;
  }

  /** Tokens seen. */
  long tokens() {
    return tokens;
  }

  /** F32 [inputs, inputs]; nothing can be added afterwards. */
  Tensor matrix() {
    if (spent) {
      throw new IllegalStateException("the Hessian gave its memory to its factor");
    }
    Tensor sum = sums.get(0);
    if (!scaled && tokens > 0) {
      Ops.completeSyrk(total());
      for (long from = 0; from < sum.dim(0); from += PIECE) {
        try (Scope scope = Scope.open()) {
          Tensor rows = sum.slice(0, from, Math.min(sum.dim(0), from + PIECE));
          Ops.copyInto(Ops.affine(rows, 2f / tokens, 0), rows);
        }
      }
    }
    scaled = true;
    return sum;
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
   * @return U, or null if H is not positive definite; U takes the place of a sum that was made here
   */
  Tensor inverseFactor(int[] order, float[] diagonal, double damping) {
    int n = order.length;
    try (Scope scope = Scope.open()) {
      int[] reversed = IntStream.range(0, n).map(i -> order[n - 1 - i]).toArray();
      float[] damped = new float[n];
      for (int i = 0; i < n; i++) {
        damped[i] = (float) (diagonal[reversed[i]] + damping);
      }
      Tensor matrix = matrix();
      boolean own = sums.size() > 1;
      Tensor factor = own ? sums.get(1) : Ops.empty(matrix.device(), DType.F32, matrix.shape());
      permute(matrix, reversed, factor);
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
