package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;

class ProcessorsTest {
  @Test
  void threadsAreKeptOffOneProcessor() throws InterruptedException {
    assumeTrue(Processors.current() != Processors.UNKNOWN, "threads can be placed");
    CompletableFuture<Integer> id = new CompletableFuture<>();
    CompletableFuture<Integer> seen = new CompletableFuture<>();
    CountDownLatch kept = new CountDownLatch(1);
    Thread thread =
        Thread.ofPlatform()
            .start(
                () -> {
                  id.complete(Processors.thread());
                  try {
                    kept.await();
                  } catch (InterruptedException stop) {
                    seen.completeExceptionally(stop);
                  }
                  seen.complete(Processors.current());
                  Processors.release();
                });
    int here = Processors.current();
    Processors.keepOff(id.join(), here);
    kept.countDown();
    assertNotEquals(here, seen.join());
    thread.join();
  }

  @Test
  void aThreadLeavesAndComesBackAtOnce() {
    assumeTrue(Processors.current() != Processors.UNKNOWN, "threads can be placed");
    int here = Processors.current();
    Processors.keepOff(Processors.SELF, here);
    assertNotEquals(here, Processors.current());
    Processors.keepOn(Processors.SELF, here);
    assertEquals(here, Processors.current());
    Processors.release();
    assertNotEquals(Processors.UNKNOWN, Processors.thread());
    assertEquals(Processors.thread(), Processors.thread());
  }
}
