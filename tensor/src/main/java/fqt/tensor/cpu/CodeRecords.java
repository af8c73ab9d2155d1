package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.cpu.asm.CodeLayout;
import fqt.tensor.cpu.asm.CodeScaleKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * What {@link fqt.tensor.cpu.asm.CodeDotKernel} wants to know of some rows of a weight beside their
 * codes, in memory of the thread: good until the thread makes others.
 */
final class CodeRecords {
  // Reused, because new memory is never in the cache.
  private static final ThreadLocal<MemorySegment> SCRATCH =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(1 << 14, 64));

  private final CodeKernels kernels;
  private final PackedWeight w;
  private final WholeNumbers x;
  private final MemorySegment memory;
  private final long recordBytes;
  private final long scalesAt;
  private final long zerosAt;
  private final long codesAt;
  private final long readable;

  /** Room for so many rows. */
  CodeRecords(CodeKernels kernels, PackedWeight w, WholeNumbers x, int rows) {
    this.kernels = kernels;
    this.w = w;
    this.x = x;
    this.recordBytes = kernels.layout().recordBytes(x.groups());
    this.scalesAt = rows * recordBytes;
    long numbers = (long) rows * x.groups() + CodeLayout.BLOCK;
    this.zerosAt = scalesAt + numbers * Float.BYTES;
    this.codesAt = zerosAt + numbers;
    this.memory = scratch(codesAt + (long) x.groups() * kernels.layout().codeBytes());
    this.readable = readable(w, x.groups());
  }

  /**
   * How many rows the kernel may read, which reads whole blocks; none if groups of the weight are
   * several of the kernel.
   */
  private static long readable(PackedWeight w, int groups) {
    long behind = Math.ceilDiv(groups, CodeLayout.BLOCK) * (long) CodeLayout.BLOCK - groups;
    return w.groups() == groups ? Math.max(0, w.rows() - Math.ceilDiv(behind, groups)) : 0;
  }

  private static MemorySegment scratch(long size) {
    MemorySegment scratch = SCRATCH.get();
    if (scratch.byteSize() < size) {
      scratch = Arena.ofAuto().allocate(size, 64);
      SCRATCH.set(scratch);
    }
    return scratch;
  }

  /** The address of the first. */
  long address() {
    return memory.address();
  }

  /** Bytes from each to the next. */
  long recordBytes() {
    return recordBytes;
  }

  /**
   * Reads those of some rows for a row of x.
   *
   * @param at how many rows to leave before them
   */
  void read(long row, int count, int at, int m) {
    int whole = Math.clamp(readable - row, 0, count);
    if (whole > 0) {
      DType type = w.scales().dtype();
      long first = row * x.groups();
      long scales =
          w.scales().storage().segment().address()
              + (w.scales().offset() + first) * type.byteSize();
      long zeros =
          w.zeros() == null
              ? 0
              : w.zeros().storage().segment().address() + w.zeros().offset() + first;
      read(kernels.scales(type), whole, scales, type.byteSize(), zeros, at, m);
    }
    if (whole < count) {
      spread(row + whole, count - whole);
      long scales = memory.address() + scalesAt;
      long zeros = memory.address() + zerosAt;
      CodeScaleKernel kernel = kernels.scales(DType.F32);
      read(kernel, count - whole, scales, Float.BYTES, zeros, at + whole, m);
    }
  }

  private void read(
      CodeScaleKernel kernel, int count, long scales, long bytes, long zeros, int at, int m) {
    int groups = x.groups();
    kernel.read(
        count,
        groups,
        scales,
        groups * bytes,
        zeros,
        groups,
        x.units(m),
        x.sumsAt(),
        memory.address() + at * recordBytes);
  }

  /**
   * Copies the codes of a row to where whole groups can be read; what is behind them does not
   * matter.
   *
   * @return where they are now
   */
  long copy(long row, long rowBytes) {
    long from = w.codes().offset() * Integer.BYTES + row * rowBytes;
    MemorySegment.copy(w.codes().storage().segment(), from, memory, codesAt, rowBytes);
    return memory.address() + codesAt;
  }

  /** Copies scales and zero points to memory that has more behind them, one for each group. */
  private void spread(long row, int count) {
    int groups = x.groups();
    long group = kernels.layout().group();
    MemorySegment scales = w.scales().storage().segment();
    for (int i = 0; i < count * groups; i++) {
      long from = (row + i / groups) * w.groups() + i % groups * group / w.groupSize();
      float scale = Element.getFloat(scales, w.scales().dtype(), w.scales().offset() + from);
      memory.set(Element.FLOAT, scalesAt + (long) i * Float.BYTES, scale);
      if (w.zeros() != null) {
        byte zero = w.zeros().storage().segment().get(Element.BYTE, w.zeros().offset() + from);
        memory.set(Element.BYTE, zerosAt + i, zero);
      }
    }
  }
}
