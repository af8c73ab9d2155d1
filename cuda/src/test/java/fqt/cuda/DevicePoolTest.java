package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The pool over a driver that has a fixed number of bytes. */
class DevicePoolTest {
  private static final long MIB = 1L << 20;

  /** Counts what it gave out; takes back only that. */
  private static final class Bytes implements DevicePool.Source {
    private final Map<Long, Long> given = new HashMap<>();
    private final long total;
    private long free;
    private long next = 512;

    Bytes(long total) {
      this.total = total;
      this.free = total;
    }

    @Override
    public long allocate(long byteSize) {
      if (byteSize > free) {
        return 0;
      }
      free -= byteSize;
      long address = next;
      next += byteSize;
      given.put(address, byteSize);
      return address;
    }

    @Override
    public void free(long address, long byteSize) {
      assertEquals(byteSize, given.remove(address));
      free += byteSize;
    }

    @Override
    public void settle() {}

    @Override
    public long free() {
      return free;
    }
  }

  @Test
  void aPieceThatWasGivenBackServesTheNextRequestOfItsSize() {
    Bytes bytes = new Bytes(10 * MIB);
    DevicePool pool = new DevicePool("cuda:0", bytes, Long.MAX_VALUE);
    long first = pool.take(1000);
    pool.give(first, 1000);
    assertEquals(first, pool.take(1024));
    assertNotEquals(first, pool.take(1024));
    assertEquals(2, bytes.given.size());
  }

  @Test
  void whatIsIdleIsGivenBackBeforeARequestIsRefused() {
    Bytes bytes = new Bytes(10 * MIB);
    DevicePool pool = new DevicePool("cuda:0", bytes, Long.MAX_VALUE);
    pool.give(pool.take(6 * MIB), 6 * MIB);
    assertEquals(4 * MIB, bytes.free);
    long address = pool.take(8 * MIB);
    assertEquals(2 * MIB, bytes.free);
    pool.give(address, 8 * MIB);
    pool.trim();
    assertEquals(bytes.total, bytes.free);
  }

  @Test
  void aRefusalSaysWhatIsFreeAndWhatIsInUse() {
    DevicePool pool = new DevicePool("cuda:0", new Bytes(10 * MIB), Long.MAX_VALUE);
    pool.take(3 * MIB);
    CudaException refused = assertThrows(CudaException.class, () -> pool.take(8 * MIB));
    assertTrue(refused.isOutOfMemory());
    assertEquals(
        "cuda:0 has %d bytes free beside %d in use; %d were asked for"
            .formatted(7 * MIB, 3 * MIB, 8 * MIB),
        refused.getMessage());
  }

  @Test
  void aLimitHoldsAsIfTheGpuWereSmaller() {
    Bytes bytes = new Bytes(100 * MIB);
    DevicePool pool = new DevicePool("cuda:0", bytes, 10 * MIB);
    long kept = pool.take(4 * MIB);
    pool.give(pool.take(5 * MIB), 5 * MIB);
    pool.take(6 * MIB);
    assertEquals(90 * MIB, bytes.free);
    CudaException refused = assertThrows(CudaException.class, () -> pool.take(1));
    assertTrue(refused.getMessage().startsWith("cuda:0 has 0 bytes free"), refused.getMessage());
    pool.give(kept, 4 * MIB);
    pool.take(1);
  }

  @Test
  void thePeakCountsWhatIsIdleAndBeginsAnewWhenAskedFor() {
    DevicePool pool = new DevicePool("cuda:0", new Bytes(100 * MIB), Long.MAX_VALUE);
    long first = pool.take(3 * MIB);
    long second = pool.take(4 * MIB);
    pool.give(second, 4 * MIB);
    pool.take(2 * MIB);
    assertEquals(9 * MIB, pool.takePeak());
    pool.give(first, 3 * MIB);
    assertEquals(9 * MIB, pool.takePeak());
    pool.trim();
    pool.takePeak();
    assertEquals(2 * MIB, pool.takePeak());
  }

  @Test
  void largePiecesAreNotKept() {
    Bytes bytes = new Bytes(1024 * MIB);
    DevicePool pool = new DevicePool("cuda:0", bytes, Long.MAX_VALUE);
    pool.give(pool.take(40 * MIB), 40 * MIB);
    assertEquals(bytes.total, bytes.free);
  }
}
