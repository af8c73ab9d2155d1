package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.random;
import static fqt.tensor.cpu.TestMatrices.size;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;

class KernelTiersTest {
  @Test
  void machineCodeAndVectorApiGiveTheSameBits() {
    KernelChoice best = KernelChoice.best();
    assumeTrue(best.description().contains("machine code,"), best.description());
    Matrices machine = new Matrices(new Threads(1), best);
    Matrices vector = new Matrices(new Threads(1), KernelChoice.vector(""));
    Random random = new Random(1);
    for (int i = 0; i < 40; i++) {
      int m = Streaming.MOST_ROWS + size(random);
      int n = size(random);
      int k = i % 4 == 0 ? 1200 + size(random) : size(random);
      Tensor a = random(random, DType.F32, m, k);
      Tensor b = random(random, DType.F32, k, n);
      Tensor first = random(random, DType.F32, m, n);
      Tensor second = TestMatrices.copy(first);
      machine.gemm(-1.25f, a, b, i % 3 / 2f, first);
      vector.gemm(-1.25f, a, b, i % 3 / 2f, second);
      assertSameBits(second, first, a + " " + b);
    }
  }

  /** A machine with AVX2 on Linux must not fall onto the slower tier. */
  @Test
  void thisMachineTakesMachineCodeIfItCan() {
    boolean can =
        System.getProperty("os.name").equals("Linux")
            && System.getProperty("os.arch").equals("amd64")
            && GemmKernel.COLUMNS >= 16;
    assumeTrue(can);
    String description = KernelChoice.best().description();
    assertTrue(description.matches(".*machine code, (AVX|AMX).*"), description);
  }
}
