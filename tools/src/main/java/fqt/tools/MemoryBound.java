package fqt.tools;

import fqt.models.CausalLm;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.LayerForwardManager;

/**
 * Memory that a job will need at most, computed before it starts.
 *
 * @param process the Java VM, its heap and the kernels' buffers
 * @param activations hidden states of all calibration samples
 * @param replay what finished parts of a layer gave for all calibration samples
 * @param layer the largest layer: its weights in the file's type, in F32 while one is quantized and
 *     packed, its Hessians, and what one sample needs on its way through it
 */
record MemoryBound(long process, long activations, long replay, long layer) {
  private static final long PROCESS = 350L << 20;

  /** The bound of a job. */
  static MemoryBound of(CausalLm model, QuantizeJob.Plan plan) {
    long tokens = plan.samples().isEmpty() ? 0 : plan.samples().getFirst().length;
    long hidden = model.config().text().hidden();
    long activations = plan.samples().size() * tokens * hidden * Float.BYTES;
    boolean replays = plan.method().secondOrder && plan.gptq().trueSequential();
    long kept = 0;
    long largest = 0;
    for (int i = 0; i < model.layers().size(); i++) {
      largest = Math.max(largest, layer(model.layers().get(i), tokens));
      kept = replays ? Math.max(kept, widths(model.layers().get(i))) : 0;
      model.release(i);
    }
    long all = kept * plan.samples().size() * tokens * Float.BYTES;
    long replay = Math.min(all, LayerForwardManager.replayBytes(activations));
    return new MemoryBound(PROCESS, activations, replay, largest);
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

  private static long layer(Module layer, long tokens) {
    long[] sums = new long[3];
    layer.visit(
        (path, module) -> {
          if (module instanceof Linear linear) {
            long inputs = linear.inputs();
            long outputs = linear.outputs();
            sums[0] += linear.weight().byteSize() * 2;
            // F32 weight, its codes, their error, and Hessian, factor and inverse in F32 and F64.
            sums[1] =
                Math.max(
                    sums[1],
                    4 * inputs * outputs * Float.BYTES + 4 * inputs * inputs * Double.BYTES);
            sums[2] += (inputs + outputs) * tokens * Float.BYTES;
          }
        });
    return sums[0] + sums[1] + sums[2];
  }

  long total() {
    return process + activations + replay + layer;
  }

  @Override
  public String toString() {
    return ("memory: at most %s (%s activations, %s of results kept, %s for the largest layer,"
            + " %s for the process)")
        .formatted(
            Units.bytes(total()),
            Units.bytes(activations),
            Units.bytes(replay),
            Units.bytes(layer),
            Units.bytes(process));
  }
}
