package fqt.tools;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.ScaleFold;
import fqt.quant.Scheme;
import fqt.quant.SmoothQuantConfig;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/** Memory that smoothing a layer takes besides the layer itself and one sample's way through it. */
final class SmoothingBytes {
  /** Of more experts than this, each keeps only a share of the tokens it is judged on. */
  private static final int EXPERTS_IN_FULL = 8;

  private final Map<Module, Long> weights = new IdentityHashMap<>();
  private long clip;

  private SmoothingBytes(String prefix, Module layer, SmoothQuantConfig config) {
    layer.visit(
        (path, module) -> {
          Scheme scheme = config.rules().choice(prefix + "." + path);
          if (module instanceof Linear linear && scheme != null) {
            weights.put(linear, linear.weight().count() * Float.BYTES);
            long inputs = linear.inputs();
            clip += inputs * scheme.weights().blocks().columnsOf(inputs) * Float.BYTES;
          }
        });
  }

  /**
   * Bytes that smoothing a layer takes at most: what candidates are judged on, consumers rounded
   * for a try, the layer in F32 before and after clipping, and the clip search's second moments.
   *
   * @param hidden features of the layer's input
   * @param tokens of all calibration samples together
   * @param length tokens of the longest sample
   */
  static long of(
      String prefix,
      Module layer,
      SmoothQuantConfig config,
      long hidden,
      long tokens,
      long length) {
    SmoothingBytes bytes = new SmoothingBytes(prefix, layer, config);
    long judged = Math.min(tokens, config.searchTokens() + length);
    long wide = bytes.weights.values().stream().mapToLong(Long::longValue).sum();
    long whole = 2 * judged * hidden * Float.BYTES;
    long blocksAndTry = bytes.folds(layer, judged);
    return whole + blocksAndTry + (config.clip() ? 2 * wide + bytes.clip : wide);
  }

  /** What goes into and comes out of the blocks that folds are judged by, and the largest try. */
  private long folds(Module layer, long judged) {
    Map<Module, String> paths = new IdentityHashMap<>();
    layer.visit((path, module) -> paths.put(module, path.replaceAll("\\b\\d+\\b", "*")));
    Map<String, Long> alike = new HashMap<>();
    layer.scaleFolds().forEach(fold -> alike.merge(paths.get(fold.producer()), 1L, Long::sum));
    long kept = 0;
    long tried = 0;
    for (ScaleFold fold : layer.scaleFolds()) {
      List<Module> readers = fold.consumers().stream().filter(weights::containsKey).toList();
      if (!readers.isEmpty()) {
        Linear first = (Linear) readers.getFirst();
        long stride = Math.max(1, alike.get(paths.get(fold.producer())) / EXPERTS_IN_FULL);
        long features = first.inputs() + (readers.size() == 1 ? first.outputs() : first.inputs());
        kept += features * Math.ceilDiv(judged, stride) * Float.BYTES;
        tried = Math.max(tried, readers.stream().mapToLong(weights::get).sum());
      }
    }
    return kept + tried;
  }
}
