package fqt.tools;

import fqt.cuda.CudaDevices;
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
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** What every command that runs a model takes: its folder and the device. */
final class ModelOptions {
  @Parameters(paramLabel = "MODEL", description = "Checkpoint folder.")
  private Path folder;

  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      defaultValue = "cpu",
      converter = ToDevices.class,
      description = "cpu or cuda:N; to quantize, also cuda:all (default: cpu).")
  private Devices devices;

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command;

  /**
   * What {@code --device} names.
   *
   * @param one null if all GPUs are meant
   */
  record Devices(Device one) {
    /** All of them; their number is known only when they are needed. */
    List<Device> all() {
      return one != null
          ? List.of(one)
          : IntStream.range(0, Math.max(1, CudaDevices.count())).mapToObj(Device::cuda).toList();
    }
  }

  /** Reads a device name. */
  static final class ToDevices implements ITypeConverter<Devices> {
    private static final String ALL = "cuda:all";

    @Override
    public Devices convert(String text) {
      try {
        return new Devices(text.equals(ALL) ? null : Device.parse(text));
      } catch (IllegalArgumentException wrong) {
        throw new TypeConversionException(wrong.getMessage());
      }
    }
  }

  /** A model on one device or, for each to do its part, on several; closed together. */
  record Models(List<CausalLm> all) implements AutoCloseable {
    CausalLm first() {
      return all.getFirst();
    }

    @Override
    public void close() {
      all.forEach(CausalLm::close);
    }
  }

  Path folder() {
    return folder;
  }

  /** The device of a command that runs on one. */
  Device device() {
    if (devices.one == null) {
      throw Options.wrong(command, "only quantize runs on cuda:all; name one GPU, as in cuda:0");
    }
    return devices.one;
  }

  /** Opens the model to run it as it is, after making sure that the device can be used. */
  CausalLm load() {
    Backends.of(device());
    CausalLm model = CausalLm.load(folder, device());
    model.freeze();
    return model;
  }

  /** Opens the model on every device that was named. */
  Models loadAll() {
    List<CausalLm> models = new ArrayList<>();
    try {
      for (Device device : devices.all()) {
        Backends.of(device);
        models.add(CausalLm.load(folder, device));
      }
    } catch (RuntimeException e) {
      models.forEach(CausalLm::close);
      throw e;
    }
    return new Models(models);
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
