package fqt.models;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * Makes the pixels that a vision tower takes: a picture is resized so that its sides are multiples
 * of a token's square and its area lies between two bounds, its colours are normalized, and it is
 * cut into patches.
 *
 * @param minPixels smallest area after resizing
 * @param maxPixels largest area after resizing
 * @param patch pixels along a side of a patch
 * @param temporalPatch frames in a patch; a still picture fills all of them
 * @param merge patches along a side of the square that becomes one token
 * @param mean of each colour, over the range 0 to 1
 * @param deviation of each colour
 */
public record ImageProcessor(
    long minPixels,
    long maxPixels,
    int patch,
    int temporalPatch,
    int merge,
    double[] mean,
    double[] deviation) {
  /** File name of the settings in a checkpoint. */
  public static final String FILE = "preprocessor_config.json";

  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final int COLOURS = 3;
  private static final double LONGEST_SIDE_RATIO = 200;
  private static final double[] CLIP_MEAN = {0.48145466, 0.4578275, 0.40821073};
  private static final double[] CLIP_DEVIATION = {0.26862954, 0.26130258, 0.27577711};

  /**
   * {@return the processor of a checkpoint} Without {@value #FILE} it has the defaults of Qwen2-VL.
   *
   * @param folder the checkpoint
   * @throws fqt.io.FileFormatException if an entry is wrong
   */
  public static ImageProcessor load(Path folder) {
    Path file = folder.resolve(FILE);
    JsonObject entries =
        Files.exists(file) ? Json.readObject(file) : new JsonObject(Map.of(), FILE);
    JsonObject size = entries.getObjectOrEmpty("size");
    return new ImageProcessor(
        size.getLong("shortest_edge", entries.getLong("min_pixels", 56 * 56)),
        size.getLong("longest_edge", entries.getLong("max_pixels", 28 * 28 * 1280)),
        entries.getInt("patch_size", 14),
        entries.getInt("temporal_patch_size", 2),
        entries.getInt("merge_size", 2),
        entries.has("image_mean") ? entries.getDoubles("image_mean") : CLIP_MEAN,
        entries.has("image_std") ? entries.getDoubles("image_std") : CLIP_DEVIATION);
  }

  /**
   * {@return the size that a picture is resized to}
   *
   * @param size the sides that it has
   * @throws IllegalArgumentException if one side is more than 200 times the other
   */
  public Picture.Size resized(Picture.Size size) {
    long height = size.height();
    long width = size.width();
    if (Math.max(height, width) > LONGEST_SIDE_RATIO * Math.min(height, width)) {
      throw new IllegalArgumentException(
          "a picture of %d x %d pixels; one side may be %.0f times the other at most"
              .formatted(width, height, LONGEST_SIDE_RATIO));
    }
    double step = (double) patch * merge;
    double tall = Math.rint(height / step) * step;
    double wide = Math.rint(width / step) * step;
    if (tall * wide > maxPixels) {
      double shrink = Math.sqrt((double) height * width / maxPixels);
      tall = Math.max(step, Math.floor(height / shrink / step) * step);
      wide = Math.max(step, Math.floor(width / shrink / step) * step);
    } else if (tall * wide < minPixels) {
      double grow = Math.sqrt((double) minPixels / ((double) height * width));
      tall = Math.ceil(height * grow / step) * step;
      wide = Math.ceil(width * grow / step) * step;
    }
    return new Picture.Size((int) wide, (int) tall);
  }

  /**
   * The patches of some pictures.
   *
   * @param pictures of any sizes
   * @return their patches, one picture behind the other, on the host
   */
  public Pictures process(List<Picture> pictures) {
    if (pictures.isEmpty()) {
      throw new IllegalArgumentException("no pictures to process");
    }
    List<Pictures> single = pictures.stream().map(this::process).toList();
    Tensor[] others = single.stream().skip(1).map(Pictures::pixels).toArray(Tensor[]::new);
    return new Pictures(
        Ops.concatRows(single.getFirst().pixels(), others),
        single.stream().map(one -> one.grids().getFirst()).toList());
  }

  /**
   * The patches of one picture.
   *
   * @param picture of any size
   * @return its patches, on the host
   */
  public Pictures process(Picture picture) {
    Picture fitted = picture.resize(resized(picture.size()));
    int rows = fitted.size().height() / patch;
    int columns = fitted.size().width() / patch;
    long features = (long) COLOURS * temporalPatch * patch * patch;
    Tensor pixels = Ops.empty(Device.CPU, DType.F32, (long) rows * columns, features);
    MemorySegment out = pixels.segment();
    long at = 0;
    for (int top = 0; top < rows; top += merge) {
      for (int left = 0; left < columns; left += merge) {
        for (int i = 0; i < merge * merge; i++) {
          writePatch(fitted, top + i / merge, left + i % merge, out, at++ * features);
        }
      }
    }
    return new Pictures(pixels, List.of(new PictureGrid(1, rows, columns)));
  }

  /** Writes one patch: by colour, frame, row and column. */
  private void writePatch(Picture picture, int row, int column, MemorySegment out, long at) {
    long next = at;
    for (int colour = 0; colour < COLOURS; colour++) {
      for (int frame = 0; frame < temporalPatch; frame++) {
        for (int y = row * patch; y < (row + 1) * patch; y++) {
          for (int x = column * patch; x < (column + 1) * patch; x++) {
            double value = picture.sample(x, y, colour) / 255.0;
            out.setAtIndex(FLOAT, next++, (float) ((value - mean[colour]) / deviation[colour]));
          }
        }
      }
    }
  }
}
