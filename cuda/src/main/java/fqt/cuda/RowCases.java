package fqt.cuda;

import fqt.tensor.Axis;
import fqt.tensor.BinaryOp;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.List;

/** Checks of operations element by element and row by row. */
final class RowCases {
  private RowCases() {}

  static List<BackendCheck.Case> all() {
    return List.of(
        new BackendCheck.Case("binary", RowCases::binary),
        new BackendCheck.Case("unary", RowCases::unary),
        new BackendCheck.Case("affine", RowCases::affine),
        new BackendCheck.Case("gated", RowCases::gated),
        new BackendCheck.Case("rmsNorm", RowCases::rmsNorm),
        new BackendCheck.Case("layerNorm", RowCases::layerNorm),
        new BackendCheck.Case("softmax", RowCases::softmax),
        new BackendCheck.Case("reduce", RowCases::reduce),
        new BackendCheck.Case("topK", RowCases::topK),
        new BackendCheck.Case("crossEntropy", RowCases::crossEntropy),
        new BackendCheck.Case("gatherRows", RowCases::gatherRows),
        new BackendCheck.Case("scatterAddRows", RowCases::scatterAddRows));
  }

  private static void binary(Twin twin) {
    long columns = twin.size();
    Tensor a = withOddities(twin, twin.normal(twin.size(), columns));
    Tensor same = withOddities(twin, twin.normal(a.dim(0), columns));
    for (BinaryOp op : BinaryOp.values()) {
      twin.same(op + "", in -> of(Ops.binary(op, in[0], in[1])), a, same);
      twin.same(op + " repeated", in -> of(Ops.binary(op, in[0], in[1])), a, twin.normal(columns));
    }
    twin.same(
        "in place",
        in -> {
          Tensor copy = Ops.copy(in[0]);
          Ops.binaryInto(BinaryOp.ADD, copy, in[1], copy);
          return of(copy);
        },
        a,
        same);
  }

  /** With a NaN and an infinity somewhere, half of the time. */
  private static Tensor withOddities(Twin twin, Tensor x) {
    if (twin.random().nextBoolean()) {
      Tensor flat = x.reshape(-1);
      Ops.fill(flat.slice(0, 0, 1), Double.NaN);
      Ops.fill(flat.slice(0, x.count() / 2, x.count() / 2 + 1), Double.NEGATIVE_INFINITY);
    }
    return x;
  }

  private static void unary(Twin twin) {
    Tensor x = Ops.affine(twin.normal(twin.size(), twin.size()), twin.choose(0.1f, 1f, 5f), 0);
    for (UnaryOp op : UnaryOp.values()) {
      Tensor argument = op == UnaryOp.SQRT ? Ops.unary(UnaryOp.ABS, x) : x;
      twin.check(op + "", 4e-6, in -> of(Ops.unary(op, in[0])), argument);
    }
  }

  private static void affine(Twin twin) {
    Tensor x = twin.normal(twin.size(), twin.size());
    twin.check("", 1e-6, in -> of(Ops.affine(in[0], 1.7f, -0.3f)), x);
  }

  private static void gated(Twin twin) {
    Tensor gate = twin.normal(twin.size(), twin.size());
    Tensor up = twin.normal(gate.dim(0), gate.dim(1));
    UnaryOp op = twin.choose(UnaryOp.SILU, UnaryOp.GELU, UnaryOp.GELU_TANH);
    twin.check(op + "", 4e-6, in -> of(Ops.gated(op, in[0], in[1])), gate, up);
  }

  private static void rmsNorm(Twin twin) {
    long columns = twin.size() * twin.choose(1, 7);
    Tensor x = twin.normal(twin.size(), columns);
    Tensor weight = twin.normal(floatType(twin), columns);
    twin.check("", 1e-6, in -> of(Ops.rmsNorm(in[0], in[1], 1e-6f)), x, weight);
  }

  private static void layerNorm(Twin twin) {
    long columns = twin.size() * twin.choose(1, 7);
    Tensor x = Ops.affine(twin.normal(twin.size(), columns), 1, 3);
    Tensor weight = twin.normal(floatType(twin), columns);
    Tensor bias = twin.normal(floatType(twin), columns);
    twin.within(
        "",
        Reference.layerNorm(x, weight, bias, 1e-6f),
        in -> Ops.layerNorm(in[0], in[1], in[2], 1e-6f),
        x,
        weight,
        bias);
  }

  private static DType floatType(Twin twin) {
    return twin.choose(DType.F32, DType.BF16, DType.F16);
  }

  private static void softmax(Twin twin) {
    Tensor x = Ops.affine(twin.normal(twin.size(), twin.size()), 5, twin.choose(0f, 300f));
    twin.check("", 4e-6, in -> of(Ops.softmax(in[0])), x);
  }

  private static void reduce(Twin twin) {
    long rows = twin.choose(1L, 3L, 600L, twin.size());
    long columns = twin.choose(1L, 20_000L, twin.size(), twin.size());
    Tensor x = twin.normal(rows, columns);
    for (ReduceOp op : ReduceOp.values()) {
      for (Axis axis : Axis.values()) {
        twin.check(op + " " + axis, 1e-6, in -> of(Ops.reduce(op, axis, in[0])), x);
      }
    }
  }

  private static void topK(Twin twin) {
    long columns = 2L * twin.size();
    long k = 1L + twin.random().nextInt((int) Math.min(columns, 20));
    Tensor distinct = withOddities(twin, twin.normal(twin.size(), columns));
    Tensor tied = Ops.to(twin.integers(DType.I8, -3, 3, distinct.dim(0), columns), DType.F32);
    for (Tensor x : List.of(distinct, tied)) {
      twin.same(
          "",
          in -> {
            Ops.TopK top = Ops.topK(in[0], k);
            return of(top.values(), top.indices());
          },
          x);
    }
  }

  private static void crossEntropy(Twin twin) {
    long rows = twin.size();
    long columns = twin.size() * 7;
    Tensor x = Ops.affine(twin.normal(rows, columns), 4, 1);
    Tensor target = twin.integers(DType.I32, 0, (int) columns - 1, rows);
    twin.check("", 4e-6, in -> of(Ops.crossEntropy(in[0], in[1])), x, target);
  }

  private static void gatherRows(Twin twin) {
    DType dtype = twin.choose(DType.F32, DType.BF16, DType.F16, DType.F8_E4M3, DType.F8_E5M2);
    Tensor table = twin.normal(dtype, twin.size(), twin.size() * twin.choose(1, 20));
    Tensor index = twin.integers(DType.I32, 0, (int) table.dim(0) - 1, twin.size());
    twin.same(dtype + "", in -> of(Ops.gatherRows(in[0], in[1])), table, index);
  }

  private static void scatterAddRows(Twin twin) {
    Tensor rows = twin.normal(twin.size() * twin.choose(1, 3), twin.size() * twin.choose(1, 3));
    long count = rows.dim(0);
    long places = twin.choose(1L, twin.size(), 1000L);
    Tensor index = twin.integers(DType.I32, 0, (int) places - 1, count);
    Tensor weight = twin.random().nextBoolean() ? twin.normal(count) : null;
    Tensor out = twin.normal(places, rows.dim(1));
    twin.same(
        "",
        in -> {
          Tensor sum = Ops.copy(in[3]);
          Ops.scatterAddRows(in[0], in[1], in[2], sum);
          return of(sum);
        },
        rows,
        index,
        weight,
        out);
  }

  private static Tensor[] of(Tensor... results) {
    return results;
  }
}
