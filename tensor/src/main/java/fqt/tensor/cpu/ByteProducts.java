package fqt.tensor.cpu;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.ByteTerms.Form;
import fqt.tensor.cpu.asm.ScaleKernel;
import fqt.tensor.cpu.asm.TileKernel;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Products of I8 matrices. Sums are exact in I32: by the integer kernel of {@link MachineKernels},
 * or else by F32 products of at most 1024 terms, which are exact too (1024 · 128² = 2^24).
 *
 * <p>The byte dot product of the processor wants one side unsigned. Then 128 is added to x, and
 * what the sums have too much is taken back at the end.
 */
final class ByteProducts {
  private static final int EXACT_TERMS = 1024;
  private static final int GRAIN = 16;
  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;

  private final Threads threads;
  private final TileKernel kernel;
  private final KeptForms kept;
  private final ScaleKernel scale;
  private final Form form;
  private final boolean raised;
  private final long leastRows;
  private final Gemm gemm;
  private final Streaming streaming;
  private final Scratch scratch = new Scratch();

  ByteProducts(Threads threads, KernelChoice kernels) {
    this(threads, kernels, null);
  }

  /** Products that keep packed weights, where {@code kept} is not null. */
  ByteProducts(Threads threads, KernelChoice kernels, KeptForms kept) {
    this.kept = kept;
    this.threads = threads;
    MachineKernels machine = kernels.machine();
    this.kernel = machine == null ? null : machine.bytes();
    this.scale = machine == null ? null : machine.scale();
    this.form =
        kernel == null
            ? Form.FLOATS
            : kernel.kind() == TileKernel.Kind.PAIRS ? Form.PAIRS : Form.QUADS;
    this.raised = form == Form.QUADS && !kernel.kind().isTiled();
    this.streaming = machine == null ? null : new Streaming(threads, machine.dots());
    this.leastRows = Matrices.leastKeptRows(kernel);
    this.gemm = new Gemm(threads, kernel == null ? kernels.panels() : machine.panels(kernel));
  }

  /** {@code out[m][n] = (Σ x[m][k] w[n][k]) * (xScale[m] * wScale[n]) + bias[n]}. */
  void linear(Tensor x, Tensor xScale, Tensor w, Tensor wScale, float[] bias, Tensor out) {
    long m = x.dim(0);
    long n = w.dim(0);
    if (m == 0 || n == 0) {
      return;
    }
    Operand right = kernel == null ? null : new ByteTerms(form, w, n, kernel.termsAtOnce());
    MemorySegment packed =
        kept == null || right == null || m < leastRows ? null : kept.of("int8", w, right, gemm);
    if (streaming != null && packed == null && streaming.servesBytes(m, x.dim(1))) {
      streaming.multiplyBytes(x, floats(xScale, m), w, floats(wScale, n), bias, out);
      return;
    }
    if (kernel == null) {
      exactParts(x, xScale, w, wScale, bias, out);
      return;
    }
    long columns = Math.ceilDiv(n, kernel.columns()) * kernel.columns();
    long size = (m + 2 * columns) * Float.BYTES;
    MemorySegment memory = scratch.take(size);
    MemorySegment rows = memory.asSlice(0, m * Float.BYTES);
    MemorySegment scales = memory.asSlice(m * Float.BYTES, columns * Float.BYTES);
    MemorySegment shifts = memory.asSlice((m + columns) * Float.BYTES, columns * Float.BYTES);
    FloatRuns.write(floats(xScale, m), 0, (int) m, rows, 0);
    FloatRuns.write(floats(wScale, columns), 0, (int) columns, scales, 0);
    if (bias != null) {
      FloatRuns.write(Arrays.copyOf(bias, (int) columns), 0, (int) columns, shifts, 0);
    }
    Scaling scaling = new Scaling(scale, rows, scales, bias == null ? null : shifts);
    gemm.multiply(
        new ByteTerms(raised ? Form.RAISED_QUADS : form, x, m, kernel.termsAtOnce()),
        right,
        packed,
        Result.scaled(out, scaling));
    scratch.give(memory);
  }

  /** Without a kernel of integers. */
  private void exactParts(
      Tensor x, Tensor xScale, Tensor w, Tensor wScale, float[] bias, Tensor out) {
    long rows = x.dim(0);
    long columns = Math.ceilDiv(w.dim(0), GemmKernel.COLUMNS) * GemmKernel.COLUMNS;
    long size = 2 * rows * columns * Integer.BYTES;
    MemorySegment memory = scratch.take(size);
    Tensor both = Tensor.of(memory.asSlice(0, size), DType.F32, Shape.of(2 * rows, columns));
    Tensor sums = both.slice(0, 0, rows);
    addExactParts(x, w, sums, both.slice(0, rows, 2 * rows));
    finish(sums.segment(), floats(xScale, rows), floats(wScale, columns), bias, out);
    scratch.give(memory);
  }

  private static float[] floats(Tensor scales, long length) {
    float[] values = new float[Math.toIntExact(length)];
    int count = (int) scales.count();
    FloatRuns.read(scales.dtype(), scales.storage().segment(), scales.offset(), count, values, 0);
    return values;
  }

  private void finish(
      MemorySegment sums, float[] perRow, float[] perColumn, float[] bias, Tensor out) {
    int columns = (int) out.dim(1);
    long rowBytes = (long) perColumn.length * Integer.BYTES;
    threads.forEach(
        perRow.length,
        GRAIN,
        (from, to) -> {
          float[] line = new float[perColumn.length];
          for (long row = from; row < to; row++) {
            scale(sums, row * rowBytes, perRow[(int) row], perColumn, line);
            shift(line, bias, columns);
            long at = out.offset() + row * columns;
            FloatRuns.write(line, 0, columns, out.storage().segment(), at);
          }
        });
  }

  /** F32 sums of few terms, added up in I32. */
  private void addExactParts(Tensor x, Tensor w, Tensor sums, Tensor part) {
    MemorySegment total = sums.segment();
    MemorySegment exact = part.segment();
    total.fill((byte) 0);
    for (long from = 0; from < x.dim(1); from += EXACT_TERMS) {
      long to = Math.min(from + EXACT_TERMS, x.dim(1));
      gemm.multiply(
          new ByteTerms(Form.FLOATS, x.slice(1, from, to), sums.dim(0)),
          new ByteTerms(Form.FLOATS, w.slice(1, from, to), sums.dim(1)),
          Result.of(part, 1, 0, null, false));
      threads.forEach(
          sums.dim(0), GRAIN, (first, end) -> add(total, exact, first, end, sums.dim(1)));
    }
  }

  private static void add(
      MemorySegment total, MemorySegment exact, long first, long end, long width) {
    for (long i = first * width; i < end * width; i += INTS.length()) {
      FloatVector part =
          FloatVector.fromMemorySegment(FLOATS, exact, i * Float.BYTES, LITTLE_ENDIAN);
      IntVector.fromMemorySegment(INTS, total, i * Integer.BYTES, LITTLE_ENDIAN)
          .add(part.convert(VectorOperators.F2I, 0).reinterpretAsInts())
          .intoMemorySegment(total, i * Integer.BYTES, LITTLE_ENDIAN);
    }
  }

  /** One row of sums times the scales. */
  private static void scale(
      MemorySegment sums, long at, float rowScale, float[] perColumn, float[] line) {
    for (int n = 0; n < line.length; n += INTS.length()) {
      long byteAt = (long) n * Integer.BYTES;
      IntVector sum = IntVector.fromMemorySegment(INTS, sums, at + byteAt, LITTLE_ENDIAN);
      FloatVector scale = FloatVector.fromArray(FLOATS, perColumn, n).mul(rowScale);
      sum.convert(VectorOperators.I2F, 0).reinterpretAsFloats().mul(scale).intoArray(line, n);
    }
  }

  private static void shift(float[] line, float[] bias, int count) {
    for (int n = 0; bias != null && n < count; n++) {
      line[n] += bias[n];
    }
  }
}
