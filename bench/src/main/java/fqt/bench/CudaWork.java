package fqt.bench;

import fqt.cuda.CudaContext;
import fqt.cuda.CudaEvent;
import fqt.cuda.CudaGraph;
import fqt.cuda.CudaMatmul;
import fqt.cuda.MatmulOptions;
import fqt.tensor.DType;
import fqt.tensor.Float8;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * One of our matrix products, ready to be timed: random operands, weights in rotation so that none
 * is found in the cache, and a graph of about four milliseconds.
 */
final class CudaWork implements AutoCloseable {
  private static final long ROTATED_BYTES = 200_000_000;
  private static final double GRAPH_MICROSECONDS = 4000;
  private static final int CALLS = 100;
  private static final int CHUNK = 1 << 16;

  /** Random bytes that are values of a type; operands are pieces of them. */
  private static final Map<DType, byte[]> POOLS = new EnumMap<>(DType.class);

  private final CudaContext context;
  private final CudaMatmul matmul;
  private final MatmulOptions options;
  private final List<Storage> storages = new ArrayList<>();
  private final List<Tensor> weights = new ArrayList<>();
  private final Tensor activations;
  private final Tensor scaleA;
  private final Tensor scaleB;
  private final Tensor out;
  private final CudaEvent start;
  private final CudaEvent end;
  private final CudaGraph graph;
  private final int count;

  CudaWork(CudaContext context, DType operand, MatmulOptions options, int m, int n, int k) {
    this.context = context;
    this.options = options;
    matmul = new CudaMatmul(context);
    boolean scaled = operand != DType.BF16;
    activations = random(operand, m, k, 1);
    long copies = Math.clamp(Math.ceilDiv(ROTATED_BYTES, (long) n * k), 2, 16);
    for (int i = 0; i < copies; i++) {
      weights.add(random(operand, n, k, 2));
    }
    scaleA = scaled ? random(DType.F32, 1, m, 3) : null;
    scaleB = scaled ? random(DType.F32, 1, n, 4) : null;
    out = device(DType.BF16, m, n);
    start = new CudaEvent(context);
    end = new CudaEvent(context);
    multiply(0);
    multiply(1);
    context.stream().synchronize();
    start.record(context.stream());
    multiply(0);
    multiply(1);
    end.record(context.stream());
    end.synchronize();
    double one = Math.max(3, end.microsecondsSince(start) / 2);
    count = (int) Math.clamp(GRAPH_MICROSECONDS / one, copies, 200);
    graph =
        CudaGraph.record(
            context.stream(),
            () -> {
              for (int i = 0; i < count; i++) {
                multiply(i);
              }
            });
  }

  private void multiply(int i) {
    matmul.scaled(
        context.stream(),
        activations,
        weights.get(i % weights.size()),
        scaleA,
        scaleB,
        null,
        out,
        options);
  }

  /** Microseconds of GPU time for one product, from one replay of the graph. */
  double time() {
    start.record(context.stream());
    graph.launch();
    end.record(context.stream());
    end.synchronize();
    return end.microsecondsSince(start) / count;
  }

  /** Microseconds of host time for one call. */
  double call() {
    context.stream().synchronize();
    long begin = System.nanoTime();
    for (int i = 0; i < CALLS; i++) {
      multiply(i);
    }
    double time = (System.nanoTime() - begin) / 1e3 / CALLS;
    context.stream().synchronize();
    return time;
  }

  private Tensor device(DType type, long rows, long columns) {
    Storage storage = context.allocate(rows * columns * type.byteSize());
    storages.add(storage);
    return Tensor.of(storage, type, Shape.of(rows, columns));
  }

  /** Uniform values over the whole range of the type; the peer draws alike. */
  private Tensor random(DType type, long rows, long columns, long seed) {
    Tensor target = device(type, rows, columns);
    byte[] pool = POOLS.computeIfAbsent(type, CudaWork::pool);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(target.byteSize(), 16);
      SplittableRandom random = new SplittableRandom(seed + weights.size());
      for (long at = 0; at < bytes.byteSize(); at += CHUNK) {
        int length = (int) Math.min(CHUNK, bytes.byteSize() - at);
        int from = random.nextInt((pool.length - CHUNK) / 4) * 4;
        MemorySegment.copy(pool, from, bytes, ValueLayout.JAVA_BYTE, at, length);
      }
      context.upload(Tensor.of(bytes, type, target.shape()), target);
    }
    return target;
  }

  private static byte[] pool(DType type) {
    byte[] pool = new byte[16 << 20];
    new SplittableRandom(5).nextBytes(pool);
    shape(type, pool);
    return pool;
  }

  private static void shape(DType type, byte[] block) {
    for (int i = 0; i < block.length; i++) {
      switch (type) {
        case F8_E4M3 -> block[i] = Float8.floatToE4m3((block[i] + 0.5f) / 127.5f * 448f);
        // Sign, exponents 124 to 127 and a random fraction: values between 1/8 and 2.
        case BF16 -> block[i] = i % 2 == 0 ? block[i] : (byte) (block[i] & 0x81 | 0x3E);
        case F32 -> block[i] = i % 4 == 3 ? 0x3C : block[i];
        default -> {}
      }
    }
  }

  @Override
  public void close() {
    graph.close();
    start.close();
    end.close();
    storages.forEach(Storage::release);
  }
}
