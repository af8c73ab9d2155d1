package fqt.cuda;

import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/** A call of the CUDA driver that failed, with the driver's own words. */
public final class CudaException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** What the driver answered, a CUresult. */
  private final int code;

  CudaException(int code, String message) {
    super(message);
    this.code = code;
  }

  /** {@return the driver's error code (CUresult)} */
  public int code() {
    return code;
  }

  /** {@return whether the GPU had too little memory} */
  public boolean isOutOfMemory() {
    return code == CUresult.CUDA_ERROR_OUT_OF_MEMORY;
  }

  /**
   * Passes on success.
   *
   * @param action what was tried, as in "allocating 5 bytes"
   * @throws CudaException if the code is not CUDA_SUCCESS
   */
  static void check(int code, String action) {
    if (code != CUresult.CUDA_SUCCESS) {
      throw new CudaException(code, action + " failed: " + text(code));
    }
  }

  private static String text(int code) {
    String[] words = new String[1];
    JCudaDriver.cuGetErrorString(code, words);
    String name = CUresult.stringFor(code);
    return words[0] == null ? name : words[0] + " (" + name + ")";
  }
}
