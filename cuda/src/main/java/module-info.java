/** Kernels for NVIDIA GPUs, run through JCuda. */
module fqt.cuda {
  requires fqt.tensor;
}
