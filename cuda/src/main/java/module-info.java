/** NVIDIA GPUs as a backend: memory, streams, and the kernels that do the work. */
module fqt.cuda {
  requires transitive fqt.tensor;
  requires java.logging;
  requires jcuda;

  exports fqt.cuda;

  provides fqt.tensor.Backend.Provider with
      fqt.cuda.CudaProvider;
}
