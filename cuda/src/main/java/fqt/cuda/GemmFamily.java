package fqt.cuda;

import fqt.tensor.DType;
import java.util.Set;

/** The generations of matrix-multiply kernels, each for the GPUs that its instructions run on. */
enum GemmFamily {
  /** wgmma and bulk tensor copies; compute capability 9.0 and no other. */
  HOPPER("wgmma, TMA", Set.of(DType.I8, DType.F8_E4M3, DType.BF16)),
  /** mma.sync with e4m3; from compute capability 8.9. */
  ADA("mma.sync", Set.of(DType.I8, DType.F8_E4M3, DType.BF16)),
  /** mma.sync without 8-bit floats; from compute capability 8.0. */
  AMPERE("mma.sync", Set.of(DType.I8, DType.BF16));

  private final String instructions;

  @SuppressWarnings("ImmutableEnumChecker") // made by Set.of
  private final Set<DType> operands;

  GemmFamily(String instructions, Set<DType> operands) {
    this.instructions = instructions;
    this.operands = operands;
  }

  /** Whether operands of this type can be multiplied. */
  boolean multiplies(DType dtype) {
    return operands.contains(dtype);
  }

  /**
   * The family for a compute capability (times ten).
   *
   * @throws IllegalStateException if there is none
   */
  static GemmFamily of(int capability) {
    if (capability == 90) {
      return HOPPER;
    }
    if (capability >= 89) {
      return ADA;
    }
    if (capability >= 80) {
      return AMPERE;
    }
    throw new IllegalStateException(
        "compute capability %d.%d has no 8-bit matrix multiply; expected 8.0 or later"
            .formatted(capability / 10, capability % 10));
  }

  /** The choice in words, for {@code fqt doctor}. */
  static String describe(int capability) {
    if (capability < 80) {
      return "none (compute capability 8.0 or later is needed)";
    }
    GemmFamily family = of(capability);
    return family.instructions
        + (family.multiplies(DType.F8_E4M3) ? " for int8, e4m3 and bf16" : " for int8 and bf16");
  }
}
