package fqt.models;

import fqt.tensor.AttentionMask;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * The order in which a vision tower works on patches, and which of them see each other. With
 * windows (Qwen2.5-VL) the squares of a window stand together, windows by rows; without, squares
 * stay where they are. A square is the group of patches that becomes one token.
 *
 * @param squares for each place the square of the picture that stands there
 * @param rows row of each patch, in working order
 * @param columns column of each patch
 * @param frames mask under which the patches of a frame see each other
 * @param windows mask under which those of a window do; equal to frames without windows
 */
record PatchOrder(
    int[] squares, long[] rows, long[] columns, AttentionMask frames, AttentionMask windows) {
  static PatchOrder of(VisionConfig config, List<PictureGrid> grids) {
    Builder builder = new Builder(config.merge(), config.window() / config.merge());
    grids.forEach(builder::picture);
    return builder.build();
  }

  /** Squares brought into working order: [squares, features]. */
  Tensor arrange(Tensor bySquare) {
    return Ops.gatherRows(bySquare, index(squares, bySquare.device()));
  }

  /** The reverse of {@link #arrange}. */
  Tensor restore(Tensor bySquare) {
    int[] places = new int[squares.length];
    for (int i = 0; i < squares.length; i++) {
      places[squares[i]] = i;
    }
    return Ops.gatherRows(bySquare, index(places, bySquare.device()));
  }

  private static Tensor index(int[] values, Device device) {
    return Ops.to(Ops.of(values, values.length), device);
  }

  /** Collects the patches of one picture after the other. */
  private static final class Builder {
    private final int merge;
    private final int window;
    private final List<Integer> squares = new ArrayList<>();
    private final List<Long> rows = new ArrayList<>();
    private final List<Long> columns = new ArrayList<>();
    private final List<Long> frameBounds = new ArrayList<>(List.of(0L));
    private final List<Long> windowBounds = new ArrayList<>(List.of(0L));

    /**
     * A builder.
     *
     * @param window squares along a side of a window, or 0
     */
    Builder(int merge, int window) {
      this.merge = merge;
      this.window = window;
    }

    void picture(PictureGrid grid) {
      if (grid.rows() % merge != 0 || grid.columns() % merge != 0 || grid.patches() < 1) {
        throw new IllegalArgumentException(
            "%s does not divide into squares of %d x %d patches".formatted(grid, merge, merge));
      }
      long height = grid.rows() / merge;
      long width = grid.columns() / merge;
      for (long frame = 0; frame < grid.frames(); frame++) {
        int first = squares.size();
        long tall = window == 0 ? height : window;
        long wide = window == 0 ? width : window;
        for (long top = 0; top < height; top += tall) {
          for (long left = 0; left < width; left += wide) {
            for (long y = top; y < Math.min(height, top + tall); y++) {
              for (long x = left; x < Math.min(width, left + wide); x++) {
                square(Math.toIntExact(first + y * width + x), y, x);
              }
            }
            windowBounds.add((long) rows.size());
          }
        }
        frameBounds.add((long) rows.size());
      }
    }

    private void square(int index, long y, long x) {
      squares.add(index);
      for (int i = 0; i < merge; i++) {
        for (int j = 0; j < merge; j++) {
          rows.add(y * merge + i);
          columns.add(x * merge + j);
        }
      }
    }

    PatchOrder build() {
      return new PatchOrder(
          squares.stream().mapToInt(Integer::intValue).toArray(),
          longs(rows),
          longs(columns),
          AttentionMask.segments(false, longs(frameBounds)),
          AttentionMask.segments(false, longs(windowBounds)));
    }

    private static long[] longs(List<Long> values) {
      return values.stream().mapToLong(Long::longValue).toArray();
    }
  }
}
