package fqt.cuda;

import fqt.tensor.Backend;

/**
 * Offers the GPUs of this machine as backends. Linears with weights of 16 bits and attention round
 * activations to bfloat16; the system property {@code fqt.cuda.activations=f32} keeps them whole.
 */
public final class CudaProvider implements Backend.Provider {
  /** For {@code ServiceLoader}. */
  public CudaProvider() {}

  @Override
  public String kind() {
    return "cuda";
  }

  @Override
  public Backend open(int index) {
    return new CudaBackend(CudaContext.open(index), wholeActivations());
  }

  private static boolean wholeActivations() {
    String asked = System.getProperty("fqt.cuda.activations", "bf16");
    if (!asked.equals("bf16") && !asked.equals("f32")) {
      throw new IllegalStateException(
          "fqt.cuda.activations is '" + asked + "'; expected 'bf16' or 'f32'");
    }
    return asked.equals("f32");
  }
}
