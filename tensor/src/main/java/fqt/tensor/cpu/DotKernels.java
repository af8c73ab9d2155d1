package fqt.tensor.cpu;

import fqt.tensor.PackedWeight;
import fqt.tensor.cpu.asm.CodeLayout;
import fqt.tensor.cpu.asm.CpuFeatures;
import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.DotKernel.Kind;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.TileDotKernel;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/** The machine code for products of a few rows, each kernel assembled when it is first wanted. */
final class DotKernels {
  /** Groups of codes that kernels exist for, the largest first. */
  private static final int[] CODE_GROUPS = {128, 64, 32};

  /** Bytes that fit into the second-level cache beside those at work. */
  private static final long MOST_AHEAD = 1 << 18;

  private final CpuFeatures features;
  private final int bits;
  private final boolean tiled;
  private final ConcurrentMap<Integer, DotKernel> dots = new ConcurrentHashMap<>();
  private final ConcurrentMap<CodeLayout, CodeKernels> codes = new ConcurrentHashMap<>();
  private final ConcurrentMap<Integer, TileDotKernel> tiles = new ConcurrentHashMap<>();

  /**
   * Kernels for vectors of that many bits.
   *
   * @param tiled whether AMX serves where it can
   */
  DotKernels(CpuFeatures features, int bits, boolean tiled) {
    this.features = features;
    this.bits = bits;
    this.tiled = tiled;
  }

  /** Width of the vectors. */
  int bits() {
    return bits;
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
    boolean fits =
        (kind.integer || kind == Kind.BF16) && depth * kind.bytes % TileDotKernel.STEP == 0;
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
   * The group that a kernel of codes takes at a time, or 0 if none suits: parts of a group share
   * its scale, and the last of a row may be shorter.
   */
  static int codeGroup(long groupSize, long columns) {
    for (int group : CODE_GROUPS) {
      if (groupSize % group == 0) {
        return group;
      }
    }
    return groupSize == columns ? CODE_GROUPS[0] : 0;
  }

  /** The kernels for a weight of 4-bit or 8-bit codes and numbers of x of so many digits. */
  CodeKernels codes(PackedWeight w, int digits) {
    int group = codeGroup(w.groupSize(), w.columns());
    int width = w.bits() == 4 ? Math.min(bits, 4 * group) : bits;
    CodeLayout layout = new CodeLayout(w.bits(), width, group, digits, w.zeros() != null);
    CodeKernels known = codes.get(layout);
    return known != null ? known : codes.computeIfAbsent(layout, this::assemble);
  }

  private CodeKernels assemble(CodeLayout layout) {
    try {
      return new CodeKernels(layout, bits == 512 && features.avx512Vnni());
    } catch (ExecutableMemory.Refused refused) {
      throw new IllegalStateException(refused.getMessage(), refused);
    }
  }
}
