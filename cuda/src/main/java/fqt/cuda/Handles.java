package fqt.cuda;

import java.lang.foreign.MemorySegment;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUfunction;
import jcuda.driver.CUstream;

/** JCuda's objects with their addresses readable, since its own accessor is protected. */
final class Handles {
  private Handles() {}

  /** A kernel. */
  static final class Function extends CUfunction {
    long address() {
      return getNativePointer();
    }
  }

  /** A stream. */
  static final class Stream extends CUstream {
    long address() {
      return getNativePointer();
    }
  }

  /** Device memory: as JCuda allocated it, or any address. */
  static final class DevicePointer extends CUdeviceptr {
    DevicePointer() {}

    DevicePointer(long address) {
      super(new CUdeviceptr(), address);
    }

    long address() {
      return getNativePointer() + getByteOffset();
    }
  }

  /** Host memory outside of the Java heap. */
  static final class HostPointer extends Pointer {
    HostPointer(MemorySegment segment) {
      super(requireNative(segment).address());
    }

    private static MemorySegment requireNative(MemorySegment segment) {
      if (!segment.isNative()) {
        throw new IllegalArgumentException("host memory on the Java heap cannot be copied");
      }
      return segment;
    }
  }
}
