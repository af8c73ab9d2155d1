package fqt.tools;

import fqt.models.CausalLm;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.format.ServeCheck;
import fqt.quant.format.ServedLinear;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;

/** Looks, before any work, whether a server will load what a job is about to write. */
final class Preflight {
  private Preflight() {}

  /**
   * Warns of shapes that a server's kernels do not take.
   *
   * @throws IllegalArgumentException if linears that servers take together would be stored
   *     differently, or in a form that none loads
   */
  static void check(CausalLm model, QuantizeJob.Plan plan, PrintWriter err) {
    if (plan.format().name().equals("simulated")) {
      return;
    }
    List<ServedLinear> planned;
    try (CausalLm outline = model.outline()) {
      planned = planned(outline, plan);
    }
    List<ServeCheck.Problem> problems = ServeCheck.problems(planned, 1);
    for (ServeCheck.Problem problem : problems) {
      if (problem.severity() != ServeCheck.Severity.SHAPE) {
        throw new IllegalArgumentException(problem.toString());
      }
    }
    if (!problems.isEmpty()) {
      err.printf(
          "warning: vLLM and SGLang will not load this: %s%s%n",
          problems.getFirst(),
          problems.size() == 1
              ? ""
              : " (and %d more; fqt inspect --serve lists them)".formatted(problems.size() - 1));
    }
  }

  private static List<ServedLinear> planned(CausalLm model, QuantizeJob.Plan plan) {
    List<ServedLinear> linears = new ArrayList<>();
    for (int i = 0; i < model.layers().size(); i++) {
      String prefix = model.layerPrefix(i) + ".";
      Module layer = model.layers().get(i);
      layer.visit(
          (path, module) -> {
            if (module instanceof Linear linear) {
              String name = prefix + path;
              linears.add(
                  ServedLinear.planned(
                      name,
                      linear.inputs(),
                      linear.outputs(),
                      plan.format(),
                      plan.rules().choice(name)));
            }
          });
    }
    return linears;
  }
}
