package fqt.quant;

import fqt.quant.GptqConfig.ActOrder;
import fqt.tensor.Axis;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.QuantOps;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The column loop of GPTQ (Frantar et al. 2022, algorithm 1) over one weight: column after column
 * is rounded, and its error, weighted by the inverse Hessian, is moved onto the columns to come.
 *
 * <p>The loop works in blocks: within one, the backend's kernel goes column by column; the error of
 * a whole block then reaches the columns behind it in one matrix product. Unless scales are fixed,
 * a group's scale is taken from its columns as they stand when the first of them is reached, so a
 * block ends where a group does.
 */
final class GptqSolver {
  private static final int BLOCK = 128;

  /**
   * What GPTQ found.
   *
   * @param weight codes, scales and zero points
   * @param loss Σ e² / 2 over all elements: the quantization error of the outputs, summed over them
   */
  record Solution(QuantizedWeight weight, double loss) {}

  private final Quantizer quantizer;
  private final Factor factor;
  private final boolean fixedScales;
  private final int inputs;
  private final int groupSize;
  private final int[] groupOf;
  private final Tensor work;
  private final Tensor codes;
  private final Tensor scales;
  private final Tensor zeros;
  private final List<Tensor> squares = new ArrayList<>();

  private GptqSolver(Tensor weight, Quantizer quantizer, Factor factor) {
    if (!quantizer.isIntegerByRow()) {
      throw new IllegalArgumentException(
          "GPTQ chooses integers with scales by row or group, not " + quantizer);
    }
    this.quantizer = quantizer;
    this.factor = factor;
    inputs = Math.toIntExact(weight.dim(1));
    groupSize = Math.toIntExact(quantizer.blocks().columnsOf(inputs));
    fixedScales = factor.order() == ActOrder.STATIC;
    groupOf = new int[inputs];
    Arrays.setAll(groupOf, i -> (fixedScales ? factor.places()[i] : i) / groupSize);
    long groups = Math.ceilDiv(inputs, groupSize);
    // Columns that never carried anything count for nothing: their weights become zero.
    Tensor alive = Ops.multiply(weight, Host.tensor(weight.device(), factor.alive(), inputs));
    work = Host.columns(alive, Host.index(weight.device(), factor.places()));
    codes = Ops.empty(weight.device(), DType.U8, weight.shape());
    scales = Ops.empty(weight.device(), DType.F32, groups, weight.dim(0));
    zeros = Ops.empty(weight.device(), DType.F32, groups, weight.dim(0));
    if (fixedScales) {
      store(quantizer.fit(alive), 0, groups);
    }
  }

  /**
   * Quantizes a weight.
   *
   * @param weight F32 [outputs, inputs]
   * @return in the current scope
   */
  static Solution solve(Tensor weight, Quantizer quantizer, Factor factor) {
    try (Scope scope = Scope.open()) {
      GptqSolver solver = new GptqSolver(weight, quantizer, factor);
      for (int start = 0; start < solver.inputs; ) {
        start = solver.block(start);
      }
      return new Solution(solver.result().map(scope::keep), solver.loss());
    }
  }

  /** Quantizes the columns of the block that begins at one; returns where it ends. */
  private int block(int start) {
    int groupEnd = (start / groupSize + 1) * groupSize;
    int end = Math.min(start + BLOCK, fixedScales ? inputs : Math.min(inputs, groupEnd));
    try (Scope scope = Scope.open()) {
      if (!fixedScales && start % groupSize == 0) {
        Tensor group = Ops.contiguous(work.slice(1, start, Math.min(inputs, groupEnd)));
        store(quantizer.fit(group), groupOf[start], groupOf[start] + 1);
      }
      Tensor index = Host.index(work.device(), Arrays.copyOfRange(groupOf, start, end));
      Tensor upper = factor.upper().slice(0, start, end);
      Tensor error = Ops.empty(work.device(), DType.F32, work.dim(0), end - start);
      QuantOps.gptqBlock(
          work.slice(1, start, end),
          upper.slice(1, start, end),
          Ops.gatherRows(scales, index).transpose(0, 1),
          Ops.gatherRows(zeros, index).transpose(0, 1),
          quantizer.high(),
          codes.slice(1, start, end),
          error);
      squares.add(scope.keep(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, error)));
      if (end < inputs) {
        Ops.gemmInto(-1, error, upper.slice(1, end, inputs), 1, work.slice(1, end, inputs));
      }
    }
    return end;
  }

  /** Read at the end: a GPU that is asked after every block waits for the next one's launches. */
  private double loss() {
    double loss = 0;
    for (Tensor rows : squares) {
      loss += Host.sum(rows) / 2;
    }
    return loss;
  }

  private void store(Quantizer.Params params, long firstGroup, long endGroup) {
    Ops.copyInto(params.scale().transpose(0, 1), scales.slice(0, firstGroup, endGroup));
    Ops.copyInto(params.zero().transpose(0, 1), zeros.slice(0, firstGroup, endGroup));
  }

  /** The codes in the order of the inputs. */
  private QuantizedWeight result() {
    int[] position = new int[inputs];
    int[] groupIndex = new int[inputs];
    for (int i = 0; i < inputs; i++) {
      position[factor.places()[i]] = i;
      groupIndex[factor.places()[i]] = groupOf[i];
    }
    Tensor index = Host.index(codes.device(), position);
    Tensor ordered = Host.columns(Ops.to(codes, DType.F32), index);
    boolean scattered = factor.order() == ActOrder.DYNAMIC && groupSize < inputs;
    return new QuantizedWeight(
        quantizer,
        Ops.to(ordered, DType.U8),
        Ops.copy(scales.transpose(0, 1)),
        Ops.copy(zeros.transpose(0, 1)),
        scattered ? Host.index(codes.device(), groupIndex) : null);
  }
}
