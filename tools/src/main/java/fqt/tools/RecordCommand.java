package fqt.tools;

import fqt.io.AtomicFolder;
import fqt.models.CausalLm;
import fqt.models.PictureTokens;
import fqt.models.Pictures;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.DataRecorder;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fqt record}: what flows into a module, a file for each sample. */
@Command(
    name = "record",
    description = {
      "Records what a module is fed while the model reads a text or looks at pictures, a file a"
          + " sample with a list for each name.",
      "Of a whole layer it records model_input, model_output and model_pos_embed, the rotary tables;"
          + " those of the first layer are a calibration data set."
    })
final class RecordCommand implements Callable<Integer> {
  @Mixin private ModelOptions model;

  @ArgGroup(multiplicity = "1")
  private Source source;

  /** Kind of the files. */
  enum Format {
    SAFETENSORS,
    PKL
  }

  /** What the model reads. */
  private static final class Source {
    @Option(names = "--data", required = true, paramLabel = "FILE", description = Options.DATA_HELP)
    private String data;

    @Option(
        names = "--image",
        required = true,
        paramLabel = "FILE",
        description = "A picture, a sample of its own; may be given several times.")
    private List<Path> images;
  }

  @Option(
      names = "--module",
      required = true,
      paramLabel = "NAME",
      description =
          "Path as in the checkpoint, such as model.layers.0, model.layers.2.mlp.up_proj,"
              + " visual.blocks.1.attn.qkv or lm_head.")
  private String name;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Folder to make; it must not hold files yet.")
  private Path out;

  @Option(
      names = "--format",
      paramLabel = "FORMAT",
      defaultValue = "safetensors",
      description = "safetensors, or pkl, which Python opens (default: safetensors).")
  private Format format;

  @Option(
      names = "--samples",
      paramLabel = "N",
      defaultValue = "128",
      description = "Windows to record (default: 128).")
  private int samples;

  @Option(
      names = "--seq-len",
      paramLabel = "N",
      description = "Tokens of a window (default: 2048, or as many as the model was made for).")
  private Integer length;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Of the draw of the windows (default: 0).")
  private long seed;

  @Spec private CommandSpec spec;

  /** What the model reads at once; pictures may be null. */
  private record Sample(int[] ids, Pictures pictures) {}

  @Override
  public Integer call() {
    Options.atLeast(spec, "--samples", samples, 1);
    Options.atLeast(spec, "--seq-len", length, 1);
    try (CausalLm lm = model.load();
        Scope scope = Scope.open()) {
      Module module = lm.module(name);
      boolean vision = lm.vision() != null && name.startsWith(lm.vision().prefix());
      if (vision && source.images == null) {
        throw Options.wrong(
            spec, "module '" + name + "' sees pictures alone; give some by --image");
      }
      record(lm, module, vision ? 0 : layersBefore(lm), samples(lm));
    }
    return 0;
  }

  private List<Sample> samples(CausalLm lm) {
    if (source.images != null) {
      return source.images.stream().map(file -> sample(lm, file)).toList();
    }
    TokenData tokens = model.data(source.data, lm);
    return tokens.sample(samples, ModelOptions.windowLength(length, lm), seed).stream()
        .map(ids -> new Sample(ids, null))
        .toList();
  }

  private Sample sample(CausalLm lm, Path file) {
    Pictures pictures = model.pictures(lm, List.of(file));
    PictureTokens tokens = lm.config().pictureTokens();
    int[] ids = {tokens.start(), tokens.picture(), tokens.end()};
    return new Sample(lm.expand(ids, pictures), pictures);
  }

  private void record(CausalLm lm, Module module, int layers, List<Sample> samples) {
    try (AtomicFolder folder = AtomicFolder.create(out, false);
        DataRecorder recorder = new DataRecorder();
        Progress progress = new Progress(spec.commandLine().getErr(), "sample", samples.size())) {
      watch(lm, module, recorder);
      for (int i = 0; i < samples.size(); i++) {
        run(lm, samples.get(i), layers);
        recorder.save(
            folder.path().resolve("%05d.%s".formatted(i, format.name().toLowerCase(Locale.ROOT))));
        recorder.clear();
        progress.at(i + 1, "");
      }
      folder.commit();
    }
    spec.commandLine().getOut().printf("wrote %s: %d samples%n", out, samples.size());
  }

  private void watch(CausalLm lm, Module module, DataRecorder recorder) {
    if (isBlock(lm)) {
      recorder.input(DataRecorder.INPUT, module);
      recorder.positions(module);
      recorder.output(DataRecorder.OUTPUT, module);
    } else {
      recorder.input(name, module);
    }
  }

  private boolean isBlock(CausalLm lm) {
    Stream<String> blocks = IntStream.range(0, lm.layers().size()).mapToObj(lm::layerPrefix);
    if (lm.vision() != null) {
      int count = lm.vision().blocks().size();
      blocks =
          Stream.concat(
              blocks, IntStream.range(0, count).mapToObj(i -> lm.vision().blockPrefix(i)));
    }
    return blocks.anyMatch(name::equals);
  }

  /** How many layers must run until the module has: one more than there are if it stands after. */
  private int layersBefore(CausalLm lm) {
    int count = lm.layers().size();
    for (int i = 0; i < count; i++) {
      if ((name + ".").startsWith(lm.layerPrefix(i) + ".")) {
        return i + 1;
      }
    }
    return lm.module(name) == lm.embedding() ? 0 : count + 1;
  }

  private static void run(CausalLm lm, Sample sample, int layers) {
    try (Scope scope = Scope.open()) {
      Tensor ids = Ops.to(Ops.of(sample.ids(), sample.ids().length), lm.device());
      Tensor hidden = lm.embed(ids, sample.pictures());
      LayerArgs args = lm.args(ids, sample.pictures(), 0, sample.ids().length);
      for (int i = 0; i < Math.min(layers, lm.layers().size()); i++) {
        hidden = lm.layers().get(i).apply(hidden, args);
      }
      if (layers > lm.layers().size()) {
        Tensor unused = lm.finish(hidden);
      }
    }
  }
}
