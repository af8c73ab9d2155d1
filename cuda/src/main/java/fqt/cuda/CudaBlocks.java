package fqt.cuda;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;

/** Quantization by blocks on one GPU (blocks.cu): codes, values, ranges and errors. */
final class CudaBlocks {
  private static final String MODULE = "blocks_sm80";
  private static final long RUN = 4;
  private static final long WARP = 32;

  /** Elements up to which a slice is worth a few threads, and from which on a whole block. */
  private static final long SMALL = 256;

  private static final long LARGE = 2048;
  private static final long FEW = 8;

  /** Slices that tall blocks are cut into, all together; a fixed number, for equal sums. */
  private static final long SLICES = 1024;

  private static final long BYTES_OF_PARTIAL = 8;

  private final Launcher launcher;

  CudaBlocks(Launcher launcher) {
    this.launcher = launcher;
  }

  /**
   * The arguments that most of these kernels share.
   *
   * @param x matrix of numbers or, for dequantizing, of codes
   */
  private record Call(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, DType code) {
    long height() {
      return blocks.rowsOf(x.dim(0));
    }

    long width() {
      return blocks.columnsOf(x.dim(1));
    }

    long across() {
      return Math.ceilDiv(x.dim(1), width());
    }

    long count() {
      return Math.ceilDiv(x.dim(0), height()) * across();
    }

    /** The fields of {@code BlockArgs} in their order. */
    long[] arguments(
        Tensor numbers,
        Tensor codes,
        Tensor out,
        DType outType,
        long slices,
        long partial,
        long team) {
      return new long[] {
        x.dim(0),
        x.dim(1),
        height(),
        width(),
        across(),
        Launcher.address(numbers),
        Launcher.address(scale),
        Launcher.address(zero),
        Launcher.bits(low),
        Launcher.bits(high),
        Launcher.code(code),
        Launcher.address(codes),
        Launcher.address(out),
        Launcher.code(outType),
        slices,
        partial,
        team
      };
    }
  }

  void quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, Tensor codes) {
    DType type = requireCodes(codes.dtype());
    float least = type == DType.I8 ? Byte.MIN_VALUE : type == DType.U8 ? 0 : low;
    float most = type == DType.I8 ? Byte.MAX_VALUE : type == DType.U8 ? 255 : high;
    float from = Math.clamp(low, least, most);
    Call call = new Call(x, blocks, scale, zero, from, Math.clamp(high, from, most), type);
    everyElement("blocks_quantize", call, call.arguments(x, codes, null, DType.F32, 0, 0, 0));
  }

  void dequantize(Tensor codes, Blocks blocks, Tensor scale, Tensor zero, Tensor out) {
    DType type = requireCodes(codes.dtype());
    Call call = new Call(codes, blocks, scale, zero, 0, 0, type);
    everyElement("blocks_dequantize", call, call.arguments(null, codes, out, out.dtype(), 0, 0, 0));
  }

  void fakeQuantize(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    Call call = new Call(x, blocks, scale, zero, low, high, requireCodes(codes));
    everyElement("blocks_fake", call, call.arguments(x, null, out, DType.F32, 0, 0, 0));
  }

  void blockRange(Tensor x, Blocks blocks, Tensor min, Tensor max) {
    reduce("blocks_range", new Call(x, blocks, null, null, 0, 0, DType.U8), min, max);
  }

  void quantizationError(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    Call call = new Call(x, blocks, scale, zero, low, high, requireCodes(codes));
    reduce("blocks_error", call, null, out);
  }

  private static DType requireCodes(DType type) {
    return switch (type) {
      case I8, U8, F8_E4M3, F8_E5M2 -> type;
      default ->
          throw new IllegalArgumentException(
              "codes of type " + type + "; a GPU has them in I8, U8, F8_E4M3 or F8_E5M2");
    };
  }

  private void everyElement(String kernel, Call call, long[] arguments) {
    long runs = Math.ceilDiv(call.x.dim(1), RUN);
    int threads = (int) Math.min(Launcher.THREADS, Math.ceilDiv(runs, WARP) * WARP);
    long across = threads == 0 ? 0 : Math.ceilDiv(runs, (long) threads);
    long busy = 64L * launcher.context().processors() * Launcher.THREADS;
    long down = Math.min(call.x.dim(0), Math.clamp(busy / Math.max(1, runs), 1, 65_535));
    launcher.run(MODULE, kernel, across, down, threads, 0, arguments);
  }

  /** One number or two for each block: by one team, or by several whose results are then joined. */
  private void reduce(String kernel, Call call, Tensor first, Tensor second) {
    long blocks = call.count();
    if (blocks == 0) {
      return;
    }
    long slices = Math.clamp(SLICES / blocks, 1, call.height());
    long elements = Math.ceilDiv(call.height(), slices) * call.width();
    long team = elements >= LARGE ? Launcher.THREADS : elements > SMALL ? WARP : FEW;
    long groups = Math.ceilDiv(blocks * slices * team, (long) Launcher.THREADS);
    if (slices == 1) {
      long[] arguments = call.arguments(call.x, first, second, DType.F32, 1, 0, team);
      launcher.run(MODULE, kernel, groups, Launcher.THREADS, arguments);
      return;
    }
    Storage partial = launcher.context().allocate(blocks * slices * BYTES_OF_PARTIAL);
    try {
      long[] arguments =
          call.arguments(call.x, first, second, DType.F32, slices, partial.address(), team);
      launcher.run(MODULE, kernel, groups, Launcher.THREADS, arguments);
      launcher.run(MODULE, kernel + "_join", Launcher.blocks(blocks), Launcher.THREADS, arguments);
    } finally {
      partial.release();
    }
  }
}
