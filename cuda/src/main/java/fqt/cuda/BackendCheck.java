package fqt.cuda;

import fqt.tensor.Device;
import fqt.tensor.Scope;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;

/**
 * Checks every operation of the backend against its twin on the CPU: a table of cases, each run
 * over fresh random inputs of awkward sizes.
 */
final class BackendCheck {
  /**
   * One operation.
   *
   * @param body checks it once, with sizes and inputs of its own choice
   */
  record Case(String name, Consumer<Twin> body) {}

  private final Random random;
  private final Twin.Report report;

  BackendCheck(Random random, Twin.Report report) {
    this.random = random;
    this.report = report;
  }

  static List<Case> cases() {
    List<Case> cases = new ArrayList<>(CopyCases.all());
    cases.addAll(RowCases.all());
    cases.addAll(ProductCases.all());
    cases.addAll(LinalgCases.all());
    cases.addAll(QuantCases.all());
    return cases;
  }

  /** Runs each chosen case some times. */
  void run(CheckChoice choice) {
    int times = choice.extent().of(1, 2, 20);
    for (Case one : cases()) {
      if (!choice.wants(one.name())) {
        continue;
      }
      for (int i = 0; i < times; i++) {
        Twin twin = new Twin(one.name(), Device.cuda(0), new Random(random.nextLong()), report);
        try (Scope scope = Scope.open()) {
          one.body().accept(twin);
        } catch (RuntimeException failure) {
          report.add(one.name() + " threw " + failure, Double.POSITIVE_INFINITY);
          break;
        }
      }
    }
  }
}
