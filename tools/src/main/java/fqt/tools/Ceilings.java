package fqt.tools;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.DoubleAdder;
import java.util.stream.IntStream;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * What this processor can do at all, on all of its threads: multiply-adds that touch no memory, and
 * memory that is only read or copied.
 */
final class Ceilings implements AutoCloseable {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int STEPS = 200_000;
  private static final int CHAINS = 12;

  /** More than any cache holds, for each thread. */
  private static final long BYTES = 96L << 20;

  private final int threads = Runtime.getRuntime().availableProcessors();
  private final Arena arena = Arena.ofShared();
  private final MemorySegment source = arena.allocate(threads * BYTES, 64);
  private final MemorySegment target = arena.allocate(threads * BYTES, 64);
  private final DoubleAdder sink = new DoubleAdder();

  /** Memory in which every page has been touched. */
  Ceilings() {
    source.fill((byte) 0);
    target.fill((byte) 0);
  }

  /** Bytes that {@link #read} reads, and {@link #copy} reads and writes half of each. */
  long bytes() {
    return threads * BYTES;
  }

  /** Floating-point operations of {@link #multiplyAdds}. */
  double operations() {
    return 2.0 * threads * CHAINS * SPECIES.length() * STEPS;
  }

  /** Multiply-adds in registers, in enough chains to hide their latency. */
  void multiplyAdds() {
    IntStream.range(0, threads).parallel().forEach(thread -> sink.add(chains()));
  }

  private static double chains() {
    FloatVector x = FloatVector.broadcast(SPECIES, 0.5f);
    FloatVector y = FloatVector.broadcast(SPECIES, 1.5f);
    FloatVector s0 = FloatVector.zero(SPECIES);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    FloatVector s4 = s0;
    FloatVector s5 = s0;
    FloatVector s6 = s0;
    FloatVector s7 = s0;
    FloatVector s8 = s0;
    FloatVector s9 = s0;
    FloatVector s10 = s0;
    FloatVector s11 = s0;
    for (int i = 0; i < STEPS; i++) {
      s0 = s0.fma(x, y);
      s1 = s1.fma(x, y);
      s2 = s2.fma(x, y);
      s3 = s3.fma(x, y);
      s4 = s4.fma(x, y);
      s5 = s5.fma(x, y);
      s6 = s6.fma(x, y);
      s7 = s7.fma(x, y);
      s8 = s8.fma(x, y);
      s9 = s9.fma(x, y);
      s10 = s10.fma(x, y);
      s11 = s11.fma(x, y);
    }
    FloatVector low = s0.add(s1).add(s2).add(s3).add(s4).add(s5);
    return low.add(s6).add(s7).add(s8).add(s9).add(s10).add(s11).lane(0);
  }

  /** Reads memory once. */
  void read() {
    IntStream.range(0, threads).parallel().forEach(thread -> sink.add(sum(thread * BYTES)));
  }

  private double sum(long begin) {
    int step = SPECIES.vectorByteSize();
    ByteOrder order = ByteOrder.nativeOrder();
    FloatVector s0 = FloatVector.zero(SPECIES);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    for (long at = begin; at < begin + BYTES; at += 4L * step) {
      s0 = s0.add(FloatVector.fromMemorySegment(SPECIES, source, at, order));
      s1 = s1.add(FloatVector.fromMemorySegment(SPECIES, source, at + step, order));
      s2 = s2.add(FloatVector.fromMemorySegment(SPECIES, source, at + 2L * step, order));
      s3 = s3.add(FloatVector.fromMemorySegment(SPECIES, source, at + 3L * step, order));
    }
    return s0.add(s1).add(s2).add(s3).lane(0);
  }

  /** Copies half of the memory, which reads and writes as many bytes as {@link #read} reads. */
  void copy() {
    IntStream.range(0, threads)
        .parallel()
        .forEach(
            thread ->
                MemorySegment.copy(source, thread * BYTES, target, thread * BYTES, BYTES / 2));
  }

  /** A number that depends on all that was computed, so that none of it can be left out. */
  double sink() {
    return sink.sum() + target.get(ValueLayout.JAVA_BYTE, 0);
  }

  @Override
  public void close() {
    arena.close();
  }
}
