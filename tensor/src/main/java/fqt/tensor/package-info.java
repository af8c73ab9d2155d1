/**
 * Tensors and what can be done with them.
 *
 * <p>A {@link fqt.tensor.Tensor} is a view of bytes somewhere: type, shape, strides, offset. It
 * computes nothing. {@link fqt.tensor.Ops}, and {@link fqt.tensor.QuantOps} for what quantization
 * does, compute: they check their operands once, allocate the result in the current {@link
 * fqt.tensor.Scope}, and hand the work to the {@link fqt.tensor.Backend} of the operands' {@link
 * fqt.tensor.Device}. The arrows run that way only: a tensor knows no operation, a backend checks
 * no argument twice.
 *
 * {@snippet :
 * try (Scope scope = Scope.open()) {
 *   Tensor x = Ops.of(new float[] {1, 2, 3, 4}, 2, 2);
 *   Tensor w = Ops.of(new float[] {1, 0, 0, 1}, 2, 2);
 *   float[] y = Ops.linear(x, w, null).toFloats();
 * } // x, w and the product are freed here
 * }
 */
package fqt.tensor;
