package fqt.models;

/**
 * How a picture was cut into patches.
 *
 * @param frames patches in time; 1 for a still picture
 * @param rows patches from top to bottom
 * @param columns patches from left to right
 */
public record PictureGrid(long frames, long rows, long columns) {
  /** {@return the number of patches} */
  public long patches() {
    return frames * rows * columns;
  }
}
