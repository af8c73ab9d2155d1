package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.tensor.Backends;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A block of a GPU is written while the GPU goes on, and no memory is kept. */
@Timeout(60)
class BlockWritingTest {
  /** Two tensors that are gone when both have been told, the second one strided. */
  private static void twoTensors(BiConsumer<String, Tensor> taker) {
    try (Scope scope = Scope.open()) {
      taker.accept("first", Ops.of(new float[] {1, 2, 3, 4}, 2, 2));
      taker.accept("second", Ops.of(new float[] {5, 6, 7, 8}, 2, 2).transpose(0, 1));
    }
  }

  @Test
  void tensorsOfAGpuAreWrittenByAnotherThreadMeanwhile() throws InterruptedException {
    long before = Backends.of(Device.CPU).liveBytes();
    CountDownLatch goesOn = new CountDownLatch(1);
    Map<String, float[]> written = new LinkedHashMap<>();
    AtomicReference<Thread> writer = new AtomicReference<>();
    try (BlockWriting writing =
        BlockWriting.start(
            Device.cuda(0),
            BlockWritingTest::twoTensors,
            tensors -> {
              await(goesOn);
              writer.set(Thread.currentThread());
              tensors.each((name, x) -> written.put(name, x.toFloats()));
            })) {
      goesOn.countDown();
      writing.end();
    }
    assertNotSame(Thread.currentThread(), writer.get());
    assertArrayEquals(new float[] {1, 2, 3, 4}, written.get("first"));
    assertArrayEquals(new float[] {5, 7, 6, 8}, written.get("second"));
    assertEquals(before, Backends.of(Device.CPU).liveBytes());
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void tensorsOfTheHostAreWrittenAtOnce() {
    AtomicReference<Thread> writer = new AtomicReference<>();
    BlockWriting.start(
            Device.CPU,
            BlockWritingTest::twoTensors,
            tensors -> tensors.each((name, x) -> writer.set(Thread.currentThread())))
        .end();
    assertSame(Thread.currentThread(), writer.get());
  }

  @Test
  void aFailureIsThrownWhereTheEndIsAwaited() {
    long before = Backends.of(Device.CPU).liveBytes();
    IllegalStateException full = new IllegalStateException("the disk is full");
    try (BlockWriting writing =
        BlockWriting.start(
            Device.cuda(0),
            BlockWritingTest::twoTensors,
            tensors -> {
              throw full;
            })) {
      assertSame(full, assertThrows(IllegalStateException.class, writing::end));
    }
    assertEquals(before, Backends.of(Device.CPU).liveBytes());
  }
}
