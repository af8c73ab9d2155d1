package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;

/**
 * The bfloat16 copy of what a kernel has just written, made by that kernel, since linears that are
 * about to read the tensor want it rounded. It holds as long as nothing else has been written on
 * the GPU but the results of linears: then the tensor cannot have changed.
 */
final class RoundedTwin {
  /** Rows that are not worth it: few are multiplied in float32, short ones are heads. */
  private static final long LEAST_ROWS = 16;

  private static final long LEAST_COLUMNS = 512;
  private static final long VECTOR = 8;

  private final CudaContext context;
  private final boolean wanted;
  private final RecentWrites recent;
  private Tensor original;
  private Tensor rounded;
  private long writes;
  private long before;

  /**
   * None yet.
   *
   * @param wanted whether linears round what they read
   * @param recent told of the kernels that make copies
   */
  RoundedTwin(CudaContext context, boolean wanted, RecentWrites recent) {
    this.context = context;
    this.wanted = wanted;
    this.recent = recent;
  }

  /** Room for the copy of a tensor that a kernel will write next; null if it is of no use. */
  Tensor room(Tensor out) {
    drop();
    long columns = out.rank() == 0 ? 0 : out.dim(-1);
    boolean useful =
        wanted
            && columns >= LEAST_COLUMNS
            && columns % VECTOR == 0
            && out.count() >= LEAST_ROWS * columns
            && out.isContiguous();
    if (useful) {
      Storage storage = context.allocate(out.count() * Short.BYTES, 0);
      rounded = Tensor.of(storage, DType.BF16, out.shape()).reshape(-1, columns);
      original = out;
      before = context.writes();
    }
    return rounded;
  }

  /** Notes that the kernel has been launched which writes the tensor and its copy, if it does. */
  void written() {
    if (rounded != null) {
      recent.plain(before, context.writes(), original.storage(), rounded.storage());
    }
    holds();
  }

  /** Notes that nothing was written since but what a linear has made of the tensor. */
  void holds() {
    writes = context.writes();
  }

  /** The copy of a matrix, or null if there is none that holds. */
  Tensor of(Tensor x) {
    boolean same =
        rounded != null
            && writes == context.writes()
            && x.storage() == original.storage()
            && x.offset() == original.offset()
            && x.shape().equals(rounded.shape())
            && x.isContiguous();
    return same ? rounded : null;
  }

  /** Whether a tensor is the copy, which is not to be given back. */
  boolean is(Tensor x) {
    return x == rounded;
  }

  /** Gives the copy back. */
  void drop() {
    if (rounded != null) {
      rounded.storage().release();
      rounded = null;
      original = null;
    }
  }
}
