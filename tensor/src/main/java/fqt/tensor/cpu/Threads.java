package fqt.tensor.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.concurrent.locks.LockSupport;

/**
 * A small pool of daemon threads beside which the caller works too. Work is cut into ranges whose
 * bounds depend on the work alone, never on the number of threads, so that a kernel whose ranges do
 * not share sums gives the same bits however many threads share the ranges out.
 *
 * <p>The caller of a loop puts it where helpers look, calls some of them, and begins. Each thread
 * takes the ranges of a part of its own, which are neighbours in memory, and then those that others
 * have left. The caller never waits for a helper that has not begun a range: one that wakes too
 * late finds nothing to do.
 */
final class Threads {
  /** A part of a loop. */
  @FunctionalInterface
  interface Range {
    /** Does the iterations {@code from} (inclusive) to {@code to} (exclusive). */
    void run(long from, long to);
  }

  /**
   * Nanoseconds for which a helper looks out for work before it sleeps: waking it takes as long,
   * and the next part of a product follows at once.
   */
  private static final long PATIENCE = 100_000;

  /**
   * Nanoseconds for which a caller looks out for the end of ranges that helpers have begun, before
   * it sleeps: most ranges are shorter.
   */
  private static final long LAST_RANGE = 300_000;

  /** Loops of different callers that helpers can see; the callers of more work alone. */
  private static final int OPEN = 16;

  /** How many sleepers one thread wakes: each of them wakes as many again. */
  private static final int WAKES = 2;

  private final int count;

  /**
   * Whether threads look out for anything: not where they would take processors from each other.
   */
  private final boolean alert;

  private final AtomicReferenceArray<Loop> open = new AtomicReferenceArray<>(OPEN);
  private final Helper[] helpers;
  private volatile boolean started;

  /** A pool with which {@code count} threads work, the caller included. */
  Threads(int count) {
    if (count < 1) {
      throw new IllegalArgumentException(count + " threads; expected at least 1");
    }
    this.count = count;
    this.alert = count <= Runtime.getRuntime().availableProcessors();
    this.helpers = new Helper[count - 1];
    for (int i = 0; i < helpers.length; i++) {
      helpers[i] = new Helper(i + 1);
    }
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
    start();
    Loop loop = new Loop(body, total, grain, count);
    int slot = 0;
    while (slot < OPEN && !open.compareAndSet(slot, null, loop)) {
      slot++;
    }
    if (slot < OPEN) {
      call(loop.parts() - 1);
    }
    loop.work(Loop.FIRST);
    if (slot < OPEN) {
      open.set(slot, null);
    }
    if (!loop.endsWithin(alert ? LAST_RANGE : 0)) {
      giveWay(loop);
      loop.sleep();
    }
    loop.check();
  }

  private void start() {
    if (started) {
      return;
    }
    synchronized (helpers) {
      for (int i = 0; !started && i < helpers.length; i++) {
        helpers[i].thread.start();
      }
      started = true;
    }
  }

  /**
   * Sees to it that so many helpers are coming, if so many have nothing to do, on processors other
   * than this one.
   */
  private void call(int wanted) {
    int processor = alert ? Processors.current() : Processors.UNKNOWN;
    int coming = 0;
    int woken = 0;
    for (int i = 0; i < helpers.length && coming < wanted && woken < WAKES; i++) {
      Helper helper = helpers[i];
      int state = helper.state.get();
      if (state == Helper.AWAKE) {
        if (helper.processor == processor) {
          helper.keepOff(processor);
        }
        coming++;
      } else if (state == Helper.ASLEEP
          && helper.state.compareAndSet(Helper.ASLEEP, Helper.AWAKE)) {
        helper.keepOff(processor);
        LockSupport.unpark(helper.thread);
        coming++;
        woken++;
      }
    }
  }

  /**
   * Lets the last helper at work on a loop run here, where its caller is about to sleep. As it
   * takes so long, others may have taken its processor, and Linux would leave it waiting there for
   * milliseconds.
   */
  private void giveWay(Loop loop) {
    Helper last = null;
    for (Helper helper : helpers) {
      if (helper.loop == loop) {
        if (last != null) {
          return;
        }
        last = helper;
      }
    }
    if (alert && last != null) {
      last.bring(Processors.current());
    }
  }

  /** A loop of which ranges are left, or null. */
  private Loop find() {
    for (int slot = 0; slot < OPEN; slot++) {
      Loop loop = open.get(slot);
      if (loop != null && !loop.isTaken()) {
        return loop;
      }
    }
    return null;
  }

  /** A thread of the pool. */
  private final class Helper implements Runnable {
    static final int AWAKE = 0;
    static final int AT_WORK = 1;
    static final int ASLEEP = 2;

    final AtomicInteger state = new AtomicInteger(AWAKE);
    final Thread thread;

    /** The system's number of the thread, when it runs. */
    private volatile int id = Processors.UNKNOWN;

    /** Where the thread was seen last. */
    private volatile int processor = Processors.UNKNOWN;

    /** What it works on. */
    private volatile Loop loop;

    /** Whether it must not run everywhere. */
    private volatile boolean confined;

    /** Whether it runs where a caller wants to go on. */
    private volatile boolean guest;

    Helper(int number) {
      thread = new Thread(this, "fqt-cpu-" + number);
      thread.setDaemon(true);
    }

    @Override
    public void run() {
      id = Processors.thread();
      long patience = alert ? PATIENCE : 0;
      long end = System.nanoTime() + patience;
      while (true) {
        if (confined) {
          settle();
        }
        Loop found = find();
        if (found != null) {
          help(found);
        } else if (System.nanoTime() < end) {
          lookOut();
          continue;
        } else {
          sleep();
        }
        // Whoever interrupts a helper, its next loop is not meant.
        Thread.interrupted();
        end = System.nanoTime() + patience;
      }
    }

    private void lookOut() {
      int here = Processors.current();
      if (here != processor) {
        processor = here;
      }
      Thread.onSpinWait();
    }

    private void help(Loop found) {
      state.set(AT_WORK);
      loop = found;
      int place = found.join();
      call(found.parts() - 1 - place);
      found.work(place);
      loop = null;
      state.set(AWAKE);
    }

    /**
     * From here on it may run everywhere, and stays where it is, if that is nobody else's place.
     */
    private void settle() {
      confined = false;
      if (guest) {
        guest = false;
        Processors.keepOff(Processors.SELF, Processors.current());
      }
      Processors.release();
    }

    private void sleep() {
      state.set(ASLEEP);
      // A caller puts its loop there first and looks who sleeps then: one of both sees the other.
      if (find() == null) {
        LockSupport.park(Threads.this);
      }
      state.set(AWAKE);
    }

    /** Keeps it off a processor until it looks for work. */
    void keepOff(int taken) {
      if (taken != Processors.UNKNOWN && id != Processors.UNKNOWN) {
        Processors.keepOff(id, taken);
        confined = true;
      }
    }

    /** Lets it go on with its work on the processor of somebody who has nothing to do. */
    void bring(int free) {
      if (free != Processors.UNKNOWN && id != Processors.UNKNOWN) {
        guest = true;
        Processors.keepOn(id, free);
        confined = true;
      }
    }
  }
}
