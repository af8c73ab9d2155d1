package fqt.tensor.cpu;

/** The products on the Vector API alone, as where machine code is refused. */
class VectorMatricesTest extends MatricesTest {
  @Override
  KernelChoice kernels() {
    return KernelChoice.vector("");
  }
}
