package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.TileKernel;
import java.lang.foreign.MemorySegment;

/** The matrix products of the CPU backend; each picks the kernel that suits its shape. */
final class Matrices {
  private static final int FEW_ROWS_OF_TILES = 5;

  private final Threads threads;
  private final Gemm gemm;
  private final TileKernel pairs;
  private final Gemm bf16;
  private final Streaming streaming;
  private final FewRows fewRows;
  private final PackedProducts packed;
  private final KeptForms kept;

  /** Products with the kernels of a choice that keep no packed weights. */
  Matrices(Threads threads, KernelChoice kernels) {
    this(threads, kernels, null);
  }

  /** Products that keep packed weights, where {@code kept} is not null. */
  Matrices(Threads threads, KernelChoice kernels, KeptForms kept) {
    MachineKernels machine = kernels.machine();
    this.kept = machine == null ? null : kept;
    this.threads = threads;
    this.gemm = new Gemm(threads, kernels.panels());
    this.pairs = machine == null ? null : machine.pairs();
    this.bf16 = pairs == null ? null : new Gemm(threads, machine.panels(pairs));
    this.streaming = machine == null ? null : new Streaming(threads, machine.dots());
    this.fewRows = machine == null ? null : new FewRows(threads, machine);
    this.packed = machine == null ? null : new PackedProducts(threads, machine.dots());
  }

  /** {@code out = alpha * a b + beta * out}. */
  void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    multiply(Operand.left(a), Operand.right(b), null, Result.of(out, alpha, beta, null, false));
  }

  /** {@code out = x wᵀ + bias}. */
  void linear(Tensor x, Tensor w, Tensor bias, Tensor out) {
    multiply(Operand.left(x), Operand.left(w), w, Result.of(out, 1, 0, floats(bias), false));
  }

  /** {@code out = x wᵀ + bias}, w unpacked on its way into the packed block. */
  void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out) {
    Operand.Strided left = Operand.left(x);
    Result result = Result.of(out, 1, 0, floats(bias), false);
    boolean done =
        packed != null && PackedProducts.serves(left, w) && packed.multiply(left, w, result);
    if (!done) {
      multiply(left, new PackedRows(w), w.codes(), result);
    }
  }

  /** The weight is where b comes from, if it may be kept packed, or null. */
  private void multiply(Operand a, Operand b, Tensor weight, Result out) {
    if (fewRows != null && fewRows.serves(a, b, out)) {
      MemorySegment packed = packed("f32", weight, b, gemm);
      if (packed == null) {
        fewRows.multiply(a, b, out);
      } else {
        gemm.multiply(a, b, packed, out);
      }
    } else if (streaming != null && streaming.serves(a, b)) {
      MemorySegment packed = fewByTiles(a, b, out) ? packedPairs(weight, b) : null;
      if (packed != null) {
        bf16.multiply(Bf16Terms.of(a, pairs.termsAtOnce()), pairs(b), packed, out);
        return;
      }
      streaming.multiply(a, (Operand.Strided) b, out);
    } else if (a.outer() <= Skinny.MOST_ROWS && !b.outerIsDense()) {
      Skinny.multiply(threads, a, b, out);
    } else if (pairs != null && out.alpha() == 1 && Bf16Terms.fits(a) && Bf16Terms.fits(b)) {
      bf16.multiply(Bf16Terms.of(a, pairs.termsAtOnce()), pairs(b), packedPairs(weight, b), out);
    } else {
      gemm.multiply(a, b, packed("f32", weight, b, gemm), out);
    }
  }

  /**
   * Rows from which on a weight that is kept packed is multiplied as for many rows, by AMX: its
   * strips lie in the order of reading, and no sum waits for the one before.
   */
  static int leastKeptRows(TileKernel kernel) {
    return kernel != null && kernel.kind().isTiled() ? FEW_ROWS_OF_TILES : Streaming.MOST_ROWS + 1;
  }

  /** Whether a few rows may go through the tiles of many: only where that gives the same bits. */
  private boolean fewByTiles(Operand a, Operand b, Result out) {
    return pairs != null
        && a.outer() >= leastKeptRows(pairs)
        && a.inner() % (2L * pairs.termsAtOnce()) == 0
        && out.isPlain()
        && Bf16Terms.fits(a)
        && Bf16Terms.fits(b);
  }

  private Operand pairs(Operand b) {
    return Bf16Terms.of(b, pairs.termsAtOnce());
  }

  private MemorySegment packedPairs(Tensor weight, Operand b) {
    return packed("bf16", weight, pairs(b), bf16);
  }

  private MemorySegment packed(String form, Tensor weight, Operand right, Gemm gemm) {
    return kept == null || weight == null ? null : kept.of(form, weight, right, gemm);
  }

  /** {@code out = alpha * xᵀ x + beta * out}: the lower triangle is computed, then mirrored. */
  void syrk(float alpha, Tensor x, float beta, Tensor out) {
    lowerSyrk(alpha, x.transpose(0, 1), beta, out);
    mirror(out);
  }

  /** {@code out = alpha * a aᵀ + beta * out} below and on the diagonal; above it is undefined. */
  void lowerSyrk(float alpha, Tensor a, float beta, Tensor out) {
    gemm.multiply(Operand.left(a), Operand.left(a), Result.of(out, alpha, beta, null, true));
  }

  /**
   * {@code panel = panel fᵀ} for a square f. Safe in place because f is no wider than one pass of
   * {@link Gemm}, which packs the rows that it is about to overwrite.
   */
  void timesTransposeInPlace(Tensor panel, Tensor f) {
    gemm.multiply(Operand.left(panel), Operand.left(f), Result.of(panel, 1, 0, null, false));
  }

  /** {@code out = alpha * triangle b}. */
  void timesTriangle(float alpha, Tensor triangle, Gemm.Shape shape, Tensor b, Tensor out) {
    Result result = Result.of(out, alpha, 0, null, false);
    gemm.multiply(Operand.left(triangle), shape, Operand.right(b), null, result);
  }

  /** Copies what is below the diagonal to its place above it. */
  void mirror(Tensor out) {
    int block = 64;
    long size = out.dim(0);
    threads.forEach(
        size,
        block,
        (from, to) -> {
          float[] rows = new float[block * block];
          float[] turned = new float[block * block];
          for (long column = 0; column < to; column += block) {
            mirrorBlock(out, from, (int) (to - from), column, block, rows, turned);
          }
        });
  }

  /** Copies the part below the diagonal of one block of rows to its place above the diagonal. */
  private static void mirrorBlock(
      Tensor out, long row, int rows, long column, int block, float[] buffer, float[] turned) {
    Operand lower = Operand.left(out);
    int columns = (int) Math.min(block, out.dim(0) - column);
    for (int r = 0; r < rows; r++) {
      lower.readInner(row + r, column, columns, buffer, r * block);
    }
    Transpose.copy(buffer, 0, block, rows, columns, turned, 0, block);
    for (int c = 0; c < columns; c++) {
      long above = row + rows - Math.max(row, column + c + 1);
      if (above > 0) {
        int skip = (int) (rows - above);
        FloatRuns.write(
            turned,
            c * block + skip,
            (int) above,
            out.storage().segment(),
            out.offset() + (column + c) * out.stride(0) + row + skip);
      }
    }
  }

  /** A bias of any float type and stride, or null, as F32. */
  static float[] floats(Tensor bias) {
    if (bias == null) {
      return null;
    }
    float[] values = new float[Math.toIntExact(bias.count())];
    if (bias.dtype() == DType.F32 && bias.stride(0) == 1) {
      FloatRuns.read(DType.F32, bias.storage().segment(), bias.offset(), values.length, values, 0);
      return values;
    }
    FloatRuns.readStrided(
        bias.dtype(),
        bias.storage().segment(),
        bias.offset(),
        bias.stride(0),
        values.length,
        values,
        0);
    return values;
  }
}
