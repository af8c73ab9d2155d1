package fqt.tools;

import fqt.models.CausalLm;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.ScaleFold;
import fqt.quant.CalibrationInputs;
import fqt.quant.LayerForwardManager;
import fqt.quant.SmoothQuantConfig;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;

/**
 * Memory that a job will need at most, computed before it starts. What different phases of a
 * layer's work need is added up although one follows the other: memory that one has freed waits for
 * its next use.
 *
 * @param process the Java VM, its heap and the kernels' buffers
 * @param activations hidden states of all calibration samples; none if they rest in a file, whose
 *     pages the system takes back when it needs them
 * @param replay what finished parts of a layer gave for all calibration samples
 * @param smoothing what the search for scales keeps and tries
 * @param layer the largest layer: its weights in the file's type, in F32 while one is quantized and
 *     packed, its Hessians, and what one sample needs on its way through it
 */
record MemoryBound(long process, long activations, long replay, long smoothing, long layer) {
  private static final long PROCESS = 350L << 20;

  /** The bound of a job. */
  static MemoryBound of(CausalLm model, QuantizeJob.Plan plan) {
    try (CausalLm outline = model.outline()) {
      return ofOutline(outline, plan);
    }
  }

  private static MemoryBound ofOutline(CausalLm model, QuantizeJob.Plan plan) {
    long length = plan.samples().isEmpty() ? 0 : plan.samples().getFirst().length;
    long tokens = plan.samples().size() * length;
    long hidden = tokens * model.config().text().hidden();
    long seen = pictures(model, plan);
    boolean replays = plan.method().secondOrder && plan.gptq().trueSequential();
    long kept = 0;
    long smoothing = 0;
    long largest = 0;
    for (int i = 0; i < model.layers().size(); i++) {
      Module layer = model.layers().get(i);
      largest = Math.max(largest, new LayerBytes(layer, plan.method().secondOrder).total(length));
      kept = replays ? Math.max(kept, widths(layer)) : 0;
      SmoothQuantConfig search = plan.method().search(plan.rules());
      if (search != null) {
        String prefix = model.layerPrefix(i);
        long features = model.config().text().hidden();
        long bytes = SmoothingBytes.of(prefix, layer, search, features, tokens, length);
        smoothing = Math.max(smoothing, bytes);
      }
    }
    long results =
        Math.min(
            kept * tokens * Float.BYTES, LayerForwardManager.replayBytes(hidden * Float.BYTES));
    boolean onDisk = plan.keeping() == CalibrationInputs.Keeping.DISK;
    return new MemoryBound(
        PROCESS,
        onDisk ? 0 : Math.max(hidden, seen) * bytesEach(plan.keeping()),
        onDisk ? 0 : results,
        smoothing,
        largest);
  }

  /** Elements of the hidden states of all pictures; they are calibrated after the texts. */
  private static long pictures(CausalLm model, QuantizeJob.Plan plan) {
    return plan.pictures().stream()
        .mapToLong(picture -> picture.pixels().dim(0) * model.vision().config().hidden())
        .sum();
  }

  private static long bytesEach(CalibrationInputs.Keeping keeping) {
    return keeping == CalibrationInputs.Keeping.BF16 ? Short.BYTES : Float.BYTES;
  }

  /**
   * The widest linear of every module that holds some, taken together: each ends in one at most.
   */
  private static long widths(Module layer) {
    long[] sum = new long[1];
    layer.visit(
        (path, module) -> {
          long widest = 0;
          for (Module.Child child : module.children()) {
            if (child.get() instanceof Linear linear) {
              widest = Math.max(widest, linear.inputs());
            }
          }
          sum[0] += widest;
        });
    return sum[0];
  }

  /** What the linears of a layer need; those of the experts of a mixture run one by one. */
  private static final class LayerBytes {
    private final Set<Module> shareInput = Collections.newSetFromMap(new IdentityHashMap<>());
    private final Map<String, Long> flows = new HashMap<>();
    private final Map<String, Long> hessians = new HashMap<>();
    private long weights;
    private long solving;

    LayerBytes(Module layer, boolean secondOrder) {
      for (ScaleFold fold : layer.scaleFolds()) {
        shareInput.addAll(fold.consumers().subList(1, fold.consumers().size()));
      }
      layer.visit(
          (path, module) -> {
            if (module instanceof Linear linear) {
              add(path.replaceAll("\\b\\d+\\b", "*"), linear, secondOrder);
            }
          });
    }

    private void add(String kind, Linear linear, boolean secondOrder) {
      long inputs = linear.inputs();
      long outputs = linear.outputs();
      // As the file has it, and as codes.
      weights += linear.weight().byteSize() * 2;
      // F32 weight, its codes, their error.
      long one = 4 * inputs * outputs * Float.BYTES;
      if (secondOrder) {
        // Factor and inverse of the Hessian in F32 and F64.
        one += 4 * inputs * inputs * Double.BYTES;
        hessians.merge(
            kind, shareInput.contains(linear) ? 0 : inputs * inputs * Float.BYTES, Long::sum);
      }
      solving = Math.max(solving, one);
      flows.merge(kind, (inputs + outputs) * Float.BYTES, Math::max);
    }

    long total(long tokens) {
      long flow = flows.values().stream().mapToLong(Long::longValue).sum() * tokens;
      long stage = hessians.values().stream().mapToLong(Long::longValue).max().orElse(0);
      return weights + solving + flow + stage;
    }
  }

  long total() {
    return process + activations + replay + smoothing + layer;
  }

  @Override
  public String toString() {
    return ("memory: at most %s (%s activations, %s of results kept, %s for smoothing,"
            + " %s for the largest layer, %s for the process)")
        .formatted(
            Units.bytes(total()),
            Units.bytes(activations),
            Units.bytes(replay),
            Units.bytes(smoothing),
            Units.bytes(layer),
            Units.bytes(process));
  }
}
