package fqt.tensor.cpu;

import fqt.tensor.Backend;

/** Offers the CPU backend. */
public final class CpuProvider implements Backend.Provider {
  @Override
  public String kind() {
    return "cpu";
  }

  @Override
  public Backend open(int index) {
    throw new IllegalStateException("the CPU backend is not built");
  }
}
