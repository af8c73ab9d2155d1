package fqt.tensor.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.Linker.Option;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.BitSet;
import java.util.NoSuchElementException;

/**
 * Which processor a thread runs on, and which it must not run on, where Linux says so.
 *
 * <p>Linux likes to wake a thread on the processor of whoever wakes it. In a virtual machine, where
 * a processor at rest looks as if it had been taken away, it does so even while others have nothing
 * to do, and leaves both threads there for many milliseconds: two threads then take as long as one.
 */
final class Processors {
  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;

  /** No processor, or no thread: this system does not place threads. */
  static final int UNKNOWN = -1;

  /** The calling thread. */
  static final int SELF = 0;

  /** Bytes of the largest set of processors, one bit each. */
  private static final int MOST = 1024;

  private static final Calls CALLS = Calls.find();
  private static final Sets SETS = CALLS == null ? null : Sets.make();

  private Processors() {}

  private record Calls(
      MethodHandle current, MethodHandle self, MethodHandle get, MethodHandle set) {
    /** Null where the system is another, or native calls are denied. */
    static Calls find() {
      if (!System.getProperty("os.name").equals("Linux")) {
        return null;
      }
      ValueLayout.OfInt number = ValueLayout.JAVA_INT;
      FunctionDescriptor ofSet =
          FunctionDescriptor.of(number, number, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS);
      try {
        return new Calls(
            handle("sched_getcpu", FunctionDescriptor.of(number), Option.critical(false)),
            handle("gettid", FunctionDescriptor.of(number)),
            handle("sched_getaffinity", ofSet),
            handle("sched_setaffinity", ofSet));
      } catch (IllegalCallerException | NoSuchElementException none) {
        return null;
      }
    }

    private static MethodHandle handle(String name, FunctionDescriptor type, Option... options) {
      Linker linker = Linker.nativeLinker();
      SymbolLookup system = linker.defaultLookup();
      return linker.downcallHandle(system.findOrThrow(name), type, options);
    }
  }

  /**
   * Sets of processors.
   *
   * @param bytes of one set
   * @param all where this process may run
   * @param without the same without the first processor, without the second, and so on
   * @param only the first processor, the second, and so on
   */
  private record Sets(long bytes, MemorySegment all, MemorySegment without, MemorySegment only) {
    /** Null where there is one processor, or the system does not tell. */
    static Sets make() {
      byte[] allowed = new byte[MOST];
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment set = arena.allocate(MOST);
        if ((int) CALLS.get.invokeExact(SELF, (long) MOST, set) < 0) {
          return null;
        }
        MemorySegment.copy(set, BYTE, 0, allowed, 0, MOST);
      } catch (Throwable thrown) {
        throw new IllegalStateException("sched_getaffinity failed", thrown);
      }
      BitSet all = BitSet.valueOf(allowed);
      if (all.cardinality() < 2) {
        return null;
      }
      int bytes = Math.ceilDiv(all.length(), Long.SIZE) * Long.BYTES;
      MemorySegment whole = Arena.global().allocate(bytes, Long.BYTES);
      write(all, whole);
      MemorySegment without = Arena.global().allocate((long) all.length() * bytes, Long.BYTES);
      MemorySegment only = Arena.global().allocate((long) all.length() * bytes, Long.BYTES);
      for (int processor = 0; processor < all.length(); processor++) {
        BitSet one = new BitSet();
        one.set(processor);
        write(one, only.asSlice((long) processor * bytes, bytes));
        BitSet others = (BitSet) all.clone();
        others.andNot(one);
        write(others, without.asSlice((long) processor * bytes, bytes));
      }
      return new Sets(bytes, whole, without, only);
    }

    private static void write(BitSet processors, MemorySegment to) {
      byte[] set = processors.toByteArray();
      MemorySegment.copy(set, 0, to, BYTE, 0, set.length);
    }

    boolean has(int processor) {
      return processor * bytes < without.byteSize();
    }

    MemorySegment without(int processor) {
      return without.asSlice(processor * bytes, bytes);
    }

    MemorySegment only(int processor) {
      return only.asSlice(processor * bytes, bytes);
    }
  }

  /** The processor on which the caller runs, or {@link #UNKNOWN}. */
  static int current() {
    if (SETS == null) {
      return UNKNOWN;
    }
    try {
      int processor = (int) CALLS.current.invokeExact();
      // One that this process was given later has no sets.
      return SETS.has(processor) ? processor : UNKNOWN;
    } catch (Throwable thrown) {
      throw new IllegalStateException("sched_getcpu failed", thrown);
    }
  }

  /** The system's number of the calling thread, or {@link #UNKNOWN}. */
  static int thread() {
    if (SETS == null) {
      return UNKNOWN;
    }
    try {
      return (int) CALLS.self.invokeExact();
    } catch (Throwable thrown) {
      throw new IllegalStateException("gettid failed", thrown);
    }
  }

  /** Lets a thread run everywhere but on one processor. */
  static void keepOff(int thread, int processor) {
    set(thread, SETS.without(processor));
  }

  /** Lets a thread run on one processor only. */
  static void keepOn(int thread, int processor) {
    set(thread, SETS.only(processor));
  }

  /** Lets the calling thread run everywhere; it stays where it is. */
  static void release() {
    set(SELF, SETS.all);
  }

  private static void set(int thread, MemorySegment processors) {
    try {
      int ignored = (int) CALLS.set.invokeExact(thread, SETS.bytes, processors);
    } catch (Throwable thrown) {
      throw new IllegalStateException("sched_setaffinity failed", thrown);
    }
  }
}
