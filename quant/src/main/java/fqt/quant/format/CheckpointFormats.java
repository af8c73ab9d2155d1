package fqt.quant.format;

import java.util.List;

/** The checkpoint formats there are. */
public final class CheckpointFormats {
  private static final List<CheckpointFormat> ALL =
      List.of(
          new GptqFormat(), new AwqFormat(), new CompressedTensorsFormat(), new SimulatedFormat());

  private CheckpointFormats() {}

  /** {@return all formats} */
  public static List<CheckpointFormat> all() {
    return ALL;
  }

  /**
   * {@return the format of a name}
   *
   * @param name as {@link CheckpointFormat#name} gives it
   * @throws IllegalArgumentException if there is none, naming those that there are
   */
  public static CheckpointFormat named(String name) {
    for (CheckpointFormat format : ALL) {
      if (format.name().equals(name)) {
        return format;
      }
    }
    throw new IllegalArgumentException(
        "there is no format '%s'; expected one of %s"
            .formatted(name, ALL.stream().map(CheckpointFormat::name).toList()));
  }
}
