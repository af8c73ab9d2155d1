package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import fqt.tensor.DType;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * {@code out = beta * out + alpha * xᵀ x} on one GPU, at least below and on the diagonal: on Hopper
 * by wgmma from tensor maps (syrk_sm90a.cu), elsewhere and for small matrices by mma.sync
 * (syrk.cu).
 */
final class CudaSyrk {
  private static final String HOPPER = "syrk_sm90a";
  private static final int HOPPER_CAPABILITY = 90;

  /** Columns from which on tiles of 256 x 128 are worth their launches. */
  private static final long LEAST_COLUMNS = 256;

  private static final int TILE_ROWS = 256;
  private static final int TILE_COLUMNS = 128;
  private static final int TOKENS = 32;
  private static final int THREADS = 384;

  /** Four stages of 48 KB, or eight of 24 KB, and two barriers each. */
  private static final int SHARED_F32 = 4 * 49_152 + 4 * 16;

  private static final int SHARED_BF16 = 8 * 24_576 + 8 * 16;

  private static final int PORTABLE_TILE = 128;
  private static final int PORTABLE_SHARED = 65_536;

  private final Launcher launcher;

  CudaSyrk(Launcher launcher) {
    this.launcher = launcher;
  }

  /** Multiplies; what is above the diagonal may be anything unless both triangles are wanted. */
  void multiply(float alpha, Tensor x, float beta, Tensor out, boolean both) {
    Checks.require(
        x.dtype() == DType.F32 || x.dtype() == DType.BF16, "x is %s; expected F32 or BF16", x);
    boolean wide = x.dtype() == DType.F32;
    long columns = x.dim(1);
    boolean hopper = launcher.context().capability() == HOPPER_CAPABILITY;
    boolean addressable = columns % 8 == 0 && Launcher.address(x) % 16 == 0;
    if (!hopper || columns < LEAST_COLUMNS || !wide && !addressable || x.dim(0) == 0) {
      portable(alpha, x, beta, out);
    } else if (wide) {
      halves(alpha, x, beta, out, both);
    } else {
      Call call = new Call("syrk_bf16_hopper", x.dim(0), columns, SHARED_BF16);
      long at = Launcher.address(x);
      launch(call, at, at, columns, alpha, beta, out, both);
    }
  }

  private void portable(float alpha, Tensor x, float beta, Tensor out) {
    long tiles = Math.ceilDiv(x.dim(1), (long) PORTABLE_TILE);
    launcher.run(
        "syrk_sm80",
        x.dtype() == DType.F32 ? "syrk_f32" : "syrk_bf16",
        tiles * (tiles + 1) / 2,
        1L,
        Launcher.THREADS,
        PORTABLE_SHARED,
        Launcher.address(x),
        Launcher.address(out),
        x.dim(0),
        x.dim(1),
        out.stride(0),
        Launcher.bits(alpha),
        Launcher.bits(beta));
  }

  private void halves(float alpha, Tensor x, float beta, Tensor out, boolean both) {
    long tokens = x.dim(0);
    long columns = x.dim(1);
    long stride = Math.ceilDiv(columns, 8L) * 8;
    long plane = tokens * stride * Short.BYTES;
    Storage halves = launcher.context().allocate(2 * plane);
    try {
      launcher.run(
          HOPPER,
          "syrk_halves",
          Launcher.blocks(stride / 4),
          Math.min(tokens, 65_535),
          Launcher.THREADS,
          0,
          Launcher.address(x),
          halves.address(),
          tokens,
          columns,
          stride);
      Call call = new Call("syrk_f32_hopper", tokens, columns, SHARED_F32);
      long at = halves.address();
      launch(call, at, at + plane, stride, alpha, beta, out, both);
    } finally {
      halves.release();
    }
  }

  private record Call(String kernel, long tokens, long columns, int sharedBytes) {
    /** Tiles that reach the lower triangle. */
    long tiles() {
      long across = Math.ceilDiv(columns, (long) TILE_COLUMNS);
      long tiles = 0;
      for (long row = 0; row < Math.ceilDiv(columns, (long) TILE_ROWS); row++) {
        tiles += Math.min(across, (row + 1) * (TILE_ROWS / TILE_COLUMNS));
      }
      return tiles;
    }
  }

  /** Launches a kernel that reads two matrices [tokens, columns], rows {@code stride} apart. */
  private void launch(
      Call call,
      long high,
      long low,
      long stride,
      float alpha,
      float beta,
      Tensor out,
      boolean both) {
    CudaContext context = launcher.context();
    synchronized (context) {
      context.bind();
      LaunchBlock block = context.block();
      long bytes = stride * Short.BYTES;
      long used = call.columns * Short.BYTES;
      TensorMaps maps = context.maps();
      block.argument(0, maps.find(high, call.tokens, used, bytes, TOKENS));
      block.argument(1, maps.find(low, call.tokens, used, bytes, TOKENS));
      MemorySegment values = block.arguments();
      long[] arguments = {
        Launcher.address(out),
        call.tokens,
        call.columns,
        out.stride(0),
        Launcher.bits(alpha),
        Launcher.bits(beta),
        both ? 1 : 0
      };
      for (int i = 0; i < arguments.length; i++) {
        values.setAtIndex(JAVA_LONG, i, arguments[i]);
      }
      block.argument(2, values.address());
      block.shape(Math.toIntExact(call.tiles()), 1, THREADS, call.sharedBytes, 1);
      long function = context.kernels().find(HOPPER, call.kernel, call.sharedBytes);
      context.check(
          block.launch(context.stream().handle().address(), function, false, false),
          "launching " + call.kernel);
    }
  }
}
