package fqt.tools;

import fqt.models.CausalLm;
import fqt.models.VisionTower;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.GptqConfig;
import fqt.quant.Scheme;
import fqt.quant.format.CheckpointContents;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/** What the checkpoint of a job will hold, known before anything is quantized. */
final class PlannedContents {
  private final QuantizeJob.Plan plan;
  private final SequencedMap<String, Scheme> quantized = new LinkedHashMap<>();
  private final List<String> unquantized = new ArrayList<>();

  private PlannedContents(QuantizeJob.Plan plan) {
    this.plan = plan;
  }

  /** The contents of a job's output. */
  static CheckpointContents of(CausalLm model, QuantizeJob.Plan plan) {
    PlannedContents contents = new PlannedContents(plan);
    try (CausalLm outline = model.outline()) {
      contents.add(outline);
    }
    contents.unquantized.add("lm_head");
    return new CheckpointContents(
        plan.rules().base(),
        contents.quantized,
        contents.unquantized,
        plan.gptq().order() == GptqConfig.ActOrder.DYNAMIC,
        contents.method());
  }

  private void add(CausalLm model) {
    for (int i = 0; i < model.layers().size(); i++) {
      add(model.layerPrefix(i), model.layers().get(i), true);
    }
    VisionTower tower = model.vision();
    if (tower != null) {
      for (int i = 0; i < tower.blocks().size(); i++) {
        add(tower.blockPrefix(i), tower.blocks().get(i), quantizesVision(plan));
      }
      add(tower.mergerPrefix(), tower.merger(), false);
    }
  }

  /**
   * Whether the blocks of a vision tower are quantized: if codes and activations have 8 bits, a
   * scale an output. Few of its sizes divide into groups.
   */
  static boolean quantizesVision(QuantizeJob.Plan plan) {
    Scheme base = plan.rules().base();
    return base.activations() != null && base.weights().bits() == 8;
  }

  private void add(String prefix, Module block, boolean rounded) {
    block.visit(
        (path, module) -> {
          if (module instanceof Linear) {
            String name = prefix + "." + path;
            Scheme scheme = rounded ? plan.rules().choice(name) : null;
            if (scheme == null) {
              unquantized.add(name);
            } else {
              quantized.put(name, scheme);
            }
          }
        });
  }

  private Map<String, Object> method() {
    Map<String, Object> method = new LinkedHashMap<>();
    method.put("quantizer", new Main.Version().getVersion()[0]);
    method.put("method", plan.method().toString());
    if (plan.method().secondOrder) {
      method.put("damp_percent", plan.gptq().damping());
      method.put("true_sequential", plan.gptq().trueSequential());
    }
    return method;
  }
}
