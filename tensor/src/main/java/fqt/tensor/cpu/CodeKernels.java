package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.cpu.asm.CodeDotKernel;
import fqt.tensor.cpu.asm.CodeLayout;
import fqt.tensor.cpu.asm.CodeScaleKernel;
import fqt.tensor.cpu.asm.CodeScaleKernel.Kind;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.WholeKernel;
import java.util.EnumMap;
import java.util.Map;

/** The machine code for products with codes of one layout. */
final class CodeKernels {
  private final CodeLayout layout;
  private final CodeDotKernel dots;
  private final Map<Kind, WholeKernel> whole = new EnumMap<>(Kind.class);
  private final Map<Kind, CodeScaleKernel> scales = new EnumMap<>(Kind.class);

  /**
   * Assembles the kernels.
   *
   * @param byteDots whether the processor has vpdpbusd (AVX512-VNNI)
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  CodeKernels(CodeLayout layout, boolean byteDots) throws ExecutableMemory.Refused {
    this.layout = layout;
    this.dots = new CodeDotKernel(layout, byteDots);
    for (Kind kind : Kind.values()) {
      whole.put(kind, new WholeKernel(layout, kind));
      scales.put(kind, new CodeScaleKernel(layout, kind));
    }
  }

  CodeLayout layout() {
    return layout;
  }

  /** What multiplies. */
  CodeDotKernel dots() {
    return dots;
  }

  /** Whether x of a type need not become F32 first. */
  static boolean reads(DType type) {
    return type == DType.F32 || type == DType.F16 || type == DType.BF16;
  }

  /** What turns x of a type into whole numbers. */
  WholeKernel whole(DType type) {
    return whole.get(kind(type));
  }

  /** What reads scales of a type. */
  CodeScaleKernel scales(DType type) {
    return scales.get(kind(type));
  }

  private static Kind kind(DType type) {
    return switch (type) {
      case F32 -> Kind.F32;
      case F16 -> Kind.F16;
      case BF16 -> Kind.BF16;
      default -> throw new IllegalArgumentException("no kernel reads " + type);
    };
  }
}
