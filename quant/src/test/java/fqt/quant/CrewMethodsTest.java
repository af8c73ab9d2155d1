package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.quant.report.FoldReport;
import fqt.quant.report.LinearReport;
import fqt.quant.report.QuantListener;
import fqt.tensor.AttentionMask;
import fqt.tensor.Backends;
import fqt.tensor.Device;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every method by several members of a crew gives the very codes that one gives. */
@Timeout(120)
class CrewMethodsTest {
  private static final int SAMPLES = 11;
  private static final int TOKENS = 13;

  /** What came of a layer: its parameters, its reports, and the samples behind it. */
  private record Outcome(
      Map<String, List<Float>> parameters, List<String> reports, List<float[]> hidden) {}

  private static Module layer(boolean sparse) {
    return sparse ? new Nets(4).sparseLayer(5) : new Nets(3).denseLayer();
  }

  private static List<Float> values(Tensor tensor) {
    List<Float> values = new ArrayList<>();
    Tensor host = Ops.to(Ops.contiguous(tensor), Device.CPU);
    for (long i = 0; i < host.count(); i++) {
      values.add(tensor.dtype().isFloat() ? Host.floats(host)[(int) i] : host.toLongs()[(int) i]);
    }
    return values;
  }

  /** What is done to a layer. */
  enum Method {
    GPTQ,
    GPTQ_OF_CHOSEN,
    AWQ,
    AWQ_GPTQ,
    SMOOTHQUANT;

    void run(Module layer, LayerForwardManager forward, QuantListener listener) {
      SmoothQuantConfig awq = SmoothQuantConfig.awq().withGroupSize(24).withSearchTokens(60);
      Gptq gptq = new Gptq(GptqConfig.defaults(), listener);
      switch (this) {
        case GPTQ -> gptq.quantizeLayer("m", layer, forward);
        case GPTQ_OF_CHOSEN -> {
          GptqConfig config = GptqConfig.defaults().withAllExperts(false);
          new Gptq(config, listener).quantizeLayer("m", layer, forward);
        }
        case AWQ -> new SmoothQuant(awq, listener).quantizeLayer("m", layer, forward);
        case AWQ_GPTQ -> {
          new SmoothQuant(awq.withClip(false), listener).smoothLayer("m", layer, forward);
          gptq.quantizeLayer("m", layer, forward);
        }
        case SMOOTHQUANT -> {
          SmoothQuantConfig config = SmoothQuantConfig.smoothQuant().withSearchTokens(60);
          new SmoothQuant(config, listener).quantizeLayer("m", layer, forward);
        }
      }
    }
  }

  private static Outcome run(List<Device> devices, boolean sparse, Method method) {
    Map<String, List<Float>> parameters = new LinkedHashMap<>();
    List<String> reports = new ArrayList<>();
    Map<Integer, float[]> hidden = Collections.synchronizedMap(new TreeMap<>());
    new Crew(devices)
        .run(
            member -> {
              try (Scope scope = Scope.open();
                  CalibrationInputs inputs = share(member)) {
                Module layer = layer(sparse);
                LayerForwardManager forward = new LayerForwardManager(inputs, member, SAMPLES);
                QuantListener listener =
                    new QuantListener() {
                      @Override
                      public void linearFinished(LinearReport report) {
                        reports.add(report.name() + " " + report.loss() + " " + report.tokens());
                      }

                      @Override
                      public void foldFinished(FoldReport report) {
                        reports.add(report.producer() + " " + report.ratio() + " " + report.loss());
                      }
                    };
                method.run(layer, forward, listener);
                forward.advance(layer);
                for (int i = 0; i < inputs.size(); i++) {
                  hidden.put(member.from(SAMPLES) + i, Host.floats(inputs.hidden(i)));
                }
                if (member.leads()) {
                  layer.visit(
                      (path, module) ->
                          module
                              .parameters()
                              .forEach((name, x) -> parameters.put(path + name, values(x))));
                }
              }
            });
    return new Outcome(parameters, reports, List.copyOf(hidden.values()));
  }

  private static CalibrationInputs share(Crew.Member member) {
    try (CalibrationInputs all = new Nets(9).inputs(SAMPLES, TOKENS)) {
      CalibrationInputs own = new CalibrationInputs(member.device());
      for (int i = member.from(SAMPLES); i < member.to(SAMPLES); i++) {
        own.add(all.hidden(i), new LayerArgs(null, null, AttentionMask.causal(TOKENS), null));
      }
      return own;
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2, false, GPTQ",
    "3, false, GPTQ",
    "8, false, GPTQ",
    "2, true, GPTQ",
    "3, true, GPTQ_OF_CHOSEN",
    "8, true, GPTQ_OF_CHOSEN",
    "2, false, AWQ",
    "3, true, AWQ",
    "8, false, AWQ",
    "2, false, AWQ_GPTQ",
    "2, true, SMOOTHQUANT",
    "3, false, SMOOTHQUANT"
  })
  void severalGiveTheBitsOfOne(int members, boolean sparse, Method method) {
    long before = Backends.of(Device.CPU).liveBytes();
    Outcome one = run(List.of(Device.CPU), sparse, method);
    Outcome several = run(Collections.nCopies(members, Device.CPU), sparse, method);
    assertEquals(one.parameters, several.parameters);
    assertFalse(one.reports.isEmpty());
    assertEquals(one.reports, several.reports);
    assertEquals(SAMPLES, several.hidden.size());
    for (int i = 0; i < SAMPLES; i++) {
      assertArrayEquals(one.hidden.get(i), several.hidden.get(i));
    }
    assertEquals(before, Backends.of(Device.CPU).liveBytes());
  }

  @Test
  void everyMemberSolvesSomething() {
    Crew crew = new Crew(Collections.nCopies(3, Device.CPU));
    for (Crew.Member member : crew.members()) {
      assertTrue(List.of(0, 1, 2).stream().anyMatch(member::does));
    }
  }
}
