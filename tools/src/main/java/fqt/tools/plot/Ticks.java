package fqt.tools.plot;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Places and labels on an axis.
 *
 * @param low where the axis begins
 * @param high where it ends
 * @param logarithmic whether equal steps multiply
 * @param ticks in order
 */
record Ticks(double low, double high, boolean logarithmic, List<Tick> ticks) {
  private static final String RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

  /** One place on an axis; an empty label is a place without words. */
  record Tick(double value, String label) {}

  /** Ticks at multiples of 1, 2 or 5 times a power of ten, the ends being as they are. */
  static Ticks within(double low, double high, int about) {
    double step = step((high - low) / Math.max(1, about));
    List<Tick> ticks = new ArrayList<>();
    long first = (long) Math.ceil(low / step - 1e-9);
    long last = (long) Math.floor(high / step + 1e-9);
    for (long i = first; i <= last; i++) {
      ticks.add(new Tick(i * step, label(i * step, step, Math.max(-low, high))));
    }
    return new Ticks(low, high, false, ticks);
  }

  /** The same with the ends moved outward to ticks. */
  static Ticks around(double low, double high, int about) {
    double wide = high > low ? high : low + 1;
    double step = step((wide - low) / Math.max(1, about));
    return within(
        Math.floor(low / step + 1e-9) * step, Math.ceil(wide / step - 1e-9) * step, about);
  }

  /** Places of rows, columns, layers: whole numbers from 0 to the last. */
  static Ticks indices(long count, int about) {
    double step = Math.max(1, step((count - 1) / (double) Math.max(1, about)));
    List<Tick> ticks = new ArrayList<>();
    for (double value = 0; value <= count - 1; value += step) {
      ticks.add(new Tick(value, String.format(Locale.ROOT, "%.0f", value)));
    }
    return new Ticks(0, Math.max(1, count - 1), false, ticks);
  }

  /** Powers of ten around two positive numbers, with a label at no more than about so many. */
  static Ticks powers(double low, double high, int about) {
    int first = (int) Math.floor(Math.log10(low) + 1e-9);
    int last = Math.max(first + 1, (int) Math.ceil(Math.log10(high) - 1e-9));
    int every = Math.max(1, (last - first + about - 1) / about);
    List<Tick> ticks = new ArrayList<>();
    for (int i = first; i <= last; i++) {
      ticks.add(new Tick(Math.pow(10, i), (i - first) % every == 0 ? power(i) : ""));
    }
    return new Ticks(Math.pow(10, first), Math.pow(10, last), true, ticks);
  }

  /** Powers of ten up to a count, the axis beginning below 1, so that a single one has a height. */
  static Ticks counts(long most) {
    List<Tick> ticks = new ArrayList<>();
    for (int i = 0; Math.pow(10, i) <= most * 1.5; i++) {
      ticks.add(new Tick(Math.pow(10, i), power(i)));
    }
    return new Ticks(0.5, most * 1.5, true, ticks);
  }

  /** Where a value stands, 0 at the beginning and 1 at the end. */
  double place(double value) {
    return logarithmic
        ? Math.log(value / low) / Math.log(high / low)
        : (value - low) / (high - low);
  }

  /** The smallest step of 1, 2 or 5 times a power of ten that is not below. */
  private static double step(double least) {
    if (!(least > 0)) {
      return 1;
    }
    double power = Math.pow(10, Math.floor(Math.log10(least)));
    for (int digit : new int[] {1, 2, 5}) {
      if (digit * power >= least * (1 - 1e-9)) {
        return digit * power;
      }
    }
    return 10 * power;
  }

  private static String label(double value, double step, double largest) {
    if (value == 0) {
      return "0";
    }
    int exponent = (int) Math.floor(Math.log10(step) + 1e-9);
    if (exponent < -4 || largest >= 1e6) {
      int decimals = Math.max(0, (int) Math.floor(Math.log10(Math.abs(value)) + 1e-9) - exponent);
      return String.format(Locale.ROOT, "%." + decimals + "e", value)
          .replaceAll("e([-+])0?", "e$1")
          .replace("e+", "e");
    }
    return String.format(Locale.ROOT, "%." + Math.max(0, -exponent) + "f", value);
  }

  private static String power(int exponent) {
    if (exponent >= -3 && exponent <= 3) {
      return number(Math.pow(10, exponent));
    }
    StringBuilder text = new StringBuilder(exponent < 0 ? "10⁻" : "10");
    for (char digit : Integer.toString(Math.abs(exponent)).toCharArray()) {
      text.append(RAISED.charAt(digit - '0'));
    }
    return text.toString();
  }

  /** A number to four digits, without idle zeros. */
  static String number(double value) {
    if (value == 0 || !Double.isFinite(value)) {
      return value == 0 ? "0" : Double.toString(value);
    }
    double size = Math.abs(value);
    if (size < 1e-3 || size >= 1e6) {
      return String.format(Locale.ROOT, "%.2e", value)
          .replaceAll("\\.?0+e", "e")
          .replaceAll("e([-+])0?", "e$1")
          .replace("e+", "e");
    }
    int decimals = Math.max(0, 3 - (int) Math.floor(Math.log10(size)));
    String text = String.format(Locale.ROOT, "%." + decimals + "f", value);
    return text.contains(".") ? text.replaceAll("\\.?0+$", "") : text;
  }
}
