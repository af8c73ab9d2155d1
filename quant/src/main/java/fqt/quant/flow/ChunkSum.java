package fqt.quant.flow;

import fqt.quant.crew.Crew;
import fqt.tensor.BinaryOp;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A sum over calibration samples that is the same bits however many devices share them: it is made
 * chunk by chunk of the samples, and those are added up in their order, on one device as they come,
 * on several when all have done their part ({@link JointWork}).
 */
public final class ChunkSum {
  /** Sums over chunks; with the first member of a crew, the total so far and the chunk in hand. */
  private final List<Tensor> sums = new ArrayList<>();

  private final boolean adds;
  private int used;
  private int chunk = -1;
  private long rows;

  /**
   * The part of a member of a crew, F32 of some shape, nothing so far; in the current scope.
   *
   * @param member whose samples will be added
   * @param dims shape of the sum
   */
  public ChunkSum(Crew.Member member, long... dims) {
    adds = member.leads();
    for (int i = 0; i < (adds ? 2 : member.chunks()); i++) {
      sums.add(Ops.empty(member.device(), DType.F32, dims));
    }
  }

  /**
   * {@return where to add what some rows give}
   *
   * @param from the chunk that they belong to; chunks come in their order
   * @param count how many rows they are
   */
  public Tensor place(int from, long count) {
    if (from != chunk) {
      chunk = from;
      Ops.fill(next(), 0);
    }
    rows += count;
    return sums.get(used - 1);
  }

  /** Where the next chunk goes. */
  private Tensor next() {
    if (adds) {
      addUp();
    }
    return sums.get(used++);
  }

  private void addUp() {
    for (; used > 1; used--) {
      Ops.binaryInto(BinaryOp.ADD, sums.get(0), sums.get(1), sums.get(0));
    }
  }

  /** {@return how many rows were added} */
  public long rows() {
    return rows;
  }

  /** {@return the sum of all chunks; nothing can be added afterwards} */
  public Tensor total() {
    addUp();
    return sums.get(0);
  }

  /** {@return memory of the size of the total, which nobody needs afterwards} */
  public Tensor spare() {
    return sums.get(1);
  }

  /** The sums of a member's chunks, in their order; the first member's in one. */
  List<Tensor> parts() {
    if (adds) {
      addUp();
    }
    return List.copyOf(sums.subList(0, used));
  }

  /** Adds what another member has summed up, whose chunks come next. */
  void join(List<Tensor> parts, long count) {
    for (Tensor part : parts) {
      Ops.copyInto(part, next());
    }
    rows += count;
  }
}
