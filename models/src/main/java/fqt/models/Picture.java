package fqt.models;

import fqt.io.FileFormatException;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import javax.imageio.ImageIO;

/** A picture in memory: red, green and blue, a byte each; transparency is left out. */
public final class Picture {
  private static final int COLOURS = 3;

  private final Size size;
  private final byte[] samples;

  /**
   * Sides of a picture, in pixels.
   *
   * @param width columns
   * @param height rows
   */
  public record Size(int width, int height) {
    /** Checks that there is at least one pixel. */
    public Size {
      if (width < 1 || height < 1) {
        throw new IllegalArgumentException("a picture of %d x %d pixels".formatted(width, height));
      }
    }
  }

  /**
   * A picture of given samples.
   *
   * @param size its sides
   * @param samples row by row, three bytes a pixel
   * @throws IllegalArgumentException unless there are three samples a pixel
   */
  public Picture(Size size, byte[] samples) {
    if (samples.length != Math.multiplyExact((long) size.width() * COLOURS, size.height())) {
      throw new IllegalArgumentException(
          "%d samples for a picture of %d x %d pixels"
              .formatted(samples.length, size.width(), size.height()));
    }
    this.size = size;
    this.samples = samples.clone();
  }

  /**
   * Reads a PNG, JPEG, GIF, BMP or TIFF file.
   *
   * @param file the picture
   * @return its pixels in RGB
   * @throws FileFormatException if the file is none of these
   * @throws UncheckedIOException if it cannot be read
   */
  public static Picture read(Path file) {
    BufferedImage image;
    try {
      image = ImageIO.read(file.toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(
          "cannot read picture %s: %s".formatted(file, e.getMessage()), e);
    }
    if (image == null) {
      throw new FileFormatException(file + " is no PNG, JPEG, GIF, BMP or TIFF picture");
    }
    return of(image);
  }

  private static Picture of(BufferedImage image) {
    Size size = new Size(image.getWidth(), image.getHeight());
    byte[] samples = new byte[Math.multiplyExact(size.width() * COLOURS, size.height())];
    ColorModel model = image.getColorModel();
    boolean grey = model.getNumColorComponents() == 1 && !(model instanceof IndexColorModel);
    for (int y = 0, at = 0; y < size.height(); y++) {
      for (int x = 0; x < size.width(); x++) {
        int rgb = grey ? grey(image.getRaster(), model, x, y) : image.getRGB(x, y);
        samples[at++] = (byte) (rgb >> 16);
        samples[at++] = (byte) (rgb >> 8);
        samples[at++] = (byte) rgb;
      }
    }
    return new Picture(size, samples);
  }

  /** Grey as it stands in the file: {@code getRGB} would take it for linear and brighten it. */
  private static int grey(Raster raster, ColorModel model, int x, int y) {
    int bits = model.getComponentSize(0);
    int value = raster.getSample(x, y, 0) * 255 / ((1 << bits) - 1);
    return value << 16 | value << 8 | value;
  }

  /** {@return the sides in pixels} */
  public Size size() {
    return size;
  }

  /**
   * {@return one sample, 0 to 255}
   *
   * @param x column, from 0 at the left
   * @param y row, from 0 at the top
   * @param colour 0 red, 1 green, 2 blue
   */
  public int sample(int x, int y, int colour) {
    return Byte.toUnsignedInt(samples[(y * size.width() + x) * COLOURS + colour]);
  }

  /**
   * {@return the picture in another size, by cubic convolution (Keys 1981, a = −0.5) whose kernel
   * is stretched when shrinking, so that every pixel counts} First rows, then columns, each rounded
   * to bytes.
   *
   * @param wanted the new sides
   */
  public Picture resize(Size wanted) {
    byte[] rows = new byte[Math.multiplyExact(wanted.width() * COLOURS, size.height())];
    CubicWeights across = CubicWeights.of(size.width(), wanted.width());
    for (int y = 0; y < size.height(); y++) {
      int line = y * size.width() * COLOURS;
      across.apply(samples, line, COLOURS, rows, y * wanted.width() * COLOURS, COLOURS, COLOURS);
    }
    byte[] all = new byte[Math.multiplyExact(wanted.width() * COLOURS, wanted.height())];
    CubicWeights down = CubicWeights.of(size.height(), wanted.height());
    int stride = wanted.width() * COLOURS;
    down.apply(rows, 0, stride, all, 0, stride, stride);
    return new Picture(wanted, all);
  }
}
