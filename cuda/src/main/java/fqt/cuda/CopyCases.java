package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.List;

/** Checks of copies, conversions, fills and transfers. */
final class CopyCases {
  private CopyCases() {}

  static List<BackendCheck.Case> all() {
    return List.of(
        new BackendCheck.Case("convert", CopyCases::convert),
        new BackendCheck.Case("strided copy", CopyCases::strided),
        new BackendCheck.Case("transpose", CopyCases::transpose),
        new BackendCheck.Case("fill", CopyCases::fill),
        new BackendCheck.Case("transfer", CopyCases::transfer));
  }

  private static void convert(Twin twin) {
    long n = twin.size() * twin.size();
    for (DType from : DType.values()) {
      float scale = twin.choose(1f, 100f, 1e-3f, 1e6f, 1e20f);
      Tensor wide = Ops.affine(twin.normal(n), scale, 0);
      Tensor x = Ops.to(wide, from);
      for (DType to : DType.values()) {
        twin.same(from + " " + scale, in -> new Tensor[] {Ops.to(in[0], to)}, x);
      }
    }
  }

  private static void strided(Twin twin) {
    DType dtype = twin.choose(DType.values());
    Tensor x = twin.integers(dtype, 0, 1, twin.size(), 5, twin.size() % 40 + 1, 3);
    DType other = twin.choose(DType.values());
    twin.same(
        dtype + " views to " + other,
        in -> {
          Tensor view = in[0].transpose(0, 2).slice(1, 1, 4);
          Tensor target = Ops.full(in[0].device(), other, 1, 3, view.dim(2), 3, view.dim(0));
          Ops.copyInto(view, target.transpose(0, 3).transpose(1, 2));
          return new Tensor[] {target, Ops.copy(view)};
        },
        x);
  }

  private static void transpose(Twin twin) {
    Tensor x = twin.normal(twin.size(), twin.size());
    twin.same("", in -> new Tensor[] {Ops.copy(in[0].transpose(0, 1))}, x);
  }

  private static void fill(Twin twin) {
    DType dtype = twin.choose(DType.values());
    double value = twin.choose(0.0, 1.0, -3.5, 2.5, 300.0, 0.3);
    Tensor x = twin.integers(dtype, 0, 1, twin.size(), twin.size());
    twin.same(
        dtype + " " + value,
        in -> {
          Tensor copy = Ops.copy(in[0]);
          Ops.fill(copy.slice(1, in[0].dim(1) / 3, in[0].dim(1)), value);
          return new Tensor[] {copy};
        },
        x);
  }

  /** Sizes around those of the staging memory. */
  private static void transfer(Twin twin) {
    long bytes = twin.choose(1L, 65_536L, 65_537L, 16L << 20, (32L << 20) + 5, (50L << 20) + 3);
    twin.same("", in -> new Tensor[] {in[0]}, twin.integers(DType.U8, 0, 255, bytes));
  }
}
