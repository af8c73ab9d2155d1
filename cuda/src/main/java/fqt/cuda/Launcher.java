package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Launches kernels that take plain arguments, one after the other on the stream of a GPU. Every
 * argument is handed over in eight bytes, of which the kernel reads as many as its parameter has; a
 * float goes in as {@link #bits}, a tensor as {@link #address}. A kernel's last parameter may be a
 * structure of eight-byte fields.
 */
final class Launcher {
  /** Threads of a block where nothing asks for another number. */
  static final int THREADS = 256;

  private static final long MAX_BLOCKS = Integer.MAX_VALUE;
  private static final long MAX_GRID_Y = 65_535;

  /** The types in the order of {@code Type} (elements.cuh). */
  private static final List<DType> CODES =
      List.of(
          DType.F32,
          DType.F16,
          DType.BF16,
          DType.F8_E4M3,
          DType.F8_E5M2,
          DType.I64,
          DType.I32,
          DType.I16,
          DType.I8,
          DType.U8,
          DType.BOOL);

  private final CudaContext context;

  Launcher(CudaContext context) {
    this.context = context;
  }

  CudaContext context() {
    return context;
  }

  /** Launches blocks in one dimension without further shared memory; nothing if there are none. */
  void run(String module, String kernel, long blocks, int threads, long... arguments) {
    run(module, kernel, blocks, 1, threads, 0, arguments);
  }

  /**
   * Launches blocks in two dimensions; nothing if there are none.
   *
   * @param module the PTX resource without its ending
   * @param sharedBytes dynamic shared memory, the same in all launches of a kernel
   */
  void run(
      String module,
      String kernel,
      long blocksX,
      long blocksY,
      int threads,
      int sharedBytes,
      long... arguments) {
    if (blocksX == 0 || blocksY == 0) {
      return;
    }
    if (blocksX > MAX_BLOCKS || blocksY > MAX_GRID_Y) {
      throw new IllegalArgumentException(
          "%s would need %d x %d blocks; %s has room for %d x %d"
              .formatted(kernel, blocksX, blocksY, context.device(), MAX_BLOCKS, MAX_GRID_Y));
    }
    synchronized (context) {
      context.bind();
      LaunchBlock block = context.block();
      MemorySegment values = block.arguments();
      for (int i = 0; i < arguments.length; i++) {
        values.setAtIndex(JAVA_LONG, i, arguments[i]);
        block.argument(i, values.address() + i * (long) Long.BYTES);
      }
      block.shape((int) blocksX, (int) blocksY, threads, sharedBytes, 1);
      long function = context.kernels().find(module, kernel, sharedBytes);
      context.check(
          block.launch(context.stream().handle().address(), function, false, false),
          "launching " + kernel);
    }
  }

  /** Blocks of {@link #THREADS} threads that give every element a thread. */
  static long blocks(long elements) {
    return Math.ceilDiv(elements, (long) THREADS);
  }

  /** Where a tensor's first element is; 0 for none. */
  static long address(Tensor tensor) {
    return tensor == null
        ? 0
        : tensor.storage().address() + tensor.offset() * tensor.dtype().byteSize();
  }

  /** A float as an argument. */
  static long bits(float value) {
    return Integer.toUnsignedLong(Float.floatToRawIntBits(value));
  }

  /** The number that the kernels know a type by (elements.cuh). */
  static long code(DType dtype) {
    return CODES.indexOf(dtype);
  }
}
