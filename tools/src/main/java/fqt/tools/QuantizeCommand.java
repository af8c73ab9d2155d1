package fqt.tools;

import fqt.io.TensorSource;
import fqt.models.CausalLm;
import fqt.models.Pictures;
import fqt.quant.CalibrationInputs;
import fqt.quant.GptqConfig;
import fqt.quant.Scheme;
import fqt.quant.format.CheckpointFormat;
import fqt.quant.format.CheckpointFormats;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Backends;
import fqt.tensor.DType;
import fqt.tensor.Scope;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fqt quantize}: the options of the main job. */
@Command(
    name = "quantize",
    description = {
      "Quantizes a checkpoint layer by layer and writes one that servers load.",
      "The output folder appears when it is complete; until then finished blocks are kept beside"
          + " it, in .NAME.partial, and the same command continues an interrupted run.",
      "fqt.log in it has a line for each linear with its error."
    })
final class QuantizeCommand implements Callable<Integer> {
  private static final Pattern RULE =
      Pattern.compile("(.+)=([a-z0-9-]+)(?:,group=(-?[0-9]{1,9}))?");

  @Mixin private ModelOptions model;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Folder to make; it must not hold files yet.")
  private Path out;

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      defaultValue = "gptq",
      converter = Method.Converter.class,
      description =
          "gptq, rtn (round to nearest, needs no calibration), awq, smoothquant, awq+gptq or"
              + " smoothquant+gptq (default: gptq).")
  private Method method;

  @Option(
      names = "--scheme",
      paramLabel = "SCHEME",
      description =
          "Bits of weights and activations: w4a16, w8a16, w8a8-int8, w8a8-fp8, or any wBaC to study"
              + " (default: w4a16, or w8a8-int8 for smoothquant).")
  private String scheme;

  @Option(
      names = "--format",
      paramLabel = "FORMAT",
      description =
          "How the checkpoint is stored: gptq, awq, compressed-tensors, or simulated, which no server"
              + " loads (default: gptq, awq for method awq, compressed-tensors for w8a8).")
  private String format;

  @Option(
      names = "--group-size",
      paramLabel = "N",
      defaultValue = "128",
      description = "Inputs that share a scale, -1 for all of a row (default: 128).")
  private long groupSize;

  @Option(
      names = "--asymmetric",
      description = "Weights with zero points, where the format carries them (awq, simulated).")
  private boolean asymmetric;

  @Option(names = "--calib", paramLabel = "FILE", description = Options.DATA_HELP)
  private String calibration;

  @Option(
      names = "--image",
      paramLabel = "FILE",
      description =
          "A picture to calibrate a vision tower with, which w8a8 schemes quantize; may be given"
              + " several times (default: none, the tower is rounded to nearest).")
  private List<Path> images = List.of();

  @Option(
      names = "--samples",
      paramLabel = "N",
      defaultValue = "128",
      description = "Windows to calibrate with (default: 128).")
  private int samples;

  @Option(
      names = "--seq-len",
      paramLabel = "N",
      description = "Tokens of a window (default: 2048, or as many as the model was made for).")
  private Integer length;

  @Option(
      names = "--ignore",
      paramLabel = "REGEX",
      description = "Leave linears alone whose path contains this; may be given several times.")
  private List<Pattern> ignored = List.of();

  @Option(
      names = "--rule",
      paramLabel = "REGEX=SCHEME[,group=N]",
      description = "Another scheme for linears whose path contains this; the first match counts.")
  private List<String> exceptions = List.of();

  @Option(
      names = "--activations",
      paramLabel = "f32|bf16|disk",
      description =
          "Where calibration activations rest between layers: in memory, in memory rounded to half"
              + " the size, or in a file beside the output (default: f32, on a GPU bf16, or disk if"
              + " it has too little memory).")
  private CalibrationInputs.Keeping activations;

  @Option(
      names = "--max-shard-size",
      paramLabel = "SIZE",
      defaultValue = "5GB",
      description = "Size of a file of tensors, such as 500MB or 5GB (default: 5GB).")
  private String shardSize;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Of the draw of the windows (default: 0).")
  private long seed;

  @Option(names = "--restart", description = "Begin anew instead of continuing an interrupted run.")
  private boolean restart;

  @Option(
      names = "--report",
      description = "Write a page about the job, report.html, into the output folder.")
  private boolean report;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    Options.atLeast(spec, "--samples", samples, 1);
    Options.atLeast(spec, "--seq-len", length, 1);
    if (groupSize < 1 && groupSize != -1) {
      throw Options.wrong(spec, "--group-size is " + groupSize + "; expected 1 or more, or -1");
    }
    if (calibration == null && method.calibrates()) {
      throw Options.wrong(spec, "--method " + method + " needs --calib FILE");
    }
    PrintWriter err = spec.commandLine().getErr();
    CheckpointFormat chosen = format();
    long maxShardBytes = Options.bytes(spec, "--max-shard-size", shardSize);
    try (ModelOptions.Models models = model.loadAll();
        Scope scope = Scope.open()) {
      CausalLm lm = models.first();
      LinearRules<Scheme> rules = rules(chosen, stored(lm));
      List<int[]> drawn = drawn(lm, err);
      QuantizeJob.Plan plan =
          new QuantizeJob.Plan(
              model.folder(),
              out,
              method,
              rules,
              chosen,
              GptqConfig.defaults(),
              drawn,
              pictures(lm),
              keeping(lm),
              maxShardBytes,
              restart,
              report);
      Preflight.check(lm, plan, err);
      int devices = models.all().size();
      plan = fitting(lm, plan, devices, err);
      MemoryBound bound = MemoryBound.of(lm, plan, devices);
      err.println(bound);
      QuantizeJob.Result result = QuantizeJob.run(models.all(), plan, err);
      print(spec.commandLine().getOut(), result);
      if (report) {
        ReportFiles.put(out, "job", facts(lm, plan, bound, result));
        spec.commandLine().getOut().printf("wrote %s%n", ReportFiles.writePage(out));
      }
    } catch (WorkFolder.DifferentJob different) {
      throw Options.wrong(spec, different.getMessage());
    }
    return 0;
  }

  /** What the report says of the job. */
  private Map<String, Object> facts(
      CausalLm lm, QuantizeJob.Plan plan, MemoryBound bound, QuantizeJob.Result result) {
    TensorSource source = lm.tensors();
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("source", plan.source().toAbsolutePath().normalize().getFileName().toString());
    facts.put("method", method.toString());
    boolean groups = plan.rules().base().isPacked() && groupSize > 0;
    facts.put("scheme", schemeName() + (groups ? ", groups of " + groupSize : ""));
    facts.put("format", plan.format().name());
    if (method.calibrates()) {
      List<int[]> drawn = plan.samples();
      facts.put(
          "calibration",
          "%d samples of %d tokens".formatted(drawn.size(), drawn.getFirst().length));
    }
    facts.put("device", lm.device().toString());
    facts.put(
        "source_bytes",
        source.names().stream().mapToLong(name -> source.get(name).byteSize()).sum());
    facts.put("seconds", result.time().toNanos() / 1e9);
    facts.put("memory_bound", bound.total());
    facts.put("memory_peak", PeakMemory.bytes());
    return facts;
  }

  /** The plan, with activations on the host where a GPU has too little memory for them. */
  private QuantizeJob.Plan fitting(
      CausalLm lm, QuantizeJob.Plan plan, int devices, PrintWriter err) {
    long free = Backends.of(lm.device()).freeBytes();
    long needed = MemoryBound.of(lm, plan, devices).total();
    if (needed <= free || activations != null || !method.calibrates()) {
      return plan;
    }
    err.printf(
        "%s has %s free and the job may need %s: activations rest on the host (--activations disk)%n",
        lm.device(), Units.bytes(free), Units.bytes(needed));
    return plan.keptIn(CalibrationInputs.Keeping.DISK);
  }

  /** GPUs compute with activations rounded to BF16 anyway, and have less memory. */
  private CalibrationInputs.Keeping keeping(CausalLm lm) {
    if (activations != null) {
      return activations;
    }
    return lm.device().isHost() ? CalibrationInputs.Keeping.F32 : CalibrationInputs.Keeping.BF16;
  }

  private String schemeName() {
    if (scheme != null) {
      return scheme;
    }
    return method.smoothing == Method.Smoothing.SMOOTHQUANT ? "w8a8-int8" : "w4a16";
  }

  /** Type of the source's weights. */
  private static DType stored(CausalLm lm) {
    try (CausalLm outline = lm.outline()) {
      return outline.embedding().parameters().get("weight").dtype();
    }
  }

  private CheckpointFormat format() {
    String usual = method == Method.AWQ ? "awq" : "gptq";
    if (schemeName().startsWith("w8a8")) {
      usual = "compressed-tensors";
    }
    String name = format == null ? usual : format;
    return Options.usage(spec, () -> CheckpointFormats.named(name));
  }

  /** All schemes as the format stores them. */
  private LinearRules<Scheme> rules(CheckpointFormat chosen, DType stored) {
    return Options.usage(
        spec,
        () -> {
          List<Pattern> leftAlone = new ArrayList<>(LinearRules.ALWAYS_IGNORED);
          leftAlone.addAll(ignored);
          List<LinearRules.Rule<Scheme>> rules = new ArrayList<>();
          for (String exception : exceptions) {
            rules.add(rule(exception, chosen, stored));
          }
          Scheme base = chosen.prepare(parse(schemeName(), groupSize), stored);
          return new LinearRules<>(base, leftAlone, rules);
        });
  }

  private Scheme parse(String name, long group) {
    Scheme parsed = Scheme.parse(name, group);
    return asymmetric ? parsed.withWeights(parsed.weights().withSymmetric(false)) : parsed;
  }

  private LinearRules.Rule<Scheme> rule(String text, CheckpointFormat chosen, DType stored) {
    Matcher matcher = RULE.matcher(text);
    if (!matcher.matches()) {
      throw Options.wrong(
          spec, "--rule is '" + text + "'; expected REGEX=SCHEME or REGEX=SCHEME,group=N");
    }
    long group = matcher.group(3) == null ? groupSize : Long.parseLong(matcher.group(3));
    Scheme other = parse(matcher.group(2), group);
    return new LinearRules.Rule<>(Pattern.compile(matcher.group(1)), chosen.prepare(other, stored));
  }

  private List<int[]> drawn(CausalLm lm, PrintWriter err) {
    if (!method.calibrates()) {
      return List.of();
    }
    TokenData data = model.data(calibration, lm);
    List<int[]> drawn = data.sample(samples, ModelOptions.windowLength(length, lm), seed);
    int tokens = drawn.getFirst().length;
    err.printf("calibration: %d samples of %d tokens from %s", drawn.size(), tokens, calibration);
    err.println(drawn.size() < samples ? ", which holds no more" : "");
    return drawn;
  }

  /** The pictures that calibrate a vision tower, one a sample. */
  private List<Pictures> pictures(CausalLm lm) {
    return images.stream().map(image -> model.pictures(lm, List.of(image))).toList();
  }

  private void print(PrintWriter stdout, QuantizeJob.Result result) {
    stdout.print(QuantizeReport.table(result.linears()));
    stdout.printf(
        "%nwrote %s: %d linears, %s of tensors, %s%n",
        out, result.linears().size(), Units.bytes(result.bytes()), Units.time(result.time()));
  }
}
