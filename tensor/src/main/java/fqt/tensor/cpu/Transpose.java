package fqt.tensor.cpu;

/** Transposes blocks of f32 arrays. */
final class Transpose {
  private Transpose() {}

  /** {@code to[at + c * toStride + r] = from[start + r * stride + c]} for all rows and columns. */
  static void copy(
      float[] from,
      int start,
      int stride,
      int rows,
      int columns,
      float[] to,
      int at,
      int toStride) {
    int r = 0;
    for (; r + 8 <= rows; r += 8) {
      copy8(from, start + r * stride, stride, columns, to, at + r, toStride);
    }
    for (; r < rows; r++) {
      for (int c = 0; c < columns; c++) {
        to[at + c * toStride + r] = from[start + r * stride + c];
      }
    }
  }

  private static void copy8(
      float[] from, int start, int stride, int columns, float[] to, int at, int toStride) {
    for (int c = 0; c < columns; c++) {
      int source = start + c;
      int target = at + c * toStride;
      to[target] = from[source];
      to[target + 1] = from[source + stride];
      to[target + 2] = from[source + 2 * stride];
      to[target + 3] = from[source + 3 * stride];
      to[target + 4] = from[source + 4 * stride];
      to[target + 5] = from[source + 5 * stride];
      to[target + 6] = from[source + 6 * stride];
      to[target + 7] = from[source + 7 * stride];
    }
  }
}
