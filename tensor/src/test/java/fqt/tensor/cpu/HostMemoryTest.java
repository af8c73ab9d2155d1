package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class HostMemoryTest {
  @Test
  void releasedBlocksAreReused() {
    HostMemory memory = new HostMemory(1 << 20);
    HostStorage first = memory.allocate(1000);
    long address = first.address();
    assertEquals(0, address % HostMemory.ALIGNMENT);
    first.release();
    first.release();
    assertEquals(0, memory.liveBytes());
    assertEquals(address, memory.allocate(990).address());
    assertEquals(0, memory.idleBytes());
  }

  @Test
  void aBlockMuchTooLargeIsNotReused() {
    HostMemory memory = new HostMemory(1 << 20);
    HostStorage large = memory.allocate(100_000);
    large.segment();
    large.release();
    memory.allocate(70_000).segment();
    assertEquals(HostMemory.roundUp(100_000), memory.idleBytes());
    memory.allocate(90_000).segment();
    assertEquals(0, memory.idleBytes());
  }

  @Test
  void beyondTheLimitTheOldestBlocksAreFreed() {
    HostMemory memory = new HostMemory(2048);
    HostStorage[] storages = new HostStorage[3];
    MemorySegment[] segments = new MemorySegment[3];
    for (int i = 0; i < 3; i++) {
      storages[i] = memory.allocate(1024);
      segments[i] = storages[i].segment();
    }
    for (HostStorage storage : storages) {
      storage.release();
    }
    assertEquals(2048, memory.idleBytes());
    assertFalse(segments[0].scope().isAlive());
    assertTrue(segments[1].scope().isAlive());
    assertTrue(segments[2].scope().isAlive());
  }

  @Test
  void aDetachedStorageKeepsItsContentsAndLeavesThePool() {
    HostMemory memory = new HostMemory(1 << 20);
    HostStorage storage = memory.allocate(5);
    storage.segment().set(ValueLayout.JAVA_BYTE, 4, (byte) 42);
    storage.detach();
    assertEquals(42, storage.segment().get(ValueLayout.JAVA_BYTE, 4));
    assertEquals(0, memory.liveBytes());
    assertEquals(64, memory.idleBytes());
    storage.release();
    assertEquals(64, memory.idleBytes());
    assertThrows(IllegalStateException.class, storage::segment);
  }

  @Test
  void aStorageDetachedBeforeUseTakesNoBlock() {
    HostMemory memory = new HostMemory(1 << 20);
    HostStorage storage = memory.allocate(1 << 16);
    storage.detach();
    assertEquals(1 << 16, storage.segment().byteSize());
    assertEquals(0, memory.idleBytes());
    assertEquals(0, memory.liveBytes());
  }

  @Test
  void sizesAreRoundedUpByAtMostAnEighth() {
    for (long size = 1; size < 100_000; size += 37) {
      long rounded = HostMemory.roundUp(size);
      assertEquals(0, rounded % HostMemory.ALIGNMENT);
      assertTrue(rounded >= size, () -> rounded + " is too small");
      assertTrue(rounded <= Math.max(size + 64, size + size / 8), () -> rounded + " is too large");
      assertEquals(rounded, HostMemory.roundUp(rounded));
    }
    assertEquals(HostMemory.ALIGNMENT, HostMemory.roundUp(0));
  }
}
