package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import java.util.Arrays;

/**
 * A function of machine code, and how it is called: with whole numbers and addresses of 64 bits
 * each, which it finds in rdi, rsi, rdx, rcx, r8, r9 and then on the stack. It returns nothing.
 *
 * <p>A call allocates nothing and takes some 7 ns, 12 with ten arguments. It does not leave the
 * Java state of the thread ("critical"), so a function should return within microseconds. An
 * address keeps no memory alive: who turns segments into addresses says so afterwards.
 *
 * {@snippet :
 * void range(long blocks, MemorySegment x, MemorySegment result) {
 *   function.call(blocks, address(x), address(result));
 *   keep(x, result);
 * }
 * }
 */
public final class MachineFunction {
  private final MethodHandle handle;

  /**
   * Makes the code executable, until the JVM ends.
   *
   * @param arguments how many it takes: those that {@code call} is always given
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public MachineFunction(int arguments, byte[] code) throws ExecutableMemory.Refused {
    MemoryLayout[] types = new MemoryLayout[arguments];
    Arrays.fill(types, ValueLayout.JAVA_LONG);
    handle =
        Linker.nativeLinker()
            .downcallHandle(
                ExecutableMemory.holding(code),
                FunctionDescriptor.ofVoid(types),
                Linker.Option.critical(false));
  }

  /**
   * Where a segment is, for code that does not ask whether it may touch it.
   *
   * @throws IllegalStateException if it was freed
   * @throws IllegalArgumentException if it lies on the heap
   */
  public static long address(MemorySegment segment) {
    if (!segment.scope().isAlive()) {
      throw new IllegalStateException("Already closed: " + segment);
    }
    if (!segment.isNative()) {
      throw new IllegalArgumentException("machine code works off the heap only, not on " + segment);
    }
    return segment.address();
  }

  /**
   * Says after a call that it needed this memory: until here no garbage collector frees it. A call
   * that throws needs it no more.
   */
  @SuppressWarnings("ReachabilityFenceUsage")
  public static void keep(MemorySegment first, MemorySegment second) {
    Reference.reachabilityFence(first);
    Reference.reachabilityFence(second);
  }

  /** The same for three. */
  public static void keep(MemorySegment first, MemorySegment second, MemorySegment third) {
    keep(first, second);
    keep(second, third);
  }

  // One method for each number of arguments: a handle is called with exactly the types it has.

  /** Calls the function. */
  public void call(long a, long b) {
    try {
      handle.invokeExact(a, b);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(long a, long b, long c) {
    try {
      handle.invokeExact(a, b, c);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(long a, long b, long c, long d) {
    try {
      handle.invokeExact(a, b, c, d);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(long a, long b, long c, long d, long e) {
    try {
      handle.invokeExact(a, b, c, d, e);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(long a, long b, long c, long d, long e, long f) {
    try {
      handle.invokeExact(a, b, c, d, e, f);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(long a, long b, long c, long d, long e, long f, long g) {
    try {
      handle.invokeExact(a, b, c, d, e, f, g);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(long a, long b, long c, long d, long e, long f, long g, long h) {
    try {
      handle.invokeExact(a, b, c, d, e, f, g, h);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(long a, long b, long c, long d, long e, long f, long g, long h, long i) {
    try {
      handle.invokeExact(a, b, c, d, e, f, g, h, i);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j) {
    try {
      handle.invokeExact(a, b, c, d, e, f, g, h, i, j);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(
      long a,
      long b,
      long c,
      long d,
      long e,
      long f,
      long g,
      long h,
      long i,
      long j,
      long k,
      long l,
      long m,
      long n,
      long o,
      long p,
      long q) {
    try {
      handle.invokeExact(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(
      long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k) {
    try {
      handle.invokeExact(a, b, c, d, e, f, g, h, i, j, k);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  /** Calls the function. */
  public void call(
      long a,
      long b,
      long c,
      long d,
      long e,
      long f,
      long g,
      long h,
      long i,
      long j,
      long k,
      long l) {
    try {
      handle.invokeExact(a, b, c, d, e, f, g, h, i, j, k, l);
    } catch (Throwable thrown) {
      throw failed(thrown);
    }
  }

  private static IllegalStateException failed(Throwable thrown) {
    return new IllegalStateException("a call of machine code failed", thrown);
  }
}
