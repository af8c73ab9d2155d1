package fqt.tensor.cpu;

import fqt.tensor.Derived;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Weights as the matrix kernels read them, kept from the second product on that packs a frozen
 * weight ({@link fqt.tensor.Ops#freeze}). All together take at most as many bytes as the Java heap
 * may, by default a quarter of the machine's memory, or as {@code -Dfqt.cpu.kept} says; weights
 * beyond that are packed in every product. Results are the same bits either way.
 */
final class KeptForms {
  private static final Cleaner CLEANER = Cleaner.create();

  private final HostMemory memory;
  private final long limit;
  private final AtomicLong used = new AtomicLong();

  KeptForms(HostMemory memory, long limit) {
    this.memory = memory;
    this.limit = limit;
  }

  /**
   * With the limit that the system property names.
   *
   * @throws IllegalArgumentException if the property is not a number of bytes
   */
  static KeptForms configured(HostMemory memory) {
    String wanted = System.getProperty("fqt.cpu.kept");
    if (wanted != null && !wanted.matches("[0-9]{1,18}")) {
      throw new IllegalArgumentException(
          "fqt.cpu.kept is '" + wanted + "'; expected a number of bytes");
    }
    long limit = wanted == null ? Runtime.getRuntime().maxMemory() : Long.parseLong(wanted);
    return new KeptForms(memory, limit);
  }

  /** Which form of which part of a storage. */
  private record Key(String form, long offset, Shape shape) {}

  /**
   * A weight as {@link Gemm#pack} packs it.
   *
   * @param form what kernel it is for
   * @param weight contiguous
   * @param operand the same as the right-hand side of a product
   * @return null if the weight is not frozen, is used for the first time, or there is no room
   */
  MemorySegment of(String form, Tensor weight, Operand operand, Gemm gemm) {
    Derived derived = weight.storage().derived();
    if (derived == null) {
      return null;
    }
    Key key = new Key(form, weight.offset(), weight.shape());
    Storage kept =
        derived.second(
            key, () -> allocate(Gemm.packedBytes(operand)), to -> gemm.pack(operand, to.segment()));
    return kept == null ? null : kept.segment();
  }

  private Storage allocate(long bytes) {
    if (used.addAndGet(bytes) > limit) {
      used.addAndGet(-bytes);
      return null;
    }
    Storage storage = memory.allocate(bytes);
    CLEANER.register(storage, () -> used.addAndGet(-bytes));
    return storage;
  }
}
