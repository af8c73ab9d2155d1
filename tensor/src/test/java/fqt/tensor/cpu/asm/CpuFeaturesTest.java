package fqt.tensor.cpu.asm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class CpuFeaturesTest {
  @Test
  void bitsCountOnlyIfTheSystemSavesTheRegisters() {
    int[] all = {-1, -1, -1, -1};
    assertTrue(CpuFeatures.of(all, all, all, -1).amx());
    assertEquals(
        "AVX2, AVX-VNNI, AVX-512, AVX512-VNNI, AVX512-BF16, AMX",
        CpuFeatures.of(all, all, all, -1).names());
    CpuFeatures avxOnly = CpuFeatures.of(all, all, all, 0x7);
    assertTrue(avxOnly.avx2() && avxOnly.avxVnni());
    assertFalse(avxOnly.avx512() || avxOnly.avx512Vnni() || avxOnly.avx512Bf16() || avxOnly.amx());
    assertFalse(CpuFeatures.of(all, all, all, 0).avx2());
    CpuFeatures avx512 = CpuFeatures.of(all, all, new int[4], 0xe7);
    assertTrue(avx512.avx512() && avx512.avx512Vnni());
    assertFalse(avx512.avx512Bf16() || avx512.amx());
  }

  /** The kernel of Linux asks the processor too. */
  @Test
  void theProcessorSaysWhatTheSystemSays() throws IOException {
    Path file = Path.of("/proc/cpuinfo");
    assumeTrue(Files.exists(file) && System.getProperty("os.arch").equals("amd64"));
    List<String> flags;
    try (var lines = Files.lines(file)) {
      flags =
          lines
              .filter(line -> line.startsWith("flags"))
              .findFirst()
              .map(line -> Arrays.asList(line.split(" ")))
              .orElseThrow();
    }
    CpuFeatures features;
    try {
      features = CpuFeatures.detect();
    } catch (ExecutableMemory.Refused refused) {
      throw new AssertionError("machine code must run on Linux on amd64", refused);
    }
    assertEquals(flags.contains("avx2") && flags.contains("fma"), features.avx2());
    assertEquals(
        flags.containsAll(List.of("avx512f", "avx512bw", "avx512dq", "avx512vl")),
        features.avx512());
    assertEquals(flags.contains("avx512_vnni"), features.avx512Vnni());
    assertEquals(flags.contains("avx_vnni"), features.avxVnni());
    assertEquals(flags.contains("avx512_bf16"), features.avx512Bf16());
  }
}
