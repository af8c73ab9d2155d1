package fqt.tools.report;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tools.plot.Grid;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * Looks at one block before and after it is quantized: the magnitudes of what its linears are fed
 * by the first calibration sample, and the smoothing scales that were chosen in between. Linears
 * with a common input are one; the experts of a mixture are left out.
 */
public final class BlockProbe {
  private static final int ROWS = 32;
  private static final int COLUMNS = 96;
  private static final int SCALES = 384;

  private final String prefix;
  private final Module block;
  private final CalibrationInputs inputs;
  private final SequencedMap<String, List<String>> sharing = new LinkedHashMap<>();
  private final Map<String, Grid> before = new LinkedHashMap<>();
  private final List<Map<String, Object>> scales = new ArrayList<>();

  /**
   * Looks at a block that is not quantized yet.
   *
   * @param prefix path of the block
   * @param block the block, still in floating point
   * @param inputs calibration inputs of this block; nothing is seen without any
   */
  public BlockProbe(String prefix, Module block, CalibrationInputs inputs) {
    this.prefix = prefix;
    this.block = block;
    this.inputs = inputs;
    if (inputs.size() > 0) {
      lookBefore();
    }
  }

  private void lookBefore() {
    Map<Tensor, String> first = new IdentityHashMap<>();
    List<Module.Registration> hooks = new ArrayList<>();
    block.visit(
        (path, module) -> {
          if (module instanceof Linear && !path.contains(".experts.")) {
            hooks.add(
                module.before(
                    (self, input, args) -> {
                      String reader = first.computeIfAbsent(input, unused -> path);
                      sharing.computeIfAbsent(reader, unused -> new ArrayList<>()).add(path);
                      before.computeIfAbsent(reader, unused -> Grid.of(input, ROWS, COLUMNS));
                    }));
          }
        });
    run(hooks);
  }

  /**
   * Notes the smoothing scales of a producer in this block.
   *
   * @param producer full path of the norm or linear
   * @param factors what each of its channels was divided by
   */
  public void scales(String producer, float[] factors) {
    float[] sorted = factors.clone();
    Arrays.sort(sorted);
    Map<String, Object> noted = new LinkedHashMap<>();
    noted.put("producer", producer);
    noted.put("channels", factors.length);
    noted.put("min", sorted[0]);
    noted.put("median", sorted[sorted.length / 2]);
    noted.put("max", sorted[sorted.length - 1]);
    noted.put("values", reduced(factors));
    scales.add(noted);
  }

  /** At most {@value #SCALES} values, each the farthest from 1 of those that it stands for. */
  private static List<Object> reduced(float[] factors) {
    int count = Math.min(SCALES, factors.length);
    float[] values = new float[count];
    Arrays.fill(values, 1);
    for (int i = 0; i < factors.length; i++) {
      int place = (int) ((long) i * count / factors.length);
      if (Math.abs(Math.log(factors[i])) > Math.abs(Math.log(values[place]))) {
        values[place] = factors[i];
      }
    }
    List<Object> list = new ArrayList<>();
    for (float value : values) {
      list.add(Double.parseDouble("%.4g".formatted((double) value)));
    }
    return list;
  }

  /**
   * Looks at the quantized block.
   *
   * @return all that was seen, as JSON has it
   */
  public Map<String, Object> finish() {
    Map<String, Grid> after = new LinkedHashMap<>();
    List<Module.Registration> hooks = new ArrayList<>();
    for (String reader : sharing.keySet()) {
      hooks.add(
          block
              .find(reader)
              .before(
                  (self, input, args) ->
                      after.computeIfAbsent(reader, unused -> Grid.of(input, ROWS, COLUMNS))));
    }
    if (!hooks.isEmpty()) {
      run(hooks);
    }
    List<Object> surfaces = new ArrayList<>();
    before.forEach((reader, grid) -> surfaces.add(surface(reader, grid, after.get(reader))));
    Map<String, Object> seen = new LinkedHashMap<>();
    seen.put("block", prefix);
    seen.put("surfaces", surfaces);
    seen.put("scales", scales);
    return seen;
  }

  private void run(List<Module.Registration> hooks) {
    try (Scope scope = Scope.open()) {
      block.apply(inputs.hidden(0), inputs.args(0));
    } finally {
      hooks.forEach(Module.Registration::close);
    }
  }

  private Map<String, Object> surface(String reader, Grid grid, Grid after) {
    String names = String.join(", ", sharing.get(reader).stream().map(BlockProbe::last).toList());
    Map<String, Object> surface = new LinkedHashMap<>();
    surface.put("name", names);
    surface.put("rows", grid.rows());
    surface.put("columns", grid.columns());
    surface.put("source_rows", grid.sourceRows());
    surface.put("source_columns", grid.sourceColumns());
    surface.put("before", encoded(grid));
    surface.put("after", encoded(after));
    return surface;
  }

  private static String last(String path) {
    return path.substring(path.lastIndexOf('.') + 1);
  }

  /** Magnitudes as bytes, 255 being the largest. */
  private static Map<String, Object> encoded(Grid grid) {
    float max = grid.max();
    byte[] bytes = new byte[grid.cells().length];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) Math.rint(max > 0 ? 255.0 * grid.cells()[i] / max : 0);
    }
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("max", max);
    map.put("data", Base64.getEncoder().encodeToString(bytes));
    return map;
  }
}
