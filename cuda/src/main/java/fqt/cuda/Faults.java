package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.driver.JCudaDriver;

/**
 * Where a kernel notes the first index that was out of range ({@code Fault} in rows.cu), in host
 * memory that the GPU can write: the host looks whenever it has waited for the GPU anyway.
 */
final class Faults {
  private static final long PAGE = 4096;
  private static final int MAPPED = 2;

  private final CudaContext context;
  private final MemorySegment note;
  private final long address;

  Faults(CudaContext context, Arena arena) {
    this.context = context;
    note = arena.allocate(PAGE, PAGE);
    context.check(
        JCudaDriver.cuMemHostRegister(new Handles.HostPointer(note), PAGE, MAPPED),
        "mapping a page of host memory");
    Handles.DevicePointer pointer = new Handles.DevicePointer();
    context.check(
        JCudaDriver.cuMemHostGetDevicePointer(pointer, new Handles.HostPointer(note), 0),
        "mapping a page of host memory");
    address = pointer.address();
  }

  /** The note as the GPU sees it. */
  long address() {
    return address;
  }

  /**
   * Passes if nothing was noted.
   *
   * @throws IndexOutOfBoundsException naming the index, once
   */
  void check() {
    if (note.get(JAVA_INT, 0) != 0) {
      note.set(JAVA_INT, 0, 0);
      throw new IndexOutOfBoundsException(
          "index[%d] is %d, which is not in the table that an operation on %s indexed"
              .formatted(note.get(JAVA_LONG, 8), note.get(JAVA_INT, 4), context.device()));
    }
  }

  void close() {
    context.check(
        JCudaDriver.cuMemHostUnregister(new Handles.HostPointer(note)), "unmapping host memory");
  }
}
