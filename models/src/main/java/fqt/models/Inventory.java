package fqt.models;

import fqt.io.FileFormatException;
import fqt.io.TensorSource;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.Tensor;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Compares a checkpoint with the model that its configuration describes, without loading anything:
 * the builders run over it, and it notes what they ask for.
 */
final class Inventory implements Weights {
  private static final int NAMED = 3;

  private final TensorSource source;
  private final boolean quantized;
  private final Set<String> known = new HashSet<>();
  private final Map<String, List<String>> byModule;

  /** An inventory of a checkpoint. */
  Inventory(TensorSource source, boolean quantized) {
    this.source = source;
    this.quantized = quantized;
    this.byModule = source.names().stream().collect(Collectors.groupingBy(Inventory::module));
  }

  private static String module(String name) {
    return name.substring(0, Math.max(0, name.lastIndexOf('.')));
  }

  @Override
  public boolean has(String name) {
    return source.has(name);
  }

  @Override
  public Tensor tensor(String name, long... shape) {
    if (!source.has(name)) {
      throw new FileFormatException(
          "the checkpoint lacks tensor '%s', which its configuration asks for".formatted(name));
    }
    known.add(name);
    return CheckpointWeights.requireShape(name, source.get(name), shape);
  }

  /** In a quantized checkpoint whatever is stored under the prefix belongs to the linear. */
  @Override
  public Module linear(String prefix, long inputs, long outputs, boolean bias) {
    if (quantized) {
      List<String> parts = byModule.get(prefix);
      if (parts == null) {
        throw new FileFormatException(
            "the checkpoint lacks linear '%s', which its configuration asks for".formatted(prefix));
      }
      known.addAll(parts);
    } else {
      tensor(prefix + ".weight", outputs, inputs);
      if (bias) {
        tensor(prefix + ".bias", outputs);
      }
    }
    return new Unread();
  }

  /**
   * Checks that nothing is left over.
   *
   * @throws FileFormatException if the checkpoint has tensors that the model does not
   */
  void requireAllUsed() {
    List<String> surplus =
        source.names().stream()
            .filter(name -> !known.contains(name) && !name.endsWith(".rotary_emb.inv_freq"))
            .toList();
    if (!surplus.isEmpty()) {
      String some = String.join("', '", surplus.stream().limit(NAMED).toList());
      String rest = surplus.size() > NAMED ? " and %d more".formatted(surplus.size() - NAMED) : "";
      throw new FileFormatException(
          "the checkpoint has tensors that its configuration has no place for: '%s'%s"
              .formatted(some, rest));
    }
  }

  /** Stands for a linear that was not read. */
  static final class Unread extends Module {
    @Override
    protected Tensor forward(Tensor input, LayerArgs args) {
      throw new IllegalStateException("a linear that was only counted does not run");
    }
  }
}
