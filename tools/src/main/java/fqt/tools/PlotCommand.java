package fqt.tools;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tools.plot.Plots;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code fqt plot}: a picture of a tensor, or of the losses of a quantized checkpoint. */
@Command(
    name = "plot",
    description = {
      "Draws a tensor as PNG: its magnitudes as a surface, a histogram, or the largest magnitude of"
          + " each channel.",
      "With --kind loss it draws the losses over the layers of a folder that quantize wrote."
    })
final class PlotCommand implements Callable<Integer> {
  @Parameters(
      paramLabel = "FILE",
      description =
          "Checkpoint folder, .safetensors, .pkl, .pth, .pt or .bin; for --kind loss the output"
              + " folder of quantize.")
  private Path file;

  @Option(
      names = "--tensor",
      paramLabel = "NAME",
      description = "Name of the tensor; entry i of a recorded list is LIST.i.")
  private String name;

  @Option(names = "--out", required = true, paramLabel = "PNG", description = "File to write.")
  private Path out;

  @Option(
      names = "--kind",
      paramLabel = "KIND",
      defaultValue = "surface",
      description = "surface, histogram, channels or loss (default: surface).")
  private Kind kind;

  @Option(
      names = "--title",
      paramLabel = "TEXT",
      description = "Title of the picture (default: the tensor's name).")
  private String title;

  @Spec private CommandSpec spec;

  /** What is drawn. */
  enum Kind {
    SURFACE,
    HISTOGRAM,
    CHANNELS,
    LOSS
  }

  @Override
  public Integer call() {
    if (name == null && kind != Kind.LOSS) {
      throw Options.wrong(spec, "--tensor NAME is missing; 'fqt inspect FILE' lists the names");
    }
    // Java would otherwise look for a screen.
    System.setProperty("java.awt.headless", "true");
    Plots.write(kind == Kind.LOSS ? losses() : tensor(), out);
    spec.commandLine().getOut().printf("wrote %s%n", out);
    return 0;
  }

  private BufferedImage tensor() {
    try (NamedTensors tensors = NamedTensors.open(file);
        Scope scope = Scope.open()) {
      Tensor tensor = tensors.get(name);
      String words = title == null ? name : title;
      return switch (kind) {
        case SURFACE -> Plots.surface(tensor, words);
        case HISTOGRAM -> Plots.histogram(tensor, words);
        case CHANNELS -> Plots.channels(tensor, words);
        case LOSS -> throw new IllegalStateException("losses are no tensor");
      };
    }
  }

  private BufferedImage losses() {
    Path lines = Files.isDirectory(file) ? file.resolve(QuantizeReport.FILE) : file;
    Map<String, Double> losses = new LinkedHashMap<>();
    try {
      for (String text : Files.readAllLines(lines)) {
        JsonObject line = JsonObject.of(Json.parse(text, lines.toString()), lines.toString());
        losses.put(line.getString("linear"), line.getDouble("loss"));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    String words = title == null ? "Loss of each layer of " + file.getFileName() : title;
    return Plots.losses(losses, words);
  }
}
