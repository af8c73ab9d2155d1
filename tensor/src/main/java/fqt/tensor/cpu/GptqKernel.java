package fqt.tensor.cpu;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * The column loop of GPTQ. Rows are independent of each other, so a vector holds the same column of
 * as many rows: strips of rows are turned on their side, worked on, and turned back. Each number
 * goes through the operations of the scalar twin in the same order (the update is one fused
 * multiply-add), so codes and errors are equal to the last bit.
 */
final class GptqKernel {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();

  /** Adding and subtracting 1.5 · 2^23 rounds to a whole number, half to even, below 2^22. */
  private static final float ROUND = 12582912f;

  private static final float ROUNDABLE = 4194304f;

  private final int width;
  private final float high;
  private final float[] upper;
  private final Operand w;
  private final Operand scale;
  private final Operand zero;
  private final Tensor values;
  private final Tensor codes;
  private final Tensor error;

  private GptqKernel(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    this.width = Math.toIntExact(w.dim(1));
    this.high = high;
    this.upper = new float[width * width];
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
  }

  static void run(
      Threads threads,
      Tensor w,
      Tensor u,
      Tensor scale,
      Tensor zero,
      float high,
      Tensor codes,
      Tensor error) {
    GptqKernel kernel = new GptqKernel(w, u, scale, zero, high, codes, error);
    threads.forEach(w.dim(0), LANES, (from, to) -> kernel.strip(from, (int) (to - from)));
  }

  private void strip(long row, int rows) {
    float[] x = load(w, row, rows, 0);
    float[] s = load(scale, row, rows, 1);
    float[] z = load(zero, row, rows, 0);
    float[] c = new float[width * LANES];
    float[] e = new float[width * LANES];
    for (int i = 0; i < width; i++) {
      round(i * LANES, upper[i * width + i], high, x, s, z, c, e);
      update(x, e, i, width, upper);
    }
    store(x, row, rows, values);
    store(e, row, rows, error);
    storeCodes(c, row, rows);
  }

  /** One column: code, value and error from what the weight has become. */
  private static void round(
      int at, float pivot, float high, float[] x, float[] s, float[] z, float[] c, float[] e) {
    FloatVector weight = FloatVector.fromArray(SPECIES, x, at);
    FloatVector step = FloatVector.fromArray(SPECIES, s, at);
    FloatVector zero = FloatVector.fromArray(SPECIES, z, at);
    FloatVector ratio = weight.div(step);
    VectorMask<Float> nan = ratio.test(VectorOperators.IS_NAN);
    FloatVector whole = ratio.min(ROUNDABLE).max(-ROUNDABLE).add(ROUND).sub(ROUND).blend(0, nan);
    FloatVector code = whole.add(zero).min(high).max(0);
    FloatVector value = step.mul(code.sub(zero));
    weight.sub(value).div(pivot).intoArray(e, at);
    code.intoArray(c, at);
    value.intoArray(x, at);
  }

  /** Takes the error of column i out of the columns after it. */
  private static void update(float[] x, float[] e, int i, int width, float[] upper) {
    FloatVector error = FloatVector.fromArray(SPECIES, e, i * LANES).neg();
    for (int j = i + 1; j < width; j++) {
      FloatVector rest = FloatVector.fromArray(SPECIES, x, j * LANES);
      error.fma(FloatVector.broadcast(SPECIES, upper[i * width + j]), rest).intoArray(x, j * LANES);
    }
  }

  /** A strip of rows as columns of LANES numbers; absent rows are filled up. */
  private float[] load(Operand from, long row, int rows, float fill) {
    float[] lines = new float[rows * width];
    for (int r = 0; r < rows; r++) {
      from.readInner(row + r, 0, width, lines, r * width);
    }
    float[] turned = new float[width * LANES];
    if (rows < LANES) {
      Arrays.fill(turned, fill);
    }
    Transpose.copy(lines, 0, width, rows, width, turned, 0, LANES);
    return turned;
  }

  private float[] lines(float[] turned) {
    float[] lines = new float[LANES * width];
    Transpose.copy(turned, 0, LANES, width, LANES, lines, 0, width);
    return lines;
  }

  private void store(float[] turned, long row, int rows, Tensor to) {
    float[] lines = lines(turned);
    for (int r = 0; r < rows; r++) {
      long at = to.offset() + (row + r) * to.stride(0);
      FloatRuns.write(lines, r * width, width, to.storage().segment(), at);
    }
  }

  private void storeCodes(float[] turned, long row, int rows) {
    float[] lines = lines(turned);
    byte[] bytes = new byte[width];
    MemorySegment to = codes.storage().segment();
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < width; i++) {
        bytes[i] = (byte) (int) lines[r * width + i];
      }
      long at = codes.offset() + (row + r) * codes.stride(0);
      MemorySegment.copy(bytes, 0, to, Element.BYTE, at, width);
    }
  }
}
