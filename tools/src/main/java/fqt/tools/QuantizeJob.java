package fqt.tools;

import static java.lang.System.Logger.Level.INFO;

import fqt.io.AtomicFolder;
import fqt.io.Json;
import fqt.io.SafetensorsWriter;
import fqt.io.TensorSource;
import fqt.models.CausalLm;
import fqt.models.ModelConfig;
import fqt.models.Pictures;
import fqt.models.VisionTower;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.quant.Gptq;
import fqt.quant.GptqConfig;
import fqt.quant.LayerForwardManager;
import fqt.quant.Rtn;
import fqt.quant.SchemeRules;
import fqt.quant.SmoothQuant;
import fqt.quant.SmoothQuantConfig;
import fqt.quant.format.CheckpointContents;
import fqt.quant.format.CheckpointFormat;
import fqt.quant.report.FoldReport;
import fqt.quant.report.LinearReport;
import fqt.quant.report.QuantListener;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.io.PrintWriter;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * The main job: a checkpoint in, a quantized checkpoint out. Block by block: quantize, write, note
 * in the journal, free; then run what was written on the calibration samples. At last the blocks
 * are put together in the output folder, which appears when it is complete.
 *
 * <p>A job that continues after it was stopped reads the finished layers back and runs the samples
 * through them again, which takes a fraction of the time of quantizing them and less room than
 * their outputs would. What is read back computes the same bits as what was written; where it does
 * not, in the simulated format, the samples always go on through the layer as it is read back.
 */
final class QuantizeJob {
  /**
   * What to do.
   *
   * @param destination folder that will appear
   * @param rules scheme of each linear, as the format stores it
   * @param samples token ids of the calibration samples, of one length; unused by RTN
   * @param pictures what the vision tower is calibrated on, a sample each; perhaps none
   * @param keeping where the hidden states of the samples rest
   * @param maxShardBytes size of the files of tensors
   * @param restart whether to forget what an interrupted job finished
   * @param report whether to note what a report shows of the insides of the layers
   */
  record Plan(
      Path source,
      Path destination,
      Method method,
      SchemeRules rules,
      CheckpointFormat format,
      GptqConfig gptq,
      List<int[]> samples,
      List<Pictures> pictures,
      CalibrationInputs.Keeping keeping,
      long maxShardBytes,
      boolean restart,
      boolean report) {}

  /**
   * What came out.
   *
   * @param bytes of all tensors
   */
  record Result(List<LinearReport> linears, long bytes, Duration time) {}

  private static final System.Logger LOG = System.getLogger("fqt.tools");

  private final CausalLm model;
  private final Plan plan;
  private final PrintWriter err;
  private final SourceFiles files;
  private final CheckpointContents contents;
  private final Map<String, Object> quantization;
  private final int blocks;
  private final DeviceMemory memory;
  private WorkFolder work;
  private BlockNotes notes;

  private QuantizeJob(CausalLm model, Plan plan, PrintWriter err) {
    if (model.config().isQuantized()) {
      throw new IllegalArgumentException(plan.source() + " is quantized already");
    }
    this.model = model;
    this.plan = plan;
    this.err = err;
    this.memory = new DeviceMemory(model.device());
    this.files = SourceFiles.of(plan.source());
    this.contents = PlannedContents.of(model, plan);
    this.quantization = plan.format().config(contents);
    boolean vision = model.vision() != null && PlannedContents.quantizesVision(plan);
    this.blocks = model.layers().size() + (vision ? model.vision().blocks().size() : 0);
  }

  /**
   * Runs the job, or the rest of it if it was interrupted.
   *
   * @param err takes the progress
   * @throws IllegalArgumentException if the destination holds files already, an interrupted job
   *     with this destination was another one, or the model cannot be quantized so
   */
  static Result run(CausalLm model, Plan plan, PrintWriter err) {
    long start = System.nanoTime();
    QuantizeJob job = new QuantizeJob(model, plan, err);
    Fingerprint fingerprint = Fingerprint.of(model, plan, job.files);
    try (WorkFolder work = WorkFolder.open(plan.destination(), fingerprint, plan.restart());
        Logging log = Logging.toFile(work.log());
        Interruption interruption = new Interruption(work, job.blocks, err)) {
      job.work = work;
      job.notes = new BlockNotes(work, plan.report());
      fingerprint.parts().forEach((name, value) -> LOG.log(INFO, () -> name + ": " + value));
      if (!work.isDone()) {
        try {
          job.run();
        } catch (RuntimeException e) {
          LOG.log(INFO, () -> "stopped: " + Failures.sentence(e));
          throw interruption.explain(e);
        }
      }
      return job.result(Duration.ofNanos(System.nanoTime() - start));
    }
  }

  private void run() {
    int finished = work.journal().entries().size();
    if (finished > 0) {
      err.printf("continuing after %d of %d blocks in %s%n", finished, blocks, work.path());
    }
    memory.ended("the start");
    quantize(new BlockStack.Layers(model, plan.samples()));
    if (model.vision() != null) {
      quantizeVision(model.vision());
    }
    try (AtomicFolder folder = work.output()) {
      CheckpointAssembly.write(model, contents, work, folder.path(), plan.maxShardBytes());
      CheckpointFiles.carryOver(plan.source(), folder.path());
      Map<String, Object> config =
          new LinkedHashMap<>(Json.readObject(plan.source().resolve(ModelConfig.FILE)).values());
      config.put("quantization_config", quantization);
      Json.write(folder.path().resolve(ModelConfig.FILE), config);
      QuantizeReport.write(folder.path(), linears(), folds());
      notes.gather(work.journal().entries().keySet(), folder.path());
      memory.ended("the end");
      if (memory.summary() != null) {
        err.println(memory.summary());
        LOG.log(INFO, memory::summary);
      }
      LOG.log(INFO, () -> "complete: " + plan.destination());
      work.copyLog(folder.path());
      work.commit(folder);
    }
  }

  private Result result(Duration time) {
    try (TensorSource output = TensorSource.open(plan.destination())) {
      long bytes = output.names().stream().mapToLong(name -> output.get(name).byteSize()).sum();
      return new Result(linears(), bytes, time);
    }
  }

  private List<LinearReport> linears() {
    return work.journal().entries().values().stream()
        .flatMap(entry -> entry.linears().stream())
        .toList();
  }

  private List<FoldReport> folds() {
    return work.journal().entries().values().stream()
        .flatMap(entry -> entry.folds().stream())
        .toList();
  }

  /** Calibration texts show a tower no pictures: without some it is rounded to nearest. */
  private void quantizeVision(VisionTower tower) {
    if (!PlannedContents.quantizesVision(plan)) {
      err.println("the vision tower stays in floating point: only w8a8 schemes quantize it");
      return;
    }
    if (plan.method().calibrates() && plan.pictures().isEmpty()) {
      err.println("the vision tower is rounded to nearest: no --image calibrates it");
    }
    quantize(new BlockStack.Tower(tower, plan.pictures()));
  }

  private void quantize(BlockStack stack) {
    try (CalibrationInputs inputs =
            new CalibrationInputs(model.device(), plan.keeping(), work.path());
        Progress progress = new Progress(err, stack.unit(), stack.count())) {
      boolean open = IntStream.range(0, stack.count()).anyMatch(i -> !isFinished(stack, i));
      if (plan.method().calibrates() && open) {
        stack.addSamples(inputs);
        memory.ended("the embedding");
      }
      LayerForwardManager forward = new LayerForwardManager(inputs);
      for (int i = 0; i < stack.count(); i++) {
        stack.prepare(inputs, i);
        quantize(stack, i, forward, progress);
      }
    }
  }

  private boolean isFinished(BlockStack stack, int index) {
    return work.journal().entries().containsKey(stack.prefix(index));
  }

  private void quantize(
      BlockStack stack, int index, LayerForwardManager forward, Progress progress) {
    long start = System.nanoTime();
    boolean advances = forward.inputs().size() > 0 && index + 1 < stack.count();
    boolean finished = isFinished(stack, index);
    if (finished && advances) {
      advanceWritten(stack, index, forward.inputs());
    } else if (!finished) {
      quantizeBlock(stack, index, forward, advances, new BlockListener(progress, index));
      stack.release(index);
    }
    int linears = work.journal().entries().get(stack.prefix(index)).linears().size();
    Duration time = Duration.ofNanos(System.nanoTime() - start);
    String done = finished ? "%d linears were there already, %s" : "%d linears in %s";
    memory.ended("the end of " + stack.prefix(index));
    progress.done(index + 1, done.formatted(linears, Units.time(time)));
  }

  private void quantizeBlock(
      BlockStack stack,
      int index,
      LayerForwardManager forward,
      boolean advances,
      BlockListener listener) {
    String prefix = stack.prefix(index);
    Module block = stack.block(index);
    try (Scope scope = Scope.open()) {
      finishBlock(prefix, block, forward, listener);
      if (advances) {
        listener.at(0.9, "running the quantized " + stack.unit());
        if (plan.format().keepsCodes()) {
          forward.advance(block);
        } else {
          advanceWritten(stack, index, forward.inputs());
        }
      }
    }
  }

  /** Runs the samples through a block as it was written. */
  private void advanceWritten(BlockStack stack, int index, CalibrationInputs inputs) {
    try (TensorSource tensors = work.block(stack.prefix(index));
        Scope scope = Scope.open()) {
      Module written = stack.written(index, tensors, quantization);
      new LayerForwardManager(inputs).advance(written);
    }
  }

  /** Replaces the linears of a block; without samples they are rounded to nearest. */
  private void quantize(
      String prefix, Module block, LayerForwardManager forward, QuantListener listener) {
    CalibrationInputs inputs = forward.inputs();
    SmoothQuantConfig search = plan.method().search(plan.rules());
    if (inputs.size() == 0) {
      Rtn.quantizeLayer(prefix, block, plan.rules(), listener);
    } else if (plan.method().secondOrder) {
      if (search != null) {
        SmoothQuant.smoothLayer(prefix, block, inputs, search, listener);
      }
      Gptq.quantizeLayer(prefix, block, forward, plan.gptq().withRules(plan.rules()), listener);
    } else {
      SmoothQuant.quantizeLayer(prefix, block, inputs, search, listener);
    }
  }

  /** Quantizes a block, writes it and then notes that it is finished. */
  private void finishBlock(
      String prefix, Module block, LayerForwardManager forward, BlockListener listener) {
    files.requireUnchanged();
    notes.around(prefix, block, forward.inputs(), () -> quantize(prefix, block, forward, listener));
    listener.at(0.8, "writing");
    work.writeBlock(prefix, writer -> writeBlock(writer, prefix, block));
    files.requireUnchanged();
    unload(prefix);
    work.journal().add(new Journal.Entry(prefix, listener.linears, listener.folds));
  }

  /** Takes the pages of a block's source out of memory, where they would pile up. */
  private void unload(String prefix) {
    for (String name : model.tensors().names()) {
      if (name.startsWith(prefix + ".")) {
        MemorySegment segment = model.tensors().get(name).segment();
        if (segment.isMapped()) {
          segment.unload();
        }
      }
    }
  }

  /** Writes a block: its quantized linears as the format stores them, the rest as it is. */
  private void writeBlock(SafetensorsWriter writer, String prefix, Module block) {
    block.visit(
        (path, module) -> {
          String name = path.isEmpty() ? prefix : prefix + "." + path;
          try (Scope scope = Scope.open()) {
            if (contents.quantized().containsKey(name)) {
              plan.format().tensors(name, module).forEach(writer::write);
            } else {
              module
                  .parameters()
                  .forEach((part, tensor) -> write(writer, name + "." + part, tensor));
            }
          }
        });
  }

  /** Writes a parameter in the type that it has in the source. */
  private void write(SafetensorsWriter writer, String name, Tensor tensor) {
    DType dtype = model.tensors().has(name) ? model.tensors().get(name).dtype() : tensor.dtype();
    writer.write(name, Ops.to(tensor, dtype));
  }

  /** Collects what there is to report of a block, and shows how far it is. */
  private final class BlockListener implements QuantListener {
    private final Progress progress;
    private final int block;
    private final List<LinearReport> linears = new ArrayList<>();
    private final List<FoldReport> folds = new ArrayList<>();
    private double searched;

    BlockListener(Progress progress, int block) {
      this.progress = progress;
      this.block = block;
    }

    @Override
    public void searching(String producer, double share) {
      searched = 0.6 * share;
      at(searched, "smoothing " + producer);
    }

    @Override
    public void factorsChosen(String producer, float[] factors) {
      notes.factors(producer, factors);
    }

    @Override
    public void foldFinished(FoldReport report) {
      folds.add(report);
      memory.ended("smoothing of " + report.producer());
    }

    @Override
    public void linearFinished(LinearReport report) {
      linears.add(report);
      memory.ended(report.name());
      double share = (double) linears.size() * blocks / contents.quantized().size();
      at(searched + (0.8 - searched) * Math.min(1, share), report.name());
    }

    void at(double share, String note) {
      progress.at(block + share, note);
    }
  }
}
