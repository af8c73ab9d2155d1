package fqt.cuda;

import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.JCudaDriver;

/** The NVIDIA GPUs of this machine. */
public final class CudaDevices {
  private CudaDevices() {}

  /** {@return how many GPUs the driver shows; 0 without a driver} */
  public static int count() {
    if (Driver.absent() != null) {
      return 0;
    }
    int[] count = new int[1];
    CudaException.check(JCudaDriver.cuDeviceGetCount(count), "counting the GPUs");
    return count[0];
  }

  /** {@return one line a GPU for {@code fqt doctor}, or one line that says why there is none} */
  public static List<String> describe() {
    if (Driver.absent() != null) {
      return List.of("none: " + Driver.absent());
    }
    int count = count();
    if (count == 0) {
      return List.of("none: the NVIDIA driver shows no GPU");
    }
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      lines.add(describe(i));
    }
    return lines;
  }

  static String describe(int index) {
    CUdevice device = device(index);
    int[] version = new int[1];
    JCudaDriver.cuDriverGetVersion(version);
    int capability = capability(device);
    return "cuda:%d %s, compute capability %d.%d, %d multiprocessors, CUDA %d.%d; kernels: %s"
        .formatted(
            index,
            name(device),
            capability / 10,
            capability % 10,
            attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
            version[0] / 1000,
            version[0] % 1000 / 10,
            GemmFamily.describe(capability));
  }

  static CUdevice device(int index) {
    Driver.require();
    int count = count();
    if (index < 0 || index >= count) {
      throw new IllegalStateException(
          "there is no device cuda:%d; the driver shows %d".formatted(index, count));
    }
    CUdevice device = new CUdevice();
    CudaException.check(JCudaDriver.cuDeviceGet(device, index), "opening cuda:" + index);
    return device;
  }

  static String name(CUdevice device) {
    byte[] bytes = new byte[256];
    CudaException.check(
        JCudaDriver.cuDeviceGetName(bytes, bytes.length, device), "reading a GPU's name");
    int end = 0;
    while (bytes[end] != 0) {
      end++;
    }
    return new String(bytes, 0, end, java.nio.charset.StandardCharsets.US_ASCII);
  }

  /** Compute capability times ten. */
  static int capability(CUdevice device) {
    return 10 * attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
        + attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  }

  static int attribute(CUdevice device, int attribute) {
    int[] value = new int[1];
    CudaException.check(
        JCudaDriver.cuDeviceGetAttribute(value, attribute, device), "reading a GPU's properties");
    return value[0];
  }
}
