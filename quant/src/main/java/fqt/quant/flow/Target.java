package fqt.quant.flow;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.Axis;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/**
 * A linear that will be quantized.
 *
 * @param name full path
 * @param place where its successor goes
 * @param linear what stands there
 */
public record Target(String name, Module.Child place, Linear linear) {
  /**
   * {@return the linears of a layer that are chosen, in the order of the tree}
   *
   * @param prefix path of the layer
   * @param layer a block in which every linear has a place
   * @param chosen asks for a linear's full path
   * @throws IllegalArgumentException if the layer is itself a chosen linear
   */
  public static List<Target> of(String prefix, Module layer, Predicate<String> chosen) {
    List<Target> found = new ArrayList<>();
    layer.visit(
        (path, module) -> {
          String name = prefix.isEmpty() || path.isEmpty() ? prefix + path : prefix + "." + path;
          if (module instanceof Linear linear && chosen.test(name)) {
            if (path.isEmpty()) {
              throw new IllegalArgumentException(
                  name + " is itself a linear; put it into a block, where it has a place");
            }
            found.add(new Target(name, layer.place(path), linear));
          }
        });
    return found;
  }

  /**
   * {@return the weight in F32}
   *
   * @throws IllegalArgumentException if it holds a value that is not finite
   */
  public Tensor weight() {
    Tensor weight = Ops.to(Ops.contiguous(linear.weight()), DType.F32);
    float[] rows = Host.floats(Ops.reduce(ReduceOp.MEAN_ABS, Axis.ROWS, weight));
    for (int i = 0; i < rows.length; i++) {
      if (!Float.isFinite(rows[i])) {
        throw new IllegalArgumentException(
            "the weight of %s, %s, has a value in row %d that is not finite"
                .formatted(name, linear.weight(), i));
      }
    }
    return weight;
  }

  /** {@return the name without its numbers: the same for all experts of a mixture} */
  public String kind() {
    return kind(name);
  }

  /**
   * {@return a path without its numbers}
   *
   * @param path names joined by dots
   */
  public static String kind(String path) {
    return path.replaceAll("(?<=^|\\.)\\d+(?=\\.|$)", "*");
  }
}
