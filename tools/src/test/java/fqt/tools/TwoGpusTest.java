package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import fqt.cuda.CudaDevices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What all GPUs of a host write together is what one of them writes. */
class TwoGpusTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));

  @TempDir Path folder;

  @BeforeEach
  void needsTwo() {
    assumeTrue(CudaDevices.count() >= 2, "fewer than two GPUs");
  }

  private byte[] quantized(String model, String method, String device) throws IOException {
    Path out = folder.resolve(device.replace(':', '-'));
    CommandRun run =
        CommandRun.of(
            "quantize",
            FIXTURES.resolve(model).toString(),
            "--out",
            out.toString(),
            "--method",
            method,
            "--calib",
            FIXTURES.resolve("calib_ids.safetensors").toString(),
            "--group-size",
            "64",
            "--device",
            device);
    assertEquals(0, run.code(), run.err());
    return Files.readAllBytes(out.resolve("model.safetensors"));
  }

  @ParameterizedTest
  @CsvSource({
    "tiny-qwen2, gptq",
    "tiny-qwen3moe, gptq",
    "tiny-qwen2, awq",
    "tiny-qwen3moe, awq",
    "tiny-qwen2, smoothquant+gptq"
  })
  void allWriteTheBytesOfOne(String model, String method) throws IOException {
    byte[] one = quantized(model, method, "cuda:0");
    assertTrue(one.length > 1 << 18, one.length + " bytes");
    assertEquals(0, Arrays.compare(one, quantized(model, method, "cuda:all")));
  }
}
