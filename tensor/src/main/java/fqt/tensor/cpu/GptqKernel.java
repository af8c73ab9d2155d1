package fqt.tensor.cpu;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * The column loop of GPTQ. Rows are independent of each other, so a vector holds the same column of
 * as many rows: strips of rows are turned on their side, worked on, and turned back. A strip is
 * some vectors wide, because each waits long for its two divisions. The errors of {@link #BLOCK}
 * columns are taken out of the columns behind them together, which loads and stores those once.
 *
 * <p>Each number goes through the operations of the scalar twin in the same order (an update is one
 * fused multiply-add), so codes and errors are equal to the last bit.
 */
final class GptqKernel {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();

  /** Rows that are worked on together. */
  private static final int STRIP = 4 * LANES;

  /** Columns whose errors are taken out together. */
  private static final int BLOCK = 4;

  /** Adding and subtracting 1.5 · 2^23 rounds to a whole number, half to even, below 2^22. */
  private static final float ROUND = 12582912f;

  private static final float ROUNDABLE = 4194304f;

  private final int width;
  private final float high;
  private final float[] upper;
  private final float[] byBlock;
  private final Operand w;
  private final Operand scale;
  private final Operand zero;
  private final Tensor values;
  private final Tensor codes;
  private final Tensor error;

  GptqKernel(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    this.width = Math.toIntExact(w.dim(1));
    this.high = high;
    this.upper = new float[width * width];
    this.byBlock = new float[width * width];
    this.w = Operand.left(w);
    this.scale = Operand.left(scale);
    this.zero = Operand.left(zero);
    this.values = w;
    this.codes = codes;
    this.error = error;
    Operand rows = Operand.left(u);
    for (int i = 0; i < width; i++) {
      rows.readInner(i, 0, width, upper, i * width);
    }
    int blocked = width / BLOCK * BLOCK;
    for (int i = 0; i < blocked; i++) {
      int at = i / BLOCK * BLOCK * width + i % BLOCK;
      for (int j = 0; j < width; j++) {
        byBlock[at + j * BLOCK] = upper[i * width + j];
      }
    }
  }

  static void run(
      Threads threads,
      RowKernels machine,
      Tensor w,
      Tensor u,
      Tensor scale,
      Tensor zero,
      float high,
      Tensor codes,
      Tensor error) {
    if (machine != null) {
      new MachineGptq(machine, w, u, scale, zero, high, codes, error).run(threads);
      return;
    }
    GptqKernel kernel = new GptqKernel(w, u, scale, zero, high, codes, error);
    threads.forEach(w.dim(0), STRIP, (from, to) -> kernel.rows(from, to));
  }

  /** Works on some rows. */
  void rows(long from, long to) {
    Strip strip = new Strip();
    for (long row = from; row < to; row += STRIP) {
      strip.run(row, (int) Math.min(STRIP, to - row));
    }
  }

  /** Some rows on their side: {@code STRIP} numbers to each column. */
  private final class Strip {
    private final float[] x = new float[width * STRIP];
    private final float[] s = new float[width * STRIP];
    private final float[] z = new float[width * STRIP];
    private final float[] c = new float[width * STRIP];
    private final float[] e = new float[width * STRIP];
    private final float[] lines = new float[width * STRIP];

    void run(long row, int rows) {
      load(w, row, rows, 0, x);
      load(scale, row, rows, 1, s);
      load(zero, row, rows, 0, z);
      for (int first = 0; first < width; first += BLOCK) {
        int end = Math.min(first + BLOCK, width);
        for (int i = first; i < end; i++) {
          round(i * STRIP, upper[i * width + i], high, x, s, z, c, e);
          update(x, e, i, end, width, upper);
        }
        if (end < width) {
          for (int lane = 0; lane < STRIP; lane += LANES) {
            updateRest(x, e, first, lane, width, byBlock);
          }
        }
      }
      store(x, row, rows, values);
      store(e, row, rows, error);
      storeCodes(row, rows);
    }

    /** Absent rows are filled up. */
    private void load(Operand from, long row, int rows, float fill, float[] turned) {
      if (from.outerIsDense()) {
        for (int i = 0; i < width; i++) {
          from.readOuter(row, i, rows, turned, i * STRIP);
          Arrays.fill(turned, i * STRIP + rows, (i + 1) * STRIP, fill);
        }
        return;
      }
      for (int r = 0; r < rows; r++) {
        from.readInner(row + r, 0, width, lines, r * width);
      }
      if (rows < STRIP) {
        Arrays.fill(turned, fill);
      }
      Transpose.copy(lines, 0, width, rows, width, turned, 0, STRIP);
    }

    private void store(float[] turned, long row, int rows, Tensor to) {
      Transpose.copy(turned, 0, STRIP, width, STRIP, lines, 0, width);
      for (int r = 0; r < rows; r++) {
        long at = to.offset() + (row + r) * to.stride(0);
        FloatRuns.write(lines, r * width, width, to.storage().segment(), at);
      }
    }

    private void storeCodes(long row, int rows) {
      Transpose.copy(c, 0, STRIP, width, STRIP, lines, 0, width);
      for (int r = 0; r < rows; r++) {
        long at = codes.offset() + (row + r) * codes.stride(0);
        writeBytes(lines, r * width, width, codes.storage().segment(), at);
      }
    }
  }

  private static void writeBytes(float[] from, int start, int n, MemorySegment to, long at) {
    int i = 0;
    for (; i <= n - LANES; i += LANES) {
      FloatVector whole = FloatVector.fromArray(SPECIES, from, start + i);
      IntVector code = (IntVector) whole.convertShape(VectorOperators.F2I, Lanes.I, 0);
      Lanes.storeBytes(code, to, at + i);
    }
    for (; i < n; i++) {
      to.set(Element.BYTE, at + i, (byte) (int) from[start + i]);
    }
  }

  /** One column: codes, values and errors from what the weights have become. */
  private static void round(
      int at, float pivot, float high, float[] x, float[] s, float[] z, float[] c, float[] e) {
    for (int i = at; i < at + STRIP; i += LANES) {
      FloatVector weight = FloatVector.fromArray(SPECIES, x, i);
      FloatVector step = FloatVector.fromArray(SPECIES, s, i);
      FloatVector zero = FloatVector.fromArray(SPECIES, z, i);
      FloatVector code = nearest(weight.div(step)).add(zero);
      code = code.blend(high, code.compare(VectorOperators.GT, high));
      code = code.blend(0, code.lt(0f));
      FloatVector value = step.mul(code.sub(zero));
      weight.sub(value).div(pivot).intoArray(e, i);
      code.intoArray(c, i);
      value.intoArray(x, i);
    }
  }

  /** The nearest whole number, or where the search for it ends; 0 for NaN. */
  private static FloatVector nearest(FloatVector ratio) {
    FloatVector bounded = ratio.blend(ROUNDABLE, ratio.compare(VectorOperators.GT, ROUNDABLE));
    bounded = bounded.blend(-ROUNDABLE, ratio.lt(-ROUNDABLE));
    VectorMask<Float> nan = ratio.compare(VectorOperators.NE, ratio);
    return bounded.add(ROUND).sub(ROUND).blend(0, nan);
  }

  /** Takes the errors of column i out of the columns after it, before {@code end}. */
  private static void update(float[] x, float[] e, int i, int end, int width, float[] upper) {
    for (int j = i + 1; j < end; j++) {
      FloatVector factor = FloatVector.broadcast(SPECIES, upper[i * width + j]);
      for (int lane = 0; lane < STRIP; lane += LANES) {
        int at = j * STRIP + lane;
        FloatVector error = FloatVector.fromArray(SPECIES, e, i * STRIP + lane).neg();
        error.fma(factor, FloatVector.fromArray(SPECIES, x, at)).intoArray(x, at);
      }
    }
  }

  /** Takes the errors of a block of columns out of those behind it, one vector of rows. */
  private static void updateRest(
      float[] x, float[] e, int first, int lane, int width, float[] byBlock) {
    int at = first * STRIP + lane;
    FloatVector e0 = FloatVector.fromArray(SPECIES, e, at).neg();
    FloatVector e1 = FloatVector.fromArray(SPECIES, e, at + STRIP).neg();
    FloatVector e2 = FloatVector.fromArray(SPECIES, e, at + 2 * STRIP).neg();
    FloatVector e3 = FloatVector.fromArray(SPECIES, e, at + 3 * STRIP).neg();
    int block = first * width;
    for (int j = first + BLOCK; j < width; j++) {
      int u = block + j * BLOCK;
      FloatVector rest = FloatVector.fromArray(SPECIES, x, j * STRIP + lane);
      rest = e0.fma(FloatVector.broadcast(SPECIES, byBlock[u]), rest);
      rest = e1.fma(FloatVector.broadcast(SPECIES, byBlock[u + 1]), rest);
      rest = e2.fma(FloatVector.broadcast(SPECIES, byBlock[u + 2]), rest);
      rest = e3.fma(FloatVector.broadcast(SPECIES, byBlock[u + 3]), rest);
      rest.intoArray(x, j * STRIP + lane);
    }
  }
}
