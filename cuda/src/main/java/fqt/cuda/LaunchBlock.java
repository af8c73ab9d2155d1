package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The native memory that describes one launch, reused by all launches of a context: the driver
 * copies what it needs before the call returns.
 *
 * <pre>
 *   CUlaunchConfig     0 grid x y z | 12 block x y z | 24 shared | 32 stream | 40 attributes | 48 count
 *   CUlaunchAttribute  0 id | 8 value (64 bytes)
 * </pre>
 */
final class LaunchBlock {
  private static final int CLUSTER_DIMENSION = 4;
  private static final int STREAM_SERIALIZATION = 6;
  private static final long ATTRIBUTE_BYTES = 72;
  private static final long ARGUMENT_BYTES = 512;
  private static final int POINTERS = 64;

  private final AtomicLong launches;
  private final MemorySegment config;
  private final MemorySegment attributes;
  private final MemorySegment pointers;
  private final MemorySegment arguments;

  /**
   * Nothing to launch yet.
   *
   * @param launches counts what is launched
   */
  LaunchBlock(Arena arena, AtomicLong launches) {
    this.launches = launches;
    config = arena.allocate(56, 8);
    attributes = arena.allocate(2 * ATTRIBUTE_BYTES, 8);
    pointers = arena.allocate(POINTERS * (long) Long.BYTES, 8);
    arguments = arena.allocate(ARGUMENT_BYTES, 64);
    config.set(JAVA_LONG, 40, attributes.address());
    config.set(JAVA_INT, 8, 1);
    config.set(JAVA_INT, 16, 1);
    config.set(JAVA_INT, 20, 1);
    attributes.set(JAVA_INT, 0, CLUSTER_DIMENSION);
    attributes.set(JAVA_INT, 12, 1);
    attributes.set(JAVA_INT, 16, 1);
    attributes.set(JAVA_INT, ATTRIBUTE_BYTES, STREAM_SERIALIZATION);
    attributes.set(JAVA_INT, ATTRIBUTE_BYTES + 8, 1);
  }

  /** Where arguments that are passed by value are written. */
  MemorySegment arguments() {
    return arguments;
  }

  /** Sets the address of one argument of the kernel. */
  void argument(int index, long address) {
    pointers.setAtIndex(JAVA_LONG, index, address);
  }

  /** Sets the blocks and threads of the next launch; clusters of one block need no attribute. */
  void shape(int gridX, int gridY, int threads, int sharedBytes, int cluster) {
    config.set(JAVA_INT, 0, gridX);
    config.set(JAVA_INT, 4, gridY);
    config.set(JAVA_INT, 12, threads);
    config.set(JAVA_INT, 24, sharedBytes);
    attributes.set(JAVA_INT, 8, cluster);
  }

  /**
   * Launches a kernel.
   *
   * @param clustered whether the kernel was written for clusters
   * @param overlap whether it may start before the stream's previous kernel has ended, which it
   *     then waits for by itself
   */
  int launch(long stream, long function, boolean clustered, boolean overlap) {
    launches.incrementAndGet();
    config.set(JAVA_LONG, 32, stream);
    long first = attributes.address() + (clustered ? 0 : ATTRIBUTE_BYTES);
    config.set(JAVA_LONG, 40, first);
    config.set(JAVA_INT, 48, (clustered ? 1 : 0) + (overlap ? 1 : 0));
    return Driver.launch(config, function, pointers);
  }
}
