package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;

/** What a matrix multiply refuses, and in which words. */
class CudaArgumentsTest {
  private static Tensor tensor(DType dtype, long... dims) {
    Shape shape = Shape.of(dims);
    return Tensor.of(Arena.ofAuto().allocate(shape.count() * dtype.byteSize(), 16), dtype, shape);
  }

  private static void refuses(
      String words, Tensor a, Tensor b, Tensor scaleA, Tensor scaleB, Tensor bias, Tensor out) {
    IllegalArgumentException refusal =
        assertThrows(
            IllegalArgumentException.class,
            () -> MatmulArguments.of(Device.cuda(0), a, b, scaleA, scaleB, false, bias, out));
    assertEquals(words, refusal.getMessage());
  }

  @Test
  void typesAndShapesMustFit() {
    Tensor a = tensor(DType.I8, 2, 5);
    Tensor b = tensor(DType.I8, 3, 5);
    Tensor out = tensor(DType.BF16, 2, 3);
    refuses(
        "A is I8[2, 5] and B is F8_E4M3[3, 5]; expected one type for both",
        a,
        tensor(DType.F8_E4M3, 3, 5),
        null,
        null,
        null,
        out);
    refuses(
        "A is I8[2, 5] and B is I8[3, 6]; expected [M, K], [N, K]",
        a,
        tensor(DType.I8, 3, 6),
        null,
        null,
        null,
        out);
    refuses(
        "the result is BF16[3, 2]; expected [2, 3]",
        a,
        b,
        null,
        null,
        null,
        tensor(DType.BF16, 3, 2));
    refuses(
        "B is I8[3, 5] with 3 elements between columns; expected rows without gaps",
        a,
        tensor(DType.I8, 5, 3).transpose(0, 1),
        null,
        null,
        null,
        out);
    refuses("the bias is F32[4]; expected 3 elements", a, b, null, null, tensor(DType.F32, 4), out);
    refuses(
        "an I32 result is for int8 without scales and bias",
        a,
        b,
        tensor(DType.F32, 2),
        null,
        null,
        tensor(DType.I32, 2, 3));
    refuses(
        "an I32 result is for int8 without scales and bias",
        tensor(DType.BF16, 2, 5),
        tensor(DType.BF16, 3, 5),
        null,
        null,
        null,
        tensor(DType.I32, 2, 3));
  }

  @Test
  void sumsOfInt8MustNotOverflow() {
    refuses(
        "sums of 131072 int8 products can overflow; expected at most 131071",
        tensor(DType.I8, 1, 131_072),
        tensor(DType.I8, 1, 131_072),
        null,
        null,
        null,
        tensor(DType.F32, 1, 1));
  }

  @Test
  void tensorsMustBeOnTheGpu() {
    refuses(
        "A is I8[2, 5] on cpu; expected it on cuda:0",
        tensor(DType.I8, 2, 5),
        tensor(DType.I8, 3, 5),
        null,
        null,
        null,
        tensor(DType.BF16, 2, 3));
  }
}
