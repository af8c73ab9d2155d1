package fqt.quant.flow;

import fqt.nn.Hooks;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.ModuleList;
import fqt.nn.ScaleFold;
import fqt.nn.SparseMoe;
import fqt.quant.crew.Crew;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntSupplier;

/**
 * A fold of a layer, with the names and places of its modules and what calibration samples show.
 *
 * @param scale what may be rescaled
 * @param producer full path of its producer
 * @param consumers full paths of its consumers
 * @param targets those of its consumers that will be quantized
 * @param sizes how large the columns are that the consumers read
 * @param runs what went into and came out of the innermost module that holds all targets and runs:
 *     choices of factors are judged by it
 */
public record Fold(
    ScaleFold scale,
    String producer,
    List<String> consumers,
    List<Target> targets,
    ColumnSizes sizes,
    BlockRuns runs) {
  private static final int EXPERTS_IN_FULL = 8;

  /**
   * The folds of a layer that were watched; closing frees what was kept.
   *
   * @param folds those of the layer in its own order
   */
  public record All(List<Fold> folds) implements AutoCloseable {
    @Override
    public void close() {
      folds.forEach(fold -> fold.runs().close());
    }
  }

  /**
   * Samples that show what there is to know of a fold.
   *
   * @param member whose they are
   * @param chosen those of which the runs are kept
   * @param chunk to which chunk of all samples the one belongs that runs now
   * @param all runs them
   */
  public record Samples(
      Crew.Member member, BitSet chosen, IntSupplier chunk, SharedInputs.Samples all) {}

  /**
   * Runs all samples through a layer and watches the folds that have a target among their
   * consumers. Every expert of a mixture sees every token.
   *
   * @param prefix full path of the layer
   * @param layer the layer, in floating point
   * @param targets its linears that will be quantized
   * @param mean whether sizes are means, rather than maxima
   * @param samples runs them, and says which are kept
   * @return the folds with what the samples show
   */
  public static All watch(
      String prefix, Module layer, List<Target> targets, boolean mean, Samples samples) {
    List<Fold> folds = new ArrayList<>();
    boolean[] keeping = new boolean[1];
    try (Hooks hooks = new Hooks()) {
      hooks.add(SparseMoe.showAllTokens(layer));
      for (Fold fold : of(prefix, layer, targets, mean, samples.member)) {
        folds.add(fold);
        ScaleFold scale = fold.scale();
        // The first consumer sees every token.
        Module reader = scale.consumers().getFirst();
        hooks.add(
            reader.before(
                (module, input, args) -> fold.sizes.add(input, samples.chunk.getAsInt())));
        int stride = stride(layer, scale);
        hooks.add(
            fold.runs
                .block()
                .after(
                    (module, input, args, output) -> {
                      if (keeping[0] && input.dim(0) > 0) {
                        fold.runs.add(input, args, output, module instanceof Linear ? stride : 1);
                      }
                    }));
      }
      samples.all.run(sample -> keeping[0] = samples.chosen.get(sample));
      folds.forEach(fold -> fold.sizes.join(samples.member));
    } catch (RuntimeException e) {
      new All(folds).close();
      throw e;
    }
    return new All(folds);
  }

  private static List<Fold> of(
      String prefix, Module layer, List<Target> targets, boolean mean, Crew.Member member) {
    Map<Module, String> paths = paths(layer);
    List<Fold> folds = new ArrayList<>();
    for (ScaleFold scale : layer.scaleFolds()) {
      List<Target> quantized =
          targets.stream().filter(target -> scale.consumers().contains(target.linear())).toList();
      if (!quantized.isEmpty() && scale.isApplicable()) {
        String block = block(layer, quantized.stream().map(t -> paths.get(t.linear())).toList());
        folds.add(
            new Fold(
                scale,
                prefix + "." + paths.get(scale.producer()),
                scale.consumers().stream().map(m -> prefix + "." + paths.get(m)).toList(),
                quantized,
                new ColumnSizes(mean),
                new BlockRuns(member, layer, block)));
      }
    }
    return folds;
  }

  private static Map<Module, String> paths(Module layer) {
    Map<Module, String> paths = new IdentityHashMap<>();
    layer.visit((path, module) -> paths.put(module, path));
    return paths;
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

  /** Of many experts, each of which sees every token, only every so many-th token is kept. */
  private static int stride(Module layer, ScaleFold scale) {
    Map<Module, String> paths = paths(layer);
    String kind = Target.kind(paths.get(scale.producer()));
    long alike =
        layer.scaleFolds().stream()
            .filter(fold -> Target.kind(paths.get(fold.producer())).equals(kind))
            .count();
    return Math.toIntExact(Math.max(1, alike / EXPERTS_IN_FULL));
  }
}
