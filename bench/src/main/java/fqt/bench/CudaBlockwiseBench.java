package fqt.bench;

import fqt.cuda.CudaContext;
import fqt.cuda.CudaMatmul;
import fqt.cuda.MatmulOptions;
import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/** e4m3 products with scales for 1 x 128 by 128 x 128 elements; the peer is in torch_ops.py. */
final class CudaBlockwiseBench {
  private static final int[][] LAYERS = {
    {4608, 3584}, {37_888, 3584}, {3584, 18_944}, {8192, 8192}
  };
  private static final int[] TOKENS = {64, 256, 1024, 4096, 8192};
  private static final int SETS = 3;
  private static final int LAUNCHES = 9;
  private static final long BLOCK = 128;

  private final CudaContext context;
  private final CudaMatmul matmul;
  private final List<Storage> storages = new ArrayList<>();

  private CudaBlockwiseBench(CudaContext context) {
    this.context = context;
    this.matmul = new CudaMatmul(context);
  }

  static void run(CudaContext context) {
    for (int[] layer : LAYERS) {
      for (int tokens : TOKENS) {
        CudaBlockwiseBench bench = new CudaBlockwiseBench(context);
        double time = bench.time(tokens, layer[0], layer[1]);
        double rate = 2.0 * tokens * layer[0] * layer[1] / time / 1e6;
        System.out.printf(
            "| blockwise %d x %d x %d | %.1f us | %.0f T |%n",
            tokens, layer[0], layer[1], time, rate);
        bench.storages.forEach(Storage::release);
      }
    }
  }

  private double time(long m, long n, long k) {
    long across = Math.ceilDiv(k, BLOCK);
    Tensor a = random(DType.F8_E4M3, m, k);
    Tensor scaleA = random(DType.F32, m, across);
    Tensor scaleB = random(DType.F32, Math.ceilDiv(n, BLOCK), across);
    Tensor out = device(DType.BF16, m, n);
    List<Tensor> weights = new ArrayList<>();
    for (int i = 0; i < SETS; i++) {
      weights.add(random(DType.F8_E4M3, n, k));
    }
    multiply(a, weights.getFirst(), scaleA, scaleB, out);
    return GraphTime.median(
        context, LAUNCHES, i -> multiply(a, weights.get(i % SETS), scaleA, scaleB, out));
  }

  private void multiply(Tensor a, Tensor b, Tensor scaleA, Tensor scaleB, Tensor out) {
    matmul.blockwise(context.stream(), a, b, scaleA, scaleB, null, out, MatmulOptions.FAST);
  }

  private Tensor device(DType type, long rows, long columns) {
    Storage storage = context.allocate(rows * columns * type.byteSize());
    storages.add(storage);
    return Tensor.of(storage, type, Shape.of(rows, columns));
  }

  /** Codes of every finite value, or scales near 1; a block of them over and over. */
  private Tensor random(DType type, long rows, long columns) {
    SplittableRandom random = new SplittableRandom(rows * columns);
    Tensor target = device(type, rows, columns);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(target.byteSize(), 16);
      long first = Math.min(target.count(), 1 << 20);
      for (long i = 0; i < first; i++) {
        if (type == DType.F32) {
          bytes.setAtIndex(ValueLayout.JAVA_FLOAT, i, 0.5f + (float) random.nextDouble());
        } else {
          byte code = (byte) (random.nextInt(0x7F) | random.nextInt(2) << 7);
          bytes.set(ValueLayout.JAVA_BYTE, i, code);
        }
      }
      long block = first * type.byteSize();
      for (long at = block; at < bytes.byteSize(); at += block) {
        MemorySegment.copy(bytes, 0, bytes, at, Math.min(block, bytes.byteSize() - at));
      }
      context.upload(Tensor.of(bytes, type, target.shape()), target);
    }
    return target;
  }
}
