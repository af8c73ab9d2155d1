package fqt.tools;

import fqt.io.AtomicFolder;
import fqt.io.Json;
import fqt.io.SafetensorsWriter;
import fqt.models.CausalLm;
import fqt.models.ModelConfig;
import fqt.models.VisionTower;
import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.quant.FoldReport;
import fqt.quant.Gptq;
import fqt.quant.GptqConfig;
import fqt.quant.LayerForwardManager;
import fqt.quant.LinearReport;
import fqt.quant.QuantListener;
import fqt.quant.Rtn;
import fqt.quant.Scheme;
import fqt.quant.SchemeRules;
import fqt.quant.SmoothQuant;
import fqt.quant.SmoothQuantConfig;
import fqt.quant.format.CheckpointContents;
import fqt.quant.format.CheckpointFormat;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/**
 * The main job: a checkpoint in, a quantized checkpoint out. Layer by layer: quantize, write, run
 * the quantized layer on the calibration samples, free it. The output folder appears when it is
 * complete.
 */
final class QuantizeJob {
  /**
   * What to do.
   *
   * @param destination folder that will appear
   * @param rules scheme of each linear, as the format stores it
   * @param samples token ids of the calibration samples, of one length; unused by RTN
   * @param maxShardBytes size of the files of tensors
   */
  record Plan(
      Path source,
      Path destination,
      Method method,
      SchemeRules rules,
      CheckpointFormat format,
      GptqConfig gptq,
      List<int[]> samples,
      long maxShardBytes) {}

  /**
   * What came out.
   *
   * @param bytes of all tensors
   */
  record Result(List<LinearReport> linears, long bytes, Duration time) {}

  private final CausalLm model;
  private final Plan plan;
  private final PrintWriter err;
  private final List<LinearReport> reports = new ArrayList<>();
  private final List<FoldReport> folds = new ArrayList<>();
  private final SequencedMap<String, Scheme> quantized = new LinkedHashMap<>();
  private final List<String> unquantized = new ArrayList<>();
  private final Set<String> written = new HashSet<>();

  private QuantizeJob(CausalLm model, Plan plan, PrintWriter err) {
    this.model = model;
    this.plan = plan;
    this.err = err;
  }

  /**
   * Runs the job.
   *
   * @param err takes the progress
   * @throws IllegalArgumentException if the destination holds files already, or the model cannot be
   *     quantized so
   */
  static Result run(CausalLm model, Plan plan, PrintWriter err) {
    return new QuantizeJob(model, plan, err).run();
  }

  private Result run() {
    long start = System.nanoTime();
    if (model.config().isQuantized()) {
      throw new IllegalArgumentException(plan.source() + " is quantized already");
    }
    try (AtomicFolder folder = AtomicFolder.create(plan.destination(), false);
        SafetensorsWriter writer = SafetensorsWriter.create(folder.path(), plan.maxShardBytes());
        CalibrationInputs inputs = new CalibrationInputs(model.device())) {
      copyBefore(writer);
      addSamples(inputs);
      quantizeLayers(writer, inputs);
      if (model.vision() != null) {
        quantizeVision(model.vision(), writer);
      }
      copyRest(writer);
      writer.finish();
      CheckpointFiles.carryOver(plan.source(), folder.path());
      Json.write(folder.path().resolve(ModelConfig.FILE), config());
      QuantizeReport.write(folder.path(), reports, folds);
      folder.commit();
      return new Result(
          List.copyOf(reports), writer.totalBytes(), Duration.ofNanos(System.nanoTime() - start));
    }
  }

  private void addSamples(CalibrationInputs inputs) {
    if (!plan.method().calibrates()) {
      return;
    }
    try (Scope scope = Scope.open()) {
      LayerArgs args = model.args(0, plan.samples().getFirst().length);
      for (int[] sample : plan.samples()) {
        try (Scope one = Scope.open()) {
          Tensor ids = Ops.to(Ops.of(sample, sample.length), model.device());
          inputs.add(model.embed(ids), args);
        }
      }
    }
  }

  private void quantizeLayers(SafetensorsWriter writer, CalibrationInputs inputs) {
    int count = model.layers().size();
    LayerForwardManager forward = new LayerForwardManager(inputs);
    try (Progress progress = new Progress(err, "layer", count)) {
      for (int i = 0; i < count; i++) {
        try (Scope scope = Scope.open()) {
          long start = System.nanoTime();
          Module layer = model.layers().get(i);
          Set<String> linears = linearsOf(layer);
          quantizeLayer(i, layer, inputs, forward, listener(progress, i, linears.size()));
          progress.at(i + 0.8, "writing");
          writeLayer(writer, model.layerPrefix(i), layer, linears);
          if (plan.method().calibrates() && i + 1 < count) {
            progress.at(i + 0.9, "running the quantized layer");
            forward.advance(layer);
          }
          progress.done(
              i + 1,
              "%d linears in %s"
                  .formatted(
                      linears.size(), Units.time(Duration.ofNanos(System.nanoTime() - start))));
        }
        model.release(i);
      }
    }
  }

  private void quantizeLayer(
      int index,
      Module layer,
      CalibrationInputs inputs,
      LayerForwardManager forward,
      QuantListener listener) {
    String prefix = model.layerPrefix(index);
    switch (plan.method().smoothing) {
      case NONE -> {}
      case AWQ -> smooth(prefix, layer, inputs, SmoothQuantConfig.awq(), listener);
      case SMOOTHQUANT -> smooth(prefix, layer, inputs, SmoothQuantConfig.smoothQuant(), listener);
    }
    if (plan.method().secondOrder) {
      Gptq.quantizeLayer(prefix, layer, forward, plan.gptq().withRules(plan.rules()), listener);
    } else if (plan.method().smoothing == Method.Smoothing.NONE) {
      Rtn.quantizeLayer(prefix, layer, plan.rules(), listener);
    }
  }

  /** Smooths a layer, and rounds it unless GPTQ follows, whose integers need no clip search. */
  private void smooth(
      String prefix,
      Module layer,
      CalibrationInputs inputs,
      SmoothQuantConfig config,
      QuantListener listener) {
    SmoothQuantConfig ruled = config.withRules(plan.rules());
    if (plan.method().secondOrder) {
      SmoothQuant.smoothLayer(prefix, layer, inputs, ruled, listener);
    } else {
      SmoothQuant.quantizeLayer(prefix, layer, inputs, ruled, listener);
    }
  }

  /**
   * Rounds the blocks of a vision tower if codes and activations have 8 bits, a scale an output:
   * calibration texts show it no pictures, and few of its sizes divide into groups.
   */
  private void quantizeVision(VisionTower tower, SafetensorsWriter writer) {
    Scheme base = plan.rules().base();
    boolean rounds = base.activations() != null && base.weights().bits() == 8;
    if (!rounds) {
      err.println("the vision tower stays in floating point: only w8a8 schemes quantize it");
    }
    int count = tower.blocks().size();
    try (Progress progress = new Progress(err, "vision block", count)) {
      for (int i = 0; i < count; i++) {
        try (Scope scope = Scope.open()) {
          Module block = tower.blocks().get(i);
          Set<String> linears = linearsOf(block);
          if (rounds) {
            QuantListener listener = listener(progress, i, linears.size());
            Rtn.quantizeLayer(tower.blockPrefix(i), block, plan.rules(), listener);
          }
          writeLayer(writer, tower.blockPrefix(i), block, linears);
          progress.done(i + 1, "");
        }
        tower.release(i);
      }
    }
    writeLayer(writer, tower.mergerPrefix(), tower.merger(), Set.of());
  }

  private QuantListener listener(Progress progress, int layer, int linears) {
    return new QuantListener() {
      private int done;

      @Override
      public void foldFinished(FoldReport report) {
        folds.add(report);
        progress.at(layer + 0.01, "smoothing " + report.producer());
      }

      @Override
      public void linearFinished(LinearReport report) {
        reports.add(report);
        done++;
        progress.at(layer + 0.8 * Math.min(1, done / (double) linears), report.name());
      }
    };
  }

  private static Set<String> linearsOf(Module layer) {
    Set<String> paths = new HashSet<>();
    layer.visit(
        (path, module) -> {
          if (module instanceof Linear) {
            paths.add(path);
          }
        });
    return paths;
  }

  /** Writes a layer: its quantized linears as the format stores them, the rest as it is. */
  private void writeLayer(
      SafetensorsWriter writer, String prefix, Module layer, Set<String> linears) {
    layer.visit(
        (path, module) -> {
          String name = path.isEmpty() ? prefix : prefix + "." + path;
          if (linears.contains(path) && !(module instanceof Linear)) {
            quantized.put(name, plan.rules().schemeOf(name));
            written.add(name + ".weight");
            written.add(name + ".bias");
            try (Scope scope = Scope.open()) {
              plan.format().tensors(name, module).forEach(writer::write);
            }
            return;
          }
          if (module instanceof Linear) {
            unquantized.add(name);
          }
          module.parameters().forEach((part, tensor) -> write(writer, name + "." + part, tensor));
        });
  }

  /** Writes a parameter in the type that it has in the source. */
  private void write(SafetensorsWriter writer, String name, Tensor tensor) {
    DType dtype = model.tensors().has(name) ? model.tensors().get(name).dtype() : tensor.dtype();
    try (Scope scope = Scope.open()) {
      writer.write(name, Ops.to(tensor, dtype));
    }
    written.add(name);
  }

  /** Copies the tensors that no layer owns and that come before the layers. */
  private void copyBefore(SafetensorsWriter writer) {
    for (String name : model.tensors().names()) {
      if (name.contains("embed")) {
        copy(writer, name);
      }
    }
  }

  private void copyRest(SafetensorsWriter writer) {
    for (String name : model.tensors().names()) {
      if (!written.contains(name)) {
        copy(writer, name);
      }
    }
  }

  private void copy(SafetensorsWriter writer, String name) {
    writer.write(name, model.tensors().get(name));
    written.add(name);
  }

  private Map<String, Object> config() {
    unquantized.add("lm_head");
    Map<String, Object> method = new LinkedHashMap<>();
    method.put("quantizer", new Main.Version().getVersion()[0]);
    method.put("method", plan.method().toString());
    if (plan.method().secondOrder) {
      method.put("damp_percent", plan.gptq().damping());
      method.put("true_sequential", plan.gptq().trueSequential());
    }
    CheckpointContents contents =
        new CheckpointContents(
            plan.rules().base(),
            quantized,
            unquantized,
            plan.gptq().order() == GptqConfig.ActOrder.DYNAMIC,
            method);
    Map<String, Object> config =
        new LinkedHashMap<>(Json.readObject(plan.source().resolve(ModelConfig.FILE)).values());
    config.put("quantization_config", plan.format().config(contents));
    return config;
  }
}
