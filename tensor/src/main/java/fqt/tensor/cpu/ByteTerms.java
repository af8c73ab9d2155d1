package fqt.tensor.cpu;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.SpreadKernel;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * A matrix of I8 as terms of four bytes: one number as f32, or, for the integer kernels, two
 * numbers widened to i16, four as they are, or four plus 128 where the kernel wants them unsigned.
 * Integers travel through the packing code in the guise of floats, which only ever moves them.
 *
 * <p>Rows beyond the last, and numbers that fill up the last term, are zeros.
 */
final class ByteTerms implements Operand {
  /** What a term is made of. */
  enum Form {
    /** One number as f32. */
    FLOATS(1),
    /** Two numbers as i16. */
    PAIRS(2),
    /** Four numbers. */
    QUADS(4),
    /** Four numbers plus 128. */
    RAISED_QUADS(4);

    final int numbers;

    Form(int numbers) {
      this.numbers = numbers;
    }
  }

  private static final VectorSpecies<Byte> BYTES = ByteVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Byte> HALF =
      VectorSpecies.of(byte.class, VectorShape.forBitSize(BYTES.vectorBitSize() / 2));

  private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Short> SHORTS = BYTES.withLanes(short.class);

  /** Pairs that {@link SpreadKernel} makes at a time. */
  static final int PAIRS_OF_A_BLOCK = SpreadKernel.BLOCK / Form.PAIRS.numbers;

  private final Form form;
  private final MemorySegment bytes;
  private final long offset;
  private final long stride;
  private final long rows;
  private final long columns;
  private final long paddedRows;
  private final long inner;

  /** Views a matrix of I8 with unit column stride as if it had {@code paddedRows} rows. */
  ByteTerms(Form form, Tensor x, long paddedRows) {
    this(form, x, paddedRows, 1);
  }

  /** The same with its terms filled up to a multiple. */
  ByteTerms(Form form, Tensor x, long paddedRows, int multiple) {
    this.form = form;
    this.bytes = x.storage().segment();
    this.offset = x.offset();
    this.stride = x.stride(0);
    this.rows = x.dim(0);
    this.columns = x.dim(1);
    this.paddedRows = paddedRows;
    this.inner = Math.ceilDiv(Math.ceilDiv(columns, form.numbers), multiple) * multiple;
  }

  @Override
  public long outer() {
    return paddedRows;
  }

  @Override
  public long inner() {
    return inner;
  }

  @Override
  public Raw raw() {
    return form == Form.QUADS ? new Raw(bytes, offset, stride, rows, columns / 4) : null;
  }

  /** Whether terms are two numbers as i16. */
  boolean isPairs() {
    return form == Form.PAIRS;
  }

  /** Terms of a row that are made of numbers only. */
  long wholeTerms() {
    return columns / form.numbers;
  }

  /** The address of the first number of a term; the caller keeps the memory alive. */
  long address(long row, long term) {
    return bytes.address() + offset + row * stride + term * form.numbers;
  }

  /** Distance of two rows, in bytes. */
  long stride() {
    return stride;
  }

  @Override
  public boolean outerIsDense() {
    return false;
  }

  @Override
  public void readOuter(long from, long inner, int count, float[] to, int at) {
    for (int i = 0; i < count; i++) {
      readInner(from + i, inner, 1, to, at + i);
    }
  }

  @Override
  public void readInner(long row, long from, int count, float[] to, int at) {
    long start = offset + row * stride + from * form.numbers;
    int whole = row < rows ? (int) Math.min(count, columns / form.numbers - from) : 0;
    int done =
        switch (form) {
          case FLOATS -> floats(start, whole, to, at);
          case PAIRS -> pairs(start, whole, to, at);
          case QUADS, RAISED_QUADS -> quads(start, whole, to, at);
        };
    for (; done < count; done++) {
      to[at + done] = term(row, from + done);
    }
  }

  private int floats(long start, int terms, float[] to, int at) {
    int done = 0;
    for (; done + Lanes.LENGTH <= terms; done += Lanes.LENGTH) {
      Lanes.loadBytes(bytes, start + done)
          .convert(VectorOperators.I2F, 0)
          .reinterpretAsFloats()
          .intoArray(to, at + done);
    }
    return done;
  }

  private int pairs(long start, int terms, float[] to, int at) {
    int step = INTS.length();
    int done = 0;
    for (; done + step <= terms; done += step) {
      ByteVector.fromMemorySegment(HALF, bytes, start + 2L * done, LITTLE_ENDIAN)
          .castShape(SHORTS, 0)
          .reinterpretAsFloats()
          .intoArray(to, at + done);
    }
    return done;
  }

  private int quads(long start, int terms, float[] to, int at) {
    byte flip = (byte) (form == Form.RAISED_QUADS ? 0x80 : 0);
    int step = INTS.length();
    int done = 0;
    for (; done + step <= terms; done += step) {
      ByteVector.fromMemorySegment(BYTES, bytes, start + 4L * done, LITTLE_ENDIAN)
          .lanewise(VectorOperators.XOR, flip)
          .reinterpretAsFloats()
          .intoArray(to, at + done);
    }
    return done;
  }

  /** One term, number by number. */
  private float term(long row, long index) {
    int bits = 0;
    for (int i = 0; i < form.numbers; i++) {
      long column = index * form.numbers + i;
      boolean inside = row < rows && column < columns;
      int value = inside ? bytes.get(Element.BYTE, offset + row * stride + column) : 0;
      switch (form) {
        case FLOATS -> {
          return value;
        }
        case PAIRS -> bits |= (value & 0xffff) << 16 * i;
        case QUADS -> bits |= (value & 0xff) << 8 * i;
        case RAISED_QUADS -> bits |= (value + 128 & 0xff) << 8 * i;
      }
    }
    return Float.intBitsToFloat(bits);
  }
}
