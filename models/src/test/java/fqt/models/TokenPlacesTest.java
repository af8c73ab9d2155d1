package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Places of tokens in texts with pictures; 9 is the picture token. */
class TokenPlacesTest {
  private static final PictureGrid WIDE = new PictureGrid(1, 4, 6);

  @Test
  void aPictureSpreadsOverRowsAndColumnsAndTheTextGoesOnAfterIt() {
    long[] ids = {1, 2, 9, 9, 9, 9, 9, 9, 3, 4};
    TokenPlaces places = TokenPlaces.of(ids, new long[] {0, 10}, 9, List.of(WIDE), 2);
    assertArrayEquals(new long[] {0, 1, 2, 2, 2, 2, 2, 2, 5, 6}, places.positions()[0]);
    assertArrayEquals(new long[] {0, 1, 2, 2, 2, 3, 3, 3, 5, 6}, places.positions()[1]);
    assertArrayEquals(new long[] {0, 1, 2, 3, 4, 2, 3, 4, 5, 6}, places.positions()[2]);
    assertEquals(7, places.next());
  }

  @Test
  void everySequenceStartsAtNought() {
    long[] ids = {9, 1, 9, 1};
    PictureGrid single = new PictureGrid(1, 2, 2);
    TokenPlaces places = TokenPlaces.of(ids, new long[] {0, 2, 4}, 9, List.of(single, single), 2);
    assertArrayEquals(new long[] {0, 1, 0, 1}, places.positions()[0]);
  }

  @Test
  void tokensAndPicturesMustMatch() {
    List<PictureGrid> one = List.of(WIDE);
    long[] bounds = {0, 3};
    assertRefused(new long[] {1, 9, 9}, bounds, one, "2 picture tokens from token 1 on");
    assertRefused(new long[] {1, 2, 3}, bounds, one, "1 pictures for a text with places for 0");
    assertRefused(new long[] {1, 9, 3}, bounds, List.of(), "stands at 1, after the last of 0");
  }

  private static void assertRefused(
      long[] ids, long[] bounds, List<PictureGrid> grids, String part) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> TokenPlaces.of(ids, bounds, 9, grids, 2))
            .getMessage();
    assertTrue(message.contains(part), message);
  }

  @Test
  void pictureTokensAreRepeatedAsOftenAsThePictureNeeds() {
    try (Scope scope = Scope.open()) {
      Pictures pictures = new Pictures(Ops.of(new float[24 * 2], 24, 2), List.of(WIDE));
      assertArrayEquals(
          new int[] {1, 9, 9, 9, 9, 9, 9, 2},
          PictureText.expand(new int[] {1, 9, 2}, 9, pictures, 4));
      assertThrows(
          IllegalArgumentException.class,
          () -> PictureText.expand(new int[] {1, 2}, 9, pictures, 4));
    }
  }

  @Test
  void picturesTakeTheirPlaceInTheHiddenStates() {
    try (Scope scope = Scope.open()) {
      Tensor hidden = Ops.of(new float[] {1, 2, 3, 4, 5}, 5, 1);
      Tensor seen = Ops.of(new float[] {10, 20, 30}, 3, 1);
      PictureText.replace(hidden, new long[] {9, 7, 9, 9, 7}, 9, seen);
      assertArrayEquals(new float[] {10, 2, 20, 30, 5}, hidden.toFloats());
      assertThrows(
          IllegalArgumentException.class,
          () -> PictureText.replace(hidden, new long[] {9, 9, 7, 7, 7}, 9, seen));
    }
  }

  @Test
  void windowsOfPatchesStandTogetherAndReturn() {
    try (Scope scope = Scope.open()) {
      VisionConfig config =
          new VisionConfig(1, 8, 1, 8, 8, 3, 14, 2, 2, 4, new long[0], true, null, 10000);
      PatchOrder order = PatchOrder.of(config, List.of(new PictureGrid(1, 6, 6)));
      // 3 x 3 squares in windows of 2 x 2: 0 1 3 4 | 2 5 | 6 7 | 8.
      assertArrayEquals(new int[] {0, 1, 3, 4, 2, 5, 6, 7, 8}, order.squares());
      assertArrayEquals(new long[] {0, 16, 24, 32, 36}, order.windows().queryBounds());
      assertArrayEquals(new long[] {0, 36}, order.frames().queryBounds());
      Tensor squares = Ops.of(new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8}, 9, 1);
      assertArrayEquals(squares.toFloats(), order.restore(order.arrange(squares)).toFloats());
    }
  }
}
