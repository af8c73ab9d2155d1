package fqt.bench;

import fqt.cuda.CudaContext;
import fqt.cuda.CudaQuantize;
import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/** The quantize kernels: how many of the bytes that they must move they move a second. */
final class CudaQuantizeBench {
  private static final int ROWS = 16_384;
  private static final int SETS = 3;
  private static final int LAUNCHES = 12;

  private CudaQuantizeBench() {}

  /** One kernel on one of the sets of operands. */
  private interface Quantize {
    void run(Tensor x, Tensor codes, Tensor scales);
  }

  static void run(CudaContext context) {
    CudaQuantize quantize = new CudaQuantize(context);
    for (int columns : new int[] {3584, 18_944}) {
      List<Storage> storages = new ArrayList<>();
      Tensor weight = random(context, storages, columns);
      for (DType codes : List.of(DType.I8, DType.F8_E4M3)) {
        time(
            context,
            codes,
            columns,
            "per token",
            (x, c, s) -> quantize.perToken(context.stream(), x, c, s));
        time(
            context,
            codes,
            columns,
            "norm, per token",
            (x, c, s) -> quantize.normPerToken(context.stream(), x, weight, 1e-6f, c, s));
        time(
            context,
            codes,
            columns,
            "per tensor",
            (x, c, s) -> quantize.perTensor(context.stream(), x, s.slice(0, 0, 1), c));
      }
      storages.forEach(Storage::release);
    }
  }

  private static void time(
      CudaContext context, DType type, int columns, String title, Quantize quantize) {
    List<Storage> storages = new ArrayList<>();
    List<Tensor> inputs = new ArrayList<>();
    List<Tensor> codes = new ArrayList<>();
    for (int i = 0; i < SETS; i++) {
      inputs.add(random(context, storages, (long) ROWS * columns).reshape(ROWS, columns));
      codes.add(tensor(context, storages, type, (long) ROWS * columns).reshape(ROWS, columns));
    }
    Tensor scales = tensor(context, storages, DType.F32, ROWS);
    quantize.run(inputs.getFirst(), codes.getFirst(), scales);
    double median =
        GraphTime.median(
            context,
            LAUNCHES,
            i -> quantize.run(inputs.get(i % SETS), codes.get(i % SETS), scales));
    System.out.printf(
        "quantize %s to %s, %d x %d bf16: %.1f us, %.2f TB/s%n",
        title, type, ROWS, columns, median, 3.0 * ROWS * columns / median / 1e6);
    storages.forEach(Storage::release);
  }

  private static Tensor tensor(
      CudaContext context, List<Storage> storages, DType type, long count) {
    Storage storage = context.allocate(count * type.byteSize());
    storages.add(storage);
    return Tensor.of(storage, type, Shape.of(count));
  }

  /** Normal bfloat16 values between 1/8 and 2, of either sign. */
  private static Tensor random(CudaContext context, List<Storage> storages, long count) {
    Tensor target = tensor(context, storages, DType.BF16, count);
    byte[] block = new byte[1 << 20];
    new SplittableRandom(7).nextBytes(block);
    for (int i = 1; i < block.length; i += 2) {
      block[i] = (byte) (block[i] & 0x81 | 0x3E);
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(target.byteSize(), 16);
      MemorySegment source = MemorySegment.ofArray(block);
      for (long at = 0; at < bytes.byteSize(); at += block.length) {
        long length = Math.min(block.length, bytes.byteSize() - at);
        MemorySegment.copy(source, 0, bytes, at, length);
      }
      context.upload(Tensor.of(bytes, DType.BF16, target.shape()), target);
    }
    return target;
  }
}
