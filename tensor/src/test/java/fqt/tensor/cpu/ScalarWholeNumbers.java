package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.CodeLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** One group of x as {@link WholeNumbers} should have it, number by number. */
final class ScalarWholeNumbers {
  private final CodeLayout layout;
  private final float[] x;

  ScalarWholeNumbers(CodeLayout layout, float[] x) {
    this.layout = layout;
    this.x = x;
  }

  private int precision() {
    return layout.digits() == 2 ? 15 : 22;
  }

  private int exponent() {
    float largest = 0;
    for (float value : x) {
      largest = Math.max(largest, Math.abs(value));
    }
    int exponent = Math.max(-60, Math.getExponent(largest) + 1);
    boolean full = layout.digits() == 2 && largest * (1 + 0x1p-7) >= Math.scalb(1.0, exponent);
    return full ? exponent + 1 : exponent;
  }

  /** What one of the numbers stands for. */
  float unit() {
    return Math.scalb(1f, exponent() - precision());
  }

  private int[] numbers() {
    int[] numbers = new int[x.length];
    double up = Math.scalb(1.0, precision() - exponent());
    for (int k = 0; k < x.length; k++) {
      numbers[k] = (int) Math.rint(x[k] * up);
    }
    return numbers;
  }

  /** The sum that the start of a row wants. */
  float sum() {
    long sum = 0;
    for (int number : numbers()) {
      sum += number;
    }
    return (float) (layout.zeros() ? sum : sum << layout.codeBits() - 1);
  }

  /** The table. */
  byte[] table() {
    ByteBuffer to = ByteBuffer.allocate(layout.tableBytes()).order(ByteOrder.LITTLE_ENDIAN);
    long[] sums = new long[layout.lanes()];
    int[] numbers = numbers();
    for (int k = 0; k < numbers.length; k++) {
      if (layout.codeBits() == 4) {
        putBytes(numbers[k], k, to);
        sums[k / 8 % sums.length] += numbers[k];
      } else {
        putWords(numbers[k], k, to);
        sums[k / 2 % sums.length] += numbers[k];
      }
    }
    for (int lane = 0; !layout.hasStarts() && lane < sums.length; lane++) {
      int at = layout.ends() + lane * Integer.BYTES;
      if (layout.zeros()) {
        to.putFloat(at, (float) sums[lane]);
      } else if (layout.codeBits() == 4) {
        to.putInt(at, (int) (-8 * sums[lane]));
      } else {
        to.putFloat(at, -128f * (float) sums[lane]);
      }
    }
    return to.array();
  }

  private void putBytes(int number, int k, ByteBuffer to) {
    int vectorBytes = layout.vectorBytes();
    int vector = k / (2 * vectorBytes);
    int inside = k % (2 * vectorBytes);
    int left = number;
    for (int digit = layout.digits() - 1; digit >= 0; digit--) {
      byte low = (byte) left;
      int at = 2 * (layout.digits() * vector + digit) + inside % 2;
      to.put(at * vectorBytes + inside / 2, low);
      left = left - low >> 8;
    }
    if (left != 0) {
      throw new AssertionError(number + " does not fit into " + layout.digits() + " bytes");
    }
  }

  private void putWords(int number, int k, ByteBuffer to) {
    int each = layout.vectorBytes() / Short.BYTES;
    int vector = k / each * layout.parts();
    int inside = k % each * Short.BYTES;
    int low = layout.digits() == 2 ? number : (number + 1024 & 2047) - 1024;
    if (layout.digits() == 3) {
      to.putShort(vector * layout.vectorBytes() + inside, (short) (number - low >> 11));
      vector++;
    }
    to.putShort(vector * layout.vectorBytes() + inside, (short) low);
  }
}
