package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** That everything is measured; how fast it is, is no matter of a test. */
class BenchCommandTest {
  @Test
  void measuresKernelsBesideCeilings() {
    CommandRun run = CommandRun.of("bench", "--size", "128", "--seconds", "0.01");
    assertEquals(0, run.code(), run.err());
    for (String name :
        List.of(
            "multiply-adds in registers +\\d.* GFLOP/s",
            "memory read +\\d.* GB/s",
            "f32 product 128 × 128 × 128 +\\d.* GFLOP/s +\\d+ %",
            "int8 product 128 × 128 × 128 +\\d.* Gop/s +\\d+ %",
            "int4 linear, one token, 512 × 512 +\\d.* GB/s +\\d+ %")) {
      assertTrue(run.out().lines().anyMatch(line -> line.matches(name)), name + "\n" + run.out());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"--size 100", "--size 0", "--seconds 0", "GemmBench"})
  void wrongOptionsAreUsageErrors(String options) {
    CommandRun run = CommandRun.of(("bench " + options).split(" "));
    assertEquals(2, run.code(), run.err());
    assertEquals(1, run.err().lines().count(), run.err());
  }
}
