package fqt.cuda;

import static fqt.cuda.Launcher.address;
import static fqt.cuda.Launcher.bits;
import static fqt.cuda.Launcher.code;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.util.List;

/**
 * Matrix products on one GPU, on tensor cores. A float32 operand becomes two bfloat16 parts where
 * the result is to be as good as float32, and one where a weight of 16 bits or fewer meets
 * activations: those are rounded to bfloat16, as GPUs run models everywhere, unless they are to be
 * kept whole. With at most {@value #FEW} rows the products are made in float32 right away, since
 * the time goes into reading the weight.
 */
final class CudaProducts {
  private static final String MODULE = "products_sm80";
  private static final long FEW = 4;
  private static final long VECTOR = 8;

  /** Which parts of an operand stand one behind the other: a bit set for what is left over. */
  private enum Parts {
    ROUNDED(1, 0),
    TWICE(2, 0),
    BOTH(2, 0b10),
    LEFT(3, 0b100),
    RIGHT(3, 0b010);

    private final int count;
    private final int rests;

    Parts(int count, int rests) {
      this.count = count;
      this.rests = rests;
    }
  }

  private final Launcher launcher;
  private final CudaCopies copies;
  private final CudaMatmul matmul;
  private final GroupedLinear grouped;
  private final boolean wholeActivations;
  private final RoundedTwin twin;
  private final RecentWrites recent;

  CudaProducts(
      Launcher launcher,
      CudaCopies copies,
      RoundedTwin twin,
      RecentWrites recent,
      boolean wholeActivations) {
    this.launcher = launcher;
    this.copies = copies;
    this.matmul = new CudaMatmul(launcher.context());
    this.grouped = new GroupedLinear(launcher);
    this.twin = twin;
    this.recent = recent;
    this.wholeActivations = wholeActivations;
  }

  /** Whether activations that meet a weight of 16 bits are rounded to bfloat16. */
  boolean roundsActivations() {
    return !wholeActivations;
  }

  void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    boolean wideA = isWide(a);
    boolean wideB = isWide(b);
    if (out.count() == 0) {
      return;
    }
    if (a.dim(1) == 0) {
      combine(alpha, null, beta, out);
      return;
    }
    Tensor columns = b.transpose(0, 1);
    if (alpha == 1 && beta == 0) {
      multiply(a, wideA, columns, wideB, null, out);
      return;
    }
    Storage storage = launcher.context().allocate(out.byteSize());
    try {
      Tensor sum = Tensor.of(storage, DType.F32, out.shape());
      multiply(a, wideA, columns, wideB, null, sum);
      combine(alpha, sum, beta, out);
    } finally {
      storage.release();
    }
  }

  void linear(Tensor x, Tensor w, Tensor bias, Tensor out) {
    if (out.count() == 0) {
      return;
    }
    if (x.dim(0) <= FEW || x.dim(1) == 0) {
      linearFew(x, w, bias, out);
    } else {
      boolean wideWeight = isWide(w);
      multiply(x, isWide(x) && (wideWeight || wholeActivations), w, wideWeight, bias, out);
    }
  }

  /** Whether {@link #groupedLinear} takes such weights. */
  boolean groups(List<Tensor> w) {
    return !wholeActivations && grouped.takes(w);
  }

  void groupedLinear(Tensor x, long[] bounds, List<Tensor> w, Tensor out) {
    if (out.count() == 0) {
      return;
    }
    Tensor left = split(x, Parts.ROUNDED);
    grouped.run(left, bounds, w, out);
    used(left, x);
  }

  private void linearFew(Tensor x, Tensor w, Tensor bias, Tensor out) {
    Tensor shift = dense(bias);
    for (long m = 0; m < x.dim(0); m += FEW) {
      long rows = Math.min(FEW, x.dim(0) - m);
      launcher.run(
          MODULE,
          "linear_few",
          Math.ceilDiv(w.dim(0), (long) Launcher.THREADS / 32),
          Launcher.THREADS,
          address(x.slice(0, m, m + rows)),
          code(x.dtype()),
          address(w),
          code(w.dtype()),
          address(shift),
          shift == null ? 0 : code(shift.dtype()),
          address(out.slice(0, m, m + rows)),
          rows,
          w.dim(0),
          x.dim(1));
    }
    release(shift, bias);
  }

  void scaledLinear(Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out) {
    if (out.count() == 0) {
      return;
    }
    if (x.dim(1) == 0) {
      linearFew(x, w, bias, out);
      return;
    }
    Tensor left = dense(xScale);
    Tensor right = dense(wScale);
    Tensor shift = dense(bias);
    multiply(x, w, left, right, shift, out, MatmulOptions.PRECISE);
    release(left, xScale);
    release(right, wScale);
    release(shift, bias);
  }

  /**
   * Activations as linears see them: rounded to bfloat16 in a new tensor, or as they are if they
   * are to be kept whole or rows would not stay without gaps.
   */
  Tensor rounded(Tensor x) {
    boolean dense = x.dim(1) % VECTOR == 0 && x.count() > 0;
    return wholeActivations || !dense ? x : split(x, Parts.ROUNDED);
  }

  /** {@code out = a bᵀ + bias}; an operand that is wide keeps what one bfloat16 leaves over. */
  private void multiply(Tensor a, boolean wideA, Tensor b, boolean wideB, Tensor bias, Tensor out) {
    Tensor shift = dense(bias);
    Tensor left = split(a, wideA ? wideB ? Parts.LEFT : Parts.BOTH : parts(wideB));
    Tensor right = split(b, wideB ? wideA ? Parts.RIGHT : Parts.BOTH : parts(wideA));
    multiply(left, right, null, null, shift, out, MatmulOptions.FAST);
    used(left, a);
    release(right, b);
    release(shift, bias);
  }

  /** The product itself, which fetches a weight that is at rest as early as it can. */
  private void multiply(
      Tensor x,
      Tensor w,
      Tensor xScale,
      Tensor wScale,
      Tensor bias,
      Tensor out,
      MatmulOptions options) {
    CudaContext context = launcher.context();
    long before = context.writes();
    boolean settled = recent.leave(w.storage(), before);
    MatmulOptions chosen = settled ? options.withSettledWeights() : options;
    matmul.scaled(context.stream(), x, w, xScale, wScale, bias, out, chosen);
    recent.product(before, context.writes(), out.storage());
  }

  /** Gives activations back that were rounded for a use which has changed nothing else. */
  void used(Tensor rounded, Tensor original) {
    if (twin.is(rounded)) {
      twin.holds();
    } else {
      release(rounded, original);
    }
  }

  private static Parts parts(boolean otherIsWide) {
    return otherIsWide ? Parts.TWICE : Parts.ROUNDED;
  }

  /** The parts of a matrix of any strides; the matrix itself where it is just that. */
  private Tensor split(Tensor x, Parts parts) {
    long padded = Math.ceilDiv(x.dim(1), VECTOR) * VECTOR;
    boolean ready = x.dtype() == DType.BF16 && x.isContiguous() && x.dim(1) == padded;
    if (parts == Parts.ROUNDED && ready) {
      return x;
    }
    Tensor known = parts == Parts.ROUNDED ? twin.of(x) : null;
    if (known != null) {
      return known;
    }
    Tensor target = temporary(DType.BF16, x.dim(0), parts.count * padded);
    long before = launcher.context().writes();
    launcher.run(
        MODULE,
        "split",
        Launcher.blocks(x.dim(0) * (padded / VECTOR)),
        Launcher.THREADS,
        address(x),
        code(x.dtype()),
        x.dim(0),
        x.dim(1),
        x.stride(0),
        x.dim(1) == 1 ? 1 : x.stride(1),
        address(target),
        padded,
        parts.count,
        parts.rests);
    recent.plain(before, launcher.context().writes(), target.storage());
    return target;
  }

  private void combine(float alpha, Tensor sum, float beta, Tensor out) {
    launcher.run(
        MODULE,
        "combine",
        Launcher.blocks(out.count()),
        Launcher.THREADS,
        bits(alpha),
        address(sum),
        bits(beta),
        address(out),
        out.dim(0),
        out.dim(1),
        out.stride(0));
  }

  /** Whether one bfloat16 may lose digits of an element. */
  private static boolean isWide(Tensor x) {
    return x.dtype() == DType.F32 || x.dtype() == DType.F16;
  }

  /** A vector as the matrix kernels read it: itself, or a copy in float32. */
  private Tensor dense(Tensor x) {
    if (x == null || x.isContiguous() && x.dtype().byteSize() > 1) {
      return x;
    }
    Tensor copy = temporary(DType.F32, x.count());
    copies.copy(x, copy);
    return copy;
  }

  private Tensor temporary(DType dtype, long... dims) {
    Shape shape = Shape.of(dims);
    return Tensor.of(launcher.context().allocate(shape.count() * dtype.byteSize()), dtype, shape);
  }

  /** Gives a temporary tensor back, if it is one and not the original. */
  private static void release(Tensor temporary, Tensor original) {
    if (temporary != null
        && temporary.storage() != (original == null ? null : original.storage())) {
      temporary.storage().release();
    }
  }
}
