package fqt.cuda;

import fqt.tensor.Backend;

/** Offers the GPUs of this machine as backends. */
public final class CudaProvider implements Backend.Provider {
  @Override
  public String kind() {
    return "cuda";
  }

  @Override
  public Backend open(int index) {
    return new CudaBackend(CudaContext.open(index));
  }
}
