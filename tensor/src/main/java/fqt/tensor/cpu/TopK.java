package fqt.tensor.cpu;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.VectorOperators;

/**
 * The k largest of each row. A sorted list of the best so far grows by insertion; once it is full,
 * whole vectors are passed over that hold nothing larger than its last entry. NaN is largest.
 */
final class TopK {
  private final float[] best;
  private final int[] places;
  private int filled;

  private TopK(int k) {
    best = new float[k];
    places = new int[k];
  }

  static void topK(Threads threads, Tensor x, long k, Tensor values, Tensor indices) {
    MemorySegment from = x.segment();
    MemorySegment largest = values.segment();
    MemorySegment where = indices.segment();
    int columns = Math.toIntExact(x.dim(1));
    int kept = Math.toIntExact(k);
    threads.forEach(
        x.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          TopK list = new TopK(kept);
          for (long m = first; m < end; m++) {
            list.filled = 0;
            list.scan(from, m * columns * Float.BYTES, columns);
            MemorySegment.copy(list.best, 0, largest, Element.FLOAT, m * k * 4, kept);
            MemorySegment.copy(list.places, 0, where, Element.INT, m * k * 4, kept);
          }
        });
  }

  private void scan(MemorySegment x, long offset, int n) {
    int i = 0;
    for (; i <= n - Lanes.LENGTH; i += Lanes.LENGTH) {
      if (filled < best.length || larger(x, offset + (long) i * Float.BYTES)) {
        for (int j = i; j < i + Lanes.LENGTH; j++) {
          offer(x.get(Element.FLOAT, offset + (long) j * Float.BYTES), j);
        }
      }
    }
    for (; i < n; i++) {
      offer(x.get(Element.FLOAT, offset + (long) i * Float.BYTES), i);
    }
  }

  /** Whether a vector holds something not known to be at most the last entry. */
  private boolean larger(MemorySegment x, long offset) {
    return !Lanes.load(x, offset).compare(VectorOperators.LE, best[best.length - 1]).allTrue();
  }

  /** Equal values keep their order, so that the smaller index wins. */
  private void offer(float value, int place) {
    int at = filled;
    while (at > 0 && Float.compare(value, best[at - 1]) > 0) {
      at--;
    }
    if (at == best.length) {
      return;
    }
    int moved = Math.min(filled, best.length - 1) - at;
    System.arraycopy(best, at, best, at + 1, moved);
    System.arraycopy(places, at, places, at + 1, moved);
    best[at] = value;
    places[at] = place;
    filled = Math.min(filled + 1, best.length);
  }
}
