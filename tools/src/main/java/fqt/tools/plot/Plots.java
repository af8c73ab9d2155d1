package fqt.tools.plot;

import fqt.tensor.Tensor;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import javax.imageio.ImageIO;

/**
 * Draws tensors and losses. Tensors of any type and device are taken; values that are not finite
 * are left out and counted below the title.
 *
 * {@snippet :
 * Plots.write(Plots.surface(activations, "inputs of down_proj"), Path.of("surface.png"));
 * }
 *
 * <p>Every method throws {@code IllegalStateException} if Java finds no font on this machine.
 */
public final class Plots {
  private Plots() {}

  /**
   * {@return a picture of magnitudes as a surface, all dimensions but the last being rows}
   *
   * @param tensor of rank 2 or more
   * @param title stands above the picture
   * @throws IllegalArgumentException if it has fewer dimensions or no elements
   */
  public static BufferedImage surface(Tensor tensor, String title) {
    return new Surface(tensor).draw(title);
  }

  /**
   * {@return a picture of how often which values occur}
   *
   * @param tensor of any shape
   * @param title stands above the picture
   * @throws IllegalArgumentException if the tensor holds no finite value
   */
  public static BufferedImage histogram(Tensor tensor, String title) {
    return new Histogram(tensor).draw(title);
  }

  /**
   * {@return a picture of the largest magnitude of each channel, which is an index of the last
   * dimension}
   *
   * @param tensor of any shape
   * @param title stands above the picture
   * @throws IllegalArgumentException if the tensor has no elements
   */
  public static BufferedImage channels(Tensor tensor, String title) {
    return new Channels(tensor).draw(title);
  }

  /**
   * {@return a picture of losses over the layers, a curve for each kind of linear}
   *
   * @param losses by the full path of a linear, such as {@code model.layers.3.mlp.up_proj}
   * @param title stands above the picture
   * @throws IllegalArgumentException if no loss belongs to a numbered layer
   */
  public static BufferedImage losses(Map<String, Double> losses, String title) {
    return new Losses(losses).draw(title);
  }

  /**
   * Writes a picture as PNG.
   *
   * @param picture what the other methods made
   * @param file ends in {@code .png}; replaced if it exists
   * @throws UncheckedIOException if it cannot be written
   */
  public static void write(BufferedImage picture, Path file) {
    try (OutputStream out = Files.newOutputStream(file)) {
      if (!ImageIO.write(picture, "png", out)) {
        throw new IOException("this Java has no PNG writer");
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
