package fqt.models;

import java.util.Arrays;
import java.util.List;

/**
 * Where the tokens of a text with pictures stand, along time, rows and columns (M-RoPE, Wang et al.
 * 2024, section 2.1). A text token stands at the same number on all three axes. The tokens of a
 * picture share its place in time and spread over rows and columns from there; the text goes on
 * after the largest number used.
 *
 * @param positions {@code [axis][token]}
 * @param next number of the token that would follow
 */
record TokenPlaces(long[][] positions, long next) {
  /** Places of tokens that continue a text. */
  static TokenPlaces ofText(long from, int tokens, int axes) {
    long[] line = new long[tokens];
    Arrays.setAll(line, i -> from + i);
    long[][] all = new long[axes][];
    Arrays.fill(all, line);
    return new TokenPlaces(all, from + tokens);
  }

  /**
   * Places in packed sequences.
   *
   * @param ids their tokens
   * @param bounds start of each sequence, ending with the number of tokens
   * @param pictureToken the token that stands for a square of a picture
   * @param grids the pictures of all sequences, in order
   * @param merge patches along a side of a square
   * @throws IllegalArgumentException if the runs of picture tokens are not those of the pictures
   */
  static TokenPlaces of(
      long[] ids, long[] bounds, long pictureToken, List<PictureGrid> grids, int merge) {
    Walk walk = new Walk(ids, pictureToken, grids, merge);
    for (int i = 0; i + 1 < bounds.length; i++) {
      walk.sequence((int) bounds[i], (int) bounds[i + 1]);
    }
    if (walk.picture != grids.size()) {
      throw new IllegalArgumentException(
          "%d pictures for a text with places for %d".formatted(grids.size(), walk.picture));
    }
    return new TokenPlaces(walk.places, walk.next);
  }

  /** Goes through tokens and pictures side by side. */
  private static final class Walk {
    private final long[] ids;
    private final long pictureToken;
    private final List<PictureGrid> grids;
    private final int merge;
    private final long[][] places;
    private int picture;
    private long next;

    Walk(long[] ids, long pictureToken, List<PictureGrid> grids, int merge) {
      this.ids = ids;
      this.pictureToken = pictureToken;
      this.grids = grids;
      this.merge = merge;
      this.places = new long[3][ids.length];
    }

    void sequence(int from, int to) {
      next = 0;
      int at = from;
      while (at < to) {
        if (ids[at] == pictureToken) {
          at += picture(at, to);
        } else {
          place(at++, next, next, next);
          next++;
        }
      }
    }

    /** Places the tokens of the next picture and returns how many there are. */
    private int picture(int from, int to) {
      if (picture == grids.size()) {
        throw new IllegalArgumentException(
            "a picture token stands at %d, after the last of %d pictures"
                .formatted(from, grids.size()));
      }
      PictureGrid grid = grids.get(picture++);
      long width = grid.columns() / merge;
      long inFrame = grid.rows() / merge * width;
      int tokens = Math.toIntExact(grid.frames() * inFrame);
      for (int i = 0; i < tokens; i++) {
        if (from + i >= to || ids[from + i] != pictureToken) {
          throw new IllegalArgumentException(
              "%d picture tokens from token %d on; %s asks for %d"
                  .formatted(i, from, grid, tokens));
        }
        long square = i % inFrame;
        place(from + i, next + i / inFrame, next + square / width, next + square % width);
      }
      next += Math.max(grid.frames(), Math.max(grid.rows() / merge, width));
      return tokens;
    }

    private void place(int token, long time, long row, long column) {
      places[0][token] = time;
      places[1][token] = row;
      places[2][token] = column;
    }
  }
}
