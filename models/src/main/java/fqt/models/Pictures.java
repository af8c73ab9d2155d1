package fqt.models;

import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Pictures as a vision tower takes them: one row of pixels a patch. The patches of a picture come
 * frame by frame, within it by squares of {@code merge} x {@code merge} patches that become one
 * token, squares and the patches inside them by rows.
 *
 * @param pixels F32 [patches, channels · temporal patch · patch · patch] of all pictures
 * @param grids one a picture
 */
public record Pictures(Tensor pixels, List<PictureGrid> grids) {
  /** Checks that the patches are those of the grids. */
  public Pictures {
    grids = List.copyOf(grids);
    long patches = grids.stream().mapToLong(PictureGrid::patches).sum();
    if (pixels.rank() != 2 || pixels.dim(0) != patches) {
      throw new IllegalArgumentException(
          "pixels are %s; the grids of %d pictures ask for %d rows"
              .formatted(pixels, grids.size(), patches));
    }
  }

  /**
   * {@return the same on a device}
   *
   * @param device where their tensors are to be
   */
  public Pictures to(Device device) {
    return new Pictures(Ops.to(pixels, device), grids);
  }

  /**
   * {@return pictures as Hugging Face processors store them}
   *
   * @param pixelValues F32 [patches, features]
   * @param imageGridThw integers [pictures, 3] on the host: frames, rows, columns
   */
  public static Pictures of(Tensor pixelValues, Tensor imageGridThw) {
    if (imageGridThw.rank() != 2 || imageGridThw.dim(1) != 3) {
      throw new IllegalArgumentException(
          "image_grid_thw is " + imageGridThw + "; expected shape [pictures, 3]");
    }
    List<PictureGrid> grids = new ArrayList<>();
    for (long i = 0; i < imageGridThw.dim(0); i++) {
      grids.add(
          new PictureGrid(
              imageGridThw.getLong(i, 0), imageGridThw.getLong(i, 1), imageGridThw.getLong(i, 2)));
    }
    return new Pictures(pixelValues, grids);
  }
}
