package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.List;

/** Checks of symmetric products, Cholesky factors and triangular inverses. */
final class LinalgCases {
  private static final double TRIANGULAR_BOUND = 1e-5;

  private LinalgCases() {}

  static List<BackendCheck.Case> all() {
    return List.of(
        new BackendCheck.Case("syrk", LinalgCases::syrk),
        new BackendCheck.Case("lowerSyrk", LinalgCases::lowerSyrk),
        new BackendCheck.Case("cholesky", LinalgCases::cholesky),
        new BackendCheck.Case("cholesky of what has no factor", LinalgCases::indefinite),
        new BackendCheck.Case("invertLower", LinalgCases::invertLower));
  }

  private static void syrk(Twin twin) {
    float alpha = twin.choose(1f, 2f, -0.5f);
    float beta = twin.choose(0f, 1f, 0.25f);
    long columns = twin.size() + twin.choose(0, 0, 400);
    Tensor old = twin.normal(columns, columns);
    Tensor x = twin.normal(twin.size() * twin.choose(1, 5), columns);
    Tensor square = Ops.matmul(old, old.transpose(0, 1));
    twin.within(
        "%s xᵀx + %s".formatted(alpha, beta),
        Reference.syrk(alpha, x, beta, square),
        in -> {
          Tensor out = Ops.copy(in[1]);
          Ops.syrkInto(alpha, in[0], beta, out);
          return out;
        },
        x,
        square);
  }

  /** Of activations that are bfloat16 already, so that rounding them loses nothing. */
  private static void lowerSyrk(Twin twin) {
    float beta = twin.choose(0f, 1f, 0.25f);
    long columns = twin.size() + twin.choose(0, 0, 400);
    Tensor old = twin.normal(columns, columns);
    Tensor wide = twin.normal(twin.size() * twin.choose(1, 5), columns);
    Tensor x = Ops.to(Ops.to(wide, DType.BF16), DType.F32);
    Tensor square = Ops.matmul(old, old.transpose(0, 1));
    twin.within(
        "below the diagonal, then above, + %s".formatted(beta),
        Reference.syrk(1, x, beta, square),
        in -> {
          Tensor out = Ops.copy(in[1]);
          Ops.lowerSyrkInto(1, in[0], beta, out);
          Ops.completeSyrk(out);
          return out;
        },
        x,
        square);
  }

  /** Symmetric, its eigenvalues from about 1 to 5. */
  private static Tensor definite(Twin twin) {
    long size = twin.size() + twin.choose(0, 200);
    Tensor x = twin.normal(size, size);
    Tensor square = Ops.affine(Ops.matmul(x, x.transpose(0, 1)), 1f / size, 0);
    return Ops.add(square, identity(size));
  }

  private static Tensor identity(long size) {
    float[] values = new float[Math.toIntExact(size * size)];
    for (int i = 0; i < size; i++) {
      values[i * ((int) size + 1)] = 1;
    }
    return Ops.of(values, size, size);
  }

  private static void cholesky(Twin twin) {
    twin.check(
        "",
        TRIANGULAR_BOUND,
        in -> {
          Tensor factor = Ops.copy(in[0]);
          long failed = Ops.choleskyInPlace(factor);
          return new Tensor[] {factor, Ops.of(new int[] {(int) failed}, 1)};
        },
        definite(twin));
  }

  private static void indefinite(Twin twin) {
    Tensor a = definite(twin);
    long bad = twin.random().nextLong(a.dim(0));
    Ops.fill(a.slice(0, bad, bad + 1).slice(1, bad, bad + 1), twin.choose(-1000.0, Double.NaN));
    twin.same(
        "from " + bad,
        in -> new Tensor[] {Ops.of(new int[] {(int) Ops.choleskyInPlace(Ops.copy(in[0]))}, 1)},
        a);
  }

  private static void invertLower(Twin twin) {
    Tensor factor = definite(twin);
    Ops.choleskyInPlace(factor);
    twin.check("", TRIANGULAR_BOUND, in -> new Tensor[] {Ops.invertLower(in[0])}, factor);
  }
}
