/** NVIDIA GPUs: memory, streams, quantized matrix multiply and the kernels that do the work. */
module fqt.cuda {
  requires transitive fqt.tensor;
  requires java.logging;
  requires jcuda;

  exports fqt.cuda;
}
