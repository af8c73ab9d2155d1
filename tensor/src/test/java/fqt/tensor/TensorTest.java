package fqt.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** Shapes and views, and the sentences that say what is wrong with them. */
class TensorTest {
  private final Tensor x = Ops.of(new float[] {0, 1, 2, 3, 4, 5}, 2, 3);

  @Test
  void viewsShareElements() {
    assertArrayEquals(new float[] {0, 3, 1, 4, 2, 5}, floats(x.transpose(0, 1)));
    assertArrayEquals(new float[] {0, 4}, floats(x.diagonal()));
    assertArrayEquals(new float[] {1, 5}, floats(x.slice(1, 1, 3).transpose(0, 1).diagonal()));
    assertArrayEquals(new float[] {1, 2, 4, 5}, floats(x.slice(1, 1, 3)));
    assertArrayEquals(new float[] {3, 4, 5}, floats(x.select(0, 1)));
    assertArrayEquals(new float[] {2, 5}, floats(x.select(-1, 2)));
    assertEquals(Shape.of(3, 2), x.reshape(3, -1).shape());
    Ops.fill(x.transpose(0, 1).select(0, 1), 9);
    assertArrayEquals(new float[] {0, 9, 2, 3, 9, 5}, x.toFloats());
  }

  private static float[] floats(Tensor view) {
    return Ops.contiguous(view).toFloats();
  }

  @Test
  void contiguityIgnoresDimensionsOfOne() {
    assertTrue(x.slice(0, 1, 2).isContiguous());
    assertFalse(x.slice(1, 0, 2).isContiguous());
    assertFalse(x.transpose(0, 1).isContiguous());
    assertTrue(x.reshape(6, 1).transpose(0, 1).isContiguous());
  }

  @Test
  void wrongViewsAreReported() {
    assertEquals(
        "slice 1 to 4 of dimension 1 of F32[2, 3]",
        assertThrows(IndexOutOfBoundsException.class, () -> x.slice(1, 1, 4)).getMessage());
    assertEquals(
        "index 2 of dimension 0 of F32[2, 3]",
        assertThrows(IndexOutOfBoundsException.class, () -> x.select(0, 2)).getMessage());
    assertEquals(
        "no dimension 2 in shape [2, 3]",
        assertThrows(IndexOutOfBoundsException.class, () -> x.dim(2)).getMessage());
    assertEquals(
        "cannot view F32[2, 3] (6 elements) as [4, -1]",
        assertThrows(IllegalArgumentException.class, () -> x.reshape(4, -1)).getMessage());
    assertEquals(
        "F32[3, 2] is strided and has no reshaped view; copy it with Ops.contiguous first",
        assertThrows(IllegalStateException.class, () -> x.transpose(0, 1).reshape(6)).getMessage());
    assertEquals(
        "cannot read F32[2, 3] as I16: 4 bytes an element against 2",
        assertThrows(IllegalArgumentException.class, () -> x.bitcast(DType.I16)).getMessage());
  }

  @Test
  void wrongShapesAreReported() {
    assertEquals(
        "negative dimension in shape [2, -1]",
        assertThrows(IllegalArgumentException.class, () -> Shape.of(2, -1)).getMessage());
    long huge = 1L << 40;
    assertEquals(
        "shape [1099511627776, 1099511627776] has more than 2^63 - 1 elements",
        assertThrows(IllegalArgumentException.class, () -> Shape.of(huge, huge)).getMessage());
  }

  @Test
  void wrongOperandsAreReported() {
    Tensor y = Ops.zeros(Device.CPU, DType.F32, 4, 3);
    Tensor ints = Ops.of(new int[] {1, 2}, 2);
    check("cannot multiply a F32[2, 3] by b F32[4, 3]", () -> Ops.matmul(x, y));
    check(
        "b F32[4, 3] fits neither the shape nor the last dimension of a F32[2, 3]",
        () -> Ops.add(x, y));
    check("x is I32[2]; expected type F32", () -> Ops.affine(ints, 1, 0));
    check("the 4 largest of rows of F32[2, 3]", () -> Ops.topK(x, 4));
    check(
        "x F32[2, 3] should have 2 elements in its last dimension",
        () -> Ops.rmsNorm(x, Ops.of(new float[2], 2), 1e-6f));
    check("5 values for F32[2, 3]", () -> Ops.of(new float[5], 2, 3));
    check(
        "scale is F32[4, 3]; expected shape [2, 1]",
        () -> QuantOps.quantize(x, Blocks.PER_ROW, y, null, -8, 7, DType.I8));
  }

  private static void check(String sentence, Runnable operation) {
    assertEquals(
        sentence, assertThrows(IllegalArgumentException.class, operation::run).getMessage());
  }
}
