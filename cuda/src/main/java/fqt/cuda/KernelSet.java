package fqt.cuda;

import static java.lang.System.Logger.Level.DEBUG;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUfunction_attribute;
import jcuda.driver.CUjit_option;
import jcuda.driver.CUmodule;
import jcuda.driver.JCudaDriver;
import jcuda.driver.JITOptions;

/** The kernels of one context, each PTX resource compiled by the driver when first needed. */
final class KernelSet {
  private static final System.Logger LOG = System.getLogger("fqt.cuda");
  private static final int LOG_BYTES = 8192;

  private final Map<String, CUmodule> modules = new HashMap<>();
  private final Map<String, Long> functions = new HashMap<>();

  /**
   * The address of a kernel (CUfunction).
   *
   * @throws CudaException if the driver rejects the PTX, with the compiler's words
   */
  long find(String module, String kernel, int sharedBytes) {
    Long function = functions.get(kernel);
    if (function == null) {
      function = load(modules.computeIfAbsent(module, KernelSet::compile), kernel, sharedBytes);
      functions.put(kernel, function);
    }
    return function;
  }

  private static long load(CUmodule module, String kernel, int sharedBytes) {
    Handles.Function function = new Handles.Function();
    CudaException.check(
        JCudaDriver.cuModuleGetFunction(function, module, kernel), "finding kernel " + kernel);
    CudaException.check(
        JCudaDriver.cuFuncSetAttribute(
            function,
            CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            sharedBytes),
        "giving kernel %s %d bytes of shared memory".formatted(kernel, sharedBytes));
    return function.address();
  }

  private static CUmodule compile(String module) {
    long start = System.nanoTime();
    CUmodule compiled = compile(module, read(module));
    LOG.log(
        DEBUG,
        () -> "%s.ptx is ready after %.0f ms".formatted(module, (System.nanoTime() - start) / 1e6));
    return compiled;
  }

  /** Compiles the text of PTX; the name is for the message if the driver rejects it. */
  static CUmodule compile(String module, byte[] text) {
    JITOptions options = new JITOptions();
    options.putBytes(CUjit_option.CU_JIT_ERROR_LOG_BUFFER, new byte[LOG_BYTES]);
    options.putInt(CUjit_option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, LOG_BYTES);
    CUmodule result = new CUmodule();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment ptx = arena.allocate(text.length + 1L);
      MemorySegment.copy(text, 0, ptx, ValueLayout.JAVA_BYTE, 0, text.length);
      int code = JCudaDriver.cuModuleLoadDataJIT(result, new Handles.HostPointer(ptx), options);
      if (code != 0) {
        String log = options.getString(CUjit_option.CU_JIT_ERROR_LOG_BUFFER).strip();
        CudaException.check(
            code, "compiling %s.ptx%s".formatted(module, log.isEmpty() ? "" : " [" + log + "]"));
      }
    }
    return result;
  }

  /** The text of a PTX resource. */
  static byte[] read(String module) {
    try (InputStream in = KernelSet.class.getResourceAsStream(module + ".ptx")) {
      if (in == null) {
        throw new IllegalStateException("the kernels " + module + ".ptx are missing");
      }
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + module + ".ptx", e);
    }
  }

  /** Gives the modules back. */
  void unload() {
    modules.values().forEach(JCudaDriver::cuModuleUnload);
    modules.clear();
    functions.clear();
  }
}
