package fqt.quant;

import fqt.nn.LayerNorm;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.ModuleList;
import fqt.nn.RmsNorm;
import fqt.nn.ScaleFold;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * A fold of a layer, with the names and places of its modules.
 *
 * @param scale what may be rescaled
 * @param producer full path of its producer
 * @param consumers full paths of its consumers
 * @param targets those of its consumers that will be quantized
 * @param stays whether the producer will not be quantized and keeps its type
 * @param block the innermost module that holds all targets and runs: what candidates are judged by
 */
record Fold(
    ScaleFold scale,
    String producer,
    List<String> consumers,
    List<SchemeRules.Target> targets,
    boolean stays,
    Module block) {
  /** The folds of a layer that have a quantized consumer and are linears and norms throughout. */
  static List<Fold> of(String prefix, Module layer, SchemeRules rules) {
    Map<Module, String> paths = new IdentityHashMap<>();
    layer.visit((path, module) -> paths.put(module, path));
    SequencedMap<String, SchemeRules.Target> targets = rules.targets(prefix, layer);
    List<Fold> folds = new ArrayList<>();
    for (ScaleFold scale : layer.scaleFolds()) {
      List<String> inside = scale.consumers().stream().map(paths::get).toList();
      List<SchemeRules.Target> quantized =
          inside.stream().filter(targets::containsKey).map(targets::get).toList();
      boolean linears = scale.consumers().stream().allMatch(Linear.class::isInstance);
      if (!quantized.isEmpty() && linears && canScale(scale.producer())) {
        String block = commonParent(inside.stream().filter(targets::containsKey).toList());
        if (layer.find(block) instanceof ModuleList) {
          // The experts of a mixture: their owner runs them.
          block = parent(block);
        }
        folds.add(
            new Fold(
                scale,
                prefix + "." + paths.get(scale.producer()),
                inside.stream().map(path -> prefix + "." + path).toList(),
                quantized,
                !targets.containsKey(paths.get(scale.producer())),
                layer.find(block)));
      }
    }
    return folds;
  }

  /** Features that go into the judging block and come out of it. */
  long blockFeatures() {
    return block instanceof Linear linear
        ? linear.inputs() + linear.outputs()
        : 2 * targets.getFirst().linear().inputs();
  }

  private static boolean canScale(Module producer) {
    return producer instanceof RmsNorm
        || producer instanceof LayerNorm
        || producer instanceof Linear;
  }

  /** The longest path that all paths are at or below. */
  private static String commonParent(List<String> paths) {
    String common = paths.getFirst();
    for (String path : paths) {
      while (!(path + ".").startsWith(common.isEmpty() ? "" : common + ".")) {
        common = parent(common);
      }
    }
    return common;
  }

  private static String parent(String path) {
    return path.substring(0, Math.max(0, path.lastIndexOf('.')));
  }

  /** Whose input the activations of this fold are: the consumer that sees every token. */
  Module reader() {
    return scale.consumers().getFirst();
  }

  /** For each column of a consumer, the producer channel that feeds it. */
  int[] channelOfColumn() {
    int head = Math.toIntExact(scale.headDim());
    int repeat = Math.toIntExact(scale.repeat());
    int[] channels = new int[Math.toIntExact(scale.channels()) * repeat];
    for (int i = 0; i < channels.length; i++) {
      channels[i] = i / head / repeat * head + i % head;
    }
    return channels;
  }

  /** A number for each consumer column, from one for each channel. */
  float[] spread(float[] factors) {
    int[] channels = channelOfColumn();
    float[] columns = new float[channels.length];
    for (int i = 0; i < columns.length; i++) {
      columns[i] = factors[channels[i]];
    }
    return columns;
  }

  /**
   * Divides the producer's channels by factors and multiplies the consumers' columns by them. A
   * norm's weight is rounded to the type it is stored in, and the consumers are multiplied by what
   * it was really divided by; a linear that will not be quantized is rounded to its type too.
   *
   * <p>New tensors belong to the current scope.
   *
   * @param factors one for each channel, positive
   */
  void apply(float[] factors) {
    float[] real =
        switch (scale.producer()) {
          case RmsNorm norm -> divide(norm, factors);
          case LayerNorm norm -> divide(norm, factors);
          case Linear linear -> divideRows(linear, factors);
          default -> throw new IllegalStateException("cannot rescale " + producer);
        };
    float[] columns = spread(real);
    for (Module consumer : scale.consumers()) {
      Linear linear = (Linear) consumer;
      try (Scope scope = Scope.open()) {
        Tensor factor = Host.tensor(linear.weight().device(), columns, columns.length);
        Tensor scaled = Ops.multiply(wide(linear.weight()), factor);
        boolean quantized = targets.stream().anyMatch(target -> target.linear() == linear);
        DType type = quantized ? DType.F32 : linear.weight().dtype();
        linear.setWeight(scope.keep(Ops.to(scaled, type)));
      }
    }
  }

  private static float[] divide(RmsNorm norm, float[] factors) {
    Tensor old = norm.weight();
    norm.setWeight(divided(old, factors));
    return quotients(old, norm.weight(), factors);
  }

  private static float[] divide(LayerNorm norm, float[] factors) {
    Tensor old = norm.weight();
    Tensor weight = divided(old, factors);
    float[] real = quotients(old, weight, factors);
    norm.set(weight, divided(norm.bias(), real));
    return real;
  }

  /** What each channel was divided by, rounding included. */
  private static float[] quotients(Tensor before, Tensor after, float[] factors) {
    float[] old = Host.floats(before);
    float[] rounded = Host.floats(after);
    float[] real = new float[old.length];
    for (int i = 0; i < real.length; i++) {
      float quotient = old[i] / rounded[i];
      real[i] = Float.isFinite(quotient) && quotient > 0 ? quotient : factors[i];
    }
    return real;
  }

  private float[] divideRows(Linear linear, float[] factors) {
    float[] rows = new float[Math.toIntExact(linear.outputs())];
    Arrays.fill(rows, 1);
    System.arraycopy(factors, 0, rows, Math.toIntExact(scale.producerOffset()), factors.length);
    try (Scope scope = Scope.open()) {
      Tensor divisor = Host.tensor(linear.weight().device(), rows, rows.length);
      Tensor turned = Ops.divide(Ops.copy(wide(linear.weight()).transpose(0, 1)), divisor);
      DType type = stays ? linear.weight().dtype() : DType.F32;
      linear.setWeight(scope.keep(Ops.to(Ops.copy(turned.transpose(0, 1)), type)));
    }
    if (linear.bias() != null) {
      linear.setBias(divided(linear.bias(), rows));
    }
    return factors;
  }

  /** A vector divided by factors, in its own type. */
  private static Tensor divided(Tensor x, float[] factors) {
    try (Scope scope = Scope.open()) {
      Tensor divisor = Host.tensor(x.device(), factors, factors.length);
      return scope.keep(Ops.to(Ops.divide(wide(x), divisor), x.dtype()));
    }
  }

  private static Tensor wide(Tensor x) {
    return Ops.to(Ops.contiguous(x), DType.F32);
  }
}
