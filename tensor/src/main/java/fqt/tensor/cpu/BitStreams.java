package fqt.tensor.cpu;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * Packs rows of codes into streams of bits and back. Eight codes, one a byte, become as many bytes
 * as a code has bits:
 *
 * <pre>
 *   bytes   0000ccca 0000cccb 0000cccc ...      8 x 8 bits
 *   stream  ccccccccc...                        8 x bits, least significant first
 * </pre>
 *
 * which is what the processor's bit compression does in one instruction ({@code PEXT}; expansion is
 * {@code PDEP}).
 */
final class BitStreams {
  private static final long EVERY_BYTE = 0x0101010101010101L;

  private BitStreams() {}

  static void pack(Threads threads, Tensor codes, int bits, Tensor words) {
    MemorySegment from = codes.segment();
    MemorySegment to = words.segment();
    long columns = codes.dim(1);
    long rowBytes = words.dim(1) * Integer.BYTES;
    threads.forEach(
        codes.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          for (long n = first; n < end; n++) {
            packRow(from, n * columns, columns, bits, to.asSlice(n * rowBytes, rowBytes));
          }
        });
  }

  private static void packRow(
      MemorySegment codes, long start, long columns, int bits, MemorySegment row) {
    long mask = EVERY_BYTE * ((1 << bits) - 1);
    long k = 0;
    long at = 0;
    // Each store writes 8 bytes, of which the next one overwrites those beyond the codes.
    for (; k <= columns - 8 && at <= row.byteSize() - Long.BYTES; k += 8, at += bits) {
      row.set(Element.LONG, at, Long.compress(codes.get(Element.LONG, start + k), mask));
    }
    row.asSlice(at).fill((byte) 0);
    for (; k < columns; k++) {
      int code = codes.get(Element.BYTE, start + k) & (1 << bits) - 1;
      orByte(row, k * bits / 8, code << k * bits % 8);
      if (k * bits % 8 + bits > 8) {
        orByte(row, k * bits / 8 + 1, code >>> 8 - k * bits % 8);
      }
    }
  }

  private static void orByte(MemorySegment row, long at, int bits) {
    row.set(Element.BYTE, at, (byte) (row.get(Element.BYTE, at) | bits));
  }

  static void unpack(Threads threads, Tensor words, int bits, Tensor codes) {
    MemorySegment from = words.segment();
    MemorySegment to = codes.segment();
    long columns = codes.dim(1);
    long rowBytes = words.dim(1) * Integer.BYTES;
    threads.forEach(
        codes.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          for (long n = first; n < end; n++) {
            unpackRow(from.asSlice(n * rowBytes, rowBytes), bits, to, n * columns, columns);
          }
        });
  }

  private static void unpackRow(
      MemorySegment row, int bits, MemorySegment codes, long start, long columns) {
    long mask = EVERY_BYTE * ((1 << bits) - 1);
    long k = 0;
    long at = 0;
    for (; k <= columns - 8 && at <= row.byteSize() - Long.BYTES; k += 8, at += bits) {
      codes.set(Element.LONG, start + k, Long.expand(row.get(Element.LONG, at), mask));
    }
    for (; k < columns; k++) {
      codes.set(Element.BYTE, start + k, (byte) ScalarQuantize.code(row, k, bits));
    }
  }
}
