package fqt.cuda;

import fqt.tensor.AttentionMask;
import fqt.tensor.BinaryOp;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.QuantOps;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** Checks of matrix products, rotary embedding and attention. */
final class ProductCases {
  // Two bfloat16 parts of each operand lose 2^-16 of a term; one loses 2^-9.
  private static final double WHOLE = 1e-4;
  private static final double ROUNDED = 0.03;

  /** Queries up to which attention keeps its operands and weights in float32. */
  private static final long FEW_QUERIES = 8;

  private ProductCases() {}

  static List<BackendCheck.Case> all() {
    return List.of(
        new BackendCheck.Case("gemm", ProductCases::gemm),
        new BackendCheck.Case("linear", ProductCases::linear),
        new BackendCheck.Case("linear of what was just written", ProductCases::written),
        new BackendCheck.Case("scaledLinear", ProductCases::scaledLinear),
        new BackendCheck.Case("weights that were just written", ProductCases::fresh),
        new BackendCheck.Case("groupedLinear", ProductCases::groupedLinear),
        new BackendCheck.Case("rotary", ProductCases::rotary),
        new BackendCheck.Case("attention", ProductCases::attention));
  }

  private static void gemm(Twin twin) {
    long m = twin.size();
    long k = twin.size();
    long n = twin.size();
    DType other = twin.choose(DType.F32, DType.F32, DType.BF16, DType.F16);
    Tensor a = twin.random().nextBoolean() ? twin.normal(m, k) : turned(twin.normal(k, m));
    Tensor b =
        twin.random().nextBoolean() ? twin.normal(other, k, n) : turned(twin.normal(other, n, k));
    twin.check(other + "", WHOLE, in -> new Tensor[] {Ops.matmul(in[0], in[1])}, a, b);
    twin.check(
        other + " added to a part",
        WHOLE,
        in -> {
          Tensor wide = Ops.copy(in[2]);
          Ops.gemmInto(-1.5f, in[0], in[1], 0.5f, wide.slice(1, 3, 3 + n));
          return new Tensor[] {wide};
        },
        a,
        b,
        twin.normal(m, n + 5));
  }

  private static Tensor turned(Tensor x) {
    return x.transpose(0, 1);
  }

  private static void linear(Twin twin) {
    long m = twin.choose(1L, 2L, 3L, 4L, 5L, twin.size());
    long k = twin.choose(twin.size(), 256 * twin.size());
    long n = twin.size();
    Tensor x = twin.normal(m, k);
    DType dtype = twin.choose(DType.F32, DType.BF16, DType.F16, DType.F8_E4M3);
    Tensor w = twin.normal(dtype, n, k);
    Tensor bias = twin.choose(null, twin.normal(n), twin.normal(DType.BF16, n));
    boolean whole = dtype == DType.F32 || dtype == DType.F16 || m <= 4;
    String what = dtype + ", " + k + " inputs";
    twin.check(what, whole ? WHOLE : ROUNDED, ProductCases::linear, x, w, bias);
    twin.check(what + " of 16 bits", WHOLE, ProductCases::linear, short16(x), w, bias);
  }

  private static Tensor[] linear(Tensor[] in) {
    return new Tensor[] {Ops.linear(in[0], in[1], in[2])};
  }

  /** A linear reads what a norm or a gate has just written, or what became of it, like a copy. */
  private static void written(Twin twin) {
    long rows = 16 + twin.size();
    long columns = 512 + 8 * twin.size();
    UnaryOp op = UnaryOp.SILU;
    twin.same(
        "norm, gate, sum",
        in -> {
          Tensor norm = Ops.rmsNorm(in[0], in[1], 1e-6f);
          Tensor first = fromCopy(norm, in[2]);
          Tensor again = fromCopy(norm, in[2]);
          Tensor changed = Ops.rmsNorm(in[0], in[1], 1e-6f);
          Ops.binaryInto(BinaryOp.ADD, changed, in[0], changed);
          Tensor sum = fromCopy(changed, in[2]);
          Tensor gate = fromCopy(Ops.gated(op, in[0], norm), in[2]);
          return new Tensor[] {first, again, sum, gate};
        },
        twin.normal(rows, columns),
        twin.normal(columns),
        twin.normal(DType.BF16, twin.size(), columns));
  }

  /** How far the linear of a tensor is from that of its copy: zeros. */
  private static Tensor fromCopy(Tensor x, Tensor w) {
    Tensor direct = Ops.linear(x, w, null);
    return Ops.subtract(direct, Ops.linear(Ops.copy(x), w, null));
  }

  private static void scaledLinear(Twin twin) {
    DType codes = twin.choose(DType.I8, DType.F8_E4M3);
    long m = twin.size();
    long k = twin.size();
    long n = twin.size();
    boolean integer = codes == DType.I8;
    Tensor x = integer ? twin.integers(codes, -128, 127, m, k) : twin.normal(codes, m, k);
    Tensor w = integer ? twin.integers(codes, -128, 127, n, k) : twin.normal(codes, n, k);
    Tensor bias = twin.choose(null, twin.normal(n), twin.normal(DType.F16, n));
    twin.check(
        codes + "",
        integer ? 2e-6 : 3e-3,
        in -> new Tensor[] {QuantOps.scaledLinear(in[0], in[1], in[2], in[3], in[4])},
        x,
        twin.normal(m),
        w,
        twin.normal(n),
        bias);
  }

  /** Products whose weights were written just before, and what was written last is read. */
  private static void fresh(Twin twin) {
    DType codes = twin.choose(DType.I8, DType.F8_E4M3);
    long m = twin.choose(5L, 33L, 64L, 128L, 200L);
    twin.same(
        codes + "",
        in -> {
          Tensor w = codes(in[1], codes);
          Tensor first = QuantOps.scaledLinear(codes(in[0], codes), in[2], w, in[3], null);
          Ops.copyInto(codes(Ops.affine(in[1], -1, 0), codes), w);
          Tensor second = QuantOps.scaledLinear(codes(in[0], codes), in[2], w, in[3], null);
          Tensor both = codes(in[1], codes);
          Tensor own = QuantOps.scaledLinear(both.slice(0, 0, m), in[2], both, in[3], null);
          Tensor copy = Ops.copy(both);
          Tensor again = QuantOps.scaledLinear(copy.slice(0, 0, m), in[2], copy, in[3], null);
          return new Tensor[] {
            Ops.binary(BinaryOp.ADD, first, second), Ops.subtract(own, again),
          };
        },
        twin.normal(m, 512),
        twin.normal(512, 512),
        twin.normal(m),
        twin.normal(512));
  }

  private static Tensor codes(Tensor x, DType codes) {
    Tensor scale = Ops.full(x.device(), DType.F32, 0.05, 1, 1);
    return QuantOps.quantize(x, Blocks.PER_TENSOR, scale, null, -127, 127, codes);
  }

  private static void rotary(Twin twin) {
    long tokens = twin.size();
    long half = twin.choose(1L, 16L, 32L, 33L);
    Tensor x = twin.normal(tokens, twin.choose(1L, 3L, 8L), 2 * half + twin.choose(0L, 5L));
    twin.check(
        "",
        1e-6,
        in -> new Tensor[] {Ops.rotary(in[0], in[1], in[2])},
        x,
        twin.normal(tokens, half),
        twin.normal(tokens, half));
  }

  private static void groupedLinear(Twin twin) {
    int groups = twin.choose(1, 2, 5, 20);
    long[] bounds = new long[groups + 1];
    for (int e = 0; e < groups; e++) {
      bounds[e + 1] = bounds[e] + twin.choose(0L, 1L, twin.size(), twin.size());
    }
    bounds[groups] += bounds[groups] == 0 ? 1 : 0;
    long columns = twin.choose(8L * twin.size(), 8L * twin.size(), twin.size());
    long outputs = twin.size();
    DType dtype = twin.choose(DType.BF16, DType.BF16, DType.F16);
    Tensor x = twin.normal(bounds[groups], columns);
    Tensor w = twin.normal(dtype, groups * outputs, columns);
    twin.check(
        "%d groups of %s".formatted(groups, dtype),
        ROUNDED,
        in -> {
          List<Tensor> weights = new ArrayList<>();
          for (int e = 0; e < groups; e++) {
            weights.add(in[1].slice(0, e * outputs, (e + 1) * outputs));
          }
          return new Tensor[] {Ops.groupedLinear(in[0], bounds, weights)};
        },
        x,
        w);
  }

  private static void attention(Twin twin) {
    long shared = twin.choose(1L, 2L, 7L);
    long groups = twin.choose(1L, 2L, 3L);
    long size = twin.choose(16L, 32L, 33L, 64L, 80L, 96L, 128L, 256L);
    AttentionMask mask = mask(twin);
    Tensor q = twin.normal(mask.queries(), shared * groups, size);
    Tensor k = twin.normal(mask.keys(), groups, size);
    Tensor v = twin.normal(mask.keys(), groups, size);
    float scale = (float) (1 / Math.sqrt(size));
    String what =
        (mask.causal() ? "causal" : "full")
            + ", window %d, %d sequences, %d keys, %d groups"
                .formatted(mask.window(), mask.queryBounds().length - 1, mask.keys(), groups);
    double rounding = mask.queries() <= FEW_QUERIES ? 0 : Reference.BFLOAT16;
    Function<Tensor[], Tensor> operation = in -> Ops.attention(in[0], in[1], in[2], scale, mask);
    twin.within(
        what, Reference.attention(q, k, v, scale, mask, rounding, rounding), operation, q, k, v);
    // Operands that rounding leaves alone: a far narrower bound.
    Tensor q16 = short16(q);
    Tensor k16 = short16(k);
    Tensor v16 = short16(v);
    twin.within(
        what + " of 16 bits",
        Reference.attention(q16, k16, v16, scale, mask, 0, rounding),
        operation,
        q16,
        k16,
        v16);
  }

  /** The same numbers rounded to bfloat16. */
  private static Tensor short16(Tensor x) {
    return Ops.to(Ops.to(x, DType.BF16), DType.F32);
  }

  /** One to four sequences with some keys more than queries; some of them may be empty. */
  private static AttentionMask mask(Twin twin) {
    int sequences = twin.choose(1, 1, 2, 4);
    boolean few = twin.random().nextInt(4) == 0;
    long[] queries = new long[sequences + 1];
    long[] keys = new long[sequences + 1];
    for (int i = 0; i < sequences; i++) {
      long length = few ? 1 + twin.random().nextInt(2) : twin.choose(twin.size(), twin.size(), 0L);
      queries[i + 1] = queries[i] + Math.max(i == 0 ? 1 : 0, length);
      keys[i + 1] = keys[i] + queries[i + 1] - queries[i] + twin.choose(0L, 0L, 5L, 130L);
    }
    long window = twin.choose(0L, 0L, 1L, 17L, 100L);
    return new AttentionMask(twin.random().nextInt(3) > 0, window, queries, keys);
  }
}
