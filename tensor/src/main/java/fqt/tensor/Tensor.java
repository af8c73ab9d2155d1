package fqt.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * A view of {@link Storage}: a data type, a shape, strides and an offset, all in elements. Data and
 * views only; what can be computed is in {@link Ops}. Views share their storage, and with it their
 * lifetime. Elements are little-endian.
 */
public final class Tensor {
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final DType dtype;
  private final Shape shape;
  private final long[] strides;
  private final long offset;
  private final Storage storage;

  private Tensor(DType dtype, Shape shape, long[] strides, long offset, Storage storage) {
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.storage = storage;
  }

  /**
   * {@return a contiguous tensor over the first bytes of a storage}
   *
   * @param storage holds at least as many bytes as the elements take
   * @param dtype type of the elements
   * @param shape any shape
   * @throws IllegalArgumentException if the storage is too small
   */
  public static Tensor of(Storage storage, DType dtype, Shape shape) {
    long needed = Math.multiplyExact(shape.count(), (long) dtype.byteSize());
    if (storage.byteSize() < needed) {
      throw new IllegalArgumentException(
          "%s %s needs %d bytes, the storage has %d"
              .formatted(dtype, shape, needed, storage.byteSize()));
    }
    return new Tensor(dtype, shape, shape.contiguousStrides(), 0, storage);
  }

  /**
   * {@return a contiguous tensor over host memory that somebody else owns, such as a mapped file}
   *
   * @param segment stays alive as long as the tensor is used
   * @param dtype type of the elements
   * @param shape any shape
   * @throws IllegalArgumentException if the segment is too small
   */
  public static Tensor of(MemorySegment segment, DType dtype, Shape shape) {
    return of(new BorrowedStorage(segment), dtype, shape);
  }

  /**
   * {@return a strided view of host memory that somebody else owns}
   *
   * @param segment stays alive as long as the tensor is used
   * @param dtype type of the elements
   * @param shape any shape
   * @param strides step along each dimension, in elements, not negative
   * @param offset position of the first element, in elements
   * @throws IllegalArgumentException if an element would lie outside of the segment
   */
  public static Tensor strided(
      MemorySegment segment, DType dtype, Shape shape, long[] strides, long offset) {
    boolean isEmpty = shape.count() == 0;
    boolean fits = strides.length == shape.rank() && offset >= 0;
    long room = segment.byteSize() / dtype.byteSize() - Math.max(0, offset) - (isEmpty ? 0 : 1);
    for (int i = 0; fits && i < strides.length; i++) {
      long steps = isEmpty ? 0 : shape.dim(i) - 1;
      fits = strides[i] >= 0 && (steps == 0 || strides[i] <= room / steps);
      room -= fits ? steps * strides[i] : 0;
    }
    if (!fits || room < 0) {
      throw new IllegalArgumentException(
          "%s%s with strides %s from element %d leaves its storage of %d bytes"
              .formatted(dtype, shape, Arrays.toString(strides), offset, segment.byteSize()));
    }
    return new Tensor(dtype, shape, strides.clone(), offset, new BorrowedStorage(segment));
  }

  /** {@return the type of the elements} */
  public DType dtype() {
    return dtype;
  }

  /** {@return the sizes of the dimensions} */
  public Shape shape() {
    return shape;
  }

  /** {@return the number of dimensions} */
  public int rank() {
    return shape.rank();
  }

  /**
   * {@return the size of one dimension; negative indices count from the last}
   *
   * @param index from 0, or from −1 backwards
   */
  public long dim(int index) {
    return shape.dim(index);
  }

  /** {@return the number of elements} */
  public long count() {
    return shape.count();
  }

  /**
   * {@return the step, in elements, along one dimension; negative indices count from the last}
   *
   * @param index from 0, or from −1 backwards
   */
  public long stride(int index) {
    return strides[shape.axis(index)];
  }

  /** {@return the position of the first element, in elements from the start of the storage} */
  public long offset() {
    return offset;
  }

  /** {@return the bytes that the elements take} */
  public long byteSize() {
    return count() * dtype.byteSize();
  }

  /** {@return where the tensor lives} */
  public Device device() {
    return storage.device();
  }

  /** {@return the bytes that this tensor is a view of} */
  public Storage storage() {
    return storage;
  }

  /** {@return whether the elements follow each other in row-major order without gaps} */
  public boolean isContiguous() {
    long step = 1;
    for (int i = shape.rank() - 1; i >= 0; i--) {
      if (shape.dim(i) != 1 && strides[i] != step) {
        return false;
      }
      step *= shape.dim(i);
    }
    return true;
  }

  /**
   * {@return the bytes of a contiguous host tensor, exactly {@link #byteSize()} of them}
   *
   * @throws IllegalStateException if the tensor is strided, was released or is on another device
   */
  public MemorySegment segment() {
    if (!isContiguous()) {
      throw new IllegalStateException(
          this
              + " with strides "
              + Arrays.toString(strides)
              + " is not contiguous; copy it with Ops.contiguous");
    }
    return storage.segment().asSlice(offset * dtype.byteSize(), byteSize());
  }

  /**
   * {@return the same elements in another shape; one size may be −1 and is then computed}
   *
   * @param dims the new shape, of as many elements
   * @throws IllegalArgumentException if the element counts differ
   * @throws IllegalStateException if the tensor is not contiguous
   */
  public Tensor reshape(long... dims) {
    if (!isContiguous()) {
      throw new IllegalStateException(
          this + " is strided and has no reshaped view; copy it with Ops.contiguous first");
    }
    Shape wanted = infer(dims);
    return new Tensor(dtype, wanted, wanted.contiguousStrides(), offset, storage);
  }

  private Shape infer(long[] dims) {
    long[] sizes = dims.clone();
    int open = -1;
    long known = 1;
    for (int i = 0; i < sizes.length; i++) {
      if (sizes[i] == -1 && open < 0) {
        open = i;
      } else {
        known *= sizes[i];
      }
    }
    if (open >= 0 && known > 0) {
      sizes[open] = count() / known;
    }
    if (open >= 0 && known <= 0 || Shape.of(sizes).count() != count()) {
      throw new IllegalArgumentException(
          "cannot view " + this + " (" + count() + " elements) as " + Arrays.toString(dims));
    }
    return Shape.of(sizes);
  }

  /**
   * {@return a view with two dimensions exchanged}
   *
   * @param first one dimension; negative indices count from the last
   * @param second the other
   */
  public Tensor transpose(int first, int second) {
    int a = shape.axis(first);
    int b = shape.axis(second);
    long[] dims = shape.toArray();
    long[] steps = strides.clone();
    dims[a] = shape.dim(b);
    dims[b] = shape.dim(a);
    steps[a] = strides[b];
    steps[b] = strides[a];
    return new Tensor(dtype, Shape.of(dims), steps, offset, storage);
  }

  /**
   * {@return a view of the indices {@code from} (inclusive) to {@code to} (exclusive) of one
   * dimension}
   *
   * @param dimension which one; negative indices count from the last
   * @param from first index
   * @param to index behind the last
   * @throws IndexOutOfBoundsException unless 0 ≤ from ≤ to ≤ size
   */
  public Tensor slice(int dimension, long from, long to) {
    int axis = shape.axis(dimension);
    if (from < 0 || from > to || to > shape.dim(axis)) {
      throw new IndexOutOfBoundsException(
          "slice %d to %d of dimension %d of %s".formatted(from, to, axis, this));
    }
    return new Tensor(
        dtype, shape.with(axis, to - from), strides, offset + from * strides[axis], storage);
  }

  /**
   * {@return a view of one index of one dimension, which disappears}
   *
   * @param dimension which one; negative indices count from the last
   * @param index where to cut, from 0
   * @throws IndexOutOfBoundsException unless 0 ≤ index &lt; size
   */
  public Tensor select(int dimension, long index) {
    int axis = shape.axis(dimension);
    if (index < 0 || index >= shape.dim(axis)) {
      throw new IndexOutOfBoundsException(
          "index %d of dimension %d of %s".formatted(index, axis, this));
    }
    long[] dims = new long[rank() - 1];
    long[] steps = new long[rank() - 1];
    for (int i = 0, j = 0; i < rank(); i++) {
      if (i != axis) {
        dims[j] = shape.dim(i);
        steps[j++] = strides[i];
      }
    }
    return new Tensor(dtype, Shape.of(dims), steps, offset + index * strides[axis], storage);
  }

  /** {@return a view of the elements [i, i] of a matrix, as many as its shorter side has} */
  public Tensor diagonal() {
    if (rank() != 2) {
      throw new IllegalStateException(this + " has no diagonal; only a matrix has one");
    }
    long[] dims = {Math.min(dim(0), dim(1))};
    return new Tensor(dtype, Shape.of(dims), new long[] {strides[0] + strides[1]}, offset, storage);
  }

  /**
   * {@return the same bytes read as another type of the same size, such as I8 for F8_E4M3}
   *
   * @param other the type to read
   * @throws IllegalArgumentException if the sizes differ
   */
  public Tensor bitcast(DType other) {
    if (other.byteSize() != dtype.byteSize()) {
      throw new IllegalArgumentException(
          "cannot read %s as %s: %d bytes an element against %d"
              .formatted(this, other, dtype.byteSize(), other.byteSize()));
    }
    return new Tensor(other, shape, strides, offset, storage);
  }

  /**
   * {@return one element of a host tensor, converted exactly; for tests and single values, not for
   * loops}
   *
   * @param index one for each dimension, from 0
   * @throws IndexOutOfBoundsException if an index is outside its dimension
   */
  public double get(long... index) {
    MemorySegment bytes = storage.segment();
    long at = (offset + position(index)) * dtype.byteSize();
    return switch (dtype) {
      case F32 -> bytes.get(FLOAT, at);
      case F16 -> Float.float16ToFloat(bytes.get(SHORT, at));
      case BF16 -> Float.intBitsToFloat(bytes.get(SHORT, at) << 16);
      case F8_E4M3 -> Float8.e4m3ToFloat(bytes.get(ValueLayout.JAVA_BYTE, at));
      case F8_E5M2 -> Float8.e5m2ToFloat(bytes.get(ValueLayout.JAVA_BYTE, at));
      case I64 -> bytes.get(LONG, at);
      case I32 -> bytes.get(INT, at);
      case I16 -> bytes.get(SHORT, at);
      case I8 -> bytes.get(ValueLayout.JAVA_BYTE, at);
      case U8, BOOL -> Byte.toUnsignedInt(bytes.get(ValueLayout.JAVA_BYTE, at));
    };
  }

  /**
   * {@return one element of a contiguous or strided I64, I32, I16, I8, U8 or BOOL host tensor}
   *
   * @param index one for each dimension, from 0
   * @throws IllegalStateException if the tensor holds floating-point numbers
   */
  public long getLong(long... index) {
    if (dtype == DType.I64) {
      return storage.segment().get(LONG, (offset + position(index)) * Long.BYTES);
    }
    if (dtype.isFloat()) {
      throw new IllegalStateException(this + " holds floating-point numbers, not integers");
    }
    return (long) get(index);
  }

  private long position(long[] index) {
    if (index.length != rank()) {
      throw new IndexOutOfBoundsException(index.length + " indices into " + this);
    }
    long at = 0;
    for (int i = 0; i < index.length; i++) {
      if (index[i] < 0 || index[i] >= shape.dim(i)) {
        throw new IndexOutOfBoundsException("index " + Arrays.toString(index) + " into " + this);
      }
      at += index[i] * strides[i];
    }
    return at;
  }

  /** {@return the elements of a contiguous F32 or F16, BF16, F8 host tensor as a fresh array} */
  public float[] toFloats() {
    float[] values = new float[Math.toIntExact(count())];
    if (dtype == DType.F32) {
      MemorySegment.copy(segment(), FLOAT, 0, values, 0, values.length);
      return values;
    }
    Tensor flat = reshape(-1);
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) flat.get(i);
    }
    return values;
  }

  /** {@return the elements of a contiguous integer host tensor as a fresh array} */
  public long[] toLongs() {
    long[] values = new long[Math.toIntExact(count())];
    Tensor flat = reshape(-1);
    for (int i = 0; i < values.length; i++) {
      values[i] = flat.getLong(i);
    }
    return values;
  }

  /** Type, shape and device; never the elements. */
  @Override
  public String toString() {
    return dtype + shape.toString() + (device().isHost() ? "" : "@" + device());
  }
}
