package fqt.quant.report;

import java.util.List;

/**
 * What happened to one linear.
 *
 * @param name its full path
 * @param method {@code "gptq"}, {@code "rtn"} or another algorithm that chose its codes
 * @param loss GPTQ: squared error of the outputs, summed over them, mean over tokens; RTN: squared
 *     error of the weight
 * @param tokens inputs that were seen
 * @param damping what was added to the Hessian's diagonal, relative to its mean; 0 without Hessian
 * @param seconds time taken
 * @param notes what a user should know: dead columns, raised damping, fallback; one sentence each
 */
public record LinearReport(
    String name,
    String method,
    double loss,
    long tokens,
    double damping,
    double seconds,
    List<String> notes) {
  /** Copies the notes. */
  public LinearReport {
    notes = List.copyOf(notes);
  }
}
