package fqt.tensor.cpu;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/**
 * A small pool of daemon threads beside which the caller works too. Work is cut into ranges whose
 * bounds depend on the work alone, never on the number of threads, so that a kernel whose ranges do
 * not share sums gives the same bits however many threads share the ranges out.
 */
final class Threads {
  /** A part of a loop. */
  @FunctionalInterface
  interface Range {
    /** Does the iterations {@code from} (inclusive) to {@code to} (exclusive). */
    void run(long from, long to);
  }

  /**
   * How long a thread looks out for work, or for others' to end, before it sleeps: waking it takes
   * as long, and the next part of a product follows at once. Not done where threads would take
   * processors from each other.
   */
  private static final long PATIENCE = 50_000;

  private final int count;
  private final long patience;
  private final BlockingQueue<Job> jobs = new LinkedBlockingQueue<>();
  private boolean started;

  /** A pool with which {@code count} threads work, the caller included. */
  Threads(int count) {
    if (count < 1) {
      throw new IllegalArgumentException(count + " threads; expected at least 1");
    }
    this.count = count;
    this.patience = count <= Runtime.getRuntime().availableProcessors() ? PATIENCE : 0;
  }

  /**
   * As many threads as the system property {@code fqt.threads} says, or as there are processors.
   *
   * @throws IllegalArgumentException if the property is not a positive number
   */
  static Threads configured() {
    String wanted = System.getProperty("fqt.threads");
    if (wanted == null) {
      return new Threads(Runtime.getRuntime().availableProcessors());
    }
    if (!wanted.matches("[1-9][0-9]{0,3}")) {
      throw new IllegalArgumentException(
          "fqt.threads is '" + wanted + "'; expected a number from 1 to 9999");
    }
    return new Threads(Integer.parseInt(wanted));
  }

  /** How many threads work, the caller included. */
  int count() {
    return count;
  }

  /**
   * Runs the iterations 0 to {@code total} in ranges of {@code grain}, the last possibly shorter,
   * and returns when all are done. If ranges throw, the first exception is thrown here once the
   * ranges already begun have ended; the others are not begun.
   */
  void forEach(long total, long grain, Range body) {
    if (count == 1 || total <= grain) {
      for (long from = 0; from < total; from += grain) {
        body.run(from, Math.min(from + grain, total));
      }
      return;
    }
    Job job = new Job(body, total, grain);
    start();
    long helpers = Math.min(count - 1, job.ranges - 1);
    for (long i = 0; i < helpers; i++) {
      jobs.add(job);
    }
    job.work();
    job.await(patience);
  }

  private synchronized void start() {
    for (int i = 1; !started && i < count; i++) {
      Thread thread = new Thread(this::serve, "fqt-cpu-" + i);
      thread.setDaemon(true);
      thread.start();
    }
    started = true;
  }

  private void serve() {
    while (true) {
      try {
        next().work();
      } catch (InterruptedException ended) {
        return;
      }
    }
  }

  private Job next() throws InterruptedException {
    long end = System.nanoTime() + patience;
    while (System.nanoTime() < end) {
      Job job = jobs.poll();
      if (job != null) {
        return job;
      }
      Thread.onSpinWait();
    }
    return jobs.take();
  }

  /** One loop: whoever is free takes the next range. */
  private static final class Job {
    private final Range body;
    private final long total;
    private final long grain;
    private final long ranges;
    private final Thread caller = Thread.currentThread();
    private final AtomicLong next = new AtomicLong();
    private final AtomicLong done = new AtomicLong();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();

    Job(Range body, long total, long grain) {
      this.body = body;
      this.total = total;
      this.grain = grain;
      this.ranges = Math.ceilDiv(total, grain);
    }

    void work() {
      long range = next.getAndIncrement();
      while (range < ranges) {
        if (failure.get() == null) {
          run(range * grain);
        }
        if (done.incrementAndGet() == ranges) {
          LockSupport.unpark(caller);
        }
        range = next.getAndIncrement();
      }
    }

    private void run(long from) {
      try {
        body.run(from, Math.min(from + grain, total));
      } catch (RuntimeException | Error thrown) {
        failure.compareAndSet(null, thrown);
      }
    }

    void await(long patience) {
      long end = System.nanoTime() + patience;
      while (done.get() < ranges && System.nanoTime() < end) {
        Thread.onSpinWait();
      }
      boolean interrupted = false;
      while (done.get() < ranges) {
        LockSupport.park(this);
        interrupted |= Thread.interrupted();
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
      switch (failure.get()) {
        case null -> {}
        case RuntimeException thrown -> throw thrown;
        case Error thrown -> throw thrown;
        case Throwable thrown -> throw new AssertionError(thrown);
      }
    }
  }
}
