package fqt.tools;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.ScaleFold;
import fqt.quant.crew.Crew;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;

/**
 * Memory that the linears of a layer need while they are quantized; those of the experts of a
 * mixture run one by one.
 */
final class LayerBytes {
  private final Set<Module> shareInput = Collections.newSetFromMap(new IdentityHashMap<>());
  private final Map<String, Long> flows = new HashMap<>();
  private final Map<String, Long> hessians = new HashMap<>();
  private long weights;
  private long largest;
  private long widest;

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
    weights += linear.weight().byteSize();
    largest = Math.max(largest, inputs * outputs * Float.BYTES);
    flows.merge(kind, (inputs + outputs) * Float.BYTES, Math::max);
    if (secondOrder) {
      long square = inputs * inputs * Float.BYTES;
      widest = Math.max(widest, square);
      hessians.merge(kind, shareInput.contains(linear) ? 0 : square, Long::sum);
    }
  }

  /**
   * The widest linear of every module that holds some, taken together: each ends in one at most.
   */
  static long results(Module layer) {
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

  private long stage() {
    return hessians.values().stream().mapToLong(Long::longValue).max().orElse(0);
  }

  private long flow(long tokens) {
    return flows.values().stream().mapToLong(Long::longValue).sum() * tokens;
  }

  /**
   * The weights as the file has them and as codes, one in F32 with its codes and their error, the
   * Hessians, and their factor and inverse in F64.
   */
  long onCpu(long tokens) {
    return 2 * weights + 4 * largest + 6 * widest + flow(tokens) + 2 * stage();
  }

  /**
   * The weights of this layer and the next one as the file has them, and as codes; the Hessians,
   * each a sum and what is added to it, which both serve the factor; and either a sample on its way
   * or one weight that is quantized, with what the products of its errors and the inverse of its
   * factor need beside them. One of several GPUs also keeps the sums of its chunks of the samples
   * until the others have read them.
   */
  long onGpu(long tokens, int devices) {
    long chunks = devices == 1 ? 0 : Math.max(2, Math.ceilDiv(Crew.CHUNKS, devices));
    long solving = 5 * largest + widest / 4;
    long beside = Math.max(flow(tokens), solving);
    return 2 * weights + weights / 2 + (2 + chunks) * stage() + beside;
  }

  /**
   * The pages of two layers, what a format makes of the largest weight, and the layer as it is
   * written while the GPU goes on.
   */
  long besideGpu() {
    return 3 * weights + 4 * largest;
  }
}
