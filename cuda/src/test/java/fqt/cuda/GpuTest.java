package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What can be seen of the GPU, or of there being none. */
class GpuTest {
  @Test
  void withoutGpuOneSentenceSaysWhy() {
    assumeTrue(CudaDevices.count() == 0, "this machine has a GPU");
    List<String> lines = CudaDevices.describe();
    assertEquals(1, lines.size());
    assertTrue(lines.getFirst().startsWith("none: "), lines.getFirst());
    IllegalStateException refusal =
        assertThrows(IllegalStateException.class, () -> CudaContext.open(0));
    assertTrue(
        lines.getFirst().endsWith(refusal.getMessage())
            || refusal.getMessage().equals("there is no device cuda:0; the driver shows 0"),
        refusal.getMessage());
  }

  @Test
  void kernelsAgreeWithTheHost() {
    assumeTrue(CudaDevices.count() > 0, "no GPU: " + CudaDevices.describe().getFirst());
    try (CudaContext context = CudaContext.open(0)) {
      assertEquals(
          0,
          new GpuCheck(context, new Random().nextLong(), CheckChoice.of(List.of("quick"))).run());
      assertEquals(0, context.liveBytes());
    }
  }

  @Test
  void memoryIsCopiedReleasedAndRefusedInWords() {
    assumeTrue(CudaDevices.count() > 0, "no GPU: " + CudaDevices.describe().getFirst());
    try (CudaContext context = CudaContext.open(0);
        Arena arena = Arena.ofConfined()) {
      Tensor host = Tensor.of(arena.allocate(12, 4), fqt.tensor.DType.F32, Shape.of(3));
      Storage storage = context.allocate(12);
      Tensor device = Tensor.of(storage, fqt.tensor.DType.F32, Shape.of(3));
      context.upload(host, device);
      assertThrows(IllegalStateException.class, storage::segment);
      storage.release();
      storage.release();
      assertEquals(0, context.liveBytes());
      assertThrows(IllegalStateException.class, storage::address);
      CudaException refusal = assertThrows(CudaException.class, () -> context.allocate(1L << 50));
      assertTrue(refusal.getMessage().contains("bytes free"), refusal.getMessage());
    }
  }
}
