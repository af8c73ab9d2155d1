package fqt.tensor;

import java.lang.foreign.MemorySegment;

/**
 * A run of bytes on a device, shared by a tensor and its views. A {@link Scope} owns it and
 * releases it; using it afterwards is an error that every access reports.
 */
public interface Storage {
  /** {@return where the bytes are} */
  Device device();

  /** {@return how many bytes there are} */
  long byteSize();

  /**
   * {@return the bytes as host memory}
   *
   * @throws IllegalStateException if the storage was released, or lives on another device
   */
  MemorySegment segment();

  /**
   * {@return the address on the device}
   *
   * @throws IllegalStateException if the storage was released
   */
  long address();

  /** Gives the bytes back. A second call does nothing. */
  void release();

  /** Hands the bytes to the garbage collector: called when they outlive the last open scope. */
  void detach();

  /** Promises that the bytes will not change; see {@link Ops#freeze}. */
  default void freeze() {
    // A device that keeps nothing has nothing to do.
  }

  /**
   * {@return what was made of a storage that is frozen; null otherwise, and where nothing is kept}
   */
  default Derived derived() {
    return null;
  }
}
