package fqt.tools;

import static java.lang.System.Logger.Level.INFO;

import fqt.cuda.CudaException;
import fqt.io.AtomicFolder;
import fqt.io.Json;
import fqt.io.TensorSource;
import fqt.models.CausalLm;
import fqt.models.ModelConfig;
import fqt.models.Pictures;
import fqt.models.VisionTower;
import fqt.quant.CalibrationInputs;
import fqt.quant.GptqConfig;
import fqt.quant.Scheme;
import fqt.quant.crew.Crew;
import fqt.quant.format.CheckpointContents;
import fqt.quant.format.CheckpointFormat;
import fqt.quant.report.FoldReport;
import fqt.quant.report.LinearReport;
import fqt.quant.rules.LinearRules;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

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
      LinearRules<Scheme> rules,
      CheckpointFormat format,
      GptqConfig gptq,
      List<int[]> samples,
      List<Pictures> pictures,
      CalibrationInputs.Keeping keeping,
      long maxShardBytes,
      boolean restart,
      boolean report) {
    /** The same with hidden states that rest elsewhere. */
    Plan keptIn(CalibrationInputs.Keeping other) {
      return new Plan(
          source,
          destination,
          method,
          rules,
          format,
          gptq,
          samples,
          pictures,
          other,
          maxShardBytes,
          restart,
          report);
    }
  }

  /**
   * What came out.
   *
   * @param bytes of all tensors
   */
  record Result(List<LinearReport> linears, long bytes, Duration time) {}

  private static final System.Logger LOG = System.getLogger("fqt.tools");

  private final List<CausalLm> models;
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

  private QuantizeJob(List<CausalLm> models, Plan plan, PrintWriter err) {
    this.models = models;
    this.model = models.getFirst();
    if (model.config().isQuantized()) {
      throw new IllegalArgumentException(plan.source() + " is quantized already");
    }
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
   * @param models the model, once on each device that takes part; the first device leads
   * @param err takes the progress
   * @throws IllegalArgumentException if the destination holds files already, an interrupted job
   *     with this destination was another one, or the model cannot be quantized so
   */
  static Result run(List<CausalLm> models, Plan plan, PrintWriter err) {
    long start = System.nanoTime();
    QuantizeJob job = new QuantizeJob(models, plan, err);
    Fingerprint fingerprint = Fingerprint.of(job.model, plan, job.files);
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
          RuntimeException advised = job.advised(e);
          LOG.log(INFO, () -> "stopped: " + Failures.sentence(advised));
          throw interruption.explain(advised);
        }
      }
      return job.result(Duration.ofNanos(System.nanoTime() - start));
    }
  }

  /** The failure; if the GPU had too little memory, with what needs less than this job. */
  private RuntimeException advised(RuntimeException failure) {
    return failure instanceof CudaException full && full.isOutOfMemory()
        ? new IllegalStateException(
            full.getMessage() + "; less need " + needLess(plan.method(), plan.keeping()), full)
        : failure;
  }

  /** What needs less memory of a GPU than a job that keeps its hidden states there. */
  static String needLess(Method method, CalibrationInputs.Keeping keeping) {
    List<String> options = new ArrayList<>();
    if (method.calibrates()) {
      boolean resting = keeping == CalibrationInputs.Keeping.DISK;
      options.add(resting ? "shorter samples (--seq-len)" : "--activations disk");
    }
    if (method.secondOrder) {
      options.add("--method awq, which keeps no Hessians");
    } else if (method.calibrates()) {
      options.add("--method rtn");
    }
    options.add("--device cpu");
    return String.join(", or ", options);
  }

  private void run() {
    int finished = work.journal().entries().size();
    if (finished > 0) {
      err.printf("continuing after %d of %d blocks in %s%n", finished, blocks, work.path());
    }
    memory.ended("the start");
    quantizeLayers();
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

  /** The decoder layers, on all devices where the method allows it. */
  private void quantizeLayers() {
    int samples = plan.samples().size();
    boolean spreads = plan.method().calibrates() && samples >= Crew.CHUNKS;
    if (models.size() > 1 && !spreads) {
      err.printf(
          "%s alone does the work: only calibration with %d samples or more is spread over devices%n",
          model.device(), Crew.CHUNKS);
    }
    int most = spreads ? Math.min(models.size(), Crew.CHUNKS) : 1;
    List<CausalLm> working = models.subList(0, most);
    Crew crew = new Crew(working.stream().map(CausalLm::device).toList());
    List<BlockStack> stacks = new ArrayList<>();
    for (Crew.Member member : crew.members()) {
      List<int[]> own = plan.samples().subList(member.from(samples), member.to(samples));
      stacks.add(new BlockStack.Layers(working.get(member.rank()), own));
    }
    QuantizeBlocks.run(setting(), crew, working, stacks, samples);
  }

  private QuantizeBlocks.Setting setting() {
    return new QuantizeBlocks.Setting(
        model,
        plan,
        files,
        quantization,
        contents.quantized().keySet(),
        blocks,
        work,
        notes,
        memory,
        err);
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
    BlockStack stack = new BlockStack.Tower(tower, plan.pictures());
    Crew alone = new Crew(List.of(model.device()));
    QuantizeBlocks.run(setting(), alone, List.of(model), List.of(stack), plan.pictures().size());
  }
}
