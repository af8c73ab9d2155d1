package fqt.tools;

import fqt.io.FileFormatException;
import fqt.models.CausalLm;
import fqt.models.GenerationConfig;
import fqt.models.ImageProcessor;
import fqt.models.Picture;
import fqt.models.Pictures;
import fqt.models.tokenizer.Tokenizer;
import fqt.tensor.Backends;
import fqt.tensor.Device;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalInt;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.TypeConversionException;

/** What every command that runs a model takes: its folder and the device. */
final class ModelOptions {
  @Parameters(paramLabel = "MODEL", description = "Checkpoint folder.")
  private Path folder;

  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      defaultValue = "cpu",
      converter = ToDevice.class,
      description = "cpu or cuda:N (default: cpu).")
  private Device device;

  /** Reads a device name. */
  static final class ToDevice implements ITypeConverter<Device> {
    @Override
    public Device convert(String text) {
      try {
        return Device.parse(text);
      } catch (IllegalArgumentException wrong) {
        throw new TypeConversionException(wrong.getMessage());
      }
    }
  }

  Path folder() {
    return folder;
  }

  Device device() {
    return device;
  }

  /** Opens the model, after making sure that the device can be used. */
  CausalLm load() {
    Backends.of(device);
    return CausalLm.load(folder, device);
  }

  /** Pictures as the model takes them; it must be one that sees. */
  Pictures pictures(CausalLm lm, List<Path> files) {
    if (lm.vision() == null) {
      throw new IllegalArgumentException(
          "a model of type '%s' sees no pictures".formatted(lm.config().modelType()));
    }
    return ImageProcessor.load(folder).process(files.stream().map(Picture::read).toList());
  }

  Tokenizer tokenizer() {
    return Tokenizer.load(folder);
  }

  /** A data file as this model reads it. */
  TokenData data(String file, CausalLm model) {
    return TokenData.load(file, this::encoder, model.config().text().vocabulary());
  }

  private TokenData.Encoder encoder() {
    Tokenizer tokenizer = tokenizer();
    return new TokenData.Encoder(text -> tokenizer.encode(text, false), endOfText(tokenizer));
  }

  /**
   * Chat models end a turn with their end token; what ends a text is another one, if they have it.
   */
  private int endOfText(Tokenizer tokenizer) {
    for (String token : List.of("<|endoftext|>", "<|end_of_text|>")) {
      OptionalInt id = tokenizer.id(token);
      if (id.isPresent()) {
        return id.getAsInt();
      }
    }
    return GenerationConfig.load(folder).stopTokens().stream()
        .min(Comparator.naturalOrder())
        .orElseThrow(() -> new FileFormatException(folder + " names no token that ends a text"));
  }

  /** Tokens of a window: what the user asked for, or 2048 if the model can place so many. */
  static int windowLength(Integer asked, CausalLm model) {
    return asked != null ? asked : (int) Math.min(2048, model.config().text().maxPositions());
  }
}
