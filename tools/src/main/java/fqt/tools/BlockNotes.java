package fqt.tools;

import fqt.io.Json;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.quant.report.FoldReport;
import fqt.tools.report.BlockProbe;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * What a report shows of the insides of blocks, noted while they are quantized: a file a block in
 * the work folder, so that a job that continues after it was stopped has those of its first run.
 */
final class BlockNotes {
  private final Path folder;
  private final boolean wanted;
  private BlockProbe probe;

  /** Notes in a folder of their own below the work folder, if they are wanted. */
  BlockNotes(WorkFolder work, boolean wanted) {
    folder = work.path().resolve("notes");
    this.wanted = wanted;
  }

  /** Quantizes a block and looks at it before and after. */
  void around(String prefix, Module block, CalibrationInputs inputs, Runnable quantization) {
    if (!wanted) {
      quantization.run();
      return;
    }
    probe = new BlockProbe(prefix, block, inputs);
    quantization.run();
    try {
      Files.createDirectories(folder);
      Files.writeString(file(prefix), Json.write(probe.finish()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    probe = null;
  }

  /** Notes the smoothing scales of a fold in the block in hand. */
  void factors(FoldReport fold) {
    if (probe != null && fold.factors() != null) {
      probe.scales(fold.producer(), fold.factors());
    }
  }

  /** Writes the notes of some blocks, those that there are, into the output. */
  void gather(Iterable<String> prefixes, Path output) {
    if (!wanted) {
      return;
    }
    try {
      List<String> lines = new ArrayList<>();
      for (String prefix : prefixes) {
        if (Files.exists(file(prefix))) {
          lines.add(Files.readString(file(prefix)));
        }
      }
      Files.write(output.resolve(ReportFiles.BLOCKS), lines);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Path file(String prefix) {
    return folder.resolve(prefix + ".json");
  }
}
