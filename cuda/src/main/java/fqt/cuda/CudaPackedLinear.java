package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;

/**
 * Products with packed weights on one GPU. Codes of 2, 3, 4 and 8 bits in groups of 32, or a
 * multiple, are unpacked inside the product (packed.cuh); for what else there may be, and for more
 * than {@value #MANY} tokens, the weight is unpacked into memory first, to bfloat16 where
 * activations are rounded to that too.
 */
final class CudaPackedLinear {
  private static final String MODULE = "pack_sm80";
  private static final long CHUNK = 128;
  private static final long UNIT = 8;
  private static final long NARROW = 32;
  private static final long OUTPUTS = 128;

  /** Tokens of a tile, and bytes of a chunk of one. */
  private static final long TILE = 4;

  private static final long TILE_BYTES = 2048;
  private static final int STAGES = 3;
  private static final long MOST_SPLITS = 32;

  /** Tokens from which on unpacking the weight once and an ordinary product take less time. */
  private static final long MANY = 128;

  private static final long MOST_ROWS = 32_768;

  private final Launcher launcher;
  private final CudaProducts products;

  CudaPackedLinear(Launcher launcher, CudaProducts products) {
    this.launcher = launcher;
    this.products = products;
  }

  /**
   * A kernel of {@code PACKED_KERNELS}.
   *
   * @param tokens that a block of threads takes
   * @param chunks of a stage
   * @param resident blocks that a multiprocessor runs at the same time
   */
  private record Kernel(String module, String name, long tokens, long chunks, long resident) {
    static Kernel of(PackedWeight w, boolean narrow, long tokens) {
      boolean bytes = w.bits() == 8;
      String module = "packed" + w.bits() + "_sm80";
      String name = "packed" + w.bits() + (narrow ? "_narrow_" : "_");
      if (tokens <= 4) {
        return new Kernel(module, name + 4, 4, bytes && !narrow ? 1 : 2, narrow ? 2 : 3);
      }
      if (tokens <= 16 && !narrow) {
        return new Kernel(module, name + 16, 16, 2, bytes ? 1 : 2);
      }
      return new Kernel(module, name + 32, 32, 1, 1);
    }

    int sharedBytes() {
      return (int) (STAGES * tokens / TILE * chunks * TILE_BYTES);
    }
  }

  void multiply(Tensor x, PackedWeight w, Tensor bias, Tensor out) {
    if (out.count() == 0) {
      return;
    }
    boolean wide = w.groups() == 1 || w.groupSize() % CHUNK == 0;
    boolean known = w.bits() <= 4 || w.bits() == 8;
    boolean many = x.dim(0) > MANY;
    if (many || w.groupIndex() != null || !known || !(wide || w.groupSize() % NARROW == 0)) {
      unpacked(x, w, bias, out, many && products.roundsActivations() ? DType.BF16 : DType.F32);
      return;
    }
    Checks.floatCode(x.dtype(), "x");
    long tokens = x.dim(0);
    long tiles = Math.ceilDiv(tokens, TILE);
    long chunks = Math.ceilDiv(w.columns(), CHUNK);
    Kernel kernel = Kernel.of(w, !wide, tokens);
    long splits = splits(kernel, w.rows(), tokens, chunks);
    CudaContext context = launcher.context();
    long partsAt = tiles * chunks * TILE_BYTES;
    Storage scratch = context.allocate(partsAt + (splits == 1 ? 0 : splits * out.byteSize()));
    try {
      launcher.run(
          MODULE,
          "pack_tokens",
          Launcher.blocks(tiles * TILE * chunks * CHUNK / UNIT),
          Launcher.THREADS,
          Launcher.address(x),
          scratch.address(),
          tokens,
          w.columns(),
          x.stride(0),
          Launcher.code(x.dtype()),
          wide ? 0 : 1);
      long parts = scratch.address() + partsAt;
      if (splits == 1) {
        run(kernel, w, tokens, 1, scratch.address(), bias, Launcher.address(out));
      } else {
        run(kernel, w, tokens, splits, scratch.address(), null, parts);
        join(parts, bias, out, splits);
      }
    } finally {
      scratch.release();
    }
  }

  /** Launches the product of tokens cut into halves, or of each share of the inputs. */
  private void run(
      Kernel kernel,
      PackedWeight w,
      long tokens,
      long splits,
      long halves,
      Tensor bias,
      long target) {
    long wordsPerRow = w.codes().dim(1);
    long words = Launcher.address(w.codes());
    boolean vector = wordsPerRow % 4 == 0 && words % 16 == 0;
    launcher.run(
        kernel.module,
        kernel.name,
        Math.ceilDiv(w.rows(), OUTPUTS),
        Math.ceilDiv(tokens, kernel.tokens) * splits,
        Launcher.THREADS,
        kernel.sharedBytes(),
        words,
        Launcher.address(w.scales()),
        Launcher.address(w.zeros()),
        halves,
        Launcher.address(bias),
        target,
        tokens,
        w.rows(),
        w.columns(),
        wordsPerRow,
        w.groups(),
        w.groupSize(),
        splits,
        Launcher.code(w.scales().dtype()),
        bias == null ? 0 : Launcher.code(bias.dtype()),
        vector ? 1 : 0);
  }

  /**
   * Shares of the inputs, so that the last of the rounds in which blocks run is as full as may be.
   * A round takes the stages of a share and about two to fill the pipeline; adding up the shares
   * takes as long as a few stages.
   */
  private long splits(Kernel kernel, long outputs, long tokens, long chunks) {
    long blocks = Math.ceilDiv(outputs, OUTPUTS) * Math.ceilDiv(tokens, kernel.tokens);
    long slots = kernel.resident * launcher.context().processors();
    long stages = Math.ceilDiv(chunks, kernel.chunks);
    long best = 1;
    long least = Long.MAX_VALUE;
    for (long splits = 1; splits == 1 || splits <= Math.min(MOST_SPLITS, stages / 2); splits++) {
      long rounds = Math.ceilDiv(blocks * splits, slots);
      long cost = rounds * (Math.ceilDiv(stages, splits) + 2) + (splits == 1 ? 0 : 4);
      if (cost < least) {
        least = cost;
        best = splits;
      }
    }
    return best;
  }

  private void join(long parts, Tensor bias, Tensor out, long splits) {
    launcher.run(
        MODULE,
        "pack_join",
        Launcher.blocks(out.count()),
        Launcher.THREADS,
        parts,
        Launcher.address(bias),
        Launcher.address(out),
        out.dim(0),
        out.dim(1),
        splits,
        bias == null ? 0 : Launcher.code(bias.dtype()));
  }

  private void unpacked(Tensor x, PackedWeight w, Tensor bias, Tensor out, DType dtype) {
    Storage weights = launcher.context().allocate(w.rows() * w.columns() * dtype.byteSize());
    try {
      launcher.run(
          MODULE,
          "pack_weights",
          Launcher.blocks(Math.ceilDiv(w.columns(), UNIT)),
          Math.min(w.rows(), MOST_ROWS),
          Launcher.THREADS,
          0,
          Launcher.address(w.codes()),
          Launcher.address(w.scales()),
          Launcher.address(w.zeros()),
          Launcher.address(w.groupIndex()),
          weights.address(),
          Launcher.code(dtype),
          w.rows(),
          w.columns(),
          w.codes().dim(1),
          w.groups(),
          w.groupSize(),
          w.bits(),
          Launcher.code(w.scales().dtype()));
      Tensor unpacked = Tensor.of(weights, dtype, Shape.of(w.rows(), w.columns()));
      products.linear(x, unpacked, bias, out);
    } finally {
      weights.release();
    }
  }
}
