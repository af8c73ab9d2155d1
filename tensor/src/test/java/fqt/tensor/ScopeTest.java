package fqt.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

/** Who frees what, and that nothing leaks. */
class ScopeTest {
  private final Backend cpu = Backends.of(Device.CPU);

  @Test
  void closingAScopeFreesItsTensors() {
    long before = cpu.liveBytes();
    try (Scope scope = Scope.open()) {
      Ops.zeros(Device.CPU, DType.F32, 3, 5);
      assertEquals(before + 60, cpu.liveBytes());
    }
    assertEquals(before, cpu.liveBytes());
  }

  @Test
  void useAfterCloseIsReported() {
    Tensor x;
    Tensor view;
    try (Scope scope = Scope.open()) {
      x = Ops.of(new float[] {1, 2, 3, 4}, 2, 2);
      view = x.transpose(0, 1);
    }
    String sentence = "use of a tensor whose scope was closed: its 16 bytes were released";
    assertEquals(sentence, assertThrows(IllegalStateException.class, x::segment).getMessage());
    assertEquals(
        sentence, assertThrows(IllegalStateException.class, () -> view.get(0, 0)).getMessage());
    assertEquals(
        sentence, assertThrows(IllegalStateException.class, () -> Ops.copy(view)).getMessage());
    assertEquals(
        sentence,
        assertThrows(IllegalStateException.class, () -> x.storage().address()).getMessage());
  }

  @Test
  void keepMovesATensorOneScopeOutward() {
    long before = cpu.liveBytes();
    try (Scope outer = Scope.open()) {
      Tensor kept;
      try (Scope inner = Scope.open()) {
        Ops.zeros(Device.CPU, DType.F32, 100);
        kept = inner.keep(Ops.full(Device.CPU, DType.F32, 7, 3));
      }
      assertEquals(before + 12, cpu.liveBytes());
      assertArrayEquals(new float[] {7, 7, 7}, kept.toFloats());
    }
    assertEquals(before, cpu.liveBytes());
  }

  @Test
  void keepFromTheOutermostScopeLeavesTheTensorToTheCollector() {
    long before = cpu.liveBytes();
    Tensor kept;
    try (Scope scope = Scope.open()) {
      kept = scope.keep(Ops.of(new float[] {1, 2, 3}, 3));
    }
    try (Scope scope = Scope.open()) {
      Ops.full(Device.CPU, DType.F32, 9, 3);
    }
    assertArrayEquals(new float[] {1, 2, 3}, kept.toFloats());
    assertEquals(before, cpu.liveBytes());
  }

  @Test
  void withoutAScopeTheCollectorOwns() {
    long before = cpu.liveBytes();
    Tensor free = Ops.of(new int[] {4, 5}, 2);
    assertEquals(before, cpu.liveBytes());
    assertArrayEquals(new long[] {4, 5}, free.toLongs());
  }

  @Test
  void scopesCloseInReverseOrder() {
    Scope outer = Scope.open();
    Scope inner = Scope.open();
    assertEquals(
        "a scope opened inside this one is still open",
        assertThrows(IllegalStateException.class, outer::close).getMessage());
    inner.close();
    outer.close();
    outer.close();
    assertEquals(
        "the scope is closed",
        assertThrows(
                IllegalStateException.class, () -> outer.keep(Ops.zeros(Device.CPU, DType.F32, 1)))
            .getMessage());
  }
}
