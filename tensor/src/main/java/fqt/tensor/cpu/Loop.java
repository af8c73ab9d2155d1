package fqt.tensor.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/**
 * One loop of {@link Threads}. Its ranges lie in as many parts as there are threads. Each thread
 * begins with a part of its own, which is one stream of memory, and then takes what others have
 * left; so it does not matter when a thread comes, or whether it does.
 */
final class Loop {
  /** The place of the caller. */
  static final int FIRST = 0;

  private final Threads.Range body;
  private final long total;
  private final long grain;
  private final long ranges;
  private final int parts;
  private final Thread caller = Thread.currentThread();
  private final AtomicInteger joined = new AtomicInteger(FIRST + 1);

  /** The next range of each part. */
  private final AtomicLongArray next;

  /** How many ranges were not done yet. */
  private final AtomicLong left;

  private final AtomicReference<Throwable> failure = new AtomicReference<>();

  private volatile boolean taken;

  /** Whether the caller sleeps, or is about to. */
  private volatile boolean awaited;

  Loop(Threads.Range body, long total, long grain, int threads) {
    this.body = body;
    this.total = total;
    this.grain = grain;
    this.ranges = Math.ceilDiv(total, grain);
    this.parts = (int) Math.min(threads, ranges);
    this.left = new AtomicLong(ranges);
    this.next = new AtomicLongArray(parts);
    for (int part = 0; part < parts; part++) {
      next.set(part, first(part));
    }
  }

  private long first(int part) {
    return ranges * part / parts;
  }

  /** How many threads can share it. */
  int parts() {
    return parts;
  }

  /** Whether all ranges have been begun. */
  boolean isTaken() {
    return taken;
  }

  /**
   * The place of one more thread: the part with which it begins. The caller has the {@link #FIRST}.
   */
  int join() {
    return joined.getAndIncrement();
  }

  /** Takes ranges until none is left: those of its own part, of the part behind it, and so on. */
  void work(int place) {
    long done = 0;
    for (int i = 0; i < parts; i++) {
      int part = (place + i) % parts;
      long end = first(part + 1);
      long range = next.getAndIncrement(part);
      while (range < end) {
        if (failure.get() == null) {
          run(range * grain);
        }
        done++;
        range = next.getAndIncrement(part);
      }
    }
    taken = true;
    if (done > 0 && left.addAndGet(-done) == 0 && awaited) {
      LockSupport.unpark(caller);
    }
  }

  private void run(long from) {
    try {
      body.run(from, Math.min(from + grain, total));
    } catch (RuntimeException | Error thrown) {
      failure.compareAndSet(null, thrown);
    }
  }

  /** Looks out for the end of ranges that others have begun, for so many nanoseconds at most. */
  boolean endsWithin(long patience) {
    long end = System.nanoTime() + patience;
    while (left.get() > 0 && System.nanoTime() < end) {
      Thread.onSpinWait();
    }
    return left.get() == 0;
  }

  /** Sleeps until all ranges have ended. */
  void sleep() {
    awaited = true;
    boolean interrupted = false;
    while (left.get() > 0) {
      LockSupport.park(this);
      interrupted |= Thread.interrupted();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Throws the first of what ranges threw. */
  void check() {
    switch (failure.get()) {
      case null -> {}
      case RuntimeException thrown -> throw thrown;
      case Error thrown -> throw thrown;
      case Throwable thrown -> throw new AssertionError(thrown);
    }
  }
}
