package fqt.tools;

import fqt.io.TensorSource;
import fqt.models.CausalLm;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.quant.Gptq;
import fqt.quant.GptqConfig;
import fqt.quant.LayerForwardManager;
import fqt.quant.Rtn;
import fqt.quant.SmoothQuant;
import fqt.quant.SmoothQuantConfig;
import fqt.quant.crew.Crew;
import fqt.quant.report.FoldReport;
import fqt.quant.report.LinearReport;
import fqt.quant.report.QuantListener;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.io.PrintWriter;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;

/**
 * The blocks of a job, one after another: quantized, written, noted in the journal, freed; then the
 * samples run through what was written. Several devices do this together, each with its own copy of
 * a block and its share of the samples; the first of them writes.
 */
final class QuantizeBlocks {
  /**
   * What belongs to the job around the blocks.
   *
   * @param quantization the quantization_config of the output
   * @param quantized paths of the linears that will be quantized
   * @param blocks how many blocks all stacks have
   */
  record Setting(
      CausalLm model,
      QuantizeJob.Plan plan,
      SourceFiles files,
      Map<String, Object> quantization,
      java.util.Set<String> quantized,
      int blocks,
      WorkFolder work,
      BlockNotes notes,
      DeviceMemory memory,
      PrintWriter err) {}

  /** A device's copy of the blocks and its share of the samples. */
  private static final class Seat {
    private final TensorSource source;
    private final BlockStack stack;
    private final CalibrationInputs inputs;
    private LayerForwardManager forward;

    Seat(TensorSource source, BlockStack stack, CalibrationInputs inputs) {
      this.source = source;
      this.stack = stack;
      this.inputs = inputs;
    }
  }

  private final Setting setting;
  private final Crew crew;
  private final List<Seat> seats = new ArrayList<>();
  private final BlockStack stack;

  private QuantizeBlocks(Setting setting, Crew crew, BlockStack stack) {
    this.setting = setting;
    this.crew = crew;
    this.stack = stack;
  }

  /**
   * Quantizes all blocks that are not finished yet.
   *
   * @param models the model on each device of the crew
   * @param stacks the same blocks on each device, with its share of the samples
   * @param samples how many there are on all devices together
   */
  static void run(
      Setting setting,
      Crew crew,
      List<CausalLm> models,
      List<? extends BlockStack> stacks,
      int samples) {
    List<CalibrationInputs> open = new ArrayList<>();
    QuantizeBlocks blocks = new QuantizeBlocks(setting, crew, stacks.getFirst());
    try (Progress progress = new Progress(setting.err, blocks.stack.unit(), blocks.stack.count())) {
      for (Crew.Member member : crew.members()) {
        CalibrationInputs inputs =
            new CalibrationInputs(member.device(), setting.plan.keeping(), setting.work.path());
        open.add(inputs);
        TensorSource source = models.get(member.rank()).tensors();
        blocks.seats.add(new Seat(source, stacks.get(member.rank()), inputs));
      }
      blocks.run(progress, samples);
    } finally {
      open.forEach(CalibrationInputs::close);
    }
  }

  private void run(Progress progress, int samples) {
    boolean open = IntStream.range(0, stack.count()).anyMatch(i -> !isFinished(i));
    boolean calibrates = setting.plan.method().calibrates() && open;
    crew.run(
        member -> {
          Seat seat = seat(member);
          if (calibrates) {
            seat.stack.addSamples(seat.inputs);
            unload(seat.source, "");
          }
          seat.forward = new LayerForwardManager(seat.inputs, member, samples);
        });
    setting.memory.ended("the embedding");
    for (int i = 0; i < stack.count(); i++) {
      one(i, progress);
    }
  }

  private Seat seat(Crew.Member member) {
    return seats.get(member.rank());
  }

  private boolean isFinished(int index) {
    return setting.work.journal().entries().containsKey(stack.prefix(index));
  }

  private void one(int index, Progress progress) {
    long start = System.nanoTime();
    boolean finished = isFinished(index);
    crew.run(
        member -> {
          Seat seat = seat(member);
          boolean advances = seat.inputs.size() > 0 && index + 1 < stack.count();
          seat.stack.prepare(seat.inputs, index);
          if (finished && advances) {
            advanceWritten(seat, index);
          } else if (!finished) {
            BlockListener listener = new BlockListener(member.leads() ? progress : null, index);
            quantize(member, seat, index, advances, listener);
            seat.stack.release(index);
          }
        });
    String prefix = stack.prefix(index);
    int linears = setting.work.journal().entries().get(prefix).linears().size();
    Duration time = Duration.ofNanos(System.nanoTime() - start);
    String done = finished ? "%d linears were there already, %s" : "%d linears in %s";
    setting.memory.ended("the end of " + prefix);
    progress.done(index + 1, done.formatted(linears, Units.time(time)));
  }

  private void quantize(
      Crew.Member member, Seat seat, int index, boolean advances, BlockListener listener) {
    String prefix = seat.stack.prefix(index);
    Module block = seat.stack.block(index);
    try (Scope scope = Scope.open();
        BlockWriting writing =
            member.leads()
                ? quantizeAndWrite(prefix, block, seat.forward, listener)
                : quantizeOnly(prefix, block, seat.forward, listener)) {
      unload(seat.source, prefix + ".");
      if (advances && setting.plan.format().keepsCodes()) {
        listener.at(0.9, "running the quantized " + stack.unit());
        seat.forward.advance(block);
      } else if (advances) {
        writing.end();
        member.done();
        advanceWritten(seat, index);
      }
      writing.end();
      if (member.leads()) {
        setting.files.requireUnchanged();
        setting.work.journal().add(new Journal.Entry(prefix, listener.linears, listener.folds));
      }
    }
  }

  /** Runs the samples through a block as it was written. */
  private void advanceWritten(Seat seat, int index) {
    try (TensorSource tensors = setting.work.block(stack.prefix(index));
        Scope scope = Scope.open()) {
      seat.forward.advance(seat.stack.written(index, tensors, setting.quantization));
    }
  }

  /** Quantizes a block and begins to write it. */
  private BlockWriting quantizeAndWrite(
      String prefix, Module block, LayerForwardManager forward, BlockListener listener) {
    setting.files.requireUnchanged();
    setting.notes.around(
        prefix, block, forward.inputs(), () -> quantize(prefix, block, forward, listener));
    listener.at(0.8, "writing");
    return BlockWriting.start(
        setting.model.device(),
        taker -> tensors(prefix, block, taker),
        all -> setting.work.writeBlock(prefix, writer -> all.each(writer::write)));
  }

  private BlockWriting quantizeOnly(
      String prefix, Module block, LayerForwardManager forward, BlockListener listener) {
    quantize(prefix, block, forward, listener);
    return BlockWriting.NOTHING;
  }

  /** Replaces the linears of a block; without samples they are rounded to nearest. */
  private void quantize(
      String prefix, Module block, LayerForwardManager forward, QuantListener listener) {
    QuantizeJob.Plan plan = setting.plan;
    SmoothQuantConfig search = plan.method().search(plan.rules());
    if (forward.inputs().size() == 0) {
      new Rtn(plan.rules(), listener).quantizeLayer(prefix, block, forward.member());
    } else if (plan.method().secondOrder) {
      if (search != null) {
        new SmoothQuant(search, listener).smoothLayer(prefix, block, forward);
      }
      GptqConfig config = plan.gptq().withRules(plan.rules());
      new Gptq(config, listener).quantizeLayer(prefix, block, forward);
    } else {
      new SmoothQuant(search, listener).quantizeLayer(prefix, block, forward);
    }
  }

  /** Takes the pages of a source that were read out of memory, where they would pile up. */
  private static void unload(TensorSource tensors, String prefix) {
    for (String name : tensors.names()) {
      if (name.startsWith(prefix)) {
        unload(tensors.get(name));
      }
    }
  }

  /** Takes the pages of a tensor of a file out of memory. */
  static void unload(Tensor tensor) {
    MemorySegment segment = tensor.segment();
    if (segment.isMapped()) {
      segment.unload();
    }
  }

  /** Tells the tensors of a block: of its quantized linears as the format has them. */
  private void tensors(String prefix, Module block, BiConsumer<String, Tensor> taker) {
    block.visit(
        (path, module) -> {
          String name = path.isEmpty() ? prefix : prefix + "." + path;
          try (Scope scope = Scope.open()) {
            if (setting.quantized.contains(name)) {
              setting.plan.format().tensors(name, module).forEach(taker);
            } else {
              module
                  .parameters()
                  .forEach(
                      (part, x) -> taker.accept(name + "." + part, stored(name + "." + part, x)));
            }
          }
        });
  }

  /** A parameter in the type that it has in the source. */
  private Tensor stored(String name, Tensor tensor) {
    TensorSource source = setting.model.tensors();
    return source.has(name) ? Ops.to(tensor, source.get(name).dtype()) : tensor;
  }

  /** Collects what there is to report of a block, and shows how far it is. */
  private final class BlockListener implements QuantListener {
    private final Progress progress;
    private final int block;
    private final List<LinearReport> linears = new ArrayList<>();
    private final List<FoldReport> folds = new ArrayList<>();
    private double searched;

    /**
     * Nothing yet.
     *
     * @param progress null if this device does not speak for all
     */
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
    public void foldFinished(FoldReport report) {
      folds.add(report);
      setting.notes.factors(report);
      setting.memory.ended("smoothing of " + report.producer());
    }

    @Override
    public void linearFinished(LinearReport report) {
      linears.add(report);
      double share = (double) linears.size() * setting.blocks / setting.quantized.size();
      at(searched + (0.8 - searched) * Math.min(1, share), report.name());
      if (progress != null) {
        setting.memory.ended(report.name());
      }
    }

    void at(double share, String note) {
      if (progress != null) {
        progress.at(block + share, note);
      }
    }
  }
}
