package fqt.bench;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.cpu.asm.ExecutableMemory;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.DoubleAdder;
import java.util.function.Consumer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * What a few cores can do at all.
 *
 * @param peak F32 multiply-adds that touch no memory, in GFLOP/s
 * @param bandwidth reading memory, in GB/s: the fastest of several loops, from the beginning to the
 *     end and four rows side by side, in machine code where that runs
 */
record CpuFloor(int threads, double peak, double bandwidth) {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final long BYTES = 512L << 20;
  private static final int REPEATS = 10;

  static CpuFloor measure(int threads) {
    double peak = 0;
    double bandwidth = 0;
    MemorySegment memory = Ops.zeros(Device.CPU, DType.F32, BYTES / Float.BYTES).segment();
    List<Consumer<MemorySegment>> loops = loops();
    for (int round = 0; round < 6; round++) {
      peak = Math.max(peak, multiplyAdds(threads, REPEATS) * 1e-9);
      long part = BYTES / threads;
      for (Consumer<MemorySegment> loop : loops) {
        double seconds = seconds(threads, i -> loop.accept(memory.asSlice(i * part, part)));
        bandwidth = Math.max(bandwidth, BYTES / seconds * 1e-9);
      }
    }
    return new CpuFloor(threads, peak, bandwidth);
  }

  private static List<Consumer<MemorySegment>> loops() {
    List<Consumer<MemorySegment>> loops = new ArrayList<>(List.of(CpuFloor::sum));
    try {
      for (int stride : new int[] {ReadLoop.SIDE_BY_SIDE, 1 << 11, 1 << 14, 1 << 20}) {
        loops.add(new ReadLoop(stride)::read);
      }
    } catch (ExecutableMemory.Refused refused) {
      System.err.println("# memory is read by Java: " + refused.getMessage());
    }
    return loops;
  }

  String description() {
    return String.format(
        Locale.ROOT,
        "%d thread(s): f32 multiply-adds %.0f GFLOP/s, reading memory %.1f GB/s",
        threads,
        peak,
        bandwidth);
  }

  /** F32 multiply-adds that touch no memory, in operations a second. */
  static double multiplyAdds(int threads, int repeats) {
    Work[] work = new Work[threads];
    double seconds = seconds(threads, i -> work[i] = multiplyAdds(repeats));
    return threads * work[0].megaflop * 1e6 / seconds;
  }

  private static Work multiplyAdds(int repeats) {
    PeakBench bench = new PeakBench();
    Work work = new Work();
    for (int i = 0; i < repeats; i++) {
      bench.multiplyAdds(work);
    }
    return work;
  }

  private interface Part {
    void run(int index);
  }

  private static double seconds(int threads, Part part) {
    if (threads == 1) {
      long start = CpuWork.now();
      part.run(0);
      return (CpuWork.now() - start) * 1e-9;
    }
    Thread[] all = new Thread[threads];
    for (int i = 0; i < threads; i++) {
      int index = i;
      all[i] = new Thread(() -> part.run(index));
    }
    long start = System.nanoTime();
    for (Thread thread : all) {
      thread.start();
    }
    try {
      for (Thread thread : all) {
        thread.join();
      }
    } catch (InterruptedException stop) {
      throw new IllegalStateException("interrupted", stop);
    }
    return (System.nanoTime() - start) * 1e-9;
  }

  private static final DoubleAdder SINK = new DoubleAdder();

  private static void sum(MemorySegment memory) {
    FloatVector a = FloatVector.zero(SPECIES);
    FloatVector b = a;
    FloatVector c = a;
    FloatVector d = a;
    long step = SPECIES.vectorByteSize();
    for (long at = 0; at < memory.byteSize(); at += 4 * step) {
      a = a.add(FloatVector.fromMemorySegment(SPECIES, memory, at, ByteOrder.LITTLE_ENDIAN));
      b = b.add(FloatVector.fromMemorySegment(SPECIES, memory, at + step, ByteOrder.LITTLE_ENDIAN));
      c =
          c.add(
              FloatVector.fromMemorySegment(
                  SPECIES, memory, at + 2 * step, ByteOrder.LITTLE_ENDIAN));
      d =
          d.add(
              FloatVector.fromMemorySegment(
                  SPECIES, memory, at + 3 * step, ByteOrder.LITTLE_ENDIAN));
    }
    SINK.add(a.add(b).add(c).add(d).lane(0));
  }
}
