package fqt.quant;

import fqt.nn.Module;
import fqt.nn.ModuleList;
import fqt.nn.ScaleFold;
import fqt.quant.flow.Target;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * A fold of a layer, with the names and places of its modules.
 *
 * @param scale what may be rescaled
 * @param producer full path of its producer
 * @param consumers full paths of its consumers
 * @param targets those of its consumers that will be quantized
 * @param block path, below the layer, of the innermost module that holds all targets and runs: what
 *     candidates are judged by
 */
record Fold(
    ScaleFold scale, String producer, List<String> consumers, List<Target> targets, String block) {
  /** The folds of a layer that have a quantized consumer. */
  static List<Fold> of(String prefix, Module layer, List<Target> targets) {
    Map<Module, String> paths = new IdentityHashMap<>();
    layer.visit((path, module) -> paths.put(module, path));
    List<Fold> folds = new ArrayList<>();
    for (ScaleFold scale : layer.scaleFolds()) {
      List<Target> quantized =
          targets.stream().filter(target -> scale.consumers().contains(target.linear())).toList();
      if (!quantized.isEmpty() && scale.isApplicable()) {
        List<String> consumers =
            scale.consumers().stream().map(module -> prefix + "." + paths.get(module)).toList();
        String producer = prefix + "." + paths.get(scale.producer());
        String block = block(layer, quantized.stream().map(t -> paths.get(t.linear())).toList());
        folds.add(new Fold(scale, producer, consumers, quantized, block));
      }
    }
    return folds;
  }

  /** The longest path of a module that runs which all paths are at or below. */
  private static String block(Module layer, List<String> paths) {
    String common = paths.getFirst();
    while (!holdsAll(common, paths) || layer.find(common) instanceof ModuleList) {
      common = common.substring(0, Math.max(0, common.lastIndexOf('.')));
    }
    return common;
  }

  private static boolean holdsAll(String path, List<String> paths) {
    return path.isEmpty() || paths.stream().allMatch(p -> (p + ".").startsWith(path + "."));
  }

  /** Whose input the activations of this fold are: the consumer that sees every token. */
  Module reader() {
    return scale.consumers().getFirst();
  }
}
