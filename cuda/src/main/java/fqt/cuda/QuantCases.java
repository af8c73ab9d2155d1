package fqt.cuda;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.util.List;
import java.util.function.Function;

/** Checks of quantization: blocks, packing, the column loop of GPTQ and packed weights. */
final class QuantCases {
  private static final double SUM_BOUND = 1e-6;

  /** Products with 16 of the 24 bits of the activations. */
  private static final double PACKED_BOUND = 0x1p-14;

  /** Products of many tokens, with 8 bits of each side. */
  private static final double ROUNDED_BOUND = 0.03;

  private QuantCases() {}

  static List<BackendCheck.Case> all() {
    return List.of(
        new BackendCheck.Case("blockRange", QuantCases::blockRange),
        new BackendCheck.Case("quantize", QuantCases::quantize),
        new BackendCheck.Case("quantizeRows", twin -> quantizeRows(twin, strange(twin))),
        new BackendCheck.Case("quantizeRows, long", QuantCases::quantizeLongRows),
        new BackendCheck.Case("dequantize", QuantCases::dequantize),
        new BackendCheck.Case("quantizationError", QuantCases::quantizationError),
        new BackendCheck.Case("pack", QuantCases::pack),
        new BackendCheck.Case("gptqBlock", QuantCases::gptqBlock),
        new BackendCheck.Case("packedLinear", QuantCases::packedLinear));
  }

  private static Blocks blocks(Twin twin) {
    return twin.choose(
        Blocks.PER_TENSOR,
        Blocks.PER_ROW,
        Blocks.PER_COLUMN,
        Blocks.perGroup(32),
        Blocks.perGroup(128),
        new Blocks(1, 7),
        new Blocks(128, 128),
        new Blocks(3, 5),
        new Blocks(1, 1));
  }

  private static Tensor matrix(Twin twin) {
    return twin.normal(twin.size(), twin.size() * twin.choose(1, 1, 12));
  }

  /** Numbers among which are some that are not ordinary. */
  private static Tensor strange(Twin twin) {
    Tensor x = matrix(twin);
    float[] special = {
      Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, -0f, 1e-40f, 3e38f, 0.5f, -1.5f
    };
    for (int i = 0; i < 4; i++) {
      long row = twin.random().nextLong(x.dim(0));
      long column = twin.random().nextLong(x.dim(1));
      float value = special[twin.random().nextInt(special.length)];
      Ops.fill(x.slice(0, row, row + 1).slice(1, column, column + 1), value);
    }
    return x;
  }

  private static void blockRange(Twin twin) {
    Blocks blocks = blocks(twin);
    twin.same(
        blocks.toString(),
        in -> {
          QuantOps.Range range = QuantOps.blockRange(in[0], blocks);
          return new Tensor[] {range.min(), range.max()};
        },
        strange(twin));
  }

  /** Scales of blocks of x, all positive. */
  private static Tensor scales(Twin twin, Tensor x, Blocks blocks) {
    Shape shape = blocks.scaleShape(x.dim(0), x.dim(1));
    Tensor normal = twin.normal(shape.toArray());
    float unit = twin.choose(0.02f, 0.3f, 1e-30f, 1e20f);
    return Ops.affine(Ops.multiply(normal, normal), unit, unit / 100);
  }

  private static Tensor zeros(Twin twin, Tensor scale) {
    return twin.random().nextBoolean()
        ? null
        : twin.integers(DType.F32, 0, 15, scale.shape().toArray());
  }

  /** Rows that no block of threads holds. */
  private static void quantizeLongRows(Twin twin) {
    long columns = CudaQuantize.MAX_COLUMNS + twin.size();
    Tensor x = twin.normal(3, columns);
    Ops.fill(x.slice(0, 1, 2), 0);
    Ops.fill(x.slice(0, 2, 3).slice(1, columns - 1, columns), Float.NaN);
    quantizeRows(twin, x);
  }

  private static void quantizeRows(Twin twin, Tensor x) {
    DType codes = twin.choose(DType.I8, DType.F8_E4M3);
    twin.same(
        codes.toString(),
        in -> {
          QuantOps.RowCodes rows = QuantOps.quantizeRows(in[0], codes);
          return new Tensor[] {rows.codes(), rows.scale()};
        },
        x);
  }

  private static void quantize(Twin twin) {
    Tensor x = strange(twin);
    Blocks blocks = blocks(twin);
    Tensor scale = scales(twin, x, blocks);
    DType codes = twin.choose(DType.U8, DType.I8, DType.F8_E4M3, DType.F8_E5M2);
    Tensor zero = codes.isFloat() ? null : zeros(twin, scale);
    float high = codes.isFloat() ? 448 : codes == DType.U8 ? 15 : 127;
    float low = codes == DType.U8 ? 0 : -high;
    twin.same(
        codes + " " + blocks,
        in ->
            new Tensor[] {
              QuantOps.quantize(in[0], blocks, in[1], in[2], low, high, codes),
              QuantOps.fakeQuantize(in[0], blocks, in[1], in[2], low, high, codes)
            },
        x,
        scale,
        zero);
  }

  private static void dequantize(Twin twin) {
    DType type = twin.choose(DType.U8, DType.I8, DType.F8_E4M3, DType.F8_E5M2);
    Tensor codes = twin.integers(type, type == DType.U8 ? 0 : -100, 100, twin.size(), twin.size());
    Blocks blocks = blocks(twin);
    Tensor scale = scales(twin, codes, blocks);
    DType out = twin.choose(DType.F32, DType.F16, DType.BF16, DType.F8_E4M3);
    twin.same(
        type + " " + blocks,
        in -> new Tensor[] {QuantOps.dequantize(in[0], blocks, in[1], in[2], out)},
        codes,
        scale,
        zeros(twin, scale));
  }

  private static void quantizationError(Twin twin) {
    Tensor x = matrix(twin);
    Blocks blocks = blocks(twin);
    Tensor scale = scales(twin, x, blocks);
    twin.check(
        blocks.toString(),
        SUM_BOUND,
        in ->
            new Tensor[] {
              QuantOps.quantizationError(in[0], blocks, in[1], in[2], 0, 15, DType.U8),
              QuantOps.quantizationError(in[0], blocks, in[1], null, -448, 448, DType.F8_E4M3)
            },
        x,
        scale,
        zeros(twin, scale));
  }

  private static void pack(Twin twin) {
    int bits = twin.choose(2, 3, 4, 5, 6, 7, 8);
    Tensor codes = twin.integers(DType.U8, 0, (1 << bits) - 1, twin.size(), twin.size());
    twin.same(
        bits + " bits",
        in -> {
          Tensor words = QuantOps.pack(in[0], bits);
          return new Tensor[] {words, QuantOps.unpack(words, bits, in[0].dim(1))};
        },
        codes);
  }

  /** A block of columns inside of a wider matrix, as the solver has it. */
  private static void gptqBlock(Twin twin) {
    long rows = twin.size();
    long columns = twin.choose(1L, 3L, 16L, 17L, 32L, 64L, 100L, 127L, 128L, 128L, 129L, 300L);
    int bits = twin.choose(2, 3, 4, 8);
    float high = (1 << bits) - 1;
    boolean turned = twin.random().nextBoolean();
    Tensor w = twin.normal(rows, columns + 9);
    Tensor mixing = Ops.affine(twin.normal(columns + 5, columns + 3), 0.1f, 0);
    Tensor pivots = Ops.affine(Ops.multiply(mixing, mixing), 1, 0.3f);
    Tensor scale = Ops.affine(twin.normal(rows, columns), 0.02f / high, 4 / high);
    Tensor zero = twin.integers(DType.F32, 0, (int) high, rows, columns);
    Function<Tensor[], Tensor[]> solve =
        in -> {
          Tensor work = Ops.copy(in[0]);
          Tensor upper = Ops.copy(in[1]);
          for (long i = 0; i < columns; i++) {
            Ops.copyInto(
                in[2].slice(0, i, i + 1).slice(1, i, i + 1),
                upper.slice(0, i, i + 1).slice(1, i, i + 1));
          }
          Tensor codes = Ops.full(work.device(), DType.U8, 200, rows, columns + 7);
          Tensor error = Ops.empty(work.device(), DType.F32, rows, columns);
          QuantOps.gptqBlock(
              work.slice(1, 4, columns + 4),
              upper.slice(0, 0, columns).slice(1, 0, columns),
              turned ? Ops.copy(in[3].transpose(0, 1)).transpose(0, 1) : in[3],
              turned ? Ops.copy(in[4].transpose(0, 1)).transpose(0, 1) : in[4],
              high,
              codes.slice(1, 5, columns + 5),
              error);
          return new Tensor[] {codes, error, work};
        };
    twin.same(bits + " bits", solve, w, mixing, pivots, scale, zero);
  }

  private static void packedLinear(Twin twin) {
    int bits = twin.choose(2, 3, 4, 4, 4, 5, 8);
    long outputs = twin.size() * twin.choose(1, 4);
    long inputs = twin.size() * twin.choose(1, 8);
    long group = Math.min(inputs, twin.choose(32L, 64L, 96L, 128L, 128L, 256L, 100L, inputs));
    long groups = Math.ceilDiv(inputs, group);
    DType scaleType = twin.choose(DType.F32, DType.F16, DType.BF16);
    Tensor codes = twin.integers(DType.U8, 0, (1 << bits) - 1, outputs, inputs);
    Tensor scales = Ops.to(Ops.affine(twin.normal(outputs, groups), 0.1f, 0.2f), scaleType);
    boolean zeroPoints = twin.random().nextBoolean();
    Tensor zeros = zeroPoints ? twin.integers(DType.U8, 0, 255, outputs, groups) : null;
    boolean scattered = twin.random().nextInt(6) == 0;
    Tensor index = scattered ? twin.integers(DType.I32, 0, (int) groups - 1, inputs) : null;
    Tensor bias =
        twin.random().nextBoolean()
            ? null
            : twin.normal(twin.choose(DType.F32, DType.BF16), outputs);
    Tensor x =
        twin.normal(twin.choose(1L, 2L, 3L, 4L, 5L, 7L, 16L, 17L, 33L, 70L, 129L, 300L), inputs);
    twin.check(
        "%d bits, groups of %d of %d".formatted(bits, group, inputs),
        x.dim(0) > 128 ? ROUNDED_BOUND : PACKED_BOUND,
        in -> {
          PackedWeight weight = new PackedWeight(bits, inputs, group, in[1], in[2], in[3], in[4]);
          return new Tensor[] {QuantOps.packedLinear(in[0], weight, in[5])};
        },
        x,
        QuantOps.pack(codes, bits),
        scales,
        zeros,
        index,
        bias);
  }
}
