package fqt.tools;

import fqt.io.SafetensorsWriter;
import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.stream.LongStream;

/**
 * Weights in BF16 that keep the size of what goes through them: matrices are normal with variance 1
 * / inputs, the scales of norms are one. A tensor depends on its name and the seed alone.
 */
record RandomWeights(long seed) {
  private static final int CHUNK = 1 << 16;

  /** Adds a tensor to a checkpoint. */
  void write(SafetensorsWriter writer, String name, Shape shape) {
    try (Arena arena = Arena.ofShared()) {
      MemorySegment bytes = arena.allocate(shape.count() * DType.BF16.byteSize());
      boolean ones = shape.rank() == 1 && name.endsWith(".weight");
      double deviation = 1 / Math.sqrt(shape.rank() == 1 ? shape.count() : inputs(shape));
      long chunks = (shape.count() + CHUNK - 1) / CHUNK;
      LongStream.range(0, chunks)
          .parallel()
          .forEach(chunk -> fill(bytes, chunk, ones, deviation, name));
      writer.write(name, Tensor.of(bytes, DType.BF16, shape));
    }
  }

  private static long inputs(Shape shape) {
    return shape.count() / shape.dim(0);
  }

  private void fill(MemorySegment bytes, long chunk, boolean ones, double deviation, String name) {
    long mixed = (seed * 31 + name.hashCode()) * 0x9E3779B97F4A7C15L + chunk;
    SplittableRandom random = new SplittableRandom(mixed);
    long end = Math.min(bytes.byteSize() / 2, (chunk + 1) * CHUNK);
    for (long i = chunk * CHUNK; i < end; i++) {
      float value = ones ? 1 : (float) (random.nextGaussian() * deviation);
      bytes.setAtIndex(ValueLayout.JAVA_SHORT, i, nearestBf16(value));
    }
  }

  /** The upper half of a float, rounded half to even. */
  private static short nearestBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }
}
