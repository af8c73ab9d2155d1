package fqt.bench;

import fqt.cuda.CudaContext;
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
 * Random operands on the GPU: whatever is asked for lives until this is closed. The weights [N, K]
 * of a layer are made once for each type, so many of them that none is found in the cache when they
 * are used by turns.
 */
final class CudaOperands implements AutoCloseable {
  private static final long ROTATED_BYTES = 200_000_000;
  private static final int CHUNK = 1 << 16;

  /** Random bytes that are values of a type; operands are pieces of them. */
  private static final Map<DType, byte[]> POOLS = new EnumMap<>(DType.class);

  private final CudaContext context;
  private final long n;
  private final long k;
  private final List<Storage> storages = new ArrayList<>();
  private final Map<DType, List<Tensor>> weights = new EnumMap<>(DType.class);

  CudaOperands(CudaContext context, long n, long k) {
    this.context = context;
    this.n = n;
    this.k = k;
  }

  long n() {
    return n;
  }

  long k() {
    return k;
  }

  /** Weights [N, K], more than the cache holds. */
  List<Tensor> weights(DType type) {
    return weights.computeIfAbsent(type, this::rotation);
  }

  private List<Tensor> rotation(DType type) {
    List<Tensor> made = new ArrayList<>();
    long copies = Math.clamp(Math.ceilDiv(ROTATED_BYTES, n * k), 2, 16);
    for (int i = 0; i < copies; i++) {
      made.add(random(type, n, k, 2 + i));
    }
    return made;
  }

  /** Memory without contents. */
  Tensor empty(DType type, long rows, long columns) {
    Storage storage = context.allocate(rows * columns * type.byteSize());
    storages.add(storage);
    return Tensor.of(storage, type, Shape.of(rows, columns));
  }

  /** Uniform values over the whole range of the type; the peer draws alike. */
  Tensor random(DType type, long rows, long columns, long seed) {
    Tensor target = empty(type, rows, columns);
    byte[] pool = POOLS.computeIfAbsent(type, CudaOperands::pool);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(target.byteSize(), 16);
      SplittableRandom random = new SplittableRandom(seed);
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
    storages.forEach(Storage::release);
  }
}
