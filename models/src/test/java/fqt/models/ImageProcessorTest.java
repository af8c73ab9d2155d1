package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.FileFormatException;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Sizes, colours and resizing of pictures. */
class ImageProcessorTest {
  private static final ImageProcessor PROCESSOR =
      new ImageProcessor(3136, 18816, 14, 2, 2, new double[3], new double[] {1, 1, 1});

  private static Picture.Size resized(int width, int height) {
    return PROCESSOR.resized(new Picture.Size(width, height));
  }

  @Test
  void sidesBecomeMultiplesWithinTheBoundsOfTheArea() {
    assertEquals(new Picture.Size(140, 112), resized(139, 113), "nearest multiples");
    assertEquals(new Picture.Size(56, 56), resized(70, 42), "halves go to the even multiple");
    assertEquals(new Picture.Size(140, 112), resized(210, 150), "too large: rounded down");
    assertEquals(new Picture.Size(84, 56), resized(30, 20), "too small: rounded up");
    assertEquals(new Picture.Size(28, 280), resized(14, 300), "a side that rounds to nothing");
  }

  @Test
  void aPictureTooLongIsRefused() {
    assertThrows(IllegalArgumentException.class, () -> resized(2010, 10));
  }

  @Test
  void theSameSizeLeavesEveryPixel() {
    byte[] samples = new byte[7 * 5 * 3];
    new Random(1).nextBytes(samples);
    Picture picture = new Picture(new Picture.Size(7, 5), samples);
    Picture same = picture.resize(new Picture.Size(7, 5));
    for (int y = 0; y < 5; y++) {
      for (int x = 0; x < 7; x++) {
        assertEquals(picture.sample(x, y, 1), same.sample(x, y, 1));
      }
    }
  }

  @Test
  void oneColourStaysThatColour() {
    byte[] samples = new byte[31 * 17 * 3];
    for (int i = 0; i < samples.length; i++) {
      samples[i] = (byte) new int[] {255, 0, 131}[i % 3];
    }
    Picture resized =
        new Picture(new Picture.Size(31, 17), samples).resize(new Picture.Size(12, 40));
    for (int i = 0; i < 12 * 40; i++) {
      assertEquals(255, resized.sample(i % 12, i / 12, 0));
      assertEquals(0, resized.sample(i % 12, i / 12, 1));
      assertEquals(131, resized.sample(i % 12, i / 12, 2), 1);
    }
  }

  @Test
  void filesOfAllColourModelsAreRead(@TempDir Path folder) throws IOException {
    int[] types = {
      BufferedImage.TYPE_INT_RGB, BufferedImage.TYPE_INT_ARGB, BufferedImage.TYPE_BYTE_GRAY
    };
    for (int type : types) {
      BufferedImage image = new BufferedImage(2, 1, type);
      image.getRaster().setPixel(1, 0, new int[] {100, 100, 100, 200});
      Path file = folder.resolve("picture" + type + ".png");
      assertTrue(ImageIO.write(image, "png", file.toFile()));
      Picture picture = Picture.read(file);
      assertEquals(new Picture.Size(2, 1), picture.size());
      int[] pixel = {picture.sample(1, 0, 0), picture.sample(1, 0, 1), picture.sample(1, 0, 2)};
      assertArrayEquals(new int[] {100, 100, 100}, pixel, "type " + type);
    }
  }

  @Test
  void whatIsNoPictureIsRefused(@TempDir Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("text.png"), "no picture");
    assertThrows(FileFormatException.class, () -> Picture.read(file));
  }
}
