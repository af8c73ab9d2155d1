package fqt.models;

import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.Arrays;
import java.util.stream.IntStream;

/** Texts in which runs of a token stand for pictures. */
final class PictureText {
  private PictureText() {}

  /**
   * Puts picture tokens in the place of the embeddings that stand for them.
   *
   * @param hidden F32 [tokens, hidden], overwritten there
   * @param ids the tokens of the text
   * @param seen F32 [picture tokens, hidden], in order
   */
  static void replace(Tensor hidden, long[] ids, long pictureToken, Tensor seen) {
    long wanted = Arrays.stream(ids).filter(id -> id == pictureToken).count();
    if (wanted != seen.dim(0)) {
      throw new IllegalArgumentException(
          "%d picture tokens in the text, %d from the pictures".formatted(wanted, seen.dim(0)));
    }
    long used = 0;
    for (int at = 0; at < ids.length; at++) {
      int end = at;
      while (end < ids.length && ids[end] == pictureToken) {
        end++;
      }
      if (end > at) {
        Ops.copyInto(seen.slice(0, used, used + end - at), hidden.slice(0, at, end));
        used += end - at;
        at = end;
      }
    }
  }

  /** The ids with each picture token repeated as often as its picture needs. */
  static int[] expand(int[] ids, int pictureToken, Pictures pictures, int mergedPatches) {
    long count = Arrays.stream(ids).filter(id -> id == pictureToken).count();
    if (count != pictures.grids().size()) {
      throw new IllegalArgumentException(
          "%d pictures for a text with places for %d".formatted(pictures.grids().size(), count));
    }
    IntStream.Builder all = IntStream.builder();
    int picture = 0;
    for (int id : ids) {
      long times =
          id == pictureToken ? pictures.grids().get(picture++).patches() / mergedPatches : 1;
      for (long i = 0; i < times; i++) {
        all.add(id);
      }
    }
    return all.build().toArray();
  }
}
