package fqt.tensor.cpu;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import fqt.tensor.PackedWeight;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Reads a {@link PackedWeight} as the right-hand side of {@code x wᵀ}: {@code scale * (code -
 * zero)} in that order, each rounded to f32, so that a product with the packed weight equals one
 * with its dequantized copy.
 */
final class PackedRows implements Operand {
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(LITTLE_ENDIAN);

  private final int bits;
  private final int groupSize;
  private final int groups;
  private final long rows;
  private final long columns;
  private final long wordsPerRow;
  private final MemorySegment words;
  private final Tensor scales;
  private final MemorySegment scaleBytes;
  private final MemorySegment zeros;
  private final int[] groupOf;

  PackedRows(PackedWeight weight) {
    bits = weight.bits();
    groupSize = Math.toIntExact(weight.groupSize());
    groups = Math.toIntExact(weight.groups());
    rows = weight.rows();
    columns = weight.columns();
    wordsPerRow = PackedWeight.wordsPerRow(columns, bits);
    words = weight.codes().segment();
    scales = weight.scales();
    scaleBytes = scales.storage().segment();
    zeros = weight.zeros() == null ? null : weight.zeros().segment();
    groupOf = weight.groupIndex() == null ? null : weight.groupIndex().segment().toArray(INT);
  }

  @Override
  public long outer() {
    return rows;
  }

  @Override
  public long inner() {
    return columns;
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
    if (bits == 4 && groupOf == null && from % 8 == 0 && groupSize % 8 == 0) {
      readNibbles(row, (int) from, count, to, at);
      return;
    }
    unpack(row, (int) from, count, to, at);
    if (groupOf == null) {
      scaleRuns(row, (int) from, count, to, at);
    } else {
      scaleEach(row, (int) from, count, to, at);
    }
  }

  private void unpack(long row, int from, int count, float[] to, int at) {
    long start = row * wordsPerRow * Integer.BYTES;
    if (bits == 4 && from % 8 == 0) {
      Codes.unpack4(words, start + from / 2, count, 0, 1, to, at);
    } else if (bits == 8) {
      Codes.unpack8(words, start + from, count, to, at);
    } else {
      Codes.unpack(words, start, bits, from, count, to, at);
    }
  }

  /** Codes of 4 bits whose groups begin with a word: unpacked and scaled in one go. */
  private void readNibbles(long row, int from, int count, float[] to, int at) {
    long start = (row * wordsPerRow * 8 + from) / 2;
    int done = 0;
    while (done < count) {
      int group = (from + done) / groupSize;
      int size = Math.min((group + 1) * groupSize - from - done, count - done);
      float zero = zero(row, group);
      float scale = scale(row, group);
      Codes.unpack4(words, start + done / 2, size, zero, scale, to, at + done);
      done += size;
    }
  }

  private void scaleRuns(long row, int from, int count, float[] to, int at) {
    int done = 0;
    while (done < count) {
      int group = (from + done) / groupSize;
      int size = Math.min((group + 1) * groupSize - from - done, count - done);
      Codes.scale(to, at + done, size, zero(row, group), scale(row, group));
      done += size;
    }
  }

  private void scaleEach(long row, int from, int count, float[] to, int at) {
    for (int i = 0; i < count; i++) {
      int group = groupOf[from + i];
      to[at + i] = scale(row, group) * (to[at + i] - zero(row, group));
    }
  }

  private float zero(long row, int group) {
    return zeros == null
        ? 1 << bits - 1
        : Byte.toUnsignedInt(zeros.get(ValueLayout.JAVA_BYTE, row * groups + group));
  }

  private float scale(long row, int group) {
    return Element.getFloat(scaleBytes, scales.dtype(), scales.offset() + row * groups + group);
  }
}
