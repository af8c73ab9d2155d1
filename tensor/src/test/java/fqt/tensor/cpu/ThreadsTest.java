package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.Axis;
import fqt.tensor.Backend;
import fqt.tensor.DType;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ThreadsTest {
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void everyIterationRunsOnce(int count) {
    Threads threads = new Threads(count);
    for (int total : new int[] {0, 1, 2, 63, 64, 65, 1000}) {
      for (int grain : new int[] {1, 7, 64, 2000}) {
        AtomicIntegerArray runs = new AtomicIntegerArray(total);
        threads.forEach(
            total,
            grain,
            (from, end) -> {
              assertEquals(0, from % grain);
              for (long i = from; i < end; i++) {
                runs.incrementAndGet((int) i);
              }
            });
        for (int i = 0; i < total; i++) {
          assertEquals(1, runs.get(i));
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void exceptionsReachTheCaller(int count) {
    Threads threads = new Threads(count);
    IllegalStateException thrown =
        assertThrows(
            IllegalStateException.class,
            () ->
                threads.forEach(
                    100,
                    1,
                    (from, end) -> {
                      if (from == 57) {
                        throw new IllegalStateException("range 57");
                      }
                    }));
    assertEquals("range 57", thrown.getMessage());
    AtomicLong sum = new AtomicLong();
    threads.forEach(100, 1, (from, end) -> sum.addAndGet(from));
    assertEquals(4950, sum.get());
  }

  @Test
  void loopsMayNest() {
    Threads threads = new Threads(3);
    AtomicLong sum = new AtomicLong();
    threads.forEach(
        20, 1, (from, end) -> threads.forEach(10, 1, (i, j) -> sum.addAndGet(from * 10 + i)));
    assertEquals(19900, sum.get());
  }

  /** Each range waits for the other: a helper has to come, however long it slept. */
  @Test
  void helpersWakeUp() throws InterruptedException {
    Threads threads = new Threads(2);
    for (int round = 0; round < 20; round++) {
      CyclicBarrier both = new CyclicBarrier(2);
      threads.forEach(2, 1, (from, end) -> meet(both));
      Thread.sleep(round % 3);
    }
  }

  @Test
  void helpersSurviveInterruptions() {
    Threads threads = new Threads(2);
    for (int round = 0; round < 20; round++) {
      CyclicBarrier both = new CyclicBarrier(2);
      Thread caller = Thread.currentThread();
      threads.forEach(
          2,
          1,
          (from, end) -> {
            meet(both);
            if (Thread.currentThread() != caller) {
              Thread.currentThread().interrupt();
            }
          });
    }
  }

  @Test
  void interruptedCallersWaitAndStayInterrupted() {
    Threads threads = new Threads(2);
    AtomicLong done = new AtomicLong();
    CyclicBarrier both = new CyclicBarrier(2);
    Thread caller = Thread.currentThread();
    threads.forEach(
        2,
        1,
        (from, end) -> {
          meet(both);
          if (Thread.currentThread() != caller) {
            caller.interrupt();
            LockSupport.parkNanos(3_000_000);
          }
          done.incrementAndGet();
        });
    assertEquals(2, done.get());
    assertTrue(Thread.interrupted());
  }

  private static void meet(CyclicBarrier barrier) {
    try {
      barrier.await(1, TimeUnit.MINUTES);
    } catch (InterruptedException | BrokenBarrierException | TimeoutException failed) {
      throw new IllegalStateException(failed);
    }
  }

  /** Small loops of several callers, nested, with exceptions, and pauses in which helpers sleep. */
  @ParameterizedTest
  @ValueSource(ints = {2, 3, 8})
  void callersDoNotDisturbEachOther(int count) throws InterruptedException, ExecutionException {
    Threads threads = new Threads(count);
    try (ExecutorService callers = Executors.newFixedThreadPool(24)) {
      List<Future<?>> all = new ArrayList<>();
      for (int caller = 0; caller < 24; caller++) {
        int seed = caller;
        all.add(callers.submit(() -> smallLoops(threads, new Random(seed))));
      }
      for (Future<?> one : all) {
        one.get();
      }
    }
  }

  private static void smallLoops(Threads threads, Random random) {
    for (int i = 0; i < 400; i++) {
      int total = 1 + random.nextInt(40);
      int grain = 1 + random.nextInt(5);
      int failing = random.nextInt(4) == 0 ? random.nextInt(total) : -1;
      int inner = random.nextInt(3) == 0 ? random.nextInt(20) : 0;
      AtomicIntegerArray runs = new AtomicIntegerArray(total);
      AtomicInteger nested = new AtomicInteger();
      Threads.Range body =
          (from, end) -> {
            threads.forEach(inner, 1, (first, last) -> nested.incrementAndGet());
            for (long n = from; n < end; n++) {
              runs.incrementAndGet((int) n);
              if (n == failing) {
                throw new IllegalStateException("iteration " + n);
              }
            }
          };
      if (failing >= 0) {
        String message =
            assertThrows(IllegalStateException.class, () -> threads.forEach(total, grain, body))
                .getMessage();
        assertEquals("iteration " + failing, message);
      } else {
        threads.forEach(total, grain, body);
        assertEquals(inner * Math.ceilDiv(total, grain), nested.get());
      }
      for (int n = 0; n < total; n++) {
        assertTrue(runs.get(n) == 1 || failing >= 0 && runs.get(n) == 0, "iteration " + n);
      }
      if (random.nextInt(30) == 0) {
        LockSupport.parkNanos(random.nextInt(500_000));
      }
    }
  }

  /** Sizes large enough that two and three threads do share the work. */
  @Test
  void bitsDoNotDependOnTheNumberOfThreads() {
    try (Scope scope = Scope.open()) {
      Tensor x = Twins.random(new Random(23), 1, 400, 700);
      Tensor weight = Twins.random(new Random(29), 1, 700);
      long[] dims = {400, 700};
      same(dims, (cpu, out) -> cpu.unary(UnaryOp.GELU, x, out));
      same(dims, (cpu, out) -> cpu.rmsNorm(x, weight, 1e-6f, out));
      same(dims, (cpu, out) -> cpu.layerNorm(x, weight, weight, 1e-6f, out));
      same(dims, (cpu, out) -> cpu.softmax(x, out));
      same(new long[] {400}, (cpu, out) -> cpu.reduce(ReduceOp.SUM, Axis.ROWS, x, out));
      same(new long[] {700}, (cpu, out) -> cpu.reduce(ReduceOp.SUM, Axis.COLUMNS, x, out));
      same(new long[] {700, 400}, (cpu, out) -> cpu.copy(x.transpose(0, 1), out));
    }
  }

  private static void same(long[] dims, BiConsumer<Backend, Tensor> operation) {
    Tensor expected = Twins.dirty(DType.F32, dims);
    operation.accept(Twins.vector(1), expected);
    for (int threads = 2; threads <= 3; threads++) {
      Tensor out = Twins.dirty(DType.F32, dims);
      operation.accept(Twins.vector(threads), out);
      assertArrayEquals(Twins.bytes(expected), Twins.bytes(out));
    }
  }
}
