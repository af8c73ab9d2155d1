package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.cpu.asm.CpuFeatures;
import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.DotKernel.Kind;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.NibbleKernel;
import fqt.tensor.cpu.asm.TileDotKernel;
import fqt.tensor.cpu.asm.WidenKernel;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/** The machine code for products of a few rows, each kernel assembled when it is first wanted. */
final class DotKernels {
  /** Groups of 4-bit codes that kernels exist for, the largest first. */
  private static final int[] NIBBLE_GROUPS = {128, 64, 32};

  /** Bytes that fit into the second-level cache beside those at work. */
  private static final long MOST_AHEAD = 1 << 18;

  private final CpuFeatures features;
  private final int bits;
  private final boolean tiled;
  private final ConcurrentMap<Integer, DotKernel> dots = new ConcurrentHashMap<>();
  private final ConcurrentMap<String, NibbleKernel> nibbles = new ConcurrentHashMap<>();
  private final ConcurrentMap<Integer, TileDotKernel> tiles = new ConcurrentHashMap<>();
  private final Map<DType, WidenKernel> widen;

  /**
   * Kernels for vectors of that many bits.
   *
   * @param tiled whether AMX serves where it can
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  DotKernels(CpuFeatures features, int bits, boolean tiled) throws ExecutableMemory.Refused {
    this.features = features;
    this.bits = bits;
    this.tiled = tiled;
    this.widen =
        Map.of(
            DType.F32, new WidenKernel(WidenKernel.Kind.F32),
            DType.F16, new WidenKernel(WidenKernel.Kind.F16),
            DType.BF16, new WidenKernel(WidenKernel.Kind.BF16));
  }

  /** Width of the vectors. */
  int bits() {
    return bits;
  }

  /** Turns scales of a type into f32. */
  WidenKernel widen(DType type) {
    return widen.get(type);
  }

  /** How bytes are multiplied. */
  Kind bytes() {
    if (bits == 512) {
      return features.avx512Vnni() ? Kind.QUADS : Kind.PAIRS;
    }
    return features.avxVnni() ? Kind.VEX_QUADS : Kind.PAIRS;
  }

  /** The kernel for so many rows of x, in one of some passes over the same rows of the weight. */
  DotKernel dots(Kind kind, int rows, int passes, boolean scaled, boolean biased) {
    int ends = (scaled ? 2 : 0) + (biased ? 1 : 0);
    return dots.computeIfAbsent(
        ((kind.ordinal() * 32 + rows) * 32 + passes) * 4 + ends,
        _ -> {
          try {
            return new DotKernel(kind, bits, rows, passes, scaled, biased);
          } catch (ExecutableMemory.Refused refused) {
            throw new IllegalStateException(refused.getMessage(), refused);
          }
        });
  }

  /**
   * The kernel of AMX for so many rows of x, or null where vectors are the better way.
   *
   * @param depth terms of a sum
   * @param parts tiles of x for each tile of the weight
   */
  TileDotKernel tiles(Kind kind, int rows, int depth, int parts) {
    boolean fits = (kind.integer || kind == Kind.BF16) && depth * kind.bytes >= TileDotKernel.STEP;
    if (!tiled || !fits || rows <= DotKernel.mostRows(bits)) {
      return null;
    }
    long next = (long) TileDotKernel.SIDE * depth * kind.bytes;
    boolean ahead = parts == 1 && next <= MOST_AHEAD;
    return tiles.computeIfAbsent(
        (kind.integer ? 0 : 2 * parts) + (ahead ? 1 : 0),
        _ -> {
          try {
            return new TileDotKernel(kind.integer, parts, ahead);
          } catch (ExecutableMemory.Refused refused) {
            throw new IllegalStateException(refused.getMessage(), refused);
          }
        });
  }

  /**
   * The group that a kernel of 4-bit codes takes at a time, or 0 if none suits: parts of a group
   * share its scale.
   */
  static int nibbleGroup(long groupSize, long columns) {
    for (int group : NIBBLE_GROUPS) {
      if (groupSize % group == 0 && columns % groupSize == 0) {
        return group;
      }
    }
    return 0;
  }

  /** The kernel for 4-bit codes and x of so many bytes, with zero points or without. */
  NibbleKernel nibbles(int group, int digits, boolean zeros) {
    return nibbles.computeIfAbsent(
        group + " " + digits + " " + zeros,
        _ -> {
          try {
            boolean dot = bits == 512 && features.avx512Vnni();
            return new NibbleKernel(Math.min(bits, 4 * group), group, digits, dot, zeros);
          } catch (ExecutableMemory.Refused refused) {
            throw new IllegalStateException(refused.getMessage(), refused);
          }
        });
  }
}
