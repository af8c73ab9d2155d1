package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Io;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tools.plot.Fonts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PlotCommandTest {
  private static final String MODEL = System.getProperty("fqt.fixtures") + "/tiny-qwen2";

  @TempDir Path folder;

  @BeforeAll
  static void needsFonts() {
    Fonts.assumeThere();
  }

  @ParameterizedTest
  @ValueSource(strings = {"surface", "histogram", "channels"})
  void drawsTensorsOfCheckpoints(String kind) throws IOException {
    Path png = folder.resolve(kind + ".png");
    CommandRun run =
        CommandRun.of(
            "plot",
            MODEL,
            "--tensor",
            "model.layers.1.mlp.up_proj.weight",
            "--kind",
            kind,
            "--out",
            png.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals(1920, ImageIO.read(png.toFile()).getWidth());
  }

  @ParameterizedTest
  @ValueSource(strings = {"safetensors", "pkl", "pth"})
  void drawsEntriesOfRecordings(String ending) {
    Path file = folder.resolve("recording." + ending);
    try (Scope scope = Scope.open()) {
      Io.dump(
          Map.of("model_input", List.of(Ops.of(new float[6], 2, 3), Ops.of(new float[3], 1, 3))),
          file);
    }
    Path png = folder.resolve("out.png");
    CommandRun run =
        CommandRun.of(
            "plot", file.toString(), "--tensor", "model_input.1", "--out", png.toString());
    assertEquals(0, run.code(), run.err());
    assertTrue(Files.exists(png));
  }

  @Test
  void drawsLosses() throws IOException {
    Files.writeString(
        folder.resolve(QuantizeReport.FILE),
        """
        {"linear":"model.layers.0.mlp.up_proj","loss":0.5}
        {"linear":"model.layers.1.mlp.up_proj","loss":0.7}
        """);
    Path png = folder.resolve("out.png");
    CommandRun run =
        CommandRun.of("plot", folder.toString(), "--kind", "loss", "--out", png.toString());
    assertEquals(0, run.code(), run.err());
    assertTrue(Files.exists(png));
  }

  @Test
  void wrongNamesAreSaid() {
    String png = folder.resolve("out.png").toString();
    CommandRun unknown = CommandRun.of("plot", MODEL, "--tensor", "up_proj.weight", "--out", png);
    assertEquals(1, unknown.code());
    assertTrue(unknown.err().contains("holds no tensor 'up_proj.weight'; it has"), unknown.err());
    assertTrue(unknown.err().contains("model.embed_tokens.weight"), unknown.err());
    assertEquals(2, CommandRun.of("plot", MODEL, "--out", png).code());
    assertEquals(2, CommandRun.of("plot", MODEL, "--out", png, "--kind", "pie").code());
    CommandRun nowhere =
        CommandRun.of(
            "plot",
            MODEL,
            "--tensor",
            "model.norm.weight",
            "--kind",
            "channels",
            "--out",
            folder.resolve("no/such/folder.png").toString());
    assertEquals(1, nowhere.code());
    assertEquals(1, nowhere.err().lines().count(), nowhere.err());
  }
}
