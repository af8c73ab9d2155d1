package fqt.cuda;

import static fqt.cuda.Launcher.address;

import fqt.tensor.AttentionMask;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;

/**
 * Rotary embedding and attention on one GPU. Few queries are attended to in float32; more go to
 * tensor cores, on Hopper by kernels of its own ({@link HopperAttention}), with queries, keys and
 * values rounded to bfloat16 unless activations are to be kept whole (see {@link CudaProducts}).
 */
final class CudaAttention {
  private static final String MODULE = "attention_sm80";
  private static final int FEW = 8;
  private static final int THREADS = 128;
  private static final int QUERIES = 64;
  private static final int KEYS = 64;
  private static final int[] HEAD_SIZES = {64, 128, 256};

  private final Launcher launcher;
  private final boolean wholeActivations;
  private final AttentionTiles single;
  private final AttentionTiles tiled;
  private final HopperAttention hopper;

  CudaAttention(Launcher launcher, boolean wholeActivations) {
    this.launcher = launcher;
    this.wholeActivations = wholeActivations;
    single = new AttentionTiles(launcher.context(), 1);
    tiled = new AttentionTiles(launcher.context(), QUERIES);
    hopper = new HopperAttention(launcher);
  }

  void rotary(Tensor x, Tensor cos, Tensor sin, Tensor out) {
    long half = cos.dim(1);
    long threads = x.dim(0) * x.dim(1) * (x.dim(2) - half);
    launcher.run(
        MODULE,
        "rotary",
        Launcher.blocks(threads),
        Launcher.THREADS,
        address(x),
        address(cos),
        address(sin),
        address(out),
        threads,
        x.dim(1),
        x.dim(2),
        half);
  }

  synchronized void attention(
      Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out) {
    if (out.count() == 0) {
      return;
    }
    int padded = padded(q);
    if (q.dim(0) <= FEW || wholeActivations) {
      single.prepare(mask);
      long[] arguments = arguments(q, k, v, address(k), address(v), scale, mask, single, out);
      launcher.run(MODULE, "attention_few", q.dim(1), single.count(), THREADS, 0, arguments);
      return;
    }
    if (hopper.takes(q, k)) {
      hopper.run(q, k, v, scale, mask, out);
      return;
    }
    tiled.prepare(mask);
    Storage keys = pack(k, padded);
    Storage values = pack(v, padded);
    long[] arguments =
        arguments(q, k, v, keys.address(), values.address(), scale, mask, tiled, out);
    launcher.run(
        MODULE,
        "attention_many_" + padded,
        q.dim(1),
        tiled.count(),
        THREADS,
        (QUERIES + 4 * KEYS) * padded * Short.BYTES,
        arguments);
    keys.release();
    values.release();
  }

  /** The smallest head size of a kernel that has room for the heads of a tensor. */
  private static int padded(Tensor q) {
    for (int size : HEAD_SIZES) {
      if (q.dim(2) <= size) {
        return size;
      }
    }
    throw new UnsupportedOperationException(
        "attention over heads of %d elements on %s; its kernels take up to %d"
            .formatted(q.dim(2), q.device(), HEAD_SIZES[HEAD_SIZES.length - 1]));
  }

  private Storage pack(Tensor x, int padded) {
    long perHead = x.dim(0) * padded;
    Storage packed = launcher.context().allocate(x.dim(1) * perHead * Short.BYTES);
    launcher.run(
        MODULE,
        "pack_heads",
        Launcher.blocks(perHead),
        x.dim(1),
        Launcher.THREADS,
        0,
        address(x),
        x.stride(0),
        x.stride(1),
        x.dim(0),
        x.dim(2),
        padded,
        packed.address());
    return packed;
  }

  /** The fields of {@code AttentionArgs} (attention.cu) in their order. */
  static long[] arguments(
      Tensor q,
      Tensor k,
      Tensor v,
      long keys,
      long values,
      float scale,
      AttentionMask mask,
      AttentionTiles tiles,
      Tensor out) {
    return new long[] {
      address(q),
      q.stride(0),
      q.stride(1),
      keys,
      values,
      k.stride(0),
      k.stride(1),
      v.stride(0),
      v.stride(1),
      address(out),
      tiles.address(),
      q.dim(1),
      q.dim(1) / k.dim(1),
      q.dim(2),
      k.dim(0),
      mask.causal() ? 1 : 0,
      mask.window(),
      Double.doubleToRawLongBits(scale)
    };
  }
}
