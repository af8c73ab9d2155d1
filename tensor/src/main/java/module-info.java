/** Off-heap tensors, the operations on them, neural-net building blocks and tensor files. */
module fqt.tensor {
  requires jdk.incubator.vector;
  requires pickle;
  requires tools.jackson.core;

  exports fqt.io;
  exports fqt.nn;
  exports fqt.tensor;

  uses fqt.tensor.Backend.Provider;

  provides fqt.tensor.Backend.Provider with
      fqt.tensor.cpu.CpuProvider;
}
