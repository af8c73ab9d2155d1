package fqt.quant;

import fqt.tensor.Axis;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Arrays;

/**
 * The column loop of GPTQ (Frantar et al. 2022, algorithm 1) over one weight: column after column
 * is rounded, and its error, weighted by the inverse Hessian, is moved onto the columns to come.
 *
 * <p>The loop works in blocks: within one, the backend's kernel goes column by column; the error of
 * a whole block then reaches the columns behind it in one matrix product. A group's scale is taken
 * from its columns as they stand when the first of them is reached, so a block ends where a group
 * that is not whole begins, and small groups are pieces of a block with products of their own.
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
  private double loss;

  private GptqSolver(Tensor weight, Quantizer quantizer, Factor factor, GptqConfig.ActOrder order) {
    if (quantizer.codes() != CodeType.INTEGER || quantizer.blocks().rows() != 1) {
      throw new IllegalArgumentException(
          "GPTQ chooses integers with scales by row or group, not " + quantizer);
    }
    this.quantizer = quantizer;
    this.factor = factor;
    inputs = Math.toIntExact(weight.dim(1));
    groupSize = Math.toIntExact(quantizer.blocks().columnsOf(inputs));
    fixedScales = order == GptqConfig.ActOrder.STATIC;
    groupOf = new int[inputs];
    Arrays.setAll(groupOf, i -> (fixedScales ? factor.order()[i] : i) / groupSize);
    long groups = Math.ceilDiv(inputs, groupSize);
    Tensor alive = withoutDead(weight);
    work = QuantizedWeight.columns(alive, Host.index(weight.device(), factor.order()));
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
  static Solution solve(
      Tensor weight, Quantizer quantizer, Factor factor, GptqConfig.ActOrder order) {
    try (Scope scope = Scope.open()) {
      GptqSolver solver = new GptqSolver(weight, quantizer, factor, order);
      for (int start = 0; start < solver.inputs; ) {
        start = solver.block(start);
      }
      return new Solution(solver.result(order).keep(scope), solver.loss);
    }
  }

  /** Columns that never carried anything count for nothing: their weights become zero. */
  private Tensor withoutDead(Tensor weight) {
    if (factor.dead().length == 0) {
      return weight;
    }
    float[] mask = new float[inputs];
    Arrays.fill(mask, 1);
    for (int column : factor.dead()) {
      mask[column] = 0;
    }
    return Ops.multiply(weight, Host.tensor(weight.device(), mask, inputs));
  }

  /** Quantizes the block that begins at a column; returns where it ends. */
  private int block(int start) {
    int end = Math.min(inputs, blockEnd(start));
    int step = fixedScales || groupSize >= BLOCK ? BLOCK : groupSize;
    try (Scope scope = Scope.open()) {
      Tensor errors = Ops.empty(work.device(), DType.F32, work.dim(0), end - start);
      for (int from = start; from < end; from += step) {
        int to = Math.min(end, from + step);
        Tensor error = piece(from, to);
        Ops.copyInto(error, errors.slice(1, from - start, to - start));
        spread(error, from, to, to, end);
      }
      loss += Host.sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, errors)) / 2;
      spread(errors, start, end, end, inputs);
    }
    return end;
  }

  private int blockEnd(int start) {
    if (fixedScales) {
      return start + BLOCK;
    }
    if (groupSize >= BLOCK) {
      return Math.min(start + BLOCK, (start / groupSize + 1) * groupSize);
    }
    return start + BLOCK / groupSize * groupSize;
  }

  /** Quantizes columns of one piece of a block; returns their errors. */
  private Tensor piece(int from, int to) {
    if (!fixedScales && from % groupSize == 0) {
      int group = from / groupSize;
      try (Scope scope = Scope.open()) {
        Tensor columns = work.slice(1, from, Math.min(inputs, from + groupSize));
        store(quantizer.fit(Ops.contiguous(columns)), group, group + 1);
      }
    }
    Tensor index = Host.index(work.device(), Arrays.copyOfRange(groupOf, from, to));
    Tensor error = Ops.empty(work.device(), DType.F32, work.dim(0), to - from);
    Ops.gptqBlock(
        work.slice(1, from, to),
        factor.upper().slice(0, from, to).slice(1, from, to),
        spreadScales(scales, index),
        spreadScales(zeros, index),
        quantizer.high(),
        codes.slice(1, from, to),
        error);
    return error;
  }

  /** Moves the error of columns {@code from} to {@code to} onto {@code first} to {@code end}. */
  private void spread(Tensor error, int from, int to, int first, int end) {
    if (first < end) {
      Tensor upper = factor.upper().slice(0, from, to).slice(1, first, end);
      Ops.gemmInto(-1, error, upper, 1, work.slice(1, first, end));
    }
  }

  private void store(Quantizer.Params params, long firstGroup, long endGroup) {
    Ops.copyInto(params.scale().transpose(0, 1), scales.slice(0, firstGroup, endGroup));
    Ops.copyInto(params.zero().transpose(0, 1), zeros.slice(0, firstGroup, endGroup));
  }

  /** The scale of each element of some columns. */
  private static Tensor spreadScales(Tensor byGroup, Tensor index) {
    return Ops.copy(Ops.gatherRows(byGroup, index).transpose(0, 1));
  }

  /** The codes in the order of the inputs. */
  private QuantizedWeight result(GptqConfig.ActOrder order) {
    Tensor scale = Ops.copy(scales.transpose(0, 1));
    Tensor zero = Ops.copy(zeros.transpose(0, 1));
    if (order == GptqConfig.ActOrder.NONE) {
      return new QuantizedWeight(quantizer, codes, scale, zero, null);
    }
    int[] place = new int[inputs];
    int[] groupIndex = new int[inputs];
    for (int i = 0; i < inputs; i++) {
      place[factor.order()[i]] = i;
      groupIndex[factor.order()[i]] = i / groupSize;
    }
    Tensor index = Host.index(codes.device(), place);
    Tensor ordered = QuantizedWeight.columns(Ops.to(codes, DType.F32), index);
    boolean scattered = !fixedScales && groupSize < inputs;
    return new QuantizedWeight(
        quantizer,
        Ops.to(ordered, DType.U8),
        scale,
        zero,
        scattered ? Host.index(codes.device(), groupIndex) : null);
  }
}
